import { Key } from '../../src/crypto/index.ts'
import { Keytab, KeytabEntry } from '../../src/krb5/formats/index.ts'
import { Principal } from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'

interface RecordedKey {
  readonly etype: number
  readonly key_hex: string
}

interface RecordedTime {
  readonly ctime: string
  readonly cusec: number
}

export interface RecordedApReq {
  readonly ap_options: string
  readonly ticket: {
    readonly decrypted_with: RecordedKey & { readonly principal: string }
    readonly session_key: RecordedKey
    readonly crealm: string
    readonly cname: { readonly name: readonly string[] }
  }
  readonly authenticator: RecordedTime & { readonly seq: number; readonly subkey: RecordedKey }
  readonly gss_checksum: { readonly flags: string }
}

export interface RecordedToken {
  readonly from: 'initiator' | 'acceptor' | 'error'
  readonly token_b64: string
  readonly outer: {
    readonly negState?: string
    readonly supportedMech?: string
    readonly gss_mech?: string
    readonly mechListMIC_hex?: string
  }
  readonly ap_req?: RecordedApReq
  readonly ap_rep?: RecordedTime & { readonly seq: number; readonly subkey?: RecordedKey }
  readonly krb_error?: { readonly error_code: number }
}

/** One context of `live_gss.json`, made by MIT krb5 on both sides. */
export interface RecordedContext {
  readonly id: string
  readonly actual_flags?: number
  readonly channel_bindings?: { readonly application_data_hex: string }
  readonly mech_list_der_hex?: string
  readonly context_key?: RecordedKey & { readonly which: 'acceptor subkey' | 'initiator subkey' }
  readonly tokens: readonly RecordedToken[]
  readonly messages: readonly {
    readonly from: 'initiator' | 'acceptor'
    readonly kind: 'wrap' | 'mic'
    readonly conf?: boolean
    readonly message_hex: string
    readonly token_hex: string
  }[]
}

export const contexts: readonly RecordedContext[] = vectors<RecordedContext>('live_gss')

export function context(id: string): RecordedContext {
  const found = contexts.find((one) => one.id === id)
  if (found === undefined) throw new Error(`there is no recording ${id}`)
  return found
}

export function bytesOf({ token_b64 }: Pick<RecordedToken, 'token_b64'>): Uint8Array {
  return base64(token_b64)
}

export function hexBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

export function keyOf({ etype, key_hex }: RecordedKey): Key {
  return new Key(etype, hexBytes(key_hex))
}

export function apReqOf({ tokens }: RecordedContext): RecordedApReq | undefined {
  return tokens.find((token) => token.ap_req !== undefined)?.ap_req
}

/** Microseconds. */
export function timeOf({ ctime, cusec }: RecordedTime): number {
  return secondsOf(ctime) + cusec
}

/** `20261122140416Z`, in microseconds. */
export function secondsOf(text: string): number {
  const [year, month, day, hour, minute, second] = (/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [])
    .slice(1)
    .map(Number) as [number, number, number, number, number, number]
  return Date.UTC(year, month - 1, day, hour, minute, second) * 1000
}

/** The service's key, as the recording's keytab had it. */
export function keytabOf({ ticket }: RecordedApReq): Keytab {
  const { principal, etype, key_hex } = ticket.decrypted_with
  const entry = { principal: Principal.parse(principal), kvno: 1, enctype: etype, key: hexBytes(key_hex) }
  return Keytab.of([new KeytabEntry(entry)])
}
