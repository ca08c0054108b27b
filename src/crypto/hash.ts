import { createHash } from 'node:crypto'

/** The hashes in use here: SHA-1 of RFC 3962 §6, SHA-2 of RFC 8009 §5 and of certificates (RFC 5929 §4.1). */
export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512'

/** The digest of `data`. */
export function hash(name: HashName, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(name).update(data).digest())
}

export function sha256(data: Uint8Array): Uint8Array {
  return hash('sha256', data)
}

export function sha384(data: Uint8Array): Uint8Array {
  return hash('sha384', data)
}

export function sha512(data: Uint8Array): Uint8Array {
  return hash('sha512', data)
}

/**
 * MD5, for one purpose only: the `Bnd` field, which hashes the channel bindings (RFC 4121 §4.1.1.2). That field is itself covered by
 * the authenticator's keyed integrity check; nothing else may rest on MD5.
 */
export function md5(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('md5').update(data).digest())
}
