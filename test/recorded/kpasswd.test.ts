import { describe, expect, test } from 'vitest'
import { concat } from '../../src/bytes/bytes.ts'
import { Key } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import type { Credential } from '../../src/krb5/exchange/index.ts'
import {
  decodeKpasswdMessage,
  decodeKpasswdResult,
  describePolicy,
  encodeKpasswdMessage,
  encodeKpasswdResult,
  isKpasswdReply,
  type SentChangePassword,
  verifyChangePasswordReply,
} from '../../src/krb5/extensions/index.ts'
import { encodeKrbError } from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'
import { hexBytes, secondsOf } from './gss.ts'

/** Password changes of MIT's kpasswd at kadmind, with the clock and the keys of the recording (RFC 3244). */

interface Recorded {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly request: {
    readonly ap_req: {
      readonly ticket: { readonly session_key: { readonly etype: number; readonly key_hex: string } }
      readonly authenticator: {
        readonly ctime: string
        readonly cusec: number
        readonly subkey: { readonly etype: number; readonly key_hex: string }
      }
    }
  }
  readonly reply: { readonly result_code: number; readonly result_string: string }
}

const records = vectors<Recorded>('kpasswd')
const [ok, soft] = records as [Recorded, Recorded]

/** What the client that sent the request had to remember. */
function sent({ request }: Recorded): { sent: SentChangePassword; credential: Credential } {
  const { ticket, authenticator } = request.ap_req
  const { ctime, cusec, subkey } = authenticator
  const sessionKey = new Key(ticket.session_key.etype, hexBytes(ticket.session_key.key_hex))
  return {
    sent: {
      message: new Uint8Array(0),
      sentApReq: { ctime: secondsOf(ctime) + cusec },
      subkey: new Key(subkey.etype, hexBytes(subkey.key_hex)),
    },
    credential: { sessionKey } as Credential,
  }
}

function verify(record: Recorded, reply: Uint8Array, at = sent(record)): void {
  verifyChangePasswordReply(reply, at.sent, at.credential, at.sent.sentApReq.ctime)
}

describe('RFC 3244 §2: what MIT’s kadmind answered', () => {
  test('the framing of each message comes out octet for octet', () => {
    for (const { request_b64, reply_b64 } of records) {
      for (const bytes of [base64(request_b64), base64(reply_b64)]) {
        expect(encodeKpasswdMessage(decodeKpasswdMessage(bytes))).toEqual(bytes)
      }
    }
  })

  test('kpasswd-live-kpw-ok: changed', () => {
    verify(ok, base64(ok.reply_b64))
  })

  test('kpasswd-live-kpw-soft: refused, with the text of the server', () => {
    expect(soft.reply.result_code).toBe(4)
    const shown = soft.reply.result_string.split('.')[0] as string
    expect(() => verify(soft, base64(soft.reply_b64))).toThrow(
      expect.objectContaining({ code: 'PASSWORD_REFUSED', message: expect.stringContaining(shown) }),
    )
  })

  test('C22 the answer to another request, under another subkey or session key, is refused', () => {
    const honest = sent(ok)
    const later = {
      ...honest,
      sent: { ...honest.sent, sentApReq: { ctime: honest.sent.sentApReq.ctime + 1 } },
    }
    expect(() => verify(ok, base64(ok.reply_b64), later)).toThrow(expect.objectContaining({ code: 'REPLY_MISMATCH' }))
    expect(() => verify(ok, base64(soft.reply_b64))).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
    const reply = decodeKpasswdMessage(base64(ok.reply_b64))
    const mixed = encodeKpasswdMessage({ ...reply, rest: decodeKpasswdMessage(base64(soft.reply_b64)).rest })
    expect(() => verify(ok, mixed)).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
  })

  test('C22 our own message sent back is no answer: its number is ours', () => {
    const reply = decodeKpasswdMessage(base64(ok.reply_b64))
    // MIT's acceptor gave the initiator's subkey back, so that the request opens as well.
    const reflected = encodeKpasswdMessage({ ...reply, rest: decodeKpasswdMessage(base64(ok.request_b64)).rest })
    expect(() => verify(ok, reflected)).toThrow(expect.objectContaining({ code: 'REPLY_MISMATCH' }))
  })

  test('every truncation is refused, and every flipped bit', () => {
    const whole = base64(ok.reply_b64)
    for (let n = 0; n < whole.length; n++) expect(() => verify(ok, whole.subarray(0, n))).toThrow(KerberosError)
    for (let i = 0; i < whole.length; i++) {
      const bent = whole.slice()
      bent[i] = (bent[i] as number) ^ (1 << (i % 8))
      if (i === 2 || i === 3) continue // the version of a reply says nothing
      expect(() => verify(ok, bent), `octet ${i}`).toThrow(KerberosError)
    }
  })
})

describe('what else a server says', () => {
  const error = (code: number, eData?: Uint8Array) =>
    encodeKrbError({
      ctime: undefined,
      stime: 1e15,
      errorCode: code,
      crealm: undefined,
      cname: undefined,
      realm: 'EXAMPLE.TEST',
      sname: { nameType: 1, components: ['kadmin', 'changepw'] },
      eText: 'no',
      eData,
    })
  const framed = (rest: Uint8Array) => encodeKpasswdMessage({ version: 1, ap: new Uint8Array(0), rest })

  test('a KRB-ERROR, framed or bare, is a refusal by its name', () => {
    for (const reply of [framed(error(37)), error(37)]) {
      expect(isKpasswdReply(reply)).toBe(true)
      expect(() => verify(ok, reply)).toThrow(expect.objectContaining({ code: 'KRB_AP_ERR_SKEW' }))
    }
  })

  test('a result inside of it is told; SUCCESS inside of it is no success', () => {
    const result = (code: number) => encodeKpasswdResult({ code, text: Uint8Array.of(0x6e, 0x6f) })
    expect(() => verify(ok, framed(error(60, result(4))))).toThrow(
      expect.objectContaining({ code: 'PASSWORD_REFUSED' }),
    )
    expect(() => verify(ok, framed(error(60, result(5))))).toThrow(/ACCESSDENIED.*no/)
    expect(() => verify(ok, framed(error(60, result(0))))).toThrow(expect.objectContaining({ name: 'KdcError' }))
    expect(() => verify(ok, framed(error(60, result(77))))).toThrow(/result 77/)
  })

  test('the policy that Windows sends in place of a text', () => {
    const days = (count: bigint) => {
      const octets = new Uint8Array(8)
      new DataView(octets.buffer).setBigUint64(0, count * 864_000_000_000n)
      return octets
    }
    const head = Uint8Array.of(0, 0, 0, 0, 0, 7, 0, 0, 0, 24, 0, 0, 0, 1)
    const blob = concat(head, days(42n), days(1n))
    expect(describePolicy(blob)).toBe(
      'at least 7 characters, none of the last 24, letters of both cases, digits and signs, not before 1 days',
    )
    expect(describePolicy(blob.subarray(1))).toBeUndefined()
    expect(describePolicy(new Uint8Array(30))).toBe('by its policy')
    expect(decodeKpasswdResult(concat(Uint8Array.of(0, 4), blob)).text).toEqual(blob)
  })

  test('what is neither is no answer', () => {
    for (const bytes of [
      new Uint8Array(0),
      new Uint8Array(5),
      Uint8Array.of(0, 7, 0, 1, 0, 9, 1),
      Uint8Array.of(0x7e, 1),
    ]) {
      expect(isKpasswdReply(bytes)).toBe(false)
    }
  })
})
