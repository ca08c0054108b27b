import { enctype, isSupportedEnctype } from '../../../src/crypto/index.ts'
import { hex } from './vectors.ts'

/** The parts of `live_mit.json` and `live_gss.json` that concern keys. */
export interface KeyRecord {
  readonly etype: number
  readonly key_hex: string
}

export interface Plain {
  readonly plaintext_hex: string
}

type WithOwnKey = Plain & KeyRecord & { readonly usage: number }

export interface ApReq {
  readonly ticket: Plain & {
    readonly decrypted_with: KeyRecord & { readonly usage: number }
    readonly session_key: KeyRecord
  }
  readonly authenticator?: Plain & { readonly usage: number; readonly subkey: KeyRecord }
  readonly delegated_krb_cred?: Plain & {
    readonly enc_part_etype: number
    readonly decrypted_with: { readonly key_hex: string; readonly usage: number }
  }
}

export interface Exchange {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly expected: { readonly reply: { readonly enc_part?: { readonly etype: number } } }
  readonly decrypted: {
    readonly ticket?: ApReq['ticket']
    readonly pa_enc_timestamp?: WithOwnKey
    readonly encrypted_challenge?: WithOwnKey
    readonly kdc_challenge?: WithOwnKey
    readonly enc_part?: Plain & { readonly decrypted_with: { readonly key_hex: string; readonly usage: number } }
    readonly pa_tgs_req?: ApReq
    readonly fast_request?: {
      readonly armor_key: KeyRecord & { readonly derivation: string }
      readonly armor?: { readonly ap_req: ApReq }
      readonly krb_fast_req: Plain & { readonly usage: number }
    }
    readonly fast_response?: Plain & { readonly usage: number }
  }
}

export interface Context {
  readonly id: string
  readonly context_key?: KeyRecord
  readonly tokens: readonly {
    readonly token_b64: string
    readonly ap_req?: ApReq
    readonly ap_rep?: Plain & { readonly usage: number }
  }[]
  readonly messages: readonly {
    readonly from: 'initiator' | 'acceptor'
    readonly kind: string
    readonly message_hex: string
    readonly token_hex: string
  }[]
}

/** One encrypted part: the key that opens it, its usage, and what is inside. */
export interface Opened {
  readonly what: string
  readonly etype: number
  readonly key: Uint8Array
  readonly usage: number
  readonly plaintext: Uint8Array
}

export function openedOfExchange({ expected, decrypted }: Exchange): Opened[] {
  const { ticket, enc_part, pa_tgs_req, fast_request, fast_response } = decrypted
  const found: Opened[] = []
  if (ticket) found.push(opened('ticket', ticket.decrypted_with, ticket))
  if (enc_part) {
    const etype = expected.reply.enc_part?.etype ?? 0
    found.push(opened('enc-part', { ...enc_part.decrypted_with, etype }, enc_part))
  }
  for (const name of ['pa_enc_timestamp', 'encrypted_challenge', 'kdc_challenge'] as const) {
    const part = decrypted[name]
    if (part) found.push(opened(name, part, part))
  }
  if (pa_tgs_req) found.push(...openedOfApReq('PA-TGS-REQ', pa_tgs_req))
  if (fast_request) {
    const { armor_key, armor, krb_fast_req } = fast_request
    found.push(opened('KrbFastReq', { ...armor_key, usage: krb_fast_req.usage }, krb_fast_req))
    if (armor) found.push(...openedOfApReq('armor', armor.ap_req))
    if (fast_response)
      found.push(opened('KrbFastResponse', { ...armor_key, usage: fast_response.usage }, fast_response))
  }
  return found
}

export function openedOfContext({ tokens }: Context): Opened[] {
  const session = tokens.find((token) => token.ap_req)?.ap_req?.ticket.session_key
  return tokens.flatMap(({ ap_req, ap_rep }) => {
    if (ap_req) return openedOfApReq('AP-REQ', ap_req)
    return ap_rep && session ? [opened('AP-REP', { ...session, usage: ap_rep.usage }, ap_rep)] : []
  })
}

function openedOfApReq(what: string, { ticket, authenticator, delegated_krb_cred: cred }: ApReq): Opened[] {
  const found = [opened(`${what} ticket`, ticket.decrypted_with, ticket)]
  if (authenticator) {
    const key = { ...ticket.session_key, usage: authenticator.usage }
    found.push(opened(`${what} authenticator`, key, authenticator))
  }
  if (cred) found.push(opened(`${what} KRB-CRED`, { ...cred.decrypted_with, etype: cred.enc_part_etype }, cred))
  return found
}

function opened(what: string, key: KeyRecord & { readonly usage: number }, { plaintext_hex }: Plain): Opened {
  return { what, etype: key.etype, key: hex(key.key_hex), usage: key.usage, plaintext: hex(plaintext_hex) }
}

/** How many parts a record holds in all, so that none is overlooked. */
export function countPlaintexts(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const inside = Object.values(value).reduce((sum: number, part: unknown) => sum + countPlaintexts(part), 0)
  return inside + ('plaintext_hex' in value ? 1 : 0)
}

/** Every OCTET STRING in `message` that is as long as the encrypted part must be. */
export function* ciphertextsFor({ etype, plaintext }: Opened, message: Uint8Array): Generator<Uint8Array> {
  if (!isSupportedEnctype(etype)) return
  const length = 16 + plaintext.length + enctype(etype).macBytes
  const header = octetStringHeader(length)
  for (let at = 0; at + header.length + length <= message.length; at++) {
    if (header.every((byte, i) => message[at + i] === byte))
      yield message.subarray(at + header.length, at + header.length + length)
  }
}

function octetStringHeader(length: number): readonly number[] {
  if (length < 0x80) return [0x04, length]
  return length < 0x100 ? [0x04, 0x81, length] : [0x04, 0x82, length >> 8, length & 0xff]
}
