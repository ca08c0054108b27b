import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { toHex } from '../../../src/bytes/hex.ts'
import { AesKey } from '../../../src/crypto/aes.ts'
import { derivePbkdf2 } from '../../../src/crypto/hmac.ts'
import { stringToKey } from '../../../src/crypto/index.ts'
import { counting, hex, OWN, readVectors } from './vectors.ts'

/** The values printed in RFC 3962 appendix B. `pbkdf2` is the 256-bit output; the 128-bit one is its first half. */
const STRING_TO_KEY = [
  {
    iterations: 1,
    password: 'password',
    salt: utf8('ATHENA.MIT.EDUraeburn'),
    pbkdf2: 'cd ed b5 28 1b b2 f8 01 56 5a 11 22 b2 56 35 15 0a d1 f7 a0 4b b9 f3 a3 33 ec c0 e2 e1 f7 08 37',
    aes128: '42 26 3c 6e 89 f4 fc 28 b8 df 68 ee 09 79 9f 15',
    aes256: 'fe 69 7b 52 bc 0d 3c e1 44 32 ba 03 6a 92 e6 5b bb 52 28 09 90 a2 fa 27 88 39 98 d7 2a f3 01 61',
  },
  {
    iterations: 2,
    password: 'password',
    salt: utf8('ATHENA.MIT.EDUraeburn'),
    pbkdf2: '01 db ee 7f 4a 9e 24 3e 98 8b 62 c7 3c da 93 5d a0 53 78 b9 32 44 ec 8f 48 a9 9e 61 ad 79 9d 86',
    aes128: 'c6 51 bf 29 e2 30 0a c2 7f a4 69 d6 93 bd da 13',
    aes256: 'a2 e1 6d 16 b3 60 69 c1 35 d5 e9 d2 e2 5f 89 61 02 68 56 18 b9 59 14 b4 67 c6 76 22 22 58 24 ff',
  },
  {
    iterations: 1200,
    password: 'password',
    salt: utf8('ATHENA.MIT.EDUraeburn'),
    pbkdf2: '5c 08 eb 61 fd f7 1e 4e 4e c3 cf 6b a1 f5 51 2b a7 e5 2d db c5 e5 14 2f 70 8a 31 e2 e6 2b 1e 13',
    aes128: '4c 01 cd 46 d6 32 d0 1e 6d be 23 0a 01 ed 64 2a',
    aes256: '55 a6 ac 74 0a d1 7b 48 46 94 10 51 e1 e8 b0 a7 54 8d 93 b0 ab 30 a8 bc 3f f1 62 80 38 2b 8c 2a',
  },
  {
    iterations: 5,
    password: 'password',
    salt: hex('12 34 56 78 78 56 34 12'),
    pbkdf2: 'd1 da a7 86 15 f2 87 e6 a1 c8 b1 20 d7 06 2a 49 3f 98 d2 03 e6 be 49 a6 ad f4 fa 57 4b 6e 64 ee',
    aes128: 'e9 b2 3d 52 27 37 47 dd 5c 35 cb 55 be 61 9d 8e',
    aes256: '97 a4 e7 86 be 20 d8 1a 38 2d 5e bc 96 d5 90 9c ab cd ad c8 7c a4 8f 57 45 04 15 9f 16 c3 6e 31',
  },
  {
    iterations: 1200,
    password: 'X'.repeat(64),
    salt: utf8('pass phrase equals block size'),
    pbkdf2: '13 9c 30 c0 96 6b c3 2b a5 5f db f2 12 53 0a c9 c5 ec 59 f1 a4 52 f5 cc 9a d9 40 fe a0 59 8e d1',
    aes128: '59 d1 bb 78 9a 82 8b 1a a5 4e f9 c2 88 3f 69 ed',
    aes256: '89 ad ee 36 08 db 8b c7 1f 1b fb fe 45 94 86 b0 56 18 b7 0c ba e2 20 92 53 4e 56 c5 53 ba 4b 34',
  },
  {
    iterations: 1200,
    password: 'X'.repeat(65),
    salt: utf8('pass phrase exceeds block size'),
    pbkdf2: '9c ca d6 d4 68 77 0c d5 1b 10 e6 a6 87 21 be 61 1a 8b 4d 28 26 01 db 3b 36 be 92 46 91 5e c8 2a',
    aes128: 'cb 80 05 dc 5f 90 17 9a 7f 02 10 4c 00 18 75 1d',
    aes256: 'd7 8c 5c 9c b8 72 a8 c9 da d4 69 7f 0b b5 b2 d2 14 96 c8 2b eb 2c ae da 21 12 fc ee a0 57 40 1b',
  },
  {
    iterations: 50,
    password: '\u{1d11e}', // the g-clef
    salt: utf8('EXAMPLE.COMpianist'),
    pbkdf2: '6b 9c f2 6d 45 45 5a 43 a5 b8 bb 27 6a 40 3b 39 e7 fe 37 a0 c4 1e 02 c2 81 ff 30 69 e1 e9 4f 52',
    aes128: 'f1 49 c1 f2 e1 54 a7 34 52 d4 3e 7f e6 2a 56 e5',
    aes256: '4b 6d 98 39 f8 44 06 df 1f 09 cc 16 6d b4 b8 3c 57 18 48 b7 84 a3 d6 bd c3 46 58 9a 3e 39 3f 9e',
  },
] as const

for (const { iterations, password, salt, pbkdf2, aes128, aes256 } of STRING_TO_KEY) {
  const shown = `"${password.slice(0, 8)}" (${password.length}), ${iterations} iterations`
  test(`RFC 3962 §B: PBKDF2, ${shown}`, async () => {
    expect(await derivePbkdf2('sha1', utf8(password), salt, iterations, 32)).toEqual(hex(pbkdf2))
    expect(await derivePbkdf2('sha1', utf8(password), salt, iterations, 16)).toEqual(hex(pbkdf2).slice(0, 16))
  })
  test(`RFC 3962 §B: string-to-key, ${shown}`, async () => {
    expect((await stringToKey(17, password, salt, iterations)).toBytes()).toEqual(hex(aes128))
    expect((await stringToKey(18, utf8(password), salt, iterations)).toBytes()).toEqual(hex(aes256))
  })
}

interface Cts {
  readonly id: string
  readonly key_hex: string
  readonly input_hex: string
  readonly output_hex: string
}

describe('AES in CBC with ciphertext stealing', () => {
  for (const { id, key_hex, input_hex, output_hex } of readVectors<Cts>(OWN, 'aes_cts').records) {
    test(`RFC 3962 §B: ${id}, ${input_hex.length / 2} octets`, () => {
      const key = new AesKey(hex(key_hex))
      expect(toHex(key.encryptCts(hex(input_hex)))).toBe(output_hex)
      expect(toHex(key.decryptCts(hex(output_hex)))).toBe(input_hex)
    })
  }

  test.each([16, 17, 31, 32, 33, 47, 48, 49, 64, 4096])('%i octets come back', (length) => {
    for (const keyBytes of [16, 32]) {
      const key = new AesKey(counting(keyBytes))
      const sealed = key.encryptCts(counting(length))
      expect(sealed.length).toBe(length)
      expect(key.decryptCts(sealed)).toEqual(counting(length))
    }
  })
})
