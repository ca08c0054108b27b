import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, uint16be, uint32be, uint32le, utf8 } from '../../../../src/bytes/bytes.ts'
import { fromHex, toHex } from '../../../../src/bytes/hex.ts'
import { Keytab, KeytabEntry, MAX_KEYTAB_BYTES } from '../../../../src/krb5/formats/index.ts'
import { Principal } from '../../../../src/krb5/messages/principal.ts'
import { fileOf, flipped, foreignVectors, ownVectors, refusal, survives } from './vectors.ts'

interface Expected {
  readonly entries: readonly {
    readonly realm: string
    readonly components: readonly string[]
    readonly nameType: number | null
    readonly timestamp: number
    readonly kvno: number
    readonly etype: number
    readonly key_hex: string
  }[]
}

const own = ownVectors<Expected>('keytab')
const foreign = foreignVectors<Expected>('keytab')

function seen(keytab: Keytab): unknown[] {
  return keytab.entries.map((entry) => ({
    realm: entry.principal.realm,
    components: entry.principal.components,
    nameType: entry.principal.nameType,
    timestamp: entry.timestamp.getTime() / 1000,
    kvno: entry.kvno,
    etype: entry.enctype,
    key_hex: toHex(entry.keyBytes()),
  }))
}

function wanted({ entries }: Expected): unknown[] {
  return entries.map(({ realm, components, nameType, timestamp, kvno, etype, key_hex }) => {
    return { realm, components, nameType: nameType ?? 0, timestamp, kvno, etype, key_hex }
  })
}

const text = (value: string) => concat(uint16be(utf8(value).length), utf8(value))
const record = (...parts: Uint8Array[]) => {
  const whole = concat(...parts)
  return concat(uint32be(whole.length), whole)
}
const file = (...parts: Uint8Array[]) => concat(fromHex('0502'), ...parts)
const KEY = fromHex('000102030405060708090a0b0c0d0e0f')
/** Everything of an entry but what follows the key. */
const entryOf = (kvno = 3, enctype = 17) => [
  uint16be(1),
  text('R'),
  text('alice'),
  uint32be(1),
  uint32be(4_000_000_000),
  Uint8Array.of(kvno),
  uint16be(enctype),
  uint16be(KEY.length),
  KEY,
]

describe('MIT keytab file format', () => {
  for (const vector of own) {
    test(`${vector.id}: written by MIT, read whole, written again byte for byte`, () => {
      const keytab = Keytab.parse(fileOf(vector))
      expect(seen(keytab)).toEqual(wanted(vector.expected))
      expect(toHex(keytab.toBytes())).toBe(toHex(fileOf(vector)))
    })

    test(`${vector.id}: every truncation is malformed, or ends between two entries`, () => {
      const bytes = fileOf(vector)
      const ends = new Map([[2, 0]])
      let at = 2
      for (let n = 1; at < bytes.length; n++) {
        at += 4 + new DataView(bytes.buffer, bytes.byteOffset).getInt32(at)
        ends.set(at, n)
      }
      for (let n = 0; n < bytes.length; n++) {
        const cut = bytes.subarray(0, n)
        const entries = ends.get(n)
        if (entries) expect(Keytab.parse(cut).entries).toHaveLength(entries)
        else
          expect(refusal(() => Keytab.parse(cut)).code).toBe(n === 0 || n === 2 ? 'KEYTAB_EMPTY' : 'KEYTAB_MALFORMED')
      }
    })
  }

  test.skipIf(foreign.length === 0)('keytabs of Active Directory, gokrb5, Kerby, Kerberos.NET and MIT are read', () => {
    for (const vector of foreign) expect(seen(Keytab.parse(fileOf(vector))), vector.id).toEqual(wanted(vector.expected))
  })

  test.skipIf(foreign.length === 0)('what is read of them is what is read of their copy', () => {
    for (const vector of foreign) {
      const keytab = Keytab.parse(fileOf(vector))
      expect(seen(Keytab.parse(keytab.toBytes())), vector.id).toEqual(seen(keytab))
    }
  })

  test('no flipped bit of an MIT keytab raises a foreign error', () => {
    const bytes = fileOf(own[1] as (typeof own)[number])
    for (let bit = 0; bit < bytes.length * 8; bit++) survives(() => Keytab.parse(flipped(bytes, bit)))
  })

  test.skipIf(foreign.length === 0)('fuzz seeds are read or refused', () => {
    const seeds = foreignVectors<string>('fuzz_seeds').filter(({ target }) => target === 'keytab')
    expect(seeds.length).toBeGreaterThan(0)
    for (const seed of seeds) survives(() => Keytab.parse(fileOf(seed)))
  })
})

describe('F01: version and emptiness', () => {
  test('version 0x0501 is little-endian, counts the realm and has no name type', () => {
    const le16 = (value: number) => uint16be(value).reverse()
    const old = (value: string) => concat(le16(value.length), utf8(value))
    const body = concat(
      le16(3),
      old('R'),
      old('HTTP'),
      old('h'),
      uint32le(1_500_000_000),
      Uint8Array.of(7),
      le16(18),
      le16(2),
      fromHex('abcd'),
    )
    const keytab = Keytab.parse(concat(fromHex('0501'), uint32le(body.length), body))
    expect(seen(keytab)).toEqual([
      {
        realm: 'R',
        components: ['HTTP', 'h'],
        nameType: 0,
        timestamp: 1_500_000_000,
        kvno: 7,
        etype: 18,
        key_hex: 'abcd',
      },
    ])
  })

  test.each(['0503', '0500', '0402', '7f45'])('a file that starts with %s is no keytab', (start) => {
    const error = refusal(() => Keytab.parse(concat(fromHex(start), record(...entryOf())), '/etc/krb5.keytab'))
    expect(error).toMatchObject({ code: 'KEYTAB_MALFORMED', name: 'MalformedError', hint: expect.any(String) })
    expect(error.message).toContain('"/etc/krb5.keytab"')
    expect(error.message).toContain('not a keytab')
  })

  test('no byte, or no entry, is empty; one byte is malformed', () => {
    for (const bytes of ['', '0502', '0501', '050200000000', '0502fffffffc00000000']) {
      expect(
        refusal(() => Keytab.parse(fromHex(bytes))),
        bytes,
      ).toMatchObject({ code: 'KEYTAB_EMPTY', name: 'ConfigError' })
    }
    expect(refusal(() => Keytab.parse(fromHex('05'))).code).toBe('KEYTAB_MALFORMED')
  })

  test('16 MiB is the longest, even of zeros behind a sound entry', () => {
    const bytes = new Uint8Array(MAX_KEYTAB_BYTES + 1)
    bytes.set(file(record(...entryOf())))
    expect(Keytab.parse(bytes.subarray(0, MAX_KEYTAB_BYTES)).entries).toHaveLength(1)
    expect(refusal(() => Keytab.parse(bytes)).message).toContain('longer than')
  })

  test('what is not bytes is refused by name', () => {
    expect(refusal(() => Keytab.parse('x' as unknown as Uint8Array)).code).toBe('OPTION_INVALID')
  })
})

describe('F02: record lengths', () => {
  const sound = record(...entryOf())
  test('holes are skipped, between entries and at the end of the file', () => {
    const hole = concat(uint32be(-5), new Uint8Array(5))
    expect(Keytab.parse(file(hole, sound, hole, sound, hole)).entries).toHaveLength(2)
    expect(Keytab.parse(file(sound, uint32be(-1), Uint8Array.of(9))).entries).toHaveLength(1)
  })
  test('zero ends the file, whatever follows', () => {
    expect(Keytab.parse(file(sound, uint32be(0), fromHex('ffffffff'))).entries).toHaveLength(1)
  })
  test.each([
    ['-2^31', fromHex('80000000')],
    ['2^31 - 1', fromHex('7fffffff')],
    ['-1 with nothing to skip', fromHex('ffffffff')],
    ['one over the file', concat(uint32be(sound.length - 3), sound.subarray(4))],
    ['shorter than its entry', concat(uint32be(20), sound.subarray(4, 24))],
    ['three bytes', fromHex('000000')],
  ])('%s is malformed', (_, rest) => {
    expect(refusal(() => Keytab.parse(file(sound, rest))).code).toBe('KEYTAB_MALFORMED')
  })
})

describe('F03: counts and strings beyond the record', () => {
  test.each([
    ['65535 components', [uint16be(65_535), text('R'), text('a')], /65535 name components/],
    ['no component', [uint16be(0), ...entryOf().slice(1)], /0 name components/],
    ['a realm beyond the record', [uint16be(1), fromHex('ffff'), utf8('R')], /realm: 65535 octets/],
    ['a component beyond the record', [uint16be(1), text('R'), fromHex('00ff61')], /component 1: 255 octets/],
    ['a key beyond the record', [...entryOf().slice(0, 7), uint16be(17), KEY], /key: 17 octets/],
    ['a name that is not UTF-8', [uint16be(1), text('R'), fromHex('0001ff'), ...entryOf().slice(3)], /not UTF-8/],
  ])('%s', (_, parts, message) => {
    // The bytes are there, but in the next record.
    const error = refusal(() => Keytab.parse(file(record(...parts), record(...entryOf()))))
    expect(error).toMatchObject({ code: 'KEYTAB_MALFORMED', message: expect.stringMatching(message) })
  })
})

describe('F04: the 32-bit key version', () => {
  const parse = (...trailer: Uint8Array[]) =>
    Keytab.parse(file(record(...entryOf(3), ...trailer))).entries[0] as KeytabEntry
  test('overrides the 8 bits when it is there and not zero', () => {
    expect(parse(uint32be(259)).kvno).toBe(259)
    expect(parse(uint32be(0xfffffffe)).kvno).toBe(0xfffffffe)
    expect(parse(uint32be(259), fromHex('deadbeef00')).kvno).toBe(259)
  })
  test('zero, absent or shorter than four bytes: the 8 bits count', () => {
    for (const entry of [parse(uint32be(0)), parse(), parse(fromHex('0000ff')), parse(new Uint8Array(40))]) {
      expect(entry.kvno).toBe(3)
      expect(entry.hasShortKvno()).toBe(true)
    }
  })
  test('8 bits stand for every version with those low bits, 32 bits for one', () => {
    expect(parse().matchesKvno(259)).toBe(true)
    expect(parse().matchesKvno(4)).toBe(false)
    expect(parse(uint32be(3)).matchesKvno(3)).toBe(true)
    expect(parse(uint32be(3)).matchesKvno(259)).toBe(false)
  })
})

describe('lookup', () => {
  const entry = (name: string, kvno: number, enctype = 18, key = KEY) =>
    new KeytabEntry({ principal: Principal.parse(name), kvno, enctype, key })

  test('F05: an RC4-only keytab is read, and says what it has and has not', () => {
    const keytab = Keytab.of([entry('HTTP/h@R', 1, 23)])
    expect(keytab.entriesOfService('HTTP').map(({ enctype }) => enctype)).toEqual([23])
    expect(keytab.find(Principal.parse('HTTP/h@R'), 18)).toBeUndefined()
  })

  test('by principal, enctype and version', () => {
    const keytab = Keytab.of([
      entry('HTTP/h@R', 1),
      entry('HTTP/h@R', 2),
      entry('HTTP/h@R', 2, 17),
      entry('HTTP/h@S', 3),
    ])
    const name = Principal.parse('HTTP/h@R')
    expect(keytab.find(name, 18)?.kvno).toBe(2)
    expect(keytab.find(name, 18, 0)?.kvno).toBe(2)
    expect(keytab.find(name, 18, 1)?.kvno).toBe(1)
    expect(keytab.find(name, 18, 3)).toBeUndefined()
    expect(keytab.find(name, 20)).toBeUndefined()
    expect(keytab.find(Principal.parse('http/h@R'), 18)).toBeUndefined()
    expect(keytab.entriesFor(name)).toHaveLength(3)
    expect(keytab.entriesFor(Principal.parse('HTTP/other@R'))).toEqual([])
    expect(keytab.entriesOfService('HTTP')).toHaveLength(4)
    expect(keytab.entriesOfService('HTT')).toEqual([])
    expect(keytab.principals.map(String)).toEqual(['HTTP/h@R', 'HTTP/h@S'])
  })

  test('a whole version beats an 8-bit one, the later entry the earlier', () => {
    const principal = Principal.parse('a@R')
    const make = (kvno: number, key: string, shortKvno = false) =>
      new KeytabEntry({ principal, kvno, enctype: 18, key: fromHex(key), shortKvno })
    const found = (kvno: number, ...entries: KeytabEntry[]) =>
      toHex(Keytab.of(entries).find(principal, 18, kvno)?.keyBytes() ?? KEY)
    expect(found(257, make(257, 'aa'), make(1, 'bb', true))).toBe('aa')
    expect(found(257, make(1, 'bb', true), make(257, 'aa'))).toBe('aa')
    expect(found(257, make(1, 'bb', true), make(2, 'cc', true))).toBe('bb')
    expect(found(1, make(1, 'aa'), make(1, 'bb'))).toBe('bb')
  })

  test('S32: 10,000 entries are indexed: a lookup reads the entries of one name', () => {
    const many = Keytab.parse(
      Keytab.of(Array.from({ length: 10_000 }, (_, i) => entry(`HTTP/host${i}.example.com@R`, 1))).toBytes(),
    )
    expect(many.entries).toHaveLength(10_000)
    for (let i = 0; i < 10_000; i++) {
      expect(many.entriesFor(Principal.parse(`HTTP/host${i}.example.com@R`))).toEqual([many.entries[i]])
    }
  })

  test('a subclass makes its own kind', () => {
    class Other extends Keytab {}
    expect(Other.of([entry('a@R', 1)])).toBeInstanceOf(Other)
    expect(Other.parse(Keytab.of([entry('a@R', 1)]).toBytes())).toBeInstanceOf(Other)
  })
})

describe('a key cannot be printed or changed from outside', () => {
  const bytes = KEY.slice()
  const entry = new KeytabEntry({ principal: Principal.parse('a@R'), kvno: 1, enctype: 18, key: bytes })
  test('inspect and JSON do not show it', () => {
    for (const value of [entry, Keytab.of([entry])]) {
      const shown = inspect(value, { depth: 9, showHidden: true }) + JSON.stringify(value)
      expect(shown).not.toMatch(/key\b|000102|0, 1, 2|AAEC/i)
    }
    expect(Object.keys(entry)).toEqual(['principal', 'kvno', 'enctype', 'timestamp'])
  })
  test('it is a copy on the way in and out', () => {
    bytes.fill(0xff)
    entry.keyBytes().fill(0xff)
    expect(entry.keyBytes()).toEqual(KEY)
  })
})

describe('properties', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 12 })
  const principal = fc
    .tuple(fc.array(name, { minLength: 1, maxLength: 4 }), name, fc.integer())
    .map(([components, realm, nameType]) => new Principal(components, realm, nameType))
  const entry = fc.record({
    principal,
    kvno: fc.integer({ min: 1, max: 0xffffffff }),
    enctype: fc.integer({ min: -0x8000, max: 0x7fff }),
    key: fc.uint8Array({ maxLength: 40 }),
    timestamp: fc.integer({ min: 0, max: 0xffffffff }).map((seconds) => new Date(seconds * 1000)),
  })

  test('parse(toBytes(x)) is x, unknown enctypes and times after 2038 included', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 5 }), (all) => {
        const keytab = Keytab.of(all.map((fields) => new KeytabEntry(fields)))
        const again = Keytab.parse(keytab.toBytes())
        expect(seen(again)).toEqual(seen(keytab))
        expect(again.entries.every((entry) => !entry.hasShortKvno())).toBe(true)
      }),
    )
  })

  test('any bytes, bare or behind a version, are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom('', '0501', '0502'), (bytes, start) => {
        survives(() => Keytab.parse(concat(fromHex(start), bytes)))
      }),
      { numRuns: 2000 },
    )
  })

  test('what does not fit the file is refused when it is written', () => {
    const fields = { principal: Principal.parse('a@R'), kvno: 1, enctype: 18, key: KEY }
    const broken = [
      { ...fields, kvno: 2 ** 32 },
      { ...fields, kvno: -1 },
      { ...fields, enctype: 70_000 },
      { ...fields, key: new Uint8Array(65_536) },
      { ...fields, timestamp: new Date('2200-01-01') },
      { ...fields, timestamp: new Date(Number.NaN) },
    ]
    for (const value of broken) {
      expect(refusal(() => Keytab.of([new KeytabEntry(value)]).toBytes()).code).toBe('OPTION_INVALID')
    }
  })
})
