import type { Cipher, Decipher } from 'node:crypto'

/** AES works on blocks of 128 bits (RFC 3962 §6). */
export const BLOCK_BYTES = 16

/** The initial cipher state of both families (RFC 3962 §6, RFC 8009 §5). */
export const INITIAL_STATE: Uint8Array = new Uint8Array(BLOCK_BYTES)

/**
 * One direction of CBC without padding, each call from the zero state, on one object of Node: making one costs more than a message of 300 octets.
 *
 * The object never starts afresh. It chains the first block of a call to the last cipher block of the call before, which is remembered here and taken
 * out again by XOR: of what goes in to be encrypted, of what comes out decrypted.
 */
export class KeptCbc {
  readonly #make: () => Cipher | Decipher
  #object: Cipher | Decipher | undefined
  readonly #carried = new Uint8Array(BLOCK_BYTES)

  constructor(make: () => Cipher | Decipher) {
    this.#make = make
  }

  /** Whole blocks, at least one; the array is written to. */
  encrypt(blocks: Uint8Array): Uint8Array {
    const object = this.#take()
    xorFirst(blocks, this.#carried)
    const output = view(object.update(blocks))
    this.#giveBack(object, output)
    return output
  }

  /** Whole blocks, at least one. */
  decrypt(blocks: Uint8Array): Uint8Array {
    const object = this.#take()
    const output = view(object.update(blocks))
    xorFirst(output, this.#carried)
    this.#giveBack(object, blocks)
    return output
  }

  /** An object that throws may have taken in anything: only what is given back is used again. */
  #take(): Cipher | Decipher {
    const object = this.#object
    this.#object = undefined
    if (object !== undefined) return object
    this.#carried.fill(0)
    return this.#make()
  }

  #giveBack(object: Cipher | Decipher, cipherBlocks: Uint8Array): void {
    this.#carried.set(cipherBlocks.subarray(cipherBlocks.length - BLOCK_BYTES))
    this.#object = object
  }
}

/** XORs a block into the first of `blocks`. */
function xorFirst(blocks: Uint8Array, block: Uint8Array): void {
  for (let i = 0; i < BLOCK_BYTES; i++) blocks[i] = (blocks[i] as number) ^ (block[i] as number)
}

/** The same octets without the ways of a `Buffer`, whose `slice` is no copy. */
function view(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}
