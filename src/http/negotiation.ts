import { KerberosError, MalformedError, VerificationError } from '../errors.ts'
import { incomplete, MAX_LEGS } from '../gss/context.ts'
import type { AcceptingContext, AcceptorContexts } from './contexts.ts'
import { type Identity, makeIdentity } from './identity.ts'
import type { LocalNamer } from './local-names.ts'
import type { Outcome, Refused } from './outcome.ts'
import { type After, type Continuation, PendingContexts } from './pending.ts'
import { hostsOf, type NegotiateRequest } from './request.ts'
import type { ServerSettings } from './server-options.ts'

/** What tokens prove (RFC 4559 §4). Nothing about a connection is remembered but half-finished negotiations. */
export class Negotiation {
  readonly #contexts: AcceptorContexts
  readonly #settings: ServerSettings
  readonly #pending: PendingContexts

  constructor(contexts: AcceptorContexts, settings: ServerSettings, after: After) {
    this.#contexts = contexts
    this.#settings = settings
    this.#pending = new PendingContexts(after)
  }

  /** How many wait for another token. */
  get pending(): number {
    return this.#pending.size
  }

  async step(request: NegotiateRequest, token: Uint8Array): Promise<Outcome> {
    let context: AcceptingContext | undefined
    try {
      const host = hostsOf(request).join()
      const waiting = this.#pending.take(request.connection, token, host)
      context = waiting?.context ?? this.#contexts.createContext({ request })
      const step = await context.step(token)
      if (!step.complete) return this.#anotherLeg({ context, legs: (waiting?.legs ?? 0) + 1, host }, step.token)
      const identity = identityOf(context, this.#settings.localName)
      context.dispose()
      return { kind: 'proven', identity, token: step.token }
    } catch (error) {
      context?.dispose()
      return this.refusedBy(error, context)
    }
  }

  /** RFC 4559 §5: a 401 with a token asks for the next one. */
  #anotherLeg(continuation: Continuation, token: Uint8Array | undefined): Refused {
    const { legs } = continuation
    if (legs >= MAX_LEGS) throw new VerificationError('TOO_MANY_LEGS', `no end after ${legs} tokens`) // check: S30
    const { status } = this.#settings.side
    return {
      kind: 'refused',
      status,
      reason: 'CONTINUE_NEEDED',
      message: 'the negotiation needs another token',
      token,
      continuation,
    }
  }

  /** Whoever continues with rubbish begins again. */
  unreadable(request: NegotiateRequest, error: unknown): Refused {
    this.#pending.drop(request.connection)
    return this.refusedBy(error, undefined)
  }

  /**
   * Keeps or ends what was begun, and gives the token that the client can go on with: one that nobody can continue from would only send it on a way
   * that ends.
   */
  goOn(request: NegotiateRequest, { continuation, token }: Refused): Uint8Array | undefined {
    if (continuation === undefined) return token
    if (request.connection !== undefined) {
      this.#pending.keep(request.connection, continuation)
      return token
    }
    continuation.context.dispose()
    return undefined
  }

  /** Which row of the table an error is. Anything that is not ours goes on to the caller. */
  refusedBy(error: unknown, context: AcceptingContext | undefined): Refused {
    if (!(error instanceof KerberosError)) throw error
    const { code, message, hint } = error
    const { failureStatus, side } = this.#settings
    const refused = {
      kind: 'refused',
      scheme: 'negotiate',
      reason: code,
      message,
      hint,
      token: context?.errorToken,
    } as const
    if (code === 'REPLAY_STORE_UNAVAILABLE') return { ...refused, status: 503 }
    if (error instanceof MalformedError) return { ...refused, status: side.status, reason: 'TOKEN_MALFORMED' }
    return { ...refused, status: code === 'NTLM_OFFERED' ? side.status : failureStatus }
  }

  async close(): Promise<void> {
    this.#pending.close()
    await this.#contexts.close()
  }
}

/** The identity that a ticket proves. */
function identityOf(context: AcceptingContext, localName: LocalNamer): Identity {
  if (!context.complete) throw incomplete() // check: S05
  const { peer, flags, expiresAt, login } = context
  return makeIdentity(
    {
      principal: peer.toString(),
      name: peer.name,
      realm: peer.realm,
      localName: localName(peer),
      mechanism: 'negotiate',
      channelBound: flags.has('channel-bound'),
      expiresAt,
      delegated: context.delegated,
    },
    { mechanism: 'negotiate', login },
  )
}
