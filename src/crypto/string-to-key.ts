import { utf8 } from '../bytes/bytes.ts'
import { ByteReader } from '../bytes/reader.ts'
import { UsageError, VerificationError } from '../errors.ts'
import { enctype } from './enctypes.ts'
import { Key } from './key.ts'
import type { Enctype } from './profile.ts'

/** Most PBKDF2 iterations: about half a second of one thread. The wire could ask for 2^32 (RFC 3962 §4). */
export const MAX_ITERATIONS = 1_000_000

/**
 * Derives a key from a password (RFC 3962 §4, RFC 8009 §4) on the thread pool: about 2 ms for 4 096 iterations of SHA-1, 5 to
 * 15 ms for 32 768 of SHA-2.
 *
 * @param password text is encoded as UTF-8 and not normalized
 * @param salt by default the realm followed by the name's components, unseparated (RFC 4120 §4)
 * @param iterations 1 to `MAX_ITERATIONS`, by default the enctype's. Below the enctype's `minIterations` only for keys of one's own
 *   making: what a KDC asks for goes through `parseIterations`
 * @throws {UsageError} `ENCTYPE_UNSUPPORTED`; `OPTION_INVALID` when `iterations` is out of range or the text is not Unicode
 */
export async function stringToKey(
  enctypeId: number,
  password: Uint8Array | string,
  salt: Uint8Array,
  iterations?: number,
): Promise<Key> {
  const profile = enctype(enctypeId)
  const count = iterations ?? profile.defaultIterations
  if (!Number.isInteger(count) || count < 1 || count > MAX_ITERATIONS) throw outOfRange(count)

  const secret = typeof password === 'string' ? encodePassword(password) : new Uint8Array(password)
  const bytes = await profile.stringToKey(secret, salt, count).finally(() => secret.fill(0))
  const key = new Key(enctypeId, bytes)
  bytes.fill(0)
  return key
}

/**
 * Reads the parameter of string-to-key that a KDC sent: four octets, the number of iterations (RFC 3962 §4, RFC 8009 §4).
 *
 * @returns the enctype's default when the KDC sent none
 * @throws {MalformedError} `MALFORMED` when it is not four octets
 * @throws {VerificationError} `ITERATIONS_REFUSED` below the enctype's `minIterations`, which would help whoever guesses passwords
 *   from the answer, or above `MAX_ITERATIONS`, which would keep this machine busy
 */
export function parseIterations(s2kparams: Uint8Array | undefined, enctypeId: number): number {
  const profile = enctype(enctypeId)
  if (s2kparams === undefined) return profile.defaultIterations

  const from = new ByteReader(s2kparams)
  const count = from.uint32('s2kparams') || 2 ** 32 // RFC 3962 §4: zero means 2^32
  from.end('s2kparams')
  // check: K11 (RFC 3962 §4, §8)
  if (count < profile.minIterations) throw iterationsRefused(profile, count)
  // check: K11
  if (count > MAX_ITERATIONS) throw iterationsRefused(profile, count)
  return count
}

function encodePassword(password: string): Uint8Array {
  // A lone surrogate has no UTF-8: the encoder would make one password of many (RFC 3629 §3).
  if (/\p{Surrogate}/u.test(password)) throw new UsageError('OPTION_INVALID', 'the password is not well-formed Unicode')
  return utf8(password)
}

function outOfRange(count: number): UsageError {
  return new UsageError('OPTION_INVALID', `iterations: ${count} is not an integer from 1 to ${MAX_ITERATIONS}`)
}

function iterationsRefused(profile: Enctype, count: number): VerificationError {
  const range = `${profile.minIterations} to ${MAX_ITERATIONS}`
  return new VerificationError('ITERATIONS_REFUSED', `${profile.name}: ${count} iterations are not in ${range}`)
}
