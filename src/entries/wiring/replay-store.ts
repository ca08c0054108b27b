import { answerWorkers, PrimaryReplayStore, primaryAnswers } from '../../adapters/stores/cluster.ts'
import { ConfigError } from '../../errors.ts'
import type { ReplayStore } from '../../gss/context.ts'
import { MemoryReplayStore as Table } from '../../krb5/exchange/index.ts'
import { ownOptions, rejectUnknown } from '../../options.ts'
import { isClusterWorker, isWorkerThread } from '../../system/cluster-worker.ts'
import { monotonic, randomSeed } from '../../system/index.ts'
import { processDefaults } from './process-defaults.ts'

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000, 32 octets each. Default 1 000 000. When full, logins are refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** Replay cache of this process (RFC 4120 §3.2.3). Acceptors that are given no other share one of these. */
export class MemoryReplayStore extends Table {
  /** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` */
  constructor(options: MemoryReplayStoreOptions = {}) {
    const { maxEntries, now = Date.now, ...unknown } = ownOptions('MemoryReplayStore', options)
    rejectUnknown('MemoryReplayStore', unknown)
    super({ maxEntries, now, monotonic, seed: randomSeed() })
  }
}

/**
 * One replay store for all workers of `node:cluster`: called in the primary before it forks, answers them from its memory. The workers' servers
 * then need no `replayStore`, and servers of the primary itself share it. Does nothing in a worker, so that one file may serve as both; a second call
 * changes nothing, nor do its options once the primary has a server.
 *
 * A check costs the worker one message to the primary and back; those of one turn of the event loop share it. A primary that does not answer within
 * a second means 503.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 */
export function useClusterReplayStore(options: MemoryReplayStoreOptions = {}): void {
  if (isClusterWorker()) return
  const made = new MemoryReplayStore(options)
  const shared = processDefaults(options.now)
  const store = shared.replayStore ?? made // check: S49
  if (answerWorkers(store)) shared.workersStore = store
}

/**
 * A replay store of this process alone, also in a worker of `node:cluster`: a token that one process has accepted is accepted by each of the others
 * once more. For who knows that a client always comes to the same process, or runs one worker only.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 */
export function dangerouslyPerProcess(options: MemoryReplayStoreOptions = {}): ReplayStore {
  const store = new MemoryReplayStore(options)
  return {
    checkAndStore: (key, expiresAt, details) => store.checkAndStore(key, expiresAt, details),
    expectSkew: (milliseconds) => store.expectSkew(milliseconds),
  }
}

/**
 * One for all acceptors of this process that have the same clock; in a worker of `node:cluster` the primary's.
 *
 * @param now the acceptor's clock; undefined: that of the system
 */
export function defaultReplayStore(now: (() => number) | undefined): ReplayStore {
  if (isClusterWorker() && !primaryAnswers()) throw oneOfMany() // check: S49
  const shared = processDefaults(now)
  shared.replayStore ??= isClusterWorker() ? new PrimaryReplayStore() : (shared.workersStore ?? ownStore(now)) // check: S49
  return shared.replayStore // check: S40
}

function ownStore(now: (() => number) | undefined): ReplayStore {
  if (isWorkerThread()) {
    process.emitWarning(
      'This worker thread remembers its own tokens only: one that another thread has accepted is accepted here once more. ' +
        'Give all threads one replayStore: redisReplayStore(client) of spnego/redis; dangerouslyPerProcess() if each client keeps to one thread.',
      { type: 'SpnegoWarning', code: 'SPNEGO_WORKER_THREAD_REPLAY_STORE' },
    )
  }
  return new MemoryReplayStore({ now })
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
