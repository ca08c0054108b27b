import { ConfigError, KerberosError, NetworkError } from '../errors.ts'
import type { AcceptedLogin } from '../krb5/exchange/ap-acceptor.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { type AttemptCounts, Attempts } from './attempts.ts'
import type { BasicSettings } from './basic-options.ts'
import type { UserPassword } from './credentials.ts'
import { makeIdentity } from './identity.ts'
import type { LocalNamer } from './local-names.ts'
import { isLoopback } from './loopback.ts'
import type { Outcome, Refused } from './outcome.ts'
import { hostnameOf, type NegotiateRequest } from './request.ts'
import type { Side } from './side.ts'

/** Most passwords that are checked at once: each costs a hash of some milliseconds and some messages to the KDC. */
export const MAX_CHECKS = 64
/** What a client waits that has guessed too often, or come when too many did. */
const RETRY_AFTER_SECONDS = 30

/** Who a password has proven. */
export interface ProvenUser {
  readonly peer: Principal
  readonly expiresAt: Date
  /** That of the ticket for this server's own key. */
  readonly login?: AcceptedLogin | undefined
}

/** Asks a KDC, and believes it only when it has a ticket for this server's own key. */
export interface PasswordVerifier {
  /**
   * @throws {CredentialError} `PASSWORD_WRONG`, for an unknown user alike
   * @throws {VerificationError} `PASSWORD_UNPROVEN`
   * @throws {KdcError} another refusal, by its RFC name
   * @throws {NetworkError}
   * @throws {ConfigError} krb5.conf names no KDC, or cannot be read
   */
  verify(credential: UserPassword, request: NegotiateRequest): Promise<ProvenUser>
  /** Whether this very question is under way, or its answer kept: it learns nothing and costs nothing to ask it once more. */
  isKnown(credential: UserPassword, request: NegotiateRequest): boolean
  /** The one spelling of a name, however it was written: what attempts are counted by. Undefined: no KDC is asked about it. */
  nameOf(credential: UserPassword, request: NegotiateRequest): string | undefined
}

/** Passwords (RFC 7617), for clients that have no ticket. */
export class BasicLogin {
  readonly #settings: BasicSettings
  readonly #verifier: PasswordVerifier
  readonly #localName: LocalNamer
  readonly #status: Side['status']
  readonly #attempts: Attempts
  #checks = 0

  constructor(parts: {
    readonly settings: BasicSettings
    readonly verifier: PasswordVerifier
    readonly localName: LocalNamer
    readonly side: Side
    readonly attempts: AttemptCounts
  }) {
    this.#settings = parts.settings
    this.#verifier = parts.verifier
    this.#localName = parts.localName
    this.#status = parts.side.status
    this.#attempts = new Attempts(parts.settings.maxFailures, parts.settings.windowMs, parts.attempts)
  }

  /** RFC 7617 §2.1: both sides write UTF-8. */
  get challenge(): string {
    return `Basic realm="${this.#settings.realm}", charset="UTF-8"`
  }

  /** Whether a password that comes this way is nobody else's to read. */
  isOffered(request: NegotiateRequest): boolean {
    if (this.#settings.overHttp || request.secure !== false) return true
    // Where no address is visible, what the client called us by: the password is his.
    return isLoopback(request.address?.replace(/^::ffff:/, '').replace(/^::1$/, '[::1]') ?? hostnameOf(request))
  }

  async verify(request: NegotiateRequest, credential: UserPassword): Promise<Outcome> {
    if (!this.isOffered(request)) return { kind: 'refused', status: this.#status, ...OVER_HTTP } // check: S88
    try {
      return await this.#bounded(request, credential)
    } catch (error) {
      return this.#refusedBy(error)
    }
  }

  async #bounded(request: NegotiateRequest, credential: UserPassword): Promise<Outcome> {
    const name = this.#verifier.nameOf(credential, request)
    // A page's many requests bring one password: that is one guess.
    const isSame = this.#verifier.isKnown(credential, request) && this.#attempts.mayJoin(name, request.address)
    if (isSame) return this.#proven(request, credential)
    if (this.#checks >= MAX_CHECKS) return { ...TOO_MANY, status: 503, message: 'too many passwords are being checked' } // check: S87
    const takeBack = this.#attempts.begin(name, request.address)
    if (takeBack === undefined) return TOO_MANY
    this.#checks++
    try {
      const proven = await this.#proven(request, credential)
      takeBack()
      return proven
    } catch (error) {
      if (isOurs(error)) takeBack() // nothing was learned from it
      throw error
    } finally {
      this.#checks--
    }
  }

  async #proven(request: NegotiateRequest, credential: UserPassword): Promise<Outcome> {
    const { peer, expiresAt, login } = await this.#verifier.verify(credential, request)
    const { name, realm } = peer
    const who = { principal: peer.toString(), name, realm, localName: this.#localName(peer), expiresAt }
    const identity = makeIdentity({ ...IDENTITY, ...who }, { mechanism: 'basic', login })
    return { kind: 'proven', identity, token: undefined }
  }

  /** The client learns nothing from it but that it was refused; the reason is for the log. */
  #refusedBy(error: unknown): Refused {
    if (!(error instanceof KerberosError)) throw error
    const { code: reason, message, hint } = error
    return { kind: 'refused', status: isOurs(error) ? 503 : this.#status, scheme: 'basic', reason, message, hint }
  }
}

/** The administrator's to mend, or the network's: the user has done nothing wrong. */
function isOurs(error: unknown): boolean {
  return error instanceof NetworkError || error instanceof ConfigError
}

const IDENTITY = { mechanism: 'basic', channelBound: false, delegated: undefined } as const

const OVER_HTTP = {
  scheme: 'basic',
  reason: 'PASSWORD_INSECURE',
  message: 'a password came over plain http, where everybody on the way could read it',
  hint: 'Serve over https; behind a proxy that ends TLS, set trustProxy and X-Forwarded-Proto.',
} as const

const TOO_MANY = {
  kind: 'refused',
  status: 403,
  scheme: 'basic',
  reason: 'TOO_MANY_ATTEMPTS',
  message: 'this user, or this address, has tried too many passwords',
  hint: 'Wait until the window of basic.windowSeconds is over.',
  retryAfterSeconds: RETRY_AFTER_SECONDS,
} as const
