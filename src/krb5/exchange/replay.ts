import { readUint32 } from '../../bytes/bytes.ts'
import { UsageError, VerificationError } from '../../errors.ts'

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

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000. Default 1 000 000. When full, every login is refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. */
  readonly now: () => number
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
}

/** Entries made under one wall clock: how far it was ahead of the monotonic one at the most, and when the last of them ends. */
interface Epoch {
  readonly offset: number
  readonly lastEnd: number
}

const NO_EPOCH: Epoch = { offset: Number.NEGATIVE_INFINITY, lastEnd: Number.NEGATIVE_INFINITY }

/**
 * Remembers authenticators in this process (RFC 4120 §3.2.3): open addressing over typed arrays. Entries leave by the monotonic clock, so a
 * wall clock that is set back re-opens nothing; nothing is evicted early.
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
  /** The latest wall-clock expiry among what was forgotten: what ends no later may have been seen. */
  #forgottenUntil = Number.NEGATIVE_INFINITY
  /** Of the entries since the last turn, and of those before: a clock that once ran ahead must not count for ever. */
  #epoch = NO_EPOCH
  #lastEpoch = NO_EPOCH

  /** @throws {UsageError} `OPTION_INVALID` */
  constructor({ maxEntries = DEFAULT_REPLAY_ENTRIES, now, monotonic }: MemoryReplayStoreOptions) {
    if (!Number.isInteger(maxEntries) || maxEntries < 1 || maxEntries > MAX_REPLAY_ENTRIES) throw outOfRange()
    this.#maxEntries = maxEntries
    this.#now = now
    this.#monotonic = monotonic
  }

  /** Live and expired entries in the table. */
  get size(): number {
    return this.#used
  }

  /** Octets that the table takes: 32 for each of `maxEntries` at the most. */
  get bytes(): number {
    return this.#keys.byteLength + this.#ends.byteLength
  }

  /**
   * @param key 16 octets, as good as random
   * @param expiresAt milliseconds since 1970
   * @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` when full
   */
  checkAndStore(key: Uint8Array, expiresAt: number): 'fresh' | 'replay' {
    if (key.length !== KEY_BYTES || !Number.isFinite(expiresAt)) throw wrongEntry()
    const monotonic = this.#monotonic()
    if (this.#mustSweep(monotonic)) this.#sweep(monotonic)
    if (expiresAt <= this.#forgottenUntil) return 'replay' // check: S44
    const slot = this.#find(this.#keys, this.#ends, key)
    if ((this.#ends[slot] as number) !== 0) return 'replay' // check: S40
    if (this.#used >= this.#maxEntries) throw full(this.#maxEntries) // check: S48
    this.#insert(slot, key, expiresAt, monotonic)
    return 'fresh'
  }

  #mustSweep(monotonic: number): boolean {
    if (this.#used >= this.#maxEntries) return monotonic >= this.#nextRescue
    return monotonic >= this.#nextSweep || this.#used >= this.#ends.length * MAX_LOAD
  }

  #insert(slot: number, key: Uint8Array, expiresAt: number, monotonic: number): void {
    const lifetime = Math.min(Math.max(expiresAt - this.#now(), 1), MAX_LIFETIME)
    const end = monotonic + lifetime
    this.#keys.set(key, slot * KEY_BYTES)
    this.#ends[slot] = end
    this.#used++
    const { offset, lastEnd } = this.#epoch
    this.#epoch = { offset: Math.max(offset, expiresAt - end), lastEnd: Math.max(lastEnd, end) }
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
    const { live, newestGone, lastEnd } = census(ends, monotonic)
    this.#forget(newestGone, monotonic)
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

  #forget(newestGone: number, monotonic: number): void {
    const offset = Math.max(this.#epoch.offset, this.#lastEpoch.offset)
    if (newestGone > 0) this.#forgottenUntil = Math.max(this.#forgottenUntil, newestGone + offset)
    if (monotonic < this.#lastEpoch.lastEnd) return
    this.#lastEpoch = this.#epoch
    this.#epoch = NO_EPOCH
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

function census(ends: Float64Array, monotonic: number): { live: number; newestGone: number; lastEnd: number } {
  let live = 0
  let newestGone = 0
  let lastEnd = 0
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i] as number
    if (end > monotonic) live++
    else newestGone = Math.max(newestGone, end)
    lastEnd = Math.max(lastEnd, end)
  }
  return { live, newestGone, lastEnd }
}

function full(entries: number): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', `the replay store is full: ${entries} live entries`, {
    hint: 'Give MemoryReplayStore more maxEntries, or wait until entries expire.',
  })
}

function wrongEntry(): UsageError {
  return new UsageError('OPTION_INVALID', `checkAndStore: expected a key of ${KEY_BYTES} octets and a time`)
}

function outOfRange(): UsageError {
  return new UsageError('OPTION_INVALID', `maxEntries: expected an integer from 1 to ${MAX_REPLAY_ENTRIES}`)
}
