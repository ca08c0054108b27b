import { allocate } from '../bytes/pool.ts'
import { UsageError, VerificationError } from '../errors.ts'
import type { HashName } from './hash.ts'

/** Random octets before every plaintext: one block (RFC 3962 §6, RFC 8009 §5). */
export const CONFOUNDER_BYTES = 16

/** The last octet of a derivation constant, after the key usage (RFC 3961 §5.3, §5.4; RFC 8009 §5). */
export const PURPOSE = { CHECKSUM: 0x99, ENCRYPTION: 0xaa, INTEGRITY: 0x55 } as const

/** What one enctype is. The encrypting parts are for `Key` and `stringToKey`; other rooms read the numbers. */
export interface Enctype {
  readonly id: number
  readonly name: string
  readonly hash: HashName
  readonly keyBytes: number
  readonly macBytes: number
  /** The one checksum type that goes with keys of this enctype. */
  readonly checksumType: number
  readonly defaultIterations: number
  /** What a KDC may not go below; `parseIterations` enforces it. */
  readonly minIterations: number
  /** The working state of a protocol key; it shares the array and overwrites it in `dispose`. */
  schedule(key: Uint8Array): Schedule
  stringToKey(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<Uint8Array>
}

/** What a protocol key can do once its schedule exists: hand out the keys of a usage, and the PRF. */
export interface Schedule {
  /** One for each usage: deriving the keys of several at once costs little more than those of one. */
  sealers(usages: readonly number[]): readonly Sealer[]
  signer(usage: number): Signer
  prf(input: Uint8Array): Uint8Array
  dispose(): void
}

/** Ke and Ki of one usage. */
export interface Sealer {
  encrypt(plaintext: Uint8Array, confounder: Uint8Array): Uint8Array
  decrypt(ciphertext: Uint8Array): Uint8Array
  dispose(): void
}

/** Kc of one usage. */
export interface Signer {
  sign(data: Uint8Array): Uint8Array
  matches(mac: Uint8Array, data: Uint8Array): boolean
  dispose(): void
}

/** "Too short" and "wrong" are one error: the sender must not learn which (RFC 3961 §3, `decrypt`). */
export function integrityFailed(name: string): VerificationError {
  return new VerificationError('INTEGRITY_FAILED', `${name}: the integrity check failed`)
}

/** A caller that hands over fewer or more octets would put them where the peer expects its message. */
export function checkConfounder(confounder: Uint8Array): void {
  if (confounder.length !== CONFOUNDER_BYTES)
    throw new UsageError('OPTION_INVALID', `confounder: ${confounder.length} bytes, not ${CONFOUNDER_BYTES}`)
}

/** What goes over the wire: cipher text and MAC, neither of which is a secret. */
export function withMac(body: Uint8Array, mac: Uint8Array): Uint8Array {
  const whole = allocate(body.length + mac.length)
  whole.set(body)
  whole.set(mac, body.length)
  return whole
}
