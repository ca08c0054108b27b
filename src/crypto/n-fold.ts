import { UsageError } from '../errors.ts'

/** Each further copy of the input is rotated right by so many bits (RFC 3961 §5.1). */
const ROTATION_BITS = 13

/**
 * Stretches or shrinks `input` to `bytes` octets (RFC 3961 §5.1): copies of it, each rotated 13 bits further, fill the least common
 * multiple of both lengths, and the pieces of the output's length are added in ones' complement.
 *
 * @throws {UsageError} `OPTION_INVALID` when `input` is empty or `bytes` is not a positive integer
 */
export function nFold(input: Uint8Array, bytes: number): Uint8Array {
  if (input.length === 0) throw new UsageError('OPTION_INVALID', 'n-fold: the input is empty')
  if (!Number.isInteger(bytes) || bytes < 1) throw new UsageError('OPTION_INVALID', 'n-fold: no output length')

  const total = leastCommonMultiple(input.length, bytes)
  const columns = new Array<number>(bytes).fill(0)
  for (let at = 0; at < total; at++) {
    columns[at % bytes] = (columns[at % bytes] as number) + stretchedByte(input, at)
  }
  return addEndAround(columns)
}

/** The octet at `at` of the concatenated rotated copies. */
function stretchedByte(input: Uint8Array, at: number): number {
  const bits = input.length * 8
  const copy = Math.floor(at / input.length)
  const start = (((at % input.length) * 8 - ROTATION_BITS * copy) % bits) + bits // `%` keeps the sign: made positive
  const high = input[Math.floor(start / 8) % input.length] as number
  const low = input[Math.floor(start / 8 + 1) % input.length] as number
  return (((high << 8) | low) >> (8 - (start % 8))) & 0xff
}

/** Carries leftwards, and from the left end around to the right, until nothing is left to carry. */
function addEndAround(columns: readonly number[]): Uint8Array {
  const sum = [...columns]
  let carry = 0
  do {
    for (let i = sum.length - 1; i >= 0; i--) {
      const value = (sum[i] as number) + carry
      sum[i] = value & 0xff
      carry = value >>> 8
    }
  } while (carry !== 0)
  return Uint8Array.from(sum)
}

function leastCommonMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b]
  while (rest !== 0) [divisor, rest] = [rest, divisor % rest]
  return (a / divisor) * b
}
