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
    this.#turn(monotonic)
    const [i, j] = this.#slots(client)
    const first = (this.#current.first[i] as number) + (this.#previous.first[i] as number)
    const second = (this.#current.second[j] as number) + (this.#previous.second[j] as number)
    return Math.min(first, second)
  }

  add(client: string, end: number): void {
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

  /** FNV-1a over UTF-16 units, from two starting values. */
  #slots(client: string): readonly [number, number] {
    let a = this.#seed ^ 0x811c9dc5
    let b = Math.imul(this.#seed, 0x9e3779b1) ^ 0x85ebca6b
    for (let i = 0; i < client.length; i++) {
      const unit = client.charCodeAt(i)
      a = Math.imul(a ^ unit, 0x01000193)
      b = Math.imul(b ^ unit, 0x5bd1e995)
    }
    return [(a ^ (a >>> 15)) & (COUNTERS - 1), (b ^ (b >>> 13)) & (COUNTERS - 1)]
  }
}

function emptyWindow(): Window {
  return { first: new Uint32Array(COUNTERS), second: new Uint32Array(COUNTERS), lastEnd: Number.NEGATIVE_INFINITY }
}
