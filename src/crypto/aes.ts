import { type Cipher, createCipheriv, createDecipheriv } from 'node:crypto'

/** AES works on blocks of 128 bits (RFC 3962 §6). */
export const BLOCK_BYTES = 16

/** The initial cipher state of both families (RFC 3962 §6, RFC 8009 §5). */
export const INITIAL_STATE: Uint8Array = new Uint8Array(BLOCK_BYTES)

/**
 * An AES key of 16 or 32 bytes. It takes over the array it is given and overwrites it in `dispose`.
 *
 * CBC with ciphertext stealing (RFC 3962 §5) is built on plain CBC, because Node 20 knows no `aes-*-cbc-cts`.
 */
export class AesKey {
  readonly #bytes: Uint8Array
  /** Kept: block by block there is no state to carry over, and making one costs more than a key derivation's eight uses. */
  #blockCipher: Cipher | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** One block, no chaining. */
  encryptBlock(block: Uint8Array): Uint8Array {
    this.#blockCipher ??= createCipheriv(this.#mode('ecb'), this.#bytes, null).setAutoPadding(false)
    return new Uint8Array(this.#blockCipher.update(block))
  }

  /** Encrypts 16 bytes or more to as many, from the zero state (RFC 3962 §5). */
  encryptCts(plaintext: Uint8Array): Uint8Array {
    const padded = new Uint8Array(Math.ceil(plaintext.length / BLOCK_BYTES) * BLOCK_BYTES)
    padded.set(plaintext)
    const blocks = createCipheriv(this.#mode('cbc'), this.#bytes, INITIAL_STATE).setAutoPadding(false).update(padded)
    if (padded.length === BLOCK_BYTES) return new Uint8Array(blocks)

    const last = padded.length - BLOCK_BYTES
    const stolen = new Uint8Array(padded.length)
    stolen.set(blocks.subarray(0, last - BLOCK_BYTES))
    stolen.set(blocks.subarray(last), last - BLOCK_BYTES)
    stolen.set(blocks.subarray(last - BLOCK_BYTES, last), last)
    return stolen.subarray(0, plaintext.length)
  }

  /** Decrypts 16 bytes or more to as many, from the zero state (RFC 3962 §5). */
  decryptCts(ciphertext: Uint8Array): Uint8Array {
    const blocks = new Uint8Array(Math.ceil(ciphertext.length / BLOCK_BYTES) * BLOCK_BYTES)
    if (ciphertext.length > BLOCK_BYTES) this.#restoreOrder(ciphertext, blocks)
    else blocks.set(ciphertext)
    const decipher = createDecipheriv(this.#mode('cbc'), this.#bytes, INITIAL_STATE).setAutoPadding(false)
    return new Uint8Array(decipher.update(blocks).subarray(0, ciphertext.length))
  }

  dispose(): void {
    this.#blockCipher = undefined
    this.#bytes.fill(0)
  }

  /** Swaps the last two blocks back; what the shorter one lost is the decrypted end of the other, since the padding was zero. */
  #restoreOrder(ciphertext: Uint8Array, blocks: Uint8Array): void {
    const last = blocks.length - BLOCK_BYTES
    const final = ciphertext.subarray(last - BLOCK_BYTES, last)
    const short = ciphertext.subarray(last)
    const decipher = createDecipheriv(this.#mode('ecb'), this.#bytes, null).setAutoPadding(false)
    blocks.set(ciphertext.subarray(0, last - BLOCK_BYTES))
    blocks.set(decipher.update(final), last - BLOCK_BYTES)
    blocks.set(short, last - BLOCK_BYTES)
    blocks.set(final, last)
  }

  #mode(mode: 'cbc' | 'ecb'): string {
    return `aes-${this.#bytes.length * 8}-${mode}`
  }
}
