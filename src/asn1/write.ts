import { utf8 } from '../bytes/bytes.ts'
import { TAG } from './tags.ts'

/** One element: identifier, length in the fewest octets, contents (X.690 §8.1, §10.1). Absent parts leave no trace. */
export function element(tag: number, ...parts: readonly (Uint8Array | undefined)[]): Uint8Array {
  let length = 0
  for (const part of parts) if (part !== undefined) length += part.length
  const head = length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x10000 ? 4 : length < 0x1000000 ? 5 : 6
  const whole = new Uint8Array(head + length)
  whole[0] = tag
  if (head === 2) whole[1] = length
  else {
    whole[1] = 0x80 | (head - 2)
    let left = length
    for (let i = head - 1; i > 1; i--) {
      whole[i] = left & 0xff
      left = Math.floor(left / 256)
    }
  }
  let at = head
  for (const part of parts) {
    if (part === undefined) continue
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function sequence(...parts: readonly (Uint8Array | undefined)[]): Uint8Array {
  return element(TAG.SEQUENCE, ...parts)
}

export function sequenceOf<T>(values: readonly T[], encode: (value: T) => Uint8Array): Uint8Array {
  return element(TAG.SEQUENCE, ...values.map(encode))
}

/** `[n] EXPLICIT` (X.690 §8.14). */
export function field(n: number, content: Uint8Array): Uint8Array {
  return element(TAG.CONTEXT | n, content)
}

export function optionalField<T>(
  n: number,
  value: T | undefined,
  encode: (value: T) => Uint8Array,
): Uint8Array | undefined {
  return value === undefined ? undefined : field(n, encode(value))
}

/** `[APPLICATION n] EXPLICIT`. */
export function application(n: number, ...parts: readonly (Uint8Array | undefined)[]): Uint8Array {
  return element(TAG.APPLICATION | n, ...parts)
}

/** Any integer that a number holds exactly, in the fewest octets (X.690 §8.3). */
function integer(tag: number, value: number): Uint8Array {
  const octets: number[] = []
  let left = value
  do {
    const low = ((left % 256) + 256) % 256
    octets.unshift(low)
    left = (left - low) / 256
  } while (!((left === 0 && (octets[0] as number) < 0x80) || (left === -1 && (octets[0] as number) >= 0x80)))
  return element(tag, Uint8Array.from(octets))
}

export function int32(value: number): Uint8Array {
  return integer(TAG.INTEGER, value)
}

/** Always the non-negative form. */
export function uint32(value: number): Uint8Array {
  return integer(TAG.INTEGER, value >>> 0)
}

export function enumerated(value: number): Uint8Array {
  return integer(TAG.ENUMERATED, value)
}

export function boolean(value: boolean): Uint8Array {
  return element(TAG.BOOLEAN, Uint8Array.of(value ? 0xff : 0))
}

export function octets(value: Uint8Array): Uint8Array {
  return element(TAG.OCTET_STRING, value)
}

export function kerberosString(value: string): Uint8Array {
  return element(TAG.GENERAL_STRING, utf8(value))
}

/** RFC 4120 §5.2.3. The part below a second is dropped; messages carry it in a field of its own. */
export function kerberosTime(microseconds: number): Uint8Array {
  const text = new Date(Math.floor(microseconds / 1000)).toISOString()
  return element(TAG.GENERALIZED_TIME, utf8(`${text.slice(0, 19).replace(/[-:T]/g, '')}Z`))
}

/** RFC 4120 §5.2.8: always 32 bits. */
export function kerberosFlags(flags: number): Uint8Array {
  return element(
    TAG.BIT_STRING,
    Uint8Array.of(0, (flags >>> 24) & 0xff, (flags >>> 16) & 0xff, (flags >>> 8) & 0xff, flags & 0xff),
  )
}

/** From the dotted form (X.690 §8.19). */
export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return element(TAG.OID, Uint8Array.from([root * 40 + second, ...rest].flatMap(arcOctets)))
}

function arcOctets(arc: number): number[] {
  const octets = [arc % 128]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) octets.unshift(0x80 | (left % 128))
  return octets
}
