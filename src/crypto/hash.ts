import * as node from 'node:crypto'

/** The hashes in use here: SHA-1 of RFC 3962 §6, SHA-2 of RFC 8009 §5 and of certificates (RFC 5929 §4.1). */
export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512'

/** Octets that each works on at a time, which HMAC pads its key to (RFC 2104 §2, FIPS 180-4 §1). */
export const HASH_BLOCK_BYTES: Readonly<Record<HashName, number>> = { sha1: 64, sha256: 64, sha384: 128, sha512: 128 }

/** Octets of each digest (FIPS 180-4 §1). */
export const DIGEST_BYTES: Readonly<Record<HashName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 }

export type HashOnce = typeof node.hash
/** A digest in one call, at a third of what an object costs; a runtime may lack it (Node has it since 20.12). */
export const hashOnce: HashOnce | undefined = node.hash

/** The digest of `data`. */
export function hash(name: HashName, data: Uint8Array): Uint8Array {
  return new Uint8Array(hashOnce?.(name, data, 'buffer') ?? node.createHash(name).update(data).digest())
}

/** As `hash`, cut to its first octets. */
export function hashStart(name: HashName, data: Uint8Array, bytes: number): Uint8Array {
  return hashOnce === undefined ? hash(name, data).slice(0, bytes) : fromBinary(hashOnce(name, data, 'binary'), bytes)
}

/** The first octets of a digest as text, an octet each character: so it costs half of what it does as bytes. */
export function fromBinary(digest: string, bytes: number): Uint8Array {
  const octets = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i++) octets[i] = digest.charCodeAt(i)
  return octets
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
  return new Uint8Array(node.createHash('md5').update(data).digest())
}
