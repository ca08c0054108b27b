import { expect, test } from 'vitest'
import { uint32be, utf8 } from '../../../src/bytes/bytes.ts'
import { enctype, MAX_ITERATIONS, parseIterations, stringToKey } from '../../../src/crypto/index.ts'
import { MalformedError, UsageError } from '../../../src/errors.ts'

const SALT = utf8('ANCHOR.TESTalice')

test('without iterations the enctype’s default is taken', async () => {
  for (const [id, iterations] of [
    [17, 4096],
    [19, 32_768],
  ] as const) {
    expect((await stringToKey(id, 'alice-pw', SALT)).equals(await stringToKey(id, 'alice-pw', SALT, iterations))).toBe(
      true,
    )
  }
})

test('the caller’s password and salt stay as they are', async () => {
  const password = utf8('alice-pw')
  await stringToKey(18, password, SALT, 1)
  expect(password).toEqual(utf8('alice-pw'))
  expect(SALT).toEqual(utf8('ANCHOR.TESTalice'))
})

test.each([0, -1, 1.5, Number.NaN, MAX_ITERATIONS + 1, 2 ** 32])(
  '%d iterations are the caller’s mistake',
  async (n) => {
    await expect(stringToKey(18, 'alice-pw', SALT, n)).rejects.toThrow(UsageError)
    await expect(stringToKey(18, 'alice-pw', SALT, n)).rejects.toHaveProperty('code', 'OPTION_INVALID')
  },
)

test('a password that is not Unicode is refused, not changed', async () => {
  await expect(stringToKey(18, 'pw\ud800', SALT, 1)).rejects.toHaveProperty('code', 'OPTION_INVALID')
  await expect(stringToKey(18, '\udc00pw', SALT, 1)).rejects.not.toThrow(/pw/)
})

test('an unknown enctype has no string-to-key', async () => {
  await expect(stringToKey(23, 'alice-pw', SALT)).rejects.toHaveProperty('code', 'ENCTYPE_UNSUPPORTED')
})

for (const id of [17, 18, 19, 20]) {
  const { minIterations, defaultIterations } = enctype(id)

  test(`RFC 3962 §4: s2kparams of enctype ${id}, absent and in range`, () => {
    expect(parseIterations(undefined, id)).toBe(defaultIterations)
    for (const count of [minIterations, minIterations + 1, MAX_ITERATIONS]) {
      expect(parseIterations(uint32be(count), id)).toBe(count)
    }
  })

  test(`K11: too few or too many iterations of enctype ${id} are refused`, () => {
    // 0 is 2^32 on the wire; the rest are the edges.
    for (const count of [0, 1, 4095, minIterations - 1, MAX_ITERATIONS + 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(() => parseIterations(uint32be(count), id)).toThrow(
        expect.objectContaining({ name: 'VerificationError', code: 'ITERATIONS_REFUSED' }),
      )
    }
  })

  test(`s2kparams of enctype ${id} are four octets`, () => {
    for (const length of [0, 1, 3, 5, 8]) {
      const params = new Uint8Array(length)
      params.set(uint32be(defaultIterations).subarray(0, length))
      expect(() => parseIterations(params, id)).toThrow(MalformedError)
    }
  })
}
