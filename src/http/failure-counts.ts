/** Most keys that are counted one by one. */
export const MAX_COUNTED_KEYS = 20_000
/** Counters that keys share when each of those has failed too often to be dropped; a power of two. */
const SHARED_COUNTERS = 4096
/** So many failures keep a key from being dropped before its time. */
const KEPT_FAILURES = 3

interface Failures {
  count: number
  /** On the monotonic clock. */
  readonly endsAt: number
  /** A further attempt was refused. */
  isOver: boolean
}

/**
 * Failures by key, each for a window of time. A full table drops the key with the fewest failures; one with three or more is never dropped before its
 * window ends. When no other is left, new keys share counters: a flood of names neither makes the table forget nor keeps new names out.
 */
export class FailureCounts {
  readonly #monotonic: () => number
  /** By number of failures: one, two, and more. The oldest first. */
  readonly #levels = [new Map<string, Failures>(), new Map<string, Failures>(), new Map<string, Failures>()] as const
  readonly #shared = new Map<string, Failures>()

  /** @param monotonic milliseconds that never go back */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  /** Keys and shared counters. */
  get size(): number {
    return this.#counted + this.#shared.size
  }

  get #counted(): number {
    return this.#levels.reduce((sum, level) => sum + level.size, 0)
  }

  /** Failures of the key whose window has not ended. */
  find(key: string): { readonly count: number; readonly isOver: boolean } | undefined {
    return this.#alive(this.#placeOf(key))
  }

  add(key: string, windowMs: number): void {
    const place = this.#placeOf(key) ?? this.#newPlace(key)
    const found = this.#alive(place)
    const { count = 0, endsAt = this.#monotonic() + windowMs, isOver = false } = found ?? {}
    place.map.delete(place.key)
    const map = place.map === this.#shared ? this.#shared : this.#levelOf(count + 1)
    map.set(place.key, { count: count + 1, endsAt, isOver })
  }

  takeBack(key: string): void {
    const place = this.#placeOf(key)
    const found = this.#alive(place)
    if (place === undefined || found === undefined) return
    found.count--
    if (found.count <= 0 && !found.isOver) place.map.delete(place.key)
    else if (place.map !== this.#shared) {
      place.map.delete(place.key)
      this.#levelOf(found.count).set(place.key, found)
    }
  }

  /** A further attempt was refused. */
  markOver(key: string): void {
    const found = this.#alive(this.#placeOf(key))
    if (found !== undefined) found.isOver = true
  }

  #levelOf(count: number): Map<string, Failures> {
    return this.#levels[Math.min(Math.max(count, 1), KEPT_FAILURES) - 1] as Map<string, Failures>
  }

  #placeOf(key: string): Place | undefined {
    const level = this.#levels.find((map) => map.has(key))
    if (level !== undefined) return { map: level, key }
    const shared = sharedKey(key)
    return this.#shared.has(shared) ? { map: this.#shared, key: shared } : undefined
  }

  #alive(place: Place | undefined): Failures | undefined {
    const found = place?.map.get(place.key)
    if (place === undefined || found === undefined) return undefined
    if (found.endsAt > this.#monotonic()) return found
    place.map.delete(place.key)
    return undefined
  }

  #newPlace(key: string): Place {
    const [one, two, more] = this.#levels
    if (this.#counted < MAX_COUNTED_KEYS) return { map: one, key }
    for (const level of [one, two]) {
      const [oldest] = level.keys()
      if (oldest === undefined) continue
      level.delete(oldest)
      return { map: one, key }
    }
    const [oldest] = more.keys()
    if (oldest === undefined || this.#alive({ map: more, key: oldest }) !== undefined) {
      return { map: this.#shared, key: sharedKey(key) } // check: S87
    }
    return { map: one, key }
  }
}

interface Place {
  readonly map: Map<string, Failures>
  readonly key: string
}

/** FNV-1a over UTF-16 units. */
function sharedKey(key: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return String((hash ^ (hash >>> 15)) & (SHARED_COUNTERS - 1))
}
