import { ByteReader } from '../../bytes/reader.ts'
import { quote } from '../../bytes/text.ts'
import { CONFOUNDER_BYTES, DEFAULT_ENCTYPES, type Key } from '../../crypto/index.ts'
import { CredentialError, VerificationError } from '../../errors.ts'
import {
  type Credential,
  kdcRefused,
  makeApReq,
  newSubkey,
  random31,
  type SentApReq,
  type Source,
  verifyApRep,
} from '../exchange/index.ts'
import {
  ADDRESS_TYPE,
  decodeEncKrbPrivPart,
  decodeKrbError,
  decodeKrbPriv,
  encodeEncKrbPrivPart,
  encodeKrbPriv,
  KEY_USAGE,
  MESSAGE,
} from '../messages/index.ts'
import {
  decodeKpasswdMessage,
  decodeKpasswdResult,
  encodeKpasswdMessage,
  KPASSWD_RESULT,
  KPASSWD_VERSION,
  type KpasswdResult,
} from './kpasswd-messages.ts'

export interface ChangePasswordRequest {
  /** For `changePasswordService`. */
  readonly credential: Credential
  readonly newPassword: Uint8Array
  /** 4 or 16 octets: a KRB-PRIV names its sender (RFC 4120 §5.7.1). */
  readonly senderAddress: Uint8Array
  readonly source: Source
}

/** What must be remembered to read the answer. */
export interface SentChangePassword {
  readonly message: Uint8Array
  readonly sentApReq: SentApReq
  readonly subkey: Key
}

/**
 * RFC 3244 §2: an AP-REQ with a subkey, and under it a KRB-PRIV with the new password. The bare password of the first version of the protocol, which
 * every server takes: MIT's wants a target in the second, where Windows takes a target for an administrator's reset.
 */
export function makeChangePassword(request: ChangePasswordRequest): SentChangePassword {
  const { credential, newPassword, senderAddress, source } = request
  const subkey = newSubkey(credential.sessionKey.enctype, source)
  const seqNumber = random31(source)
  const { message: ap, sent: sentApReq } = makeApReq({
    credential,
    mutual: true,
    checksum: undefined,
    subkey,
    seqNumber,
    source,
  })
  const plain = encodeEncKrbPrivPart({
    userData: newPassword,
    timestamp: undefined,
    seqNumber,
    senderAddress: {
      addressType: senderAddress.length === 4 ? ADDRESS_TYPE.IPV4 : ADDRESS_TYPE.IPV6,
      address: senderAddress,
    },
    recipientAddress: undefined,
  })
  const cipher = subkey.encrypt(KEY_USAGE.KRB_PRIV, plain, source.random(CONFOUNDER_BYTES))
  plain.fill(0)
  const rest = encodeKrbPriv({ encPart: { etype: subkey.enctype, kvno: undefined, cipher } })
  const message = encodeKpasswdMessage({ version: KPASSWD_VERSION.CHANGE, ap, rest })
  return { message, sentApReq, subkey }
}

/** Whether octets have the form of an answer (RFC 3244 §2); a bare KRB-ERROR is one too, as some servers send. */
export function isKpasswdReply(bytes: Uint8Array): boolean {
  try {
    if (bytes[0] === (0x60 | MESSAGE.KRB_ERROR)) decodeKrbError(bytes)
    else decodeKpasswdMessage(bytes)
    return true
  } catch {
    return false
  }
}

/**
 * Reads the answer: returns when the password is changed.
 *
 * @throws {CredentialError} `PASSWORD_REFUSED` by the realm's rules, `PASSWORD_CHANGE_FAILED` for another reason
 * @throws {VerificationError} `REPLY_MISMATCH`, `INTEGRITY_FAILED`
 * @throws {KdcError} when the server refused the request itself
 */
export function verifyChangePasswordReply(
  bytes: Uint8Array,
  sent: SentChangePassword,
  credential: Credential,
  now: number,
): void {
  if (bytes[0] === (0x60 | MESSAGE.KRB_ERROR)) throw refused(bytes, now)
  const { ap, rest } = decodeKpasswdMessage(bytes)
  if (ap.length === 0) throw refused(rest, now)
  const { sessionKey } = credential
  const reply = verifyApRep(ap, sent.sentApReq, sessionKey, DEFAULT_ENCTYPES)
  // Under the subkey of our AP-REQ, whatever key the AP-REP asserts (RFC 3244 §2, reply).
  const key = sent.subkey
  const { encPart } = decodeKrbPriv(rest)
  if (encPart.etype !== key.enctype) throw mismatch('it uses another enctype than its key')
  const part = decodeEncKrbPrivPart(key.decrypt(KEY_USAGE.KRB_PRIV, encPart.cipher))
  // RFC 4120 §3.5.2. Else our own message would do, sent back: it is under the same key.
  if (part.seqNumber !== reply.seqNumber) throw mismatch('its sequence number is not the server’s') // check: C22
  const result = decodeKpasswdResult(part.userData)
  if (result.code !== KPASSWD_RESULT.SUCCESS) throw notChanged(result)
}

/** A KRB-ERROR is not authenticated: it explains, and changes nothing. Its data may hold a result (RFC 3244 §2). */
function refused(bytes: Uint8Array, now: number): Error {
  const error = decodeKrbError(bytes)
  const { eData } = error
  if (eData !== undefined && eData.length >= 2) {
    const result = decodeKpasswdResult(eData)
    if (result.code !== KPASSWD_RESULT.SUCCESS) return notChanged(result)
  }
  return kdcRefused(error, 'to change the password', now)
}

function notChanged({ code, text }: KpasswdResult): CredentialError {
  const said = describePolicy(text) ?? textOf(text)
  const why = said === '' ? '' : `: ${said}`
  if (code === KPASSWD_RESULT.SOFTERROR) {
    return new CredentialError('PASSWORD_REFUSED', `the realm does not take the new password${why}`, {
      hint: 'Choose another: longer, with other kinds of characters, and none that was used before.',
    })
  }
  const name = Object.entries(KPASSWD_RESULT).find(([, number]) => number === code)?.[0] ?? `result ${code}`
  return new CredentialError('PASSWORD_CHANGE_FAILED', `the password was not changed (${name})${why}`, {
    hint: 'The old password still counts. Ask the administrator whether this account may change its password.',
  })
}

function textOf(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes).replace(/\0+$/, '').trim()
  return text === '' ? '' : quote(text)
}

/** Octets of the policy that Windows sends in place of a text. */
const POLICY_BYTES = 30
/** Of its properties: DOMAIN_PASSWORD_COMPLEX (MS-SAMR §2.2.3.9). */
const COMPLEX = 1
/** Its times count 100 ns. */
const DAY = 864_000_000_000n

/** Two octets of zero, least length, history, properties, greatest and least age. Undefined for what is not that. */
export function describePolicy(bytes: Uint8Array): string | undefined {
  if (bytes.length !== POLICY_BYTES || bytes[0] !== 0 || bytes[1] !== 0) return undefined
  const from = new ByteReader(bytes.subarray(2))
  const [length, history, properties] = [from.uint32('length'), from.uint32('history'), from.uint32('properties')]
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const leastDays = view.getBigUint64(22) / DAY
  const rules = [
    length > 0 ? `at least ${length} characters` : '',
    history > 0 ? `none of the last ${history}` : '',
    (properties & COMPLEX) !== 0 ? 'letters of both cases, digits and signs' : '',
    leastDays > 0n ? `not before ${leastDays} days` : '',
  ].filter((rule) => rule !== '')
  return rules.length === 0 ? 'by its policy' : rules.join(', ')
}

function mismatch(why: string): VerificationError {
  return new VerificationError('REPLY_MISMATCH', `the answer of the password service proves nothing: ${why}`)
}
