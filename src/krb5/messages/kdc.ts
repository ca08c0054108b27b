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
  readRaw,
  readSequence,
  readSequenceOf,
  readUInt32,
  sequence,
  sequenceOf,
  TAG,
  uint32,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import {
  type EncryptedData,
  type EncryptionKey,
  type HostAddress,
  type PaData,
  type PrincipalName,
  readEncryptedData,
  readEncryptionKey,
  readHostAddresses,
  readMessageHead,
  readMethodData,
  readPrincipalName,
  readRealm,
  writeEncryptedData,
  writeEncryptionKey,
  writeHostAddresses,
  writeMethodData,
  writePrincipalName,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'
import { readTicket, type Ticket } from './ticket.ts'

/** Most enctypes of one request. */
const MAX_ENCTYPES = 64

/**
 * RFC 4120 §5.4.1
 *
 *     KDC-REQ-BODY ::= SEQUENCE {
 *       kdc-options            [0] KDCOptions,
 *       cname                  [1] PrincipalName OPTIONAL,
 *       realm                  [2] Realm,
 *       sname                  [3] PrincipalName OPTIONAL,
 *       from                   [4] KerberosTime OPTIONAL,
 *       till                   [5] KerberosTime,
 *       rtime                  [6] KerberosTime OPTIONAL,
 *       nonce                  [7] UInt32,
 *       etype                  [8] SEQUENCE OF Int32,
 *       addresses              [9] HostAddresses OPTIONAL,
 *       enc-authorization-data [10] EncryptedData OPTIONAL,
 *       additional-tickets     [11] SEQUENCE OF Ticket OPTIONAL }
 */
export interface KdcReqBody {
  readonly kdcOptions: number
  readonly cname: PrincipalName | undefined
  readonly realm: string
  readonly sname: PrincipalName | undefined
  readonly from: number | undefined
  readonly till: number
  readonly rtime: number | undefined
  readonly nonce: number
  readonly etype: readonly number[]
  readonly addresses: readonly HostAddress[] | undefined
  readonly encAuthorizationData: EncryptedData | undefined
  readonly additionalTickets: readonly Ticket[] | undefined
}

export function encodeKdcReqBody(value: KdcReqBody): Uint8Array {
  return encodeDer(
    sequence(
      field(0, kerberosFlags(value.kdcOptions)),
      optionalField(1, value.cname, writePrincipalName),
      field(2, kerberosString(value.realm)),
      optionalField(3, value.sname, writePrincipalName),
      optionalField(4, value.from, kerberosTime),
      field(5, kerberosTime(value.till)),
      optionalField(6, value.rtime, kerberosTime),
      field(7, uint32(value.nonce)),
      field(8, sequenceOf(value.etype, int32)),
      optionalField(9, value.addresses, writeHostAddresses),
      optionalField(10, value.encAuthorizationData, writeEncryptedData),
      optionalField(11, value.additionalTickets, (tickets) => sequenceOf(tickets, (ticket) => ticket.raw)),
    ),
  )
}

function readKdcReqBody(from: ByteReader, what: string): KdcReqBody {
  const body = readSequence(from, what)
  const value = {
    kdcOptions: readField(body, 0, readKerberosFlags, `${what}.kdc-options`),
    cname: readOptionalField(body, 1, readPrincipalName, `${what}.cname`),
    realm: readField(body, 2, readRealm, `${what}.realm`),
    sname: readOptionalField(body, 3, readPrincipalName, `${what}.sname`),
    from: readOptionalField(body, 4, readKerberosTime, `${what}.from`),
    till: readField(body, 5, readKerberosTime, `${what}.till`),
    rtime: readOptionalField(body, 6, readKerberosTime, `${what}.rtime`),
    nonce: readField(body, 7, readUInt32, `${what}.nonce`),
    etype: readField(body, 8, readEtypes, `${what}.etype`),
    addresses: readOptionalField(body, 9, readHostAddresses, `${what}.addresses`),
    encAuthorizationData: readOptionalField(body, 10, readEncryptedData, `${what}.enc-authorization-data`),
    additionalTickets: readOptionalField(body, 11, readTickets, `${what}.additional-tickets`),
  }
  body.end(what)
  return value
}

function readEtypes(from: ByteReader, what: string): number[] {
  return readSequenceOf(from, readInt32, what, MAX_ENCTYPES)
}

function readTickets(from: ByteReader, what: string): Ticket[] {
  return readSequenceOf(from, readTicket, what)
}

/**
 * RFC 4120 §5.4.1
 *
 *     AS-REQ ::= [APPLICATION 10] KDC-REQ; TGS-REQ ::= [APPLICATION 12] KDC-REQ
 *     KDC-REQ ::= SEQUENCE {
 *       -- NOTE: first tag is [1], not [0]
 *       pvno     [1] INTEGER (5),
 *       msg-type [2] INTEGER (10 | 12),
 *       padata   [3] SEQUENCE OF PA-DATA OPTIONAL,
 *       req-body [4] KDC-REQ-BODY }
 */
export interface KdcReq {
  readonly type: typeof MESSAGE.AS_REQ | typeof MESSAGE.TGS_REQ
  readonly padata: readonly PaData[]
  readonly body: KdcReqBody
}

/** `rawBody` has the octets of the KDC-REQ-BODY: the checksum of a TGS-REQ covers them (RFC 4120 §7.2.2). */
export function decodeKdcReq(bytes: Uint8Array): KdcReq & { readonly rawBody: Uint8Array } {
  const from = new ByteReader(bytes)
  const type = from.peek() === (TAG.APPLICATION | MESSAGE.AS_REQ) ? MESSAGE.AS_REQ : MESSAGE.TGS_REQ
  const what = type === MESSAGE.AS_REQ ? 'AS-REQ' : 'TGS-REQ'
  const outer = readElement(from, TAG.APPLICATION | type, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 1, PVNO, type, what)
  const padata = readOptionalField(body, 3, readMethodData, `${what}.padata`) ?? []
  const rawBody = readField(body, 4, readRaw, `${what}.req-body`)
  body.end(what)
  outer.end(what)
  from.end(what)
  return { type, padata, body: readKdcReqBody(new ByteReader(rawBody), `${what}.req-body`), rawBody }
}

/** `rawBody`, when the caller has it already: a checksum covers those very octets. */
export function encodeKdcReq(value: KdcReq, rawBody: Uint8Array = encodeKdcReqBody(value.body)): Uint8Array {
  return encodeDer(
    application(
      value.type,
      sequence(
        field(1, int32(PVNO)),
        field(2, int32(value.type)),
        value.padata.length === 0 ? undefined : field(3, writeMethodData(value.padata)),
        field(4, rawBody),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.4.2
 *
 *     AS-REP ::= [APPLICATION 11] KDC-REP; TGS-REP ::= [APPLICATION 13] KDC-REP
 *     KDC-REP ::= SEQUENCE {
 *       pvno     [0] INTEGER (5),
 *       msg-type [1] INTEGER (11 | 13),
 *       padata   [2] SEQUENCE OF PA-DATA OPTIONAL,
 *       crealm   [3] Realm,
 *       cname    [4] PrincipalName,
 *       ticket   [5] Ticket,
 *       enc-part [6] EncryptedData -- EncASRepPart or EncTGSRepPart -- }
 */
export interface KdcRep {
  readonly type: typeof MESSAGE.AS_REP | typeof MESSAGE.TGS_REP
  readonly padata: readonly PaData[]
  readonly crealm: string
  readonly cname: PrincipalName
  readonly ticket: Ticket
  readonly encPart: EncryptedData
}

export function decodeKdcRep(bytes: Uint8Array, type: KdcRep['type']): KdcRep {
  const what = type === MESSAGE.AS_REP ? 'AS-REP' : 'TGS-REP'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | type, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, type, what)
  const padata = readOptionalField(body, 2, readMethodData, `${what}.padata`) ?? []
  const crealm = readField(body, 3, readRealm, `${what}.crealm`)
  const cname = readField(body, 4, readPrincipalName, `${what}.cname`)
  const ticket = readField(body, 5, readTicket, `${what}.ticket`)
  const encPart = readField(body, 6, readEncryptedData, `${what}.enc-part`)
  body.end(what)
  outer.end(what)
  from.end(what)
  return { type, padata, crealm, cname, ticket, encPart }
}

export function encodeKdcRep(value: Omit<KdcRep, 'ticket'> & { readonly ticket: Pick<Ticket, 'raw'> }): Uint8Array {
  return encodeDer(
    application(
      value.type,
      sequence(
        field(0, int32(PVNO)),
        field(1, int32(value.type)),
        value.padata.length === 0 ? undefined : field(2, writeMethodData(value.padata)),
        field(3, kerberosString(value.crealm)),
        field(4, writePrincipalName(value.cname)),
        field(5, value.ticket.raw),
        field(6, writeEncryptedData(value.encPart)),
      ),
    ),
  )
}

/** RFC 4120 §5.4.2: `LastReq ::= SEQUENCE OF SEQUENCE { lr-type [0] Int32, lr-value [1] KerberosTime }`. */
export interface LastReqEntry {
  readonly type: number
  readonly value: number
}

function readLastReqEntry(from: ByteReader, what: string): LastReqEntry {
  const body = readSequence(from, what)
  const type = readField(body, 0, readInt32, `${what}.lr-type`)
  const value = readField(body, 1, readKerberosTime, `${what}.lr-value`)
  body.end(what)
  return { type, value }
}

function readLastReq(from: ByteReader, what: string): LastReqEntry[] {
  return readSequenceOf(from, readLastReqEntry, what)
}

/**
 * RFC 4120 §5.4.2, RFC 6806 §11
 *
 *     EncASRepPart ::= [APPLICATION 25] EncKDCRepPart; EncTGSRepPart ::= [APPLICATION 26] EncKDCRepPart
 *     EncKDCRepPart ::= SEQUENCE {
 *       key               [0] EncryptionKey,
 *       last-req          [1] LastReq,
 *       nonce             [2] UInt32,
 *       key-expiration    [3] KerberosTime OPTIONAL,
 *       flags             [4] TicketFlags,
 *       authtime          [5] KerberosTime,
 *       starttime         [6] KerberosTime OPTIONAL,
 *       endtime           [7] KerberosTime,
 *       renew-till        [8] KerberosTime OPTIONAL,
 *       srealm            [9] Realm,
 *       sname             [10] PrincipalName,
 *       caddr             [11] HostAddresses OPTIONAL,
 *       encrypted-pa-data [12] SEQUENCE OF PA-DATA OPTIONAL }
 */
export interface EncKdcRepPart {
  readonly key: EncryptionKey
  readonly lastReq: readonly LastReqEntry[]
  readonly nonce: number
  readonly keyExpiration: number | undefined
  readonly flags: number
  readonly authtime: number
  readonly starttime: number | undefined
  readonly endtime: number
  readonly renewTill: number | undefined
  readonly srealm: string
  readonly sname: PrincipalName
  readonly caddr: readonly HostAddress[] | undefined
  readonly encryptedPaData: readonly PaData[] | undefined
}

/** RFC 4120 §5.4.2 lets an AS reply carry the TGS tag: "compatibility note" there; MIT and Heimdal have both sent it. */
export function decodeEncKdcRepPart(bytes: Uint8Array, type: KdcRep['type']): EncKdcRepPart {
  const what = 'EncKDCRepPart'
  const from = new ByteReader(bytes)
  const tagged = from.peek()
  const expected = TAG.APPLICATION | (type === MESSAGE.AS_REP ? MESSAGE.ENC_AS_REP_PART : MESSAGE.ENC_TGS_REP_PART)
  const other = TAG.APPLICATION | MESSAGE.ENC_TGS_REP_PART
  if (tagged !== expected && tagged !== other) throw malformed(`${what}: tag ${tagged}`)
  const outer = readElement(from, tagged, what)
  const body = readSequence(outer, what)
  const value = {
    key: readField(body, 0, readEncryptionKey, `${what}.key`),
    lastReq: readField(body, 1, readLastReq, `${what}.last-req`),
    nonce: readField(body, 2, readUInt32, `${what}.nonce`),
    keyExpiration: readOptionalField(body, 3, readKerberosTime, `${what}.key-expiration`),
    flags: readField(body, 4, readKerberosFlags, `${what}.flags`),
    authtime: readField(body, 5, readKerberosTime, `${what}.authtime`),
    starttime: readOptionalField(body, 6, readKerberosTime, `${what}.starttime`),
    endtime: readField(body, 7, readKerberosTime, `${what}.endtime`),
    renewTill: readOptionalField(body, 8, readKerberosTime, `${what}.renew-till`),
    srealm: readField(body, 9, readRealm, `${what}.srealm`),
    sname: readField(body, 10, readPrincipalName, `${what}.sname`),
    caddr: readOptionalField(body, 11, readHostAddresses, `${what}.caddr`),
    encryptedPaData: readOptionalField(body, 12, readMethodData, `${what}.encrypted-pa-data`),
  }
  body.end(what)
  outer.end(what)
  from.end(what) // check: K08
  return value
}

export function encodeEncKdcRepPart(value: EncKdcRepPart, type: KdcRep['type']): Uint8Array {
  return encodeDer(
    application(
      type === MESSAGE.AS_REP ? MESSAGE.ENC_AS_REP_PART : MESSAGE.ENC_TGS_REP_PART,
      sequence(
        field(0, writeEncryptionKey(value.key)),
        field(
          1,
          sequenceOf(value.lastReq, (entry) =>
            sequence(field(0, int32(entry.type)), field(1, kerberosTime(entry.value))),
          ),
        ),
        field(2, uint32(value.nonce)),
        optionalField(3, value.keyExpiration, kerberosTime),
        field(4, kerberosFlags(value.flags)),
        field(5, kerberosTime(value.authtime)),
        optionalField(6, value.starttime, kerberosTime),
        field(7, kerberosTime(value.endtime)),
        optionalField(8, value.renewTill, kerberosTime),
        field(9, kerberosString(value.srealm)),
        field(10, writePrincipalName(value.sname)),
        optionalField(11, value.caddr, writeHostAddresses),
        optionalField(12, value.encryptedPaData, writeMethodData),
      ),
    ),
  )
}
