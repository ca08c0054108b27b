import { CONFOUNDER_BYTES, type Key } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import {
  AP_OPTION,
  type AuthorizationData,
  type Checksum,
  decodeApRep,
  decodeEncApRepPart,
  type EncApRepPart,
  encodeApReq,
  encodeAuthenticator,
  KEY_USAGE,
} from '../messages/index.ts'
import type { Credential } from './credential.ts'
import type { Source } from './effects.ts'
import { keyFromWire } from './key-from-wire.ts'

export interface ApRequest {
  readonly credential: Credential
  readonly mutual: boolean
  readonly checksum: Checksum | undefined
  readonly subkey: Key | undefined
  readonly seqNumber: number | undefined
  readonly authorizationData?: AuthorizationData | undefined
  readonly source: Source
}

/** What the initiator must remember to check the answer. */
export interface SentApReq {
  /** Of the authenticator, microseconds since 1970: the AP-REP must give it back. */
  readonly ctime: number
}

/** The AP-REQ (RFC 4120 §3.2.2): the ticket, and a fresh authenticator under its session key. */
export function makeApReq(request: ApRequest): { readonly message: Uint8Array; readonly sent: SentApReq } {
  const { credential, mutual, source, subkey } = request
  const key = credential.sessionKey
  const ctime = source.now() + credential.clockOffset
  const plain = encodeAuthenticator({
    crealm: credential.client.realm,
    cname: credential.client,
    cksum: request.checksum,
    ctime,
    subkey: subkey === undefined ? undefined : { keytype: subkey.enctype, keyvalue: subkey.toBytes() },
    seqNumber: request.seqNumber,
    authorizationData: request.authorizationData,
  })
  const cipher = key.encrypt(KEY_USAGE.AP_REQ_AUTHENTICATOR, plain, source.random(CONFOUNDER_BYTES))
  const message = encodeApReq({
    apOptions: mutual ? AP_OPTION.MUTUAL_REQUIRED : 0,
    ticket: credential.ticket,
    authenticator: { etype: key.enctype, kvno: undefined, cipher },
  })
  return { message, sent: { ctime } }
}

export interface VerifiedApRep {
  readonly subkey: Key | undefined
  readonly seqNumber: number | undefined
}

/** The AP-REP (RFC 4120 §3.2.5): only who opened the ticket can give our time back under the session key. */
export function verifyApRep(
  bytes: Uint8Array,
  sent: SentApReq,
  sessionKey: Key,
  enctypes: readonly number[],
): VerifiedApRep {
  const { encPart } = decodeApRep(bytes)
  if (encPart.etype !== sessionKey.enctype) throw wrongReply('it uses another enctype than the session key') // check: C23
  const part: EncApRepPart = decodeEncApRepPart(sessionKey.decrypt(KEY_USAGE.AP_REP, encPart.cipher))
  if (part.ctime !== sent.ctime) throw wrongReply('it answers another request') // check: C22
  const { subkey, seqNumber } = part
  if (subkey === undefined) return { subkey: undefined, seqNumber }
  if (!enctypes.includes(subkey.keytype)) throw wrongReply('its subkey has an enctype that is not permitted') // check: C23
  return { subkey: keyFromWire(subkey, 'EncAPRepPart.subkey'), seqNumber }
}

function wrongReply(why: string): VerificationError {
  return new VerificationError('REPLY_MISMATCH', `the server’s AP-REP proves nothing: ${why}`)
}
