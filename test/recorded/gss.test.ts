import { describe, expect, test } from 'vitest'
import { toHex } from '../../src/bytes/hex.ts'
import { isSupportedEnctype } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import { decodeFrame, type Flag, MECHANISM, type SecurityContext } from '../../src/gss/context.ts'
import { GSS_FLAG } from '../../src/gss/krb5/checksum.ts'
import { PerMessage } from '../../src/gss/krb5/per-message.ts'
import { SpnegoInitiator } from '../../src/gss/spnego/index.ts'
import { decodeNegTokenInit, decodeNegTokenResp, NEG_STATE } from '../../src/gss/spnego/tokens.ts'
import { verifyApRep } from '../../src/krb5/exchange/index.ts'
import { decodeKrbError, Principal } from '../../src/krb5/messages/index.ts'
import { AES, acceptor, codeOf, counting } from '../hostile/mint.ts'
import {
  apReqOf,
  bytesOf,
  context,
  contexts,
  hexBytes,
  keyOf,
  keytabOf,
  type RecordedContext,
  type RecordedToken,
  secondsOf,
  timeOf,
} from './gss.ts'

/** Contexts that MIT's initiator made with enctypes we have; DCE style is another protocol (MS-RPCE). */
const ours = contexts.filter((record) => {
  const apReq = apReqOf(record)
  return apReq !== undefined && isSupportedEnctype(apReq.ticket.decrypted_with.etype) && !record.id.includes('-dce')
})

function replayed(
  record: RecordedContext,
  channelBindings?: Uint8Array,
): ReturnType<ReturnType<typeof acceptor>['context']> {
  const apReq = apReqOf(record)
  if (apReq === undefined) throw new Error(`${record.id} has no AP-REQ`)
  const now = timeOf(apReq.authenticator)
  return acceptor({ keytab: keytabOf(apReq), now: () => now, channelBindings }).context()
}

function named(bits: number): Flag[] {
  return (Object.keys(GSS_FLAG) as (keyof typeof GSS_FLAG)[]).filter(
    (name) => name !== 'delegate' && (bits & GSS_FLAG[name]) !== 0,
  )
}

const single = ours.filter(({ id }) => id !== 'live-ntlm-first-no-optimistic')

describe('MIT initiators at our acceptor', () => {
  test('there are enough of them', () => expect(ours.length).toBeGreaterThanOrEqual(20))

  for (const record of single) {
    test(`${record.id}: accepted, with the client, the flags and the dress of the recording`, async () => {
      const [first] = record.tokens as [RecordedToken]
      const apReq = apReqOf(record)
      const one = replayed(record)
      const token = bytesOf(first)
      const { token: reply, complete } = await one.step(token)
      expect(complete).toBe(true)
      expect(one.peer.components).toEqual(apReq?.ticket.cname.name)
      expect(one.peer.realm).toBe(apReq?.ticket.crealm)
      expect([...one.flags]).toEqual(named(Number(apReq?.gss_checksum.flags)))
      const mutual = (Number(apReq?.gss_checksum.flags) & GSS_FLAG.mutual) !== 0
      if (first.outer.gss_mech !== undefined) {
        expect(reply?.[0]).toBe(mutual ? 0x60 : undefined)
        if (reply !== undefined) expect(decodeFrame(reply).mechanism).toBe(first.outer.gss_mech)
        return
      }
      const answer = decodeNegTokenResp(reply ?? new Uint8Array(0))
      expect(answer.negState).toBe(NEG_STATE.ACCEPT_COMPLETED)
      expect(answer.supportedMech).toBe(decodeNegTokenInit(token).mechTypes[0])
      expect(answer.responseToken !== undefined).toBe(mutual)
      expect(answer.mechListMic).toBeUndefined()
    })
  }

  test('live-windows-style-ms-oid-first: Microsoft’s number is reflected, and MIT’s acceptor did the same', async () => {
    const record = context('live-windows-style-ms-oid-first')
    const [first, second] = record.tokens as [RecordedToken, RecordedToken]
    expect(second.outer.supportedMech).toBe(MECHANISM.MS_KRB5)
    const { token } = await replayed(record).step(bytesOf(first))
    expect(decodeNegTokenResp(token ?? new Uint8Array(0)).supportedMech).toBe(MECHANISM.MS_KRB5)
  })

  test('live-spnego-cbt: bound, unbound and mismatched bindings', async () => {
    for (const [id, flag, code] of [
      ['live-spnego-cbt-both', true, 'accepted'],
      ['live-spnego-http-mutual', false, 'accepted'],
    ] as const) {
      const record = context(id)
      const bindings = hexBytes(context('live-spnego-cbt-both').channel_bindings?.application_data_hex ?? '')
      const one = replayed(record, bindings)
      expect(await codeOf(one.step(bytesOf(record.tokens[0] as RecordedToken)))).toBe(code)
      expect(one.flags.has('channel-bound')).toBe(flag)
    }
    const mismatch = context('live-spnego-cbt-mismatch')
    const wrong = Uint8Array.of(1, 2, 3)
    expect(await codeOf(replayed(mismatch, wrong).step(bytesOf(mismatch.tokens[0] as RecordedToken)))).toBe(
      'BINDINGS_MISMATCH',
    )
  })

  test('live-ntlm-first-no-optimistic: request-mic, AP-REP with our MIC, then MIT’s MIC, which is under MIT’s key', async () => {
    const record = context('live-ntlm-first-no-optimistic')
    const [offer, wanted, apReq, , mic] = record.tokens as [
      RecordedToken,
      RecordedToken,
      RecordedToken,
      RecordedToken,
      RecordedToken,
    ]
    const one = replayed(record)
    const first = await one.step(bytesOf(offer))
    expect(toHex(first.token ?? new Uint8Array(0))).toBe(toHex(bytesOf(wanted))) // the very octets of MIT
    const second = await one.step(bytesOf(apReq))
    expect(second.complete).toBe(false)
    const reply = decodeNegTokenResp(second.token ?? new Uint8Array(0))
    expect(reply.negState).toBe(NEG_STATE.ACCEPT_INCOMPLETE)
    expect(reply.responseToken).toBeDefined()
    expect(reply.mechListMic).toBeDefined()
    // MIT's acceptor made a subkey and the recorded MIC is under it: ours did not, so this MIC cannot be right.
    expect(await codeOf(one.step(bytesOf(mic)))).toBe('INTEGRITY_FAILED')
  })

  test('NTLM alone, raw and in SPNEGO, has its reason', async () => {
    const { context: make } = acceptor({ keytab: keytabOf(apReqOf(context('live-raw-krb5-token')) ?? neverApReq()) })
    for (const id of ['live-raw-ntlm', 'live-ntlm-only']) {
      expect(await codeOf(make().step(bytesOf(context(id).tokens[0] as RecordedToken)))).toBe('NTLM_OFFERED')
    }
  })

  test('live-krb5-dce: an AP-REQ without a frame is refused', async () => {
    const record = context('live-krb5-dce')
    expect(await codeOf(replayed(record).step(bytesOf(record.tokens[0] as RecordedToken)))).toBe('TOKEN_MALFORMED')
  })

  test('the recording an hour later, from before the start, and twice', async () => {
    const record = context('live-spnego-http-mutual')
    const apReq = apReqOf(record) ?? neverApReq()
    const token = bytesOf(record.tokens[0] as RecordedToken)
    const ctime = timeOf(apReq.authenticator)
    const at = (now: number, startedAt = now - 3600e6) =>
      acceptor({ keytab: keytabOf(apReq), now: () => now, startedAt })
    expect(
      await codeOf(
        at(ctime + 3600e6)
          .context()
          .step(token),
      ),
    ).toBe('CLOCK_SKEW')
    expect(
      await codeOf(
        at(ctime + 100e6, ctime + 50e6)
          .context()
          .step(token),
      ),
    ).toBe('BEFORE_START')
    const twice = at(ctime)
    expect(await codeOf(twice.context().step(token))).toBe('accepted')
    expect(await codeOf(twice.context().step(token))).toBe('REPLAY')
  })
})

function neverApReq(): never {
  throw new Error('the recording has no AP-REQ')
}

describe('MIT acceptors at our initiator', () => {
  for (const record of ours) {
    const reply = record.tokens.find(({ ap_rep }) => ap_rep !== undefined)
    const apReq = apReqOf(record)
    if (reply === undefined || apReq === undefined) continue
    test(`${record.id}: C22 C23 the AP-REP proves the server, and nothing else does`, () => {
      const bytes = bytesOf(reply)
      const inner = decodeFrame(bytes[0] === 0x60 ? bytes : (decodeNegTokenResp(bytes).responseToken ?? bytes)).inner
      const key = keyOf(apReq.ticket.session_key)
      const sent = { token: new Uint8Array(0), ctime: timeOf(apReq.authenticator) }
      const verified = verifyApRep(inner.subarray(2), sent, key, AES)
      expect(verified.seqNumber).toBe(reply.ap_rep?.seq)
      expect(verified.subkey && toHex(verified.subkey.toBytes())).toBe(reply.ap_rep?.subkey?.key_hex)
      const other = { ...sent, ctime: sent.ctime + 1 }
      expect(() => verifyApRep(inner.subarray(2), other, key, AES)).toThrow(
        expect.objectContaining({ code: 'REPLY_MISMATCH' }),
      )
      const wrong = keyOf(apReq.authenticator.subkey)
      expect(() => verifyApRep(inner.subarray(2), sent, wrong, AES)).toThrow(KerberosError)
      if (reply.ap_rep?.subkey !== undefined) {
        const not = AES.filter((one) => one !== reply.ap_rep?.subkey?.etype)
        expect(() => verifyApRep(inner.subarray(2), sent, key, not)).toThrow(
          expect.objectContaining({ code: 'REPLY_MISMATCH' }),
        )
      }
      for (let bit = 16; bit < (inner.length - 2) * 8; bit += 5) {
        const flipped = inner.slice(2)
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(() => verifyApRep(flipped, sent, key, AES)).toThrow(KerberosError)
      }
    })
  }

  test.each([
    'live-spnego-http-mutual',
    'live-windows-style-ms-oid-first',
    'live-ntlm-first-no-optimistic',
    'live-ntlm-only',
  ])('%s: NegTokenResp says what the recording says', (id) => {
    const words = ['accept-completed', 'accept-incomplete', 'reject', 'request-mic']
    for (const token of context(id).tokens.filter(({ from }) => from === 'acceptor')) {
      const decoded = decodeNegTokenResp(bytesOf(token))
      expect(words[decoded.negState ?? 9]).toBe(token.outer.negState)
      expect(decoded.supportedMech).toBe(token.outer.supportedMech)
      expect(decoded.mechListMic && toHex(decoded.mechListMic)).toBe(token.outer.mechListMIC_hex)
    }
  })

  test('live-spnego-cbt-mismatch: a reject with a KRB-ERROR inside; C26 it changes nothing', async () => {
    const [, reject] = context('live-spnego-cbt-mismatch').tokens as [RecordedToken, RecordedToken]
    const decoded = decodeNegTokenResp(bytesOf(reject))
    expect(decoded.negState).toBe(NEG_STATE.REJECT)
    const { inner } = decodeFrame(decoded.responseToken ?? new Uint8Array(0))
    expect(decodeKrbError(inner.subarray(2)).errorCode).toBe(reject.krb_error?.error_code)
  })

  test('C29 live-acceptor-first-NegTokenInit2: an offer is no answer', async () => {
    const [hint] = context('live-acceptor-first-NegTokenInit2').tokens as [RecordedToken]
    expect(() => decodeNegTokenResp(bytesOf(hint))).toThrow(KerberosError)
    const mechanism = {
      step: async () => ({ token: Uint8Array.of(1), complete: false }),
      dispose() {},
    } as unknown as SecurityContext
    const initiator = new SpnegoInitiator(mechanism)
    await initiator.step()
    expect(await codeOf(initiator.step(bytesOf(hint)))).toBe('MALFORMED')
  })
})

describe('MIT’s per-message tokens', () => {
  const withMessages = ours.filter(
    ({ messages, context_key }) => messages.length > 0 && isSupportedEnctype(context_key?.etype ?? 0),
  )
  for (const record of withMessages) {
    test(`${record.id}: each verifies once, in the recorded order, and nothing else does`, () => {
      const apReq = apReqOf(record) ?? neverApReq()
      const reply = record.tokens.find(({ ap_rep }) => ap_rep !== undefined)?.ap_rep
      const key = keyOf(record.context_key ?? neverApReq())
      const acceptorSubkey = record.context_key?.which === 'acceptor subkey'
      const initiatorSequence = apReq.authenticator.seq
      const acceptorSequence = reply?.seq ?? initiatorSequence
      const side = (isAcceptor: boolean) =>
        new PerMessage({
          key,
          isAcceptor,
          acceptorSubkey,
          sendSequence: isAcceptor ? acceptorSequence : initiatorSequence,
          receiveSequence: isAcceptor ? initiatorSequence : acceptorSequence,
          random: counting(),
        })
      const receivers = { initiator: side(true), acceptor: side(false) }
      for (const { from, kind, conf, message_hex, token_hex } of record.messages) {
        const token = hexBytes(token_hex)
        const data = hexBytes(message_hex)
        const receiver = receivers[from]
        const check = () => {
          if (kind === 'mic') return receiver.verifyMic(data, token)
          expect(receiver.unwrap(token)).toEqual({ data, confidential: conf })
        }
        const altered = token.slice()
        altered[altered.length - 1] = (altered[altered.length - 1] as number) ^ 1
        expect(() => (kind === 'mic' ? receiver.verifyMic(data, altered) : receiver.unwrap(altered))).toThrow(
          KerberosError,
        )
        check()
        expect(check).toThrow(expect.objectContaining({ code: 'SEQUENCE_ERROR' })) // P64
        const reflected = receivers[from === 'initiator' ? 'acceptor' : 'initiator']
        expect(() => (kind === 'mic' ? reflected.verifyMic(data, token) : reflected.unwrap(token))).toThrow(
          KerberosError,
        ) // P63
      }
    })
  }

  test('live-ntlm-first-no-optimistic: both MICs cover the octets of the list as offered', () => {
    const record = context('live-ntlm-first-no-optimistic')
    const apReq = apReqOf(record) ?? neverApReq()
    const list = hexBytes(record.mech_list_der_hex ?? '')
    const offer = decodeNegTokenInit(bytesOf(record.tokens[0] as RecordedToken))
    expect(toHex(offer.rawMechTypes)).toBe(record.mech_list_der_hex)
    const key = keyOf(record.context_key ?? neverApReq())
    const mics = record.tokens.filter(({ outer }) => outer.mechListMIC_hex !== undefined)
    expect(mics).toHaveLength(2)
    for (const token of mics) {
      const mic = decodeNegTokenResp(bytesOf(token)).mechListMic ?? new Uint8Array(0)
      const fromAcceptor = token.from === 'acceptor'
      const receiveSequence = fromAcceptor ? (token.ap_rep?.seq ?? 0) : apReq.authenticator.seq
      const messages = () =>
        new PerMessage({
          key,
          isAcceptor: !fromAcceptor,
          acceptorSubkey: true,
          sendSequence: 0,
          receiveSequence,
          random: counting(),
        })
      messages().verifyMic(list, mic)
      expect(() => messages().verifyMic(list.subarray(1), mic)).toThrow(KerberosError)
    }
  })
})

/** What our acceptor makes of a recording when it is not accepted with what was recorded: after which legs, and why. */
const NOT_ACCEPTED: Readonly<Record<string, readonly string[]>> = {
  'live-krb5-arcfour-hmac': ['ENCTYPE_REFUSED'],
  'live-krb5-camellia256-cts': ['ENCTYPE_REFUSED'],
  'live-krb5-camellia128-cts': ['ENCTYPE_REFUSED'],
  'live-spnego-arcfour-hmac': ['ENCTYPE_REFUSED'],
  'live-etype-only-spnego-arcfour-hmac': ['ENCTYPE_REFUSED'],
  'live-etype-only-krb5-camellia256-cts': ['ENCTYPE_REFUSED'],
  'live-etype-only-spnego-camellia256-cts': ['ENCTYPE_REFUSED'],
  'live-etype-only-spnego-camellia128-cts': ['ENCTYPE_REFUSED'],
  'live-etype-only-krb5-des3-cbc-sha1': ['ENCTYPE_REFUSED'],
  'live-etype-only-spnego-des3-cbc-sha1': ['ENCTYPE_REFUSED'],
  'live-krb5-dce': ['TOKEN_MALFORMED'], // DCE style: MS-RPCE
  'live-krb5-dce-msgs': ['TOKEN_MALFORMED'],
  'live-ntlm-only': ['NTLM_OFFERED'],
  'live-raw-ntlm': ['NTLM_OFFERED'],
  'live-acceptor-first-NegTokenInit2': ['MALFORMED'], // an acceptor's own offer
  'live-spnego-cbt-mismatch': ['BINDINGS_MISMATCH'],
  // The recorded MIC is under the subkey of MIT's acceptor, which ours does not have.
  'live-ntlm-first-no-optimistic': ['continue', 'continue', 'INTEGRITY_FAILED'],
}

test('each of the 39 recordings has its outcome at our acceptor', async () => {
  const fallback = apReqOf(context('live-raw-krb5-token')) ?? neverApReq()
  const outcomes: (readonly [string, readonly string[]])[] = []
  for (const record of contexts) {
    const apReq = apReqOf(record) ?? fallback
    const now = timeOf(apReq.authenticator)
    const channelBindings = record.id === 'live-spnego-cbt-mismatch' ? Uint8Array.of(1, 2, 3) : undefined
    const one = acceptor({ keytab: keytabOf(apReq), now: () => now, channelBindings }).context()
    const legs: string[] = []
    for (const token of record.tokens.filter(({ from }, i) => from === 'initiator' || i === 0)) {
      const code = await codeOf(one.step(bytesOf(token)))
      legs.push(code === 'accepted' && !one.complete ? 'continue' : code)
      if (legs.at(-1) !== 'continue') break
    }
    outcomes.push([record.id, legs])
  }
  expect(outcomes).toHaveLength(39)
  const accepted = outcomes.filter(([id]) => NOT_ACCEPTED[id] === undefined)
  expect(accepted.map(([, legs]) => legs)).toEqual(accepted.map(() => ['accepted']))
  expect(Object.fromEntries(outcomes.filter(([id]) => NOT_ACCEPTED[id] !== undefined))).toEqual(NOT_ACCEPTED)
})

test('the recordings’ clocks are read right', () => {
  expect(new Date(secondsOf('20261122140416Z') / 1000).toISOString()).toBe('2026-11-22T14:04:16.000Z')
  expect(Principal.parse('HTTP/www.anchor.test@ANCHOR.TEST').realm).toBe('ANCHOR.TEST')
})
