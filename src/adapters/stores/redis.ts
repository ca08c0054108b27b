import { toHex } from '../../bytes/hex.ts'
import { UsageError, type VerificationError } from '../../errors.ts'
import type { ReplayStore } from '../../gss/context.ts'
import type { RevocationStore } from '../../http/index.ts'
import { clockSetBack, ForgottenTimes, type ReplayDetails, Retention } from '../../krb5/exchange/index.ts'
import { booleanOf, integerIn, invalid, ownOptions, rejectUnknown, stringOf } from '../../options.ts'
import { ANSWER_TIMEOUT_MS, Questions, unavailable } from './questions.ts'
import { type Connection, connectionOf, type RedisClient, type Reply } from './redis-client.ts'
import { mayEvict, uptimeMs } from './redis-info.ts'

/** Octets of a replay key. */
const KEY_BYTES = 16
/** How far the clocks of the hosts may lie apart: an entry is kept that much longer. Milliseconds. */
const CLOCKS_APART_MS = 60_000
/** How much older than the memory an authenticator may be, by the acceptor's rule. After a loss none may. Milliseconds. */
const START_TOLERANCE_MS = 1000
/** How far two measurements of one memory's age may lie apart: Redis counts its own in seconds. Milliseconds. */
const UNEVEN_MS = 2000
/** Life of the marker: ten years, in milliseconds. What is left of it tells its age by Redis' own clock. */
const MARKER_LIFE_MS = 315_360_000_000
/** Ids of sessions: base64url (RFC 4648 §5). */
const SESSION_ID = /^[\w-]{1,128}$/

const HINT = 'Nothing is accepted until Redis answers: look at its address, its load and its log.'

export interface RedisReplayStoreOptions {
  /** Stands before each key in Redis. Servers of one service must have the same. Default `spnego:replay:`. */
  readonly prefix?: string | undefined
  /** How long a login waits for Redis, 10 to 60 000 milliseconds. Default 1 000. */
  readonly timeoutMs?: number | undefined
  /** Goes on with a Redis that may drop keys when its memory is full: a token whose key was dropped is accepted again. Default false. */
  readonly dangerouslyAllowEviction?: boolean | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

interface Settings {
  readonly prefix: string
  readonly timeoutMs: number
  readonly allowEviction: boolean
  readonly now: () => number
}

/** What a connection leads to: a Redis that remembers since some moment. */
interface Memory {
  /** Text of the marker key: another one, or none, means that the memory was lost. */
  readonly marker: string
  /** When it began to remember, milliseconds since 1970. */
  readonly began: number
  /** The same on this process's monotonic clock, which nobody sets. */
  readonly monotonic: number
  /** Whether this store has known another one before: then tokens were accepted that this one knows nothing of. */
  readonly isAfterLoss: boolean
}

/** One check that waits. */
interface Check {
  readonly words: string[]
  /** How long after the authenticator's time its entry is kept. Milliseconds. */
  readonly slack: number
  readonly details: ReplayDetails | undefined
  /** When, on the monotonic clock. */
  readonly asked: number
  readonly isLate: () => boolean
  readonly resolve: (verdict: 'fresh' | 'replay') => void
  readonly reject: (error: unknown) => void
}

/** Remembers authenticators (RFC 4120 §3.2.3) and revoked sessions for all hosts, in one Redis. */
export class RedisStore implements ReplayStore, RevocationStore {
  readonly #connection: Connection
  readonly #settings: Settings
  readonly #questions: Questions
  /** Counts connections: an answer counts only on the one that the question went out on. */
  #epoch = 0
  #memory: Memory | undefined
  /** That of the last connection that was looked at. */
  #known: Memory | undefined
  #meeting: Promise<void> | undefined
  #next: Check[] = []
  /** Of this process: what other hosts accepted before this one's clock was set back, it cannot know. */
  readonly #forgotten = new ForgottenTimes()
  readonly #retention = new Retention()
  #hasWarned = false

  /** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED` */
  constructor(client: RedisClient, options: RedisReplayStoreOptions = {}) {
    this.#settings = settingsOf(options)
    this.#connection = connectionOf(client)
    this.#questions = new Questions({ whom: 'Redis', timeoutMs: this.#settings.timeoutMs, hint: HINT })
    this.#connection.onChange((isUp) => {
      this.#epoch++
      this.#memory = undefined
      this.#meeting = undefined
      if (isUp) void this.#meet().catch(() => {})
    })
    void this.#meet().catch(() => {}) // so that the first login finds a memory that is older than its token
  }

  /**
   * @param key 16 octets, as good as random
   * @param expiresAt milliseconds since 1970
   * @throws {VerificationError} rejects with `REPLAY_STORE_UNAVAILABLE` when Redis is gone, silent, full or may forget; with `CLOCK_SET_BACK` when this
   *   process may have had an authenticator of that time accepted before its wall clock was set
   */
  checkAndStore(key: Uint8Array, expiresAt: number, details?: ReplayDetails): Promise<'fresh' | 'replay'> {
    if (key.length !== KEY_BYTES || !Number.isFinite(expiresAt)) throw wrongEntry()
    const now = this.#settings.now()
    const { until, slack } = this.#retention.of(expiresAt, details?.time, now)
    const words = ['SET', this.#key(toHex(key)), '1', 'NX', 'PX', lifeOf(until - now)]
    const asked = performance.now()
    return this.#questions.ask(
      (isLate) =>
        new Promise((resolve, reject) => {
          if (this.#next.length === 0) setImmediate(() => void this.#checkAll())
          this.#next.push({ words, slack, details, asked, isLate, resolve, reject })
        }),
    )
  }

  /** Announces an acceptor that needs entries for so many milliseconds after their time. */
  expectSkew(milliseconds: number): void {
    this.#retention.widen(milliseconds)
  }

  rememberedSince(): number | undefined {
    if (this.#known === undefined) return undefined
    const { began, isAfterLoss } = this.#known
    return isAfterLoss ? began + START_TOLERANCE_MS : began
  }

  async revoke(id: string, until: number): Promise<void> {
    if (!Number.isFinite(until)) throw invalid('until', 'milliseconds since 1970', until)
    const words = ['SET', this.#sessionKey(id), '1', 'PX', lifeOf(until - this.#settings.now())]
    await this.#questions.ask(async () => {
      if (!isWritten(await this.#exchange(words))) throw malformed('SET')
    })
  }

  async isRevoked(id: string): Promise<boolean> {
    const words = ['EXISTS', this.#sessionKey(id)]
    return this.#questions.ask(async () => {
      const count = await this.#exchange(words)
      if (count !== 0 && count !== 1) throw malformed('EXISTS')
      return count === 1
    })
  }

  #key(name: string): string {
    return `${this.#settings.prefix}${name}`
  }

  get #markerKey(): string {
    return this.#key('since')
  }

  #sessionKey(id: string): string {
    if (typeof id !== 'string' || !SESSION_ID.test(id)) throw invalid('id', 'base64url text', id)
    return this.#key(`revoked:${id}`)
  }

  /** What was asked in one turn of the event loop, in one round trip. */
  async #checkAll(): Promise<void> {
    const waiting = this.#next
    this.#next = []
    try {
      await this.#meet()
      const checks = waiting.filter(({ isLate }) => !isLate()) // what nobody waits for any more is not sent
      for (const { isLate, reject } of waiting) if (isLate()) reject(lost())
      if (checks.length === 0) return
      const replies = await this.#send(checks.map(({ words }) => words))
      for (const [i, check] of checks.entries()) this.#settle(check, replies[i])
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
  }

  #settle(check: Check, reply: Reply | undefined): void {
    const { asked, resolve, reject } = check
    try {
      const isNew = isWritten(valueIn(reply))
      if (isNew && (this.#memory === undefined || beganAfter(asked, this.#memory))) throw forgot() // check: S46
      if (isNew) this.#rememberTime(check)
      resolve(isNew ? 'fresh' : 'replay')
    } catch (error) {
      reject(error)
    }
  }

  #rememberTime({ slack, details }: Check): void {
    if (details === undefined) return
    const { time } = details
    const [now, monotonic] = [this.#settings.now(), performance.now()]
    if (this.#forgotten.includes(time, time, monotonic)) throw clockSetBack() // check: S44
    this.#forgotten.add(time, slack + CLOCKS_APART_MS, now, monotonic)
  }

  /** One command, and what it gives. */
  async #exchange(words: string[]): Promise<unknown> {
    await this.#meet()
    const [reply] = await this.#send([words])
    return valueIn(reply)
  }

  /** To a Redis that was met, and back over the same connection. Its marker is read last: what was lost before is noticed. */
  async #send(commands: string[][]): Promise<readonly Reply[]> {
    const epoch = this.#epoch
    const replies = await this.#connection.send([...commands, ['GET', this.#markerKey]])
    if (epoch !== this.#epoch) throw lost() // check: S47
    if (valueIn(replies[commands.length]) !== this.#memory?.marker) await this.#meetAnew() // check: S46
    return replies
  }

  /** Until it is known what the connection leads to; however many wait for that, it is asked once for each connection. */
  async #meet(): Promise<void> {
    while (this.#memory === undefined) {
      this.#meeting ??= this.#look(this.#epoch)
      const meeting = this.#meeting
      try {
        await meeting
      } finally {
        if (this.#meeting === meeting) this.#meeting = undefined
      }
    }
  }

  async #meetAnew(): Promise<void> {
    this.#memory = undefined
    await this.#meet()
  }

  /** Whether Redis keeps what it is given, and since when; leaves a marker where there is none. */
  async #look(epoch: number): Promise<void> {
    const marker = globalThis.crypto.randomUUID()
    const [memory, server, made, found, left] = await this.#connection.send([
      ['INFO', 'memory'],
      ['INFO', 'server'],
      ['SET', this.#markerKey, marker, 'NX', 'PX', String(MARKER_LIFE_MS)],
      ['GET', this.#markerKey],
      ['PTTL', this.#markerKey],
    ])
    if (epoch !== this.#epoch) return // of a connection that is no more
    this.#checkEviction(memory)
    isWritten(valueIn(made))
    this.#known = this.#memoryOf(valueIn(found), valueIn(left), uptimeMs(server))
    this.#memory = this.#known
  }

  /**
   * A Redis that was started again may have lost what it had not saved: it counts from its start, whatever the marker says. One that does not say how
   * long it runs may have been started with each new connection: it counts from then.
   */
  #memoryOf(marker: unknown, left: unknown, uptime: number | undefined): Memory {
    if (typeof marker !== 'string') throw malformed('GET')
    if (typeof left !== 'number' || !(left >= 0)) throw malformed('PTTL')
    const age = Math.min(Math.max(MARKER_LIFE_MS - left, 0), uptime ?? 0) // check: S46
    const monotonic = performance.now() - age
    const known = this.#known
    const isSame = uptime !== undefined && known?.marker === marker && monotonic <= known.monotonic + UNEVEN_MS // check: S46
    if (isSame && known !== undefined) return known
    return { marker, began: this.#settings.now() - age, monotonic, isAfterLoss: known !== undefined }
  }

  #checkEviction(memory: Reply | undefined): void {
    const answer = mayEvict(memory)
    if (answer === 'unknown' && !this.#hasWarned) {
      this.#hasWarned = true
      process.emitWarning(
        'Redis does not answer INFO: see to it that its maxmemory-policy is noeviction; each new connection to it counts as a restart, ' +
          'after which tokens from before are refused. Allow the user the command INFO to mend both.',
        {
          type: 'SpnegoWarning',
          code: 'SPNEGO_REDIS_EVICTION_UNKNOWN',
        },
      )
    }
    if (answer === 'yes' && !this.#settings.allowEviction) throw evicts() // check: S48
  }
}

/** Whether the memory was lost while somebody waited: his token may have been accepted before. */
function beganAfter(asked: number, { monotonic, isAfterLoss }: Memory): boolean {
  return isAfterLoss && monotonic > asked
}

function settingsOf(options: RedisReplayStoreOptions): Settings {
  const {
    prefix = 'spnego:replay:',
    timeoutMs = ANSWER_TIMEOUT_MS,
    dangerouslyAllowEviction = false,
    now = Date.now,
    ...unknown
  } = ownOptions('redisReplayStore', options)
  rejectUnknown('redisReplayStore', unknown)
  if (typeof now !== 'function') throw invalid('now', 'a function', now)
  return Object.freeze({
    prefix: stringOf('prefix', prefix),
    timeoutMs: integerIn('timeoutMs', timeoutMs, 10, 60_000),
    allowEviction: booleanOf('dangerouslyAllowEviction', dangerouslyAllowEviction),
    now,
  })
}

function lifeOf(ms: number): string {
  return String(Math.max(1, Math.ceil(ms)) + CLOCKS_APART_MS)
}

/** Whether `SET … NX` wrote: any other answer than the two is none. */
function isWritten(value: unknown): boolean {
  if (value === null) return false
  if (value !== 'OK') throw malformed('SET') // check: S46
  return true
}

function valueIn(reply: Reply | undefined): unknown {
  if (reply === undefined) throw malformed('a pipeline')
  if ('value' in reply) return reply.value
  const text = reply.error instanceof Error ? reply.error.message : ''
  if (text.startsWith('OOM')) throw full(reply.error)
  throw unavailable('Redis answered with an error', { cause: reply.error, hint: HINT })
}

function full(cause: unknown): VerificationError {
  return unavailable('Redis is full: it has reached its maxmemory', {
    cause,
    hint: 'Give Redis more maxmemory, or wait until entries expire.',
  })
}

function evicts(): VerificationError {
  return unavailable('Redis may drop keys when its memory is full, and a token whose key is gone could be used again', {
    hint: 'Set maxmemory-policy noeviction in redis.conf, or give tokens a Redis of their own.',
  })
}

function lost(): VerificationError {
  return unavailable('the connection to Redis was lost', { hint: HINT })
}

function forgot(): VerificationError {
  return unavailable('Redis has lost its memory, and has begun to remember only while this login waited', {
    hint: 'Try again: tokens that are made from now on are accepted.',
  })
}

function malformed(what: string): VerificationError {
  return unavailable(`the answer to ${what} is none that Redis gives`, { hint: HINT })
}

function wrongEntry(): UsageError {
  return new UsageError('OPTION_INVALID', `checkAndStore: expected a key of ${KEY_BYTES} octets and a time`)
}
