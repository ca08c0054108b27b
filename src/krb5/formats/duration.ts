/** MIT krb5, "Supported date and time formats", Time duration. */

const LEAST = -(2 ** 31)
const MOST = 2 ** 31 - 1
const UNITS: ReadonlyMap<string, number> = new Map([
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
])

/**
 * Reads a duration: `10h`, `1d 2h`, `h:m`, `h:m:s`, `days-h:m:s` or plain seconds.
 *
 * @returns seconds within 32 signed bits; `undefined` when the text is no duration
 */
export function parseDuration(text: string): number | undefined {
  return inRange(parseClock(text) ?? parseUnits(text))
}

const CLOCK = /^[ \t\r\n]*(?:(-?\d{1,10})-)?(-?\d{1,10})(?::(\d{1,2})(?::(\d{1,2}))?)?$/

function parseClock(text: string): number | undefined {
  const [whole, days, first, minutes, seconds] = CLOCK.exec(text) ?? []
  if (whole === undefined || (days !== undefined && seconds === undefined)) return undefined
  if (minutes === undefined) return Number(first)
  return Number(days ?? 0) * 86_400 + Number(first) * 3_600 + Number(minutes) * 60 + Number(seconds ?? 0)
}

/** Each unit at most once, the larger first, each with its own sign; no part and no sum may leave the 32 bits. */
function parseUnits(text: string): number | undefined {
  const part = /[ \t\r\n]*(?:(-?\d{1,12})([dhms])|$)/y
  let sum: number | undefined
  let last = Number.POSITIVE_INFINITY
  for (;;) {
    const [whole, count, letter] = part.exec(text) ?? []
    if (whole === undefined) return undefined
    if (letter === undefined) return sum
    const unit = UNITS.get(letter) as number
    const seconds = inRange(Number(count) * unit)
    sum = seconds === undefined ? undefined : inRange((sum ?? 0) + seconds)
    if (sum === undefined || unit >= last) return undefined
    last = unit
  }
}

function inRange(seconds: number | undefined): number | undefined {
  return seconds !== undefined && seconds >= LEAST && seconds <= MOST ? seconds : undefined
}
