import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { element, encodeDer } from '../../src/asn1/index.ts'
import { toBase64 } from '../../src/bytes/base64.ts'
import { concat, utf8 } from '../../src/bytes/bytes.ts'
import { toHex } from '../../src/bytes/hex.ts'
import { enctype, Key } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import { decodeFrame, encodeFrame, type Flag, MECHANISM } from '../../src/gss/context.ts'
import { Krb5Initiator } from '../../src/gss/krb5/index.ts'
import { type MessageKeys, PerMessage } from '../../src/gss/krb5/per-message.ts'
import { SpnegoInitiator } from '../../src/gss/spnego/index.ts'
import {
  decodeNegTokenResp,
  encodeMechTypes,
  encodeNegTokenInit,
  encodeNegTokenResp,
  NEG_STATE,
  type NegTokenResp,
} from '../../src/gss/spnego/tokens.ts'
import type { Credential } from '../../src/krb5/exchange/index.ts'
import { encodeApRep, encodeEncApRepPart, encodeKrbError, KEY_USAGE } from '../../src/krb5/messages/index.ts'
import { AES, acceptor, codeOf, counting, KEY_BYTES, keytab, mint, NOW, SERVICE, someKey, source } from './mint.ts'

const serviceKey = someKey(18)
const KEYTAB = keytab({ key: serviceKey })
const NOTHING = new Uint8Array(0)
const MUTUAL: readonly Flag[] = ['mutual', 'replay', 'sequence', 'confidential', 'integrity']

interface Pair {
  readonly initiator: SpnegoInitiator
  /** Our acceptor's answer, taken apart. */
  readonly answer: NegTokenResp
  readonly credential: Credential
  readonly ctime: number
  readonly context: ReturnType<ReturnType<typeof acceptor>['context']>
}

/** An initiator whose first token our acceptor has answered. */
async function pair(flags: readonly Flag[] = MUTUAL, ctime = NOW): Promise<Pair> {
  const { credential } = mint(serviceKey)
  const kerberos = new Krb5Initiator({
    credential,
    flags,
    channelBindings: undefined,
    enctypes: AES,
    source: source(() => ctime),
  })
  const initiator = new SpnegoInitiator(kerberos)
  const { token } = await initiator.step()
  const context = acceptor({ keytab: KEYTAB }).context()
  const reply = await context.step(token)
  return { initiator, answer: decodeNegTokenResp(reply.token ?? NOTHING), credential, ctime, context }
}

function answer(value: Partial<NegTokenResp>): Uint8Array {
  return encodeNegTokenResp(value)
}

/** An AP-REP as a server with the session key would make it. */
function apRep(
  key: Key,
  ctime: number,
  bent: { usage?: number; etype?: number; subkey?: { keytype: number; keyvalue: Uint8Array } } = {},
): Uint8Array {
  const plain = encodeEncApRepPart({ ctime, subkey: bent.subkey, seqNumber: 1 })
  const cipher = key.encrypt(bent.usage ?? KEY_USAGE.AP_REP, plain, new Uint8Array(16))
  const inner = encodeApRep({ encPart: { etype: bent.etype ?? key.enctype, kvno: undefined, cipher } })
  return encodeFrame(MECHANISM.KRB5, concat(Uint8Array.of(2, 0), inner))
}

describe('the server’s proof', () => {
  test('of our own acceptor is taken, once', async () => {
    const { initiator, answer: reply } = await pair()
    expect(await initiator.step(answer(reply))).toEqual({ token: undefined, complete: true })
    expect(initiator.peer.equals(SERVICE)).toBe(true)
    expect(await codeOf(initiator.step(answer(reply)))).toBe('CONTEXT_FAILED') // C24
  })

  test('C22 the AP-REP to an earlier login of the same user at the same server', async () => {
    const first = await pair()
    const kerberos = new Krb5Initiator({
      credential: first.credential,
      flags: MUTUAL,
      channelBindings: undefined,
      enctypes: AES,
      source: source(() => NOW + 1),
    })
    const second = new SpnegoInitiator(kerberos)
    await second.step()
    expect(await codeOf(second.step(answer(first.answer)))).toBe('REPLY_MISMATCH')
    expect(second.complete).toBe(false)
    expect(() => second.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
  })

  test('C23 another key, another usage, another enctype, a subkey that is none', async () => {
    const rows: readonly [string, (one: Pair) => Uint8Array][] = [
      ['accepted', ({ credential, ctime }) => apRep(credential.sessionKey, ctime)],
      ['INTEGRITY_FAILED', ({ ctime }) => apRep(someKey(18), ctime)],
      ['INTEGRITY_FAILED', ({ credential, ctime }) => apRep(credential.sessionKey, ctime, { usage: 11 })],
      ['REPLY_MISMATCH', ({ credential, ctime }) => apRep(credential.sessionKey, ctime, { etype: 17 })],
      ['REPLY_MISMATCH', ({ credential, ctime }) => apRep(credential.sessionKey, ctime + 1)],
      [
        'REPLY_MISMATCH',
        ({ credential, ctime }) =>
          apRep(credential.sessionKey, ctime, { subkey: { keytype: 23, keyvalue: new Uint8Array(16) } }),
      ],
      [
        'MALFORMED',
        ({ credential, ctime }) =>
          apRep(credential.sessionKey, ctime, { subkey: { keytype: 18, keyvalue: new Uint8Array(3) } }),
      ],
    ]
    for (const [code, make] of rows) {
      const one = await pair()
      expect(await codeOf(one.initiator.step(answer({ negState: 0, responseToken: make(one) })))).toBe(code)
      expect(one.initiator.complete).toBe(code === 'accepted')
    }
  })

  test('C23 every truncation and every flipped bit of the cipher', async () => {
    const { answer: reply } = await pair()
    const token = reply.responseToken ?? NOTHING
    for (let n = 0; n < token.length; n += 7) {
      const { initiator } = await pair()
      expect(await codeOf(initiator.step(answer({ ...reply, responseToken: token.subarray(0, n) })))).not.toBe(
        'accepted',
      )
    }
    for (let bit = (token.length - 60) * 8; bit < token.length * 8; bit += 11) {
      const one = await pair()
      const flipped = (one.answer.responseToken ?? NOTHING).slice()
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(await codeOf(one.initiator.step(answer({ ...one.answer, responseToken: flipped })))).toBe(
        'INTEGRITY_FAILED',
      )
    }
  })

  test('accepted without a proof is not complete', async () => {
    for (const value of [{ negState: NEG_STATE.ACCEPT_COMPLETED }, { negState: NEG_STATE.ACCEPT_INCOMPLETE }, {}]) {
      const { initiator } = await pair()
      expect((await initiator.step(answer(value))).complete).toBe(false)
      expect(initiator.complete).toBe(false)
      expect(() => initiator.flags).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    }
  })

  test('C86 a right AP-REP is not enough as long as the server says that it is not done (RFC 4178 §4.2.2)', async () => {
    for (const negState of [NEG_STATE.ACCEPT_INCOMPLETE, NEG_STATE.REQUEST_MIC]) {
      const { initiator, answer: reply } = await pair()
      expect((await initiator.step(answer({ ...reply, negState }))).complete).toBe(false)
      expect(initiator.complete).toBe(false)
      expect(() => initiator.flags).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
      expect((await initiator.step(answer({ negState: NEG_STATE.ACCEPT_COMPLETED }))).complete).toBe(true)
    }
    const { initiator: asked, answer: first, context } = await pair()
    const mechListMic = context.getMic(encodeMechTypes([MECHANISM.KRB5]))
    const step = await asked.step(answer({ ...first, negState: NEG_STATE.REQUEST_MIC, mechListMic }))
    expect([step.complete, step.token !== undefined]).toEqual([false, true])
    for (const negState of [NEG_STATE.ACCEPT_COMPLETED, undefined]) {
      const { initiator, answer: reply } = await pair()
      expect((await initiator.step(answer({ ...reply, negState }))).complete).toBe(true)
    }
  })

  test('C12 a server that never ends has at most four tokens', async () => {
    const { initiator } = await pair()
    const codes: string[] = []
    for (let leg = 1; leg <= 5; leg++)
      codes.push(await codeOf(initiator.step(answer({ negState: NEG_STATE.ACCEPT_INCOMPLETE }))))
    expect(codes).toEqual(['accepted', 'accepted', 'accepted', 'accepted', 'TOO_MANY_LEGS'])
  })

  test('C26 a KRB-ERROR is told, and changes nothing', async () => {
    for (const errorCode of [37, 41, 4711, -5]) {
      const one = await pair()
      const error = encodeKrbError({
        ctime: NOW,
        stime: NOW + 10 * 365 * 86_400e6,
        errorCode,
        crealm: undefined,
        cname: undefined,
        realm: 'X',
        sname: SERVICE,
        eText: '\u001b[31mevil\r\n',
        eData: undefined,
      })
      const responseToken = encodeFrame(MECHANISM.KRB5, concat(Uint8Array.of(3, 0), error))
      for (const negState of [NEG_STATE.REJECT, NEG_STATE.ACCEPT_COMPLETED]) {
        const { initiator } = await pair()
        const reason = await initiator.step(answer({ negState, responseToken })).catch((caught: unknown) => caught)
        expect(reason).toMatchObject({ code: 'REJECTED' })
        expect((reason as Error).message).not.toContain('\u001b')
      }
      one.initiator.dispose()
    }
  })

  test('C27 a mechanism that was not offered', async () => {
    for (const supportedMech of [
      MECHANISM.NTLM,
      '1.2.840.48018.1.2.3',
      '1.2.3.4',
      '1.3.6.1.4.1.311.2.2.30',
      MECHANISM.SPNEGO,
    ]) {
      const { initiator, answer: reply } = await pair()
      expect(await codeOf(initiator.step(answer({ ...reply, supportedMech })))).toBe('MECHANISM_REFUSED')
    }
    // What Microsoft's first implementation called Kerberos is Kerberos.
    const old = await pair()
    expect(await old.initiator.step(answer({ ...old.answer, supportedMech: MECHANISM.MS_KRB5 }))).toEqual({
      token: undefined,
      complete: true,
    })
    const forged = await pair()
    const responseToken = Uint8Array.from(forged.answer.responseToken ?? NOTHING).fill(0, -8)
    const reply = answer({ ...forged.answer, supportedMech: MECHANISM.MS_KRB5, responseToken })
    expect(await codeOf(forged.initiator.step(reply))).toBe('INTEGRITY_FAILED')
    const { initiator } = await pair()
    const ntlm = concat(utf8('NTLMSSP\0'), Uint8Array.of(2, 0, 0, 0))
    expect(await codeOf(initiator.step(answer({ negState: NEG_STATE.ACCEPT_INCOMPLETE, responseToken: ntlm })))).toBe(
      'MALFORMED',
    )
  })

  test('C28 a wrong MIC over the list, although the AP-REP is right', async () => {
    const wrong = concat(Uint8Array.of(4, 4, 1, 255, 255, 255, 255, 255), new Uint8Array(20))
    const { initiator, answer: reply } = await pair()
    expect(await codeOf(initiator.step(answer({ ...reply, mechListMic: wrong })))).toBe('INTEGRITY_FAILED')
    const empty = await pair()
    expect(await codeOf(empty.initiator.step(answer({ ...empty.answer, mechListMic: NOTHING })))).toBe('MALFORMED')
    const other = await pair()
    const mechListMic = other.context.getMic(encodeMechTypes([MECHANISM.KRB5, MECHANISM.NTLM]))
    expect(await codeOf(other.initiator.step(answer({ ...other.answer, mechListMic })))).toBe('INTEGRITY_FAILED')
  })

  test('C28 a right MIC is taken and answered; one that repeats the token is none', async () => {
    const list = encodeMechTypes([MECHANISM.KRB5])
    const one = await pair()
    const mechListMic = one.context.getMic(list)
    const step = await one.initiator.step(answer({ ...one.answer, negState: NEG_STATE.ACCEPT_INCOMPLETE, mechListMic }))
    expect(step.complete).toBe(true)
    one.context.verifyMic(list, decodeNegTokenResp(step.token ?? NOTHING).mechListMic ?? NOTHING)
    const done = await pair()
    const last = answer({ ...done.answer, mechListMic: done.context.getMic(list) })
    expect(await done.initiator.step(last)).toEqual({ token: undefined, complete: true }) // who has accepted reads nothing more
    const windows = await pair()
    const repeated = { ...windows.answer, mechListMic: windows.answer.responseToken }
    expect(await windows.initiator.step(answer(repeated))).toEqual({ token: undefined, complete: true })
  })

  test('C29 an offer, an AP-REP without SPNEGO, an empty and an unknown token as the answer', async () => {
    const { answer: reply } = await pair()
    for (const token of [
      encodeNegTokenInit(encodeMechTypes([MECHANISM.KRB5]), reply.responseToken),
      encodeDer(element(0xa0, NOTHING)),
      reply.responseToken ?? NOTHING,
      NOTHING,
      utf8('NTLMSSP\0'),
    ]) {
      const { initiator } = await pair()
      expect(await codeOf(initiator.step(token))).toBe('MALFORMED')
      expect(await codeOf(initiator.step(token))).toBe('CONTEXT_FAILED')
    }
    const { initiator } = await pair()
    expect(await codeOf(initiator.step())).toBe('TOKEN_MALFORMED')
  })

  test('C40 without delegation the token has neither flag nor ticket for it', async () => {
    const { context } = await pair()
    expect(context.flags.has('delegate')).toBe(false)
  })

  test('random octets as the answer never throw anything but a KerberosError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (junk) => {
        for (const token of [junk, Uint8Array.of(0xa1, junk.length, ...junk)]) {
          const { initiator } = await pair()
          await codeOf(initiator.step(token))
          expect(initiator.complete).toBe(false)
        }
      }),
      { numRuns: 150 },
    )
  })

  test('C29 a raw context: an AP-REP under Microsoft’s number, another frame, a second token', async () => {
    const make = async () => {
      const { credential } = mint(serviceKey)
      const one = new Krb5Initiator({
        credential,
        flags: MUTUAL,
        channelBindings: undefined,
        enctypes: AES,
        source: source(() => NOW),
      })
      await one.step()
      return { one, token: apRep(credential.sessionKey, NOW) }
    }
    const good = await make()
    expect(await codeOf(good.one.step(encodeFrame(MECHANISM.MS_KRB5, decodeFrame(good.token).inner)))).toBe('accepted')
    expect(await codeOf(good.one.step(good.token))).toBe('CONTEXT_FAILED')
    for (const bend of [
      (token: Uint8Array) => encodeFrame('1.2.3', decodeFrame(token).inner),
      (token: Uint8Array) => decodeFrame(token).inner,
      (token: Uint8Array) =>
        encodeFrame(MECHANISM.KRB5, concat(Uint8Array.of(1, 0), decodeFrame(token).inner.subarray(2))),
    ]) {
      const { one, token } = await make()
      expect(await codeOf(one.step(bend(token)))).toBe('MALFORMED')
    }
  })
})

describe('per-message tokens', () => {
  function sides(
    id: number,
    bent: Partial<MessageKeys> = {},
  ): { initiator: PerMessage; acceptor: PerMessage; key: Key } {
    const key = new Key(id, counting()(KEY_BYTES[id] ?? 32))
    const common = { key, acceptorSubkey: false, random: counting(), sendSequence: 5, receiveSequence: 5, ...bent }
    return {
      initiator: new PerMessage({ ...common, isAcceptor: false }),
      acceptor: new PerMessage({ ...common, isAcceptor: true }),
      key,
    }
  }

  /** Moves the last octets to the front, as Windows does, and says so in RRC. */
  function rotated(token: Uint8Array, count: number): Uint8Array {
    const body = token.subarray(16)
    const by = count % body.length
    const moved = concat(token.subarray(0, 16), body.subarray(body.length - by), body.subarray(0, body.length - by))
    new DataView(moved.buffer).setUint16(6, count)
    return moved
  }

  for (const id of AES) {
    test(`enctype ${id}: what is wrapped or signed arrives, in both directions`, () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 200 }),
          fc.boolean(),
          fc.boolean(),
          fc.boolean(),
          (data, confidential, toAcceptor, acceptorSubkey) => {
            const { initiator, acceptor: other } = sides(id, { acceptorSubkey })
            const [sender, receiver] = toAcceptor ? [initiator, other] : [other, initiator]
            const token = sender.wrap(data, confidential)
            if (confidential && data.length > 8) expect(toHex(token)).not.toContain(toHex(data))
            expect(receiver.unwrap(token)).toEqual({ data, confidential })
            receiver.verifyMic(data, sender.getMic(data))
          },
        ),
        { numRuns: 60 },
      )
    })

    test(`enctype ${id}: P60 any RRC, also over the length, is undone`, () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 60 }),
          fc.boolean(),
          fc.nat({ max: 65_535 }),
          (data, confidential, count) => {
            const { initiator, acceptor: other } = sides(id)
            expect(other.unwrap(rotated(initiator.wrap(data, confidential), count)).data).toEqual(data)
          },
        ),
        { numRuns: 60 },
      )
    })

    test(`enctype ${id}: P62 no flipped bit of a wrap or a MIC is accepted`, () => {
      const data = utf8('twenty octets of text')
      const { initiator, acceptor: other } = sides(id)
      const mic = initiator.getMic(data)
      const tokens = [initiator.wrap(data, true), initiator.wrap(data, false), mic]
      for (const token of tokens) {
        for (let bit = 0; bit < token.length * 8; bit++) {
          const flipped = token.slice()
          flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
          const check = () => (token === mic ? other.verifyMic(data, flipped) : other.unwrap(flipped))
          expect(check, `bit ${bit}`).toThrow(KerberosError)
        }
      }
      for (const token of tokens.slice(0, 2)) expect(other.unwrap(token).data).toEqual(data)
      expect(() => other.verifyMic(utf8('twenty octets of tex'), mic)).toThrow(KerberosError)
      other.verifyMic(data, mic)
    })

    test(`enctype ${id}: P66 every truncation, P61 fewer than sixteen octets of plaintext`, () => {
      const { initiator, acceptor: other, key } = sides(id)
      const data = utf8('text')
      for (const token of [initiator.wrap(data, true), initiator.wrap(data, false), initiator.getMic(data)]) {
        for (let n = 0; n < token.length; n++) {
          expect(() => other.unwrap(token.subarray(0, n))).toThrow(KerberosError)
          expect(() => other.verifyMic(data, token.subarray(0, n))).toThrow(KerberosError)
        }
      }
      const header = Uint8Array.of(5, 4, 2, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5)
      for (let length = 0; length < 16; length++) {
        const body = key.encrypt(24, header.slice(0, length), new Uint8Array(16))
        expect(() => other.unwrap(concat(header, body))).toThrow(/shorter than its EC/)
      }
    })
  }

  /** A sealed token with any header outside and inside, as a peer who has the key could make it. */
  function sealed(key: Key, outside: Uint8Array, inside: Uint8Array, data: Uint8Array, filler = 0): Uint8Array {
    return concat(outside, key.encrypt(24, concat(data, new Uint8Array(filler), inside), new Uint8Array(16)))
  }

  for (const id of AES) {
    test(`enctype ${id}: P60 EC with filler is honoured; any header that differs inside is not`, () => {
      const { acceptor: other, key } = sides(id)
      const data = utf8('text')
      const header = (ec: number, flags = 2, filler = 255) =>
        Uint8Array.of(5, 4, flags, filler, ec >> 8, ec & 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5)
      expect(other.unwrap(sealed(key, header(16), header(16), data, 16)).data).toEqual(data)
      for (const [outside, inside] of [
        [header(0), header(16)],
        [header(16), header(0)],
        [header(0, 2), header(0, 6)],
        [header(0, 2, 254), header(0, 2, 254)],
        [header(0), Uint8Array.of(...header(0).subarray(0, 6), 0, 1, ...header(0).subarray(8))],
      ] as const) {
        const fresh = sides(id).acceptor // the number was used above
        const code = outside[3] === 255 ? 'INTEGRITY_FAILED' : 'MALFORMED'
        expect(() => fresh.unwrap(sealed(key, outside, inside, data, 16))).toThrow(expect.objectContaining({ code }))
      }
      expect(() => other.unwrap(sealed(key, header(0xffff), header(0xffff), data))).toThrow(/shorter than its EC/)
    })

    test(`enctype ${id}: P60 the acceptor-subkey flag must be as agreed, even under a right MAC`, () => {
      const one = sides(id, { acceptorSubkey: true })
      const two = sides(id)
      const data = utf8('text')
      for (const token of [one.initiator.wrap(data, true), one.initiator.wrap(data, false)]) {
        expect(() => two.acceptor.unwrap(token)).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
      }
      expect(() => two.acceptor.verifyMic(data, one.initiator.getMic(data))).toThrow(
        expect.objectContaining({ code: 'INTEGRITY_FAILED' }),
      )
    })

    test(`enctype ${id}: P60 MIC filler and unsealed EC, even under a right MAC`, () => {
      const { acceptor: other, key } = sides(id)
      const data = utf8('text')
      const header = Uint8Array.of(4, 4, 0, 255, 255, 255, 255, 254, 0, 0, 0, 0, 0, 0, 0, 5)
      const mic = concat(header, key.checksum(25, concat(data, header)))
      expect(() => other.verifyMic(data, mic)).toThrow(/filler/)
      const bare = Uint8Array.of(5, 4, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5)
      const mac = key.checksum(24, concat(data, bare))
      const { macBytes } = enctype(id)
      for (const ec of [0, macBytes - 1, macBytes + 1, 65_535]) {
        const wrong = bare.slice()
        wrong.set([ec >> 8, ec & 255], 4)
        expect(() => other.unwrap(concat(wrong, data, mac))).toThrow(/EC is/)
      }
      const right = bare.slice()
      right[5] = macBytes
      expect(other.unwrap(concat(right, data, mac)).data).toEqual(data)
    })

    test(`enctype ${id}: P63 a token that comes back to its sender`, () => {
      const { initiator, acceptor: other } = sides(id)
      const data = utf8('text')
      for (const side of [initiator, other]) {
        for (const token of [side.wrap(data, true), side.wrap(data, false)]) {
          expect(() => side.unwrap(token)).toThrow(expect.objectContaining({ code: 'SEQUENCE_ERROR' }))
        }
        expect(() => side.verifyMic(data, side.getMic(data))).toThrow(
          expect.objectContaining({ code: 'SEQUENCE_ERROR' }),
        )
      }
    })

    test(`enctype ${id}: P64 each number once; gaps are allowed; more than 64 behind is too old`, () => {
      const { initiator, acceptor: other } = sides(id)
      const tokens = Array.from({ length: 130 }, (_, i) => initiator.wrap(Uint8Array.of(i), i % 2 === 0))
      const late = expect.objectContaining({ code: 'SEQUENCE_ERROR' })
      const take = (i: number) => other.unwrap(tokens[i] as Uint8Array).data[0]
      expect(take(0)).toBe(0)
      expect(take(70)).toBe(70)
      expect(take(7)).toBe(7) // 63 behind
      expect(() => take(7)).toThrow(late)
      expect(() => take(70)).toThrow(late)
      expect(() => take(0)).toThrow(late)
      expect(() => take(5)).toThrow(late) // 65 behind
      expect(take(129)).toBe(129)
      expect(() => take(70)).toThrow(late)
      expect(take(100)).toBe(100)
    })

    test(`enctype ${id}: P64 the numbers wrap at 2^64, and none before the first was ever sent`, () => {
      const key = someKey(id)
      const common = { key, acceptorSubkey: false, random: counting() }
      const receiver = (receiveSequence: number) =>
        new PerMessage({ ...common, isAcceptor: true, sendSequence: 0, receiveSequence })
      const early = new PerMessage({ ...common, isAcceptor: false, sendSequence: 4, receiveSequence: 0 })
      const first = early.wrap(utf8('four'), true)
      const five = receiver(5)
      expect(() => five.unwrap(first)).toThrow(expect.objectContaining({ code: 'SEQUENCE_ERROR' }))
      expect(five.unwrap(early.wrap(utf8('five'), true)).data).toEqual(utf8('five'))
      const last = receiver(0)
      const bare = (sequence: bigint) => {
        const header = new Uint8Array(16)
        header.set([4, 4, 0, 255, 255, 255, 255, 255])
        new DataView(header.buffer).setBigUint64(8, sequence)
        return concat(header, key.checksum(25, header))
      }
      last.verifyMic(NOTHING, bare(2n ** 63n - 1n))
      last.verifyMic(NOTHING, bare(2n ** 64n - 1n))
      last.verifyMic(NOTHING, bare(0n))
      last.verifyMic(NOTHING, bare(1n))
      expect(() => last.verifyMic(NOTHING, bare(0n))).toThrow(expect.objectContaining({ code: 'SEQUENCE_ERROR' }))
    })

    test(`enctype ${id}: P64 a number that is very far behind costs nothing`, () => {
      const key = someKey(id)
      const common = { key, acceptorSubkey: false, random: counting() }
      const receiver = new PerMessage({ ...common, isAcceptor: true, sendSequence: 0, receiveSequence: 0 })
      for (const sequence of [2n ** 63n, 2n ** 64n - 2n ** 40n, 2n ** 64n - 2n ** 31n, 2n ** 64n - 1n]) {
        const header = new Uint8Array(16)
        header.set([4, 4, 0, 255, 255, 255, 255, 255])
        new DataView(header.buffer).setBigUint64(8, sequence)
        expect(() => receiver.verifyMic(NOTHING, concat(header, key.checksum(25, header)))).toThrow(
          expect.objectContaining({ code: 'SEQUENCE_ERROR' }),
        )
      }
    })

    test(`enctype ${id}: P64 a forged token does not move the window`, () => {
      const { initiator, acceptor: other } = sides(id)
      const token = initiator.wrap(utf8('text'), true)
      const forged = token.slice()
      forged[8] = 127
      expect(() => other.unwrap(forged)).toThrow(KerberosError)
      expect(other.unwrap(token).data).toEqual(utf8('text'))
    })

    test(`enctype ${id}: P65 tokens of RFC 1964, and of the other kind`, () => {
      const { initiator, acceptor: other } = sides(id)
      const data = utf8('text')
      for (const kind of [
        [1, 1],
        [2, 1],
        [0x60, 0x20],
        [4, 4],
      ]) {
        const token = initiator.wrap(data, true)
        token.set(kind)
        expect(() => other.unwrap(token)).toThrow(/token of kind/)
      }
      expect(() => other.verifyMic(data, initiator.wrap(data, false))).toThrow(/token of kind/)
    })

    test(`enctype ${id}: P60 reserved flags are ignored under a right MAC (RFC 4121 §4.2.2)`, () => {
      const data = utf8('text')
      for (const reserved of [0x08, 0x10, 0x20, 0x40, 0x80]) {
        const { acceptor: other, key } = sides(id)
        const header = Uint8Array.of(5, 4, 2 | reserved, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5)
        expect(other.unwrap(sealed(key, header, header, data)).data).toEqual(data)
        expect(() =>
          other.unwrap(sealed(key, header, Uint8Array.of(...header.subarray(0, 2), 2, ...header.subarray(3)), data)),
        ).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
      }
    })

    test(`enctype ${id}: P60 an RRC of the length, beyond it, and of 65535; one that was altered is refused`, () => {
      const data = utf8('text')
      for (const confidential of [true, false]) {
        const { initiator, acceptor: other } = sides(id)
        const length = initiator.wrap(data, confidential).length - 16
        for (const count of [1, length - 1, length, length + 1, 65_535]) {
          const token = rotated(initiator.wrap(data, confidential), count)
          for (const wrong of [count - 1, (count + 1) % 65_536]) {
            const bent = token.slice()
            new DataView(bent.buffer).setUint16(6, wrong)
            expect(() => other.unwrap(bent), `${count} as ${wrong}`).toThrow(KerberosError)
          }
          expect(other.unwrap(token)).toEqual({ data, confidential })
        }
      }
    })

    test(`enctype ${id}: P62 an octet more is refused, at the end and behind the header`, () => {
      const data = utf8('text')
      const { initiator, acceptor: other } = sides(id)
      for (const token of [initiator.wrap(data, true), initiator.wrap(data, false)]) {
        expect(() => other.unwrap(concat(token, Uint8Array.of(0)))).toThrow(KerberosError)
        expect(() => other.unwrap(concat(token.subarray(0, 16), Uint8Array.of(0), token.subarray(16)))).toThrow(
          KerberosError,
        )
      }
      const mic = initiator.getMic(data)
      expect(() => other.verifyMic(data, concat(mic, Uint8Array.of(0)))).toThrow(KerberosError)
    })
  }

  test('what is unwrapped is the receiver’s own: changing it changes nothing else', () => {
    const { initiator, acceptor: other } = sides(18)
    for (const confidential of [true, false]) {
      const token = Buffer.from(initiator.wrap(utf8('text'), confidential))
      const before = toBase64(token)
      other.unwrap(token).data.fill(0)
      expect(toBase64(token)).toBe(before)
    }
  })
})
