/** The fields that keytab and credential cache share: integers of either byte order, lists of parts. */

import { concat, uint16be, uint32be } from '../../bytes/bytes.ts'
import type { ByteReader } from '../../bytes/reader.ts'
import { UsageError } from '../../errors.ts'

/** Reads the integers of a file whose byte order its version tells. */
export interface Integers {
  uint16(from: ByteReader, what: string): number
  uint32(from: ByteReader, what: string): number
}

export const bigEndian: Integers = {
  uint16: (from, what) => from.uint16(what),
  uint32: (from, what) => from.uint32(what),
}

/** "Native byte order" of the oldest versions, read as every machine in use today would have written it. */
export const littleEndian: Integers = {
  uint16: (from, what) => from.uint16le(what),
  uint32: (from, what) => from.uint32le(what),
}

/** The 16 bits as a signed number: enctypes, address and authorization-data types of private use are negative. */
export function signed16(value: number): number {
  return (value << 16) >> 16
}

/** The parts in a row. Takes an array: a file has more parts than a call can have arguments. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length <= MAX_ARGUMENTS) return concat(...parts)
  const groups: Uint8Array[] = []
  for (let i = 0; i < parts.length; i += MAX_ARGUMENTS) groups.push(concat(...parts.slice(i, i + MAX_ARGUMENTS)))
  return join(groups)
}
const MAX_ARGUMENTS = 4096

/** A number for an octet. */
export function uint8Field(value: number, what: string): Uint8Array {
  return Uint8Array.of(fieldValue(value, 0, 0xff, what))
}

/** A number for a 16-bit field, signed or not. */
export function int16Field(value: number, what: string): Uint8Array {
  return uint16be(fieldValue(value, -0x8000, 0xffff, what))
}

/** A number for a 32-bit field, signed or not. */
export function int32Field(value: number, what: string): Uint8Array {
  return uint32be(fieldValue(value, -0x80000000, 0xffffffff, what))
}

/** A number for an unsigned 32-bit field. */
export function uint32Field(value: number, what: string): Uint8Array {
  return uint32be(fieldValue(value, 0, 0xffffffff, what))
}

function fieldValue(value: number, least: number, most: number, what: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new UsageError('OPTION_INVALID', `${what}: ${value} is not an integer from ${least} to ${most}`)
}
