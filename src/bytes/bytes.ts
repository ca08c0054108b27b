/** Small tools on byte arrays, and the integer encodings that file formats and RFC 4121 use. */

export const EMPTY: Uint8Array = new Uint8Array(0)

/** Characters up to which a text is worth a loop in JavaScript. */
const MAX_SHORT_TEXT = 64

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Compares without an early exit, so that time tells nothing but the length. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

/** Compares what is no secret, many times faster. */
export function equalPublic(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

export function uint16be(value: number): Uint8Array {
  return Uint8Array.of((value >>> 8) & 0xff, value & 0xff)
}

export function uint16le(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff)
}

export function uint32be(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

export function uint32le(value: number): Uint8Array {
  return uint32be(value).reverse()
}

/** The number that four octets are, the highest first, 0 to 2^32 - 1. */
export function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
  const low = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
  return ((high << 16) | low) >>> 0
}

/** The text as UTF-8, not normalized. */
export function utf8(text: string): Uint8Array {
  return ascii(text) ?? new TextEncoder().encode(text)
}

/** Names are short and mostly ASCII, which takes a tenth of what an encoder does. */
function ascii(text: string): Uint8Array | undefined {
  if (text.length > MAX_SHORT_TEXT) return undefined
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return undefined
    bytes[i] = unit
  }
  return bytes
}
