import { seededHashes } from '../../bytes/seeded-hash.ts'

/** Counters of one row; a power of two. Two rows of two windows take 64 KiB. */
const COUNTERS = 4096

/** Counts of entries that were made in one stretch of time. */
interface Window {
  readonly first: Uint32Array
  readonly second: Uint32Array
  /** When the last of these entries ends, on the monotonic clock. */
  lastEnd: number
}

/**
 * How many live entries of a replay cache belong to a client, at least to the nearest overestimate: two rows of counters, of which the smaller one
 * counts (count-min sketch). Entries are not taken out one by one: a window is dropped when its last entry has ended, so that a client is counted
 * for up to twice the lifetime of its entries.
 */
export class ClientShares {
  readonly #seed: number
  #current = emptyWindow()
  #previous = emptyWindow()

  /** @param seed makes which clients share a counter unpredictable */
  constructor(seed: number) {
    this.#seed = seed
  }

  /** Live entries of the client, or more. */
  count(client: string, monotonic: number): number {
    const [i, j] = this.#slots(client)
    let [first, second] = [0, 0]
    for (const window of [this.#current, this.#previous]) {
      if (window.lastEnd <= monotonic) continue
      first += window.first[i] as number
      second += window.second[j] as number
    }
    return Math.min(first, second)
  }

  add(client: string, end: number, monotonic: number): void {
    this.#turn(monotonic) // check: S100
    const [i, j] = this.#slots(client)
    const { first, second } = this.#current
    first[i] = (first[i] as number) + 1
    second[j] = (second[j] as number) + 1
    this.#current.lastEnd = Math.max(this.#current.lastEnd, end)
  }

  #turn(monotonic: number): void {
    if (monotonic < this.#previous.lastEnd) return
    if (this.#current.lastEnd === Number.NEGATIVE_INFINITY) return
    const empty = this.#previous
    empty.first.fill(0)
    empty.second.fill(0)
    empty.lastEnd = Number.NEGATIVE_INFINITY
    this.#previous = this.#current
    this.#current = empty
  }

  #slots(client: string): readonly [number, number] {
    const [a, b] = seededHashes(client, this.#seed)
    return [a & (COUNTERS - 1), b & (COUNTERS - 1)]
  }
}

function emptyWindow(): Window {
  return { first: new Uint32Array(COUNTERS), second: new Uint32Array(COUNTERS), lastEnd: Number.NEGATIVE_INFINITY }
}
