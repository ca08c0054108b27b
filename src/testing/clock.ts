import { UsageError } from '../errors.ts'

/** A clock that obeys the test: it stands still until it is moved. */
export interface TestClock {
  /** Milliseconds since 1970, as `Date.now()`. */
  now(): number
  /** Moves by that many milliseconds; back when negative. */
  advance(ms: number): void
  /** Moves to a time, in milliseconds since 1970. */
  set(ms: number): void
}

/**
 * @param start a `Date` or milliseconds since 1970; by default the present time
 * @throws {UsageError} `OPTION_INVALID` when a time is not a finite number
 */
export function testClock(start: number | Date = Date.now()): TestClock {
  let time = checked('start', start instanceof Date ? start.getTime() : start)
  return {
    now: () => time,
    advance: (ms) => {
      time += checked('ms', ms)
    },
    set: (ms) => {
      time = checked('ms', ms)
    },
  }
}

function checked(name: string, ms: number): number {
  if (typeof ms === 'number' && Number.isFinite(ms)) return ms
  throw new UsageError('OPTION_INVALID', `testClock: ${name} is not a finite number of milliseconds`)
}
