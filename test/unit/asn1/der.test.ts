import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  boolean,
  type Der,
  element,
  encodeDer,
  enumerated,
  field,
  int32,
  kerberosFlags,
  kerberosString,
  kerberosTime,
  MAX_DEPTH,
  MAX_ELEMENTS,
  MAX_OID_ARCS,
  octets,
  oid,
  optionalField,
  type Read,
  readBoolean,
  readElement,
  readEnumerated,
  readField,
  readInt32,
  readKerberosFlags,
  readKerberosString,
  readKerberosTime,
  readOctets,
  readOid,
  readOptionalField,
  readRaw,
  readSequence,
  readSequenceOf,
  readUInt32,
  readWhole,
  sequence,
  sequenceOf,
  TAG,
  uint32,
} from '../../../src/asn1/index.ts'
import { concat, utf8 } from '../../../src/bytes/bytes.ts'
import { fromHex, toHex } from '../../../src/bytes/hex.ts'
import { ByteReader } from '../../../src/bytes/reader.ts'
import { MalformedError } from '../../../src/errors.ts'
import {
  decodeNegTokenInit,
  decodeNegTokenResp,
  encodeMechTypes,
  encodeNegTokenInit,
} from '../../../src/gss/spnego/tokens.ts'
import { decodeApReq, decodeKrbError } from '../../../src/krb5/messages/index.ts'

/** Reads the whole of a hexadecimal text. */
function from<T>(hex: string, read: Read<T>): T {
  return readWhole(new ByteReader(fromHex(hex.replaceAll(' ', ''))), read, 'value')
}

function refused<T>(hex: string, read: Read<T>): void {
  expect(() => from(hex, read), hex).toThrow(MalformedError)
}

/** SEQUENCEs within each other, the innermost empty, read one by one. */
function readNest(reader: ByteReader): number {
  let depth = 0
  for (let at = reader; at.remaining > 0; depth++) at = readSequence(at, 'nest')
  return depth
}

function nest(depth: number): Uint8Array {
  let whole: Uint8Array = new Uint8Array(0)
  for (let i = 0; i < depth; i++) whole = encodeDer(sequence(whole))
  return whole
}

describe('lengths', () => {
  test('P01 30 80 fifty thousand times', () => {
    const bytes = new Uint8Array(100_000)
    for (let i = 0; i < bytes.length; i += 2) bytes.set([0x30, 0x80], i)
    for (const decode of [readNest, (one: ByteReader) => readRaw(one, 'raw')]) {
      expect(() => decode(new ByteReader(bytes))).toThrow(MalformedError)
    }
    for (const decode of [decodeApReq, decodeKrbError, decodeNegTokenInit, decodeNegTokenResp]) {
      for (const first of [0x6e, 0x7e, 0x60, 0xa0, 0xa1]) {
        bytes[0] = first
        expect(() => decode(bytes)).toThrow(MalformedError)
      }
    }
  })

  test('P01 P02 nesting is read to a depth of 32 and no further', () => {
    expect(readNest(new ByteReader(nest(MAX_DEPTH)))).toBe(MAX_DEPTH)
    expect(() => readNest(new ByteReader(nest(MAX_DEPTH + 1)))).toThrow(/deeper than 32/)
  })

  test('P02 thirty thousand definite levels', () => {
    // Each level as long as two length octets can say; what they announce is there at the outermost only.
    const bytes = concat(
      ...Array.from({ length: 15_000 }, (_, i) => fromHex(`3082${(59_996 - 4 * i).toString(16).padStart(4, '0')}`)),
    )
    expect(() => readNest(new ByteReader(bytes))).toThrow(MalformedError)
    expect(readRaw(new ByteReader(bytes), 'raw').length).toBe(bytes.length)
  })

  test.each(['30 84 ff ff ff ff', '30 84 ff ff ff ff 00', '04 84 80 00 00 00', '04 83 ff ff ff'])(
    'P03 %s announces more than there is',
    (hex) => {
      refused(hex, readRaw)
      refused(hex, readOctets)
    },
  )

  test.each(Array.from({ length: 123 }, (_, i) => i + 5))('P04 a length of %i octets', (count) => {
    const head = `04 ${(0x80 | count).toString(16)}`
    expect(() => from(`${head} ${'00'.repeat(count - 1)} 01 00`, readOctets)).toThrow(`length of ${count} octets`)
    expect(() => from(`${head} ${'00'.repeat(count)}`, readRaw)).toThrow(MalformedError)
  })

  test.each([
    '04 81 03 01 02 03',
    '04 82 00 03 01 02 03',
    '04 83 00 00 80',
    '04 81 7f',
    '04 81 00',
    '04 84 00 00 00 01 00',
  ])('P05 %s is not minimal', (hex) => {
    const padded = `${hex} ${'00'.repeat(200)}`
    const at = new ByteReader(fromHex(padded.replaceAll(' ', '')))
    expect(() => readOctets(at, 'value')).toThrow(/not minimal/)
  })

  test('P05 each minimal form', () => {
    for (const length of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0xffffff, 0x1000000]) {
      const whole = encodeDer(octets(new Uint8Array(length)))
      expect(readWhole(new ByteReader(whole), readOctets, 'value').length).toBe(length)
    }
  })

  test('P07 the indefinite form', () => {
    expect(() => from('30 80 00 00', readRaw)).toThrow('length of 0 octets')
    refused('30 80 00 00', readSequence)
    refused('24 80 04 01 00 00 00', readOctets)
  })
})

describe('shape', () => {
  test('P08 nothing may be left over, outside and within', () => {
    expect(from('02 01 05', readInt32)).toBe(5)
    refused('02 01 05 00', readInt32)
    const readOne: Read<number> = (at, what) => {
      const body = readSequence(at, what)
      const value = readField(body, 0, readInt32, what)
      body.end(what)
      return value
    }
    expect(from('30 05 a0 03 02 01 05', readOne)).toBe(5)
    refused('30 07 a0 03 02 01 05 05 00', readOne)
    refused('30 06 a0 04 02 01 05 00', readOne)
    refused('01 02 ff ff', readBoolean)
  })

  test('P09 high tag numbers', () => {
    for (const hex of ['1f810100', '3f1e00', 'bf2100', '1f0100']) {
      expect(() => readRaw(new ByteReader(fromHex(hex)), 'value')).toThrow('high tag number')
    }
    refused('3f 10 00', readSequence)
    expect(() => readElement(new ByteReader(fromHex('7f4e00')), 0x60 | 14, 'AP-REQ')).toThrow(MalformedError)
  })

  test('P10 constructed strings', () => {
    refused('24 05 04 03 01 02 03', readOctets)
    refused('3b 03 1b 01 41', readKerberosString)
    refused('23 03 03 01 00', readKerberosFlags)
  })

  test('P11 booleans', () => {
    expect(from('01 01 ff', readBoolean)).toBe(true)
    expect(from('01 01 00', readBoolean)).toBe(false)
    for (const hex of ['01 01 02', '01 01 01', '01 01 fe', '01 00', '01 02 ff ff']) refused(hex, readBoolean)
  })

  const readPair: Read<readonly [number, number | undefined]> = (at, what) => {
    const body = readSequence(at, what)
    const pair = [readField(body, 0, readInt32, what), readOptionalField(body, 1, readInt32, what)] as const
    body.end(what)
    return pair
  }

  test('P12 context tags in order, each once', () => {
    expect(from('30 0a a0 03 02 01 01 a1 03 02 01 02', readPair)).toEqual([1, 2])
    refused('30 0a a1 03 02 01 02 a0 03 02 01 01', readPair)
    refused('30 0a a0 03 02 01 01 a0 03 02 01 02', readPair)
    refused('30 0f a0 03 02 01 01 a1 03 02 01 02 a1 03 02 01 03', readPair)
    refused('30 0a a0 03 02 01 01 a2 03 02 01 02', readPair)
  })

  test('P13 what is mandatory is there', () => {
    expect(from('30 05 a0 03 02 01 01', readPair)).toEqual([1, undefined])
    refused('30 05 a1 03 02 01 01', readPair)
    refused('30 00', readPair)
    refused('30 02 a0 00', readPair)
  })
})

describe('values', () => {
  test('P06 integers in the fewest octets', () => {
    expect(from('02 01 05', readInt32)).toBe(5)
    expect(from('02 02 00 80', readInt32)).toBe(128)
    expect(from('02 02 ff 7f', readInt32)).toBe(-129)
    for (const hex of ['02 02 00 05', '02 02 ff 80', '02 02 ff ff', '02 03 00 00 80']) {
      refused(hex, readInt32)
      refused(hex, readUInt32)
    }
  })

  test('P14 integers of too many octets, and of none', () => {
    for (const hex of [
      '02 00',
      '02 09 01 00 00 00 00 00 00 00 00',
      '02 05 01 00 00 00 00',
      '02 05 00 80 00 00 00',
      '02 05 80 00 00 00 00',
    ])
      refused(hex, readInt32)
    for (const hex of [
      '02 00',
      '02 06 00 80 00 00 00 00',
      '02 05 01 00 00 00 00',
      '02 05 ff 00 00 00 00',
      '02 09 00 ff ff ff ff ff ff ff ff',
    ])
      refused(hex, readUInt32)
    expect(from('02 04 80 00 00 00', readInt32)).toBe(-0x80000000)
  })

  test('P14 a nonce in its negative form is the same 32 bits', () => {
    expect(from('02 01 ff', readUInt32)).toBe(0xffffffff)
    expect(from('02 04 80 00 00 00', readUInt32)).toBe(0x80000000)
    expect(from('02 05 00 ff ff ff ff', readUInt32)).toBe(0xffffffff)
  })

  const time = (text: string) => `18 ${text.length.toString(16).padStart(2, '0')} ${toHex(utf8(text))}`

  test.each(['20261123120000Z', '19700101000000Z', '20240229235959Z', '99991231235959Z', '19000228000000Z'])(
    'P15 %s is a time',
    (text) => {
      expect(toHex(encodeDer(kerberosTime(from(time(text), readKerberosTime))))).toBe(time(text).replaceAll(' ', ''))
    },
  )

  test.each([
    '20261123120000.1Z',
    '20261123120000.Z',
    '20261123120000+0100',
    '20261123120000',
    '202611231200Z',
    '20230229000000Z',
    '20261123120060Z',
    '20261123240000Z',
    '20261123126000Z',
    '20261301000000Z',
    '20260001000000Z',
    '20261100000000Z',
    '20261131000000Z',
    '00000101000000Z',
    '00500101000000Z',
    '2026112312000٠Z',
    ' 0261123120000Z',
    '-0261123120000Z',
    '20261123120000z',
    '',
    '20261123120000ZZ',
    '20261123120000Z\0',
  ])('P15 %j is no time', (text) => {
    refused(time(text.replace('٠', '\u0660')), readKerberosTime)
  })

  test.each(['00', '0e', '10', '7f'])('P15 a time of length 0x%s does not borrow from what follows', (length) => {
    refused(`18 ${length} ${toHex(utf8('20261123120000Z'))}`, readKerberosTime)
  })

  test('P16 strings are UTF-8 and keep every character', () => {
    expect(from('1b 03 61 0d 0a', readKerberosString)).toBe('a\r\n')
    expect(from('1b 04 1b 5b 33 31', readKerberosString)).toBe('\u001b[31')
    expect(from('1b 05 ef bb bf 61 62', readKerberosString)).toBe('\ufeffab')
    for (const hex of [
      '1b 01 80',
      '1b 02 c3 28',
      '1b 02 c0 80',
      '1b 03 ed a0 80',
      '1b 04 f4 90 80 80',
      '0c 01 61',
      '16 01 61',
    ])
      refused(hex, readKerberosString)
  })

  test('P17 object identifiers', () => {
    expect(from('06 09 2a 86 48 86 f7 12 01 02 02', readOid)).toBe('1.2.840.113554.1.2.2')
    expect(from('06 05 87 80 80 80 00', readOid).startsWith('2.')).toBe(true)
    expect(from('06 01 27', readOid)).toBe('0.39')
    expect(from('06 01 4f', readOid)).toBe('1.39')
    expect(from('06 02 81 34', readOid)).toBe('2.100')
    for (const hex of [
      '06 00',
      '06 01 80',
      '06 02 2a 80',
      '06 03 2a 80 01',
      '06 07 2a 81 80 80 80 80 00',
      '06 03 2a 86 c8',
    ])
      refused(hex, readOid)
    refused(`06 82 27 10 ${'01'.repeat(10_000)}`, readOid)
    refused(`06 82 27 11 2a ${'ff'.repeat(9999)} 01`, readOid)
    refused(`06 ${(MAX_OID_ARCS + 1).toString(16)} ${'01'.repeat(MAX_OID_ARCS + 1)}`, readOid)
    expect(from(`06 ${MAX_OID_ARCS.toString(16)} ${'01'.repeat(MAX_OID_ARCS)}`, readOid)).toMatch(/^0\.1/)
  })

  test('P18 flags of any number of bits', () => {
    expect(from('03 05 00 40 a9 00 00', readKerberosFlags)).toBe(0x40a90000)
    expect(from('03 05 00 ff ff ff ff', readKerberosFlags)).toBe(0xffffffff)
    expect(from('03 01 00', readKerberosFlags)).toBe(0)
    expect(from('03 02 04 80', readKerberosFlags)).toBe(0x80000000)
    expect(from('03 07 00 40 00 00 00 ff ff', readKerberosFlags)).toBe(0x40000000)
    for (const hex of ['03 00', '03 01 01', '03 02 08 80', '03 02 ff 80', '03 05 09 00 00 00 00'])
      refused(hex, readKerberosFlags)
  })

  test('P19 lists have at most 1 024 elements, or what the caller says', () => {
    const list = (count: number) =>
      new ByteReader(
        encodeDer(
          sequenceOf(
            Array.from({ length: count }, () => 1),
            int32,
          ),
        ),
      )
    expect(readSequenceOf(list(MAX_ELEMENTS), readInt32, 'list')).toHaveLength(1024)
    expect(() => readSequenceOf(list(MAX_ELEMENTS + 1), readInt32, 'list')).toThrow(MalformedError)
    expect(() => readSequenceOf(list(17), readInt32, 'list', 16)).toThrow(MalformedError)
    let read = 0
    const million = new ByteReader(
      encodeDer(
        element(
          TAG.SEQUENCE,
          new Uint8Array(2_000_000).map((_, i) => (i % 2 === 0 ? 4 : 0)),
        ),
      ),
    )
    const counted: Read<Uint8Array> = (at, what) => {
      read++
      return readOctets(at, what)
    }
    expect(() => readSequenceOf(million, counted, 'list')).toThrow(MalformedError)
    expect(read).toBe(1024)
  })

  test('P19 and an offer of mechanisms at most 16', () => {
    const offer = (count: number) =>
      encodeNegTokenInit(encodeMechTypes(Array.from({ length: count }, () => '1.2.3')), undefined)
    expect(decodeNegTokenInit(offer(16)).mechTypes).toHaveLength(16)
    expect(() => decodeNegTokenInit(offer(17))).toThrow(MalformedError)
  })

  test('P20 negState: empty, unknown, of another type', () => {
    const resp = (hex: string) => decodeNegTokenResp(encodeDer(element(0xa1, sequence(field(0, fromHex(hex))))))
    expect(resp('0a0101').negState).toBe(1)
    for (const hex of ['0a00', '0a0163', '0a0104', '0a01ff', '0a020001', '020101', '0a0500000000']) {
      expect(() => resp(hex), hex).toThrow(MalformedError)
    }
  })
})

const cases: [string, fc.Arbitrary<Uint8Array>, Read<unknown>, (value: never) => Uint8Array][] = []
function type<T>(name: string, values: fc.Arbitrary<T>, write: (value: T) => Der, read: Read<T>): void {
  const encode = (value: T) => encodeDer(write(value))
  cases.push([name, values.map(encode), read, encode])
}

type('int32', fc.integer({ min: -0x80000000, max: 0x7fffffff }), int32, readInt32)
type('uint32', fc.integer({ min: 0, max: 0xffffffff }), uint32, readUInt32)
type('enumerated', fc.integer({ min: -0x80000000, max: 0x7fffffff }), enumerated, readEnumerated)
type('boolean', fc.boolean(), boolean, readBoolean)
type('octets', fc.uint8Array({ maxLength: 300 }), octets, readOctets)
type('string', fc.string({ unit: 'grapheme', maxLength: 200 }), kerberosString, readKerberosString)
type(
  'time',
  fc.integer({ min: Date.UTC(100, 0) / 1000, max: 253_402_300_799 }).map((seconds) => seconds * 1e6),
  kerberosTime,
  readKerberosTime,
)
type('flags', fc.integer({ min: 0, max: 0xffffffff }), kerberosFlags, readKerberosFlags)
type(
  'oid',
  fc
    .tuple(
      fc.constantFrom('0', '1', '2'),
      fc.nat({ max: 39 }),
      fc.array(fc.nat({ max: 0x7fffffff }), { maxLength: 18 }),
    )
    .map(([root, second, rest]) => [root, second, ...rest].join('.')),
  oid,
  readOid,
)
type(
  'sequence of optional fields',
  fc.tuple(
    fc.integer({ min: -5, max: 1 << 20 }),
    fc.option(fc.uint8Array() as fc.Arbitrary<Uint8Array>, { nil: undefined }),
  ),
  ([a, b]) => sequence(field(0, int32(a)), optionalField(1, b, octets)),
  (at, what) => {
    const body = readSequence(at, what)
    const pair: [number, Uint8Array | undefined] = [
      readField(body, 0, readInt32, what),
      readOptionalField(body, 1, readOctets, what),
    ]
    body.end(what)
    return pair
  },
)

describe('what is written is read again', () => {
  for (const [name, encoded, read, write] of cases) {
    test(`${name}: the same octets, and no truncation nor appendix of them`, () => {
      fc.assert(
        fc.property(encoded, (bytes) => {
          const value = readWhole(new ByteReader(bytes), read, name)
          expect(toHex(write(value as never))).toBe(toHex(bytes))
          expect(toHex(readRaw(new ByteReader(bytes), name))).toBe(toHex(bytes))
          for (let n = 0; n < bytes.length; n++) {
            expect(() => readWhole(new ByteReader(bytes.subarray(0, n)), read, name)).toThrow(MalformedError)
          }
          expect(() => readWhole(new ByteReader(Uint8Array.of(...bytes, 0)), read, name)).toThrow(MalformedError)
        }),
        { numRuns: 60 },
      )
    })

    test(`${name}: random octets are read canonically or are malformed`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 40 }), encoded, (junk, valid) => {
          for (const bytes of [
            junk,
            Uint8Array.of(valid[0] as number, ...junk),
            Uint8Array.of(valid[0] as number, junk.length, ...junk),
          ]) {
            try {
              readWhole(new ByteReader(bytes), read, name)
            } catch (error) {
              expect(error).toBeInstanceOf(MalformedError)
            }
          }
        }),
        { numRuns: 300 },
      )
    })
  }
})
