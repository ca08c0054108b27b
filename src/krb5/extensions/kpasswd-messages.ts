import {
  encodeDer,
  field,
  kerberosString,
  octets,
  optionalField,
  readField,
  readKerberosString,
  readOctets,
  readOptionalField,
  readSequence,
  sequence,
} from '../../asn1/index.ts'
import { concat, uint16be } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import { Principal, type PrincipalName, readPrincipalName, writePrincipalName } from '../messages/index.ts'

/** The service that changes passwords (RFC 3244 §2). A ticket for it comes from the AS, so that a stolen login changes nothing. */
export function changePasswordService(realm: string): Principal {
  return new Principal(['kadmin', 'changepw'], realm)
}

/** RFC 3244 §2: a request whose data is a ChangePasswdData; and every reply, and a request whose data is the bare password (its expired draft). */
export const KPASSWD_VERSION = { SET: 0xff80, CHANGE: 1 } as const

/** RFC 3244 §2, result codes. */
export const KPASSWD_RESULT = {
  SUCCESS: 0,
  MALFORMED: 1,
  HARDERROR: 2,
  AUTHERROR: 3,
  SOFTERROR: 4,
  ACCESSDENIED: 5,
  BAD_VERSION: 6,
  INITIAL_FLAG_NEEDED: 7,
} as const

/** RFC 3244 §2: what a request and a reply share. Both lengths are of 16 bits. */
export interface KpasswdMessage {
  readonly version: number
  /** DER of the AP-REQ or AP-REP; empty in a reply that is an error. */
  readonly ap: Uint8Array
  /** DER of the KRB-PRIV, or in such a reply of the KRB-ERROR. */
  readonly rest: Uint8Array
}

export function decodeKpasswdMessage(bytes: Uint8Array): KpasswdMessage {
  const from = new ByteReader(bytes)
  const length = from.uint16('kpasswd: message length')
  if (length !== bytes.length) throw malformed(`kpasswd: message of ${bytes.length} octets says ${length}`)
  const version = from.uint16('kpasswd: protocol version')
  const ap = from.take(from.uint16('kpasswd: AP length'), 'kpasswd: AP message')
  return { version, ap, rest: from.rest() }
}

export function encodeKpasswdMessage({ version, ap, rest }: KpasswdMessage): Uint8Array {
  return concat(uint16be(6 + ap.length + rest.length), uint16be(version), uint16be(ap.length), ap, rest)
}

/**
 * RFC 3244 §2
 *
 *     ChangePasswdData ::= SEQUENCE {
 *       newpasswd [0] OCTET STRING,
 *       targname  [1] PrincipalName OPTIONAL,
 *       targrealm [2] Realm OPTIONAL }
 */
export interface ChangePasswdData {
  readonly newPassword: Uint8Array
  readonly targetName: PrincipalName | undefined
  readonly targetRealm: string | undefined
}

export function decodeChangePasswdData(bytes: Uint8Array): ChangePasswdData {
  const what = 'ChangePasswdData'
  const from = new ByteReader(bytes)
  const body = readSequence(from, what)
  const newPassword = readField(body, 0, readOctets, 'ChangePasswdData.newpasswd')
  const targetName = readOptionalField(body, 1, readPrincipalName, 'ChangePasswdData.targname')
  const targetRealm = readOptionalField(body, 2, readKerberosString, 'ChangePasswdData.targrealm')
  body.end(what)
  from.end(what)
  return { newPassword, targetName, targetRealm }
}

export function encodeChangePasswdData(value: ChangePasswdData): Uint8Array {
  return encodeDer(
    sequence(
      field(0, octets(value.newPassword)),
      optionalField(1, value.targetName, writePrincipalName),
      optionalField(2, value.targetRealm, kerberosString),
    ),
  )
}

/** RFC 3244 §2: a number and a text for the user. */
export interface KpasswdResult {
  readonly code: number
  /** UTF-8 text, or what Windows sends instead (`describePolicy`). */
  readonly text: Uint8Array
}

export function decodeKpasswdResult(bytes: Uint8Array): KpasswdResult {
  const from = new ByteReader(bytes)
  return { code: from.uint16('kpasswd: result code'), text: from.rest() }
}

export function encodeKpasswdResult({ code, text }: KpasswdResult): Uint8Array {
  return concat(uint16be(code), text)
}
