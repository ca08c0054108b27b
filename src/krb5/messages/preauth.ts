import {
  encodeDer,
  field,
  int32,
  kerberosString,
  kerberosTime,
  octets,
  optionalField,
  readField,
  readInt32,
  readKerberosString,
  readKerberosTime,
  readOctets,
  readOptionalField,
  readSequence,
  readSequenceOf,
  readWhole,
  sequence,
  sequenceOf,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { readMicroseconds } from './basic.ts'

/** Most entries of one ETYPE-INFO2. */
const MAX_ENTRIES = 64

/**
 * RFC 4120 §5.2.7.5
 *
 *     ETYPE-INFO2 ::= SEQUENCE SIZE (1..MAX) OF ETYPE-INFO2-ENTRY
 *     ETYPE-INFO2-ENTRY ::= SEQUENCE {
 *       etype     [0] Int32,
 *       salt      [1] KerberosString OPTIONAL,
 *       s2kparams [2] OCTET STRING OPTIONAL }
 */
export interface EtypeInfo2Entry {
  readonly etype: number
  readonly salt: string | undefined
  readonly s2kparams: Uint8Array | undefined
}

function readEtypeInfo2Entry(from: ByteReader, what: string): EtypeInfo2Entry {
  const body = readSequence(from, what)
  const etype = readField(body, 0, readInt32, `${what}.etype`)
  const salt = readOptionalField(body, 1, readKerberosString, `${what}.salt`)
  const s2kparams = readOptionalField(body, 2, readOctets, `${what}.s2kparams`)
  body.end(what)
  return { etype, salt, s2kparams }
}

export function decodeEtypeInfo2(bytes: Uint8Array): readonly EtypeInfo2Entry[] {
  const read = (from: ByteReader, what: string) => readSequenceOf(from, readEtypeInfo2Entry, what, MAX_ENTRIES)
  return readWhole(new ByteReader(bytes), read, 'ETYPE-INFO2')
}

export function encodeEtypeInfo2(value: readonly EtypeInfo2Entry[]): Uint8Array {
  return encodeDer(
    sequenceOf(value, (entry) =>
      sequence(
        field(0, int32(entry.etype)),
        optionalField(1, entry.salt, kerberosString),
        optionalField(2, entry.s2kparams, octets),
      ),
    ),
  )
}

/**
 * RFC 4120 §5.2.7.2
 *
 *     PA-ENC-TS-ENC ::= SEQUENCE {
 *       patimestamp [0] KerberosTime,
 *       pausec      [1] Microseconds OPTIONAL }
 *
 * One number: microseconds since 1970.
 */
export function encodePaEncTsEnc(microseconds: number): Uint8Array {
  return encodeDer(sequence(field(0, kerberosTime(microseconds)), field(1, int32(microseconds % 1_000_000))))
}

export function decodePaEncTsEnc(bytes: Uint8Array): number {
  const from = new ByteReader(bytes)
  const body = readSequence(from, 'PA-ENC-TS-ENC')
  const seconds = readField(body, 0, readKerberosTime, 'PA-ENC-TS-ENC.patimestamp')
  const pausec = readOptionalField(body, 1, readMicroseconds, 'PA-ENC-TS-ENC.pausec') ?? 0
  body.end('PA-ENC-TS-ENC')
  from.end('PA-ENC-TS-ENC')
  return seconds + pausec
}
