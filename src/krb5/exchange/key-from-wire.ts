import { Key } from '../../crypto/index.ts'
import { malformed } from '../../errors.ts'
import type { EncryptionKey } from '../messages/index.ts'

/** A key that a message carries. Its length is the peer's word: a wrong one is the peer's error, not ours. */
export function keyFromWire({ keytype, keyvalue }: EncryptionKey, what: string): Key {
  try {
    return new Key(keytype, keyvalue)
  } catch (cause) {
    throw malformed(`${what}: no key of its enctype`, cause)
  }
}
