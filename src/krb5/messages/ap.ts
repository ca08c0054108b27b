import {
  application,
  encodeDer,
  field,
  int32,
  kerberosFlags,
  kerberosString,
  kerberosTime,
  optionalField,
  readElement,
  readField,
  readInt32,
  readKerberosFlags,
  readKerberosTime,
  readOptionalField,
  readSequence,
  readUInt32,
  sequence,
  TAG,
  uint32,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import {
  type AuthorizationData,
  type Checksum,
  type EncryptedData,
  type EncryptionKey,
  type PrincipalName,
  readAuthorizationData,
  readChecksum,
  readEncryptedData,
  readEncryptionKey,
  readMessageHead,
  readMicroseconds,
  readPrincipalName,
  readRealm,
  writeAuthorizationData,
  writeChecksum,
  writeEncryptedData,
  writeEncryptionKey,
  writePrincipalName,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'
import { readTicket, type Ticket } from './ticket.ts'

/**
 * RFC 4120 §5.5.1
 *
 *     AP-REQ ::= [APPLICATION 14] SEQUENCE {
 *       pvno          [0] INTEGER (5),
 *       msg-type      [1] INTEGER (14),
 *       ap-options    [2] APOptions,
 *       ticket        [3] Ticket,
 *       authenticator [4] EncryptedData -- Authenticator -- }
 */
export interface ApReq {
  readonly apOptions: number
  readonly ticket: Ticket
  readonly authenticator: EncryptedData
}

export function decodeApReq(bytes: Uint8Array): ApReq {
  const what = 'AP-REQ'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.AP_REQ, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, MESSAGE.AP_REQ, what)
  const apOptions = readField(body, 2, readKerberosFlags, 'AP-REQ.ap-options')
  const ticket = readField(body, 3, readTicket, 'AP-REQ.ticket')
  const authenticator = readField(body, 4, readEncryptedData, 'AP-REQ.authenticator')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { apOptions, ticket, authenticator }
}

export function encodeApReq(value: Omit<ApReq, 'ticket'> & { readonly ticket: Pick<Ticket, 'raw'> }): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.AP_REQ,
      sequence(
        field(0, int32(PVNO)),
        field(1, int32(MESSAGE.AP_REQ)),
        field(2, kerberosFlags(value.apOptions)),
        field(3, value.ticket.raw),
        field(4, writeEncryptedData(value.authenticator)),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.5.1
 *
 *     Authenticator ::= [APPLICATION 2] SEQUENCE {
 *       authenticator-vno  [0] INTEGER (5),
 *       crealm             [1] Realm,
 *       cname              [2] PrincipalName,
 *       cksum              [3] Checksum OPTIONAL,
 *       cusec              [4] Microseconds,
 *       ctime              [5] KerberosTime,
 *       subkey             [6] EncryptionKey OPTIONAL,
 *       seq-number         [7] UInt32 OPTIONAL,
 *       authorization-data [8] AuthorizationData OPTIONAL }
 */
export interface Authenticator {
  readonly crealm: string
  readonly cname: PrincipalName
  readonly cksum: Checksum | undefined
  /** `ctime` and `cusec` as one: microseconds since 1970. */
  readonly ctime: number
  readonly subkey: EncryptionKey | undefined
  readonly seqNumber: number | undefined
  readonly authorizationData: AuthorizationData | undefined
}

export function decodeAuthenticator(bytes: Uint8Array): Authenticator {
  const what = 'Authenticator'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.AUTHENTICATOR, what)
  const body = readSequence(outer, what)
  const version = readField(body, 0, readInt32, 'Authenticator.authenticator-vno')
  if (version !== PVNO) throw malformed(`${what}: version ${version}`)
  const crealm = readField(body, 1, readRealm, 'Authenticator.crealm')
  const cname = readField(body, 2, readPrincipalName, 'Authenticator.cname')
  const cksum = readOptionalField(body, 3, readChecksum, 'Authenticator.cksum')
  const cusec = readField(body, 4, readMicroseconds, 'Authenticator.cusec')
  const ctime = readField(body, 5, readKerberosTime, 'Authenticator.ctime') + cusec
  const subkey = readOptionalField(body, 6, readEncryptionKey, 'Authenticator.subkey')
  const seqNumber = readOptionalField(body, 7, readUInt32, 'Authenticator.seq-number')
  const authorizationData = readOptionalField(body, 8, readAuthorizationData, 'Authenticator.authorization-data')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { crealm, cname, cksum, ctime, subkey, seqNumber, authorizationData }
}

export function encodeAuthenticator(value: Authenticator): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.AUTHENTICATOR,
      sequence(
        field(0, int32(PVNO)),
        field(1, kerberosString(value.crealm)),
        field(2, writePrincipalName(value.cname)),
        optionalField(3, value.cksum, writeChecksum),
        field(4, int32(value.ctime % 1_000_000)),
        field(5, kerberosTime(value.ctime)),
        optionalField(6, value.subkey, writeEncryptionKey),
        optionalField(7, value.seqNumber, uint32),
        optionalField(8, value.authorizationData, writeAuthorizationData),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.5.2
 *
 *     AP-REP ::= [APPLICATION 15] SEQUENCE {
 *       pvno     [0] INTEGER (5),
 *       msg-type [1] INTEGER (15),
 *       enc-part [2] EncryptedData -- EncAPRepPart -- }
 */
export interface ApRep {
  readonly encPart: EncryptedData
}

export function decodeApRep(bytes: Uint8Array): ApRep {
  const what = 'AP-REP'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.AP_REP, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, MESSAGE.AP_REP, what)
  const encPart = readField(body, 2, readEncryptedData, 'AP-REP.enc-part')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { encPart }
}

export function encodeApRep(value: ApRep): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.AP_REP,
      sequence(field(0, int32(PVNO)), field(1, int32(MESSAGE.AP_REP)), field(2, writeEncryptedData(value.encPart))),
    ),
  )
}

/**
 * RFC 4120 §5.5.2
 *
 *     EncAPRepPart ::= [APPLICATION 27] SEQUENCE {
 *       ctime      [0] KerberosTime,
 *       cusec      [1] Microseconds,
 *       subkey     [2] EncryptionKey OPTIONAL,
 *       seq-number [3] UInt32 OPTIONAL }
 */
export interface EncApRepPart {
  /** `ctime` and `cusec` as one: microseconds since 1970. */
  readonly ctime: number
  readonly subkey: EncryptionKey | undefined
  readonly seqNumber: number | undefined
}

export function decodeEncApRepPart(bytes: Uint8Array): EncApRepPart {
  const what = 'EncAPRepPart'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.ENC_AP_REP_PART, what)
  const body = readSequence(outer, what)
  const seconds = readField(body, 0, readKerberosTime, 'EncAPRepPart.ctime')
  const ctime = seconds + readField(body, 1, readMicroseconds, 'EncAPRepPart.cusec')
  const subkey = readOptionalField(body, 2, readEncryptionKey, 'EncAPRepPart.subkey')
  const seqNumber = readOptionalField(body, 3, readUInt32, 'EncAPRepPart.seq-number')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { ctime, subkey, seqNumber }
}

export function encodeEncApRepPart(value: EncApRepPart): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.ENC_AP_REP_PART,
      sequence(
        field(0, kerberosTime(value.ctime)),
        field(1, int32(value.ctime % 1_000_000)),
        optionalField(2, value.subkey, writeEncryptionKey),
        optionalField(3, value.seqNumber, uint32),
      ),
    ),
  )
}
