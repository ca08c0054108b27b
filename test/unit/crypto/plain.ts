/** The plain form of what `src/crypto` does with kept objects and one-shot hashes: a new object of Node for each call. The oracle of its tests. */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'

const BLOCK = 16
const ZERO = new Uint8Array(BLOCK)

const mode = (key: Uint8Array, name: 'cbc' | 'ecb') => `aes-${key.length * 8}-${name}`

export function encryptCbc(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  return new Uint8Array(createCipheriv(mode(key, 'cbc'), key, ZERO).setAutoPadding(false).update(blocks))
}

export function decryptCbc(key: Uint8Array, blocks: Uint8Array): Uint8Array {
  return new Uint8Array(createDecipheriv(mode(key, 'cbc'), key, ZERO).setAutoPadding(false).update(blocks))
}

/** CBC with ciphertext stealing, the last two blocks swapped, from the zero state (RFC 3962 §5). */
export function encryptCts(key: Uint8Array, plain: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(plain.length / BLOCK) * BLOCK)
  padded.set(plain)
  const blocks = encryptCbc(key, padded)
  if (blocks.length === BLOCK) return blocks
  const last = blocks.length - BLOCK
  const swapped = [blocks.subarray(0, last - BLOCK), blocks.subarray(last), blocks.subarray(last - BLOCK, last)]
  return new Uint8Array(Buffer.concat(swapped)).subarray(0, plain.length)
}

/** Every block decrypted for itself, then chained by hand. */
export function decryptCts(key: Uint8Array, cipher: Uint8Array): Uint8Array {
  const blocks = createDecipheriv(mode(key, 'ecb'), key, null).setAutoPadding(false)
  if (cipher.length === BLOCK) return new Uint8Array(blocks.update(cipher))
  const last = Math.ceil(cipher.length / BLOCK) * BLOCK - BLOCK
  const final = cipher.subarray(last - BLOCK, last)
  const opened = blocks.update(final)
  const whole = new Uint8Array(BLOCK)
  whole.set(opened)
  whole.set(cipher.subarray(last))
  const order = Buffer.concat([cipher.subarray(0, last - BLOCK), whole, final])
  const chain = Buffer.concat([ZERO, order.subarray(0, last)])
  return new Uint8Array(blocks.update(order).map((octet, i) => octet ^ (chain[i] as number))).subarray(0, cipher.length)
}

export function hmac(hash: string, key: Uint8Array, text: Uint8Array, bytes: number): Uint8Array {
  return new Uint8Array(createHmac(hash, key).update(text).digest().subarray(0, bytes))
}

/** DR of RFC 3961 §5.1 on a folded constant: one object of Node for each block. */
export function deriveFolded(key: Uint8Array, folded: Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = []
  for (let block = folded; blocks.length * BLOCK < key.length; blocks.push(block)) {
    block = createCipheriv(mode(key, 'ecb'), key, null).setAutoPadding(false).update(block)
  }
  return new Uint8Array(Buffer.concat(blocks))
}
