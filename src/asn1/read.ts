import type { ByteReader } from '../bytes/reader.ts'
import { readUtf8 } from '../bytes/text.ts'
import { malformed } from '../errors.ts'
import { TAG } from './tags.ts'

/** Deepest nesting that is read (X.690 sets none). */
export const MAX_DEPTH = 32
/** Length octets after the first: 2^32 - 1 is more than any message may have. */
const MAX_LENGTH_OCTETS = 4
/** Most elements of a SEQUENCE OF, where the caller names no other bound. */
export const MAX_ELEMENTS = 1024
/** Most arcs of an OBJECT IDENTIFIER. */
export const MAX_OID_ARCS = 20
const MAX_OID_ARC = 0x7fffffff

/** Reads one value from a cursor; `what` is its name in an error. */
export type Read<T> = (from: ByteReader, what: string) => T

/** Reads one element of the given tag; returns a reader over its content (X.690 §8.1). */
export function readElement(from: ByteReader, tag: number, what: string): ByteReader {
  return from.within(readHead(from, tag, what), what)
}

/** Tag and length: how many octets of content follow. */
function readHead(from: ByteReader, tag: number, what: string): number {
  const found = from.byte(what)
  if (found !== tag) throw malformed(`${what}: expected tag 0x${hexByte(tag)}, found 0x${hexByte(found)}`) // check: P09 P10
  if (from.depth >= MAX_DEPTH) throw malformed(`${what}: nested deeper than ${MAX_DEPTH}`) // check: P01 P02
  return readLength(from, what)
}

/** Definite form in the fewest octets: the only lengths DER allows (X.690 §10.1). */
function readLength(from: ByteReader, what: string): number {
  const first = from.byte(what)
  if (first < 0x80) return first

  const octets = first & 0x7f
  if (octets === 0 || octets > MAX_LENGTH_OCTETS) throw malformed(`${what}: length of ${octets} octets`) // check: P04 P07
  let length = 0
  for (let i = 0; i < octets; i++) length = length * 256 + from.byte(what) // `<<` turns negative at 2^31
  if (length < 0x80 || length < 256 ** (octets - 1)) throw malformed(`${what}: length is not minimal`) // check: P05
  return length
}

/** The octets of the next element as they are, tag and length included: for what a checksum covers. */
export function readRaw(from: ByteReader, what: string): Uint8Array {
  const start = from.position
  const tag = from.byte(what)
  if ((tag & 0x1f) === 0x1f) throw malformed(`${what}: high tag number`) // X.690 §8.1.2.4; no message here has one check: P09
  from.within(readLength(from, what), what)
  return from.bytes.subarray(start, from.position)
}

export function readSequence(from: ByteReader, what: string): ByteReader {
  return readElement(from, TAG.SEQUENCE, what)
}

/** `[n] EXPLICIT` around one value (X.690 §8.14). */
export function readField<T>(from: ByteReader, n: number, read: Read<T>, what: string): T {
  const outside = from.enter(readHead(from, TAG.CONTEXT | n, what), what)
  const value = read(from, what)
  from.leave(outside, what)
  return value
}

/** As `readField`; `undefined` when the next element has another tag. */
export function readOptionalField<T>(from: ByteReader, n: number, read: Read<T>, what: string): T | undefined {
  return from.peek() === (TAG.CONTEXT | n) ? readField(from, n, read, what) : undefined
}

export function readSequenceOf<T>(from: ByteReader, read: Read<T>, what: string, most: number = MAX_ELEMENTS): T[] {
  const body = readSequence(from, what)
  const values: T[] = []
  while (body.remaining > 0) {
    if (values.length >= most) throw malformed(`${what}: more than ${most} elements`) // check: P19
    values.push(read(body, what))
  }
  return values
}

/** Everything of a message: one value and nothing behind it. */
export function readWhole<T>(from: ByteReader, read: Read<T>, what: string): T {
  const value = read(from, what)
  from.end(what) // check: P08
  return value
}

/** A signed integer of at most `octets` octets in two's complement, fewest octets (X.690 §8.3). */
function readInteger(from: ByteReader, octets: number, what: string, tag: number = TAG.INTEGER): number {
  const length = readHead(from, tag, what)
  if (length === 0 || length > octets) throw malformed(`${what}: integer of ${length} octets`) // check: P14
  const first = from.byte(what)
  let value = first < 0x80 ? first : first - 256
  for (let i = 1; i < length; i++) {
    const next = from.byte(what)
    const padded = i === 1 && ((first === 0 && next < 0x80) || (first === 0xff && next >= 0x80))
    if (padded) throw malformed(`${what}: integer is not minimal`) // X.690 §8.3.2 check: P06
    value = value * 256 + next
  }
  return value
}

/** RFC 4120 §5.2.4: `Int32 ::= INTEGER (-2147483648..2147483647)`. */
export function readInt32(from: ByteReader, what: string): number {
  return readInteger(from, 4, what)
}

/**
 * RFC 4120 §5.2.4: `UInt32 ::= INTEGER (0..4294967295)`. The negative 32-bit form is read as the same 32 bits: MIT and Windows
 * have sent nonces, sequence numbers and key versions so.
 */
export function readUInt32(from: ByteReader, what: string): number {
  const value = readInteger(from, 5, what)
  if (value > 0xffffffff || value < -0x80000000) throw malformed(`${what}: ${value} is not a 32-bit integer`) // check: P14
  return value < 0 ? value + 0x100000000 : value
}

export function readEnumerated(from: ByteReader, what: string): number {
  return readInteger(from, 4, what, TAG.ENUMERATED)
}

/** FF or 00 and nothing else (X.690 §11.1). */
export function readBoolean(from: ByteReader, what: string): boolean {
  const content = readElement(from, TAG.BOOLEAN, what)
  const value = content.byte(what)
  content.end(what)
  if (value !== 0 && value !== 0xff) throw malformed(`${what}: boolean 0x${hexByte(value)}`) // check: P11
  return value === 0xff
}

/** A view, not a copy. */
export function readOctets(from: ByteReader, what: string): Uint8Array {
  return from.take(readHead(from, TAG.OCTET_STRING, what), what)
}

/** RFC 4120 §5.2.1. IA5 by the letter of it, UTF-8 in every implementation; anything else is refused. */
export function readKerberosString(from: ByteReader, what: string): string {
  return readUtf8(from.take(readHead(from, TAG.GENERAL_STRING, what), what), what)
}

/** Octets of a KerberosTime. */
const TIME_BYTES = 15
const ZULU = 0x5a

/** RFC 4120 §5.2.3: `YYYYMMDDhhmmssZ`, no fraction, no offset. Microseconds since 1970. */
export function readKerberosTime(from: ByteReader, what: string): number {
  const length = readHead(from, TAG.GENERALIZED_TIME, what)
  if (length !== TIME_BYTES) throw malformed(`${what}: not a KerberosTime`) // check: P15
  const year = readDigits(from, 4, what)
  const month = readDigits(from, 2, what)
  const day = readDigits(from, 2, what)
  const hour = readDigits(from, 2, what)
  const minute = readDigits(from, 2, what)
  const second = readDigits(from, 2, what)
  if (from.byte(what) !== ZULU) throw malformed(`${what}: not a KerberosTime`) // check: P15
  const milliseconds = Date.UTC(year, month - 1, day, hour, minute, second)
  // Date.UTC carries 30 February and second 60 over, and takes year 50 for 1950; DER has no such time.
  const time = new Date(milliseconds)
  const isSame = time.getUTCFullYear() === year && time.getUTCMonth() === month - 1 && time.getUTCDate() === day
  const isTime = hour < 24 && minute < 60 && second < 60
  if (!isSame || !isTime) throw malformed(`${what}: no such time`) // check: P15
  return milliseconds * 1000
}

/** A number of so many decimal digits in ASCII. */
function readDigits(from: ByteReader, count: number, what: string): number {
  let value = 0
  for (let i = 0; i < count; i++) {
    const digit = from.byte(what) - 0x30
    if (digit < 0 || digit > 9) throw malformed(`${what}: not a KerberosTime`) // check: P15
    value = value * 10 + digit
  }
  return value
}

/**
 * RFC 4120 §5.2.8: `KerberosFlags ::= BIT STRING (SIZE (32..MAX))`, as an unsigned number whose highest bit is bit 0. Shorter strings
 * are padded with zeros, as the section tells receivers; bits beyond 32 mean nothing to us.
 */
export function readKerberosFlags(from: ByteReader, what: string): number {
  const content = readElement(from, TAG.BIT_STRING, what)
  const unused = content.byte(what)
  if (unused > 7 || (unused > 0 && content.remaining === 0)) throw malformed(`${what}: ${unused} unused bits`) // check: P18
  const octets = content.rest()
  let flags = 0
  for (let i = 0; i < 4; i++) flags = flags * 256 + (octets[i] ?? 0)
  return flags
}

/** Dotted form (X.690 §8.19). */
export function readOid(from: ByteReader, what: string): string {
  const content = readElement(from, TAG.OID, what)
  if (content.remaining === 0) throw malformed(`${what}: empty object identifier`)
  const first = readArc(content, what)
  const root = Math.min(Math.trunc(first / 40), 2) // X.690 §8.19.4
  let dotted = `${root}.${first - root * 40}`
  for (let arcs = 1; content.remaining > 0; arcs++) {
    if (arcs >= MAX_OID_ARCS) throw malformed(`${what}: more than ${MAX_OID_ARCS} arcs`) // check: P17
    dotted += `.${readArc(content, what)}`
  }
  return dotted
}

function readArc(content: ByteReader, what: string): number {
  let arc = 0
  let octet = content.byte(what)
  if (octet === 0x80) throw malformed(`${what}: arc is not minimal`) // X.690 §8.19.2 check: P17
  while (octet >= 0x80) {
    arc = arc * 128 + (octet & 0x7f)
    octet = content.byte(what)
  }
  arc = arc * 128 + octet
  if (arc > MAX_OID_ARC) throw malformed(`${what}: arc over ${MAX_OID_ARC}`) // check: P17
  return arc
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0')
}
