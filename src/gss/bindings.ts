/** Channel bindings (RFC 5056): what ties a token to the connection that carries it. */
import { readElement, readField, readOid, readRaw, readSequence, TAG } from '../asn1/index.ts'
import { concat, uint32le, utf8 } from '../bytes/bytes.ts'
import { ByteReader } from '../bytes/reader.ts'
import { type HashName, hash, md5 } from '../crypto/index.ts'
import { MalformedError } from '../errors.ts'

/** Octets of the hash in the GSS checksum. */
export const BINDING_HASH_BYTES = 16

/**
 * The `Bnd` field of RFC 4121 §4.1.1.2: MD5 over the packed gss_channel_bindings_struct with empty addresses. The algorithm is a constant of
 * that protocol; what it hashes, `tls-server-end-point:` and a certificate's hash (RFC 5929 §4), is not chosen by an attacker.
 */
export function bindingHash(applicationData: Uint8Array | undefined): Uint8Array {
  if (applicationData === undefined) return new Uint8Array(BINDING_HASH_BYTES)
  const addresses = new Uint8Array(16) // initiator and acceptor: type and length, all zero
  return md5(concat(addresses, uint32le(applicationData.length), applicationData))
}

/** RFC 5929 §4: MD5 and SHA-1 give way to SHA-256. By the OID of the signature: RFC 8017 §C, RFC 5758 §3, RFC 3279 §2.2. */
const SIGNATURE_HASH: ReadonlyMap<string, HashName> = new Map([
  ['1.2.840.113549.1.1.4', 'sha256'], // md5WithRSAEncryption
  ['1.2.840.113549.1.1.5', 'sha256'], // sha1WithRSAEncryption
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha256'], // ecdsa-with-SHA1
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.2.840.10040.4.3', 'sha256'], // dsa-with-sha1
  ['2.16.840.1.101.3.4.3.2', 'sha256'], // dsa-with-sha256
])

/** id-RSASSA-PSS, whose parameters name the hash (RFC 4055 §3.1). */
const RSASSA_PSS = '1.2.840.113549.1.1.10'
/** The hashes that those may name (RFC 4055 §2.1); absent, it is SHA-1. */
const PSS_HASH: ReadonlyMap<string, HashName> = new Map([
  ['1.3.14.3.2.26', 'sha256'], // id-sha1
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])

/**
 * The channel bindings `tls-server-end-point` of a server's certificate (RFC 5929 §4.1): the same for all its connections, and another for
 * whoever sits in between.
 *
 * @param certificate DER
 * @returns application data, `tls-server-end-point:` and the hash; undefined for a signature that has no hash of its own, such as Ed25519, and
 *   for octets that are no certificate
 */
export function tlsServerEndPoint(certificate: Uint8Array): Uint8Array | undefined {
  const name = signatureHash(certificate)
  return name && concat(utf8('tls-server-end-point:'), hash(name, certificate))
}

/** RFC 5280 §4.1: `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signatureValue }`. */
function signatureHash(certificate: Uint8Array): HashName | undefined {
  try {
    const body = readSequence(new ByteReader(certificate), 'Certificate')
    readRaw(body, 'Certificate.tbsCertificate')
    const algorithm = readSequence(body, 'Certificate.signatureAlgorithm')
    const oid = readOid(algorithm, 'Certificate.signatureAlgorithm')
    return oid === RSASSA_PSS ? pssHash(algorithm) : SIGNATURE_HASH.get(oid)
  } catch (error) {
    if (error instanceof MalformedError) return undefined
    throw error
  }
}

function pssHash(algorithm: ByteReader): HashName | undefined {
  const parameters = readSequence(algorithm, 'RSASSA-PSS-params')
  if (parameters.remaining === 0 || parameters.peek() !== (TAG.CONTEXT | 0)) return 'sha256' // SHA-1, by default
  return readField(
    parameters,
    0,
    (from, what) => {
      const identifier = readElement(from, TAG.SEQUENCE, what)
      const name = PSS_HASH.get(readOid(identifier, what))
      identifier.rest() // its parameters, NULL or absent
      return name
    },
    'RSASSA-PSS-params.hashAlgorithm',
  )
}
