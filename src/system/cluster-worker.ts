import cluster from 'node:cluster'
import { isMainThread } from 'node:worker_threads'

/**
 * Whether other processes serve the same port with the same keys (`node:cluster`). Imported from here and not through
 * the room's door: only servers need that module, and it is slow to load.
 */
export function isClusterWorker(): boolean {
  return cluster.isWorker
}

/** Whether other threads may serve the same keys, each with a memory of its own. */
export function isWorkerThread(): boolean {
  return !isMainThread
}
