import { describe, expect, test } from 'vitest'
import { toHex } from '../../../src/bytes/hex.ts'
import { ByteReader } from '../../../src/bytes/reader.ts'
import {
  ERROR,
  KDC_OPTION,
  KEY_USAGE,
  MESSAGE,
  PA,
  Principal,
  readChecksum,
  TICKET_FLAG,
  ticketFlagNames,
} from '../../../src/krb5/messages/index.ts'
import {
  ALL,
  answer,
  asReq,
  HOUR,
  hints,
  inside,
  lab,
  login,
  methodData,
  NOW,
  open,
  passwordKey,
  REALM,
  refusal,
  TGS,
  timestamp,
  WEB,
} from './client.ts'

describe('RFC 4120 §3.1: pre-authentication', () => {
  test('is demanded, with the hints for each key in the order of the request (§5.2.7.5)', async () => {
    const error = await refusal(lab().kdc, asReq({ etype: [19, 23, 18, 19] }))
    expect(error.errorCode).toBe(ERROR.KDC_ERR_PREAUTH_REQUIRED)
    expect(error).toMatchObject({
      realm: REALM,
      sname: TGS,
      crealm: REALM,
      cname: { components: ['alice'] },
      stime: NOW,
    })
    expect(
      hints(methodData(error)).map(({ etype, salt, s2kparams }) => [etype, salt, toHex(s2kparams ?? new Uint8Array())]),
    ).toEqual([
      [19, 'EXAMPLE.TESTalice', '00008000'],
      [18, 'EXAMPLE.TESTalice', '00001000'],
    ])
    const timestamps = methodData(error).filter(({ type }) => type === PA.ENC_TIMESTAMP)
    expect(timestamps.map(({ value }) => value.length)).toEqual([0])
  })

  for (const etype of ALL) {
    test(`a timestamp under the key of enctype ${etype} is answered with a ticket`, async () => {
      const { kdc } = lab()
      const key = await passwordKey(etype)
      const reply = await answer(kdc, asReq({ etype: [etype] }, [timestamp(key)]))
      const {
        part,
        reply: { encPart, padata },
      } = open(reply, MESSAGE.AS_REP, key, KEY_USAGE.AS_REP)
      expect(part).toMatchObject({ nonce: 0x12345678, srealm: REALM, sname: TGS, authtime: NOW, endtime: NOW + HOUR })
      expect([encPart.etype, encPart.kvno, part.key.keytype]).toEqual([etype, 1, etype])
      expect(hints(padata).map((one) => one.etype)).toEqual([etype])
    })
  }

  test('the wrong password, and a timestamp that is none, are KDC_ERR_PREAUTH_FAILED', async () => {
    const { kdc } = lab()
    const wrong = timestamp(await passwordKey(18, 'guess'))
    expect((await refusal(kdc, asReq({}, [wrong]))).errorCode).toBe(ERROR.KDC_ERR_PREAUTH_FAILED)
    const right = timestamp(await passwordKey())
    const relabelled = {
      ...right,
      value: right.value.map((octet, i) => (i === right.value.length - 1 ? octet ^ 1 : octet)),
    }
    expect((await refusal(kdc, asReq({}, [relabelled]))).errorCode).toBe(ERROR.KDC_ERR_PREAUTH_FAILED)
  })

  test('a timestamp of another time is KRB_AP_ERR_SKEW with the time of the KDC', async () => {
    const { kdc } = lab()
    const key = await passwordKey()
    for (const ahead of [-301e6, 301e6]) {
      expect(await refusal(kdc, asReq({}, [timestamp(key, NOW + ahead)]))).toMatchObject({
        errorCode: ERROR.KRB_AP_ERR_SKEW,
        stime: NOW,
      })
    }
    for (const ahead of [-300e6, 300e6]) {
      expect((await answer(kdc, asReq({}, [timestamp(key, NOW + ahead)])))[0]).toBe(0x6b)
    }
  })

  test('a timestamp under a key of an enctype that the request does not list is refused', async () => {
    const request = asReq({ etype: [18] }, [timestamp(await passwordKey(17))])
    expect((await refusal(lab().kdc, request)).errorCode).toBe(ERROR.KDC_ERR_ETYPE_NOSUPP)
    const held = asReq({ etype: [18, 17] }, [timestamp(await passwordKey(17))])
    expect((await refusal(lab([], [18]).kdc, held)).errorCode).toBe(ERROR.KDC_ERR_ETYPE_NOSUPP)
  })

  test('a password in UTF-8, and another one later', async () => {
    const { kdc, database } = lab()
    const jurgen = { nameType: 1, components: ['jürgen'] }
    const principal = Principal.parse('jürgen', REALM)
    database.addUser(principal, 'pässwörd')
    const old = await passwordKey(18, 'pässwörd', `${REALM}jürgen`)
    expect((await answer(kdc, asReq({ cname: jurgen }, [timestamp(old)])))[0]).toBe(0x6b)
    database.setPassword(principal, 'neu')
    expect((await refusal(kdc, asReq({ cname: jurgen }, [timestamp(old)]))).errorCode).toBe(
      ERROR.KDC_ERR_PREAUTH_FAILED,
    )
    const fresh = await passwordKey(18, 'neu', `${REALM}jürgen`)
    const reply = await answer(kdc, asReq({ cname: jurgen }, [timestamp(fresh)]))
    expect(open(reply, MESSAGE.AS_REP, fresh, KEY_USAGE.AS_REP).reply.encPart.kvno).toBe(2)
  })
})

describe('RFC 4120 §3.1.3: refusals', () => {
  const cases: readonly (readonly [string, Parameters<typeof asReq>[0], number])[] = [
    ['an unknown client', { cname: { nameType: 1, components: ['bob'] } }, ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN],
    ['a client of another realm', { realm: 'OTHER.TEST' }, ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN],
    ['a name of no components', { cname: { nameType: 1, components: [] } }, ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN],
    [
      'a name that is another one with its slash in a component',
      { sname: { nameType: 2, components: ['krbtgt/EXAMPLE.TEST'] } },
      ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN,
    ],
    [
      'an unknown server',
      { sname: { nameType: 2, components: ['krbtgt', 'OTHER.TEST'] } },
      ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN,
    ],
    ['no common enctype', { etype: [23, 16] }, ERROR.KDC_ERR_ETYPE_NOSUPP],
    ['no enctype at all', { etype: [] }, ERROR.KDC_ERR_ETYPE_NOSUPP],
    ['an end in the past', { till: NOW - 1e6 }, ERROR.KDC_ERR_NEVER_VALID],
    ['a start tomorrow', { from: NOW + 24 * HOUR }, ERROR.KDC_ERR_CANNOT_POSTDATE],
    ['POSTDATED', { kdcOptions: 0x02000000 }, ERROR.KDC_ERR_CANNOT_POSTDATE],
    ['RENEW', { kdcOptions: KDC_OPTION.RENEW }, ERROR.KDC_ERR_BADOPTION],
    ['FORWARDED', { kdcOptions: KDC_OPTION.FORWARDED }, ERROR.KDC_ERR_BADOPTION],
    ['VALIDATE', { kdcOptions: KDC_OPTION.VALIDATE }, ERROR.KDC_ERR_BADOPTION],
    ['ENC-TKT-IN-SKEY', { kdcOptions: 8 }, ERROR.KDC_ERR_BADOPTION],
  ]
  for (const [name, changes, code] of cases) {
    test(name, async () => {
      const request = asReq(changes, [timestamp(await passwordKey())])
      expect((await refusal(lab().kdc, request)).errorCode).toBe(code)
    })
  }
})

describe('RFC 4120 §3.1.3, §5.3: what a ticket says', () => {
  test('flags, names and times are the same for the client and in the ticket', async () => {
    const made = lab()
    const options = KDC_OPTION.FORWARDABLE | KDC_OPTION.PROXIABLE | KDC_OPTION.RENEWABLE | KDC_OPTION.CANONICALIZE
    const granted = await login(made, { kdcOptions: options | 0x80, rtime: NOW + 48 * HOUR })
    const ticket = await inside(made, granted)
    expect([...ticketFlagNames(granted.part.flags)]).toEqual([
      'forwardable',
      'proxiable',
      'renewable',
      'initial',
      'pre-authent',
    ])
    for (const field of ['flags', 'authtime', 'starttime', 'endtime', 'renewTill', 'caddr'] as const) {
      expect(ticket[field]).toEqual(granted.part[field])
    }
    expect(granted.part.renewTill).toBe(NOW + 48 * HOUR)
    expect(ticket).toMatchObject({ crealm: REALM, cname: { components: ['alice'] }, authorizationData: undefined })
    expect(ticket.key).toEqual(granted.part.key)
    expect(granted.ticket.encPart).toMatchObject({ etype: 18, kvno: 1 })
  })

  test('nothing is granted that was not asked for', async () => {
    const { part } = await login(lab())
    expect([...ticketFlagNames(part.flags)]).toEqual(['initial', 'pre-authent'])
    expect(part.renewTill).toBeUndefined()
  })

  test('the end is what was asked for, a day at most; the epoch asks for all', async () => {
    expect((await login(lab(), { till: NOW + 100 * HOUR })).part.endtime).toBe(NOW + 24 * HOUR)
    expect((await login(lab(), { till: 0 })).part.endtime).toBe(NOW + 24 * HOUR)
    expect((await login(lab(), { till: NOW + 1e6 })).part.endtime).toBe(NOW + 1e6)
  })

  test('RENEWABLE is granted for a week at most, RENEWABLE-OK where the end is cut', async () => {
    const renewable = await login(lab(), { kdcOptions: KDC_OPTION.RENEWABLE, rtime: NOW + 9999 * HOUR })
    expect(renewable.part.renewTill).toBe(NOW + 7 * 24 * HOUR)
    const cut = await login(lab(), { kdcOptions: KDC_OPTION.RENEWABLE_OK, till: NOW + 48 * HOUR })
    expect([cut.part.endtime, cut.part.renewTill]).toEqual([NOW + 24 * HOUR, NOW + 48 * HOUR])
    const uncut = await login(lab(), { kdcOptions: KDC_OPTION.RENEWABLE_OK })
    expect(uncut.part.renewTill).toBeUndefined()
  })

  test('session key: the first enctype of the list; ticket: the best of the realm', async () => {
    const made = lab([], [20, 17])
    const { part, ticket } = await login(made, { etype: [17, 20], sname: WEB })
    expect([part.key.keytype, ticket.encPart.etype]).toEqual([17, 20])
  })
})

test('RFC 6806 §11: PA-REQ-ENC-PA-REP is answered with a checksum of the request', async () => {
  const { kdc } = lab()
  const key = await passwordKey()
  const request = asReq({}, [timestamp(key), { type: PA.REQ_ENC_PA_REP, value: new Uint8Array() }])
  const { part } = open(await answer(kdc, request), MESSAGE.AS_REP, key, KEY_USAGE.AS_REP)
  expect(part.flags & TICKET_FLAG['enc-pa-rep']).not.toBe(0)
  const [found] = part.encryptedPaData ?? []
  expect(found?.type).toBe(PA.REQ_ENC_PA_REP)
  const { type, checksum } = readChecksum(new ByteReader(found?.value ?? new Uint8Array()), 'checksum')
  expect(type).toBe(16)
  key.verifyChecksum(56, request, checksum)

  const plain = await login(lab())
  expect([plain.part.flags & TICKET_FLAG['enc-pa-rep'], plain.part.encryptedPaData]).toEqual([0, undefined])
})
