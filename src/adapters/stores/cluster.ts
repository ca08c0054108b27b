import cluster, { type Worker } from 'node:cluster'
import { fromHex, toHex } from '../../bytes/hex.ts'
import { KerberosError } from '../../errors.ts'
import type { ReplayStore } from '../../gss/context.ts'
import { clockSetBack, type ReplayDetails } from '../../krb5/exchange/index.ts'
import { ANSWER_TIMEOUT_MS, MOST_WAITING, Questions, unavailable } from './questions.ts'

/** Tells the workers, at their start and without a message, that their primary answers. */
const ANNOUNCEMENT = 'SPNEGO_CLUSTER_REPLAY_STORE'
/** Marks the listener of a primary that answers already. */
const ANSWERS: unique symbol = Symbol.for('spnego.cluster-replay-store')
/** A key of 16 octets. */
const KEY = /^[0-9a-f]{32}$/

const HINT = 'The primary must have called useClusterReplayStore() before it forked, and must not be busy for long.'

/** What a worker asks: as many keys as ends. Text and numbers only, so it passes under both serializations of node:cluster. */
interface Question {
  readonly spnegoReplay: string
  readonly id: number
  readonly keys: readonly string[]
  readonly ends: readonly number[]
  /** Times of the authenticators and names of their clients; 0 and empty where the acceptor gave none. */
  readonly times?: readonly number[] | undefined
  readonly clients?: readonly string[] | undefined
}

/** One letter for each key, in order. */
interface Answer {
  readonly spnegoReplay: string
  readonly id: number
  readonly since: number | undefined
  readonly verdicts: string
}

const FRESH = 'f'
const REPLAY = 'r'
const SET_BACK = 'g'
const FAILED = 'x'

/**
 * In the primary: answers all workers from one store, until the process ends. A second call changes nothing.
 *
 * @param store one that answers at once
 * @returns false: another one answers already
 */
export function answerWorkers(store: ReplayStore): boolean {
  if (cluster.listeners('message').some((one) => ANSWERS in one)) return false
  const listener = (worker: Worker, message: unknown) => {
    if (!isQuestion(message)) return // check: S46
    const { spnegoReplay, id, keys } = message
    const verdicts = keys.map((_, i) => letterOf(store, message, i)).join('')
    const since = store.rememberedSince?.()
    const answer: Answer = { spnegoReplay, id, since, verdicts }
    worker.send(answer, () => {}) // a worker that has gone needs none
  }
  cluster.on('message', Object.assign(listener, { [ANSWERS]: true }))
  process.env[ANNOUNCEMENT] = '1'
  return true
}

/** In a worker: whether the primary said that it answers. */
export function primaryAnswers(): boolean {
  return process.env[ANNOUNCEMENT] === '1'
}

function letterOf(store: ReplayStore, { keys, ends, times, clients }: Question, i: number): string {
  const [key, end, time, client] = [keys[i] ?? '', ends[i] ?? Number.NaN, times?.[i] ?? 0, clients?.[i] ?? '']
  try {
    const verdict = store.checkAndStore(fromHex(key), end, client === '' ? undefined : { time, client })
    return verdict === 'fresh' ? FRESH : REPLAY
  } catch (error) {
    return error instanceof KerberosError && error.code === 'CLOCK_SET_BACK' ? SET_BACK : FAILED // full
  }
}

/** Workers send messages of their own too, and one that was taken over may send anything: what is no question is left alone. */
function isQuestion(message: unknown): message is Question {
  if (typeof message !== 'object' || message === null) return false
  const { spnegoReplay, id, keys, ends, times, clients } = message as Partial<Record<keyof Question, unknown>>
  if (typeof spnegoReplay !== 'string' || typeof id !== 'number' || !Array.isArray(keys)) return false
  if (keys.length > MOST_WAITING || !keys.every((key) => typeof key === 'string' && KEY.test(key))) return false
  return (
    isListOf(ends, keys.length, Number.isFinite) &&
    (times === undefined || isListOf(times, keys.length, Number.isFinite)) &&
    (clients === undefined || isListOf(clients, keys.length, (client) => typeof client === 'string'))
  )
}

function isListOf(value: unknown, length: number, fits: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length === length && value.every(fits)
}

/** The way to the primary: `process` of a worker. */
export interface PrimaryChannel {
  send?(message: unknown, handle: undefined, options: undefined, done: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
  off(event: 'message', listener: (message: unknown) => void): unknown
}

/** One check that waits for the primary. */
interface Waiting {
  readonly key: string
  readonly expiresAt: number
  readonly details: ReplayDetails | undefined
  readonly resolve: (verdict: 'fresh' | 'replay') => void
  readonly reject: (error: unknown) => void
}

/** In a worker: the primary's store, asked over the channel between the two. What is asked in one turn of the event loop goes in one message. */
export class PrimaryReplayStore implements ReplayStore {
  readonly #channel: PrimaryChannel
  readonly #questions = new Questions({
    whom: 'the primary of node:cluster',
    timeoutMs: ANSWER_TIMEOUT_MS,
    hint: HINT,
  })
  /** Other stores of this worker get the answers to theirs over the same channel. */
  readonly #name = globalThis.crypto.randomUUID()
  readonly #asked = new Map<number, readonly Waiting[]>()
  readonly #hear = (message: unknown): void => this.#settle(message)
  #next: Waiting[] = []
  #id = 0
  #since: number | undefined

  constructor(channel: PrimaryChannel = process) {
    this.#channel = channel
  }

  checkAndStore(key: Uint8Array, expiresAt: number, details?: ReplayDetails): Promise<'fresh' | 'replay'> {
    return this.#questions.ask(
      () =>
        new Promise((resolve, reject) => {
          if (this.#next.length === 0) setImmediate(() => this.#send())
          this.#next.push({ key: toHex(key), expiresAt, details, resolve, reject })
        }),
    )
  }

  rememberedSince(): number | undefined {
    return this.#since
  }

  #send(): void {
    const waiting = this.#next
    const id = this.#id++
    this.#next = []
    if (this.#asked.size === 0) this.#channel.on('message', this.#hear)
    this.#asked.set(id, waiting)
    const keys = waiting.map(({ key }) => key)
    const ends = waiting.map(({ expiresAt }) => expiresAt)
    const times = waiting.map(({ details }) => details?.time ?? 0)
    const clients = waiting.map(({ details }) => details?.client ?? '')
    const question: Question = { spnegoReplay: this.#name, id, keys, ends, times, clients }
    const failed = (cause: unknown) => {
      const error = unavailable('the primary of node:cluster is gone', { cause, hint: HINT })
      for (const { reject } of this.#taken(id)) reject(error)
    }
    if (this.#channel.send === undefined) failed(undefined)
    else this.#channel.send(question, undefined, undefined, (error) => error !== null && failed(error))
  }

  #settle(message: unknown): void {
    const { spnegoReplay, id, since, verdicts } = Object(message) as Partial<Record<keyof Answer, unknown>>
    if (spnegoReplay !== this.#name || typeof id !== 'number') return
    const waiting = this.#taken(id)
    if (typeof since === 'number') this.#since = since
    for (const [i, { resolve, reject }] of waiting.entries()) {
      const letter = typeof verdicts === 'string' && verdicts.length === waiting.length ? verdicts[i] : FAILED
      if (letter === FRESH) resolve('fresh')
      else if (letter === REPLAY) resolve('replay')
      else reject(letter === SET_BACK ? clockSetBack() : full()) // check: S44 S48
    }
  }

  #taken(id: number): readonly Waiting[] {
    const waiting = this.#asked.get(id) ?? []
    this.#asked.delete(id)
    if (this.#asked.size === 0) this.#channel.off('message', this.#hear)
    return waiting
  }
}

function full(): Error {
  return unavailable('the replay store of the primary is full', {
    hint: 'Give useClusterReplayStore more maxEntries, or wait until entries expire.',
  })
}
