import { KerberosError, MalformedError, VerificationError } from '../errors.ts'
import { incomplete, MAX_LEGS } from '../gss/context.ts'
import type { AcceptingContext, AcceptorContexts } from './contexts.ts'
import { type Credential, parseCredentials } from './credentials.ts'
import { isCrossSite } from './cross-site.ts'
import type { Authenticator, Decision, HeaderList, Identity, Refusal } from './decision.ts'
import type { LocalNamer } from './local-names.ts'
import { type After, type Continuation, PendingContexts } from './pending.ts'
import { fieldValues, hostsOf, type NegotiateRequest, pathOf } from './request.ts'
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

type Status = 401 | 403 | 503

/** What became of the credential. */
type Outcome = Proven | Refused
interface Proven {
  readonly identity: Identity
  readonly token: Uint8Array | undefined
}
interface Refused {
  readonly identity?: undefined
  readonly status: Status
  readonly reason: string
  readonly message: string
  readonly hint?: string | undefined
  readonly token?: Uint8Array | undefined
  readonly principal?: string | undefined
  /** When the next token on the same connection may still complete it. */
  readonly continuation?: Continuation | undefined
}

/** The server's side of RFC 4559: what to do with a request. Nothing about a connection is remembered but half-finished negotiations. */
export class NegotiateCore implements Authenticator<NegotiateRequest> {
  readonly #contexts: AcceptorContexts
  readonly #settings: ServerSettings
  readonly #effects: ServerEffects
  readonly #pending: PendingContexts

  constructor(contexts: AcceptorContexts, settings: ServerSettings, effects: ServerEffects) {
    this.#contexts = contexts
    this.#settings = settings
    this.#effects = effects
    this.#pending = new PendingContexts(effects.after)
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
    return this.#pending.size
  }

  async close(): Promise<void> {
    this.#pending.close()
    await this.#contexts.close()
  }

  async #verify(request: NegotiateRequest): Promise<Outcome> {
    let credential: Credential
    try {
      credential = parseCredentials(fieldValues(request.headers, 'authorization'), this.#settings.maxTokenBytes)
    } catch (error) {
      this.#pending.drop(request.connection) // whoever continues with rubbish begins again
      return this.#refusedBy(error, undefined)
    }
    if (credential.kind !== 'negotiate') return noCredentials(credential)
    return this.#step(request, credential.token)
  }

  async #step(request: NegotiateRequest, token: Uint8Array): Promise<Outcome> {
    let context: AcceptingContext | undefined
    try {
      const host = hostsOf(request).join()
      const waiting = this.#pending.take(request.connection, token, host)
      context = waiting?.context ?? this.#contexts.createContext({ request })
      const step = await context.step(token)
      if (!step.complete) return anotherLeg({ context, legs: (waiting?.legs ?? 0) + 1, host }, step.token)
      const identity = identityOf(context, this.#settings.localName)
      context.dispose()
      return { identity, token: step.token }
    } catch (error) {
      context?.dispose()
      return this.#refusedBy(error, context)
    }
  }

  /** Which row of the table an error is. Anything that is not ours goes on to the caller. */
  #refusedBy(error: unknown, context: AcceptingContext | undefined): Refused {
    if (!(error instanceof KerberosError)) throw error
    const { code, message, hint } = error
    const refused = { reason: code, message, hint, token: context?.errorToken }
    if (code === 'REPLAY_STORE_UNAVAILABLE') return { ...refused, status: 503 }
    if (error instanceof MalformedError) return { ...refused, status: 401, reason: 'TOKEN_MALFORMED' }
    return { ...refused, status: code === 'NTLM_OFFERED' ? 401 : this.#settings.failureStatus }
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
    const { continuation, status, token } = refused
    const failure = { ...failureOf(request, refused, status), status }
    const waits = continuation !== undefined && request.connection !== undefined
    if (waits) this.#pending.keep(request.connection, continuation)
    else continuation?.context.dispose()
    await this.#tell('refused', failure)
    // A token that nobody can continue from would only send the client on a way that ends.
    return refusal(failure, continuation !== undefined && !waits ? undefined : token, request, this.#settings)
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

/** RFC 4559 §5: a 401 with a token asks for the next one. */
function anotherLeg(continuation: Continuation, token: Uint8Array | undefined): Refused {
  const { legs } = continuation
  if (legs >= MAX_LEGS) throw new VerificationError('TOO_MANY_LEGS', `no end after ${legs} tokens`) // check: S30
  const refused = { status: 401, reason: 'CONTINUE_NEEDED', message: 'the negotiation needs another token' } as const
  return { ...refused, token, continuation }
}

/** The one place where an identity begins. */
function identityOf(context: AcceptingContext, localName: LocalNamer): Identity {
  if (!context.complete) throw incomplete() // check: S05
  const { peer, flags, expiresAt } = context
  return Object.freeze({
    principal: peer.toString(),
    name: peer.name,
    realm: peer.realm,
    localName: localName(peer),
    mechanism: 'negotiate',
    channelBound: flags.has('channel-bound'),
    expiresAt,
    delegated: context.delegated,
  })
}

function failureOf<S extends Status | undefined>(request: NegotiateRequest, refused: Refused, status: S): Failure {
  const { reason, message, hint, principal } = refused
  return { reason, message, hint, status, principal, ...targetOf(request) }
}

function targetOf({ method, url }: NegotiateRequest): { method: string; path: string } {
  return { method, path: pathOf(url) }
}
