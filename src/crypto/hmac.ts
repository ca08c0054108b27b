import { createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import type { HashName } from './hash.ts'

/** A key for HMAC (RFC 2104) truncated to `macBytes`. It takes over the array it is given and overwrites it in `dispose`. */
export class HmacKey {
  readonly #hash: HashName
  readonly #bytes: Uint8Array
  readonly #macBytes: number

  constructor(hash: HashName, bytes: Uint8Array, macBytes: number) {
    this.#hash = hash
    this.#bytes = bytes
    this.#macBytes = macBytes
  }

  /** The MAC over the parts, one after the other. */
  sign(...parts: readonly Uint8Array[]): Uint8Array {
    const hmac = createHmac(this.#hash, this.#bytes)
    for (const part of parts) hmac.update(part)
    return new Uint8Array(hmac.digest().subarray(0, this.#macBytes))
  }

  /** Whether `mac` is the MAC over the parts, in constant time. */
  matches(mac: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
    return sameSecret(mac, this.sign(...parts))
  }

  dispose(): void {
    this.#bytes.fill(0)
  }
}

/** Compares so that time tells nothing but the length. */
export function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** PBKDF2 over HMAC (RFC 8018 §5.2) on the thread pool. */
export function derivePbkdf2(
  hash: HashName,
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
  bytes: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, bytes, hash, (error, key) => {
      if (error) reject(error)
      else resolve(new Uint8Array(key.buffer, key.byteOffset, key.byteLength))
    })
  })
}
