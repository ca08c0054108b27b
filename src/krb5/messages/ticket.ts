import {
  application,
  encodeDer,
  field,
  int32,
  kerberosFlags,
  kerberosString,
  kerberosTime,
  octets,
  optionalField,
  readElement,
  readField,
  readInt32,
  readKerberosFlags,
  readKerberosTime,
  readOctets,
  readOptionalField,
  readRaw,
  readSequence,
  readWhole,
  sequence,
  TAG,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import {
  type AuthorizationData,
  type EncryptedData,
  type EncryptionKey,
  type HostAddress,
  type PrincipalName,
  readAuthorizationData,
  readEncryptedData,
  readEncryptionKey,
  readHostAddresses,
  readPrincipalName,
  readRealm,
  writeAuthorizationData,
  writeEncryptedData,
  writeEncryptionKey,
  writeHostAddresses,
  writePrincipalName,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'

/**
 * RFC 4120 §5.3
 *
 *     Ticket ::= [APPLICATION 1] SEQUENCE {
 *       tkt-vno  [0] INTEGER (5),
 *       realm    [1] Realm,
 *       sname    [2] PrincipalName,
 *       enc-part [3] EncryptedData -- EncTicketPart -- }
 */
export interface Ticket {
  readonly realm: string
  readonly sname: PrincipalName
  readonly encPart: EncryptedData
  /** The octets as they came: a ticket is handed on, never encoded again. */
  readonly raw: Uint8Array
}

export function readTicket(from: ByteReader, what: string): Ticket {
  const raw = readRaw(from, what)
  const outer = readElement(new ByteReader(raw), TAG.APPLICATION | MESSAGE.TICKET, what)
  const body = readSequence(outer, what)
  const version = readField(body, 0, readInt32, `${what}.tkt-vno`)
  if (version !== PVNO) throw malformed(`${what}: ticket version ${version}`)
  const realm = readField(body, 1, readRealm, `${what}.realm`)
  const sname = readField(body, 2, readPrincipalName, `${what}.sname`)
  const encPart = readField(body, 3, readEncryptedData, `${what}.enc-part`)
  body.end(what)
  outer.end(what)
  return { realm, sname, encPart, raw }
}

export function decodeTicket(bytes: Uint8Array): Ticket {
  return readWhole(new ByteReader(bytes), readTicket, 'Ticket')
}

export function encodeTicket(value: Omit<Ticket, 'raw'>): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.TICKET,
      sequence(
        field(0, int32(PVNO)),
        field(1, kerberosString(value.realm)),
        field(2, writePrincipalName(value.sname)),
        field(3, writeEncryptedData(value.encPart)),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.3
 *
 *     TransitedEncoding ::= SEQUENCE {
 *       tr-type  [0] Int32,
 *       contents [1] OCTET STRING }
 */
export interface TransitedEncoding {
  readonly type: number
  readonly contents: Uint8Array
}

function readTransitedEncoding(from: ByteReader, what: string): TransitedEncoding {
  const body = readSequence(from, what)
  const type = readField(body, 0, readInt32, `${what}.tr-type`)
  const contents = readField(body, 1, readOctets, `${what}.contents`)
  body.end(what)
  return { type, contents }
}

/**
 * RFC 4120 §5.3
 *
 *     EncTicketPart ::= [APPLICATION 3] SEQUENCE {
 *       flags              [0] TicketFlags,
 *       key                [1] EncryptionKey,
 *       crealm             [2] Realm,
 *       cname              [3] PrincipalName,
 *       transited          [4] TransitedEncoding,
 *       authtime           [5] KerberosTime,
 *       starttime          [6] KerberosTime OPTIONAL,
 *       endtime            [7] KerberosTime,
 *       renew-till         [8] KerberosTime OPTIONAL,
 *       caddr              [9] HostAddresses OPTIONAL,
 *       authorization-data [10] AuthorizationData OPTIONAL }
 */
export interface EncTicketPart {
  readonly flags: number
  readonly key: EncryptionKey
  readonly crealm: string
  readonly cname: PrincipalName
  readonly transited: TransitedEncoding
  readonly authtime: number
  readonly starttime: number | undefined
  readonly endtime: number
  readonly renewTill: number | undefined
  readonly caddr: readonly HostAddress[] | undefined
  readonly authorizationData: AuthorizationData | undefined
}

export function decodeEncTicketPart(bytes: Uint8Array): EncTicketPart {
  const what = 'EncTicketPart'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.ENC_TICKET_PART, what)
  const body = readSequence(outer, what)
  const flags = readField(body, 0, readKerberosFlags, 'EncTicketPart.flags')
  const key = readField(body, 1, readEncryptionKey, 'EncTicketPart.key')
  const crealm = readField(body, 2, readRealm, 'EncTicketPart.crealm')
  const cname = readField(body, 3, readPrincipalName, 'EncTicketPart.cname')
  const transited = readField(body, 4, readTransitedEncoding, 'EncTicketPart.transited')
  const authtime = readField(body, 5, readKerberosTime, 'EncTicketPart.authtime')
  const starttime = readOptionalField(body, 6, readKerberosTime, 'EncTicketPart.starttime')
  const endtime = readField(body, 7, readKerberosTime, 'EncTicketPart.endtime')
  const renewTill = readOptionalField(body, 8, readKerberosTime, 'EncTicketPart.renew-till')
  const caddr = readOptionalField(body, 9, readHostAddresses, 'EncTicketPart.caddr')
  const authorizationData = readOptionalField(body, 10, readAuthorizationData, 'EncTicketPart.authorization-data')
  body.end(what)
  outer.end(what)
  from.end(what)
  return {
    flags,
    key,
    crealm,
    cname,
    transited,
    authtime,
    starttime,
    endtime,
    renewTill,
    caddr,
    authorizationData,
  }
}

export function encodeEncTicketPart(value: EncTicketPart): Uint8Array {
  const { transited } = value
  return encodeDer(
    application(
      MESSAGE.ENC_TICKET_PART,
      sequence(
        field(0, kerberosFlags(value.flags)),
        field(1, writeEncryptionKey(value.key)),
        field(2, kerberosString(value.crealm)),
        field(3, writePrincipalName(value.cname)),
        field(4, sequence(field(0, int32(transited.type)), field(1, octets(transited.contents)))),
        field(5, kerberosTime(value.authtime)),
        optionalField(6, value.starttime, kerberosTime),
        field(7, kerberosTime(value.endtime)),
        optionalField(8, value.renewTill, kerberosTime),
        optionalField(9, value.caddr, writeHostAddresses),
        optionalField(10, value.authorizationData, writeAuthorizationData),
      ),
    ),
  )
}
