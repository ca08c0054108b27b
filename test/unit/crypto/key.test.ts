import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat } from '../../../src/bytes/bytes.ts'
import { fromHex, toHex } from '../../../src/bytes/hex.ts'
import { AesKey } from '../../../src/crypto/aes.ts'
import { deriveDk } from '../../../src/crypto/aes-sha1.ts'
import { kdfHmacSha2 } from '../../../src/crypto/aes-sha2.ts'
import { HmacKey } from '../../../src/crypto/hmac.ts'
import { CONFOUNDER_BYTES, DEFAULT_ENCTYPES, enctype, Key } from '../../../src/crypto/index.ts'
import { INITIAL_STATE } from '../../../src/crypto/kept-cbc.ts'
import { MAX_KEPT_USAGES } from '../../../src/crypto/key.ts'
import { UsageError, VerificationError } from '../../../src/errors.ts'
import * as rfc8009 from './rfc8009.ts'
import { bitFlips, counting, hex, truncations } from './vectors.ts'

const USAGE = 2
const CONFOUNDER = counting(CONFOUNDER_BYTES)

/** A key of bytes that stand out in any text. */
function someKey(id: number, first = 0xa0): Key {
  return new Key(
    id,
    Uint8Array.from({ length: enctype(id).keyBytes }, (_, i) => (first + i) & 0xff),
  )
}

function expectRefused(act: () => unknown): void {
  expectError(act, VerificationError, 'INTEGRITY_FAILED')
}

function expectError(act: () => unknown, type: typeof UsageError | typeof VerificationError, code: string): void {
  let thrown: unknown
  try {
    act()
  } catch (error) {
    thrown = error
  }
  expect(thrown).toBeInstanceOf(type)
  expect(thrown).toHaveProperty('code', code)
}

/** Known answers of RFC 8009 §A, and of both SHA-1 enctypes a text of our own in three lengths around the block. */
const SEALED: readonly (readonly [Key, Uint8Array, number])[] = [
  ...rfc8009.ENCRYPTIONS.map(
    ({ id, length, ciphertext }) =>
      [new Key(id, rfc8009.BASE_KEYS.get(id) ?? new Uint8Array(0)), hex(ciphertext), length] as const,
  ),
  ...[17, 18].flatMap((id) =>
    [0, 1, 15, 16, 17].map((length) => {
      const key = someKey(id)
      return [key, key.encrypt(USAGE, counting(length), CONFOUNDER), length] as const
    }),
  ),
]

describe('C23: what was altered is refused', () => {
  for (const [key, ciphertext, length] of SEALED) {
    const what = `${length} octets sealed with ${key}`
    test(`every flipped bit of ${what}`, () => {
      for (const flipped of bitFlips(ciphertext)) expectRefused(() => key.decrypt(USAGE, flipped))
    })
    test(`every truncation of ${what}`, () => {
      for (const short of truncations(ciphertext)) expectRefused(() => key.decrypt(USAGE, short))
      expectRefused(() => key.decrypt(USAGE, ciphertext.subarray(1)))
    })
    test(`an octet more than ${what}`, () => {
      expectRefused(() => key.decrypt(USAGE, Uint8Array.of(...ciphertext, 0)))
    })
  }

  // Only who holds the key can make these: the MAC is right, but there is no room for a confounder before it.
  test.each([17, 18])('a right MAC over less than a confounder, enctype %i', (id) => {
    const key = someKey(id)
    const base = new AesKey(key.toBytes())
    const [ke, ki] = ['00000002aa', '0000000255'].map((constant) => deriveDk(base, hex(constant), enctype(id).keyBytes))
    for (const body of truncations(counting(CONFOUNDER_BYTES))) {
      const text = new AesKey(ke ?? body).decryptCts(body)
      const mac = new HmacKey('sha1', ki ?? body, 12).sign(text)
      expectRefused(() => key.decrypt(USAGE, concat(body, mac)))
    }
  })
  test.each([19, 20])('a right MAC over less than a confounder, enctype %i', (id) => {
    const key = someKey(id)
    const { hash, macBytes } = enctype(id)
    const ki = kdfHmacSha2(new HmacKey(hash, key.toBytes(), macBytes), hex('0000000255'), macBytes)
    for (const body of truncations(counting(CONFOUNDER_BYTES))) {
      const mac = new HmacKey(hash, ki, macBytes).sign(INITIAL_STATE, body)
      expectRefused(() => key.decrypt(USAGE, concat(body, mac)))
    }
  })

  test.each(DEFAULT_ENCTYPES)('checksums of enctype %i: every bit, every length', (id) => {
    const key = someKey(id)
    const data = counting(20)
    const mac = key.checksum(USAGE, data)
    expect(mac.length).toBe(enctype(id).macBytes)
    key.verifyChecksum(USAGE, data, mac)
    for (const flipped of bitFlips(mac)) expectRefused(() => key.verifyChecksum(USAGE, data, flipped))
    for (const short of truncations(mac)) expectRefused(() => key.verifyChecksum(USAGE, data, short))
    for (const flipped of bitFlips(data)) expectRefused(() => key.verifyChecksum(USAGE, flipped, mac))
    expectRefused(() => key.verifyChecksum(USAGE, data, Uint8Array.of(...mac, 0)))
    expectRefused(() => key.verifyChecksum(USAGE + 1, data, mac))
    expectRefused(() => someKey(id, 0xa1).verifyChecksum(USAGE, data, mac))
  })
})

describe.each(DEFAULT_ENCTYPES)('a key of enctype %i', (id) => {
  test('K07: another usage, key or enctype does not decrypt', () => {
    const sealed = someKey(id).encrypt(USAGE, counting(40), CONFOUNDER)
    expect(someKey(id).decrypt(USAGE, sealed)).toEqual(counting(40))
    expectRefused(() => someKey(id).decrypt(USAGE + 1, sealed))
    expectRefused(() => someKey(id, 0xa1).decrypt(USAGE, sealed))
    for (const other of DEFAULT_ENCTYPES) {
      if (other !== id) expectRefused(() => someKey(other).decrypt(USAGE, sealed))
    }
  })

  test('a checksum key is neither of the sealing keys', () => {
    const key = someKey(id)
    const sealed = key.encrypt(USAGE, counting(40), CONFOUNDER)
    const mac = key.checksum(USAGE, Uint8Array.of(...CONFOUNDER, ...counting(40)))
    expect(toHex(sealed)).not.toContain(toHex(mac))
  })

  test('the plaintext is overwritten, also when nothing was sealed', () => {
    const key = someKey(id)
    const sealed = counting(40)
    key.encrypt(USAGE, sealed, CONFOUNDER)
    const refused = counting(40)
    expect(() => key.encrypt(USAGE, refused, new Uint8Array(3))).toThrow()
    key.dispose()
    const late = counting(40)
    expect(() => key.encrypt(USAGE, late, CONFOUNDER)).toThrow()
    for (const plaintext of [sealed, refused, late]) expect(plaintext).toEqual(new Uint8Array(40))
  })

  test('what is sealed is opened, and longer by confounder and MAC', () => {
    const octets = fc.uint8Array({ maxLength: 200 })
    const confounder = fc.uint8Array({ minLength: CONFOUNDER_BYTES, maxLength: CONFOUNDER_BYTES })
    const { keyBytes, macBytes } = enctype(id)
    const keys = fc.uint8Array({ minLength: keyBytes, maxLength: keyBytes })
    fc.assert(
      fc.property(keys, fc.integer({ min: 0, max: 0xffffffff }), octets, confounder, (bytes, usage, text, random) => {
        const sealed = new Key(id, bytes).encrypt(usage, text.slice(), random)
        expect(sealed.length).toBe(text.length + CONFOUNDER_BYTES + macBytes)
        expect(new Key(id, bytes).decrypt(usage, sealed)).toEqual(text)
      }),
      { numRuns: 50 },
    )
  })

  test('more usages than are kept still give the same keys', () => {
    const key = someKey(id)
    const usages = Array.from({ length: 3 * MAX_KEPT_USAGES }, (_, i) => i)
    const sealed = usages.map((usage) => key.encrypt(usage, counting(usage), CONFOUNDER))
    const macs = usages.map((usage) => key.checksum(usage, counting(usage)))
    for (const usage of usages) {
      expect(key.decrypt(usage, sealed[usage] ?? new Uint8Array(0))).toEqual(counting(usage))
      expect(key.checksum(usage, counting(usage))).toEqual(macs[usage])
    }
  })

  test('a key or confounder of another length, or a number that is no usage, is the caller’s mistake', () => {
    const { keyBytes } = enctype(id)
    for (const length of [0, keyBytes - 1, keyBytes + 1, 24, 64]) {
      expectError(() => new Key(id, new Uint8Array(length)), UsageError, 'KEY_INVALID')
    }
    const key = someKey(id)
    for (const length of [0, CONFOUNDER_BYTES - 1, CONFOUNDER_BYTES + 1]) {
      expectError(() => key.encrypt(USAGE, counting(1), new Uint8Array(length)), UsageError, 'OPTION_INVALID')
    }
    for (const usage of [-1, 1.5, Number.NaN, 2 ** 32 + USAGE]) {
      expectError(() => key.encrypt(usage, counting(1), CONFOUNDER), UsageError, 'OPTION_INVALID')
      expectError(() => key.checksum(usage, counting(1)), UsageError, 'OPTION_INVALID')
    }
  })

  test('its bytes are copied in and out', () => {
    const bytes = counting(enctype(id).keyBytes)
    const key = new Key(id, bytes)
    bytes.fill(0)
    key.toBytes().fill(0)
    expect(key.toBytes()).toEqual(counting(bytes.length))
  })

  test('S80: no text shows its bytes', () => {
    const key = someKey(id)
    const bytes = key.toBytes()
    key.decrypt(USAGE, key.encrypt(USAGE, counting(1), CONFOUNDER))
    key.checksum(USAGE, counting(1))
    const texts = [
      inspect(key, { depth: null, showHidden: true, getters: true }),
      inspect({ key }, { depth: null }),
      JSON.stringify({ key }),
      `${key}`,
      String(Object.entries(key)),
      JSON.stringify(structuredClone({ ...key })),
    ]
    for (const text of texts) {
      expect(text).not.toMatch(/a0.?a1.?a2/i)
      expect(text).not.toContain('160') // 0xa0 in decimal
      expect(text).not.toContain(Buffer.from(bytes).toString('base64').slice(0, 8))
    }
    expect(`${key}`).toBe(`Key(${enctype(id).name})`)
  })

  test('equality is of enctype and bytes', () => {
    const key = someKey(id)
    expect(key.equals(someKey(id))).toBe(true)
    for (const flipped of bitFlips(key.toBytes())) expect(key.equals(new Key(id, flipped))).toBe(false)
    for (const other of DEFAULT_ENCTYPES) expect(key.equals(someKey(other))).toBe(other === id)
  })

  test('after dispose it does nothing', () => {
    const key = someKey(id)
    const sealed = key.encrypt(USAGE, counting(3), CONFOUNDER)
    const mac = key.checksum(USAGE, counting(3))
    key.dispose()
    key.dispose()
    const uses = [
      () => key.encrypt(USAGE, counting(3), CONFOUNDER),
      () => key.decrypt(USAGE, sealed),
      () => key.checksum(USAGE, counting(3)),
      () => key.verifyChecksum(USAGE, counting(3), mac),
      () => key.prf(counting(3)),
      () => key.toBytes(),
      () => key.equals(someKey(id)),
      () => someKey(id).equals(key),
    ]
    for (const use of uses) expectError(use, UsageError, 'KEY_INVALID')
  })
})

test('a view into a larger array is read where it is', () => {
  const key = someKey(18)
  const sealed = key.encrypt(USAGE, counting(30), CONFOUNDER)
  const around = fromHex(`ffffff${toHex(sealed)}ffff`)
  expect(key.decrypt(USAGE, around.subarray(3, 3 + sealed.length))).toEqual(counting(30))
})
