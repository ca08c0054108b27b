import { describe, expect, test } from 'vitest'
import { Key } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import { asExchange, type Effect, type Exchange } from '../../src/krb5/exchange/index.ts'
import { type Asked, checkReplyHead, checkReplyPart } from '../../src/krb5/exchange/kdc-reply.ts'
import {
  decodeEncKdcRepPart,
  decodeKdcRep,
  decodeKdcReq,
  decodeKrbError,
  type EncKdcRepPart,
  type KdcRep,
  KEY_USAGE,
  MESSAGE,
  PA,
  Principal,
  principalOf,
} from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'
import { hexBytes, secondsOf } from './gss.ts'

interface Recorded {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly expected: {
    readonly request: { readonly padata: readonly { readonly type: number; readonly value_hex: string }[] }
    readonly reply: { readonly message: string; readonly error_code?: number; readonly stime?: string }
  }
  readonly decrypted: {
    readonly pa_enc_timestamp?: { readonly etype: number; readonly key_hex: string; readonly patimestamp: string }
    readonly enc_part?: {
      readonly plaintext_hex: string
      readonly authtime: string
      readonly decrypted_with: { readonly key_hex: string; readonly usage: number }
    }
    readonly pa_tgs_req?: {
      readonly authenticator: {
        readonly ctime: string
        readonly crealm: string
        readonly cname: { readonly name: readonly string[] }
      }
    }
  }
}

const records = vectors<Recorded>('live_mit')
const AES = [17, 18, 19, 20]

interface Replayed {
  readonly reply: KdcRep
  readonly part: EncKdcRepPart
  readonly asked: Asked
  readonly key: Key
}

/** Request, reply and clock of a recording, as the client that sent the request would see them. */
function replay(record: Recorded): Replayed {
  const { type, body } = decodeKdcReq(base64(record.request_b64))
  const isAs = type === MESSAGE.AS_REQ
  const reply = decodeKdcRep(base64(record.reply_b64), isAs ? MESSAGE.AS_REP : MESSAGE.TGS_REP)
  const { enc_part, pa_tgs_req } = record.decrypted
  const key = new Key(reply.encPart.etype, hexBytes(enc_part?.decrypted_with.key_hex ?? ''))
  const plain = key.decrypt(enc_part?.decrypted_with.usage ?? 0, reply.encPart.cipher)
  const part = decodeEncKdcRepPart(plain, reply.type)
  const sender = pa_tgs_req?.authenticator
  const client =
    isAs && body.cname !== undefined
      ? principalOf(body.cname, body.realm)
      : new Principal(sender?.cname.name ?? [], sender?.crealm ?? '')
  const server = body.sname === undefined ? client : principalOf(body.sname, body.realm)
  const now = secondsOf(sender?.ctime ?? enc_part?.authtime ?? '')
  return { reply, part, key, asked: { body, client, server, now } }
}

const whole = records.filter(({ id, expected, decrypted }) => {
  if (!expected.reply.message.endsWith('-REP') || decrypted.enc_part === undefined) return false
  return AES.includes(
    decodeKdcRep(
      base64(records.find((one) => one.id === id)?.reply_b64 ?? ''),
      expected.reply.message === 'AS-REP' ? 11 : 13,
    ).encPart.etype,
  )
})

/** What our client does not ask for: it gets other names or times than it wants, or (FAST) another nonce. */
const ELSEWHERE = ['live-cross-3', 'live-as-postdated-2', 'live-as-fast-encchallenge-2']
const plain = whole.filter((record) => !ELSEWHERE.includes(record.id) && AES.includes(replay(record).part.key.keytype))

describe('replies of an MIT KDC', () => {
  test('there are enough of them, with each of the four enctypes', () => {
    expect(plain.length).toBeGreaterThan(15)
    const found = new Set(plain.map((record) => replay(record).reply.encPart.etype))
    expect([...found].sort()).toEqual([17, 18, 19])
  })

  for (const record of plain) {
    test(`${record.id}: accepted for its request at its time`, () => {
      const { reply, part, asked } = replay(record)
      checkReplyHead(reply, asked)
      const credential = checkReplyPart(reply, part, asked)
      expect(credential.client.equals(asked.client)).toBe(true)
      expect(credential.sessionKey.enctype).toBe(part.key.keytype)
      expect(credential.endTime).toBe(part.endtime)
    })

    test(`${record.id}: K01 K02 K03 K04 K09 K10 K11 refused for any other request`, () => {
      const { reply, part, asked } = replay(record)
      const { body, client, server, now } = asked
      const other = (name: Principal) => new Principal([...name.components.slice(0, -1), 'other'], name.realm)
      const abroad = (name: Principal) => new Principal(name.components, 'EVIL.TEST')
      for (const [bent, code] of [
        [{ ...asked, client: other(client) }, 'REPLY_MISMATCH'],
        [{ ...asked, client: abroad(client) }, 'REPLY_MISMATCH'],
        [
          { ...asked, body: { ...body, etype: body.etype.filter((one) => one !== reply.encPart.etype) } },
          'ENCTYPE_REFUSED',
        ],
      ] as const) {
        expect(() => checkReplyHead(reply, bent)).toThrow(expect.objectContaining({ code }))
      }
      for (const [bent, code] of [
        [{ ...asked, body: { ...body, nonce: body.nonce ^ 1 } }, 'REPLY_MISMATCH'],
        [{ ...asked, body: { ...body, nonce: 0 } }, 'REPLY_MISMATCH'],
        [{ ...asked, server: other(server) }, 'REPLY_MISMATCH'],
        [{ ...asked, server: abroad(server) }, 'REPLY_MISMATCH'],
        [
          { ...asked, body: { ...body, etype: body.etype.filter((one) => one !== part.key.keytype) } },
          'ENCTYPE_REFUSED',
        ],
        [{ ...asked, body: { ...body, till: part.endtime - 1e6 } }, 'REPLY_MISMATCH'],
      ] as const) {
        expect(() => checkReplyPart(reply, part, bent)).toThrow(expect.objectContaining({ code }))
      }
      const bentParts: readonly Partial<EncKdcRepPart>[] = [
        { starttime: now + 3600e6 },
        { starttime: now - 3600e6 },
        { starttime: part.endtime },
        { endtime: part.authtime - 1e6 },
        // A login happens now, also when the reply leaves starttime out; a ticket-granting ticket may be hours old.
        ...(reply.type === MESSAGE.AS_REP ? [{ starttime: undefined, authtime: now - 3600e6 }] : []),
        ...(body.rtime === undefined ? [] : [{ renewTill: Math.max(body.till, body.rtime) + 1e6 }]),
      ]
      for (const bent of bentParts) {
        expect(() => checkReplyPart(reply, { ...part, ...bent }, asked)).toThrow(
          expect.objectContaining({ code: 'REPLY_MISMATCH' }),
        )
      }
      const relabelled = {
        ...reply,
        ticket: { ...reply.ticket, sname: { nameType: 2, components: ['krbtgt', 'EVIL.TEST'] } },
      }
      expect(() => checkReplyPart(relabelled, part, asked)).toThrow(expect.objectContaining({ code: 'REPLY_MISMATCH' }))
      const moved = { ...reply, ticket: { ...reply.ticket, realm: 'EVIL.TEST' } }
      expect(() => checkReplyPart(moved, part, asked)).toThrow(expect.objectContaining({ code: 'REPLY_MISMATCH' }))
    })
  }

  test('K28 a sealed reply of another time tells the offset, up to a day; its start must be its own time', () => {
    const HOUR = 3600e6
    for (const record of plain.filter((one) => replay(one).reply.type === MESSAGE.AS_REP)) {
      const { reply, part, asked } = replay(record)
      const at = (hours: number) => ({ ...asked, now: part.authtime - hours * HOUR, clockOffset: 'learn' as const })
      const roomy = { ...part, endtime: Math.min(part.endtime, asked.body.till) }
      for (const hours of [3, -3, 23]) expect(checkReplyPart(reply, roomy, at(hours)).clockOffset).toBe(hours * HOUR)
      expect(checkReplyPart(reply, roomy, { ...at(0), now: part.authtime - 30e6 }).clockOffset).toBe(0)
      for (const hours of [25, -25, -40 * 365 * 24]) {
        expect(() => checkReplyPart(reply, roomy, at(hours))).toThrow(/another day/)
      }
      const later = { ...roomy, starttime: part.authtime + HOUR }
      expect(() => checkReplyPart(reply, later, at(3))).toThrow(/does not start now/)
      expect(() => checkReplyPart(reply, roomy, { ...at(3), clockOffset: 0 })).toThrow(/does not start now/)
    }
  })

  test('K07 K08 the encrypted part opens under one usage, and has nothing behind it', () => {
    for (const record of plain) {
      const { reply, key } = replay(record)
      const usage = record.decrypted.enc_part?.decrypted_with.usage ?? 0
      for (const wrong of [KEY_USAGE.AS_REP, KEY_USAGE.TGS_REP_SESSION_KEY, KEY_USAGE.TGS_REP_SUBKEY]) {
        if (wrong !== usage) expect(() => key.decrypt(wrong, reply.encPart.cipher)).toThrow(KerberosError)
      }
      const text = key.decrypt(usage, reply.encPart.cipher)
      expect(() => decodeEncKdcRepPart(Uint8Array.of(...text, 0), reply.type)).toThrow(KerberosError)
    }
  })

  test('K05 the reply to an older request of the same client', () => {
    const [older, newer] = ['live-as-encts-aes128-cts-2', 'live-cross-2'].map((id) =>
      replay(records.find((one) => one.id === id) ?? never(id)),
    )
    if (older === undefined || newer === undefined) return
    expect(() => checkReplyPart(older.reply, older.part, newer.asked)).toThrow(
      expect.objectContaining({ code: 'REPLY_MISMATCH' }),
    )
  })

  test('K26 live-cross-3: a referral to another realm is not the ticket that was asked for', () => {
    const { reply, part, asked } = replay(records.find(({ id }) => id === 'live-cross-3') ?? never('live-cross-3'))
    checkReplyHead(reply, asked)
    expect(() => checkReplyPart(reply, part, asked)).toThrow(/krbtgt\/B\.TEST/)
  })
})

function never(id: string): never {
  throw new Error(`there is no recording ${id}`)
}

/** Runs an exchange against recorded replies; what it sends is kept. */
function script<T>(
  exchange: Exchange<T>,
  replies: readonly Uint8Array[],
  key?: Key,
): { value: T | undefined; error: unknown; sent: Uint8Array[]; asked: Effect[] } {
  const sent: Uint8Array[] = []
  const asked: Effect[] = []
  let step: IteratorResult<Effect, T>
  try {
    step = exchange.next()
    while (step.done !== true) {
      asked.push(step.value)
      if (step.value.kind === 'derive') {
        step = exchange.next(key ?? never('key'))
      } else {
        sent.push(step.value.message)
        step = exchange.next(replies[sent.length - 1] ?? never('reply'))
      }
    }
    return { value: step.value, error: undefined, sent, asked }
  } catch (error) {
    return { value: undefined, error, sent, asked }
  }
}

describe('a whole login replayed', () => {
  for (const name of ['aes128-cts', 'aes128-sha2']) {
    test(`live-as-encts-${name}: asked as MIT’s client asked; the answer to another’s message is refused`, () => {
      const [first, second] = [1, 2].map(
        (n) => records.find(({ id }) => id === `live-as-encts-${name}-${n}`) ?? never(name),
      ) as [Recorded, Recorded]
      const demand = decodeKdcReq(base64(first.request_b64)).body
      const stamped = second.decrypted.pa_enc_timestamp ?? never('timestamp')
      const key = new Key(stamped.etype, hexBytes(stamped.key_hex))
      const nonce = decodeKdcReq(base64(second.request_b64)).body.nonce
      const now = secondsOf(stamped.patimestamp)
      const source = {
        now: () => now,
        random: (length: number) =>
          length === 4 ? Uint8Array.of(nonce >>> 24, nonce >>> 16, nonce >>> 8, nonce) : new Uint8Array(length),
      }
      const request = {
        client: new Principal(['alice'], 'ANCHOR.TEST'),
        enctypes: demand.etype,
        lifetime: 86_400e6,
        renewLifetime: 7 * 86_400e6,
        forwardable: true,
        source,
      }
      const ended = script(asExchange(request), [base64(first.reply_b64), base64(second.reply_b64)], key)
      const [, ours] = ended.sent.map((message) => decodeKdcReq(message))
      const theirs = decodeKdcReq(base64(second.request_b64))
      expect(ours?.body).toEqual(theirs.body)
      expect(ended.asked.filter(({ kind }) => kind === 'derive')).toMatchObject([
        { request: { salt: 'ANCHOR.TESTalice', enctype: stamped.etype } },
      ])
      const cookie = (one: typeof theirs) => one.padata.find(({ type }) => type === PA.FX_COOKIE)?.value
      expect(ours && cookie(ours)).toEqual(cookie(theirs))
      // Everything in it holds but the checksum of the request (RFC 6806 §11): MIT's had one padata more.
      expect(ended.error).toMatchObject({
        code: 'REPLY_MISMATCH',
        message: 'the request was altered on its way to the KDC',
      })
    })
  }

  test.each(['live-as-err-badpw-2', 'live-as-err-unknown-1'])('%s: the KDC’s refusal by its name', (id) => {
    const record = records.find((one) => one.id === id) ?? never(id)
    const { body } = decodeKdcReq(base64(record.request_b64))
    const now = secondsOf(record.expected.reply.stime ?? '')
    const source = { now: () => now, random: (length: number) => new Uint8Array(length) }
    const client = principalOf(body.cname ?? never('cname'), body.realm)
    const ended = script(asExchange({ client, enctypes: [18], lifetime: 3600e6, source }), [base64(record.reply_b64)])
    expect(ended.error).toMatchObject({
      errorCode: decodeKrbError(base64(record.reply_b64)).errorCode,
      name: 'KdcError',
    })
  })
})
