import {
  application,
  type Der,
  encodeDer,
  field,
  int32,
  kerberosFlags,
  kerberosString,
  kerberosTime,
  optionalField,
  readElement,
  readField,
  readKerberosFlags,
  readKerberosTime,
  readOptionalField,
  readSequence,
  readSequenceOf,
  readUInt32,
  sequence,
  sequenceOf,
  TAG,
  uint32,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import {
  type EncryptedData,
  type EncryptionKey,
  type HostAddress,
  type PrincipalName,
  readEncryptedData,
  readEncryptionKey,
  readHostAddress,
  readHostAddresses,
  readMessageHead,
  readMicroseconds,
  readPrincipalName,
  readRealm,
  writeEncryptedData,
  writeEncryptionKey,
  writeHostAddress,
  writeHostAddresses,
  writePrincipalName,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'
import { readTicket, type Ticket } from './ticket.ts'

/** Most tickets of one KRB-CRED. A forwarded login is one; a peer may send service tickets along. */
const MAX_TICKETS = 16

/**
 * RFC 4120 §5.8.1
 *
 *     KRB-CRED ::= [APPLICATION 22] SEQUENCE {
 *       pvno     [0] INTEGER (5),
 *       msg-type [1] INTEGER (22),
 *       tickets  [2] SEQUENCE OF Ticket,
 *       enc-part [3] EncryptedData -- EncKrbCredPart -- }
 */
export interface KrbCred {
  readonly tickets: readonly Ticket[]
  readonly encPart: EncryptedData
}

export function decodeKrbCred(bytes: Uint8Array): KrbCred {
  const what = 'KRB-CRED'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.KRB_CRED, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, MESSAGE.KRB_CRED, what)
  const tickets = readField(body, 2, readTickets, 'KRB-CRED.tickets')
  const encPart = readField(body, 3, readEncryptedData, 'KRB-CRED.enc-part')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { tickets, encPart }
}

function readTickets(from: ByteReader, what: string): Ticket[] {
  return readSequenceOf(from, readTicket, what, MAX_TICKETS)
}

export function encodeKrbCred(value: {
  readonly tickets: readonly Pick<Ticket, 'raw'>[]
  readonly encPart: EncryptedData
}): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.KRB_CRED,
      sequence(
        field(0, int32(PVNO)),
        field(1, int32(MESSAGE.KRB_CRED)),
        field(
          2,
          sequenceOf(value.tickets, ({ raw }) => raw),
        ),
        field(3, writeEncryptedData(value.encPart)),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.8.1
 *
 *     KrbCredInfo ::= SEQUENCE {
 *       key        [0] EncryptionKey,
 *       prealm     [1] Realm OPTIONAL,
 *       pname      [2] PrincipalName OPTIONAL,
 *       flags      [3] TicketFlags OPTIONAL,
 *       authtime   [4] KerberosTime OPTIONAL,
 *       starttime  [5] KerberosTime OPTIONAL,
 *       endtime    [6] KerberosTime OPTIONAL,
 *       renew-till [7] KerberosTime OPTIONAL,
 *       srealm     [8] Realm OPTIONAL,
 *       sname      [9] PrincipalName OPTIONAL,
 *       caddr      [10] HostAddresses OPTIONAL }
 */
export interface KrbCredInfo {
  readonly key: EncryptionKey
  readonly prealm: string | undefined
  readonly pname: PrincipalName | undefined
  readonly flags: number | undefined
  readonly authtime: number | undefined
  readonly starttime: number | undefined
  readonly endtime: number | undefined
  readonly renewTill: number | undefined
  readonly srealm: string | undefined
  readonly sname: PrincipalName | undefined
  readonly caddr: readonly HostAddress[] | undefined
}

function readKrbCredInfo(from: ByteReader, what: string): KrbCredInfo {
  const body = readSequence(from, what)
  const value = {
    key: readField(body, 0, readEncryptionKey, `${what}.key`),
    prealm: readOptionalField(body, 1, readRealm, `${what}.prealm`),
    pname: readOptionalField(body, 2, readPrincipalName, `${what}.pname`),
    flags: readOptionalField(body, 3, readKerberosFlags, `${what}.flags`),
    authtime: readOptionalField(body, 4, readKerberosTime, `${what}.authtime`),
    starttime: readOptionalField(body, 5, readKerberosTime, `${what}.starttime`),
    endtime: readOptionalField(body, 6, readKerberosTime, `${what}.endtime`),
    renewTill: readOptionalField(body, 7, readKerberosTime, `${what}.renew-till`),
    srealm: readOptionalField(body, 8, readRealm, `${what}.srealm`),
    sname: readOptionalField(body, 9, readPrincipalName, `${what}.sname`),
    caddr: readOptionalField(body, 10, readHostAddresses, `${what}.caddr`),
  }
  body.end(what)
  return value
}

function writeKrbCredInfo(value: KrbCredInfo): Der {
  return sequence(
    field(0, writeEncryptionKey(value.key)),
    optionalField(1, value.prealm, kerberosString),
    optionalField(2, value.pname, writePrincipalName),
    optionalField(3, value.flags, kerberosFlags),
    optionalField(4, value.authtime, kerberosTime),
    optionalField(5, value.starttime, kerberosTime),
    optionalField(6, value.endtime, kerberosTime),
    optionalField(7, value.renewTill, kerberosTime),
    optionalField(8, value.srealm, kerberosString),
    optionalField(9, value.sname, writePrincipalName),
    optionalField(10, value.caddr, writeHostAddresses),
  )
}

/**
 * RFC 4120 §5.8.1
 *
 *     EncKrbCredPart ::= [APPLICATION 29] SEQUENCE {
 *       ticket-info [0] SEQUENCE OF KrbCredInfo,
 *       nonce       [1] UInt32 OPTIONAL,
 *       timestamp   [2] KerberosTime OPTIONAL,
 *       usec        [3] Microseconds OPTIONAL,
 *       s-address   [4] HostAddress OPTIONAL,
 *       r-address   [5] HostAddress OPTIONAL }
 */
export interface EncKrbCredPart {
  readonly ticketInfo: readonly KrbCredInfo[]
  readonly nonce: number | undefined
  /** `timestamp` and `usec` as one: microseconds since 1970. */
  readonly timestamp: number | undefined
  readonly senderAddress: HostAddress | undefined
  readonly recipientAddress: HostAddress | undefined
}

export function decodeEncKrbCredPart(bytes: Uint8Array): EncKrbCredPart {
  const what = 'EncKrbCredPart'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.ENC_KRB_CRED_PART, what)
  const body = readSequence(outer, what)
  const ticketInfo = readField(body, 0, readTicketInfo, 'EncKrbCredPart.ticket-info')
  const nonce = readOptionalField(body, 1, readUInt32, 'EncKrbCredPart.nonce')
  const seconds = readOptionalField(body, 2, readKerberosTime, 'EncKrbCredPart.timestamp')
  const usec = readOptionalField(body, 3, readMicroseconds, 'EncKrbCredPart.usec') ?? 0
  const senderAddress = readOptionalField(body, 4, readHostAddress, 'EncKrbCredPart.s-address')
  const recipientAddress = readOptionalField(body, 5, readHostAddress, 'EncKrbCredPart.r-address')
  body.end(what)
  outer.end(what)
  from.end(what)
  const timestamp = seconds === undefined ? undefined : seconds + usec
  return { ticketInfo, nonce, timestamp, senderAddress, recipientAddress }
}

function readTicketInfo(from: ByteReader, what: string): KrbCredInfo[] {
  return readSequenceOf(from, readKrbCredInfo, what, MAX_TICKETS)
}

export function encodeEncKrbCredPart(value: EncKrbCredPart): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.ENC_KRB_CRED_PART,
      sequence(
        field(0, sequenceOf(value.ticketInfo, writeKrbCredInfo)),
        optionalField(1, value.nonce, uint32),
        optionalField(2, value.timestamp, kerberosTime),
        optionalField(3, value.timestamp, (timestamp) => int32(timestamp % 1_000_000)),
        optionalField(4, value.senderAddress, writeHostAddress),
        optionalField(5, value.recipientAddress, writeHostAddress),
      ),
    ),
  )
}
