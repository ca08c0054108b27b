import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { toHex } from '../../../src/bytes/hex.ts'
import {
  DEFAULT_ENCTYPES,
  ENCTYPE,
  enctype,
  enctypeName,
  hash,
  isSupportedEnctype,
  md5,
  sha256,
  sha384,
  sha512,
} from '../../../src/crypto/index.ts'
import { UsageError } from '../../../src/errors.ts'
import { counting } from './vectors.ts'

test('RFC 3962 §6, §7 and RFC 8009 §5 to §7: the numbers of each enctype', () => {
  const rows = Object.values(ENCTYPE).map((id) => {
    const { name, hash: hashName, keyBytes, macBytes, checksumType, defaultIterations, minIterations } = enctype(id)
    return [id, name, hashName, keyBytes, macBytes, checksumType, defaultIterations, minIterations]
  })
  expect(rows).toEqual([
    [17, 'aes128-cts-hmac-sha1-96', 'sha1', 16, 12, 15, 4096, 4096],
    [18, 'aes256-cts-hmac-sha1-96', 'sha1', 32, 12, 16, 4096, 4096],
    [19, 'aes128-cts-hmac-sha256-128', 'sha256', 16, 16, 19, 32768, 32768],
    [20, 'aes256-cts-hmac-sha384-192', 'sha384', 32, 24, 20, 32768, 32768],
  ])
})

test('the default is AES only, the widest supported first, and cannot be changed', () => {
  expect(DEFAULT_ENCTYPES).toEqual([18, 17, 20, 19])
  expect(Object.isFrozen(DEFAULT_ENCTYPES)).toBe(true)
  for (const id of DEFAULT_ENCTYPES) expect(Object.isFrozen(enctype(id))).toBe(true)
})

test('K10: DES, RC4, Camellia and unknown numbers are not supported', () => {
  for (const id of [-1, 0, 1, 3, 16, 23, 24, 25, 26, 17.5, 2 ** 31]) {
    expect(isSupportedEnctype(id)).toBe(false)
    expect(() => enctype(id)).toThrow(UsageError)
    expect(() => enctype(id)).toThrow(expect.objectContaining({ code: 'ENCTYPE_UNSUPPORTED' }))
  }
  for (const id of DEFAULT_ENCTYPES) expect(isSupportedEnctype(id)).toBe(true)
})

test('every number has a name to show', () => {
  expect(enctypeName(18)).toBe('aes256-cts-hmac-sha1-96')
  expect(enctypeName(23)).toBe('enctype 23 (rc4-hmac)')
  expect(enctypeName(99)).toBe('enctype 99')
  expect(enctypeName(-133)).toBe('enctype -133')
})

test('the hashes are those of their names', () => {
  const data = counting(100)
  const plain = (name: string) => createHash(name).update(data).digest('hex')
  for (const name of ['sha1', 'sha256', 'sha384', 'sha512'] as const) expect(toHex(hash(name, data))).toBe(plain(name))
  expect([sha256(data), sha384(data), sha512(data), md5(data)].map(toHex)).toEqual(
    ['sha256', 'sha384', 'sha512', 'md5'].map(plain),
  )
})
