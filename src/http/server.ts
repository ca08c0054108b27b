import { BasicLogin, type PasswordVerifier } from './basic.ts'
import { BoundConnections } from './bound-connections.ts'
import type { AcceptorContexts } from './contexts.ts'
import { isCrossSite } from './cross-site.ts'
import type { Authenticator, Decision, HeaderList, Identity, Refusal } from './decision.ts'
import { asForwarded } from './forwarded.ts'
import { Logins } from './logins.ts'
import { Negotiation } from './negotiation.ts'
import type { Outcome, Proven, Refused } from './outcome.ts'
import type { After } from './pending.ts'
import { type NegotiateRequest, pathOf } from './request.ts'
import { refusal } from './responses.ts'
import type { Failure, ServerSettings } from './server-options.ts'
import { type SessionSealer, Sessions } from './sessions.ts'
import { negotiateChallenge } from './side.ts'

/** What happened to a request, for `spnego:server`. Holds no token. */
export interface ServerEvent extends Omit<Failure, 'reason'> {
  readonly outcome: Decision['kind']
  readonly reason: string | undefined
}

/** What the edges lend. */
export interface ServerEffects {
  readonly after: After
  /** Milliseconds since 1970, and milliseconds that never go back. */
  readonly now: () => number
  readonly monotonic: () => number
  /** A channel of `node:diagnostics_channel`; events are made only when somebody listens. */
  readonly channel?: { readonly hasSubscribers: boolean; publish(event: unknown): void } | undefined
}

/** What proves a login, beside what the options say. */
export interface Proofs {
  readonly contexts: AcceptorContexts
  /** With the option `basic`. */
  readonly passwords?: PasswordVerifier | undefined
  /** With the option `sessions`. */
  readonly loadSealer?: (() => Promise<SessionSealer>) | undefined
}

/** The server's side of RFC 4559: what to do with a request. */
export class NegotiateCore implements Authenticator<NegotiateRequest> {
  readonly #settings: ServerSettings
  readonly #effects: ServerEffects
  readonly #negotiation: Negotiation
  readonly #logins: Logins

  constructor({ contexts, passwords, loadSealer }: Proofs, settings: ServerSettings, effects: ServerEffects) {
    const { acceptor, basic, sessions, connectionBound, localName, side } = settings
    const { now, monotonic } = effects
    this.#settings = settings
    this.#effects = effects
    this.#negotiation = new Negotiation(contexts, settings, effects.after)
    this.#logins = new Logins(settings, {
      negotiation: this.#negotiation,
      basic: basic && passwords && new BasicLogin({ settings: basic, verifier: passwords, localName, side, monotonic }),
      sessions:
        sessions && loadSealer && new Sessions(sessions, typeof acceptor.principal === 'function', loadSealer, now),
      connections: connectionBound ? new BoundConnections(now) : undefined,
    })
  }

  /**
   * Never rejects because of what a client sent: that is a decision. It rejects with what the caller's own functions threw, and with
   * errors that are nobody's fault but the program's; such a request must not be let through.
   */
  async authenticate(received: NegotiateRequest): Promise<Decision> {
    const request = asForwarded(received, this.#settings.trustProxy)
    if (isCrossSite(request, this.#settings.crossSite)) return this.#refuse(request, CROSS_SITE) // check: S84
    const outcome = this.#heldToBindings(await this.#logins.verify(request), this.#settings.side.status)
    if (outcome.identity !== undefined) return this.#admit(request, outcome, true)
    if (outcome.status !== 503 && (await this.#isOptional(request))) return this.#letPass(request, outcome)
    return this.#refuse(request, outcome)
  }

  /** For a request that was accepted already: whatever does not need its token, since that is good once. */
  async authorize(identity: Identity, received: NegotiateRequest): Promise<Decision> {
    const request = asForwarded(received, this.#settings.trustProxy)
    if (isCrossSite(request, this.#settings.crossSite)) return this.#refuse(request, CROSS_SITE) // check: S84
    const outcome = this.#heldToBindings({ identity, token: undefined }, this.#settings.failureStatus)
    return outcome.identity === undefined ? this.#refuse(request, outcome) : this.#admit(request, outcome, false)
  }

  /** Another guard may have let in, on this request or in a session that it began, what this one does not. */
  #heldToBindings(outcome: Outcome, status: Refused['status']): Outcome {
    if (this.#settings.acceptor.channelBindings !== 'required' || outcome.identity === undefined) return outcome
    return outcome.identity.channelBound ? outcome : { ...UNBOUND, status } // check: S37
  }

  /** Ends what lasts of a login, so that the next request must prove itself; gives the fields that its response needs for that. */
  async endSession(identity: Identity | undefined, received: NegotiateRequest): Promise<HeaderList> {
    return this.#logins.end(identity, asForwarded(received, this.#settings.trustProxy))
  }

  /** How many negotiations wait for another token. */
  get pendingContexts(): number {
    return this.#negotiation.pending
  }

  async close(): Promise<void> {
    await this.#negotiation.close()
  }

  async #isOptional(request: NegotiateRequest): Promise<boolean> {
    const { required } = this.#settings
    return (typeof required === 'function' ? await required(request) : required) === false
  }

  async #admit(request: NegotiateRequest, { identity, token }: Proven, mayLast: boolean): Promise<Decision> {
    const { principal } = identity
    if (!(await this.#isAllowed(identity, request))) return this.#refuse(request, { ...FORBIDDEN, principal, token }) // check: A04
    const lasting = mayLast && this.#logins.canLast ? await this.#logins.begin(identity, request) : []
    const headers = token === undefined ? lasting : [negotiateChallenge(this.#settings.side, token), ...lasting]
    this.#settings.logger?.debug({ principal }, 'request accepted')
    this.#publish('accepted', () => ({ ...ACCEPTED, ...targetOf(request), principal }))
    return { kind: 'accepted', identity, headers }
  }

  /** Whoever may not go on leaves no login here, also when `authorize` throws. */
  async #isAllowed(identity: Identity, request: NegotiateRequest): Promise<boolean> {
    const { authorize } = this.#settings
    let allowed = false
    try {
      allowed = authorize === undefined || (await authorize(identity, request)) === true
    } finally {
      if (!allowed) identity.delegated?.release() // check: S71
    }
    return allowed
  }

  async #letPass(request: NegotiateRequest, refused: Refused): Promise<Decision> {
    refused.continuation?.context.dispose()
    const failure = failureOf(request, refused, undefined)
    await this.#tell('anonymous', failure)
    return { kind: 'anonymous', reason: failure.reason }
  }

  async #refuse(request: NegotiateRequest, refused: Refused): Promise<Refusal> {
    const { status } = refused
    const failure = { ...failureOf(request, refused, status), status }
    const token = this.#negotiation.goOn(request, refused)
    await this.#tell('refused', failure)
    const { side } = this.#settings
    const asked = {
      request,
      challenges: () => this.#logins.challenges(request, refused),
      token: token === undefined ? [] : [negotiateChallenge(side, token)],
      retryAfterSeconds: refused.retryAfterSeconds,
    }
    return refusal(failure, asked, this.#settings)
  }

  async #tell(outcome: 'anonymous' | 'refused', failure: Failure): Promise<void> {
    const level = failure.status === 503 ? 'error' : ORDINARY.includes(failure.reason) ? 'debug' : 'warn'
    this.#settings.logger?.[level](failure, 'request not authenticated')
    this.#publish(outcome, () => failure)
    await this.#settings.onFailure?.(failure)
  }

  #publish(outcome: Decision['kind'], event: () => Omit<ServerEvent, 'outcome'>): void {
    const { channel } = this.#effects
    if (channel?.hasSubscribers) channel.publish({ outcome, ...event() })
  }
}

/** Part of every first visit: no reason to warn. */
const ORDINARY: readonly string[] = ['NO_CREDENTIALS', 'CONTINUE_NEEDED', 'SESSION_EXPIRED']

const ACCEPTED = { reason: undefined, message: 'accepted', hint: undefined, status: undefined } as const

const CROSS_SITE: Refused = {
  status: 403,
  reason: 'CROSS_SITE',
  message: 'a browser sent this for a page of another site',
  hint: 'If that site may act in your users’ names, list its origin in crossSite.',
}

const UNBOUND: Omit<Refused, 'status'> = {
  reason: 'BINDINGS_MISMATCH',
  message: 'the login was accepted by another guard without channel bindings, and this one requires them',
  hint: 'Require them in the first guard too.',
}

const FORBIDDEN: Refused = {
  status: 403,
  reason: 'FORBIDDEN',
  message: 'authorize did not say true',
}

function failureOf<S extends Refused['status'] | undefined>(
  request: NegotiateRequest,
  refused: Refused,
  status: S,
): Failure {
  const { reason, message, hint, principal } = refused
  return { reason, message, hint, status, principal, ...targetOf(request) }
}

function targetOf({ method, url }: NegotiateRequest): { method: string; path: string } {
  return { method, path: pathOf(url) }
}
