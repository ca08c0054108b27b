import { createCipheriv } from 'node:crypto'
import { expect, test } from 'vitest'
import { concat } from '../../../src/bytes/bytes.ts'
import { toHex } from '../../../src/bytes/hex.ts'
import { nFold } from '../../../src/crypto/index.ts'
import { UsageError } from '../../../src/errors.ts'
import { hex, OWN, readVectors } from './vectors.ts'

interface NFold {
  readonly input_hex: string
  readonly input_text: string
  readonly out_bits: number
  readonly output_hex: string
}

for (const { input_hex, input_text, out_bits, output_hex } of readVectors<NFold>(OWN, 'nfold').records) {
  test(`RFC 3961 §A.1: ${out_bits}-fold("${input_text}")`, () => {
    expect(toHex(nFold(hex(input_hex), out_bits / 8))).toBe(output_hex)
  })
}

interface Derivation {
  readonly id: string
  readonly base_key_hex: string
  readonly constant_hex: string
  readonly dr_hex: string
}

// The printed DR values are of triple DES, which is not ours; they show that usage constants are folded rightly.
for (const { id, base_key_hex, constant_hex, dr_hex } of readVectors<Derivation>(OWN, 'key_derivation').records) {
  test(`RFC 3961 §A.3: ${id}, DR of the folded constant ${constant_hex}`, () => {
    const encrypt = (block: Uint8Array) =>
      createCipheriv('des-ede3', hex(base_key_hex), null).setAutoPadding(false).update(block)
    const first = encrypt(nFold(hex(constant_hex), 8))
    const second = encrypt(first)
    expect(toHex(concat(first, second, encrypt(second)).subarray(0, 21))).toBe(dr_hex)
  })
}

test('an empty input or output is the caller’s mistake', () => {
  expect(() => nFold(new Uint8Array(0), 8)).toThrow(UsageError)
  expect(() => nFold(Uint8Array.of(1), 0)).toThrow(UsageError)
  expect(() => nFold(Uint8Array.of(1), 1.5)).toThrow(UsageError)
})
