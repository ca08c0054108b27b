import { createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { allocate } from '../bytes/pool.ts'
import { DIGEST_BYTES, fromBinary, HASH_BLOCK_BYTES, type HashName, type HashOnce, hashOnce } from './hash.ts'

/** What each octet of the padded key is XORed with, for the inner and for the outer hash (RFC 2104 §2). */
const INNER = 0x36
const OUTER = 0x5c
/** Octets up to which a text is worth a copy behind the padded key: in Node's pool there is room for that. */
const MAX_SHORT_TEXT = 3072

/**
 * A key for HMAC (RFC 2104) truncated to `macBytes`. It takes over the array it is given and overwrites it in `dispose`.
 *
 * HMAC is a hash within a hash. Over a short text two hashes in one call each take a third of the time of Node's object for HMAC.
 */
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
    const once = this.#onceOver(parts)
    if (once === undefined) return this.#signPlainly(parts, this.#macBytes)
    return fromBinary(this.#nested(once, parts, 'binary'), this.#macBytes)
  }

  /** As `sign`, of another length, where the result is a key itself: no copy of it stays behind. */
  derive(bytes: number, ...parts: readonly Uint8Array[]): Uint8Array {
    const once = this.#onceOver(parts)
    return once === undefined ? this.#signPlainly(parts, bytes) : cutAndWipe(this.#nested(once, parts, 'buffer'), bytes)
  }

  /** Whether `mac` is the MAC over the parts, in constant time. */
  matches(mac: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
    return sameSecret(mac, this.sign(...parts))
  }

  dispose(): void {
    this.#bytes.fill(0)
  }

  #signPlainly(parts: readonly Uint8Array[], bytes: number): Uint8Array {
    const hmac = createHmac(this.#hash, this.#bytes)
    for (const part of parts) hmac.update(part)
    return cutAndWipe(hmac.digest(), bytes)
  }

  /** The hash in one call, where that is a gain. */
  #onceOver(parts: readonly Uint8Array[]): HashOnce | undefined {
    let length = 0
    for (const part of parts) length += part.length
    return length > MAX_SHORT_TEXT || this.#bytes.length > HASH_BLOCK_BYTES[this.#hash] ? undefined : hashOnce
  }

  /** The outer hash, in the form that is asked for (RFC 2104 §2). */
  #nested<F extends 'binary' | 'buffer'>(once: HashOnce, parts: readonly Uint8Array[], form: F): Digest<F> {
    const inner = this.#padded(INNER, parts)
    const digest = once(this.#hash, inner, 'binary')
    inner.fill(0)
    const outer = this.#padded(OUTER, [fromBinary(digest, DIGEST_BYTES[this.#hash])])
    const result = once(this.#hash, outer, form)
    outer.fill(0)
    return result as Digest<F>
  }

  /** The key, padded to a block with zeros, XOR the octet (RFC 2104 §2), and what is hashed behind it. To be overwritten: it is the pool’s. */
  #padded(octet: number, parts: readonly Uint8Array[]): Uint8Array {
    const block = HASH_BLOCK_BYTES[this.#hash]
    let length = block
    for (const part of parts) length += part.length
    const padded = allocate(length).fill(octet, 0, block)
    for (let i = 0; i < this.#bytes.length; i++) padded[i] = octet ^ (this.#bytes[i] as number)
    let at = block
    for (const part of parts) {
      padded.set(part, at)
      at += part.length
    }
    return padded
  }
}

type Digest<F> = F extends 'binary' ? string : Buffer

function cutAndWipe(digest: Uint8Array, bytes: number): Uint8Array {
  const cut = new Uint8Array(digest.subarray(0, bytes))
  digest.fill(0)
  return cut
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
