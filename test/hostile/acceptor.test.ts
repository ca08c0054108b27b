import { inspect } from 'node:util'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { element, encodeDer, oid, sequence, sequenceOf } from '../../src/asn1/index.ts'
import { toBase64 } from '../../src/bytes/base64.ts'
import { concat, uint16be, utf8 } from '../../src/bytes/bytes.ts'
import { toHex } from '../../src/bytes/hex.ts'
import { Key } from '../../src/crypto/index.ts'
import { openAcceptor } from '../../src/entries/wiring/acceptor.ts'
import { ConfigError, KerberosError, VerificationError } from '../../src/errors.ts'
import { bindingHash } from '../../src/gss/bindings.ts'
import { encodeFrame, MECHANISM, type ReplayStore } from '../../src/gss/context.ts'
import { decodeNegTokenResp, encodeNegTokenResp, NEG_STATE } from '../../src/gss/spnego/tokens.ts'
import {
  type AcceptedLogin,
  checkAcceptedLogin,
  MemoryReplayStore,
  ServiceKeys,
} from '../../src/krb5/exchange/index.ts'
import { Keytab, KeytabEntry } from '../../src/krb5/formats/index.ts'
import {
  AP_OPTION,
  type AuthorizationElement,
  encodeAuthorizationData,
  Principal,
  type PrincipalName,
  TICKET_FLAG,
} from '../../src/krb5/messages/index.ts'
import {
  AES,
  ALICE,
  acceptor,
  type Bent,
  codeOf,
  gssChecksum,
  HOUR,
  inSpnego,
  keytab,
  mint,
  NOW,
  REALM,
  SECOND,
  SERVICE,
  type ServiceEntry,
  type Setup,
  SKEW,
  someKey,
} from './mint.ts'

const serviceKey = someKey(18)
const KEYTAB = keytab({ key: serviceKey })
const ABSENT = new Uint8Array(0)

function tryOne(bent: Bent, setup: Partial<Setup> = {}): Promise<string> {
  const { spnego } = mint(serviceKey, bent)
  return codeOf(
    acceptor({ keytab: KEYTAB, ...setup })
      .context()
      .step(spnego),
  )
}

function ifRelevant(...inner: readonly AuthorizationElement[]): AuthorizationElement {
  return { adType: 1, adData: encodeAuthorizationData(inner) }
}

const CRITICAL = { adType: 4711, adData: ABSENT }
const CBT_OPTION = { adType: 143, adData: Uint8Array.of(0, 0x40, 0, 0) }
const BINDINGS = utf8('tls-server-end-point:ours')

function anonymous(components: readonly string[], crealm: string): Bent {
  const cname = { nameType: 11, components }
  const flags = 0x40a80000
  return { ticket: { cname, crealm, flags }, authenticator: { cname, crealm } }
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a valid token', () => {
  test('is accepted, in SPNEGO and raw (S08), and each is answered in its own dress', async () => {
    const { spnego, raw } = mint(serviceKey)
    const both = acceptor({ keytab: KEYTAB })
    const negotiated = both.context()
    const answer = await negotiated.step(spnego)
    expect(answer.complete).toBe(true)
    expect(decodeNegTokenResp(answer.token ?? ABSENT)).toMatchObject({ negState: 0, supportedMech: MECHANISM.KRB5 })
    expect(negotiated.peer.toString()).toBe('alice@EXAMPLE.TEST')
    expect([...negotiated.flags]).toEqual(['mutual', 'replay', 'sequence', 'confidential', 'integrity'])
    expect(negotiated.expiresAt.getTime()).toBe((NOW + HOUR) / 1000)

    const other = acceptor({ keytab: KEYTAB }).context()
    const plain = await other.step(raw)
    expect(plain.complete).toBe(true)
    expect(plain.token?.[0]).toBe(0x60)
    expect(other.peer.equals(ALICE)).toBe(true)
  })
})

interface Row {
  readonly name: string
  readonly bent: Bent
  readonly code: string
  readonly setup?: Partial<Setup>
}

const foreign = new Principal(['alice'], 'FOREIGN.TEST')
const overRealms = { type: 1, contents: utf8('EVIL.TEST') }
const checked = TICKET_FLAG['transited-policy-checked']

const rows: readonly Row[] = [
  // client
  {
    name: 'S20 authenticator of another realm',
    bent: { authenticator: { crealm: 'EVIL.TEST' } },
    code: 'CLIENT_MISMATCH',
  },
  {
    name: 'S21 authenticator with another name',
    bent: { authenticator: { cname: { nameType: 1, components: ['bob'] } } },
    code: 'CLIENT_MISMATCH',
  },
  {
    name: 'S21 authenticator with one component more',
    bent: { authenticator: { cname: { nameType: 1, components: ['alice', ''] } } },
    code: 'CLIENT_MISMATCH',
  },
  {
    name: 'S21 the same text in two components',
    bent: {
      ticket: { cname: { nameType: 1, components: ['a/b'] } },
      authenticator: { cname: { nameType: 1, components: ['a', 'b'] } },
    },
    code: 'CLIENT_MISMATCH',
  },
  {
    name: 'S21 another case',
    bent: { authenticator: { cname: { nameType: 1, components: ['Alice'] } } },
    code: 'CLIENT_MISMATCH',
  },
  {
    name: 'S21 another name type: accepted',
    bent: { authenticator: { cname: { nameType: 10, components: ['alice'] } } },
    code: 'accepted',
  },
  // realms
  {
    name: 'S24 a foreign realm that is not trusted',
    bent: { ticket: { crealm: 'FOREIGN.TEST', flags: checked } },
    setup: { trustedRealms: [] },
    code: 'REALM_NOT_TRUSTED',
  },
  {
    name: 'S24 a foreign realm that is trusted: accepted',
    bent: { ticket: { crealm: 'FOREIGN.TEST' } },
    setup: { trustedRealms: ['FOREIGN.TEST'] },
    code: 'accepted',
  },
  {
    name: 'S25 a foreign realm whose path nobody checked',
    bent: { ticket: { crealm: 'FOREIGN.TEST', flags: 0 } },
    code: 'TRANSITED_REFUSED',
  },
  {
    name: 'S25 a trusted realm, by way of an unchecked one',
    bent: { ticket: { crealm: 'FOREIGN.TEST', flags: 0, transited: overRealms } },
    setup: { trustedRealms: ['FOREIGN.TEST'] },
    code: 'TRANSITED_REFUSED',
  },
  {
    name: 'S25 our own realm, by way of an unchecked one',
    bent: { ticket: { flags: 0, transited: overRealms } },
    code: 'TRANSITED_REFUSED',
  },
  {
    name: 'S25 a path that our KDC has checked: accepted',
    bent: { ticket: { crealm: 'FOREIGN.TEST', flags: checked, transited: overRealms } },
    code: 'accepted',
  },
  // times
  { name: 'S28 the INVALID flag', bent: { ticket: { flags: TICKET_FLAG.invalid } }, code: 'TICKET_NOT_YET_VALID' },
  { name: 'S29 start exactly a skew ahead: accepted', bent: { ticket: { starttime: NOW + SKEW } }, code: 'accepted' },
  {
    name: 'S29 start more than a skew ahead',
    bent: { ticket: { starttime: NOW + SKEW + SECOND } },
    code: 'TICKET_NOT_YET_VALID',
  },
  {
    name: 'S29 no start, authtime more than a skew ahead',
    bent: { ticket: { starttime: undefined, authtime: NOW + SKEW + SECOND } },
    code: 'TICKET_NOT_YET_VALID',
  },
  { name: 'S29 end exactly a skew ago: accepted', bent: { ticket: { endtime: NOW - SKEW } }, code: 'accepted' },
  { name: 'S29 end more than a skew ago', bent: { ticket: { endtime: NOW - SKEW - SECOND } }, code: 'TICKET_EXPIRED' },
  {
    name: 'S29 end before start',
    bent: { ticket: { starttime: NOW + 60 * SECOND, endtime: NOW + 59 * SECOND } },
    code: 'TICKET_EXPIRED',
  },
  {
    name: 'S29 the year 9999: accepted',
    bent: { ticket: { endtime: Date.UTC(9999, 11, 31) * 1000 } },
    code: 'accepted',
  },
  {
    name: 'S29 the year 1969',
    bent: { ticket: { starttime: Date.UTC(1968, 0) * 1000, endtime: Date.UTC(1969, 0) * 1000 } },
    code: 'TICKET_EXPIRED',
  },
  {
    name: 'S29 authenticator exactly a skew slow: accepted',
    bent: { authenticator: { ctime: NOW - SKEW } },
    code: 'accepted',
  },
  {
    name: 'S29 authenticator exactly a skew fast: accepted',
    bent: { authenticator: { ctime: NOW + SKEW } },
    code: 'accepted',
  },
  {
    name: 'S29 authenticator a microsecond too slow',
    bent: { authenticator: { ctime: NOW - SKEW - 1 } },
    code: 'CLOCK_SKEW',
  },
  {
    name: 'S29 authenticator a microsecond too fast',
    bent: { authenticator: { ctime: NOW + SKEW + 1 } },
    code: 'CLOCK_SKEW',
  },
  // keys
  { name: 'S31 the right key under another version: accepted', bent: { kvno: 2 }, code: 'accepted' },
  { name: 'S31 key version 0: accepted', bent: { kvno: 0 }, code: 'accepted' },
  { name: 'S31 no key version: accepted', bent: { kvno: undefined }, code: 'accepted' },
  { name: 'S31 a ticket under another key', bent: { serviceKey: someKey(18) }, code: 'KEY_NOT_FOUND' },
  { name: 'S31 a ticket under another key usage', bent: { ticketUsage: 3 }, code: 'KEY_NOT_FOUND' },
  { name: 'S31 an authenticator under another key', bent: { authenticatorKey: someKey(18) }, code: 'INTEGRITY_FAILED' },
  { name: 'S31 an authenticator of a TGS-REQ', bent: { usage: 7 }, code: 'INTEGRITY_FAILED' },
  { name: 'S33 a ticket labelled rc4', bent: { ticketEtype: 23 }, code: 'ENCTYPE_REFUSED' },
  { name: 'S33 a ticket labelled des3', bent: { ticketEtype: 16 }, code: 'ENCTYPE_REFUSED' },
  { name: 'S33 a ticket labelled des', bent: { ticketEtype: 3 }, code: 'ENCTYPE_REFUSED' },
  {
    name: 'S33 an rc4 session key in an AES ticket',
    bent: { ticket: { key: { keytype: 23, keyvalue: new Uint8Array(16) } } },
    code: 'ENCTYPE_REFUSED',
  },
  {
    name: 'S33 an AES session key that is not permitted',
    bent: { ticket: { key: { keytype: 17, keyvalue: new Uint8Array(16) } } },
    setup: { enctypes: [18] },
    code: 'ENCTYPE_REFUSED',
  },
  {
    name: 'S33 a session key of a wrong length',
    bent: { ticket: { key: { keytype: 18, keyvalue: new Uint8Array(31) } } },
    code: 'MALFORMED',
  },
  {
    name: 'S33 an authenticator labelled with another enctype',
    bent: { authenticatorEtype: 17 },
    code: 'ENCTYPE_REFUSED',
  },
  {
    name: 'S33 an rc4 subkey',
    bent: { authenticator: { subkey: { keytype: 23, keyvalue: new Uint8Array(16) } } },
    code: 'ENCTYPE_REFUSED',
  },
  {
    name: 'S33 a subkey of a wrong length',
    bent: { authenticator: { subkey: { keytype: 18, keyvalue: new Uint8Array(16) } } },
    code: 'MALFORMED',
  },
  { name: 'S34 user-to-user', bent: { apOptions: 0x40000000 }, code: 'USER_TO_USER_REFUSED' },
  // names
  {
    name: 'S22 a ticket relabelled for a service that is not served',
    bent: { sname: { nameType: 3, components: ['ldap', 'dc.example.test'] } },
    code: 'accepted',
  },
  // addresses
  {
    name: 'S29 a ticket for an IPv4 address',
    bent: { ticket: { caddr: [{ addressType: 2, address: Uint8Array.of(10, 0, 0, 1) }] } },
    code: 'ADDRESS_MISMATCH',
  },
  {
    name: 'S29 a ticket for an IPv6 address',
    bent: { ticket: { caddr: [{ addressType: 24, address: new Uint8Array(16) }] } },
    code: 'ADDRESS_MISMATCH',
  },
  {
    name: 'S29 a ticket for a NetBIOS name: accepted',
    bent: { ticket: { caddr: [{ addressType: 20, address: utf8('PC') }] } },
    code: 'accepted',
  },
  // checksum and bindings
  { name: 'S37 no checksum', bent: { authenticator: { cksum: undefined } }, code: 'CHECKSUM_MISSING' },
  {
    name: 'S37 a keyed checksum instead',
    bent: { authenticator: { cksum: { type: 16, checksum: new Uint8Array(12) } } },
    code: 'CHECKSUM_MISSING',
  },
  {
    name: 'S38 23 octets',
    bent: { authenticator: { cksum: { type: 0x8003, checksum: gssChecksum().subarray(0, 23) } } },
    code: 'MALFORMED',
  },
  {
    name: 'S38 Lgth 15',
    bent: {
      authenticator: { cksum: { type: 0x8003, checksum: concat(Uint8Array.of(15, 0, 0, 0), new Uint8Array(20)) } },
    },
    code: 'MALFORMED',
  },
  {
    name: 'S38 Lgth 2^32-1',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: concat(Uint8Array.of(255, 255, 255, 255), new Uint8Array(20)) },
      },
    },
    code: 'MALFORMED',
  },
  {
    name: 'S38 an extension beyond the end',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: concat(gssChecksum(), Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 9, 1)) },
      },
    },
    code: 'MALFORMED',
  },
  {
    name: 'S38 a whole extension: accepted',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: concat(gssChecksum(), Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 1)) },
      },
    },
    code: 'accepted',
  },
  {
    name: 'S38 a delegation beyond the end',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: concat(gssChecksum(undefined, 63), Uint8Array.of(1, 0, 9, 0, 1)) },
      },
    },
    code: 'MALFORMED',
  },
  {
    name: 'S38 an unknown delegation option',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: concat(gssChecksum(undefined, 63), Uint8Array.of(2, 0, 1, 0, 1)) },
      },
    },
    code: 'MALFORMED',
  },
  {
    name: 'S39 bindings of another connection',
    bent: {
      authenticator: {
        cksum: { type: 0x8003, checksum: gssChecksum(bindingHash(utf8('tls-server-end-point:theirs'))) },
      },
    },
    setup: { channelBindings: BINDINGS },
    code: 'BINDINGS_MISMATCH',
  },
  {
    name: 'S35 bindings of this connection: accepted',
    bent: { authenticator: { cksum: { type: 0x8003, checksum: gssChecksum(bindingHash(BINDINGS)) } } },
    setup: { channelBindings: BINDINGS },
    code: 'accepted',
  },
  { name: 'S35 no bindings sent: accepted', bent: {}, setup: { channelBindings: BINDINGS }, code: 'accepted' },
  {
    name: 'S35 bindings sent, none here: accepted',
    bent: { authenticator: { cksum: { type: 0x8003, checksum: gssChecksum(bindingHash(BINDINGS)) } } },
    code: 'accepted',
  },
  {
    name: 'S36 no bindings from a client that always sends them',
    bent: { authenticator: { authorizationData: [ifRelevant(CBT_OPTION)] } },
    setup: { channelBindings: BINDINGS },
    code: 'BINDINGS_MISMATCH',
  },
  {
    name: 'S36 the same, without TLS here: accepted',
    bent: { authenticator: { authorizationData: [ifRelevant(CBT_OPTION)] } },
    code: 'accepted',
  },
  // authorization data
  {
    name: 'S53 critical and unknown, in the ticket',
    bent: { ticket: { authorizationData: [CRITICAL] } },
    code: 'AUTHORIZATION_DATA_REFUSED',
  },
  {
    name: 'S53 critical and unknown behind what is known',
    bent: { ticket: { authorizationData: [ifRelevant(), CRITICAL] } },
    code: 'AUTHORIZATION_DATA_REFUSED',
  },
  {
    name: 'S53b critical and unknown, in the authenticator',
    bent: { authenticator: { authorizationData: [CRITICAL] } },
    code: 'AUTHORIZATION_DATA_REFUSED',
  },
  {
    name: 'S53 inside AD-IF-RELEVANT: accepted',
    bent: { ticket: { authorizationData: [ifRelevant(CRITICAL)] } },
    code: 'accepted',
  },
  {
    name: 'S53b inside AD-IF-RELEVANT: accepted',
    bent: { authenticator: { authorizationData: [ifRelevant(CRITICAL)] } },
    code: 'accepted',
  },
  {
    name: 'S53 AND-OR, which nobody evaluates',
    bent: { ticket: { authorizationData: [{ adType: 5, adData: ABSENT }] } },
    code: 'AUTHORIZATION_DATA_REFUSED',
  },
  {
    name: 'S53 MANDATORY-FOR-KDC',
    bent: { ticket: { authorizationData: [{ adType: 8, adData: ABSENT }] } },
    code: 'AUTHORIZATION_DATA_REFUSED',
  },
  {
    name: 'S53 a nest of nine containers',
    bent: { authenticator: { authorizationData: [nest(9)] } },
    setup: { channelBindings: BINDINGS },
    code: 'MALFORMED',
  },
  {
    name: 'S53 a nest of eight containers: accepted',
    bent: { authenticator: { authorizationData: [nest(8)] } },
    setup: { channelBindings: BINDINGS },
    code: 'accepted',
  },
  // framing
  { name: 'S07 an AP-REP where the AP-REQ belongs', bent: { tokId: 0x0200 }, code: 'MALFORMED' },
]

function nest(depth: number): AuthorizationElement {
  return depth === 0 ? CRITICAL : ifRelevant(nest(depth - 1))
}

describe('one field wrong', () => {
  for (const { name, bent, setup, code } of rows) {
    test(name, async () => expect(await tryOne(bent, setup)).toBe(code))
  }

  test('S20 the identity is the ticket’s, whatever the authenticator could say', async () => {
    const context = acceptor({ keytab: KEYTAB, trustedRealms: ['FOREIGN.TEST'] }).context()
    await context.step(mint(serviceKey, { ticket: { crealm: foreign.realm } }).spnego)
    expect(context.peer.equals(foreign)).toBe(true)
  })

  test('S35 and the context says whether it is bound', async () => {
    const bound = { authenticator: { cksum: { type: 0x8003, checksum: gssChecksum(bindingHash(BINDINGS)) } } }
    for (const [channelBindings, expected] of [
      [BINDINGS, true],
      [undefined, false],
    ] as const) {
      const context = acceptor({ keytab: KEYTAB, channelBindings }).context()
      await context.step(mint(serviceKey, bound).spnego)
      expect(context.flags.has('channel-bound')).toBe(expected)
    }
  })

  test('only a skewed client gets an error token', async () => {
    for (const { bent, setup, code } of rows) {
      const context = acceptor({ keytab: KEYTAB, ...setup }).context()
      await codeOf(context.step(mint(serviceKey, bent).spnego))
      expect(context.errorToken !== undefined).toBe(code === 'CLOCK_SKEW')
    }
  })

  test('nor does one that asks for no mutual authentication', async () => {
    const ctime = NOW - SKEW - SECOND
    for (const [apOptions, expected] of [
      [0, false],
      [AP_OPTION.MUTUAL_REQUIRED, true],
    ] as const) {
      const context = acceptor({ keytab: KEYTAB }).context()
      expect(await codeOf(context.step(mint(serviceKey, { apOptions, authenticator: { ctime } }).spnego))).toBe(
        'CLOCK_SKEW',
      )
      expect(context.errorToken !== undefined).toBe(expected)
    }
  })
})

describe('which key', () => {
  const other = new Principal(['HTTP', 'other.example.test'], REALM)
  const otherKey = someKey(18)
  const both = keytab({ key: serviceKey }, { principal: other, key: otherKey })

  test('S22 a ticket for another service of the same keytab', async () => {
    const token = mint(otherKey, { sname: other }).spnego
    expect(
      await codeOf(
        acceptor({ keytab: both, selection: [SERVICE] })
          .context()
          .step(token),
      ),
    ).toBe('WRONG_PRINCIPAL')
    expect(await codeOf(acceptor({ keytab: both }).context().step(token))).toBe('accepted')
    const relabelled = mint(otherKey, { sname: SERVICE }).spnego
    const only = acceptor({ keytab: both, selection: [SERVICE] }).context()
    expect(await codeOf(only.step(relabelled))).toBe('KEY_NOT_FOUND')
  })

  test.each(['HTT', 'HTTPS', 'http', 'HTTP\0', 'HTT\0P', 'host', ''])(
    'S23 the service %j is not HTTP',
    async (service) => {
      const name = new Principal([service, 'web.example.test'], REALM)
      const keys = new ServiceKeys(keytab({ principal: name, key: serviceKey }), { service: 'HTTP' }, [18])
      expect(keys.size).toBe(0)
    },
  )

  test.each([
    ['HTTP'],
    ['HTTP', 'web.example.test', 'x'],
    ['HTTP', 'web.example.test\0b'],
    ['HTTP', 'wéb.example.test'],
  ])('S23 %j is not HTTP/web.example.test', (...components) => {
    const entry = { principal: new Principal(components.flat(), REALM), key: serviceKey }
    expect(new ServiceKeys(keytab(entry), [SERVICE], [18]).size).toBe(0)
  })

  test('S23 the very name is served, and any host of the service', () => {
    expect(new ServiceKeys(KEYTAB, [SERVICE], [18]).size).toBe(1)
    expect(new ServiceKeys(KEYTAB, { service: 'HTTP' }, [18]).size).toBe(1)
    expect(new ServiceKeys(KEYTAB, [new Principal(SERVICE.components, '')], [18]).size).toBe(1)
  })

  test('S23 a name of one component is no service', () => {
    const entry = { principal: new Principal(['HTTP'], REALM), key: serviceKey }
    expect(new ServiceKeys(keytab(entry), { service: 'HTTP' }, [18]).size).toBe(0)
  })

  test('S24 the same name in another realm is another service', async () => {
    const elsewhere = new Principal(SERVICE.components, 'OTHER.TEST')
    expect(new ServiceKeys(keytab({ principal: elsewhere, key: serviceKey }), [SERVICE], [18]).size).toBe(0)
  })

  test.each<[string, Bent]>([
    ['flag', { ticket: { flags: 0x40a80000 | TICKET_FLAG.anonymous } }],
    ['name', anonymous(['WELLKNOWN', 'ANONYMOUS'], REALM)],
    ['realm', anonymous(['alice'], 'WELLKNOWN:ANONYMOUS')],
  ])('S101 a ticket that is anonymous by its %s alone is nobody’s', async (_mark, bent) => {
    const setup = { trustedRealms: [REALM, 'WELLKNOWN:ANONYMOUS'] }
    expect(await tryOne(bent, setup)).toBe('ANONYMOUS_TICKET')
    expect(await tryOne(bent)).toBe('ANONYMOUS_TICKET')
  })

  test('S101 a name that only resembles the anonymous one is an ordinary name', async () => {
    for (const components of [
      ['WELLKNOWN'],
      ['wellknown', 'anonymous'],
      ['WELLKNOWN', 'ANONYMOUS', 'x'],
      ['WELLKNOWN/ANONYMOUS'],
    ]) {
      expect(await tryOne(anonymous(components, REALM))).toBe('accepted')
    }
  })

  test.each<[string, Bent]>([
    ['17 components', { sname: { nameType: 2, components: Array(17).fill('a') } }],
    ['a component of 1 025 characters', { sname: { nameType: 2, components: ['HTTP', 'a'.repeat(1025)] } }],
    ['4 097 characters', { sname: { nameType: 2, components: [...Array(4).fill('a'.repeat(1024)), 'b'] } }],
    ['a realm of 1 025 characters', { realm: 'R'.repeat(1025) }],
    ['a client’s realm of 1 025 characters', { ticket: { crealm: 'R'.repeat(1025) } }],
  ])('S103 a name with %s is refused before anything is looked up', async (_what, bent) => {
    expect(await tryOne(bent)).toBe('MALFORMED')
  })

  test('S103 a name of the greatest size is an ordinary name', async () => {
    const components = [...Array(3).fill('\u001b'.repeat(1024)), ...Array(13).fill('b')]
    expect(await tryOne({ sname: { nameType: 2, components } })).toBe('accepted')
    expect(await tryOne({ sname: { nameType: 2, components }, serviceKey: someKey(18) })).toBe('KEY_NOT_FOUND')
  })

  test('S31 the old key after a roll-over, while it is there', async () => {
    const fresh = someKey(18)
    const rolled = keytab({ key: serviceKey, kvno: 1 }, { key: fresh, kvno: 2 })
    expect(await codeOf(acceptor({ keytab: rolled }).context().step(mint(serviceKey).spnego))).toBe('accepted')
    const gone = keytab({ key: fresh, kvno: 2 })
    expect(await codeOf(acceptor({ keytab: gone }).context().step(mint(serviceKey).spnego))).toBe('KEY_NOT_FOUND')
  })

  test('S31 version 256 against eight bits, and the whole version first', async () => {
    const short = keytab({ key: serviceKey, kvno: 0, shortKvno: true })
    expect(
      await codeOf(
        acceptor({ keytab: short })
          .context()
          .step(mint(serviceKey, { kvno: 256 }).spnego),
      ),
    ).toBe('accepted')
    const several = keytab({ key: someKey(18), kvno: 512 }, { key: serviceKey, kvno: 256 })
    const decrypt = vi.spyOn(Key.prototype, 'decrypt')
    expect(
      await codeOf(
        acceptor({ keytab: several })
          .context()
          .step(mint(serviceKey, { kvno: 256 }).spnego),
      ),
    ).toBe('accepted')
    expect(decrypt).toHaveBeenCalledTimes(2) // ticket and authenticator
  })

  test.each([[1], [undefined]])(
    'S32 10 000 entries and a garbage ticket of version %s: at most 16 trial decryptions',
    async (kvno) => {
      const entries = Array.from({ length: 10_000 }, (_, i) => ({
        principal: new Principal(['HTTP', `host${i}.example.test`], REALM),
        key: serviceKey,
      }))
      const { context } = acceptor({ keytab: keytab(...entries) })
      const garbage = mint(someKey(18), { kvno }).spnego
      const decrypt = vi.spyOn(Key.prototype, 'decrypt')
      const compare = vi.spyOn(Principal.prototype, 'equals')
      expect(await codeOf(context().step(garbage))).toBe('KEY_NOT_FOUND')
      expect(decrypt.mock.calls.length).toBeGreaterThan(0)
      expect(decrypt.mock.calls.length).toBeLessThanOrEqual(16)
      expect(compare.mock.calls.length).toBeLessThanOrEqual(8)
    },
  )

  test('S32 a name that the keytab has in many realms', () => {
    const names = Array.from({ length: 20 }, (_, i) => new Principal(SERVICE.components, `R${i}.TEST`))
    const keys = new ServiceKeys(keytab(...names.map((principal) => ({ principal, key: serviceKey }))), 'any', [18])
    const few = keys.named(new Principal(SERVICE.components, ''))?.candidates(18, 1, SERVICE, 'R17.TEST') ?? []
    expect([few.length, few[0]?.principal.realm]).toEqual([16, 'R17.TEST'])
  })

  test('S32 the reason of a refusal stays short, whatever the keytab holds', async () => {
    const entries = Array.from({ length: 5000 }, (_, i) => ({ key: serviceKey, kvno: i + 2 }))
    const { context } = acceptor({ keytab: keytab(...entries) })
    const error = await context()
      .step(mint(someKey(18), { kvno: 1 }).spnego)
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(VerificationError)
    expect((error as VerificationError).message.length).toBeLessThan(400)
  })

  test('S23 a name without an entry of its own is served by one that differs in ASCII case alone; realms are compared as they are', async () => {
    const upper = new Principal(['HTTP', 'WEB.example.test'], REALM)
    const served = (selection: readonly Principal[], ...entries: ServiceEntry[]) =>
      new ServiceKeys(keytab(...entries), selection, [18]).principals.map(String)
    const [a, b] = [{ principal: upper, key: serviceKey }, { key: serviceKey }]
    expect(served([SERVICE], a)).toEqual([`${upper}`])
    expect(served([SERVICE], a, b)).toEqual([`${SERVICE}`])
    expect(served([new Principal(SERVICE.components, '')], a)).toEqual([`${upper}`])
    expect(served([new Principal(SERVICE.components, REALM.toLowerCase())], a)).toEqual([])
    expect(new ServiceKeys(keytab(a), 'any', [18]).named(SERVICE)?.principals.map(String)).toEqual([`${upper}`])
    expect(new ServiceKeys(keytab(a, b), 'any', [18]).named(SERVICE)?.principals.map(String)).toEqual([`${SERVICE}`])
  })

  test('S31 key version 0 in the keytab, as generators write it', async () => {
    const { context } = acceptor({ keytab: keytab({ key: serviceKey, kvno: 0 }) })
    expect(await codeOf(context().step(mint(serviceKey, { kvno: 5 }).spnego))).toBe('accepted')
  })

  test('S32 an alias whose key is the twelfth of its version in the keytab', async () => {
    const entries = Array.from({ length: 11 }, (_, i) => ({
      principal: new Principal(['HTTP', `host${i}.example.test`], REALM),
      key: someKey(18),
    }))
    const { context } = acceptor({ keytab: keytab(...entries, { key: serviceKey }) })
    const alias = { nameType: 2, components: ['HTTP', 'alias.example.test'] }
    expect(await codeOf(context().step(mint(serviceKey, { sname: alias }).spnego))).toBe('accepted')
  })

  test('S32 the order of trials: name and version, name with other versions, name in another case, other names', async () => {
    const name = (host: string) => new Principal(['HTTP', host], REALM)
    const entries: ServiceEntry[] = [
      { principal: name('other.example.test'), kvno: 3, key: someKey(18) },
      { principal: name('other.example.test'), kvno: 9, key: someKey(18) },
      { principal: name('WEB.example.test'), kvno: 3, key: someKey(18) },
      { kvno: 2, key: someKey(18) },
      { kvno: 3, key: someKey(18) },
      { kvno: 7, key: someKey(18) },
    ]
    const order = (keys: ServiceKeys, sname: PrincipalName) =>
      keys
        .candidates(18, 3, sname, REALM)
        .map(({ principal, kvno }) => `${principal.components[1]?.slice(0, 3)}${kvno}`)
    const all = new ServiceKeys(keytab(...entries), 'any', [18])
    expect(order(all, SERVICE)).toEqual(['web3', 'web7', 'web2', 'oth3', 'WEB3', 'oth9'])
    expect(order(new ServiceKeys(keytab(...entries.slice(0, 3)), 'any', [18]), SERVICE)).toEqual([
      'WEB3',
      'oth3',
      'oth9',
    ])
  })

  test.each<[string, ServiceEntry[], RegExp, RegExp]>([
    [
      'has the name, not the enctype',
      [{ key: someKey(17), kvno: 3 }],
      /for that name the keytab has .*aes128\S* of version 3$/,
      /Export a key of .*aes256/,
    ],
    ['has the name, another key', [{ key: someKey(18), kvno: 3 }], /aes256\S* .*of version 3$/, /another one by now/],
    [
      'has other names',
      [{ principal: new Principal(['HTTP', 'b'], REALM), key: someKey(18) }],
      /the keytab has "HTTP\/b@EXAMPLE\.TEST"$/,
      /Export the key of "HTTP\/web/,
    ],
  ])('the reason when the keytab %s', async (_what, entries, message, hint) => {
    const failure = (await acceptor({ keytab: keytab(...entries), enctypes: AES })
      .context()
      .step(mint(serviceKey).spnego)
      .catch((error: unknown) => error)) as VerificationError
    expect(failure.code).toBe('KEY_NOT_FOUND')
    expect(failure.message).toMatch(/"HTTP\/web\.example\.test@EXAMPLE\.TEST" \(.*aes256.*, key version 1\)/)
    expect(failure.message).toMatch(message)
    expect(failure.hint).toMatch(hint)
    expect(`${failure.message} ${failure.hint}`).not.toContain('restart')
  })

  test.each<[string, Partial<AcceptedLogin>, readonly string[] | undefined, string]>([
    ['of the own realm', {}, undefined, 'accepted'],
    ['of the own realm, whatever the list', {}, [], 'accepted'],
    ['of a realm whose path the KDC checked', { crealm: 'OTHER.TEST', isPathChecked: true }, undefined, 'accepted'],
    ['of such a realm that is not listed', { crealm: 'OTHER.TEST', isPathChecked: true }, [], 'REALM_NOT_TRUSTED'],
    ['of a direct trust that is not listed', { crealm: 'OTHER.TEST' }, undefined, 'TRANSITED_REFUSED'],
    ['of a direct trust that is listed', { crealm: 'OTHER.TEST' }, ['OTHER.TEST'], 'accepted'],
    ['over realms that nobody checked', { crealm: 'OTHER.TEST', isDirect: false }, ['OTHER.TEST'], 'TRANSITED_REFUSED'],
    ['of another service', { service: new Principal(['HTTP', 'b'], REALM) }, undefined, 'WRONG_PRINCIPAL'],
  ])('S102 a login that another acceptor accepted, %s', async (_what, login, trustedRealms, code) => {
    const { rules } = acceptor({ keytab: KEYTAB, ...(trustedRealms && { trustedRealms }) })
    const whole = { service: SERVICE, crealm: REALM, isDirect: true, isPathChecked: false, ...login }
    expect(await codeOf(Promise.resolve().then(() => checkAcceptedLogin(whole, rules)) as never)).toBe(code)
  })

  test('S32 the entry that the ticket names is tried first among many', async () => {
    const entries = Array.from({ length: 50 }, (_, i) => ({
      principal: new Principal(['HTTP', `host${i}.example.test`], REALM),
      key: someKey(18),
    }))
    const { context } = acceptor({ keytab: keytab(...entries, { key: serviceKey }) })
    const decrypt = vi.spyOn(Key.prototype, 'decrypt')
    expect(await codeOf(context().step(mint(serviceKey).spnego))).toBe('accepted')
    expect(decrypt).toHaveBeenCalledTimes(2)
  })

  test('F05 a keytab of rc4 keys alone', () => {
    const rc4 = Keytab.of([new KeytabEntry({ principal: SERVICE, kvno: 1, enctype: 23, key: new Uint8Array(16) })])
    const open = () => openAcceptor({ keytab: rc4 })
    expect(open).toThrow(ConfigError)
    expect(open).toThrow(/enctype 23 \(rc4-hmac\)/)
  })
})

describe('states', () => {
  test('S01 junk is refused with a typed error', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    for (const junk of ['x', 'Negotiate', '\x60', '\x60\x00', '\xa0\x00', '\xa1\x00']) {
      const code = await codeOf(context().step(Uint8Array.from(junk, (one) => one.charCodeAt(0))))
      expect(['TOKEN_MALFORMED', 'MALFORMED']).toContain(code)
    }
  })

  test('S02 an empty token, at first and as a continuation', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    expect(await codeOf(context().step(ABSENT))).toBe('TOKEN_MALFORMED')
    expect(await codeOf(context().step())).toBe('TOKEN_MALFORMED')
    const half = context()
    await half.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    expect(await codeOf(half.step(ABSENT))).toBe('TOKEN_MALFORMED')
    expect(await codeOf(half.step(mint(serviceKey).spnego))).toBe('CONTEXT_FAILED')
  })

  test('S82 a token of 66 KiB is not even parsed; one of 60 KiB is', async () => {
    const padding = (length: number) => [
      { adType: 1, adData: encodeAuthorizationData([{ adType: 999, adData: new Uint8Array(length) }]) },
    ]
    const sized = (length: number) => tryOne({ ticket: { authorizationData: padding(length) } })
    expect(await sized(60_000)).toBe('accepted')
    expect(await sized(66_000)).toBe('TOKEN_MALFORMED')
  })

  test('S03 a second leg that no first leg came before', async () => {
    const second = encodeNegTokenResp({ responseToken: mint(serviceKey).raw })
    const stranger = acceptor({ keytab: KEYTAB }).context()
    await expect(stranger.step(second)).rejects.toThrow(/continues a negotiation that this server does not know/)
    expect(stranger.complete).toBe(false)
  })

  test('S03 a second leg without a Kerberos token', async () => {
    const context = acceptor({ keytab: KEYTAB }).context()
    await context.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    const code = await codeOf(context.step(encodeNegTokenResp({ negState: NEG_STATE.ACCEPT_INCOMPLETE })))
    expect(code).toBe('TOKEN_MALFORMED')
  })

  test('S04 a failed, a complete and a disposed context take no further token', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    const failed = context()
    await codeOf(failed.step(Uint8Array.of(1)))
    expect(await codeOf(failed.step(mint(serviceKey).spnego))).toBe('CONTEXT_FAILED')
    const complete = context()
    await complete.step(mint(serviceKey).spnego)
    expect(await codeOf(complete.step(mint(serviceKey).spnego))).toBe('CONTEXT_FAILED')
    expect(complete.peer.equals(ALICE)).toBe(true)
    complete.dispose()
    expect(() => complete.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
    expect(await codeOf(complete.step(mint(serviceKey).spnego))).toBe('CONTEXT_FAILED')
  })

  test('S05 nothing can be read before the end, nor after a failure', async () => {
    const accessors = (one: ReturnType<ReturnType<typeof acceptor>['context']>) => [
      () => one.peer,
      () => one.flags,
      () => one.expiresAt,
      () => one.wrap(ABSENT),
      () => one.unwrap(ABSENT),
      () => one.getMic(ABSENT),
      () => one.verifyMic(ABSENT, ABSENT),
    ]
    const { context } = acceptor({ keytab: KEYTAB })
    const half = context()
    for (const read of accessors(half)) expect(read).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    await half.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    for (const read of accessors(half)) expect(read).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    // Kerberos is done, the MIC over the list is not: still nobody.
    await half.step(encodeNegTokenResp({ responseToken: mint(serviceKey).raw }))
    expect(half.complete).toBe(false)
    for (const read of accessors(half)) expect(read).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    const failed = context()
    await codeOf(failed.step(Uint8Array.of(1)))
    expect(failed.complete).toBe(false)
    for (const read of accessors(failed)) expect(read).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
  })

  test('S04 a context that is disposed while the replay store thinks never completes', async () => {
    let answer: (verdict: 'fresh') => void = () => {}
    const replayStore: ReplayStore = {
      checkAndStore: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    }
    const { context } = acceptor({ keytab: KEYTAB, replayStore })
    for (const token of [mint(serviceKey).spnego, mint(serviceKey).raw]) {
      const one = context()
      const pending = codeOf(one.step(token))
      await new Promise((resolve) => setImmediate(resolve))
      one.dispose()
      answer('fresh')
      expect(await pending).toBe('CONTEXT_FAILED')
      expect(one.complete).toBe(false)
      expect(() => one.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
    }
  })

  test('S04 two tokens at once: the second ends the context', async () => {
    const answers: ((verdict: 'fresh') => void)[] = []
    const replayStore: ReplayStore = { checkAndStore: () => new Promise((resolve) => answers.push(resolve)) }
    const one = acceptor({ keytab: KEYTAB, replayStore }).context()
    const steps = [codeOf(one.step(mint(serviceKey).spnego)), codeOf(one.step(mint(serviceKey).spnego))]
    await new Promise((resolve) => setImmediate(resolve))
    for (const answer of answers) answer('fresh')
    expect((await Promise.all(steps)).filter((code) => code === 'accepted')).toHaveLength(0)
    expect(one.complete).toBe(false)
  })
})

describe('negotiation', () => {
  const ntlm = concat(utf8('NTLMSSP\0'), Uint8Array.of(1, 0, 0, 0))

  test('S06 NTLM, raw and within SPNEGO, has a reason of its own', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    expect(await codeOf(context().step(ntlm))).toBe('NTLM_OFFERED')
    expect(await codeOf(context().step(inSpnego(ntlm, [MECHANISM.NTLM])))).toBe('NTLM_OFFERED')
    expect(await codeOf(context().step(inSpnego(ntlm, ['1.3.6.1.4.1.311.2.2.30'])))).toBe('MECHANISM_REFUSED')
  })

  test('S06 NTLM as the continuation of a negotiation about Kerberos', async () => {
    const one = acceptor({ keytab: KEYTAB }).context()
    await one.step(inSpnego(ntlm, [MECHANISM.NTLM, MECHANISM.KRB5]))
    expect(await codeOf(one.step(encodeNegTokenResp({ responseToken: ntlm })))).toBe('MALFORMED')
    expect(await codeOf(one.step(ntlm))).toBe('CONTEXT_FAILED')
  })

  test('S07 an AP-REQ without its frame, and other frames', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    const { apReq, raw } = mint(serviceKey)
    expect(await codeOf(context().step(apReq))).toBe('TOKEN_MALFORMED')
    expect(await codeOf(context().step(encodeFrame('1.2.3.4', concat(uint16be(0x0100), apReq))))).toBe(
      'TOKEN_MALFORMED',
    )
    expect(await codeOf(context().step(inSpnego(apReq)))).toBe('MALFORMED')
    expect(await codeOf(context().step(inSpnego(encodeFrame('1.2.3.4', concat(uint16be(0x0100), apReq)))))).toBe(
      'MALFORMED',
    )
    expect(await codeOf(context().step(inSpnego(inSpnego(raw))))).toBe('MALFORMED')
  })

  test('S08 a raw token under Microsoft’s number is accepted and answered under it', async () => {
    const { apReq } = mint(serviceKey)
    const token = encodeFrame(MECHANISM.MS_KRB5, concat(uint16be(0x0100), apReq))
    const answer = await acceptor({ keytab: KEYTAB }).context().step(token)
    expect(toHex(answer.token ?? ABSENT)).toContain(toHex(encodeDer(oid(MECHANISM.MS_KRB5))))
  })

  test('S09 no mechanism, and ten thousand', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    expect(await codeOf(context().step(inSpnego(mint(serviceKey).raw, [])))).toBe('MALFORMED')
    const many = Array.from({ length: 4000 }, () => MECHANISM.KRB5)
    expect(await codeOf(context().step(inSpnego(mint(serviceKey).raw, many)))).toBe('MALFORMED')
    const most = Array.from({ length: 16 }, () => MECHANISM.KRB5)
    expect(await codeOf(context().step(inSpnego(mint(serviceKey).raw, most)))).toBe('accepted')
  })

  test('S09 the optimistic token of another mechanism is not used; a MIC over the list is demanded', async () => {
    const one = acceptor({ keytab: KEYTAB }).context()
    const list = [MECHANISM.NTLM, MECHANISM.MS_KRB5]
    const first = await one.step(inSpnego(mint(serviceKey).raw, list))
    expect(first.complete).toBe(false)
    expect(decodeNegTokenResp(first.token ?? ABSENT)).toMatchObject({
      negState: NEG_STATE.REQUEST_MIC,
      supportedMech: MECHANISM.MS_KRB5,
      responseToken: undefined,
    })
    const second = await one.step(encodeNegTokenResp({ responseToken: mint(serviceKey).raw }))
    expect(second.complete).toBe(false)
    const reply = decodeNegTokenResp(second.token ?? ABSENT)
    expect(reply.negState).toBe(NEG_STATE.ACCEPT_INCOMPLETE)
    expect(reply.mechListMic?.length).toBe(28)
    // A wrong MIC ends it.
    expect(await codeOf(one.step(encodeNegTokenResp({ mechListMic: reply.mechListMic ?? ABSENT })))).toBe(
      'SEQUENCE_ERROR',
    )
    expect(await codeOf(one.step(encodeNegTokenResp({ mechListMic: ABSENT })))).toBe('CONTEXT_FAILED')
  })

  test('S09 a garbage MIC beside a right Kerberos token is refused', async () => {
    const one = acceptor({ keytab: KEYTAB }).context()
    await one.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    const mechListMic = concat(Uint8Array.of(4, 4, 0, 255, 255, 255, 255, 255), new Uint8Array(20))
    expect(await codeOf(one.step(encodeNegTokenResp({ responseToken: mint(serviceKey).raw, mechListMic })))).toBe(
      'INTEGRITY_FAILED',
    )
  })

  test('S09 a MIC that repeats the token is none (MS-SPNG): the list stays unprotected', async () => {
    const one = acceptor({ keytab: KEYTAB }).context()
    await one.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    const { raw } = mint(serviceKey)
    expect((await one.step(encodeNegTokenResp({ responseToken: raw, mechListMic: raw }))).complete).toBe(false)
  })

  test('S30 a negotiation that never ends has at most five legs', async () => {
    const one = acceptor({ keytab: KEYTAB }).context()
    await one.step(inSpnego(undefined, [MECHANISM.NTLM, MECHANISM.KRB5]))
    await one.step(encodeNegTokenResp({ responseToken: mint(serviceKey).raw }))
    const codes: string[] = []
    for (let leg = 3; leg <= 6; leg++) codes.push(await codeOf(one.step(encodeNegTokenResp({}))))
    expect(codes).toEqual(['accepted', 'accepted', 'accepted', 'TOO_MANY_LEGS'])
    expect(one.complete).toBe(false)
  })
})

describe('replay', () => {
  test('S40 the same token twice', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    const { spnego } = mint(serviceKey)
    expect(await codeOf(context().step(spnego))).toBe('accepted')
    expect(await codeOf(context().step(spnego))).toBe('REPLAY')
  })

  test('S40 in another dress it is the same token: raw, relabelled, another frame, other options', async () => {
    const { context } = acceptor({ keytab: KEYTAB })
    const { spnego, raw, apReq } = mint(serviceKey)
    expect(await codeOf(context().step(spnego))).toBe('accepted')
    expect(await codeOf(context().step(raw))).toBe('REPLAY')
    expect(await codeOf(context().step(inSpnego(raw, [MECHANISM.MS_KRB5])))).toBe('REPLAY')
    expect(await codeOf(context().step(encodeFrame(MECHANISM.MS_KRB5, concat(uint16be(0x0100), apReq))))).toBe('REPLAY')
    const hex = toHex(apReq).replace(toHex(utf8('web.example.test')), toHex(utf8('wEb.example.test')))
    const relabelled = new Uint8Array(Buffer.from(hex, 'hex'))
    expect(await codeOf(context().step(encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), relabelled))))).toBe(
      'REPLAY',
    )
  })

  test('S43 a token from before the start, unless the store remembers it', async () => {
    const startedAt = NOW
    const old = { authenticator: { ctime: NOW - SECOND - 1 } }
    expect(await tryOne(old, { startedAt })).toBe('BEFORE_START')
    expect(await tryOne({ authenticator: { ctime: NOW - SECOND } }, { startedAt })).toBe('accepted')
    const since = (ms: number): ReplayStore => ({ checkAndStore: () => 'fresh', rememberedSince: () => ms })
    expect(await tryOne(old, { startedAt, replayStore: since(0) })).toBe('accepted')
  })

  test('S43 a token from before the store’s memory is refused, also when that was noticed only with its answer', async () => {
    const startedAt = NOW - HOUR
    let since = 0
    const forgetful: ReplayStore = {
      async checkAndStore(): Promise<'fresh'> {
        since = NOW / 1000 + 1001
        return 'fresh'
      },
      rememberedSince: () => since,
    }
    expect(await tryOne({}, { startedAt, replayStore: forgetful })).toBe('BEFORE_START')
    const unclear: ReplayStore = { checkAndStore: () => 'fresh', rememberedSince: () => Number.NaN }
    expect(await tryOne({}, { startedAt, replayStore: unclear })).toBe('BEFORE_START')
    const silent: ReplayStore = { checkAndStore: () => 'fresh', rememberedSince: () => undefined }
    expect(await tryOne({}, { startedAt, replayStore: silent })).toBe('accepted')
  })

  test('S47 A04 a store whose rememberedSince throws, or gives a promise, is one that does not answer', async () => {
    for (const rememberedSince of [
      () => Promise.reject(new RangeError('theirs')) as never,
      () => Promise.resolve(0) as never,
      () => {
        throw new RangeError('theirs')
      },
    ]) {
      const replayStore: ReplayStore = { checkAndStore: () => 'fresh', rememberedSince }
      expect(await tryOne({}, { replayStore })).toBe('REPLAY_STORE_UNAVAILABLE')
    }
    await new Promise((resolve) => setImmediate(resolve)) // an unhandled rejection fails the run
  })

  test('S48 a full store refuses, and recovers', async () => {
    let now = NOW
    let monotonic = 0
    const replayStore = new MemoryReplayStore({ maxEntries: 2, now: () => now / 1000, monotonic: () => monotonic })
    const { context } = acceptor({ keytab: KEYTAB, replayStore, now: () => now })
    const first = mint(serviceKey).spnego
    expect(await codeOf(context().step(first))).toBe('accepted')
    expect(await codeOf(context().step(mint(serviceKey).spnego))).toBe('accepted')
    expect(await codeOf(context().step(mint(serviceKey).spnego))).toBe('REPLAY_STORE_UNAVAILABLE')
    expect(await codeOf(context().step(first))).toBe('REPLAY')
    monotonic += 302_000
    now += 302 * SECOND
    expect(await codeOf(context().step(mint(serviceKey, { now }).spnego))).toBe('accepted')
  })

  test('S47 a store that throws, rejects or says something else lets nobody in', async () => {
    const broken: readonly ReplayStore[] = [
      {
        checkAndStore: () => {
          throw new Error('ECONNREFUSED')
        },
      },
      { checkAndStore: () => Promise.reject(new Error('ECONNREFUSED')) },
    ]
    for (const replayStore of broken) {
      const { context } = acceptor({ keytab: KEYTAB, replayStore })
      expect(await codeOf(context().step(mint(serviceKey).spnego))).toBe('REPLAY_STORE_UNAVAILABLE')
    }
    for (const verdict of [undefined, null, true, 'OK', '']) {
      const replayStore = { checkAndStore: () => verdict } as unknown as ReplayStore
      expect(await tryOne({}, { replayStore })).not.toBe('accepted')
    }
  })

  test('S50 two clients in one microsecond, S51 one client at two services', async () => {
    const otherKey = someKey(18)
    const other = new Principal(['HTTP', 'other.example.test'], REALM)
    const { context } = acceptor({ keytab: keytab({ key: serviceKey }, { principal: other, key: otherKey }) })
    expect(await codeOf(context().step(mint(serviceKey).spnego))).toBe('accepted')
    expect(
      await codeOf(
        context().step(mint(serviceKey, { ticket: { cname: { nameType: 1, components: ['bob'] } } }).spnego),
      ),
    ).toBe('accepted')
    expect(await codeOf(context().step(mint(otherKey, { sname: other }).spnego))).toBe('accepted')
  })

  test('what was refused for another reason takes no room', async () => {
    const replayStore = new MemoryReplayStore({ now: () => NOW / 1000, monotonic: () => 0 })
    for (const { bent, setup, code } of rows) {
      if (code !== 'accepted') await tryOne(bent, { ...setup, replayStore })
    }
    expect(replayStore.size).toBe(0)
  })
})

describe('damage', () => {
  const { spnego, raw } = mint(serviceKey)

  test.each([
    ['SPNEGO', spnego],
    ['raw', raw],
  ] as const)('every truncation of a %s token is refused', async (_, token) => {
    for (let n = 0; n < token.length; n++) {
      const code = await codeOf(acceptor({ keytab: KEYTAB }).context().step(token.subarray(0, n)))
      expect(code).not.toBe('accepted')
    }
  })

  /** Bits that nobody protects and nobody believes: names in the clear, ap-options, the reserved bits of a token. */
  const harmless = new Set<string>()

  test.each([
    ['SPNEGO', spnego],
    ['raw', raw],
  ] as const)('no flipped bit of a %s token changes who is accepted', async (_, token) => {
    let accepted = 0
    for (let bit = 0; bit < token.length * 8; bit += 3) {
      const flipped = token.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      const context = acceptor({ keytab: KEYTAB }).context()
      const code = await codeOf(context.step(flipped))
      if (code !== 'accepted') continue
      accepted++
      harmless.add(String(bit >> 3))
      if (context.complete) expect(context.peer.equals(ALICE)).toBe(true)
    }
    // Clear-text names and options; nothing of the two ciphers.
    expect(accepted).toBeLessThan(250)
  })

  test('every flipped bit of the two ciphers is refused', async () => {
    const { apReq } = mint(serviceKey)
    const text = toHex(apReq)
    const ends = [text.indexOf('a48') / 2, apReq.length]
    expect(ends[0]).toBeGreaterThan(0)
    for (let at = apReq.length - 60; at < apReq.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = apReq.slice()
        flipped[at] = (flipped[at] as number) ^ (1 << bit)
        const token = encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), flipped))
        expect(await codeOf(acceptor({ keytab: KEYTAB }).context().step(token))).toBe('INTEGRITY_FAILED')
      }
    }
  })

  test('random octets never throw anything but a KerberosError', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x60, 0xa0, 0xa1, 0x4e, 0),
        async (bytes, first) => {
          const token = Uint8Array.of(first, ...bytes)
          expect(await codeOf(acceptor({ keytab: KEYTAB }).context().step(token))).not.toBe('accepted')
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('junk inside well-formed wrappers never throws anything but a KerberosError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        for (const token of [
          inSpnego(bytes),
          encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), bytes)),
          inSpnego(encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), encodeDer(element(0x6e, sequence(bytes)))))),
          encodeFrame(
            MECHANISM.SPNEGO,
            element(
              0xa0,
              sequence(
                element(
                  0xa0,
                  sequenceOf([bytes], (one) => one),
                ),
              ),
            ),
          ),
        ]) {
          expect(await codeOf(acceptor({ keytab: KEYTAB }).context().step(token))).not.toBe('accepted')
        }
      }),
      { numRuns: 500 },
    )
  })
})

test('S80 no refusal shows a key or a piece of a token, in message, hint, cause, inspect or JSON', async () => {
  for (const { bent, setup } of rows) {
    const { spnego, sessionKey } = mint(serviceKey, bent)
    const context = acceptor({ keytab: KEYTAB, ...setup }).context()
    const error = await context.step(spnego).catch((reason: unknown) => reason)
    const shown = [
      inspect(error, { depth: 9, showHidden: true }),
      JSON.stringify(error),
      inspect(context, { depth: 9 }),
      JSON.stringify(context),
    ]
    if (error instanceof KerberosError) shown.push(error.message, error.hint ?? '', inspect(error.cause, { depth: 9 }))
    const text = shown.join('\n')
    for (const secret of [serviceKey.toBytes(), sessionKey.toBytes(), spnego.subarray(100), spnego.subarray(300)]) {
      expect(text).not.toContain(toHex(secret).slice(0, 24))
      expect(text).not.toContain(toBase64(secret).slice(0, 16))
      expect(text).not.toContain([...secret.subarray(0, 8)].join(', '))
    }
  }
})
