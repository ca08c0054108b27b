/** The logins of a request that goes through a proxy: one at the proxy, and its own at the server behind it. */
import { type KerberosError, MutualAuthenticationError, VerificationError } from '../errors.ts'
import {
  continueNeeded,
  type FieldValues,
  type Hop,
  type HopLogin,
  type InitiatorContexts,
  MAX_TOKENS_PER_REQUEST,
  type Negotiated,
  type Next,
  PROXY,
  RequestLogin,
  type TokenFields,
  tooMany,
} from './client.ts'
import type { ClientSettings } from './client-options.ts'
import { type HttpProxy, ProxyOwnerChanged, type Way } from './proxy.ts'

/** How often a request chooses its way: the proxy may ask for the first time, and a cache may change hands. */
const MAX_WAYS = 3

/** Where a request has credentials of the caller's own, there is no other login at the server. */
const CALLERS: OriginLogin = {
  first: async () => ({}),
  next: async () => ({ kind: 'deliver' }),
  rebound: async () => ({}),
  again: async () => ({}),
  forbid() {},
  report: () => undefined,
  owner: undefined,
  pin: undefined,
  bound: undefined,
  way: undefined,
}

type OriginLogin = HopLogin & Pick<RequestLogin, 'again' | 'forbid'>

/** What the login of a request depends on besides the request. */
export interface LoginParts {
  readonly settings: ClientSettings
  readonly contexts: InitiatorContexts
}

/**
 * The login of one request to one URL.
 *
 * @param isCallers whether the request has credentials of the caller's own: they win, and the proxy may still want others
 */
export function loginOf(hop: Hop, parts: LoginParts, proxy: HttpProxy | undefined, isCallers: boolean): HopLogin {
  const origin = isCallers ? CALLERS : new RequestLogin(hop, parts.settings, parts.contexts)
  if (proxy === undefined) return origin
  return proxy.tunnels(hop.url) ? new TunnelledLogin(hop, proxy, origin) : new ForwardedLogin(hop, proxy, origin)
}

/** Behind a tunnel the server is alone: whoever opens the connection logs in at the proxy. */
class TunnelledLogin implements HopLogin {
  readonly #hop: Hop
  readonly #proxy: HttpProxy
  readonly #origin: OriginLogin
  #way: Way | undefined

  constructor(hop: Hop, proxy: HttpProxy, origin: OriginLogin) {
    this.#hop = hop
    this.#proxy = proxy
    this.#origin = origin
  }

  async first(unasked: boolean): Promise<TokenFields> {
    return this.#onSomeWay(() => this.#origin.first(unasked))
  }

  /** A 407 that comes through the tunnel is the server's, and none of its business. */
  next(status: number, fields: FieldValues): Promise<Next> {
    return this.#onSomeWay(() => this.#origin.next(status, fields))
  }

  rebound(): Promise<TokenFields> {
    this.#way = undefined
    return this.#onSomeWay(() => this.#origin.rebound())
  }

  /** A connection may be opened, or looked for, while a token is made. */
  #onSomeWay<T>(act: () => Promise<T>): Promise<T> {
    const { url, isOneShot, signal } = this.#hop
    const onWay = async () => {
      this.#way ??= await this.#proxy.wayTo(url, isOneShot === true, signal)
      return act()
    }
    return onSomeWay(onWay, () => {
      this.#way = undefined
    })
  }

  get way(): Way | undefined {
    return this.#way
  }

  get owner(): string | undefined {
    return this.#origin.owner
  }

  get pin(): object | undefined {
    return this.#origin.pin
  }

  get bound(): Uint8Array | undefined {
    return this.#origin.bound
  }

  report(): Negotiated | undefined {
    return this.#origin.report()
  }
}

/**
 * The proxy reads the request and hands it on: it asks with a 407, the server behind it with a 401, and both tokens may go together. The server gets
 * one only when the proxy has said that it gives nobody else that connection (RFC 4559 §6); so none goes there unasked.
 */
class ForwardedLogin implements HopLogin {
  readonly #hop: Hop
  readonly #proxy: HttpProxy
  readonly #origin: OriginLogin
  #way: Way | undefined
  #login: RequestLogin | undefined
  #proxyAsked = false
  /** Sends with a token for either. */
  #sends = 0

  constructor(hop: Hop, proxy: HttpProxy, origin: OriginLogin) {
    this.#hop = hop
    this.#proxy = proxy
    this.#origin = origin
  }

  first(unasked: boolean): Promise<TokenFields> {
    const now = unasked || this.#proxy.preemptive || this.#hop.canResend === false
    return this.#onSomeWay(now, async (login) => {
      const tokens = await login.first(now)
      this.#proxyAsked = tokens[PROXY.credentials] !== undefined
      return this.#counted(tokens)
    })
  }

  async next(status: number, fields: FieldValues): Promise<Next> {
    if (status === PROXY.status) return this.#answerProxy(fields)
    const proxy = await this.#login?.next(status, fields)
    if (proxy?.kind === 'sanitize') throw loginFailed(this.#proxy.url, unproved(this.#proxy.url))
    if (!keepsApart(fields)) this.#origin.forbid(supportMissing(this.#proxy.url)) // check: C54
    if (this.#sends >= MAX_TOKENS_PER_REQUEST) this.#origin.forbid(tooMany()) // check: C12
    if (this.#hop.canResend === false) this.#origin.forbid(continueNeeded())
    const next = await this.#origin.next(status, fields)
    if (next.kind !== 'resend') return next
    const again = this.#proxyAsked ? await this.#onSomeWay(true, anotherToken) : {}
    return { kind: 'resend', tokens: this.#counted({ ...next.tokens, ...again }) }
  }

  /** @throws {VerificationError} `PROXY_LOGIN_FAILED`: a proxy's page is not the server's */
  #answerProxy(fields: FieldValues): Promise<Next> {
    return this.#onSomeWay(true, async (login) => {
      if (this.#sends >= MAX_TOKENS_PER_REQUEST) throw loginFailed(this.#proxy.url, tooMany()) // check: C12
      const next = await login.next(PROXY.status, fields)
      if (next.kind !== 'resend') throw loginFailed(this.#proxy.url, login.report()?.error)
      this.#proxyAsked = true
      return { kind: 'resend', tokens: this.#counted({ ...(await this.#origin.again()), ...next.tokens }) }
    })
  }

  #counted(tokens: TokenFields): TokenFields {
    if (Object.keys(tokens).length > 0) this.#sends++
    return tokens
  }

  /** Whoever logs in at the proxy now, on connections of his. */
  #onSomeWay<T>(knowOwner: boolean, act: (login: RequestLogin) => Promise<T>): Promise<T> {
    const onWay = async () => {
      this.#way ??= await this.#proxy.wayTo(this.#hop.url, knowOwner, this.#hop.signal)
      this.#login ??= this.#proxy.login(this.#way.owner, this.#hop)
      return act(this.#login)
    }
    return onSomeWay(onWay, () => {
      this.#way = this.#login = undefined
    })
  }

  rebound(): Promise<TokenFields> {
    return this.#onSomeWay(true, async (login) => ({ ...(await this.#origin.rebound()), ...(await login.rebound()) }))
  }

  get way(): Way | undefined {
    return this.#way
  }

  get owner(): string | undefined {
    return this.#origin.owner
  }

  get pin(): object | undefined {
    return this.#origin.pin ?? this.#login?.pin
  }

  get bound(): undefined {
    return undefined
  }

  report(): Negotiated | undefined {
    const proxy = this.#login?.report()
    const origin = this.#origin.report()
    return proxy === undefined ? origin : Object.freeze({ ...(origin ?? NOTHING), proxy })
  }
}

/** On the way that there is, or on another when somebody else is logged in at the proxy by then. */
async function onSomeWay<T>(act: () => Promise<T>, forget: () => void): Promise<T> {
  for (let ways = 1; ; ways++) {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof ProxyOwnerChanged) || ways === MAX_WAYS) throw error
      forget()
    }
  }
}

/** A proxy that asked once gets a token with each send. */
function anotherToken(login: RequestLogin): Promise<TokenFields> {
  return login.report()?.attempted === true ? login.again() : login.first(true)
}

/** Of a server that was not logged in to. */
const NOTHING: Negotiated = {
  attempted: false,
  serverAuthenticated: false,
  principal: undefined,
  target: undefined,
  mechanism: undefined,
  channelBound: false,
  delegated: false,
  error: undefined,
  context: undefined,
}

/** RFC 4559 §6: a proxy says so that gives no other client the connection to a server where somebody logs in. */
function keepsApart(fields: FieldValues): boolean {
  const words = fields('proxy-support').flatMap((value) => value.split(','))
  return words.some((word) => word.trim().toLowerCase() === 'session-based-authentication')
}

function unproved({ origin }: URL): KerberosError {
  return new MutualAuthenticationError(`${origin} gave no proof of its identity`, {
    hint: 'Squid gives none: leave proxy.mutualAuthentication at "optional", or tunnel with https.',
  })
}

function supportMissing({ origin }: URL): KerberosError {
  return new VerificationError(
    'PROXY_SUPPORT_MISSING',
    `the server asked for a token, and ${origin} does not say that it keeps connections apart (RFC 4559 §6)`,
    { hint: 'Use https, or proxy: { tunnel: true }, which takes http through CONNECT too.' },
  )
}

/** @param cause undefined where the proxy did not ask for Kerberos at all */
export function loginFailed({ origin }: URL, cause: KerberosError | undefined): KerberosError {
  const why = cause === undefined ? 'it does not offer Negotiate' : cause.message
  const hint = cause?.hint ?? 'Ask whoever runs it: another kind of login than Kerberos is not done here.'
  return new VerificationError('PROXY_LOGIN_FAILED', `no login at the proxy ${origin}: ${why}`, { cause, hint })
}
