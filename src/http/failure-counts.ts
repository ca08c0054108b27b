import { DroppedCounts } from './dropped-counts.ts'

/** Most keys that are counted one by one. */
export const MAX_COUNTED_KEYS = 20_000
/** A key that failed so often is dropped only when all others have, too. */
const KEPT_FAILURES = 3
/** Least time between two looks at every key of a full table. Milliseconds. */
const SWEEP_PAUSE_MS = 1000

interface Failures {
  readonly key: string
  count: number
  /** On the monotonic clock. */
  readonly endsAt: number
  /** A further attempt was refused. */
  isOver: boolean
}

/**
 * Failures by key, each for a window of time. A full table drops what has ended, then the key with the fewest failures; how often a dropped key has failed
 * is kept, at least, so a flood of names neither makes the table forget nor keeps new names out.
 */
export class FailureCounts {
  readonly #monotonic: () => number
  /** By number of failures: one, two, and more. The oldest first. */
  readonly #levels = [new Map<string, Failures>(), new Map<string, Failures>(), new Map<string, Failures>()] as const
  readonly #dropped: DroppedCounts
  #nextSweep = Number.NEGATIVE_INFINITY

  /**
   * @param monotonic milliseconds that never go back
   * @param seed a random integer of 32 bits: which keys are counted together must not be known
   */
  constructor(monotonic: () => number, seed: number) {
    this.#monotonic = monotonic
    this.#dropped = new DroppedCounts(seed)
  }

  /** Keys that are counted one by one. */
  get size(): number {
    return this.#levels.reduce((sum, level) => sum + level.size, 0)
  }

  /** Failures of the key whose window has not ended. */
  count(key: string): number {
    return this.#alive(key)?.count ?? this.#dropped.find(key, this.#monotonic())
  }

  /** Whether a further attempt was refused in the key's window. */
  isOver(key: string): boolean {
    return this.#alive(key)?.isOver ?? this.#dropped.find(key, this.#monotonic()) >= KEPT_FAILURES // check: S87
  }

  /** Counts a failure. @returns what takes it back */
  add(key: string, windowMs: number): () => void {
    const now = this.#monotonic()
    const known = this.#alive(key)
    const failures = known ?? this.#begin(key, now, windowMs)
    this.#move(failures, failures.count + 1)
    return () => {
      if (this.#alive(key) === failures) this.#move(failures, failures.count - 1) // check: S87
    }
  }

  /** A further attempt was refused. */
  markOver(key: string): void {
    const failures = this.#alive(key)
    if (failures !== undefined) failures.isOver = true
  }

  #begin(key: string, now: number, windowMs: number): Failures {
    if (this.size >= MAX_COUNTED_KEYS) this.#makeRoom(now)
    const count = this.#dropped.find(key, now) // check: S87
    return { key, count, endsAt: now + windowMs, isOver: count >= KEPT_FAILURES }
  }

  /** Puts it behind the others that failed as often. One without failures goes, unless an attempt was refused. */
  #move(failures: Failures, count: number): void {
    const { key, isOver } = failures
    this.#levelOf(failures.count).delete(key)
    failures.count = count
    if (count > 0 || isOver) this.#levelOf(count).set(key, failures)
  }

  #levelOf(count: number): Map<string, Failures> {
    return this.#levels[Math.min(Math.max(count, 1), KEPT_FAILURES) - 1] as Map<string, Failures>
  }

  #alive(key: string): Failures | undefined {
    for (const level of this.#levels) {
      const found = level.get(key)
      if (found === undefined) continue
      if (found.endsAt > this.#monotonic()) return found
      level.delete(key)
    }
    return undefined
  }

  #makeRoom(now: number): void {
    if (now >= this.#nextSweep) {
      for (const level of this.#levels) for (const [key, { endsAt }] of level) if (endsAt <= now) level.delete(key)
      this.#nextSweep = now + SWEEP_PAUSE_MS
    }
    for (const level of this.#levels) {
      const [oldest] = level.values()
      if (this.size < MAX_COUNTED_KEYS || oldest === undefined) continue
      level.delete(oldest.key)
      this.#dropped.add(oldest.key, oldest.count, oldest.endsAt, now) // check: S87
    }
  }
}
