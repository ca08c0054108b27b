import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fromHex } from '../../../src/bytes/hex.ts'

export interface VectorFile<T> {
  readonly count: number
  readonly records: readonly T[]
}

/** Our own vectors, in `test/vectors`. */
export const OWN: string = fileURLToPath(new URL('../../vectors', import.meta.url))

export function readVectors<T>(folder: string, name: string): VectorFile<T> {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as VectorFile<T>
}

/** Octets from hex; spaces and line breaks as in the RFCs' printing. */
export function hex(text: string): Uint8Array {
  return fromHex(text.replace(/\s/g, ''))
}

/** 0, 1, 2, … : the plaintexts of RFC 8009 appendix A. */
export function counting(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i)
}

/** Every copy of `bytes` with exactly one bit changed. */
export function* bitFlips(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = new Uint8Array(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    yield flipped
  }
}

/** Every proper prefix, the empty one included. */
export function* truncations(bytes: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length < bytes.length; length++) yield bytes.subarray(0, length)
}
