import { describe, expect, test } from 'vitest'
import { Key } from '../../../src/crypto/index.ts'
import {
  type AuthorizationData,
  decodeApReq,
  decodeKdcReq,
  ERROR,
  encodeApReq,
  encodeAuthorizationData,
  encodeEncTicketPart,
  encodeKdcReq,
  encodeTicket,
  KDC_OPTION,
  KEY_USAGE,
  MESSAGE,
  Principal,
  TICKET_FLAG,
  ticketFlagNames,
} from '../../../src/krb5/messages/index.ts'
import {
  ALL,
  answer,
  asReq,
  type Granted,
  getTicket,
  HOUR,
  inside,
  type Lab,
  lab,
  login,
  NOW,
  open,
  REALM,
  random,
  refusal,
  TGS,
  type TgsChanges,
  tgsReq,
  WEB,
} from './client.ts'

async function loggedIn(faults: readonly string[] = []): Promise<{ made: Lab; tgt: Granted }> {
  const made = lab(faults)
  return { made, tgt: await login(made, { till: NOW + 8 * HOUR }) }
}

describe('RFC 4120 §3.3: a ticket for a service', () => {
  for (const etype of ALL) {
    test(`with a session key of enctype ${etype}`, async () => {
      const made = lab()
      const tgt = await login(made, { etype: [etype] })
      const granted = await getTicket(made, tgt, { body: { etype: [etype] } })
      expect(granted.part).toMatchObject({
        nonce: 0x12345678,
        srealm: REALM,
        sname: WEB,
        authtime: NOW,
        endtime: NOW + HOUR,
      })
      expect([granted.reply.encPart.etype, granted.reply.encPart.kvno]).toEqual([etype, undefined])
      expect([granted.part.key.keytype, granted.ticket.encPart.etype]).toEqual([etype, 18])
      const ticket = await inside(made, granted)
      expect(ticket).toMatchObject({ crealm: REALM, cname: { components: ['alice'] }, flags: granted.part.flags })
      expect([...ticketFlagNames(ticket.flags)]).toEqual(['pre-authent', 'transited-policy-checked'])
      expect(ticket.key).toEqual(granted.part.key)
    })
  }

  test('the reply is under the subkey, when there is one (§3.3.3)', async () => {
    const { made, tgt } = await loggedIn()
    const subkey = new Key(19, random(16))
    const request = tgsReq(tgt, { authenticator: { subkey: { keytype: 19, keyvalue: subkey.toBytes() } } })
    const reply = await answer(made.kdc, request)
    expect(open(reply, MESSAGE.TGS_REP, subkey, KEY_USAGE.TGS_REP_SUBKEY).part.sname).toEqual(WEB)
  })

  test('ends with the ticket-granting ticket, and keeps its time of authentication', async () => {
    const { made, tgt } = await loggedIn()
    made.time = NOW + 4 * HOUR
    const { part } = await getTicket(made, tgt, {
      body: { till: NOW + 20 * HOUR },
      authenticator: { ctime: made.time },
    })
    expect(part).toMatchObject({ authtime: NOW, starttime: NOW + 4 * HOUR, endtime: NOW + 8 * HOUR })
    const rest = await getTicket(made, tgt, { body: { till: 0 }, authenticator: { ctime: made.time } })
    expect(rest.part.endtime).toBe(NOW + 8 * HOUR)
  })
})

describe('RFC 4120 §3.3.3: options', () => {
  const everything = KDC_OPTION.FORWARDABLE | KDC_OPTION.PROXIABLE | KDC_OPTION.RENEWABLE
  const PROXY = 0x08000000

  test('what the ticket-granting ticket is, the next one can be; what it is not, is KDC_ERR_BADOPTION', async () => {
    const made = lab()
    const tgt = await login(made, { kdcOptions: everything, rtime: NOW + 48 * HOUR })
    const { part } = await getTicket(made, tgt, { body: { kdcOptions: everything, rtime: NOW + 24 * HOUR } })
    expect(part.flags & everything).toBe(everything)
    expect(part.renewTill).toBe(NOW + 24 * HOUR)

    const plain = await login(made)
    const options = [KDC_OPTION.FORWARDABLE, KDC_OPTION.FORWARDED, KDC_OPTION.PROXIABLE, PROXY, KDC_OPTION.RENEWABLE]
    for (const kdcOptions of [...options, KDC_OPTION.RENEW, KDC_OPTION.VALIDATE, 8, 0x20000]) {
      const { errorCode } = await refusal(made.kdc, tgsReq(plain, { body: { kdcOptions, sname: TGS } }))
      expect([kdcOptions, errorCode]).toEqual([kdcOptions, ERROR.KDC_ERR_BADOPTION])
    }
  })

  test('FORWARDED: a ticket-granting ticket for another host, and what is got with it says so (§2.6)', async () => {
    const made = lab()
    const tgt = await login(made, { kdcOptions: KDC_OPTION.FORWARDABLE })
    const addresses = [{ addressType: 2, address: Uint8Array.of(192, 0, 2, 1) }]
    const body = { kdcOptions: KDC_OPTION.FORWARDED | KDC_OPTION.FORWARDABLE, sname: TGS, addresses }
    const forwarded = await getTicket(made, tgt, { body })
    expect([...ticketFlagNames(forwarded.part.flags)]).toContain('forwarded')
    expect(forwarded.part.caddr).toEqual(addresses)
    const derived = await getTicket(made, forwarded)
    expect([...ticketFlagNames(derived.part.flags)]).toEqual(['forwarded', 'pre-authent', 'transited-policy-checked'])
  })

  test('PROXY: for a service and for nothing else (§2.5)', async () => {
    const made = lab()
    const tgt = await login(made, { kdcOptions: KDC_OPTION.PROXIABLE })
    expect((await getTicket(made, tgt, { body: { kdcOptions: PROXY } })).part.flags & TICKET_FLAG.proxy).not.toBe(0)
    const { errorCode } = await refusal(made.kdc, tgsReq(tgt, { body: { kdcOptions: PROXY, sname: TGS } }))
    expect(errorCode).toBe(ERROR.KDC_ERR_BADOPTION)
  })

  test('RENEW: what is not asked for again is lost', async () => {
    const made = lab()
    const all = KDC_OPTION.FORWARDABLE | KDC_OPTION.PROXIABLE | KDC_OPTION.RENEWABLE
    const tgt = await login(made, { kdcOptions: all, till: NOW + 8 * HOUR, rtime: NOW + 12 * HOUR })
    const { part } = await getTicket(made, tgt, { body: { kdcOptions: KDC_OPTION.RENEW, sname: TGS } })
    expect([part.flags & all, part.renewTill]).toEqual([0, undefined])
  })

  test('RENEW: as long as before, until the renewal ends', async () => {
    const made = lab()
    const tgt = await login(made, { kdcOptions: KDC_OPTION.RENEWABLE, till: NOW + 8 * HOUR, rtime: NOW + 12 * HOUR })
    made.time = NOW + 3 * HOUR
    const renew = (ticket: Granted, sname = TGS): Uint8Array =>
      tgsReq(ticket, {
        body: { kdcOptions: KDC_OPTION.RENEW | KDC_OPTION.RENEWABLE, sname },
        authenticator: { ctime: made.time },
      })
    const reply = await answer(made.kdc, renew(tgt))
    const first = open(reply, MESSAGE.TGS_REP, tgt.sessionKey, KEY_USAGE.TGS_REP_SESSION_KEY)
    expect(first.part).toMatchObject({ authtime: NOW, starttime: NOW + 3 * HOUR, endtime: NOW + 11 * HOUR })
    expect(first.part).toMatchObject({ renewTill: NOW + 12 * HOUR, flags: tgt.part.flags })
    expect(first.sessionKey.equals(tgt.sessionKey)).toBe(false)

    made.time = NOW + 10 * HOUR
    const again = open(await answer(made.kdc, renew(first)), MESSAGE.TGS_REP, first.sessionKey, 8)
    expect(again.part.endtime).toBe(NOW + 12 * HOUR)
    expect((await refusal(made.kdc, renew(first, WEB))).errorCode).toBe(ERROR.KDC_ERR_SERVER_NOMATCH)
    made.time = NOW + 12 * HOUR
    expect((await refusal(made.kdc, renew(again))).errorCode).toBe(ERROR.KRB_AP_ERR_TKT_EXPIRED)
  })
})

test('RFC 4120 §3.3.3: a renewal that ends before the ticket does', async () => {
  const made = lab()
  const tgt = await login(made, { kdcOptions: KDC_OPTION.RENEWABLE, till: NOW + 8 * HOUR, rtime: NOW + HOUR })
  expect(tgt.part.renewTill).toBe(NOW + HOUR)
  made.time = NOW + 2 * HOUR
  const body = { kdcOptions: KDC_OPTION.RENEW, sname: TGS }
  const request = tgsReq(tgt, { body, authenticator: { ctime: made.time } })
  expect((await refusal(made.kdc, request)).errorCode).toBe(ERROR.KRB_AP_ERR_TKT_EXPIRED)
})

describe('RFC 4120 §3.3.2, §3.2.3: each check refuses what it is for', () => {
  const cases: readonly (readonly [string, TgsChanges, number])[] = [
    [
      'an unknown service',
      { body: { sname: { nameType: 3, components: ['HTTP', 'nowhere'] } } },
      ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN,
    ],
    ['a service of another realm', { body: { realm: 'OTHER.TEST' } }, ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN],
    ['no common enctype', { body: { etype: [23] } }, ERROR.KDC_ERR_ETYPE_NOSUPP],
    ['an end in the past', { body: { till: NOW - 1e6 } }, ERROR.KDC_ERR_NEVER_VALID],
    [
      'an authenticator for somebody else',
      { authenticator: { cname: { nameType: 1, components: ['bob'] } } },
      ERROR.KRB_AP_ERR_BADMATCH,
    ],
    ['an authenticator of another realm', { authenticator: { crealm: 'OTHER.TEST' } }, ERROR.KRB_AP_ERR_BADMATCH],
    ['an authenticator 301 s old', { authenticator: { ctime: NOW - 301e6 } }, ERROR.KRB_AP_ERR_SKEW],
    ['an authenticator 301 s ahead', { authenticator: { ctime: NOW + 301e6 } }, ERROR.KRB_AP_ERR_SKEW],
    ['no checksum', { authenticator: { cksum: undefined } }, ERROR.KRB_AP_ERR_INAPP_CKSUM],
    [
      'an unkeyed checksum',
      { authenticator: { cksum: { type: 7, checksum: new Uint8Array(16) } } },
      ERROR.KRB_AP_ERR_INAPP_CKSUM,
    ],
    [
      'a keyed checksum of another enctype',
      { authenticator: { cksum: { type: 15, checksum: new Uint8Array(12) } } },
      ERROR.KRB_AP_ERR_INAPP_CKSUM,
    ],
    [
      'a wrong checksum',
      { authenticator: { cksum: { type: 16, checksum: new Uint8Array(12) } } },
      ERROR.KRB_AP_ERR_MODIFIED,
    ],
    [
      'an empty checksum',
      { authenticator: { cksum: { type: 16, checksum: new Uint8Array(0) } } },
      ERROR.KRB_AP_ERR_MODIFIED,
    ],
    ['a checksum of another usage', { usages: [10, 7] }, ERROR.KRB_AP_ERR_MODIFIED],
    ['an authenticator of another usage', { usages: [6, 11] }, ERROR.KRB_AP_ERR_BAD_INTEGRITY],
    [
      'an authenticator labelled with another enctype',
      { apReq: { authenticator: { etype: 17, kvno: undefined, cipher: new Uint8Array(64) } } },
      ERROR.KRB_AP_ERR_BAD_INTEGRITY,
    ],
    [
      'a subkey of an enctype that is not known',
      { authenticator: { subkey: { keytype: 23, keyvalue: new Uint8Array(16) } } },
      ERROR.KDC_ERR_ETYPE_NOSUPP,
    ],
    [
      'a subkey of a wrong length',
      { authenticator: { subkey: { keytype: 18, keyvalue: new Uint8Array(16) } } },
      ERROR.KRB_ERR_GENERIC,
    ],
  ]
  for (const [name, changes, code] of cases) {
    test(name, async () => {
      const { made, tgt } = await loggedIn()
      expect((await refusal(made.kdc, tgsReq(tgt, changes))).errorCode).toBe(code)
      expect((await getTicket(made, tgt)).part.sname).toEqual(WEB)
    })
  }

  test('an authenticator that is right, but for its enctype', async () => {
    const { made, tgt } = await loggedIn()
    const relabelled = tgsReq(tgt, {
      value: (octets) => {
        const { authenticator, ...apReq } = decodeApReq(octets)
        return encodeApReq({ ...apReq, authenticator: { ...authenticator, etype: 17 } })
      },
    })
    expect((await refusal(made.kdc, relabelled)).errorCode).toBe(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
  })

  test('an altered body is KRB_AP_ERR_MODIFIED', async () => {
    const { made, tgt } = await loggedIn()
    const request = tgsReq(tgt)
    // "localhost" of the service's name: the body lies behind the padata, so the last one is it.
    const at = Buffer.from(request).lastIndexOf('localhost')
    request[at] = 0x4c
    expect((await refusal(made.kdc, request)).errorCode).toBe(ERROR.KRB_AP_ERR_MODIFIED)
  })

  test('a ticket-granting ticket is good to its last second', async () => {
    const { made, tgt } = await loggedIn()
    const at = (time: number): Uint8Array => {
      made.time = time
      return tgsReq(tgt, { body: { till: 0 }, authenticator: { ctime: time } })
    }
    expect((await answer(made.kdc, at(NOW + 8 * HOUR - 1e6)))[0]).toBe(0x6d)
    expect((await refusal(made.kdc, at(NOW + 8 * HOUR))).errorCode).toBe(ERROR.KRB_AP_ERR_TKT_EXPIRED)
    expect((await refusal(made.kdc, at(NOW - 301e6))).errorCode).toBe(ERROR.KRB_AP_ERR_TKT_NYV)
  })

  test('no PA-TGS-REQ is KDC_ERR_PADATA_TYPE_NOSUPP', async () => {
    const request = asReq().map((octet, i) => (i === 0 ? 0x6c : octet))
    const type = Buffer.from(request).indexOf(Buffer.from([0xa2, 3, 2, 1, 10]))
    request[type + 4] = MESSAGE.TGS_REQ
    expect((await refusal(lab().kdc, request)).errorCode).toBe(ERROR.KDC_ERR_PADATA_TYPE_NOSUPP)
  })
})

describe('RFC 4120 §3.2.3: replay', () => {
  test('an authenticator that comes with another request is KRB_AP_ERR_REPEAT', async () => {
    const { made, tgt } = await loggedIn()
    const request = tgsReq(tgt)
    expect((await answer(made.kdc, request))[0]).toBe(0x6d)
    // The padata are not under the checksum: one more makes another request of the same authenticator.
    const { padata, body, type, rawBody } = decodeKdcReq(request)
    const more = [...padata, { type: 150, value: new Uint8Array() }]
    const again = encodeKdcReq({ type, body, padata: more }, rawBody)
    expect((await refusal(made.kdc, again)).errorCode).toBe(ERROR.KRB_AP_ERR_REPEAT)
    made.time += 299e6
    expect((await refusal(made.kdc, again)).errorCode).toBe(ERROR.KRB_AP_ERR_REPEAT)
    made.time += 2e6
    expect((await refusal(made.kdc, again)).errorCode).toBe(ERROR.KRB_AP_ERR_SKEW)
  })

  test('one from the future is remembered until it is too old', async () => {
    const { made, tgt } = await loggedIn()
    const options = { authenticator: { ctime: NOW + 300e6 } }
    const request = tgsReq(tgt, options)
    expect((await answer(made.kdc, request))[0]).toBe(0x6d)
    for (const elapsed of [200e6, 599e6]) {
      made.time = NOW + elapsed
      expect((await refusal(made.kdc, request)).errorCode).toBe(ERROR.KRB_AP_ERR_REPEAT)
    }
  })

  test('the same octets within two minutes get the same reply (§3.1.2)', async () => {
    const { made, tgt } = await loggedIn()
    const request = tgsReq(tgt)
    const reply = await answer(made.kdc, request)
    made.time += 120e6
    expect(await answer(made.kdc, request)).toEqual(reply)
    made.time += 1e6
    expect((await refusal(made.kdc, request)).errorCode).toBe(ERROR.KRB_AP_ERR_REPEAT)
  })
})

describe('K43: only the ticket of the ticket-granting service is one', () => {
  test('a ticket for a service, and one for k/REALM, are KRB_AP_ERR_NOT_US', async () => {
    const { made, tgt } = await loggedIn()
    for (const components of [
      ['HTTP', 'localhost'],
      ['k', REALM],
    ]) {
      const service = await getTicket(made, tgt, { body: { sname: { nameType: 2, components } } })
      expect((await refusal(made.kdc, tgsReq(service))).errorCode).toBe(ERROR.KRB_AP_ERR_NOT_US)
    }
  })

  test('relabelled, it does not decrypt', async () => {
    const { made, tgt } = await loggedIn()
    const service = await getTicket(made, tgt)
    const raw = encodeTicket({ ...service.ticket, sname: TGS })
    const { errorCode } = await refusal(made.kdc, tgsReq({ ...service, ticket: { ...service.ticket, raw } }))
    expect(errorCode).toBe(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
  })

  test('a key version or enctype that the service does not have', async () => {
    const { made, tgt } = await loggedIn()
    const { ticket } = tgt
    const labelled = (changes: Partial<typeof ticket.encPart>) => ({
      ...tgt,
      ticket: { ...ticket, raw: encodeTicket({ ...ticket, encPart: { ...ticket.encPart, ...changes } }) },
    })
    expect((await refusal(made.kdc, tgsReq(labelled({ kvno: 2 })))).errorCode).toBe(ERROR.KRB_AP_ERR_BADKEYVER)
    expect((await refusal(made.kdc, tgsReq(labelled({ etype: 23 })))).errorCode).toBe(ERROR.KRB_AP_ERR_NOKEY)
    expect((await refusal(made.kdc, tgsReq(labelled({ etype: 17 })))).errorCode).toBe(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    expect((await answer(made.kdc, tgsReq(labelled({ kvno: undefined }))))[0]).toBe(0x6d)
  })

  test('one with the flag invalid is KRB_AP_ERR_TKT_NYV', async () => {
    const { made, tgt } = await loggedIn()
    const key = await made.database.find(new Principal(['krbtgt', REALM], REALM))?.key(18)
    if (key === undefined) throw new Error('no key')
    const plain = encodeEncTicketPart({ ...(await inside(made, tgt)), flags: TICKET_FLAG.invalid })
    const encPart = { ...tgt.ticket.encPart, cipher: key.encrypt(KEY_USAGE.TICKET, plain, random(16)) }
    const raw = encodeTicket({ ...tgt.ticket, encPart })
    const { errorCode } = await refusal(made.kdc, tgsReq({ ...tgt, ticket: { ...tgt.ticket, raw } }))
    expect(errorCode).toBe(ERROR.KRB_AP_ERR_TKT_NYV)
  })
})

describe('RFC 4120 §5.2.6: authorization data of the client', () => {
  const restriction = { adType: 141, adData: Uint8Array.of(1, 2, 3) }
  const pac = { adType: 128, adData: Uint8Array.of(4) }
  const relevant = (inner: AuthorizationData) => ({ adType: 1, adData: encodeAuthorizationData(inner) })
  const sealed = (key: Key, usage: number, data: AuthorizationData) => ({
    etype: key.enctype,
    kvno: undefined,
    cipher: key.encrypt(usage, encodeAuthorizationData(data), random(16)),
  })

  test('is put into the ticket, and into those that are got with it', async () => {
    const { made, tgt } = await loggedIn()
    const encAuthorizationData = sealed(tgt.sessionKey, 4, [restriction])
    const next = await getTicket(made, tgt, { body: { sname: TGS, encAuthorizationData } })
    const last = await getTicket(made, next)
    expect((await inside(made, last)).authorizationData).toEqual([restriction])
  })

  test('K44: what only a KDC may say is left out, however deep', async () => {
    const { made, tgt } = await loggedIn()
    const data = [pac, relevant([relevant([pac])]), relevant([restriction])]
    const granted = await getTicket(made, tgt, { body: { encAuthorizationData: sealed(tgt.sessionKey, 4, data) } })
    expect((await inside(made, granted)).authorizationData).toEqual([relevant([restriction])])
  })

  test('that does not decrypt, or is none, is KRB_AP_ERR_BAD_INTEGRITY', async () => {
    const { made, tgt } = await loggedIn()
    const { sessionKey: key } = tgt
    const wrong = [sealed(key, 5, [restriction]), { ...sealed(key, 4, []), etype: 17 }]
    const garbage = { etype: 18, kvno: undefined, cipher: key.encrypt(4, Uint8Array.of(0x30, 5), random(16)) }
    for (const encAuthorizationData of [...wrong, garbage]) {
      const { errorCode } = await refusal(made.kdc, tgsReq(tgt, { body: { encAuthorizationData } }))
      expect(errorCode).toBe(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    }
  })
})
