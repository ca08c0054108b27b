import { answerWorkers, PrimaryReplayStore, primaryAnswers } from '../../adapters/stores/cluster.ts'
import { ConfigError } from '../../errors.ts'
import type { ReplayStore } from '../../gss/context.ts'
import { MemoryReplayStore as Table } from '../../krb5/exchange/index.ts'
import { ownOptions, rejectUnknown } from '../../options.ts'
import { isClusterWorker } from '../../system/cluster-worker.ts'
import { monotonic } from '../../system/index.ts'

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000, 32 octets each. Default 1 000 000. When full, logins are refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** Remembers authenticators in this process (RFC 4120 §3.2.3). What every acceptor has when it is given no other. */
export class MemoryReplayStore extends Table {
  /** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` */
  constructor(options: MemoryReplayStoreOptions = {}) {
    const { maxEntries, now = Date.now, ...unknown } = ownOptions('MemoryReplayStore', options)
    rejectUnknown('MemoryReplayStore', unknown)
    super({ maxEntries, now, monotonic })
  }
}

/**
 * One replay store for all workers of `node:cluster`: called in the primary before it forks, answers them from its memory. The workers' servers
 * then need no `replayStore`. Does nothing in a worker, so that one file may serve as both; a second call changes nothing.
 *
 * A check costs the worker one message to the primary and back; those of one turn of the event loop share it. A primary that does not answer within
 * a second means 503.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 */
export function useClusterReplayStore(options: MemoryReplayStoreOptions = {}): void {
  if (isClusterWorker()) return
  const store = new MemoryReplayStore(options)
  const { now = Date.now } = options
  answerWorkers((key, expiresAt, details) => store.checkAndStore(key, expiresAt, details), now())
}

/**
 * A replay store of this process alone, also in a worker of `node:cluster`: a token that one process has accepted is accepted by each of the others
 * once more. For who knows that a client always comes to the same process, or runs one worker only.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 */
export function dangerouslyPerProcess(options: MemoryReplayStoreOptions = {}): ReplayStore {
  const store = new MemoryReplayStore(options)
  return { checkAndStore: (key, expiresAt) => store.checkAndStore(key, expiresAt) }
}

/** This process's own; in a worker of `node:cluster` the primary's. */
export function defaultReplayStore(now: () => number): ReplayStore {
  if (!isClusterWorker()) return new MemoryReplayStore({ now })
  if (!primaryAnswers()) throw oneOfMany() // check: S49
  return new PrimaryReplayStore()
}

/** A memory of its own, given to a worker by mistake, would accept what the other workers have accepted. */
export function mustBeShared(store: ReplayStore): ReplayStore {
  if (isClusterWorker() && store instanceof Table) throw oneOfMany() // check: S49
  return store
}

function oneOfMany(): ConfigError {
  return new ConfigError(
    'REPLAY_STORE_NEEDED',
    'a worker of node:cluster cannot remember what the others have accepted',
    {
      hint:
        "Write in the primary, before it forks: import cluster from 'node:cluster'; import { useClusterReplayStore } from 'spnego/server'; " +
        'if (cluster.isPrimary) useClusterReplayStore(). Or give all workers one shared replayStore.',
    },
  )
}
