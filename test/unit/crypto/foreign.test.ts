import { describe, expect, test } from 'vitest'
import { toHex } from '../../../src/bytes/hex.ts'
import { AesKey } from '../../../src/crypto/aes.ts'
import { deriveDk } from '../../../src/crypto/aes-sha1.ts'
import { kdfHmacSha2 } from '../../../src/crypto/aes-sha2.ts'
import { HmacKey } from '../../../src/crypto/hmac.ts'
import { enctype, isSupportedEnctype, Key, nFold, stringToKey } from '../../../src/crypto/index.ts'
import { hex, readVectors } from './vectors.ts'

/** Values of other projects' test suites, read where they lie and never copied here. */
const folder = process.env['SPNEGO_FOREIGN_VECTORS']

interface Common {
  readonly id: string
  readonly etype: number
  readonly source: string
}

function supported<T extends Common>(name: string): readonly T[] {
  return readVectors<T>(folder ?? '', name).records.filter(({ etype }) => isSupportedEnctype(etype))
}

function title({ id, etype, source }: Common): string {
  return `${id}, enctype ${etype}: ${source}`
}

describe.skipIf(folder === undefined)('vectors of other projects', () => {
  if (folder === undefined) return

  interface StringToKey extends Common {
    readonly password_hex: string
    readonly salt_hex: string
    readonly iterations: number | null
    readonly key_hex: string
  }
  for (const record of supported<StringToKey>('string_to_key')) {
    test(title(record), async () => {
      const { etype, password_hex, salt_hex, iterations } = record
      const key = await stringToKey(etype, hex(password_hex), hex(salt_hex), iterations ?? undefined)
      expect(toHex(key.toBytes())).toBe(record.key_hex)
    })
  }

  interface Encryption extends Common {
    readonly usage: number
    readonly key_hex: string
    readonly confounder_hex: string
    readonly plaintext_hex: string
    readonly ciphertext_hex: string
  }
  for (const record of supported<Encryption>('encryption')) {
    test(title(record), () => {
      const { usage, plaintext_hex, confounder_hex, ciphertext_hex } = record
      const key = new Key(record.etype, hex(record.key_hex))
      expect(toHex(key.encrypt(usage, hex(plaintext_hex), hex(confounder_hex)))).toBe(ciphertext_hex)
      expect(toHex(key.decrypt(usage, hex(ciphertext_hex)))).toBe(plaintext_hex)
    })
  }

  interface Checksum extends Common {
    readonly cksumtype: number
    readonly usage: number
    readonly key_hex: string
    readonly plaintext_hex: string
    readonly checksum_hex: string
  }
  for (const record of supported<Checksum>('checksums')) {
    test(title(record), () => {
      const key = new Key(record.etype, hex(record.key_hex))
      expect(enctype(record.etype).checksumType).toBe(record.cksumtype)
      expect(toHex(key.checksum(record.usage, hex(record.plaintext_hex)))).toBe(record.checksum_hex)
    })
  }

  interface Prf extends Common {
    readonly key_hex: string
    readonly input_hex: string
    readonly output_hex: string
  }
  for (const record of supported<Prf>('prf')) {
    test(title(record), () => {
      const key = new Key(record.etype, hex(record.key_hex))
      expect(toHex(key.prf(hex(record.input_hex)))).toBe(record.output_hex)
    })
  }

  interface Derivation extends Common {
    readonly base_key_hex: string
    readonly constant_hex: string
    readonly derived_key_hex: string
  }
  for (const record of supported<Derivation>('key_derivation')) {
    test(title(record), () => {
      const [base, constant, bytes] = [
        hex(record.base_key_hex),
        hex(record.constant_hex),
        record.derived_key_hex.length / 2,
      ]
      const { hash } = enctype(record.etype)
      const key =
        hash === 'sha1'
          ? deriveDk(new AesKey(base), constant, bytes)
          : kdfHmacSha2(new HmacKey(hash, base, bytes), constant, bytes)
      expect(toHex(key)).toBe(record.derived_key_hex)
    })
  }

  interface NFold {
    readonly id: string
    readonly input_hex: string
    readonly out_bits: number
    readonly output_hex: string
  }
  for (const { id, input_hex, out_bits, output_hex } of readVectors<NFold>(folder, 'nfold').records) {
    test(id, () => expect(toHex(nFold(hex(input_hex), out_bits / 8))).toBe(output_hex))
  }
})
