import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { concat } from '../../src/bytes/bytes.ts'
import {
  type AcceptorContext,
  Credentials,
  createAcceptor,
  createInitiator,
  type Flag,
  KerberosClient,
  Krb5Config,
  type SecurityContext,
} from '../../src/entries/index.ts'
import { TestRealm } from '../../src/entries/testing.ts'
import { type Credential, makeKrbCred, openKrbCred } from '../../src/krb5/exchange/index.ts'
import {
  decodeEncKrbCredPart,
  decodeKrbCred,
  type EncKrbCredPart,
  encodeEncKrbCredPart,
  encodeKrbCred,
  KEY_USAGE,
  type KrbCredInfo,
  Principal,
} from '../../src/krb5/messages/index.ts'
import { ALICE, acceptor, codeOf, counting, gssChecksum, keytab, mint, NOW, someKey, source } from './mint.ts'

/** Forwarded logins (RFC 4120 §3.6, RFC 4121 §4.1.1): a client hands itself over, to whom it means to, and nothing else. */

let realm: TestRealm
beforeAll(async () => {
  const services = ['HTTP/web.test', 'HTTP/back.test', 'HTTP/trusted.test']
  realm = await TestRealm.start({ users: { alice: 'secret' }, services, okAsDelegate: ['HTTP/trusted.test'] })
})
afterAll(() => realm.stop())

const FLAGS: readonly Flag[] = ['mutual', 'delegate']

interface Forwarding {
  readonly delegation?: boolean
  readonly flags?: readonly Flag[]
  readonly policy?: 'always' | 'policy'
  readonly config?: Krb5Config
}

async function forward(
  host: string,
  { delegation = true, flags = FLAGS, policy, config = realm.config }: Forwarding = {},
): Promise<{ token: Uint8Array; initiator: SecurityContext; context: AcceptorContext }> {
  const server = await createAcceptor({ keytab: realm.keytab(`HTTP/${host}`), delegation })
  const credentials = Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret')
  const initiator = await createInitiator({ target: `HTTP@${host}`, credentials, flags, config, delegation: policy })
  const context = server.createContext()
  const { token = new Uint8Array(0) } = await initiator.step()
  const answer = await context.step(token)
  await initiator.step(answer.token)
  return { token, initiator, context }
}

describe('a login that is forwarded', () => {
  test('is the user: the service fetches his tickets with it, and can hand it on', async () => {
    const { initiator, context } = await forward('web.test')
    expect([initiator.flags.has('delegate'), context.flags.has('delegate')]).toEqual([true, true])
    const credentials = context.delegated as Credentials
    expect(context.delegated).toBe(credentials)
    const client = new KerberosClient({ credentials, config: realm.config })
    const tgt = await client.login()
    expect([`${tgt.client}`, `${tgt.server}`]).toEqual(['alice@EXAMPLE.TEST', 'krbtgt/EXAMPLE.TEST@EXAMPLE.TEST'])
    expect(tgt.flags.has('forwarded')).toBe(true)
    expect(`${(await client.getTicket('HTTP/back.test')).server}`).toBe('HTTP/back.test@EXAMPLE.TEST')

    const back = await createAcceptor({ keytab: realm.keytab('HTTP/back.test'), delegation: true })
    const onward = await createInitiator({ target: 'HTTP@back.test', credentials, flags: FLAGS, config: realm.config })
    const second = back.createContext()
    await second.step((await onward.step()).token)
    expect(`${second.peer}`).toBe('alice@EXAMPLE.TEST')
    expect(second.delegated).toBeInstanceOf(Credentials)
  })

  test('each service gets a key of its own, which is kept', async () => {
    const store = Credentials.storeOf(await realm.login('alice'))
    const service = (host: string) => Principal.parse(`HTTP/${host}@EXAMPLE.TEST`)
    const one = await store.getForwardedTicket(service('web.test'))
    expect(await store.getForwardedTicket(service('web.test'))).toBe(one)
    const other = await store.getForwardedTicket(service('back.test'))
    const tgt = await store.getTicketGrantingTicket()
    const keys = [one, other, tgt].map(({ sessionKey }) => Buffer.from(sessionKey.toBytes()).toString('hex'))
    expect(new Set(keys).size).toBe(3)
  })

  test('C40 without the flag nothing is forwarded', async () => {
    const { initiator, context, token } = await forward('web.test', { flags: ['mutual'] })
    expect([initiator.flags.has('delegate'), context.flags.has('delegate')]).toEqual([false, false])
    expect(context.delegated).toBeUndefined()
    expect(token.length).toBeLessThan((await forward('web.test')).token.length - 400)
  })

  test('C41 by policy only to a service that the KDC marks', async () => {
    const plain = await forward('web.test', { policy: 'policy' })
    expect([plain.initiator.flags.has('delegate'), plain.context.delegated]).toEqual([false, undefined])
    const trusted = await forward('trusted.test', { policy: 'policy' })
    expect(trusted.initiator.flags.has('delegate')).toBe(true)
    expect(trusted.context.delegated).toBeInstanceOf(Credentials)
  })

  test('C44 a login that may not be forwarded: the error says how it could', async () => {
    const text = readFileSync(realm.environment.KRB5_CONFIG, 'utf8').replace(
      'forwardable = true',
      'forwardable = false',
    )
    const failure = await forward('web.test', { config: Krb5Config.parse(text) }).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      code: 'TICKET_NOT_FORWARDABLE',
      hint: expect.stringContaining('forwardable = true'),
    })
  })

  test('before completion, and after disposal, nothing is handed out', async () => {
    const server = await createAcceptor({ keytab: realm.keytab('HTTP/web.test'), delegation: true })
    expect(() => server.createContext().delegated).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    const { context } = await forward('web.test')
    context.dispose()
    expect(() => context.delegated).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
  })
})

const serviceKey = someKey(18)

/** A token whose checksum carries these octets as a KRB-CRED. */
function forwarding(octets: Uint8Array): Uint8Array {
  const head = Uint8Array.of(1, 0, octets.length & 0xff, octets.length >> 8)
  const checksum = concat(gssChecksum(undefined, 63), head, octets)
  return mint(serviceKey, { authenticator: { cksum: { type: 0x8003, checksum } } }).raw
}

describe('what is no login', () => {
  test('S70 is not even opened where it is not wanted, and refused where it is', async () => {
    const junk = Uint8Array.of(0x76, 3, 1, 2, 3)
    const deaf = acceptor({ keytab: keytab({ key: serviceKey }) }).context()
    await deaf.step(forwarding(junk))
    expect(deaf.flags.has('delegate')).toBe(false)
    const open = acceptor({ keytab: keytab({ key: serviceKey }), delegation: true })
    expect(await codeOf(open.context().step(forwarding(junk)))).toBe('MALFORMED')
    expect(await codeOf(open.context().step(forwarding(new Uint8Array(0))))).toBe('MALFORMED')
  })

  const tgs = new Principal(['krbtgt', ALICE.realm], ALICE.realm)
  const minted = mint(serviceKey, { sname: tgs })
  const sessionKey = minted.sessionKey
  const credential: Credential = { ...minted.credential, server: tgs }
  const seal = (bend: (part: EncKrbCredPart) => EncKrbCredPart, key = sessionKey, count = 1): Uint8Array => {
    const { tickets, encPart } = decodeKrbCred(
      makeKrbCred(
        credential,
        sessionKey,
        source(() => NOW),
      ),
    )
    const part = decodeEncKrbCredPart(sessionKey.decrypt(KEY_USAGE.KRB_CRED, encPart.cipher))
    const cipher = key.encrypt(KEY_USAGE.KRB_CRED, encodeEncKrbCredPart(bend(part)), counting()(16))
    const copies = Array.from({ length: count }, () => tickets[0] as (typeof tickets)[0])
    return encodeKrbCred({ tickets: copies, encPart: { etype: key.enctype, kvno: undefined, cipher } })
  }
  const info = (bent: Partial<KrbCredInfo>) => (part: EncKrbCredPart) => ({
    ...part,
    ticketInfo: part.ticketInfo.map((one) => ({ ...one, ...bent })),
  })
  const open = (bytes: Uint8Array, keys = [sessionKey]): readonly Credential[] => openKrbCred(bytes, keys, ALICE)

  test('an honest one opens to the ticket and its key', () => {
    const [opened] = open(seal((part) => part))
    expect(opened?.ticket.raw).toEqual(credential.ticket.raw)
    expect(opened?.sessionKey.toBytes()).toEqual(credential.sessionKey.toBytes())
    expect([opened?.endTime, opened?.flags]).toEqual([credential.endTime, credential.flags])
    expect(
      open(
        seal((part) => part),
        [someKey(18), sessionKey],
      ),
    ).toHaveLength(1) // the session key or the subkey
  })

  const krbtgt = (realm: string) => ({ nameType: 2, components: ['krbtgt', realm] })

  /** Described as a ticket-granting ticket, but it is none. */
  function otherTicket(): Uint8Array {
    const { encPart } = decodeKrbCred(seal((part) => part))
    return encodeKrbCred({ tickets: [mint(serviceKey).credential.ticket], encPart })
  }

  test('S72 an empty list of tickets is no login, and no error', async () => {
    const empty = seal((part) => ({ ...part, ticketInfo: [] }), sessionKey, 0)
    const checksum = concat(
      gssChecksum(undefined, 63),
      Uint8Array.of(1, 0, empty.length & 0xff, empty.length >> 8),
      empty,
    )
    const { raw } = mint(serviceKey, { around: minted, authenticator: { cksum: { type: 0x8003, checksum } } })
    const context = acceptor({ keytab: keytab({ key: serviceKey }), delegation: true }).context()
    expect(await codeOf(context.step(raw))).toBe('accepted')
    expect(context.flags.has('delegate')).toBe(false)
  })

  const refused: readonly [string, () => Uint8Array, string][] = [
    ['more tickets than descriptions', () => seal((part) => part, sessionKey, 2), 'DELEGATION_REFUSED'],
    ['no ticket at all', () => seal((part) => ({ ...part, ticketInfo: [] })), 'DELEGATION_REFUSED'],
    ['without the client’s name', () => seal(info({ pname: undefined })), 'DELEGATION_REFUSED'],
    ['without his realm', () => seal(info({ prealm: undefined })), 'DELEGATION_REFUSED'],
    ['without an end', () => seal(info({ endtime: undefined })), 'DELEGATION_REFUSED'],
    ['of another user', () => seal(info({ pname: { nameType: 1, components: ['mallory'] } })), 'CLIENT_MISMATCH'],
    ['of another realm', () => seal(info({ prealm: 'EVIL.TEST' })), 'CLIENT_MISMATCH'],
    [
      'for a ticket-granting service of the client’s choice',
      () => seal(info({ sname: krbtgt('EVIL.TEST') })),
      'DELEGATION_REFUSED',
    ],
    ['of a KDC of the client’s choice', () => seal(info({ srealm: 'EVIL.TEST' })), 'DELEGATION_REFUSED'],
    [
      'for another service',
      () => seal(info({ sname: { nameType: 2, components: ['HTTP', 'x'] } })),
      'DELEGATION_REFUSED',
    ],
    ['whose ticket is for another service', () => otherTicket(), 'DELEGATION_REFUSED'],
    ['under another key', () => seal((part) => part, someKey(18)), 'INTEGRITY_FAILED'],
    ['under another enctype', () => seal((part) => part, someKey(17)), 'ENCTYPE_REFUSED'],
  ]
  for (const [what, make, code] of refused) {
    test(`S72 ${what}: ${code}`, () => {
      expect(() => open(make())).toThrow(expect.objectContaining({ code }))
    })
  }

  test('S72 not sealed at all, as some libraries send it: refused', () => {
    const { tickets, encPart } = decodeKrbCred(seal((part) => part))
    const plain = sessionKey.decrypt(KEY_USAGE.KRB_CRED, encPart.cipher)
    const bare = encodeKrbCred({ tickets, encPart: { etype: 0, kvno: undefined, cipher: plain } })
    expect(() => open(bare)).toThrow(expect.objectContaining({ code: 'ENCTYPE_REFUSED' }))
  })

  test('every truncation and every flipped bit of the sealed part is refused', () => {
    const whole = seal((part) => part)
    for (let n = 0; n < whole.length; n++) expect(() => open(whole.subarray(0, n))).toThrow()
    const { encPart, tickets } = decodeKrbCred(whole)
    for (let i = 0; i < encPart.cipher.length; i++) {
      const cipher = encPart.cipher.slice()
      cipher[i] = (cipher[i] as number) ^ (1 << (i % 8))
      const bent = encodeKrbCred({ tickets, encPart: { ...encPart, cipher } })
      expect(() => open(bent)).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
    }
  })
})
