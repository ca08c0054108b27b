import { concat, uint32be, utf8 } from '../bytes/bytes.ts'
import { AesKey, BLOCK_BYTES } from './aes.ts'
import { hash } from './hash.ts'
import { derivePbkdf2, HmacKey } from './hmac.ts'
import { nFold } from './n-fold.ts'
import {
  CONFOUNDER_BYTES,
  checkConfounder,
  type Enctype,
  integrityFailed,
  PURPOSE,
  type Schedule,
  type Sealer,
} from './profile.ts'

/** HMAC-SHA1 is cut to 96 bits (RFC 3962 §6). */
const MAC_BYTES = 12

/** Iterations when the KDC names none, and the fewest accepted (RFC 3962 §4, §8). */
const ITERATIONS = 4096

interface Row {
  readonly id: number
  readonly name: string
  readonly keyBytes: number
  readonly checksumType: number
}

/** AES-CTS and HMAC-SHA1 in the simplified profile (RFC 3961 §5, RFC 3962 §6). Lengths in bytes. */
export function aesSha1(row: Row): Enctype {
  return {
    ...row,
    hash: 'sha1',
    macBytes: MAC_BYTES,
    defaultIterations: ITERATIONS,
    minIterations: ITERATIONS,
    schedule: (key) => schedule(row, key),
    async stringToKey(password, salt, iterations) {
      // RFC 3962 §4: the PBKDF2 output is itself a key, from which the constant "kerberos" derives the protocol key.
      const intermediate = new AesKey(await derivePbkdf2('sha1', password, salt, iterations, row.keyBytes))
      const key = deriveDk(intermediate, utf8('kerberos'), row.keyBytes)
      intermediate.dispose()
      return key
    },
  }
}

/** DK and DR: the encrypted n-fold of the constant, encrypted again until it is long enough (RFC 3961 §5.1). */
export function deriveDk(base: AesKey, constant: Uint8Array, keyBytes: number): Uint8Array {
  const derived = new Uint8Array(keyBytes)
  let block = nFold(constant, BLOCK_BYTES)
  for (let at = 0; at < keyBytes; at += BLOCK_BYTES) {
    block = base.encryptBlock(block)
    derived.set(block, at)
  }
  return derived
}

function schedule(row: Row, key: Uint8Array): Schedule {
  const base = new AesKey(key)
  const derive = (usage: number, purpose: number) =>
    deriveDk(base, concat(uint32be(usage), Uint8Array.of(purpose)), row.keyBytes)
  const hmac = (usage: number, purpose: number) => new HmacKey('sha1', derive(usage, purpose), MAC_BYTES)

  return {
    sealer: (usage) => sealer(row, new AesKey(derive(usage, PURPOSE.ENCRYPTION)), hmac(usage, PURPOSE.INTEGRITY)),
    signer: (usage) => hmac(usage, PURPOSE.CHECKSUM),
    prf(input) {
      // RFC 3961 §5.3: the hash is cut to whole blocks, which for SHA-1 is one.
      const derived = new AesKey(deriveDk(base, utf8('prf'), row.keyBytes))
      const output = derived.encryptBlock(hash('sha1', input).subarray(0, BLOCK_BYTES))
      derived.dispose()
      return output
    },
    dispose: () => base.dispose(),
  }
}

/** E(Ke, confounder | plaintext) | HMAC(Ki, confounder | plaintext) (RFC 3961 §5.3). */
function sealer(row: Row, ke: AesKey, ki: HmacKey): Sealer {
  return {
    encrypt(plaintext, confounder) {
      checkConfounder(confounder)
      const text = concat(confounder, plaintext)
      return concat(ke.encryptCts(text), ki.sign(text))
    },
    decrypt(ciphertext) {
      const end = ciphertext.length - MAC_BYTES
      // check: C23 (RFC 3961 §5.3)
      if (end < CONFOUNDER_BYTES) throw integrityFailed(row.name)
      const text = ke.decryptCts(ciphertext.subarray(0, end))
      // check: C23 (RFC 3961 §5.3)
      if (!ki.matches(ciphertext.subarray(end), text)) throw integrityFailed(row.name)
      return text.subarray(CONFOUNDER_BYTES)
    },
    dispose() {
      ke.dispose()
      ki.dispose()
    },
  }
}
