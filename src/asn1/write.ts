import { utf8 } from '../bytes/bytes.ts'
import { allocate } from '../bytes/pool.ts'
import { TAG } from './tags.ts'

/** The `Z` of a time, in ASCII. */
const ZULU = 0x5a

/** What will be written: an element, or octets that are DER already. */
export type Der = Element | Uint8Array
/** A few octets: a plain array takes a third of what a typed one does. */
type FewOctets = readonly number[]

/** The octets of an element with all that lies within it, each written once. Memory of the pool: who seals a secret overwrites it. */
export function encodeDer(der: Der): Uint8Array {
  const whole = allocate(der.length)
  if (der instanceof Element) der.writeInto(whole, 0)
  else whole.set(der)
  return whole
}

/** Identifier, length in the fewest octets, contents (X.690 §8.1, §10.1). Its length is known before anything is written. */
export class Element {
  /** Octets of the whole. */
  readonly length: number
  readonly #tag: number
  readonly #parts: readonly (Der | FewOctets | undefined)[]
  readonly #contentLength: number

  constructor(tag: number, parts: readonly (Der | FewOctets | undefined)[]) {
    let length = 0
    for (const part of parts) if (part !== undefined) length += part.length
    this.#tag = tag
    this.#parts = parts
    this.#contentLength = length
    this.length = length + (length < 0x80 ? 2 : 2 + lengthOctets(length))
  }

  /** Writes itself from `start` on. */
  writeInto(whole: Uint8Array, start: number): void {
    const length = this.#contentLength
    let at = start + this.length - length
    whole[start] = this.#tag
    if (length < 0x80) whole[start + 1] = length
    else {
      whole[start + 1] = 0x80 | lengthOctets(length)
      for (let i = at - 1, left = length; i > start + 1; i--, left = Math.floor(left / 256)) whole[i] = left & 0xff
    }
    for (const part of this.#parts) {
      if (part === undefined) continue
      if (part instanceof Element) part.writeInto(whole, at)
      else if (part instanceof Uint8Array) whole.set(part, at)
      else for (let i = 0; i < part.length; i++) whole[at + i] = part[i] as number
      at += part.length
    }
  }
}

function lengthOctets(length: number): number {
  return length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4
}

/** Absent parts leave no trace. */
export function element(tag: number, ...parts: readonly (Der | undefined)[]): Element {
  return new Element(tag, parts)
}

export function sequence(...parts: readonly (Der | undefined)[]): Element {
  return new Element(TAG.SEQUENCE, parts)
}

export function sequenceOf<T>(values: readonly T[], write: (value: T) => Der): Element {
  return new Element(TAG.SEQUENCE, values.map(write))
}

/** `[n] EXPLICIT` (X.690 §8.14). */
export function field(n: number, content: Der): Element {
  return new Element(TAG.CONTEXT | n, [content])
}

export function optionalField<T>(n: number, value: T | undefined, write: (value: T) => Der): Element | undefined {
  return value === undefined ? undefined : field(n, write(value))
}

/** `[APPLICATION n] EXPLICIT`. */
export function application(n: number, ...parts: readonly (Der | undefined)[]): Element {
  return new Element(TAG.APPLICATION | n, parts)
}

/** Any integer that a number holds exactly, in the fewest octets (X.690 §8.3). */
function integer(tag: number, value: number): Element {
  let octets = 1
  for (let bound = 0x80; value >= bound || value < -bound; bound *= 256) octets++
  const content: number[] = []
  for (let scale = 256 ** (octets - 1); scale >= 1; scale /= 256) content.push(Math.floor(value / scale) & 0xff)
  return new Element(tag, [content])
}

export function int32(value: number): Element {
  return integer(TAG.INTEGER, value)
}

/** Always the non-negative form. */
export function uint32(value: number): Element {
  return integer(TAG.INTEGER, value >>> 0)
}

export function enumerated(value: number): Element {
  return integer(TAG.ENUMERATED, value)
}

export function boolean(value: boolean): Element {
  return new Element(TAG.BOOLEAN, [[value ? 0xff : 0]])
}

export function octets(value: Uint8Array): Element {
  return new Element(TAG.OCTET_STRING, [value])
}

export function kerberosString(value: string): Element {
  return new Element(TAG.GENERAL_STRING, [utf8(value)])
}

/** RFC 4120 §5.2.3. The part below a second is dropped; messages carry it in a field of its own. */
export function kerberosTime(microseconds: number): Element {
  const time = new Date(Math.floor(microseconds / 1000))
  const text: number[] = []
  pushDigits(text, 1000, time.getUTCFullYear())
  pushDigits(text, 10, time.getUTCMonth() + 1)
  pushDigits(text, 10, time.getUTCDate())
  pushDigits(text, 10, time.getUTCHours())
  pushDigits(text, 10, time.getUTCMinutes())
  pushDigits(text, 10, time.getUTCSeconds())
  text.push(ZULU)
  return new Element(TAG.GENERALIZED_TIME, [text])
}

/** The decimal digits of a number from that of `highest` on, in ASCII. */
function pushDigits(text: number[], highest: number, value: number): void {
  for (let scale = highest; scale >= 1; scale /= 10) text.push(0x30 + (Math.floor(value / scale) % 10))
}

/** RFC 4120 §5.2.8: always 32 bits. */
export function kerberosFlags(flags: number): Element {
  const bits = [0, (flags >>> 24) & 0xff, (flags >>> 16) & 0xff, (flags >>> 8) & 0xff, flags & 0xff]
  return new Element(TAG.BIT_STRING, [bits])
}

/** From the dotted form (X.690 §8.19). */
export function oid(dotted: string): Element {
  const [root = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return new Element(TAG.OID, [Uint8Array.from([root * 40 + second, ...rest].flatMap(arcOctets))])
}

function arcOctets(arc: number): number[] {
  const octets = [arc % 128]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) octets.unshift(0x80 | (left % 128))
  return octets
}
