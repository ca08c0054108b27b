import {
  application,
  encodeDer,
  field,
  int32,
  kerberosTime,
  octets,
  optionalField,
  readElement,
  readField,
  readKerberosTime,
  readOctets,
  readOptionalField,
  readSequence,
  readUInt32,
  sequence,
  TAG,
  uint32,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import {
  type EncryptedData,
  type HostAddress,
  readEncryptedData,
  readHostAddress,
  readMessageHead,
  readMicroseconds,
  writeEncryptedData,
  writeHostAddress,
} from './basic.ts'
import { MESSAGE, PVNO } from './registries.ts'

/**
 * RFC 4120 §5.7.1
 *
 *     KRB-PRIV ::= [APPLICATION 21] SEQUENCE {
 *       pvno     [0] INTEGER (5),
 *       msg-type [1] INTEGER (21),
 *       -- NOTE: there is no [2] tag
 *       enc-part [3] EncryptedData -- EncKrbPrivPart -- }
 */
export interface KrbPriv {
  readonly encPart: EncryptedData
}

export function decodeKrbPriv(bytes: Uint8Array): KrbPriv {
  const what = 'KRB-PRIV'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.KRB_PRIV, what)
  const body = readSequence(outer, what)
  readMessageHead(body, 0, PVNO, MESSAGE.KRB_PRIV, what)
  const encPart = readField(body, 3, readEncryptedData, 'KRB-PRIV.enc-part')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { encPart }
}

export function encodeKrbPriv(value: KrbPriv): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.KRB_PRIV,
      sequence(field(0, int32(PVNO)), field(1, int32(MESSAGE.KRB_PRIV)), field(3, writeEncryptedData(value.encPart))),
    ),
  )
}

/**
 * RFC 4120 §5.7.1
 *
 *     EncKrbPrivPart ::= [APPLICATION 28] SEQUENCE {
 *       user-data  [0] OCTET STRING,
 *       timestamp  [1] KerberosTime OPTIONAL,
 *       usec       [2] Microseconds OPTIONAL,
 *       seq-number [3] UInt32 OPTIONAL,
 *       s-address  [4] HostAddress,
 *       r-address  [5] HostAddress OPTIONAL }
 */
export interface EncKrbPrivPart {
  readonly userData: Uint8Array
  /** `timestamp` and `usec` as one: microseconds since 1970. */
  readonly timestamp: number | undefined
  readonly seqNumber: number | undefined
  readonly senderAddress: HostAddress
  readonly recipientAddress: HostAddress | undefined
}

export function decodeEncKrbPrivPart(bytes: Uint8Array): EncKrbPrivPart {
  const what = 'EncKrbPrivPart'
  const from = new ByteReader(bytes)
  const outer = readElement(from, TAG.APPLICATION | MESSAGE.ENC_KRB_PRIV_PART, what)
  const body = readSequence(outer, what)
  const userData = readField(body, 0, readOctets, 'EncKrbPrivPart.user-data')
  const seconds = readOptionalField(body, 1, readKerberosTime, 'EncKrbPrivPart.timestamp')
  const usec = readOptionalField(body, 2, readMicroseconds, 'EncKrbPrivPart.usec') ?? 0
  const seqNumber = readOptionalField(body, 3, readUInt32, 'EncKrbPrivPart.seq-number')
  const senderAddress = readField(body, 4, readHostAddress, 'EncKrbPrivPart.s-address')
  const recipientAddress = readOptionalField(body, 5, readHostAddress, 'EncKrbPrivPart.r-address')
  body.end(what)
  outer.end(what)
  from.end(what)
  const timestamp = seconds === undefined ? undefined : seconds + usec
  return { userData, timestamp, seqNumber, senderAddress, recipientAddress }
}

export function encodeEncKrbPrivPart(value: EncKrbPrivPart): Uint8Array {
  return encodeDer(
    application(
      MESSAGE.ENC_KRB_PRIV_PART,
      sequence(
        field(0, octets(value.userData)),
        optionalField(1, value.timestamp, kerberosTime),
        optionalField(2, value.timestamp, (timestamp) => int32(timestamp % 1_000_000)),
        optionalField(3, value.seqNumber, uint32),
        field(4, writeHostAddress(value.senderAddress)),
        optionalField(5, value.recipientAddress, writeHostAddress),
      ),
    ),
  )
}
