import { escapeControls } from '../bytes/text.ts'
import { KerberosError } from '../errors.ts'
import { Principal } from '../krb5/messages/principal.ts'
import type { AttemptCounts } from './attempts.ts'
import { BasicLogin, type PasswordVerifier } from './basic.ts'
import { BoundConnections } from './bound-connections.ts'
import { CallbackError, CallbackReports, called, type ReportEffects } from './callbacks.ts'
import type { AcceptorContexts } from './contexts.ts'
import { isCrossSite } from './cross-site.ts'
import { type Authenticator, type Decision, faultRefusal, type HeaderList, type Refusal } from './decision.ts'
import { EndedSessions } from './ended-sessions.ts'
import { asForwarded, UNKNOWN_METHOD } from './forwarded.ts'
import { type Identity, makeIdentity, proofOf } from './identity.ts'
import { NO_LOCAL_NAMES } from './local-names.ts'
import type { Logger } from './logger.ts'
import { Logins } from './logins.ts'
import { Negotiation } from './negotiation.ts'
import type { Outcome, Proven, Refused } from './outcome.ts'
import type { After } from './pending.ts'
import { inOriginForm, isTarget, type NegotiateRequest, originFormOf, pathOf } from './request.ts'
import { refusal } from './responses.ts'
import type { Failure, ServerSettings } from './server-options.ts'
import { type SessionSealer, Sessions } from './sessions.ts'
import { negotiateChallenge, ORIGIN, PROXY, type Side } from './side.ts'

/** What happened to a request, for `spnego:server`. Holds no token. */
export interface ServerEvent extends Omit<Failure, 'reason'> {
  readonly outcome: Decision['kind']
  readonly reason: string | undefined
}

/** Clocks, timers and what listens. */
export interface ServerEffects extends ReportEffects {
  readonly after: After
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** A channel of `node:diagnostics_channel`; events are made only when something listens. */
  readonly channel?: { readonly hasSubscribers: boolean; publish(event: unknown): void } | undefined
}

/** What proves a login, beside what the options say. */
export interface Proofs {
  readonly contexts: AcceptorContexts
  /** With the option `basic`. */
  readonly passwords?: PasswordVerifier | undefined
  /** With the option `sessions`. */
  readonly loadSealer?: (() => Promise<SessionSealer>) | undefined
  /** Attempts to guess passwords; may be shared with other servers of the process. */
  readonly attempts: AttemptCounts
  /** May be shared, too. Default: this server's own. */
  readonly endedSessions?: EndedSessions | undefined
}

/** The server's side of RFC 4559: what to do with a request. */
export class NegotiateCore implements Authenticator<NegotiateRequest> {
  readonly #settings: ServerSettings
  readonly #effects: ServerEffects
  readonly #contexts: AcceptorContexts
  readonly #reports: CallbackReports
  readonly #logger: Logger | undefined
  readonly #negotiation: Negotiation
  readonly #logins: Logins
  #hasWarnedOfMethod = false

  constructor(proofs: Proofs, settings: ServerSettings, effects: ServerEffects) {
    const { contexts, passwords, loadSealer, attempts } = proofs
    const { acceptor, basic, sessions, connectionBound, localName, side } = settings
    const { now } = effects
    const ended = proofs.endedSessions ?? new EndedSessions()
    const perHost = typeof acceptor.principal === 'function'
    this.#settings = settings
    this.#effects = effects
    this.#contexts = contexts
    this.#reports = new CallbackReports(effects)
    this.#logger = this.#reports.guarded(settings.logger)
    this.#negotiation = new Negotiation(contexts, settings, effects.after)
    this.#logins = new Logins(settings, {
      negotiation: this.#negotiation,
      basic: basic && passwords && new BasicLogin({ settings: basic, verifier: passwords, localName, side, attempts }),
      sessions: sessions && loadSealer && new Sessions(sessions, { perHost, load: loadSealer, now, ended, localName }),
      connections: connectionBound ? new BoundConnections(now) : undefined,
    })
  }

  /**
   * Never rejects: what a client sends is a decision, and what a function of the program throws is a refusal with 500, reported as a warning and to the
   * logger.
   */
  async authenticate(received: NegotiateRequest): Promise<Decision> {
    try {
      const request = this.#read(received)
      const unfit = this.#unfit(request)
      if (unfit !== undefined) return await this.#refuse(request, unfit)
      const outcome = this.#held(await this.#logins.verify(request), request, this.#settings.side.status, false)
      if (outcome.kind === 'proven') return await this.#admit(request, outcome, true)
      if (outcome.status !== 503 && (await this.#isOptional(request))) return await this.#letPass(request, outcome)
      return await this.#refuse(request, outcome)
    } catch (error) {
      return this.#fault(received, error)
    }
  }

  /** For a request that was accepted already: everything but its token, which is good once. */
  async authorize(identity: Identity, received: NegotiateRequest): Promise<Decision> {
    try {
      const request = this.#read(received)
      const unfit = this.#unfit(request)
      if (unfit !== undefined) return await this.#refuse(request, unfit)
      const proven = { kind: 'proven', identity: this.#named(identity), token: undefined } as const
      const outcome = this.#held(proven, request, this.#settings.failureStatus, true)
      return outcome.kind === 'proven'
        ? await this.#admit(request, outcome, false)
        : await this.#refuse(request, outcome)
    } catch (error) {
      return this.#fault(received, error)
    }
  }

  /** An identity of another guard, with the local name that this one gives it. */
  #named(identity: Identity): Identity {
    const { localName } = this.#settings
    const proof = proofOf(identity)
    if (localName === NO_LOCAL_NAMES || proof === undefined) return identity
    return makeIdentity({ ...identity, localName: localName(Principal.parse(identity.principal)) }, proof) // check: S102
  }

  get #isProxy(): boolean {
    return this.#settings.side === PROXY
  }

  /** What no login makes better. */
  #unfit(request: NegotiateRequest): Refused | undefined {
    if (!isTarget(request, this.#isProxy)) return BAD_TARGET // check: S111
    return isCrossSite(request, this.#settings.crossSite) ? CROSS_SITE : undefined // check: S84
  }

  /** The request as every rule sees it. */
  #read(received: NegotiateRequest): NegotiateRequest {
    const forwarded = asForwarded(received, this.#settings.trustProxy)
    const request = this.#isProxy ? forwarded : inOriginForm(forwarded) // check: S111
    const isUntold = this.#settings.trustProxy === 'forward-auth' && request.method === UNKNOWN_METHOD
    if (isUntold && !this.#hasWarnedOfMethod) {
      this.#hasWarnedOfMethod = true
      this.#effects.warn(
        "trustProxy is 'forward-auth', and the proxy does not say X-Forwarded-Method: every request counts as one that changes something",
        'SPNEGO_FORWARDED_METHOD_MISSING',
      )
    }
    return request
  }

  /**
   * What another guard let in, on this request or in a session that it began, is held to what this one asks of a login.
   *
   * @param isKnown the identity comes from another guard
   */
  #held(outcome: Outcome, request: NegotiateRequest, status: Refused['status'], isKnown: boolean): Outcome {
    if (outcome.kind !== 'proven') return outcome
    const { identity } = outcome
    const { acceptor, basic } = this.#settings
    const isUnbound = acceptor.channelBindings === 'required' && !identity.channelBound
    if (isUnbound) return { ...UNBOUND, status } // check: S37
    if (!isKnown && identity.mechanism !== 'session') return outcome
    const proof = proofOf(identity)
    const isByPassword = identity.mechanism === 'basic' || proof?.mechanism === 'basic'
    if (isByPassword && basic === undefined) return { ...BY_PASSWORD, status } // check: S102
    try {
      this.#contexts.recheck?.(proof?.login, request)
      return outcome
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
      const { code: reason, message, hint } = error
      return { kind: 'refused', status, reason, message, hint } // check: S102
    }
  }

  /** Ends what lasts of a login, so that the next request must prove itself; gives the fields that its response needs for that. */
  async endSession(identity: Identity | undefined, received: NegotiateRequest): Promise<HeaderList> {
    return this.#logins.end(identity, this.#read(received))
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
    return (typeof required === 'function' ? await called('required', () => required(request)) : required) === false
  }

  async #admit(request: NegotiateRequest, { identity, token }: Proven, mayLast: boolean): Promise<Decision> {
    const { principal } = identity
    if (!(await this.#isAllowed(identity, request))) return this.#refuse(request, { ...FORBIDDEN, principal, token }) // check: A04
    const { side } = this.#settings
    const lasting = mayLast && this.#logins.canLast ? await this.#lasting(identity, request) : []
    const proof: HeaderList = token === undefined ? [] : [negotiateChallenge(side, token)]
    this.#logger?.debug({ principal }, 'request accepted')
    this.#publish('accepted', () => ({ ...ACCEPTED, ...targetOf(request, side), principal }))
    return { kind: 'accepted', identity, headers: [...proof, ...lasting, ...this.#cacheFields(true)] }
  }

  /**
   * A response to one user must not be given to another: not by caches that keep what comes for a cookie (RFC 9111 §3.5), and not as an answer to a request
   * without credentials (RFC 9110 §12.5.5). A proxy's login says nothing of the origin's response.
   */
  #cacheFields(isPrivate: boolean): HeaderList {
    const { side, sessions } = this.#settings
    if (side !== ORIGIN) return []
    const vary = ['Vary', sessions === undefined ? 'Authorization' : 'Authorization, Cookie'] as const
    return isPrivate ? [['Cache-Control', 'private'], vary] : [vary] // check: S108
  }

  async #lasting(identity: Identity, request: NegotiateRequest): Promise<HeaderList> {
    try {
      return await this.#logins.begin(identity, request)
    } catch (error) {
      identity.delegated?.release() // check: S71
      throw error
    }
  }

  /** A client that may not go on leaves no login here, also when `authorize` throws. */
  async #isAllowed(identity: Identity, request: NegotiateRequest): Promise<boolean> {
    const { authorize } = this.#settings
    let allowed = false
    try {
      allowed = authorize === undefined || (await called('authorize', () => authorize(identity, request))) === true
    } finally {
      if (!allowed) identity.delegated?.release() // check: S71
    }
    return allowed
  }

  async #letPass(request: NegotiateRequest, refused: Refused): Promise<Decision> {
    refused.continuation?.context.dispose()
    const failure = failureOf(request, refused, undefined, this.#settings.side)
    await this.#tell('anonymous', failure)
    return { kind: 'anonymous', reason: failure.reason, headers: this.#cacheFields(false) }
  }

  async #refuse(request: NegotiateRequest, refused: Refused): Promise<Refusal> {
    const { status } = refused
    const { side } = this.#settings
    const failure = { ...failureOf(request, refused, status, side), status }
    const token = this.#negotiation.goOn(request, refused)
    await this.#tell('refused', failure)
    const asked = {
      request,
      challenges: () => this.#logins.challenges(request, refused),
      token: token === undefined ? [] : [negotiateChallenge(side, token)],
      retryAfterSeconds: refused.retryAfterSeconds,
    }
    return refusal(failure, asked, this.#settings)
  }

  async #tell(outcome: 'anonymous' | 'refused', failure: Failure): Promise<void> {
    const level =
      failure.status === 503 || failure.status === 500 ? 'error' : ORDINARY.includes(failure.reason) ? 'debug' : 'warn'
    this.#logger?.[level](failure, 'request not authenticated')
    this.#publish(outcome, () => failure)
    const { onFailure } = this.#settings
    if (onFailure === undefined) return
    try {
      await onFailure(failure)
    } catch (error) {
      this.#reports.tell('onFailure', error) // the decision stands
    }
  }

  /** No page of the program is asked for: what has thrown once may throw again. */
  async #fault(received: NegotiateRequest, error: unknown): Promise<Refusal> {
    const [option, cause] = error instanceof CallbackError ? [error.option, error.cause] : ['authentication', error]
    this.#reports.tell(option, cause)
    const message = `${option} threw: the request is answered with 500`
    await this.#tell('refused', { ...FAULT, message, ...targetOf(received, this.#settings.side) })
    return faultRefusal(cause) // check: A04
  }

  #publish(outcome: Decision['kind'], event: () => Omit<ServerEvent, 'outcome'>): void {
    const { channel } = this.#effects
    if (channel?.hasSubscribers) channel.publish({ outcome, ...event() })
  }
}

/** Longest method or path that is told, in characters. */
const MAX_TARGET_SHOWN = 1024

/** Part of every first visit: no reason to warn. */
const ORDINARY: readonly string[] = ['NO_CREDENTIALS', 'CONTINUE_NEEDED', 'SESSION_EXPIRED']

const ACCEPTED = { reason: undefined, message: 'accepted', hint: undefined, status: undefined } as const

const FAULT = {
  reason: 'CALLBACK_FAILED',
  hint: 'The warning of that code has what was thrown.',
  status: 500,
  principal: undefined,
} as const

const BAD_TARGET: Refused = {
  kind: 'refused',
  status: 400,
  reason: 'TARGET_INVALID',
  message: 'the target of the request can be read in more than one way',
  hint: 'Send a path that begins with a slash, percent-encoded, without a fragment.',
}

const CROSS_SITE: Refused = {
  kind: 'refused',
  status: 403,
  reason: 'CROSS_SITE',
  message: 'a browser sent this for a page of another site',
  hint: 'If that site may act in your users’ names, list its origin in crossSite.',
}

const UNBOUND: Omit<Refused, 'status'> = {
  kind: 'refused',
  reason: 'BINDINGS_MISMATCH',
  message: 'the login was accepted by another guard without channel bindings, and this one requires them',
  hint: 'Require them in the first guard too.',
}

const BY_PASSWORD: Omit<Refused, 'status'> = {
  kind: 'refused',
  reason: 'MECHANISM_REFUSED',
  message: 'another guard accepted a password, and this one takes none',
  hint: 'Set basic here too, or log in with a ticket.',
}

const FORBIDDEN: Refused = {
  kind: 'refused',
  status: 403,
  reason: 'FORBIDDEN',
  message: 'authorize did not say true',
}

function failureOf<S extends Refused['status'] | undefined>(
  request: NegotiateRequest,
  refused: Refused,
  status: S,
  side: Side,
): Failure {
  const { reason, message, hint, principal } = refused
  return { reason, message, hint, status, principal, ...targetOf(request, side) }
}

/** To a proxy a request names its origin: of that, anything but a password. */
function targetOf({ method, url }: NegotiateRequest, side: Side): { method: string; path: string } {
  const target = side === PROXY ? String(url).replace(/(?<=\/\/)[^/?#]*@/, '') : originFormOf(String(url)) // check: S111
  return { method: shown(String(method)), path: shown(pathOf(target)) }
}

/** Both come from the client, or from a proxy that hands on what the client wrote. */
function shown(text: string): string {
  return escapeControls(text.length > MAX_TARGET_SHOWN ? `${text.slice(0, MAX_TARGET_SHOWN)}…` : text) // check: S109
}
