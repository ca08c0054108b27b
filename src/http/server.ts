import type { AcceptorContexts } from './contexts.ts'
import { type Credential, parseCredentials } from './credentials.ts'
import { isCrossSite } from './cross-site.ts'
import type { Authenticator, Decision, HeaderList, Identity, Refusal } from './decision.ts'
import { Negotiation } from './negotiation.ts'
import type { Outcome, Proven, Refused } from './outcome.ts'
import type { After } from './pending.ts'
import { fieldValues, type NegotiateRequest, pathOf } from './request.ts'
import { challengeField, refusal } from './responses.ts'
import type { Failure, ServerSettings } from './server-options.ts'

/** What happened to a request, for `spnego:server`. Holds no token. */
export interface ServerEvent extends Omit<Failure, 'reason'> {
  readonly outcome: Decision['kind']
  readonly reason: string | undefined
}

/** What the edges lend. */
export interface ServerEffects {
  readonly after: After
  /** A channel of `node:diagnostics_channel`; events are made only when somebody listens. */
  readonly channel?: { readonly hasSubscribers: boolean; publish(event: unknown): void } | undefined
}

/** The server's side of RFC 4559: what to do with a request. Nothing about a connection is remembered but half-finished negotiations. */
export class NegotiateCore implements Authenticator<NegotiateRequest> {
  readonly #settings: ServerSettings
  readonly #effects: ServerEffects
  readonly #negotiation: Negotiation

  constructor(contexts: AcceptorContexts, settings: ServerSettings, effects: ServerEffects) {
    this.#settings = settings
    this.#effects = effects
    this.#negotiation = new Negotiation(contexts, settings, effects.after)
  }

  /**
   * Never rejects because of what a client sent: that is a decision. It rejects with what the caller's own functions threw, and with
   * errors that are nobody's fault but the program's; such a request must not be let through.
   */
  async authenticate(request: NegotiateRequest): Promise<Decision> {
    if (isCrossSite(request, this.#settings.crossSite)) return this.#refuse(request, CROSS_SITE) // check: S84
    const outcome = await this.#verify(request)
    if (outcome.identity !== undefined) return this.#admit(request, outcome)
    if (outcome.status !== 503 && (await this.#isOptional(request))) return this.#letPass(request, outcome)
    return this.#refuse(request, outcome)
  }

  /** For a request that was accepted already: whatever does not need its token, since that is good once. */
  async authorize(identity: Identity, request: NegotiateRequest): Promise<Decision> {
    if (isCrossSite(request, this.#settings.crossSite)) return this.#refuse(request, CROSS_SITE) // check: S84
    const { acceptor, failureStatus: status } = this.#settings
    const isBound = acceptor.channelBindings !== 'required' || identity.channelBound
    if (!isBound) return this.#refuse(request, { ...UNBOUND, status }) // check: S37
    return this.#admit(request, { identity, token: undefined })
  }

  /** How many negotiations wait for another token. */
  get pendingContexts(): number {
    return this.#negotiation.pending
  }

  async close(): Promise<void> {
    await this.#negotiation.close()
  }

  async #verify(request: NegotiateRequest): Promise<Outcome> {
    let credential: Credential
    try {
      credential = parseCredentials(fieldValues(request.headers, 'authorization'), this.#settings.maxTokenBytes)
    } catch (error) {
      return this.#negotiation.unreadable(request, error)
    }
    if (credential.kind !== 'negotiate') return noCredentials(credential)
    return this.#negotiation.step(request, credential.token)
  }

  async #isOptional(request: NegotiateRequest): Promise<boolean> {
    const { required } = this.#settings
    return (typeof required === 'function' ? await required(request) : required) === false
  }

  async #admit(request: NegotiateRequest, { identity, token }: Proven): Promise<Decision> {
    const { principal } = identity
    if (!(await this.#isAllowed(identity, request))) return this.#refuse(request, { ...FORBIDDEN, principal, token }) // check: A04
    const headers: HeaderList = token === undefined ? [] : [challengeField(token)]
    this.#settings.logger?.debug({ principal }, 'request accepted')
    this.#publish('accepted', { ...ACCEPTED, ...targetOf(request), principal })
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
    return refusal(failure, token, request, this.#settings)
  }

  async #tell(outcome: 'anonymous' | 'refused', failure: Failure): Promise<void> {
    const level = failure.status === 503 ? 'error' : ORDINARY.includes(failure.reason) ? 'debug' : 'warn'
    this.#settings.logger?.[level](failure, 'request not authenticated')
    this.#publish(outcome, failure)
    await this.#settings.onFailure?.(failure)
  }

  #publish(outcome: Decision['kind'], event: Omit<ServerEvent, 'outcome'>): void {
    const { channel } = this.#effects
    if (channel?.hasSubscribers) channel.publish({ outcome, ...event })
  }
}

/** Part of every first visit: no reason to warn. */
const ORDINARY: readonly string[] = ['NO_CREDENTIALS', 'CONTINUE_NEEDED']

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

function noCredentials(credential: Exclude<Credential, { kind: 'negotiate' }>): Refused {
  const message = credential.kind === 'none' ? 'no Authorization' : 'Authorization is of another scheme than Negotiate'
  return { status: 401, reason: 'NO_CREDENTIALS', message }
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
