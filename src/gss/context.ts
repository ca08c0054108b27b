/**
 * The contract that every mechanism fulfils (RFC 2743), and what kind of token a stranger sent.
 *
 * Knows token framing and object identifiers. Must not know Kerberos messages, keys or HTTP: mechanisms are `gss/krb5` and `gss/spnego`.
 */
import { type Der, element, encodeDer, oid, readElement, readOid, TAG } from '../asn1/index.ts'
import { ByteReader } from '../bytes/reader.ts'
import { MalformedError, UsageError } from '../errors.ts'
import type { ReplayDetails } from '../krb5/exchange/replay.ts'
import type { Principal } from '../krb5/messages/principal.ts'

/** Services a context gives or a caller asks for (RFC 2743 §1.2), under names instead of bits. */
export type Flag = 'delegate' | 'mutual' | 'replay' | 'sequence' | 'confidential' | 'integrity' | 'channel-bound'

export interface Step {
  /** For the peer; undefined when there is nothing to send. */
  readonly token: Uint8Array | undefined
  /** Whether this side is done. */
  readonly complete: boolean
}

/**
 * A security context between two parties. `step` is called with each token of the peer until complete; every other accessor throws
 * `CONTEXT_INCOMPLETE` before. A context that failed or was disposed throws `CONTEXT_FAILED` for ever.
 */
export interface SecurityContext {
  step(token?: Uint8Array): Promise<Step>
  readonly complete: boolean
  readonly peer: Principal
  readonly flags: ReadonlySet<Flag>
  readonly expiresAt: Date
  wrap(data: Uint8Array, options?: { confidential?: boolean }): Uint8Array
  unwrap(token: Uint8Array): { readonly data: Uint8Array; readonly confidential: boolean }
  getMic(data: Uint8Array): Uint8Array
  verifyMic(data: Uint8Array, mic: Uint8Array): void
  dispose(): void
}

/**
 * What every mechanism's context shares: one token at a time, none after its end, and whatever `advance` throws ends it for ever
 * (RFC 2743 §1.1.3).
 */
export abstract class GuardedContext {
  #hasFailed = false
  #stepping = false

  /** One token from the peer; the first call of an initiator has none. */
  protected abstract advance(token: Uint8Array | undefined): Promise<Step>
  /** Whether this side takes no more tokens. */
  protected abstract get isSettled(): boolean
  /** Lets go of what the context holds; once. */
  protected abstract release(): void

  async step(token?: Uint8Array): Promise<Step> {
    if (this.#stepping) this.dispose() // of two tokens at once nobody can say which one counts
    this.mustNotHaveFailed() // check: S04
    if (this.isSettled) throw failed() // check: S04
    this.#stepping = true
    try {
      const step = await this.advance(token)
      this.mustNotHaveFailed() // it may have been disposed meanwhile check: S04
      return step
    } catch (error) {
      this.dispose()
      throw error
    } finally {
      this.#stepping = false
    }
  }

  protected get hasFailed(): boolean {
    return this.#hasFailed
  }

  protected mustNotHaveFailed(): void {
    if (this.#hasFailed) throw failed()
  }

  dispose(): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.release()
  }
}

/** Replay cache: remembers authenticators, so that a copied token is refused (RFC 4120 §3.2.3). */
export interface ReplayStore {
  /**
   * Stores an authenticator, unless it is known; atomic. Throws when full or unreachable.
   *
   * @param key 16 bytes
   * @param expiresAt milliseconds since 1970: the authenticator is too old from then on
   * @param details for stores that bound a client's share, or that know when the clock was set back; others need not look
   */
  checkAndStore(
    key: Uint8Array,
    expiresAt: number,
    details?: ReplayDetails,
  ): 'fresh' | 'replay' | Promise<'fresh' | 'replay'>
  /**
   * From when on the store knows every authenticator that was shown, milliseconds since 1970: older ones are refused, since they may have been used
   * before. Looked at after each answer. Without it, or undefined: since the acceptor came to be.
   */
  rememberedSince?(): number | undefined
  /** Told by each acceptor at its start: for how many milliseconds it needs an entry after the authenticator's time. Stores of several acceptors keep entries for the longest. */
  expectSkew?(milliseconds: number): void
}

/** Mechanisms, dotted. */
export const MECHANISM = {
  /** RFC 4121 §1 */
  KRB5: '1.2.840.113554.1.2.2',
  /** RFC 4178 Appendix C: what Windows 2000 sent for Kerberos by mistake, and still offers. */
  MS_KRB5: '1.2.840.48018.1.2.2',
  /** RFC 4178 §3 */
  SPNEGO: '1.3.6.1.5.5.2',
  /** MS-NLMP §1.9 */
  NTLM: '1.3.6.1.4.1.311.2.2.10',
} as const

const MECHANISM_OIDS: ReadonlyMap<string, Uint8Array> = new Map(
  Object.values(MECHANISM).map((dotted) => [dotted, encodeDer(oid(dotted))]),
)

/** Dotted; those known here are told by their octets. */
export function readMechanism(from: ByteReader, what: string): string {
  for (const [dotted, der] of MECHANISM_OIDS) if (from.skip(der)) return dotted
  return readOid(from, what)
}

/** The object identifier of a mechanism: those known here are encoded once. */
export function mechanismOid(dotted: string): Der {
  return MECHANISM_OIDS.get(dotted) ?? oid(dotted)
}

/** Most tokens of one client in one negotiation: Kerberos needs one, and two more when SPNEGO protects a changed choice (RFC 4178 §5). */
export const MAX_LEGS = 5

/** Largest token, in octets: Windows' limit for any Kerberos token (MaxTokenSize). */
export const MAX_TOKEN_BYTES = 65_535

/** RFC 2743 §3.1: `[APPLICATION 0] IMPLICIT SEQUENCE { thisMech OID, innerToken ANY }`. */
const FRAME_TAG = TAG.APPLICATION | 0

export interface FramedToken {
  readonly mechanism: string
  readonly inner: Uint8Array
}

export function decodeFrame(token: Uint8Array): FramedToken {
  const from = new ByteReader(token)
  const body = readElement(from, FRAME_TAG, 'InitialContextToken')
  from.end('InitialContextToken')
  const mechanism = readMechanism(body, 'InitialContextToken.thisMech')
  return { mechanism, inner: body.rest() }
}

export function encodeFrame(mechanism: string, ...inner: readonly Der[]): Uint8Array {
  return encodeDer(element(FRAME_TAG, mechanismOid(mechanism), ...inner))
}

export type TokenKind = 'spnego-init' | 'spnego-response' | 'krb5' | 'ntlm' | 'unknown'

const NTLM_SIGNATURE = 'NTLMSSP\0'
/** RFC 4178 §4.2: NegotiationToken's choices, when they are not framed. */
const NEG_TOKEN_INIT_TAG = TAG.CONTEXT | 0
const NEG_TOKEN_RESP_TAG = TAG.CONTEXT | 1

/** What a token claims to be, from its first octets: nothing is verified. */
export function tokenKind(token: Uint8Array): TokenKind {
  if (token.length >= 8 && String.fromCharCode(...token.subarray(0, 8)) === NTLM_SIGNATURE) return 'ntlm'
  if (token[0] === NEG_TOKEN_RESP_TAG) return 'spnego-response'
  if (token[0] === NEG_TOKEN_INIT_TAG) return 'spnego-init'
  if (token[0] !== FRAME_TAG) return 'unknown'
  const { mechanism } = decodeFrame(token)
  if (mechanism === MECHANISM.SPNEGO) return 'spnego-init'
  return mechanism === MECHANISM.KRB5 || mechanism === MECHANISM.MS_KRB5 ? 'krb5' : 'unknown'
}

/** Before anything is parsed. */
export function checkTokenSize(token: Uint8Array, most: number = MAX_TOKEN_BYTES): void {
  if (token.length > most) throw new MalformedError('TOKEN_MALFORMED', `token of ${token.length} octets, over ${most}`)
}

export function incomplete(): UsageError {
  return new UsageError('CONTEXT_INCOMPLETE', 'the security context is not established yet', {
    hint: 'Call step with each token of the peer until complete is true.',
  })
}

export function failed(): UsageError {
  return new UsageError('CONTEXT_FAILED', 'the security context has failed or was disposed', {
    hint: 'Create a new context for each attempt.',
  })
}
