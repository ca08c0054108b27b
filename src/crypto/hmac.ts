import { createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { DIGEST_BYTES, fromBinary, HASH_BLOCK_BYTES, type HashName, hashOnce } from './hash.ts'

/** What each octet of the padded key is XORed with, for the inner and for the outer hash (RFC 2104 §2). */
const INNER = 0x36
const OUTER = 0x5c
/** Octets up to which a text is worth a copy behind the padded key. */
const MAX_SHORT_TEXT = 1024
/** Room for texts grows by this. */
const ROOM_BYTES = 256

/**
 * A key for HMAC (RFC 2104) truncated to `macBytes`. It takes over the array it is given and overwrites it in `dispose`.
 *
 * HMAC is a hash within a hash. Over a short text, behind padded keys that are kept, two hashes in one call each take half of the time of Node's
 * object for HMAC.
 */
export class HmacKey {
  readonly #hash: HashName
  readonly #bytes: Uint8Array
  readonly #macBytes: number
  /** The padded key, and room for a text or an inner digest. */
  #inner: Uint8Array | undefined
  #outer: Buffer | undefined

  constructor(hash: HashName, bytes: Uint8Array, macBytes: number) {
    this.#hash = hash
    this.#bytes = bytes
    this.#macBytes = macBytes
  }

  /** The MAC over the parts, one after the other. */
  sign(...parts: readonly Uint8Array[]): Uint8Array {
    const outer = this.#hashInner(parts)
    if (hashOnce === undefined || outer === undefined) return this.#signPlainly(parts, this.#macBytes)
    return fromBinary(hashOnce(this.#hash, outer, 'binary'), this.#macBytes)
  }

  /** As `sign`, of another length, where the result is a key itself: no copy of it stays behind. */
  derive(bytes: number, ...parts: readonly Uint8Array[]): Uint8Array {
    const outer = this.#hashInner(parts)
    if (hashOnce === undefined || outer === undefined) return this.#signPlainly(parts, bytes)
    return cutAndWipe(hashOnce(this.#hash, outer, 'buffer'), bytes)
  }

  /** Whether `mac` is the MAC over the parts, in constant time. */
  matches(mac: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
    return sameSecret(mac, this.sign(...parts))
  }

  dispose(): void {
    this.#bytes.fill(0)
    this.#inner?.fill(0)
    this.#outer?.fill(0)
    this.#inner = undefined
    this.#outer = undefined
  }

  #signPlainly(parts: readonly Uint8Array[], bytes: number): Uint8Array {
    const hmac = createHmac(this.#hash, this.#bytes)
    for (const part of parts) hmac.update(part)
    return cutAndWipe(hmac.digest(), bytes)
  }

  /** What the outer hash is taken of: its padded key and the inner hash. Undefined where that is no gain. */
  #hashInner(parts: readonly Uint8Array[]): Uint8Array | undefined {
    const block = HASH_BLOCK_BYTES[this.#hash]
    let length = 0
    for (const part of parts) length += part.length
    if (hashOnce === undefined || length > MAX_SHORT_TEXT || this.#bytes.length > block) return undefined

    const inner = this.#innerFor(length)
    let end = block
    for (const part of parts) {
      inner.set(part, end)
      end += part.length
    }
    this.#outer ??= Buffer.from(this.#pad(OUTER, DIGEST_BYTES[this.#hash]).buffer)
    this.#outer.write(hashOnce(this.#hash, inner.subarray(0, end), 'binary'), block, 'latin1')
    inner.fill(0, block, end) // the text may be a secret
    return this.#outer
  }

  #innerFor(length: number): Uint8Array {
    if (this.#inner === undefined || this.#inner.length < HASH_BLOCK_BYTES[this.#hash] + length) {
      this.#inner?.fill(0)
      this.#inner = this.#pad(INNER, Math.ceil(length / ROOM_BYTES) * ROOM_BYTES)
    }
    return this.#inner
  }

  /** The key, padded to a block with zeros, XOR the octet (RFC 2104 §2), and room behind it. */
  #pad(octet: number, room: number): Uint8Array {
    const block = HASH_BLOCK_BYTES[this.#hash]
    const padded = new Uint8Array(block + room).fill(octet, 0, block)
    for (let i = 0; i < this.#bytes.length; i++) padded[i] = octet ^ (this.#bytes[i] as number)
    return padded
  }
}

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
