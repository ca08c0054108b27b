import { expect, test } from 'vitest'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { kdfHmacSha2 } from '../../../src/crypto/aes-sha2.ts'
import { HmacKey } from '../../../src/crypto/hmac.ts'
import { Key, stringToKey } from '../../../src/crypto/index.ts'
import * as rfc from './rfc8009.ts'
import { counting, hex } from './vectors.ts'

const USAGE = 2

function baseKey(id: number): Key {
  return new Key(id, rfc.BASE_KEYS.get(id) ?? new Uint8Array(0))
}

for (const [id, expected] of rfc.STRING_TO_KEY.keys) {
  test(`RFC 8009 §A: string-to-key, enctype ${id}`, async () => {
    const { password, iterations } = rfc.STRING_TO_KEY
    expect((await stringToKey(id, password, rfc.SALT, iterations)).toBytes()).toEqual(hex(expected))
  })
}

for (const { id, hash, which, constant, key } of rfc.DERIVED_KEYS) {
  test(`RFC 8009 §A: key derivation, enctype ${id}, ${which}`, () => {
    const expected = hex(key)
    expect(kdfHmacSha2(new HmacKey(hash, baseKey(id).toBytes(), 0), hex(constant), expected.length)).toEqual(expected)
  })
}

for (const { id, length, confounder, ciphertext } of rfc.ENCRYPTIONS) {
  test(`RFC 8009 §A: encryption of ${length} octets, enctype ${id}`, () => {
    const key = baseKey(id)
    expect(key.encrypt(USAGE, counting(length), hex(confounder))).toEqual(hex(ciphertext))
    expect(key.decrypt(USAGE, hex(ciphertext))).toEqual(counting(length))
  })
}

for (const { id, mac } of rfc.CHECKSUMS) {
  test(`RFC 8009 §A: checksum, enctype ${id}`, () => {
    const key = baseKey(id)
    expect(key.checksum(USAGE, rfc.CHECKSUM_DATA)).toEqual(hex(mac))
    expect(() => key.verifyChecksum(USAGE, rfc.CHECKSUM_DATA, hex(mac))).not.toThrow()
  })
}

for (const { id, output } of rfc.PRFS) {
  test(`RFC 8009 §A: PRF, enctype ${id}`, () => expect(baseKey(id).prf(utf8('test'))).toEqual(hex(output)))
}
