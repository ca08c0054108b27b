/** RFC 2743 §3.1: mechanisms that are told by their octets are read as any object identifier is. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeDer, oid, readOid } from '../../../src/asn1/index.ts'
import { concat } from '../../../src/bytes/bytes.ts'
import { ByteReader } from '../../../src/bytes/reader.ts'
import { MalformedError } from '../../../src/errors.ts'
import { MECHANISM, readMechanism } from '../../../src/gss/context.ts'

const read = (one: typeof readOid, bytes: Uint8Array) => {
  const from = new ByteReader(bytes)
  try {
    return [one(from, 'mech'), from.position]
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedError)
    return [(error as Error).message]
  }
}
const known = Object.values(MECHANISM).map((dotted) => encodeDer(oid(dotted)))

test.each(known)('%j: whole, cut, and with any bit flipped', (...octets) => {
  const der = Uint8Array.from(octets)
  for (let length = 0; length <= der.length; length++) {
    const cut = der.subarray(0, length)
    expect(read(readMechanism, cut)).toEqual(read(readOid, cut))
  }
  for (let bit = 0; bit < der.length * 8; bit++) {
    const flipped = concat(der, Uint8Array.of(5, 0))
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    expect(read(readMechanism, flipped)).toEqual(read(readOid, flipped))
  }
})

test('anything', () => {
  const start = fc.constantFrom(new Uint8Array(0), ...known)
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 30 }), (before, after) => {
      const bytes = concat(before, after)
      expect(read(readMechanism, bytes)).toEqual(read(readOid, bytes))
    }),
  )
})
