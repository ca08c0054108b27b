import { concat, EMPTY, uint32be, utf8 } from '../bytes/bytes.ts'
import { AesKey } from './aes.ts'
import type { HashName } from './hash.ts'
import { derivePbkdf2, HmacKey } from './hmac.ts'
import { INITIAL_STATE } from './kept-cbc.ts'
import {
  CONFOUNDER_BYTES,
  checkConfounder,
  type Enctype,
  integrityFailed,
  PURPOSE,
  type Schedule,
  type Sealer,
  withMac,
} from './profile.ts'

/** Iterations when the KDC names none, and the fewest accepted (RFC 8009 §4). */
const ITERATIONS = 32_768

interface Row {
  readonly id: number
  readonly name: string
  readonly hash: HashName
  readonly keyBytes: number
  readonly macBytes: number
  readonly prfBytes: number
  readonly checksumType: number
}

/** AES-CTS, then HMAC-SHA2 over the initial state and the ciphertext (RFC 8009 §5). Lengths in bytes. */
export function aesSha2(row: Row): Enctype {
  return {
    ...row,
    defaultIterations: ITERATIONS,
    minIterations: ITERATIONS,
    schedule: (key) => schedule(row, key),
    async stringToKey(password, salt, iterations) {
      // RFC 8009 §4: the enctype's name goes before the salt, so that one password yields unrelated keys.
      const salted = concat(utf8(row.name), Uint8Array.of(0), salt)
      const pbkdf2 = await derivePbkdf2(row.hash, password, salted, iterations, row.keyBytes)
      const intermediate = new HmacKey(row.hash, pbkdf2, row.macBytes)
      const key = kdfHmacSha2(intermediate, utf8('kerberos'), row.keyBytes)
      intermediate.dispose()
      return key
    },
  }
}

/** KDF-HMAC-SHA2: HMAC over counter 1, label, zero, context and the length in bits, cut to that length (RFC 8009 §3). */
export function kdfHmacSha2(base: HmacKey, label: Uint8Array, bytes: number, context: Uint8Array = EMPTY): Uint8Array {
  return base.derive(bytes, uint32be(1), label, Uint8Array.of(0), context, uint32be(bytes * 8))
}

function schedule(row: Row, key: Uint8Array): Schedule {
  const base = new HmacKey(row.hash, key, row.macBytes)
  const derive = (usage: number, purpose: number, bytes: number) =>
    kdfHmacSha2(base, concat(uint32be(usage), Uint8Array.of(purpose)), bytes)
  // Kc and Ki are as long as the MAC, Ke as long as the key (RFC 8009 §5).
  const hmac = (usage: number, purpose: number) =>
    new HmacKey(row.hash, derive(usage, purpose, row.macBytes), row.macBytes)

  return {
    sealers: (usages) =>
      usages.map((usage) =>
        sealer(row, new AesKey(derive(usage, PURPOSE.ENCRYPTION, row.keyBytes)), hmac(usage, PURPOSE.INTEGRITY)),
      ),
    signer: (usage) => hmac(usage, PURPOSE.CHECKSUM),
    prf: (input) => kdfHmacSha2(base, utf8('prf'), row.prfBytes, input), // RFC 8009 §5
    dispose: () => base.dispose(),
  }
}

/** C = E(Ke, confounder | plaintext); C | HMAC(Ki, initial state | C) (RFC 8009 §5). */
function sealer(row: Row, ke: AesKey, ki: HmacKey): Sealer {
  return {
    encrypt(plaintext, confounder) {
      checkConfounder(confounder)
      const body = ke.encryptCts(confounder, plaintext)
      return withMac(body, ki.sign(INITIAL_STATE, body))
    },
    decrypt(ciphertext) {
      const end = Math.max(ciphertext.length - row.macBytes, 0)
      const body = ciphertext.subarray(0, end)
      // check: C23 (RFC 8009 §5)
      if (end < CONFOUNDER_BYTES) throw integrityFailed(row.name)
      // check: C23 (RFC 8009 §5)
      if (!ki.matches(ciphertext.subarray(end), INITIAL_STATE, body)) throw integrityFailed(row.name)
      return ke.decryptCts(body).subarray(CONFOUNDER_BYTES)
    },
    dispose() {
      ke.dispose()
      ki.dispose()
    },
  }
}
