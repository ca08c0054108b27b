/** Channel bindings (RFC 5056): what ties a token to the connection that carries it. */
import { concat, uint32le } from '../bytes/bytes.ts'
import { md5 } from '../crypto/index.ts'

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
