import { readUint32 } from '../../bytes/bytes.ts'
import { quote } from '../../bytes/text.ts'
import { UsageError, VerificationError } from '../../errors.ts'
import { ClientShares } from './client-shares.ts'
import { ForgottenTimes } from './forgotten-times.ts'
import { Retention } from './retention.ts'

/** Octets of a key; the time behind it has eight more. */
const KEY_BYTES = 16
/** Slots of a new table. */
const FIRST_SLOTS = 1024
/** Most entries: at ten minutes each that is 1 666 logins a second, in 32 MB. */
export const DEFAULT_REPLAY_ENTRIES = 1_000_000
const MAX_REPLAY_ENTRIES = 50_000_000
/** A slot is 24 octets; at three quarters full an entry costs 32. */
const MAX_LOAD = 0.75
/** No authenticator is remembered for longer, whatever a caller says. Milliseconds. */
const MAX_LIFETIME = 24 * 3600 * 1000
/** Least time between two sweeps that make no room: each looks at every slot. Milliseconds. */
const SWEEP_PAUSE = 1000
/** How long before its expiry an authenticator is too old to be accepted, when its time is not known. Milliseconds. */
const EXPIRY_MARGIN = 1000
/** Once half of the entries are taken, no client may hold more than this part of them. */
const CLIENT_SHARE = 1 / 16
/** Entries that a client may hold in a store of any size. */
const LEAST_SHARE = 16

/** What is known of an authenticator beside its key. */
export interface ReplayDetails {
  /** The authenticator's own time (RFC 4120 §5.5.1), milliseconds since 1970. */
  readonly time: number
  /** The client principal that the ticket proves, as text. */
  readonly client: string
}

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000. Default 1 000 000. When full, every login is refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. */
  readonly now: () => number
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
  /** A random integer: which clients share a counter must not be known. */
  readonly seed?: number | undefined
}

/**
 * Replay cache of one process (RFC 4120 §3.2.3): open addressing over typed arrays. Entries leave by the monotonic clock, and `ForgottenTimes` knows
 * what has left, so a wall clock that is set back re-opens nothing. Nothing is evicted early.
 */
export class MemoryReplayStore {
  readonly #maxEntries: number
  readonly #now: () => number
  readonly #monotonic: () => number
  #keys = new Uint8Array(FIRST_SLOTS * KEY_BYTES)
  /** On the monotonic clock; 0 is an empty slot. */
  #ends = new Float64Array(FIRST_SLOTS)
  #used = 0
  /** When all that was there at the last sweep has ended. */
  #nextSweep = Number.POSITIVE_INFINITY
  /** When a full table is looked at again. */
  #nextRescue = Number.NEGATIVE_INFINITY
  readonly #forgotten = new ForgottenTimes()
  readonly #retention = new Retention()
  readonly #shares: ClientShares
  readonly #startedAt: { readonly wall: number; readonly monotonic: number }

  /** @throws {UsageError} `OPTION_INVALID` */
  constructor({ maxEntries = DEFAULT_REPLAY_ENTRIES, now, monotonic, seed = 0 }: MemoryReplayStoreOptions) {
    if (!Number.isInteger(maxEntries) || maxEntries < 1 || maxEntries > MAX_REPLAY_ENTRIES) throw outOfRange()
    this.#maxEntries = maxEntries
    this.#now = now
    this.#monotonic = monotonic
    this.#shares = new ClientShares(seed)
    this.#startedAt = { wall: now(), monotonic: monotonic() }
  }

  /** Live and expired entries in the table. */
  get size(): number {
    return this.#used
  }

  /** Octets that the table takes: 32 for each of `maxEntries` at the most. */
  get bytes(): number {
    return this.#keys.byteLength + this.#ends.byteLength
  }

  /** When the store began to remember: authenticators from before may have been used. Milliseconds since 1970. */
  rememberedSince(): number {
    // A clock that was behind when the store was made, and was set since, says that it began earlier than it did.
    return Math.max(this.#startedAt.wall, this.#now() - (this.#monotonic() - this.#startedAt.monotonic)) // check: S43
  }

  /**
   * Announces an acceptor, so that entries which others leave before its first login are kept as long as it needs them.
   *
   * @param milliseconds for which it accepts an authenticator after its time
   */
  expectSkew(milliseconds: number): void {
    this.#retention.widen(milliseconds)
  }

  /**
   * @param key 16 bytes, as good as random
   * @param expiresAt milliseconds since 1970; the entry is kept for longer when another acceptor of this store has a wider clock skew
   * @param details without them a client may hold any part of the store, and a clock that was set back looks like a replay
   * @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` when the store is full, or half full and the client holds more than its share;
   *   `CLOCK_SET_BACK` when an authenticator of that time may have been accepted before the wall clock was set
   */
  checkAndStore(key: Uint8Array, expiresAt: number, details?: ReplayDetails): 'fresh' | 'replay' {
    if (key.length !== KEY_BYTES || !Number.isFinite(expiresAt)) throw wrongEntry()
    const monotonic = this.#monotonic()
    if (this.#mustSweep(monotonic)) this.#sweep(monotonic)
    const isOverShare = details !== undefined && this.#isOverShare(details.client, monotonic)
    const slot = this.#find(this.#keys, this.#ends, key)
    if ((this.#ends[slot] as number) !== 0) return 'replay' // check: S40
    const now = this.#now()
    const [least, most] = details === undefined ? [now + EXPIRY_MARGIN, expiresAt] : [details.time, details.time]
    if (this.#forgotten.includes(least, most, monotonic)) return refuseForgotten(details) // check: S44
    if (this.#used >= this.#maxEntries) throw full(this.#maxEntries) // check: S48
    if (isOverShare) throw overShare(details.client) // check: S100
    const { until, slack } = this.#retention.of(expiresAt, details?.time, now)
    this.#insert(slot, key, until, now, monotonic)
    this.#forgotten.add(details?.time ?? expiresAt, slack, now, monotonic)
    if (details !== undefined) this.#shares.add(details.client, this.#ends[slot] as number, monotonic)
    return 'fresh'
  }

  /** One account must not fill the store for all others. What has ended takes no room: it is swept away before anybody is refused for it. */
  #isOverShare(client: string, monotonic: number): boolean {
    const isHalfFull = () => this.#used >= this.#maxEntries / 2
    if (!isHalfFull()) return false
    if (this.#shares.count(client, monotonic) < Math.max(LEAST_SHARE, this.#maxEntries * CLIENT_SHARE)) return false
    if (monotonic >= this.#nextRescue) this.#sweep(monotonic) // check: S100
    return isHalfFull()
  }

  #mustSweep(monotonic: number): boolean {
    if (this.#used >= this.#maxEntries) return monotonic >= this.#nextRescue
    return monotonic >= this.#nextSweep || this.#used >= this.#ends.length * MAX_LOAD
  }

  #insert(slot: number, key: Uint8Array, expiresAt: number, now: number, monotonic: number): void {
    const lifetime = Math.min(Math.max(expiresAt - now, 1), MAX_LIFETIME)
    const end = monotonic + lifetime
    this.#keys.set(key, slot * KEY_BYTES)
    this.#ends[slot] = end
    this.#used++
    this.#nextSweep = Math.min(this.#nextSweep, Math.max(end, monotonic + SWEEP_PAUSE))
  }

  /** The slot of the key, or the free one where it belongs. Keys are hashes: their first octets are as good as any hash of them. */
  #find(keys: Uint8Array, ends: Float64Array, key: Uint8Array): number {
    const slots = ends.length
    let slot = readUint32(key, 0) % slots
    while ((ends[slot] as number) !== 0) {
      if (holds(keys, slot * KEY_BYTES, key)) return slot
      slot = slot + 1 === slots ? 0 : slot + 1
    }
    return slot
  }

  /** Drops what has ended and makes the table as large as the rest needs. */
  #sweep(monotonic: number): void {
    const keys = this.#keys
    const ends = this.#ends
    const { live, lastEnd } = census(ends, monotonic)
    const slots = this.#slotsFor(live)
    this.#keys = new Uint8Array(slots * KEY_BYTES)
    this.#ends = new Float64Array(slots)
    this.#used = live
    this.#nextSweep = live === 0 ? Number.POSITIVE_INFINITY : Math.max(lastEnd, monotonic + SWEEP_PAUSE)
    this.#nextRescue = monotonic + SWEEP_PAUSE
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i] as number
      if (end <= monotonic) continue
      const key = keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES)
      const slot = this.#find(this.#keys, this.#ends, key)
      this.#keys.set(key, slot * KEY_BYTES)
      this.#ends[slot] = end
    }
  }

  /** Half as many again as are alive, but no more than all that may ever be. */
  #slotsFor(live: number): number {
    let slots = FIRST_SLOTS
    while (slots * MAX_LOAD < (live + 1) * 1.5) slots *= 2
    return Math.min(slots, Math.max(FIRST_SLOTS, Math.ceil(this.#maxEntries / MAX_LOAD)))
  }
}

/** Whether the key lies there. Keys are no secrets: the first octet that differs may end it. */
function holds(keys: Uint8Array, at: number, key: Uint8Array): boolean {
  for (let i = 0; i < KEY_BYTES; i++) if (keys[at + i] !== key[i]) return false
  return true
}

function census(ends: Float64Array, monotonic: number): { live: number; lastEnd: number } {
  let live = 0
  let lastEnd = 0
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i] as number
    if (end > monotonic) live++
    lastEnd = Math.max(lastEnd, end)
  }
  return { live, lastEnd }
}

function refuseForgotten(details: ReplayDetails | undefined): 'replay' {
  if (details === undefined) return 'replay'
  throw clockSetBack()
}

/** For every replay cache that finds it out. */
export function clockSetBack(): VerificationError {
  const message = 'the server’s clock was set back: tokens of this time may have been used already'
  return new VerificationError('CLOCK_SET_BACK', message, {
    hint: 'Synchronise the server’s clock (NTP); logins succeed again when it has passed the time from which it was set back.',
  })
}

function full(entries: number): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', `the replay store is full: ${entries} live entries`, {
    hint: 'Give MemoryReplayStore more maxEntries, or wait until entries expire.',
  })
}

function overShare(client: string): VerificationError {
  const message = `the replay store is half full, and ${quote(client)} holds more than a sixteenth of it`
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', message, {
    hint: 'Let that client log in less often (sessions), or give MemoryReplayStore more maxEntries.',
  })
}

function wrongEntry(): UsageError {
  return new UsageError('OPTION_INVALID', `checkAndStore: expected a key of ${KEY_BYTES} bytes and a time`)
}

function outOfRange(): UsageError {
  return new UsageError('OPTION_INVALID', `maxEntries: expected an integer from 1 to ${MAX_REPLAY_ENTRIES}`)
}
