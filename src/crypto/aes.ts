import { createCipheriv, createDecipheriv } from 'node:crypto'
import { allocate } from '../bytes/pool.ts'
import { BLOCK_BYTES, INITIAL_STATE, KeptCbc } from './kept-cbc.ts'

/**
 * An AES key of 16 or 32 bytes. It takes over the array it is given and overwrites it in `dispose`.
 *
 * CBC with ciphertext stealing (RFC 3962 §5) is built on plain CBC, because Node 20 knows no `aes-*-cbc-cts`. The objects of Node that it needs
 * are made at their first use and kept.
 */
export class AesKey {
  readonly #bytes: Uint8Array
  #encryption: KeptCbc | undefined
  #decryption: KeptCbc | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Encrypts whole blocks, each for itself, and what comes out so many times more; returns each round's. */
  encryptBlocks(blocks: Uint8Array, rounds: number): readonly Uint8Array[] {
    const cipher = createCipheriv(this.#mode('ecb'), this.#bytes, null).setAutoPadding(false)
    const results: Uint8Array[] = []
    for (let from = blocks; results.length < rounds; from = results.at(-1) as Uint8Array) {
      results.push(new Uint8Array(cipher.update(from)))
    }
    return results
  }

  /** Encrypts the parts, one behind the other, in all 16 bytes or more, to as many, from the zero state (RFC 3962 §5). */
  encryptCts(...parts: readonly Uint8Array[]): Uint8Array {
    const { padded, length } = padToBlocks(parts)
    const blocks = this.#encryptAndWipe(padded)
    if (blocks.length === BLOCK_BYTES) return blocks

    const last = blocks.length - BLOCK_BYTES
    const final = blocks.slice(last)
    blocks.copyWithin(last, last - BLOCK_BYTES, last)
    blocks.set(final, last - BLOCK_BYTES)
    return blocks.subarray(0, length)
  }

  /** Its memory belongs to a pool. */
  #encryptAndWipe(padded: Uint8Array): Uint8Array {
    try {
      return this.#encryptor().encrypt(padded)
    } finally {
      padded.fill(0)
    }
  }

  /** Decrypts 16 bytes or more to as many, from the zero state (RFC 3962 §5). */
  decryptCts(ciphertext: Uint8Array): Uint8Array {
    const { length } = ciphertext
    if (length <= BLOCK_BYTES)
      return this.#decryptor()
        .decrypt(padToBlocks([ciphertext]).padded)
        .subarray(0, length)

    // The last two blocks were swapped: before the last one, which may be short, lies the final block of CBC. Decrypted alone it is its plaintext, which
    // was padded with zeros, XOR the whole of the other block: so what the other one lost is its end.
    const last = Math.floor((length - 1) / BLOCK_BYTES) * BLOCK_BYTES
    const final = ciphertext.subarray(last - BLOCK_BYTES, last)
    const blocks = allocate(last + BLOCK_BYTES)
    blocks.set(ciphertext.subarray(0, last - BLOCK_BYTES))
    blocks.set(this.#decryptor().decrypt(final), last - BLOCK_BYTES)
    blocks.set(ciphertext.subarray(last), last - BLOCK_BYTES)
    blocks.set(final, last)
    return this.#decryptor().decrypt(blocks).subarray(0, length)
  }

  dispose(): void {
    this.#encryption = undefined
    this.#decryption = undefined
    this.#bytes.fill(0)
  }

  #encryptor(): KeptCbc {
    this.#encryption ??= new KeptCbc(() =>
      createCipheriv(this.#mode('cbc'), this.#bytes, INITIAL_STATE).setAutoPadding(false),
    )
    return this.#encryption
  }

  #decryptor(): KeptCbc {
    this.#decryption ??= new KeptCbc(() =>
      createDecipheriv(this.#mode('cbc'), this.#bytes, INITIAL_STATE).setAutoPadding(false),
    )
    return this.#decryption
  }

  #mode(mode: 'cbc' | 'ecb'): string {
    return `aes-${this.#bytes.length * 8}-${mode}`
  }
}

/** Whole blocks, at least one, that end with zeros, in memory of Node’s pool: whoever is done with it overwrites it. */
function padToBlocks(parts: readonly Uint8Array[]): { readonly padded: Uint8Array; readonly length: number } {
  let length = 0
  for (const part of parts) length += part.length
  const padded = allocate(Math.max(Math.ceil(length / BLOCK_BYTES), 1) * BLOCK_BYTES)
  let at = 0
  for (const part of parts) {
    padded.set(part, at)
    at += part.length
  }
  return { padded: padded.fill(0, length), length }
}
