import { UsageError } from '../errors.ts'
import { aesSha1 } from './aes-sha1.ts'
import { aesSha2 } from './aes-sha2.ts'
import type { Enctype } from './profile.ts'

/** The enctypes implemented here (RFC 3962 §7, RFC 8009 §7). Any other number stays a number. */
export const ENCTYPE = {
  AES128_CTS_HMAC_SHA1_96: 17,
  AES256_CTS_HMAC_SHA1_96: 18,
  AES128_CTS_HMAC_SHA256_128: 19,
  AES256_CTS_HMAC_SHA384_192: 20,
} as const

/** What is asked for and accepted unless the caller says otherwise, best liked first. */
export const DEFAULT_ENCTYPES: readonly number[] = Object.freeze([
  ENCTYPE.AES256_CTS_HMAC_SHA1_96,
  ENCTYPE.AES128_CTS_HMAC_SHA1_96,
  ENCTYPE.AES256_CTS_HMAC_SHA384_192,
  ENCTYPE.AES128_CTS_HMAC_SHA256_128,
])

/** Names and checksum types: RFC 3962 §7, RFC 8009 §7. The length of the PRF: RFC 8009 §5. */
const MEMBERS: ReadonlyMap<number, Enctype> = new Map(
  [
    aesSha1({ id: 17, name: 'aes128-cts-hmac-sha1-96', keyBytes: 16, checksumType: 15 }),
    aesSha1({ id: 18, name: 'aes256-cts-hmac-sha1-96', keyBytes: 32, checksumType: 16 }),
    aesSha2({
      id: 19,
      name: 'aes128-cts-hmac-sha256-128',
      hash: 'sha256',
      keyBytes: 16,
      macBytes: 16,
      prfBytes: 32,
      checksumType: 19,
    }),
    aesSha2({
      id: 20,
      name: 'aes256-cts-hmac-sha384-192',
      hash: 'sha384',
      keyBytes: 32,
      macBytes: 24,
      prfBytes: 48,
      checksumType: 20,
    }),
  ].map((member) => [member.id, Object.freeze(member)]),
)

/** Names of numbers that are met but not implemented (RFC 3961 §8; Camellia: RFC 6803). */
const OTHER_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'des-cbc-crc'],
  [2, 'des-cbc-md4'],
  [3, 'des-cbc-md5'],
  [5, 'des3-cbc-md5'],
  [7, 'des3-cbc-sha1'],
  [16, 'des3-cbc-sha1-kd'],
  [23, 'rc4-hmac'],
  [24, 'rc4-hmac-exp'],
  [25, 'camellia128-cts-cmac'],
  [26, 'camellia256-cts-cmac'],
])

/**
 * The enctype of that number.
 *
 * @throws {UsageError} `ENCTYPE_UNSUPPORTED` when it is not one of `ENCTYPE`
 */
export function enctype(id: number): Enctype {
  const member = MEMBERS.get(id)
  if (member === undefined) throw new UsageError('ENCTYPE_UNSUPPORTED', `${enctypeName(id)} is not supported`)
  return member
}

export function isSupportedEnctype(id: number): boolean {
  return MEMBERS.has(id)
}

/** The name to show: `aes256-cts-hmac-sha1-96`, `enctype 23 (rc4-hmac)`, or `enctype 99`. */
export function enctypeName(id: number): string {
  const member = MEMBERS.get(id)
  if (member !== undefined) return member.name
  const name = OTHER_NAMES.get(id)
  return name === undefined ? `enctype ${id}` : `enctype ${id} (${name})`
}
