/** Offsets of the wall clock that differ by less than this belong to one setting of it. Milliseconds. */
const SAME_SETTING_MS = 500
/** Most settings of the clock that are told apart. */
const MAX_SETTINGS = 16

/** Authenticator times that were accepted under one setting of the wall clock. Milliseconds since 1970. */
interface Setting {
  /** Wall clock minus monotonic clock when the setting began. */
  readonly base: number
  /** The largest such difference under this setting. */
  offset: number
  least: number
  most: number
  /** Least time between an authenticator's time and the moment when its entry leaves the store. One for each period in which that was the same. */
  slack: number
}

/**
 * Times of authenticators that a replay cache has accepted and dropped again (RFC 4120 §3.2.3). An entry lives by the monotonic clock, until its
 * authenticator is too old for the wall clock of that moment. When the wall clock is set back later, the same authenticator is new enough again,
 * although its entry is gone: authenticators from such times must be refused.
 *
 * Keeps one interval of times for each setting of the wall clock, 16 at most. A clock that runs evenly gives one interval, which always ends before
 * anything that is still accepted.
 */
export class ForgottenTimes {
  #settings: Setting[] = []

  /**
   * Records an accepted authenticator.
   *
   * @param time its time
   * @param slack how long after `time`, or after now if that is later, its entry is kept
   * @param now wall clock; `monotonic` the other one at the same moment
   */
  add(time: number, slack: number, now: number, monotonic: number): void {
    const offset = now - monotonic
    const found = { offset, least: time, most: time, slack }
    const known = this.#settings.find((one) => one.slack === slack && Math.abs(offset - one.base) <= SAME_SETTING_MS)
    if (known !== undefined) widen(known, found)
    else this.#settings.push({ base: offset, ...found })
    if (this.#settings.length > MAX_SETTINGS) this.#joinNearest()
  }

  /** Whether an authenticator of these times may have been accepted, and its entry dropped. */
  includes(least: number, most: number, monotonic: number): boolean {
    for (const one of this.#settings) {
      const newestDropped = Math.min(one.most, monotonic + one.offset - one.slack)
      if (least <= newestDropped && most >= one.least && one.least <= newestDropped) return true
    }
    return false
  }

  /** Joins the two intervals with the smallest gap between them: what lies in the gap is refused needlessly, and nothing is lost. */
  #joinNearest(): void {
    const sorted = this.#settings.sort((a, b) => a.least - b.least)
    let at = 0
    let smallest = Number.POSITIVE_INFINITY
    for (let i = 0; i + 1 < sorted.length; i++) {
      const gap = (sorted[i + 1] as Setting).least - (sorted[i] as Setting).most
      if (gap < smallest) [at, smallest] = [i, gap]
    }
    const [joined] = sorted.splice(at + 1, 1)
    if (joined !== undefined) widen(sorted[at] as Setting, joined)
  }
}

/** Changes the setting in place: each login comes this way. */
function widen(setting: Setting, { offset, least, most, slack }: Omit<Setting, 'base'>): void {
  setting.offset = Math.max(setting.offset, offset)
  setting.least = Math.min(setting.least, least)
  setting.most = Math.max(setting.most, most)
  setting.slack = Math.min(setting.slack, slack)
}
