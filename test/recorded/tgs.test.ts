import { describe, expect, test } from 'vitest'
import { Key } from '../../src/crypto/index.ts'
import {
  type Credential,
  type Exchange,
  forwardExchange,
  renewExchange,
  type Source,
  tgsExchange,
} from '../../src/krb5/exchange/index.ts'
import {
  decodeApReq,
  decodeAuthenticator,
  decodeEncKdcRepPart,
  decodeKdcRep,
  decodeKdcReq,
  encodeKdcRep,
  encodeKdcReqBody,
  KDC_OPTION,
  KEY_USAGE,
  MESSAGE,
  PA,
  Principal,
  principalOf,
  TICKET_FLAG,
} from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'
import { hexBytes, secondsOf } from './gss.ts'

/**
 * TGS exchanges of MIT's client and KDC, run by ours with the recording's clock and randomness. MIT armours each (RFC 6113 §5.4.2): its reply key is
 * strengthened. So the recorded plaintext is sealed again under the recorded subkey, as a KDC without FAST would have; all else is as it came.
 */

interface Recorded {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly expected: { readonly reply: { readonly message: string } }
  readonly decrypted: {
    readonly enc_part?: { readonly plaintext_hex: string }
    readonly pa_tgs_req?: {
      readonly ticket: {
        readonly session_key: { readonly etype: number; readonly key_hex: string }
        readonly endtime: string
        readonly renew_till: string | null
        readonly flags: string
      }
      readonly authenticator: {
        readonly ctime: string
        readonly cusec: number
        readonly crealm: string
        readonly cname: { readonly name: readonly string[] }
        readonly subkey: { readonly etype: number; readonly key_hex: string }
        readonly plaintext_hex: string
      }
    }
  }
}

const AES = [17, 18, 19, 20]

/** Why a recording cannot be run by this client. */
function reasonAgainst(record: Recorded): string | undefined {
  const { enc_part, pa_tgs_req } = record.decrypted
  if (enc_part === undefined || pa_tgs_req === undefined) return 'it ended in an error'
  if (!AES.includes(pa_tgs_req.authenticator.subkey.etype)) return 'its login has another enctype than AES'
  const part = decodeEncKdcRepPart(hexBytes(enc_part.plaintext_hex), MESSAGE.TGS_REP)
  if (!AES.includes(part.key.keytype)) return 'its ticket has another enctype than AES'
  const { body } = decodeKdcReq(base64(record.request_b64))
  if ((body.kdcOptions & 0x00000008) !== 0) return 'user to user'
  if (record.id === 'live-cross-3') return 'answered with a referral'
  return undefined
}

/** The recordings that are not run whole; the refusals and the referral are run as far as they go, below and in `kdc.test.ts`. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'live-cross-3': 'answered with a referral',
  'live-gss-11': 'its login has another enctype than AES',
  'live-gss-12': 'its login has another enctype than AES',
  'live-gss-14': 'its login has another enctype than AES',
  'live-tgs-arcfour-hmac-1': 'its ticket has another enctype than AES',
  'live-tgs-camellia128-cts-1': 'its ticket has another enctype than AES',
  'live-tgs-camellia256-cts-1': 'its ticket has another enctype than AES',
  'live-tgs-canon-u2u-1': 'user to user',
  'live-tgs-err-unknown-1': 'it ended in an error',
}

const all = vectors<Recorded>('live_mit').filter(
  ({ request_b64 }) => (base64(request_b64)[0] as number) === (0x60 | MESSAGE.TGS_REQ),
)
const usable = all.filter((record) => reasonAgainst(record) === undefined)

interface Replay {
  readonly tgt: Credential
  readonly server: Principal
  readonly source: Source
  readonly reply: Uint8Array
  readonly request: ReturnType<typeof decodeKdcReq>
  readonly authenticator: Uint8Array
  readonly part: ReturnType<typeof decodeEncKdcRepPart>
}

function replayOf(record: Recorded): Replay {
  const { enc_part, pa_tgs_req } = record.decrypted
  if (enc_part === undefined || pa_tgs_req === undefined) throw new Error('no reply')
  const { ticket, authenticator } = pa_tgs_req
  const request = decodeKdcReq(base64(record.request_b64))
  const apReq = decodeApReq(request.padata.find(({ type }) => type === PA.TGS_REQ)?.value ?? new Uint8Array(0))
  const plain = hexBytes(enc_part.plaintext_hex)
  const part = decodeEncKdcRepPart(plain, MESSAGE.TGS_REP)
  const subkey = new Key(authenticator.subkey.etype, hexBytes(authenticator.subkey.key_hex))
  const cipher = subkey.encrypt(KEY_USAGE.TGS_REP_SUBKEY, plain.slice(), new Uint8Array(16))
  const recorded = decodeKdcRep(base64(record.reply_b64), MESSAGE.TGS_REP)
  const client = new Principal(authenticator.cname.name, authenticator.crealm)
  const now = secondsOf(authenticator.ctime) + authenticator.cusec
  return {
    tgt: {
      client,
      server: principalOf(apReq.ticket.sname, apReq.ticket.realm),
      ticket: apReq.ticket,
      sessionKey: new Key(ticket.session_key.etype, hexBytes(ticket.session_key.key_hex)),
      flags: Number.parseInt(ticket.flags, 16),
      authTime: part.authtime,
      startTime: part.authtime,
      endTime: secondsOf(ticket.endtime),
      renewTill: ticket.renew_till === null ? undefined : secondsOf(ticket.renew_till),
      addresses: undefined,
      clockOffset: 0,
    },
    server: principalOf(part.sname, part.srealm),
    source: {
      now: () => now,
      random: (length) =>
        length === 4
          ? Uint8Array.of(part.nonce >>> 24, part.nonce >>> 16, part.nonce >>> 8, part.nonce)
          : length === 16 && subkey.toBytes().length !== 16
            ? new Uint8Array(16)
            : subkey.toBytes().subarray(0, length),
    },
    reply: encodeKdcRep({ ...recorded, encPart: { etype: subkey.enctype, kvno: undefined, cipher } }),
    request,
    authenticator: hexBytes(authenticator.plaintext_hex),
    part,
  }
}

function start({ tgt, server, source, part }: Replay, isRenewal: boolean): Exchange<Credential> {
  const request = { tgt, enctypes: [part.key.keytype], source }
  return isRenewal ? renewExchange(request) : tgsExchange({ ...request, server })
}

describe('RFC 4120 §3.3: exchanges of MIT run by our client', () => {
  test('enough of them, of three enctypes', () => {
    expect(usable.length).toBeGreaterThan(10)
    expect(new Set(usable.map((record) => replayOf(record).tgt.sessionKey.enctype))).toEqual(new Set([17, 18, 19]))
  })

  for (const record of usable) {
    test(`${record.id}: the same authenticator, and the recorded ticket`, () => {
      const replay = replayOf(record)
      const isRenewal = record.id.startsWith('live-renew')
      const exchange = start(replay, isRenewal)
      const step = exchange.next()
      if (step.done === true || step.value.kind !== 'send') throw new Error('nothing was sent')
      const ours = decodeKdcReq(step.value.message)
      expect(ours.body.sname?.components).toEqual(replay.server.components)
      expect(ours.body.nonce).toBe(replay.part.nonce)
      if (isRenewal) {
        // K80: as MIT's kinit -R asks.
        expect(ours.body.kdcOptions & ~KDC_OPTION.CANONICALIZE).toBe(
          replay.request.body.kdcOptions & ~KDC_OPTION.CANONICALIZE,
        )
        expect(ours.body.rtime).toBe(replay.tgt.renewTill)
      } else expect(ours.body.kdcOptions).toBe(replay.tgt.flags & TICKET_FLAG.forwardable)

      const apReq = decodeApReq(ours.padata.find(({ type }) => type === PA.TGS_REQ)?.value ?? new Uint8Array(0))
      const { sessionKey } = replay.tgt
      const plain = sessionKey.decrypt(KEY_USAGE.TGS_REQ_AUTHENTICATOR, apReq.authenticator.cipher)
      const [mine, theirs] = [decodeAuthenticator(plain), decodeAuthenticator(replay.authenticator)]
      expect([mine.crealm, mine.cname.components, mine.ctime, mine.subkey]).toEqual([
        theirs.crealm,
        theirs.cname.components,
        theirs.ctime,
        theirs.subkey,
      ])
      const body = encodeKdcReqBody(ours.body)
      const checksum = sessionKey.checksum(KEY_USAGE.TGS_REQ_AUTHENTICATOR_CHECKSUM, body)
      expect(mine.cksum?.type).toBe(theirs.cksum?.type)
      expect(mine.cksum?.checksum).toEqual(checksum)

      const end = exchange.next(replay.reply)
      if (end.done !== true) throw new Error('not done')
      expect(end.value.sessionKey.toBytes()).toEqual(replay.part.key.keyvalue)
      expect(end.value.endTime).toBe(replay.part.endtime)
      expect(end.value.ticket.raw).toEqual(decodeKdcRep(base64(record.reply_b64), MESSAGE.TGS_REP).ticket.raw)
    })

    test(`${record.id}: K02 K03 K05 K07 K11 the answer to another exchange, or under another key, is refused`, () => {
      const replay = replayOf(record)
      const answer = (bent: Partial<Replay>, reply = replay.reply) => {
        const exchange = start({ ...replay, ...bent }, false)
        exchange.next()
        return exchange.next(reply)
      }
      const refused = expect.objectContaining({
        code: expect.stringMatching(/^(REPLY_MISMATCH|INTEGRITY_FAILED|ENCTYPE_REFUSED)$/),
      })
      expect(() => answer({ server: new Principal(['HTTP', 'evil.test'], replay.server.realm) })).toThrow(refused)
      expect(() =>
        answer({ tgt: { ...replay.tgt, client: new Principal(['mallory'], replay.tgt.client.realm) } }),
      ).toThrow(refused)
      const random = (length: number) => replay.source.random(length).map((octet) => octet ^ 1)
      expect(() => answer({ source: { ...replay.source, random } })).toThrow(refused)
      const late = { ...replay.source, now: () => replay.source.now() + 3600e6 }
      // Without a start it is that of the login, which may be hours ago (RFC 4120 §5.3).
      if (replay.part.starttime !== undefined) expect(() => answer({ source: late })).toThrow(refused)
      expect(() =>
        answer({
          part: { ...replay.part, key: { ...replay.part.key, keytype: replay.part.key.keytype === 18 ? 20 : 18 } },
        }),
      ).toThrow(refused)
      expect(() => answer({}, base64(record.reply_b64))).toThrow(refused) // the strengthened one, of FAST
    })
  }

  test('K09 live-renew-1: a renewed ticket is renewable for no longer than before', () => {
    const replay = replayOf(usable.find(({ id }) => id === 'live-renew-1') ?? never())
    const renewTill = replay.part.renewTill ?? 0
    expect(renewTill).toBeGreaterThan(0)
    const shorter = { ...replay, tgt: { ...replay.tgt, renewTill: renewTill - 1e6 } }
    const exchange = start(shorter, true)
    exchange.next()
    expect(() => exchange.next(shorter.reply)).toThrow(/renewable for longer/)
    // Of a ticket that is not renewable no such time is asked for.
    const plain = start({ ...shorter, tgt: { ...shorter.tgt, flags: 0 } }, true)
    plain.next()
    expect(() => plain.next(shorter.reply)).toThrow(/renewable for longer/)
    const unlimited = start({ ...replay, tgt: { ...replay.tgt, renewTill } }, true)
    unlimited.next()
    expect(unlimited.next(replay.reply).done).toBe(true)
  })

  test('C44 live-renew-1: a ticket that is not marked forwarded is not one to forward', () => {
    const replay = replayOf(usable.find(({ id }) => id === 'live-renew-1') ?? never())
    const exchange = forwardExchange({ tgt: replay.tgt, enctypes: [replay.part.key.keytype], source: replay.source })
    exchange.next()
    expect(() => exchange.next(replay.reply)).toThrow(/not one to forward/)
  })

  test('live-tgs-err-unknown-1: the KDC’s refusal by its name', () => {
    const refusal = all.find(({ id }) => id === 'live-tgs-err-unknown-1') ?? never()
    const { tgt, source } = replayOf(usable.find(({ id }) => id === 'live-tgs-www-1') ?? never())
    const { body } = decodeKdcReq(base64(refusal.request_b64))
    const server = principalOf(body.sname ?? never(), body.realm)
    const exchange = tgsExchange({ tgt, server, enctypes: AES, source })
    exchange.next()
    expect(() => exchange.next(base64(refusal.reply_b64))).toThrow(
      expect.objectContaining({ name: 'KdcError', code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN', errorCode: 7 }),
    )
  })

  test('K11 live-tgs-arcfour-hmac-1, live-tgs-camellia: a ticket of another enctype than asked for is refused', () => {
    for (const id of ['live-tgs-arcfour-hmac-1', 'live-tgs-camellia128-cts-1', 'live-tgs-camellia256-cts-1']) {
      const replay = replayOf(all.find((one) => one.id === id) ?? never())
      const exchange = tgsExchange({ tgt: replay.tgt, server: replay.server, enctypes: AES, source: replay.source })
      exchange.next()
      expect(() => exchange.next(replay.reply), id).toThrow(expect.objectContaining({ code: 'ENCTYPE_REFUSED' }))
    }
  })

  test('every TGS-REQ is run, or has its reason', () => {
    const reasons = all.flatMap((record) => {
      const reason = reasonAgainst(record)
      return reason === undefined ? [] : [[record.id, reason]]
    })
    expect(Object.fromEntries(reasons)).toEqual(NOT_RUN)
    expect(usable.length + Object.keys(NOT_RUN).length).toBe(all.length)
  })
})

function never(): never {
  throw new Error('there is no such recording')
}
