/**
 * How long which server is waited for, and which is tried next: the one rule for all messages to the servers
 * of a realm.
 *
 * Silent: after `PATIENCE_MS` the next attempt begins, and the answer of the silent one still counts. Each
 * address has its first transport before any has its other one, so that for the only or last address the
 * other transport joins while the first goes on, until the deadline. Failed (refused, closed): the next
 * attempt begins at once. Broken (an answer that is no Kerberos): the same address has one more chance over
 * its other transport, for `PATIENCE_MS`. A message that changes something is written once: a server that got
 * it has the whole deadline, and no other gets it.
 */
import { KerberosError, NetworkError } from '../errors.ts'
import type { ServerAddress } from './formats/index.ts'

export type Protocol = 'tcp' | 'udp'

/** Milliseconds for a server to answer before another one is asked too. */
export const PATIENCE_MS = 1500
/** Milliseconds for which a server that did not answer is asked last. */
export const DEAD_FOR_MS = 60_000

/** One message to one server over one transport. */
export interface Attempt {
  readonly address: ServerAddress
  readonly protocol: Protocol
}

export interface AttemptOptions {
  /** Until which the answer counts. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** `onSilent` is called once, when no answer has come within `silentAfterMs`. */
  readonly silentAfterMs: number
  onSilent(): void
}

/** What no server of a realm would send. */
const BROKEN: readonly string[] = ['KDC_REPLY_TOO_LONG', 'MALFORMED']

/** Which servers did not answer lately, by address and transport. */
export class SilentServers {
  readonly #monotonic: () => number
  readonly #since = new Map<string, number>()

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  add(attempt: Attempt): void {
    this.#since.set(keyOf(attempt), this.#monotonic())
  }

  delete(attempt: Attempt): void {
    this.#since.delete(keyOf(attempt))
  }

  /**
   * All attempts in their order: every address over its first transport, then over its other one, the last
   * address first; those that were silent lately behind all others.
   *
   * @param protocols those of an address, in order of preference
   */
  inOrder(addresses: readonly ServerAddress[], protocols: (address: ServerAddress) => readonly Protocol[]): Attempt[] {
    const over = (address: ServerAddress, which: number) =>
      protocols(address)
        .slice(which, which + 1)
        .map((protocol) => ({ address, protocol }))
    const all = [
      ...addresses.flatMap((address) => over(address, 0)),
      ...addresses.slice(-1).flatMap((address) => over(address, 1)),
      ...addresses.slice(0, -1).flatMap((address) => over(address, 1)),
    ]
    return [...all.filter((one) => !this.#isSilent(one)), ...all.filter((one) => this.#isSilent(one))]
  }

  #isSilent(attempt: Attempt): boolean {
    const since = this.#since.get(keyOf(attempt))
    return since !== undefined && this.#monotonic() - since < DEAD_FOR_MS
  }
}

export interface Race {
  readonly attempts: readonly Attempt[]
  readonly silent: SilentServers
  /** Milliseconds until the deadline. */
  left(): number
  readonly signal: AbortSignal | undefined
  /** Sends and waits for an answer that is one. */
  ask(attempt: Attempt, options: AttemptOptions): Promise<Uint8Array>
  /**
   * Of a message that changes something: whether any of its bytes were written. Undefined: it may go to
   * several servers.
   */
  readonly isWritten: (() => boolean) | undefined
}

/** Why an attempt ended without an answer. */
export interface Failure {
  readonly attempt: Attempt
  readonly error: unknown
}

/** No attempt brought an answer. */
export class NoAnswer extends Error {
  readonly failures: readonly Failure[]
  /** The server that was sent a message that changes something: whether it obeyed is not known. */
  readonly writtenTo: Attempt | undefined

  constructor(failures: readonly Failure[], writtenTo: Attempt | undefined) {
    super('no server answered')
    this.failures = failures
    this.writtenTo = writtenTo
  }
}

/**
 * The first answer.
 *
 * @throws {NoAnswer}
 * @throws the signal's reason, when the caller aborts
 */
export async function firstAnswer(race: Race): Promise<Uint8Array> {
  const running = new RunningRace(race)
  try {
    return await running.answer()
  } finally {
    running.stop()
  }
}

/** An error that says that the peer is no server of a realm. */
export function isBroken(error: unknown): error is KerberosError {
  return error instanceof KerberosError && BROKEN.includes(error.code)
}

class RunningRace {
  readonly #race: Race
  readonly #waiting: Attempt[]
  /** Of each attempt that goes on. */
  readonly #running = new Map<Attempt, AbortController>()
  /** Those whose next one has begun. */
  readonly #passed = new Set<Attempt>()
  readonly #failures: Failure[] = []
  #settle: { resolve(reply: Uint8Array): void; reject(error: unknown): void } | undefined

  constructor(race: Race) {
    this.#race = race
    this.#waiting = [...race.attempts]
  }

  answer(): Promise<Uint8Array> {
    const { signal } = this.#race
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      if (signal?.aborted === true) return reject(signal.reason)
      signal?.addEventListener('abort', this.#abort, { once: true })
      this.#next()
    })
  }

  /** Ends all that is under way; nothing begins any more. */
  stop(): void {
    this.#race.signal?.removeEventListener('abort', this.#abort)
    this.#settle = undefined
    for (const one of this.#running.values()) one.abort(otherAnswered())
  }

  readonly #abort = (): void => this.#settle?.reject(this.#race.signal?.reason)

  #next(): void {
    if (this.#settle === undefined) return
    const attempt = this.#race.left() > 0 ? this.#waiting.shift() : undefined
    if (attempt !== undefined) this.#begin(attempt, this.#race.left())
    else if (this.#running.size === 0) this.#settle.reject(new NoAnswer(this.#failures, undefined))
  }

  #begin(attempt: Attempt, timeoutMs: number): void {
    const { silent, ask, isWritten } = this.#race
    const controller = new AbortController()
    this.#running.set(attempt, controller)
    const onSilent = () => {
      silent.add(attempt)
      if (isWritten === undefined) this.#goOnBeside(attempt)
      else if (!isWritten() && this.#waiting.length > 0) controller.abort(notConnected()) // check: K62
    }
    ask(attempt, { timeoutMs, signal: controller.signal, silentAfterMs: PATIENCE_MS, onSilent }).then(
      (reply) => {
        silent.delete(attempt)
        this.#settle?.resolve(reply)
      },
      (error: unknown) => this.#fail(attempt, error),
    )
  }

  /** An attempt that was silent goes on, and the next one begins: once for each. */
  #goOnBeside(attempt: Attempt): void {
    if (this.#passed.has(attempt)) return
    this.#passed.add(attempt)
    this.#next()
  }

  #fail(attempt: Attempt, error: unknown): void {
    this.#running.delete(attempt)
    if (this.#settle === undefined) return
    this.#race.silent.add(attempt)
    this.#failures.push({ attempt, error })
    const isLost = this.#race.isWritten?.() === true
    if (isLost) return void this.#settle.reject(new NoAnswer(this.#failures, attempt)) // check: K61
    const isPassed = this.#passed.has(attempt)
    if (isBroken(error) && !isPassed) this.#lastChance(attempt)
    else if (!isPassed || this.#running.size === 0) this.#next()
  }

  /** The other transport of an address where something else than a server of a realm listens. */
  #lastChance({ address }: Attempt): void {
    const at = this.#waiting.findIndex((one) => one.address === address)
    const [other] = at === -1 ? [] : this.#waiting.splice(at, 1)
    if (other === undefined) this.#next()
    else this.#begin(other, Math.min(PATIENCE_MS, this.#race.left()))
  }
}

function keyOf({ address: { host, port }, protocol }: Attempt): string {
  return `${protocol} ${host} ${port}`
}

function notConnected(): NetworkError {
  return new NetworkError('KDC_TIMEOUT', 'no connection in time')
}

function otherAnswered(): NetworkError {
  return new NetworkError('KDC_UNREACHABLE', 'another server answered first')
}
