import { equal } from '../../bytes/bytes.ts'
import { VerificationError } from '../../errors.ts'

/** Octets of a key, and of the time behind it. */
const KEY_BYTES = 16
/** Slots of a new table; a power of two, as are all later sizes. */
const FIRST_SLOTS = 1024
/** Most entries: at ten minutes each that is 1 666 logins a second, in 32 MiB. */
export const DEFAULT_REPLAY_ENTRIES = 1_000_000
/** A slot is 24 octets; at three quarters full an entry costs 32. */
const MAX_LOAD = 0.75
/** No authenticator is remembered for longer, whatever a caller says. Milliseconds. */
const MAX_LIFETIME = 24 * 3600 * 1000

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000. Default 1 000 000. When full, every login is refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. */
  readonly now: () => number
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
}

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
  #nextSweep: number
  /** The latest wall-clock expiry among what was forgotten: what ends no later may have been seen. */
  #forgottenUntil = Number.NEGATIVE_INFINITY
  /** Wall-clock expiry minus monotonic expiry, of the entries in the table: the largest. */
  #offset = Number.NEGATIVE_INFINITY

  constructor(options: MemoryReplayStoreOptions) {
    this.#maxEntries = options.maxEntries ?? DEFAULT_REPLAY_ENTRIES
    this.#now = options.now
    this.#monotonic = options.monotonic
    this.#nextSweep = this.#monotonic() + MAX_LIFETIME
  }

  /** Live and expired entries in the table. */
  get size(): number {
    return this.#used
  }

  /**
   * @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` when full
   */
  checkAndStore(key: Uint8Array, expiresAt: number): 'fresh' | 'replay' {
    const monotonic = this.#monotonic()
    if (monotonic >= this.#nextSweep || this.#used >= this.#ends.length * MAX_LOAD) this.#sweep(monotonic)
    if (expiresAt <= this.#forgottenUntil) return 'replay' // check: S44
    const slot = this.#find(this.#keys, this.#ends, key)
    if ((this.#ends[slot] as number) !== 0) return 'replay'
    if (this.#used >= this.#maxEntries) throw full(this.#maxEntries) // check: S48
    const lifetime = Math.min(Math.max(expiresAt - this.#now(), 0), MAX_LIFETIME)
    const end = monotonic + lifetime
    this.#keys.set(key.subarray(0, KEY_BYTES), slot * KEY_BYTES)
    this.#ends[slot] = end
    this.#offset = Math.max(this.#offset, expiresAt - end)
    this.#nextSweep = Math.min(this.#nextSweep, end + lifetime)
    this.#used++
    return 'fresh'
  }

  /** The slot of the key, or the free one where it belongs. Keys are hashes: their first octets are as good as any hash of them. */
  #find(keys: Uint8Array, ends: Float64Array, key: Uint8Array): number {
    const mask = ends.length - 1
    let slot =
      (((key[0] as number) << 24) | ((key[1] as number) << 16) | ((key[2] as number) << 8) | (key[3] as number)) & mask
    while ((ends[slot] as number) !== 0) {
      if (equal(keys.subarray(slot * KEY_BYTES, (slot + 1) * KEY_BYTES), key)) return slot
      slot = (slot + 1) & mask
    }
    return slot
  }

  /** Drops what has ended and makes the table as large as the rest needs. */
  #sweep(monotonic: number): void {
    const keys = this.#keys
    const ends = this.#ends
    let live = 0
    let newestGone = Number.NEGATIVE_INFINITY
    for (const end of ends) {
      if (end > monotonic) live++
      else if (end !== 0) newestGone = Math.max(newestGone, end)
    }
    this.#forgottenUntil = Math.max(this.#forgottenUntil, newestGone + this.#offset)
    let slots = FIRST_SLOTS
    while (slots * MAX_LOAD < (live + 1) * 1.5) slots *= 2
    this.#keys = new Uint8Array(slots * KEY_BYTES)
    this.#ends = new Float64Array(slots)
    this.#used = live
    this.#nextSweep = monotonic + MAX_LIFETIME
    for (const [i, end] of ends.entries()) {
      if (end <= monotonic) continue
      const key = keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES)
      const slot = this.#find(this.#keys, this.#ends, key)
      this.#keys.set(key, slot * KEY_BYTES)
      this.#ends[slot] = end
      this.#nextSweep = Math.min(this.#nextSweep, end + (end - monotonic))
    }
  }
}

function full(entries: number): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', `the replay store is full: ${entries} live entries`, {
    hint: 'Give MemoryReplayStore more maxEntries, or turn sessions on.',
  })
}
