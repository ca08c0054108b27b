import { describe, expect, test } from 'vitest'
import { toHex } from '../../../src/bytes/hex.ts'
import { decodeKdcRep, ERROR, MESSAGE } from '../../../src/krb5/messages/index.ts'
import { FAULTS } from '../../../src/testing/index.ts'
import {
  answer,
  asReq,
  getTicket,
  HOUR,
  hints,
  inside,
  lab,
  login,
  methodData,
  NOW,
  passwordKey,
  refusal,
  tgsReq,
  timestamp,
} from './client.ts'

describe('each fault does what its line says, and only that', () => {
  test('wrong-nonce', async () => {
    const made = lab(['wrong-nonce'])
    const tgt = await login(made)
    expect(tgt.part.nonce).toBe(0x12345679)
    expect((await getTicket(made, tgt)).part.nonce).toBe(0x12345679)
  })

  test('wrong-server', async () => {
    const { part, ticket } = await login(lab(['wrong-server']))
    expect(part.sname.components).toEqual(['HTTP', 'wrong.test'])
    expect(ticket.sname.components).toEqual(['HTTP', 'wrong.test'])
  })

  test('wrong-client', async () => {
    const made = lab(['wrong-client'])
    const tgt = await login(made)
    expect(tgt.reply.cname.components).toEqual(['mallory'])
    expect((await inside(made, tgt)).cname.components).toEqual(['alice'])
    expect((await getTicket(made, tgt)).reply.cname.components).toEqual(['mallory'])
  })

  for (const [fault, params] of [
    ['weak-iterations', '00000001'],
    ['huge-iterations', 'ffffffff'],
  ] as const) {
    test(fault, async () => {
      const offered = hints(methodData(await refusal(lab([fault]).kdc, asReq())))
      expect(offered.map(({ s2kparams }) => toHex(s2kparams ?? new Uint8Array()))).toEqual(Array(4).fill(params))
    })
  }

  test('rc4-only', async () => {
    const offered = hints(methodData(await refusal(lab(['rc4-only']).kdc, asReq())))
    expect(offered.map(({ etype }) => etype)).toEqual([23])
  })

  test('preauth-forever', async () => {
    const { errorCode } = await refusal(lab(['preauth-forever']).kdc, asReq({}, [timestamp(await passwordKey())]))
    expect(errorCode).toBe(ERROR.KDC_ERR_PREAUTH_REQUIRED)
  })

  test('skew', async () => {
    const error = await refusal(lab(['skew']).kdc, asReq({}, [timestamp(await passwordKey())]))
    expect(error).toMatchObject({ errorCode: ERROR.KRB_AP_ERR_SKEW, stime: NOW + 600e6 })
  })

  test('wrong-enctype', async () => {
    const { kdc } = lab(['wrong-enctype'])
    for (const [etype, labelled] of [
      [[18, 17], 19],
      [[18, 17, 20, 19], 23],
    ] as const) {
      const reply = decodeKdcRep(await answer(kdc, asReq({ etype }, [timestamp(await passwordKey())])), MESSAGE.AS_REP)
      expect(reply.encPart.etype).toBe(labelled)
    }
  })

  test('late-end', async () => {
    const made = lab(['late-end'])
    const tgt = await login(made)
    expect(tgt.part.endtime).toBe(NOW + 25 * HOUR)
    expect((await inside(made, tgt)).endtime).toBe(NOW + HOUR)
  })

  test('referral', async () => {
    const made = lab(['referral'])
    const tgt = await login(made)
    expect(tgt.part.sname.components[1]).toBe('EXAMPLE.TEST')
    const { part, ticket } = await getTicket(made, tgt)
    expect(part.sname.components).toEqual(['krbtgt', 'OTHER.TEST'])
    expect(ticket.sname.components).toEqual(['krbtgt', 'OTHER.TEST'])
  })

  test('several at once', async () => {
    const { part } = await login(lab(['wrong-nonce', 'late-end']))
    expect([part.nonce, part.endtime]).toEqual([0x12345679, NOW + 25 * HOUR])
  })
})

test('without a fault none of it happens', async () => {
  const made = lab()
  const { part } = await getTicket(made, await login(made))
  expect(part.nonce).toBe(0x12345678)
  expect((await answer(made.kdc, tgsReq(await login(made))))[0]).toBe(0x6d)
})

test('a name that is no fault is refused, inherited ones too', () => {
  for (const name of ['wrong', 'toString', '__proto__', '']) {
    expect(() => lab([name])).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  }
})

test('every fault has one line of text', () => {
  for (const line of Object.values(FAULTS)) expect(line).toMatch(/^[^\n]{10,100}\.$/)
})
