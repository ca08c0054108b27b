import { seededHashes } from '../bytes/seeded-hash.ts'

/** Counters of one row; a power of two. Two rows of two periods take 1 MiB, from the first count that is added. */
const COUNTERS = 131_072
const MAX_COUNT = 0xffff

/** Counts of keys that were added in one stretch of time. */
interface Period {
  readonly first: Uint16Array
  readonly second: Uint16Array
  /** When the last of these counts ends, on the monotonic clock. */
  lastEnd: number
}

/**
 * Counts of keys for which a table had no room: two rows of counters, each as high as the highest count of the keys that share it, of which the
 * smaller one counts. Never less than what was added; more only for a key that shares both of its counters with others.
 */
export class DroppedCounts {
  readonly #seed: number
  #current: Period | undefined
  #previous: Period | undefined

  /** @param seed makes which keys share a counter unpredictable */
  constructor(seed: number) {
    this.#seed = seed
  }

  /** The key's count, or more: 0 for most keys that were never added. */
  find(key: string, monotonic: number): number {
    const [i, j] = this.#slots(key)
    let most = 0
    for (const period of [this.#current, this.#previous]) {
      if (period === undefined || period.lastEnd <= monotonic) continue
      most = Math.max(most, Math.min(period.first[i] as number, period.second[j] as number))
    }
    return most
  }

  /** @param endsAt when the count ends, on the monotonic clock */
  add(key: string, count: number, endsAt: number, monotonic: number): void {
    const { first, second } = this.#turned(monotonic)
    const [i, j] = this.#slots(key)
    const kept = Math.min(count, MAX_COUNT)
    first[i] = Math.max(first[i] as number, kept)
    second[j] = Math.max(second[j] as number, kept)
    const period = this.#current as Period
    period.lastEnd = Math.max(period.lastEnd, endsAt)
  }

  /** A period is dropped when its last count has ended, and the next one begins: a count is kept for up to twice its time. */
  #turned(monotonic: number): Period {
    if (this.#current !== undefined && (this.#previous?.lastEnd ?? 0) > monotonic) return this.#current
    const empty = this.#previous ?? emptyPeriod()
    empty.first.fill(0)
    empty.second.fill(0)
    empty.lastEnd = Number.NEGATIVE_INFINITY
    this.#previous = this.#current
    this.#current = empty
    return empty
  }

  #slots(key: string): readonly [number, number] {
    const [a, b] = seededHashes(key, this.#seed)
    return [a & (COUNTERS - 1), b & (COUNTERS - 1)]
  }
}

function emptyPeriod(): Period {
  return { first: new Uint16Array(COUNTERS), second: new Uint16Array(COUNTERS), lastEnd: Number.NEGATIVE_INFINITY }
}
