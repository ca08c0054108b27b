import cluster from 'node:cluster'

/**
 * Whether other processes serve the same port with the same keys (`node:cluster`; worker threads are not meant). Imported from here and not through
 * the room's door: only servers need that module, and it is slow to load.
 */
export function isClusterWorker(): boolean {
  return cluster.isWorker
}
