import { concat, utf8 } from '../bytes/bytes.ts'
import { AesKey } from './aes.ts'
import { foldedUsage } from './folded-usages.ts'
import { hash } from './hash.ts'
import { derivePbkdf2, HmacKey } from './hmac.ts'
import { BLOCK_BYTES } from './kept-cbc.ts'
import { nFold } from './n-fold.ts'
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
  return deriveFolded(base, [nFold(constant, BLOCK_BYTES)], keyBytes)[0] as Uint8Array
}

/** As `deriveDk`, of several constants that are folded already: each block of all keys in one go. */
function deriveFolded(base: AesKey, folded: readonly Uint8Array[], keyBytes: number): Uint8Array[] {
  const rounds = base.encryptBlocks(concat(...folded), keyBytes / BLOCK_BYTES)
  const keys = folded.map((_, i) => {
    const key = new Uint8Array(keyBytes)
    for (let at = 0; at < keyBytes; at++) {
      const blocks = rounds[Math.floor(at / BLOCK_BYTES)] as Uint8Array
      key[at] = blocks[i * BLOCK_BYTES + (at % BLOCK_BYTES)] as number
    }
    return key
  })
  for (const blocks of rounds) blocks.fill(0)
  return keys
}

function schedule(row: Row, key: Uint8Array): Schedule {
  const base = new AesKey(key)
  return {
    sealers(usages) {
      const folded: Uint8Array[] = []
      for (const usage of usages) {
        folded.push(foldedUsage(usage, PURPOSE.ENCRYPTION), foldedUsage(usage, PURPOSE.INTEGRITY))
      }
      const keys = deriveFolded(base, folded, row.keyBytes)
      return usages.map((_, i) => {
        const [ke, ki] = keys.slice(2 * i) as [Uint8Array, Uint8Array]
        return sealer(row, new AesKey(ke), new HmacKey('sha1', ki, MAC_BYTES))
      })
    },
    signer(usage) {
      const [kc] = deriveFolded(base, [foldedUsage(usage, PURPOSE.CHECKSUM)], row.keyBytes) as [Uint8Array]
      return new HmacKey('sha1', kc, MAC_BYTES)
    },
    prf(input) {
      // RFC 3961 §5.3: the hash is cut to whole blocks, which for SHA-1 is one.
      const derived = new AesKey(deriveDk(base, utf8('prf'), row.keyBytes))
      const [output] = derived.encryptBlocks(hash('sha1', input).subarray(0, BLOCK_BYTES), 1) as [Uint8Array]
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
      return withMac(ke.encryptCts(confounder, plaintext), ki.sign(confounder, plaintext))
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
