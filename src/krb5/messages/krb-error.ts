import {
  application,
  encodeDer,
  field,
  int32,
  kerberosString,
  kerberosTime,
  octets,
  optionalField,
  readElement,
  readField,
  readInt32,
  readKerberosString,
  readKerberosTime,
  readOctets,
  readOptionalField,
  readSequence,
  sequence,
  TAG,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import {
  type PrincipalName,
  readMessageHead,
  readMicroseconds,
  readPrincipalName,
  readRealm,
  writePrincipalName,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'

/**
 * RFC 4120 §5.9.1
 *
 *     KRB-ERROR ::= [APPLICATION 30] SEQUENCE {
 *       pvno       [0] INTEGER (5),
 *       msg-type   [1] INTEGER (30),
 *       ctime      [2] KerberosTime OPTIONAL,
 *       cusec      [3] Microseconds OPTIONAL,
 *       stime      [4] KerberosTime,
 *       susec      [5] Microseconds,
 *       error-code [6] Int32,
 *       crealm     [7] Realm OPTIONAL,
 *       cname      [8] PrincipalName OPTIONAL,
 *       realm      [9] Realm -- service realm --,
 *       sname      [10] PrincipalName -- service name --,
 *       e-text     [11] KerberosString OPTIONAL,
 *       e-data     [12] OCTET STRING OPTIONAL }
 */
export interface KrbError {
  /** `ctime` and `cusec` as one: microseconds since 1970. */
  readonly ctime: number | undefined
  readonly stime: number
  readonly errorCode: number
  readonly crealm: string | undefined
  readonly cname: PrincipalName | undefined
  readonly realm: string
  readonly sname: PrincipalName
  readonly eText: string | undefined
  readonly eData: Uint8Array | undefined
}

export function decodeKrbError(bytes: Uint8Array): KrbError {
  const what = 'KRB-ERROR'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.KRB_ERROR, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, MESSAGE.KRB_ERROR, what)
  const clientSeconds = readOptionalField(body, 2, readKerberosTime, 'KRB-ERROR.ctime')
  const cusec = readOptionalField(body, 3, readMicroseconds, 'KRB-ERROR.cusec') ?? 0
  const serverSeconds = readField(body, 4, readKerberosTime, 'KRB-ERROR.stime')
  const susec = readField(body, 5, readMicroseconds, 'KRB-ERROR.susec')
  const errorCode = readField(body, 6, readInt32, 'KRB-ERROR.error-code')
  const crealm = readOptionalField(body, 7, readRealm, 'KRB-ERROR.crealm')
  const cname = readOptionalField(body, 8, readPrincipalName, 'KRB-ERROR.cname')
  const realm = readField(body, 9, readRealm, 'KRB-ERROR.realm')
  const sname = readField(body, 10, readPrincipalName, 'KRB-ERROR.sname')
  const eText = readOptionalField(body, 11, readKerberosString, 'KRB-ERROR.e-text')
  const eData = readOptionalField(body, 12, readOctets, 'KRB-ERROR.e-data')
  body.end(what)
  outer.end(what)
  from.end(what)
  const ctime = clientSeconds === undefined ? undefined : clientSeconds + cusec
  return { ctime, stime: serverSeconds + susec, errorCode, crealm, cname, realm, sname, eText, eData }
}

export function encodeKrbError(value: KrbError): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.KRB_ERROR,
      sequence(
        field(0, int32(PVNO)),
        field(1, int32(MESSAGE.KRB_ERROR)),
        optionalField(2, value.ctime, kerberosTime),
        optionalField(3, value.ctime, (ctime) => int32(ctime % 1_000_000)),
        field(4, kerberosTime(value.stime)),
        field(5, int32(value.stime % 1_000_000)),
        field(6, int32(value.errorCode)),
        optionalField(7, value.crealm, kerberosString),
        optionalField(8, value.cname, writePrincipalName),
        field(9, kerberosString(value.realm)),
        field(10, writePrincipalName(value.sname)),
        optionalField(11, value.eText, kerberosString),
        optionalField(12, value.eData, octets),
      ),
    ),
  )
}
