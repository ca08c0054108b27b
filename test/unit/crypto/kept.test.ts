/** What is kept between calls never shows: every result is that of the plain form, in any order, after any failure. */
import { createDecipheriv } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, uint32be } from '../../../src/bytes/bytes.ts'
import { toHex } from '../../../src/bytes/hex.ts'
import { AesKey } from '../../../src/crypto/aes.ts'
import { foldedUsage } from '../../../src/crypto/folded-usages.ts'
import { HmacKey } from '../../../src/crypto/hmac.ts'
import { CONFOUNDER_BYTES, DEFAULT_ENCTYPES, enctype, Key, nFold } from '../../../src/crypto/index.ts'
import { KeptCbc } from '../../../src/crypto/kept-cbc.ts'
import { PURPOSE } from '../../../src/crypto/profile.ts'
import * as plain from './plain.ts'
import { counting } from './vectors.ts'

const LENGTHS = Array.from({ length: 185 }, (_, i) => i + 16)
const octets = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength })
/** Some calls get a `Buffer`, which is a `Uint8Array` with other ways. */
const given = (bytes: Uint8Array, asBuffer: boolean): Uint8Array => (asBuffer ? Buffer.from(bytes) : bytes)

/** Makes `update` of Node's object throw, since it takes no text without an encoding and no number at all. */
const NOT_OCTETS = 7 as unknown as Uint8Array

describe.each([16, 32])('AES with a key of %i octets', (keyBytes) => {
  test('every length from 16 to 200, one after the other on one key', () => {
    const bytes = counting(keyBytes)
    const key = new AesKey(bytes.slice())
    for (const length of LENGTHS) {
      const text = counting(length)
      const sealed = key.encryptCts(text)
      expect(toHex(sealed), `${length}`).toBe(toHex(plain.encryptCts(bytes, text)))
      expect(toHex(key.decryptCts(sealed)), `${length}`).toBe(toHex(text))
      expect(toHex(key.decryptCts(text)), `${length}`).toBe(toHex(plain.decryptCts(bytes, text)))
    }
  })

  test('calls on three keys, in any order, some of which throw', () => {
    const call = fc.record({
      which: fc.nat({ max: 2 }),
      what: fc.constantFrom('encrypt', 'decrypt', 'fail' as const),
      text: octets(16, 200),
      cut: fc.nat({ max: 200 }),
      asBuffer: fc.boolean(),
    })
    const keys = fc.array(octets(keyBytes, keyBytes), { minLength: 3, maxLength: 3 })
    fc.assert(
      fc.property(keys, fc.array(call, { maxLength: 30 }), (all, calls) => {
        const kept = all.map((bytes) => new AesKey(bytes.slice()))
        for (const { which, what, text, cut, asBuffer } of calls) {
          const [bytes, key] = [all[which], kept[which]] as [Uint8Array, AesKey]
          const before = toHex(text)
          const parts = [given(text.subarray(0, cut), asBuffer), text.subarray(cut)]
          if (what === 'encrypt') expect(toHex(key.encryptCts(...parts))).toBe(toHex(plain.encryptCts(bytes, text)))
          if (what === 'decrypt') {
            expect(toHex(key.decryptCts(given(text, asBuffer)))).toBe(toHex(plain.decryptCts(bytes, text)))
          }
          if (what === 'fail') {
            expect(() => key.encryptCts(NOT_OCTETS, text)).toThrow()
            expect(() => key.decryptCts(NOT_OCTETS)).toThrow()
          }
          expect(toHex(text)).toBe(before)
        }
      }),
    )
  })

  test('what was returned stays as it is, whatever comes after', () => {
    const key = new AesKey(counting(keyBytes))
    const results = LENGTHS.flatMap((length) => [key.encryptCts(counting(length)), key.decryptCts(counting(length))])
    const before = results.map(toHex)
    for (let i = 0; i < 2000; i++) key.decryptCts(key.encryptCts(counting(100 + (i % 100))))
    expect(results.map(toHex)).toEqual(before)
  })
})

test('an object that threw is not used again', () => {
  const bytes = counting(32)
  const blocks = counting(64)
  let made = 0
  let broken = false
  const kept = new KeptCbc(() => {
    made++
    const object = createDecipheriv('aes-256-cbc', bytes, new Uint8Array(16)).setAutoPadding(false)
    const update = object.update.bind(object) as (data: Uint8Array) => Buffer
    // It takes the blocks in, as an object may, and only then it fails.
    const failing = (data: Uint8Array) => {
      const output = update(data)
      if (broken) throw new Error('broken')
      return output
    }
    return Object.assign(object, { update: failing as typeof object.update })
  })
  const expected = toHex(plain.decryptCbc(bytes, blocks))
  expect(toHex(kept.decrypt(blocks))).toBe(expected)
  expect(toHex(kept.decrypt(blocks))).toBe(expected)
  expect(made).toBe(1)
  broken = true
  expect(() => kept.decrypt(blocks)).toThrow('broken')
  broken = false
  expect(toHex(kept.decrypt(blocks))).toBe(expected)
  expect(toHex(kept.decrypt(blocks))).toBe(expected)
  expect(made).toBe(2)
})

describe.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('HMAC with %s', (hash) => {
  test('keys of every length, texts short and long, in any number of parts', () => {
    const text = fc.oneof(octets(0, 300), octets(1000, 1100), octets(3000, 3000))
    const texts = fc.array(fc.array(text, { maxLength: 4 }), { maxLength: 8 })
    fc.assert(
      fc.property(octets(1, 150), fc.integer({ min: 1, max: 20 }), texts, (bytes, macBytes, all) => {
        const key = new HmacKey(hash, bytes.slice(), macBytes)
        for (const parts of all) {
          const expected = plain.hmac(hash, bytes, Buffer.concat(parts), macBytes)
          const mac = key.sign(...parts)
          expect(toHex(mac)).toBe(toHex(expected))
          expect(key.matches(expected, ...parts)).toBe(true)
          expect(toHex(key.derive(10, ...parts))).toBe(toHex(plain.hmac(hash, bytes, Buffer.concat(parts), 10)))
          expect(toHex(mac)).toBe(toHex(expected))
        }
      }),
    )
  })

  test('after an exception', () => {
    const bytes = counting(20)
    const key = new HmacKey(hash, bytes.slice(), 12)
    const before = key.sign(counting(50))
    expect(() => key.sign(counting(5), undefined as unknown as Uint8Array)).toThrow()
    expect(key.sign(counting(50))).toEqual(before)
  })
})

test('the folded constants of usages are their n-folds', () => {
  for (const usage of [0, 1, 2, 3, 11, 12, 22, 255, 0xffffffff]) {
    for (const purpose of Object.values(PURPOSE)) {
      const constant = concat(uint32be(usage), Uint8Array.of(purpose))
      expect(toHex(foldedUsage(usage, purpose)), `${usage}`).toBe(toHex(nFold(constant, 16)))
    }
  }
})

describe.each(DEFAULT_ENCTYPES)('a key of enctype %i', (id) => {
  const { keyBytes } = enctype(id)
  const confounder = counting(CONFOUNDER_BYTES)

  test('usages derived together are those derived one by one', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat({ max: 30 }), { maxLength: 8 }),
        octets(keyBytes, keyBytes),
        (usages, bytes) => {
          const together = new Key(id, bytes)
          together.derive(...usages)
          together.derive(...usages)
          for (const usage of usages) {
            const sealed = new Key(id, bytes).encrypt(usage, counting(40), confounder)
            expect(toHex(together.encrypt(usage, counting(40), confounder))).toBe(toHex(sealed))
            expect(toHex(together.decrypt(usage, sealed))).toBe(toHex(counting(40)))
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  test('calls of several keys and usages, right and wrong, in any order', () => {
    const call = fc.record({
      which: fc.nat({ max: 1 }),
      usage: fc.constantFrom(2, 11, 12),
      text: octets(0, 120),
      flip: fc.option(fc.nat({ max: 1000 }), { nil: undefined }),
    })
    fc.assert(
      fc.property(fc.array(call, { maxLength: 20 }), (calls) => {
        const kept = [new Key(id, counting(keyBytes)), new Key(id, counting(keyBytes).reverse())]
        for (const { which, usage, text, flip } of calls) {
          const key = kept[which] as Key
          const sealed = key.encrypt(usage, text.slice(), confounder)
          expect(sealed).toEqual(new Key(id, key.toBytes()).encrypt(usage, text.slice(), confounder))
          if (flip !== undefined) {
            const wrong = sealed.slice()
            const at = flip % wrong.length
            wrong[at] = (wrong[at] as number) ^ 1
            expect(() => key.decrypt(usage, wrong)).toThrow('integrity')
          }
          expect(key.decrypt(usage, sealed)).toEqual(text)
        }
      }),
      { numRuns: 60 },
    )
  })
})

test.each([17, 18])('enctype %i: sealing is that of the plain form (RFC 3961 §5.3)', (id) => {
  const { keyBytes, macBytes } = enctype(id)
  const confounder = counting(CONFOUNDER_BYTES)
  const bytes = counting(keyBytes)
  const key = new Key(id, bytes)
  for (const usage of [2, 11, 12, 24]) {
    const derived = (purpose: number) =>
      plain.deriveFolded(bytes, nFold(concat(uint32be(usage), Uint8Array.of(purpose)), 16))
    const text = concat(confounder, counting(77))
    const body = plain.encryptCts(derived(PURPOSE.ENCRYPTION), text)
    const mac = plain.hmac('sha1', derived(PURPOSE.INTEGRITY), text, macBytes)
    expect(toHex(key.encrypt(usage, counting(77), confounder))).toBe(toHex(concat(body, mac)))
  }
})
