import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, uint16be, uint32be, utf8 } from '../../../../src/bytes/bytes.ts'
import { fromHex, toHex } from '../../../../src/bytes/hex.ts'
import {
  CachedCredential,
  type CredentialCacheFile,
  cachedConfig,
  cachedTicketFor,
  cachedTickets,
  configCredential,
  decodeCredentialCache,
  encodeCredentialCache,
  MAX_CACHE_BYTES,
} from '../../../../src/krb5/formats/index.ts'
import { Principal } from '../../../../src/krb5/messages/principal.ts'
import { fileOf, flipped, foreignVectors, ownVectors, refusal, survives } from './vectors.ts'

interface Name {
  readonly nameType: number | null
  readonly realm: string
  readonly components: readonly string[]
}
interface Typed {
  readonly type: number
  readonly hex: string
}
interface Expected {
  readonly version: number
  readonly header: readonly { tag: number; hex: string; time_offset_sec?: number; time_offset_usec?: number }[]
  readonly default_principal: Name
  readonly credentials: readonly {
    readonly client: Name
    readonly server: Name
    readonly key: { readonly etype: number; readonly hex: string }
    readonly authtime: number
    readonly starttime: number
    readonly endtime: number
    readonly renew_till: number
    readonly is_skey: number
    readonly ticket_flags: string
    readonly addresses: readonly Typed[]
    readonly authdata: readonly Typed[]
    readonly ticket_length: number
    readonly ticket_hex?: string
    readonly second_ticket_hex: string
    readonly config?: { readonly key: string; readonly principal: readonly string[]; readonly value: string }
  }[]
}

const own = ownVectors<Expected>('ccache')
const foreign = foreignVectors<Expected>('ccache')
const first = own[0] as (typeof own)[number]

const nameSeen = ({ nameType, realm, components }: Name) => ({ nameType: nameType ?? 0, realm, components })
const typedSeen = (list: readonly { type: number; data: Uint8Array }[]) =>
  list.map(({ type, data }) => ({ type, hex: toHex(data) }))

function expectSame(cache: CredentialCacheFile, expected: Expected): void {
  expect(cache.version).toBe(expected.version)
  expect(nameSeen(cache.principal)).toEqual(nameSeen(expected.default_principal))
  const offset = expected.header.find(({ tag }) => tag === 1)
  expect(cache.kdcOffset).toEqual(offset && { seconds: offset.time_offset_sec, microseconds: offset.time_offset_usec })
  expect(cache.credentials).toHaveLength(expected.credentials.length)
  for (const [i, want] of expected.credentials.entries()) {
    const got = cache.credentials[i] as CachedCredential
    expect({
      client: nameSeen(got.client),
      server: nameSeen(got.server),
      key: { etype: got.enctype, hex: toHex(got.keyBytes()) },
      times: [got.authTime, got.startTime, got.endTime, got.renewTill],
      skey: [got.skey, got.isSkey],
      flags: got.flags,
      addresses: typedSeen(got.addresses),
      authData: typedSeen(got.authData),
      ticketLength: got.ticket.length,
      ticket: want.ticket_hex === undefined ? undefined : toHex(got.ticket),
      secondTicket: toHex(got.secondTicket),
      isConfig: got.isConfig,
    }).toEqual({
      client: nameSeen(want.client),
      server: nameSeen(want.server),
      key: want.key,
      times: [want.authtime, want.starttime, want.endtime, want.renew_till],
      skey: [want.is_skey, want.is_skey !== 0],
      flags: Number.parseInt(want.ticket_flags, 16),
      addresses: want.addresses,
      authData: want.authdata,
      ticketLength: want.ticket_length,
      ticket: want.ticket_hex,
      secondTicket: want.second_ticket_hex,
      isConfig: want.config !== undefined,
    })
  }
}

/** Everything of a cache, keys and tickets included, for comparison. */
function seen(cache: CredentialCacheFile): unknown {
  return {
    ...cache,
    principal: nameSeen(cache.principal),
    credentials: cache.credentials.map((credential) => ({
      ...credential,
      client: nameSeen(credential.client),
      server: nameSeen(credential.server),
      secrets: [credential.keyBytes(), credential.ticket, credential.secondTicket].map(toHex),
    })),
  }
}

describe('MIT credential cache file format', () => {
  for (const vector of own) {
    test(`${vector.id}: written by MIT, read whole, written again byte for byte`, () => {
      const cache = decodeCredentialCache(fileOf(vector))
      expectSame(cache, vector.expected)
      expect(toHex(encodeCredentialCache(cache))).toBe(toHex(fileOf(vector)))
    })

    test(`F14: ${vector.id}: every truncation is malformed, or ends between two credentials`, () => {
      const bytes = fileOf(vector)
      const { credentials, ...rest } = decodeCredentialCache(bytes)
      const ends = new Map(
        credentials.map((_, n) => [encodeCredentialCache({ ...rest, credentials: credentials.slice(0, n) }).length, n]),
      )
      for (let n = 0; n < bytes.length; n++) {
        const cut = bytes.subarray(0, n)
        const count = ends.get(n)
        if (count !== undefined) expect(decodeCredentialCache(cut).credentials).toHaveLength(count)
        else expect(refusal(() => decodeCredentialCache(cut)).code).toBe('CACHE_MALFORMED')
      }
    })
  }

  test.skipIf(foreign.length === 0)('F14: versions 1 to 4 of MIT, gokrb5, Kerberos.NET and Kerby are read', () => {
    for (const vector of foreign) expectSame(decodeCredentialCache(fileOf(vector)), vector.expected)
    expect(new Set(foreign.map(({ expected }) => expected.version))).toEqual(new Set([1, 2, 3, 4]))
  })

  test.skipIf(foreign.length === 0)('F14: what any version holds is kept by version 4', () => {
    for (const vector of foreign) {
      const cache = decodeCredentialCache(fileOf(vector))
      expect(seen(decodeCredentialCache(encodeCredentialCache(cache)))).toEqual(seen({ ...cache, version: 4 }))
    }
  })

  test.skipIf(foreign.length === 0)('F14: every truncation of every version is read or refused', () => {
    for (const vector of foreign.filter(({ expected }) => expected.version < 4)) {
      const bytes = fileOf(vector)
      for (let n = 0; n < bytes.length; n++) survives(() => decodeCredentialCache(bytes.subarray(0, n)))
    }
  })

  test.skipIf(foreign.length === 0)('fuzz seeds are read or refused', () => {
    const seeds = foreignVectors<string>('fuzz_seeds').filter(({ target }) => target === 'ccache')
    expect(seeds.length).toBeGreaterThan(0)
    for (const seed of seeds) survives(() => decodeCredentialCache(fileOf(seed)))
  })

  test('no flipped bit raises a foreign error', () => {
    const bytes = fileOf(own[2] as (typeof own)[number])
    for (let bit = 0; bit < bytes.length * 8; bit++) survives(() => decodeCredentialCache(flipped(bytes, bit)))
  })
})

const data = (bytes: Uint8Array | string) => {
  const whole = typeof bytes === 'string' ? utf8(bytes) : bytes
  return concat(uint32be(whole.length), whole)
}
const alice = concat(uint32be(1), uint32be(1), data('R'), data('alice'))
const open = (header: Uint8Array = new Uint8Array(0)) => concat(fromHex('0504'), uint16be(header.length), header, alice)

describe('F14: what the file announces and does not hold', () => {
  const zeros = (n: number) => new Uint8Array(n)
  const upToAddresses = concat(alice, alice, uint16be(18), data(zeros(2)), zeros(16), zeros(1), zeros(4))
  test.each([
    ['another version', fromHex('05050000'), /not a credential cache/],
    ['a keytab', fromHex('05020000004d00020003'), /announced/],
    ['no byte', zeros(0), /truncated/],
    ['a header beyond the file', fromHex('0504ffff'), /header: 65535 octets announced/],
    ['a header field beyond the header', open(fromHex('00010009')), /header field: 9 octets announced/],
    ['a clock offset of seven octets', open(fromHex('0001000700000000000000')), /truncated/],
    ['a clock offset of nine octets', open(fromHex('00010009000000000000000000')), /left over/],
    [
      '2^32 - 1 components',
      concat(fromHex('05040000'), uint32be(1), fromHex('ffffffff')),
      /4294967295 name components/,
    ],
    ['2^32 - 1 addresses', concat(open(), upToAddresses, fromHex('ffffffff')), /4294967295 announced/],
    ['2^32 - 1 octets of ticket', concat(open(), upToAddresses, zeros(8), fromHex('ffffffff')), /4294967295 octets/],
    ['version 1 without even a realm', fromHex('050100000000'), /-1 name components/],
    [
      'a name that is not UTF-8',
      concat(fromHex('05040000'), uint32be(1), uint32be(1), data('R'), data(fromHex('ff'))),
      /UTF-8/,
    ],
  ])('%s', (_, bytes, message) => {
    const error = refusal(() => decodeCredentialCache(bytes, '/tmp/krb5cc_0'))
    expect(error).toMatchObject({ code: 'CACHE_MALFORMED', name: 'MalformedError', hint: expect.any(String) })
    expect(error.message).toMatch(message)
    expect(error.message).toContain('"/tmp/krb5cc_0"')
  })

  test('16 MiB is the longest', () => {
    expect(refusal(() => decodeCredentialCache(new Uint8Array(MAX_CACHE_BYTES + 1))).message).toContain('longer than')
    expect(refusal(() => decodeCredentialCache(new Uint8Array(MAX_CACHE_BYTES))).message).toContain('not a credential')
  })

  test('a name without components and realm is read: MIT writes it for a server that is not set', () => {
    const nobody = concat(uint32be(0), uint32be(0), data(''))
    const [credential] = decodeCredentialCache(
      concat(open(), alice, nobody, upToAddresses.subarray(2 * alice.length), zeros(16)),
    ).credentials
    expect(nameSeen(credential?.server as Principal)).toEqual({ nameType: 0, realm: '', components: [] })
  })

  test('header: the clock offset is signed, unknown fields are kept', () => {
    const bytes = open(fromHex('00010008fffffe64fffffff0' + '00630003616263' + '00010000'))
    const cache = decodeCredentialCache(bytes)
    expect(cache.kdcOffset).toEqual({ seconds: -412, microseconds: -16 })
    expect(cache.unknownHeader).toEqual([
      { type: 0x63, data: utf8('abc') },
      { type: 1, data: new Uint8Array(0) },
    ])
    expect(toHex(encodeCredentialCache(cache))).toBe(toHex(bytes))
    expect(decodeCredentialCache(open()).kdcOffset).toBeUndefined()
  })
})

describe('what the credentials are', () => {
  const principal = Principal.parse('alice@R')
  const make = (server: string, ticket = 'ticket', more = {}) =>
    new CachedCredential({
      client: principal,
      server: Principal.parse(server),
      enctype: 18,
      key: fromHex('c0ffee'),
      authTime: 1,
      startTime: 1,
      endTime: 2,
      renewTill: 0,
      flags: 0x40e10000,
      ticket: utf8(ticket),
      ...more,
    })
  const cacheOf = (...credentials: CachedCredential[]): CredentialCacheFile => {
    return { version: 4, kdcOffset: undefined, unknownHeader: [], principal, credentials }
  }

  test('of several tickets for a server the last is found; realm and client count', () => {
    const bob = make('HTTP/h@R', 'bob', { client: Principal.parse('bob@R') })
    const cache = cacheOf(make('HTTP/h@R', 'old'), make('HTTP/h@R', 'new'), make('HTTP/h@S', 'other'), bob)
    expect(cachedTicketFor(cache, Principal.parse('HTTP/h@R'), principal)?.ticket).toEqual(utf8('new'))
    expect(cachedTicketFor(cache, Principal.parse('HTTP/h@R'))?.ticket).toEqual(utf8('bob'))
    expect(cachedTicketFor(cache, Principal.parse('HTTP/h@T'))).toBeUndefined()
  })

  test('K65 a ticket under another ticket’s key, and one with the flag INVALID, is not the one for a server', () => {
    const usable = make('HTTP/h@R', 'usable')
    const userToUser = make('HTTP/h@R', 'user to user', { skey: 8 })
    const invalid = make('HTTP/h@R', 'invalid', { flags: 0x41e10000 })
    const server = Principal.parse('HTTP/h@R')
    expect(cachedTicketFor(cacheOf(usable, userToUser, invalid), server)).toBe(usable)
    expect(cachedTicketFor(cacheOf(userToUser, invalid), server)).toBeUndefined()
  })

  test('settings are no tickets; the last of a name counts; they survive', () => {
    const tgs = Principal.parse('krbtgt/R@R')
    const cache = cacheOf(
      configCredential(principal, 'fast_avail', utf8('no'), tgs),
      make('krbtgt/R@R'),
      configCredential(principal, 'fast_avail', utf8('yes'), tgs),
      configCredential(principal, 'refresh_time', utf8('17')),
    )
    for (const each of [cache, decodeCredentialCache(encodeCredentialCache(cache))]) {
      expect(cachedTickets(each).map(({ server }) => String(server))).toEqual(['krbtgt/R@R'])
      expect(cachedConfig(each, 'fast_avail', tgs)).toEqual(utf8('yes'))
      expect(cachedConfig(each, 'refresh_time')).toEqual(utf8('17'))
      expect(cachedConfig(each, 'fast_avail')).toBeUndefined()
    }
  })

  test('the settings that MIT wrote', () => {
    const cache = decodeCredentialCache(fileOf(first))
    const settings = first.expected.credentials.flatMap(({ config }) => (config === undefined ? [] : [config]))
    expect(settings.length).toBeGreaterThan(0)
    for (const {
      key,
      principal: [server],
      value,
    } of settings) {
      const found = cachedConfig(cache, key, server === undefined ? undefined : Principal.parse(server))
      expect(found).toEqual(utf8(value))
    }
    expect(cachedTickets(cache)).toHaveLength(first.expected.credentials.length - settings.length)
  })

  test('what MIT struck out is not found', () => {
    const removed = make('HTTP/h@R', 'removed', { authTime: 0xffffffff, endTime: 0 })
    const setting = make('krb5_ccache_conf_data/x@X-RMED-CONF:')
    expect(cachedTickets(cacheOf(removed, setting))).toEqual([])
  })

  test('F14: times from 2038 to 2106, unknown address types and negative enctypes survive', () => {
    const odd = make('HTTP/h@R', 't', {
      endTime: 0xffffffff,
      renewTill: 0x80000000,
      enctype: -133,
      skey: 8,
      flags: 0xffffffff,
      addresses: [{ type: 4711, data: utf8('?') }],
      authData: [{ type: -100, data: new Uint8Array(0) }],
      secondTicket: utf8('second'),
    })
    expect(seen(decodeCredentialCache(encodeCredentialCache(cacheOf(odd))))).toEqual(seen(cacheOf(odd)))
  })

  test('key and tickets cannot be printed, nor the key changed from outside', () => {
    const credential = make('HTTP/h@R', 'TICKET', { secondTicket: utf8('SECOND') })
    const shown = inspect(cacheOf(credential), { depth: 9, showHidden: true }) + JSON.stringify(cacheOf(credential))
    expect(shown).not.toMatch(/192, 255|84, 73, 67|c0 ff ee|54 49 43|c0ffee|TICKET|SECOND|"0":/)
    credential.keyBytes().fill(0)
    expect(toHex(credential.keyBytes())).toBe('c0ffee')
  })

  test('what does not fit the file is refused when it is written', () => {
    for (const more of [
      { endTime: 2 ** 32 },
      { authTime: -1 },
      { startTime: 0.5 },
      { enctype: 70_000 },
      { skey: 256 },
    ]) {
      expect(refusal(() => encodeCredentialCache(cacheOf(make('HTTP/h@R', 't', more)))).code).toBe('OPTION_INVALID')
    }
  })
})

describe('properties', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 10 })
  const bytes = fc.uint8Array({ maxLength: 40 })
  const time = fc.integer({ min: 0, max: 0xffffffff })
  const typed = fc.array(fc.record({ type: fc.integer({ min: -0x8000, max: 0x7fff }), data: bytes }), { maxLength: 3 })
  const principal = fc
    .tuple(fc.array(name, { maxLength: 3 }), name, fc.integer())
    .map(([components, realm, nameType]) => new Principal(components, realm, nameType))
  const credential = fc
    .record({
      client: principal,
      server: principal,
      enctype: fc.integer({ min: -0x8000, max: 0x7fff }),
      key: bytes,
      authTime: time,
      startTime: time,
      endTime: time,
      renewTill: time,
      skey: fc.integer({ min: 0, max: 255 }),
      flags: time,
      addresses: typed,
      authData: typed,
      ticket: bytes,
      secondTicket: bytes,
    })
    .map((fields) => new CachedCredential(fields))
  const cache = fc.record({
    version: fc.constant(4 as const),
    kdcOffset: fc.option(fc.record({ seconds: fc.integer(), microseconds: fc.integer() }), { nil: undefined }),
    unknownHeader: fc.array(fc.record({ type: fc.integer({ min: 2, max: 0xffff }), data: bytes }), { maxLength: 2 }),
    principal,
    credentials: fc.array(credential, { maxLength: 3 }),
  })

  test('decode(encode(x)) is x', () => {
    fc.assert(
      fc.property(cache, (value) => {
        expect(seen(decodeCredentialCache(encodeCredentialCache(value)))).toEqual(seen(value))
      }),
    )
  })

  test('any bytes, bare or behind a version, are read or refused', () => {
    const starts = fc.constantFrom('', '0501', '0502', '0503', '05040000', '050400000000000000000000000000')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), starts, (rest, start) => {
        survives(() => decodeCredentialCache(concat(fromHex(start), rest)))
      }),
      { numRuns: 2000 },
    )
  })
})
