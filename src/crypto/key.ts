import { UsageError } from '../errors.ts'
import { enctype } from './enctypes.ts'
import { sameSecret } from './hmac.ts'
import { type Enctype, integrityFailed, type Schedule, type Sealer, type Signer } from './profile.ts'

/** Usages whose derived keys a key keeps, for each of sealing and signing. No exchange uses more than eight of one key. */
export const MAX_KEPT_USAGES = 16

/** A key usage is an unsigned number of 32 bits (RFC 4120 §7.5.1). */
const MAX_USAGE = 0xffffffff

/**
 * A protocol key that owns its schedule (RFC 3961 §3): the keys of a usage are derived at their first use and kept. Its bytes are in
 * no property and in no text; `toBytes` is the one way to them.
 *
 * Every method throws `UsageError` `KEY_INVALID` after `dispose`, and `OPTION_INVALID` for a usage outside 0 to 2^32-1.
 */
export class Key {
  /** The number, one of `ENCTYPE`. */
  readonly enctype: number
  readonly #profile: Enctype
  readonly #bytes: Uint8Array
  /** Made at the first use: many keys are only handed on. */
  #sealers: Map<number, Sealer> | undefined
  #signers: Map<number, Signer> | undefined
  #schedule: Schedule | undefined
  #disposed = false

  /**
   * @param bytes copied; 16 for enctypes 17 and 19, 32 for 18 and 20
   * @throws {UsageError} `ENCTYPE_UNSUPPORTED`; `KEY_INVALID` when the length is not the enctype's
   */
  constructor(enctypeId: number, bytes: Uint8Array) {
    const profile = enctype(enctypeId)
    // RFC 3962 §3, RFC 8009 §2
    if (bytes.length !== profile.keyBytes) throw wrongLength(profile, bytes.length)
    this.enctype = profile.id
    this.#profile = profile
    this.#bytes = new Uint8Array(bytes)
  }

  /**
   * Encrypts and authenticates (RFC 3961 §3). The result is longer by the confounder and the MAC.
   *
   * @param plaintext overwritten: whoever needs it still hands over a copy
   * @param confounder 16 octets from a random source, never used before
   * @throws {UsageError} `OPTION_INVALID` for a confounder of another length
   */
  encrypt(usage: number, plaintext: Uint8Array, confounder: Uint8Array): Uint8Array {
    try {
      return this.#sealer(usage).encrypt(plaintext, confounder)
    } finally {
      plaintext.fill(0)
    }
  }

  /**
   * Checks and decrypts (RFC 3961 §3).
   *
   * @throws {VerificationError} `INTEGRITY_FAILED` for a wrong key or usage, altered octets, and too few octets alike
   */
  decrypt(usage: number, ciphertext: Uint8Array): Uint8Array {
    return this.#sealer(usage).decrypt(ciphertext)
  }

  /** Derives the keys with which these usages encrypt, all at once: cheaper than one by one, when each will be needed. Never more than 16. */
  derive(...usages: readonly number[]): void {
    this.#sealers ??= new Map()
    const kept = this.#sealers
    const missing = usages.filter((usage) => !kept.has(checkedUsage(usage)))
    if (missing.length === 0) return
    for (const [i, sealer] of this.#live().sealers(missing).entries()) keep(kept, missing[i] as number, sealer)
  }

  /** The checksum of the enctype's own checksum type (RFC 3961 §4, `get_mic`). */
  checksum(usage: number, data: Uint8Array): Uint8Array {
    return this.#signer(usage).sign(data)
  }

  /**
   * Checks a checksum of the enctype's own type, in constant time (RFC 3961 §4, `verify_mic`).
   *
   * @throws {VerificationError} `INTEGRITY_FAILED`, for a wrong length too
   */
  verifyChecksum(usage: number, data: Uint8Array, mac: Uint8Array): void {
    // check: C23 (RFC 3961 §4)
    if (!this.#signer(usage).matches(mac, data)) throw integrityFailed(this.#profile.name)
  }

  /** The pseudo-random function: 16, 16, 32 or 48 octets for enctypes 17 to 20 (RFC 3961 §5.3, RFC 8009 §5). */
  prf(input: Uint8Array): Uint8Array {
    return this.#live().prf(input)
  }

  /** A copy of the key. Who asks for it must keep it out of every text. */
  toBytes(): Uint8Array {
    this.#live()
    return new Uint8Array(this.#bytes)
  }

  /** Whether both are the same key of the same enctype; compares in constant time. */
  equals(other: Key): boolean {
    this.#live()
    other.#live()
    return this.enctype === other.enctype && sameSecret(this.#bytes, other.#bytes)
  }

  /** Overwrites the key and all keys derived from it. May be called again. */
  dispose(): void {
    this.#sealers?.forEach(disposeOf)
    this.#signers?.forEach(disposeOf)
    this.#sealers = undefined
    this.#signers = undefined
    this.#schedule?.dispose()
    this.#schedule = undefined
    this.#bytes.fill(0)
    this.#disposed = true
  }

  toString(): string {
    return `Key(${this.#profile.name})`
  }

  toJSON(): string {
    return this.toString()
  }

  #sealer(usage: number): Sealer {
    const kept = this.#sealers?.get(usage)
    if (kept !== undefined) return kept
    this.derive(usage)
    return this.#sealers?.get(usage) as Sealer
  }

  #signer(usage: number): Signer {
    this.#signers ??= new Map()
    return this.#signers.get(usage) ?? keep(this.#signers, usage, this.#live().signer(checkedUsage(usage)))
  }

  #live(): Schedule {
    if (this.#disposed) throw new UsageError('KEY_INVALID', `${this.toString()} was disposed`)
    this.#schedule ??= this.#profile.schedule(this.#bytes)
    return this.#schedule
  }
}

function disposeOf(kept: Sealer | Signer): void {
  kept.dispose()
}

/** Keeps it; where there is no room, the oldest one goes. */
function keep<T extends Sealer | Signer>(kept: Map<number, T>, usage: number, made: T): T {
  for (const [oldest, keys] of kept) {
    if (kept.size < MAX_KEPT_USAGES) break
    keys.dispose()
    kept.delete(oldest)
  }
  kept.set(usage, made)
  return made
}

function checkedUsage(usage: number): number {
  // Written as four octets (RFC 3961 §5.3): 2^32 + 2 would silently be usage 2.
  if (Number.isInteger(usage) && usage >= 0 && usage <= MAX_USAGE) return usage
  throw new UsageError('OPTION_INVALID', `key usage ${usage} is not in 0 to ${MAX_USAGE}`)
}

function wrongLength(profile: Enctype, length: number): UsageError {
  return new UsageError('KEY_INVALID', `${profile.name}: a key of ${length} bytes, not ${profile.keyBytes}`)
}
