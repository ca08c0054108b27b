import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { toHex } from '../../src/bytes/hex.ts'
import { Key } from '../../src/crypto/index.ts'
import { MalformedError } from '../../src/errors.ts'
import { decodeFrame } from '../../src/gss/context.ts'
import { PerMessage } from '../../src/gss/krb5/per-message.ts'
import { decodeNegTokenInit, decodeNegTokenResp } from '../../src/gss/spnego/tokens.ts'
import {
  decodeApReq,
  decodeAuthenticator,
  decodeEncApRepPart,
  decodeEncTicketPart,
  decodeKrbError,
  KEY_USAGE,
} from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'
import { fieldsOf, flagFields, nameFields, present, timeText } from './fields.ts'
import { hexBytes } from './gss.ts'

/** What the decoders of this package see, against what an independent decoder saw in the same octets. */

interface Exchange {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly expected: { readonly request: unknown; readonly reply: unknown }
}

describe('RFC 4120 §5: every field of every request and reply (live_mit)', () => {
  const exchanges = vectors<Exchange>('live_mit')
  test('all 54 are here', () => expect(new Set(exchanges.map(({ id }) => id)).size).toBe(54))

  for (const { id, request_b64, reply_b64, expected } of exchanges) {
    test(id, () => {
      expect(present(fieldsOf(base64(request_b64)))).toEqual(present(expected.request))
      expect(present(fieldsOf(base64(reply_b64)))).toEqual(present(expected.reply))
    })
  }
})

interface Wire {
  readonly id: string
  readonly octets_b64: string
  readonly tcp_length_prefix: boolean
  readonly expected: unknown
}

const foreign = process.env['SPNEGO_FOREIGN_VECTORS']
const wirePath = join(foreign ?? '', 'wire_messages.json')

/** X.690 §10.1: lengths in four octets, which no wire needs and DER forbids: refused, see `foreign.test.ts`. */
const NOT_DER = [
  'minikerberos-kirbi-0-30f54-0-0-40a10000-victim-cifs-fileserver-TEST-corp',
  'minikerberos-kirbi-0-30f54-0-1-40a50000-victim-LDAP-DCSERVER-TEST-corp',
  'minikerberos-kirbi-0-30f54-2-0-40e10000-victim-krbtgt-TEST-CORP',
  'minikerberos-kirbi-0-3e4-0-0-40a50000-VICTIM-cifs-DCSERVER-TEST-corp',
]

describe.skipIf(!existsSync(wirePath))('RFC 4120 §5: every field that others sent (wire_messages)', () => {
  if (!existsSync(wirePath)) return
  const { records } = JSON.parse(readFileSync(wirePath, 'utf8')) as { readonly records: readonly Wire[] }
  const readable = records.filter(({ id }) => !NOT_DER.includes(id))
  test('29 are read, 4 are not DER', () => expect([readable.length, records.length]).toEqual([29, 33]))

  for (const { id, octets_b64, tcp_length_prefix, expected } of readable) {
    test(id, () => {
      const octets = base64(octets_b64)
      // Two lie in a GSS frame, behind a TOK_ID (RFC 4121 §4.1).
      const inner = octets[0] === 0x60 ? decodeFrame(octets).inner.subarray(2) : octets
      expect(present(fieldsOf(tcp_length_prefix ? octets.subarray(4) : inner))).toEqual(present(expected))
    })
  }
})

interface RecordedKey {
  readonly etype: number
  readonly key_hex: string
}
interface Token {
  readonly from: string
  readonly token_b64: string
  readonly outer: {
    readonly spnego?: string
    readonly gss_mech?: string
    readonly bare?: string
    readonly mechTypes?: readonly string[]
    readonly mechTypes_der_hex?: string
    readonly negHints_hintName?: string
    readonly negState?: string
    readonly supportedMech?: string
    readonly mechListMIC_hex?: string
  }
  readonly mech_token?: { readonly mech: string | null; readonly tok_id: string | null }
  readonly ap_req?: {
    readonly ap_options: string
    readonly ticket: {
      readonly decrypted_with: RecordedKey & { readonly usage: number }
      readonly plaintext_hex: string
      readonly session_key: RecordedKey
      readonly authdata: readonly (readonly [number, string])[]
      readonly transited: readonly [number, string]
    } & Readonly<Record<string, unknown>>
    readonly authenticator: {
      readonly usage: number
      readonly plaintext_hex: string
      readonly ctime: string
      readonly cusec: number
      readonly seq: number
      readonly subkey: RecordedKey
      readonly crealm: string
      readonly cname: unknown
    }
  }
  readonly ap_rep?: {
    readonly plaintext_hex: string
    readonly ctime: string
    readonly cusec: number
    readonly seq: number
    readonly subkey?: RecordedKey | null
  }
  readonly krb_error?: unknown
}
interface Context {
  readonly id: string
  readonly tokens: readonly Token[]
  readonly context_key?: RecordedKey & { readonly which: string }
  readonly messages: readonly {
    readonly from: string
    readonly kind: 'wrap' | 'mic'
    readonly conf?: boolean
    readonly message_hex: string
    readonly token_hex: string
    readonly expected: {
      readonly confounder?: string
      readonly seq: number
      readonly acc_subkey?: boolean
      readonly flags?: number
    }
  }[]
}

const AES = [17, 18, 19, 20]
const STATES = ['accept-completed', 'accept-incomplete', 'reject', 'request-mic']
const contexts = vectors<Context>('live_gss')

/** The mechanism's own token within a recorded one, however it is dressed. */
function innerOf({ token_b64, outer }: Token): Uint8Array | undefined {
  const bytes = base64(token_b64)
  if (outer.bare !== undefined || outer.spnego === undefined) return bytes
  return bytes[0] === 0x60 ? decodeNegTokenInit(bytes).mechToken : decodeNegTokenResp(bytes).responseToken
}

/** Without a frame and its TOK_ID, where there is one. */
function messageOf(token: Token): Uint8Array {
  const inner = innerOf(token) ?? new Uint8Array(0)
  return inner[0] === 0x60 ? decodeFrame(inner).inner.subarray(2) : inner
}

/** The first element: des3 pads its plaintext with zeros (RFC 3961 §6.3). */
function trimmed(hex: string): Uint8Array {
  const bytes = hexBytes(hex)
  const long = bytes[1] === 0x82 ? 4 + (bytes[2] as number) * 256 + (bytes[3] as number) : 3 + (bytes[2] as number)
  return bytes.subarray(0, bytes[1] === 0x82 || bytes[1] === 0x81 ? long : 2 + (bytes[1] as number))
}

/** The plaintext as recorded, which must be what our key opens where we have the enctype. */
function opened(hex: string, key: RecordedKey, usage: number, cipher: Uint8Array): Uint8Array {
  if (AES.includes(key.etype)) expect(toHex(new Key(key.etype, hexBytes(key.key_hex)).decrypt(usage, cipher))).toBe(hex)
  return trimmed(hex)
}

const keyFields = ({ keytype, keyvalue }: { keytype: number; keyvalue: Uint8Array }) => {
  return { etype: keytype, key_hex: toHex(keyvalue) }
}

describe('RFC 4121 §4.1, RFC 4178 §4.2: every field of every token (live_gss)', () => {
  test('all 39 are here', () => expect(new Set(contexts.map(({ id }) => id)).size).toBe(39))

  for (const { id, tokens } of contexts) {
    test(id, () => {
      for (const token of tokens) {
        compareOuter(token)
        if (token.ap_req !== undefined) compareApReq(messageOf(token), token.ap_req)
        if (token.ap_rep !== undefined) compareApRep(token.ap_rep)
        if (token.krb_error !== undefined) {
          expect(present(fieldsOf(messageOf(token)))).toEqual(present(token.krb_error))
          expect(decodeKrbError(messageOf(token)).eData).toBeUndefined()
        }
      }
    })
  }
})

function compareOuter(token: Token): void {
  const { outer, mech_token } = token
  const bytes = base64(token.token_b64)
  if (outer.negHints_hintName !== undefined) {
    // MS-SPNG §2.2.1 NegTokenInit2: an acceptor that speaks first. It is refused, as an offer in place of an answer is (C29).
    expect(() => decodeNegTokenInit(bytes)).toThrow(MalformedError)
    return
  }
  if (outer.spnego === 'NegTokenInit') {
    const { mechTypes, rawMechTypes } = decodeNegTokenInit(bytes)
    expect({ mechTypes, mechTypes_der_hex: toHex(rawMechTypes) }).toEqual({
      mechTypes: outer.mechTypes,
      mechTypes_der_hex: outer.mechTypes_der_hex,
    })
  } else if (outer.spnego === 'NegTokenResp') {
    const { negState, supportedMech, mechListMic } = decodeNegTokenResp(bytes)
    expect({
      negState: negState === undefined ? undefined : STATES[negState],
      supportedMech,
      mic: mechListMic && toHex(mechListMic),
    }).toEqual({ negState: outer.negState, supportedMech: outer.supportedMech, mic: outer.mechListMIC_hex })
  }
  const inner = innerOf(token)
  if (inner?.[0] === 0x60 && mech_token !== undefined) {
    const frame = decodeFrame(inner)
    expect([frame.mechanism, toHex(frame.inner.subarray(0, 2))]).toEqual([mech_token.mech, mech_token.tok_id])
  }
}

function compareApReq(bytes: Uint8Array, expected: NonNullable<Token['ap_req']>): void {
  const { apOptions, ticket, authenticator } = decodeApReq(bytes)
  expect(flagFields(apOptions)).toBe(expected.ap_options)
  const { decrypted_with, plaintext_hex, ...clear } = expected.ticket
  const part = decodeEncTicketPart(opened(plaintext_hex, decrypted_with, KEY_USAGE.TICKET, ticket.encPart.cipher))
  const time = (value: number | undefined) => (value === undefined ? null : timeText(value))
  expect({
    flags: flagFields(part.flags),
    session_key: keyFields(part.key),
    crealm: part.crealm,
    cname: nameFields(part.cname),
    authtime: time(part.authtime),
    starttime: time(part.starttime),
    endtime: time(part.endtime),
    renew_till: time(part.renewTill),
    transited: [part.transited.type, new TextDecoder().decode(part.transited.contents)],
    authdata: (part.authorizationData ?? []).map(({ adType, adData }) => [adType, toHex(adData)]),
  }).toEqual({ ...clear, authdata: clear.authdata ?? [] })

  const { usage, plaintext_hex: plain, ctime, cusec, seq, subkey, crealm, cname } = expected.authenticator
  const sender = decodeAuthenticator(opened(plain, expected.ticket.session_key, usage, authenticator.cipher))
  expect({
    ctime: timeText(sender.ctime),
    cusec: sender.ctime % 1e6,
    seq: sender.seqNumber,
    subkey: sender.subkey && keyFields(sender.subkey),
    crealm: sender.crealm,
    cname: nameFields(sender.cname),
  }).toEqual({ ctime, cusec, seq, subkey, crealm, cname })
}

function compareApRep({ plaintext_hex, ctime, cusec, seq, subkey }: NonNullable<Token['ap_rep']>): void {
  const part = decodeEncApRepPart(trimmed(plaintext_hex))
  expect({
    ctime: timeText(part.ctime),
    cusec: part.ctime % 1e6,
    seq: part.seqNumber,
    subkey: part.subkey === undefined ? null : keyFields(part.subkey),
  }).toEqual({ ctime, cusec, seq, subkey: subkey ?? null })
}

/** Per-message tokens whose key has another enctype, or another style: no type of ours describes them. */
const NO_MESSAGES_OF_OURS: Readonly<Record<string, string>> = {
  'live-etype-only-spnego-arcfour-hmac': 'RFC 4757 tokens',
  'live-etype-only-krb5-camellia256-cts': 'camellia is not there',
  'live-etype-only-spnego-camellia256-cts': 'camellia is not there',
  'live-etype-only-spnego-camellia128-cts': 'camellia is not there',
  'live-etype-only-krb5-des3-cbc-sha1': 'RFC 1964 tokens of des3',
  'live-etype-only-spnego-des3-cbc-sha1': 'RFC 1964 tokens of des3',
  'live-krb5-dce-msgs': 'DCE style (MS-RPCE) rotates by other counts',
}

describe('RFC 4121 §4.2: the recorded number and confounder give MIT’s octets', () => {
  const talking = contexts.filter(({ messages }) => messages.length > 0)
  test('each context that says something is here, or has its reason', () => {
    const absent = talking.filter(({ context_key }) => !AES.includes(context_key?.etype ?? 0)).map(({ id }) => id)
    expect([...absent, 'live-krb5-dce-msgs'].sort()).toEqual(Object.keys(NO_MESSAGES_OF_OURS).sort())
  })

  for (const { id, messages, context_key } of talking.filter((one) => NO_MESSAGES_OF_OURS[one.id] === undefined)) {
    test(id, () => {
      for (const { from, kind, conf, message_hex, token_hex, expected } of messages) {
        const sender = new PerMessage({
          key: new Key(context_key?.etype ?? 0, hexBytes(context_key?.key_hex ?? '')),
          isAcceptor: from === 'acceptor',
          acceptorSubkey: context_key?.which === 'acceptor subkey',
          sendSequence: expected.seq,
          receiveSequence: 0,
          random: () => hexBytes(expected.confounder ?? ''),
        })
        const data = hexBytes(message_hex)
        expect(toHex(kind === 'mic' ? sender.getMic(data) : sender.wrap(data, conf === true))).toBe(token_hex)
      }
    })
  }
})
