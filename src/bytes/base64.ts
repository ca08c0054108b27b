import { malformed } from '../errors.ts'

/** Encodes with padding and without line breaks (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/**
 * Decodes the one canonical form (RFC 4648 §4, §3.5): full padding, zero trailing bits, no other character. `Buffer.from` alone
 * accepts whitespace, the URL alphabet, missing padding and anything behind it.
 */
export function fromBase64(text: string, what = 'base64'): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  // check: P30
  if (bytes.toString('base64') !== text) throw malformed(`${what}: not canonical base64`)
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) // a Buffer’s `slice` would be a view
}
