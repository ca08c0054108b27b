import type { ReplayStore } from '../../gss/context.ts'
import { type AttemptCounts, attemptCounts } from '../../http/attempts.ts'
import { EndedSessions } from '../../http/ended-sessions.ts'
import { monotonic, randomSeed } from '../../system/index.ts'

/**
 * What all servers of a process and one clock share unless an option says otherwise: a token that one has accepted is not accepted by another, and a
 * session that was ended at one is over at all. The one exception to "no module state".
 */
export interface ProcessDefaults {
  readonly endedSessions: EndedSessions
  readonly attempts: AttemptCounts
  replayStore?: ReplayStore | undefined
  /** In a primary of node:cluster: what answers its workers. */
  workersStore?: ReplayStore | undefined
  sessionKey?: Uint8Array | undefined
}

interface Registry {
  system: ProcessDefaults | undefined
  /** By the function that an acceptor was given as its clock. */
  readonly byClock: WeakMap<() => number, ProcessDefaults>
}

/** On `globalThis`, so that a second copy of this package finds it. The number changes with the shape of what lies there. */
const REGISTRY: unique symbol = Symbol.for('spnego.process-defaults.1')

/** @param now the clock of an acceptor; undefined: that of the system */
export function processDefaults(now?: () => number): ProcessDefaults {
  const registry = registryOf(globalThis as Global)
  const isSystem = now === undefined || now === Date.now // check: S40
  const found = isSystem ? registry.system : registry.byClock.get(now)
  if (found !== undefined) return found
  const made: ProcessDefaults = { endedSessions: new EndedSessions(), attempts: attemptCounts(monotonic, randomSeed()) }
  if (isSystem) registry.system = made
  else registry.byClock.set(now, made)
  return made
}

interface Global {
  readonly [REGISTRY]?: Registry
}

function registryOf(global: Global): Registry {
  const found = global[REGISTRY]
  if (found !== undefined) return found
  const made: Registry = { system: undefined, byClock: new WeakMap() }
  Object.defineProperty(global, REGISTRY, { value: made, configurable: true })
  return made
}
