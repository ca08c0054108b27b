/** Requests of node:http that carry a login: a shell on `http/client` for whatever is built on `http.Agent`. */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { isBelowLocalhost, lookUpLoopback } from '../../bytes/host.ts'
import { UsageError } from '../../errors.ts'
import type { Bindings, Hop, HopLogin, Negotiated, TokenFields } from '../../http/client.ts'
import { isRequired, refuseOwnCredentials } from '../../http/mutual.ts'
import { type LoginParts, loginOf } from '../../http/proxied-login.ts'
import {
  type HttpProxy,
  nameOfWay,
  type OpenStream,
  type Proxies,
  ProxyOwnerChanged,
  type Way,
} from '../../http/proxy.ts'
import { drain } from './drain.ts'
import { holdResponse } from './held-response.ts'
import { setNegotiated } from './negotiated.ts'
import {
  type AddRequest,
  type ConnectionOptions,
  certificateOf,
  connected,
  handOver,
  hasAuthorization,
  isCertified,
  nameOfRule,
  proxiedUrlOf,
  type Reserved,
  refuse,
  setAbsoluteForm,
  setFields,
  setForOneUser,
  urlOf,
} from './node-internals.ts'
import { sanitized, withoutPage } from './node-response.ts'
import { onWay } from './node-way.ts'

export interface NodeParts extends LoginParts {
  /** The proxies of this client, if it was told of any. */
  readonly proxies: Proxies | undefined
  /** How a stream is opened through a proxy. */
  streamsOf(way: Way): OpenStream
  /** The channel bindings of an origin's certificate (DER), if it has any. */
  bindingsOf(origin: string, certificate: Uint8Array): Uint8Array | undefined
  /** Told of each final response that has something to tell. */
  observe(url: URL, status: number, report: Negotiated): void
}

/** Among the options of a connection: who may use it. An agent's name for connections must tell them apart. */
export const OWNER: unique symbol = Symbol('spnego.owner')
/** Of requests that carry no token of ours. */
const NOBODY = 'nobody'
/** Of requests that have credentials of the caller's own. */
const CALLER = 'the caller'

/** One request of a journey, on its way to an agent. */
interface Outgoing {
  readonly add: AddRequest
  readonly request: ClientRequest
  readonly options: ConnectionOptions
}

/** What goes on from a 401 or 407, when its page is out of the way. */
interface Resend {
  readonly hop: NodeHop
  readonly tokens: TokenFields
  readonly drained: Promise<void>
}

/** The requests of one call: one, the redirects that follow it, and what is sent again with a token. */
export class Journey {
  readonly #parts: NodeParts
  #canResend: boolean
  readonly #timeoutMs: number | undefined
  readonly #carried = new WeakSet<object>()
  #first: URL | undefined
  #cameFromHttps = false
  #hops = 0
  #told = 0
  #resend: Resend | undefined
  /** A token with each first send. */
  unasked: boolean
  /** Whether the body can be sent once more. */
  isReplayable = true

  /**
   * @param canResend whether its owner sends a request again when `goesOn` says so; otherwise there is one request, and its token goes at once
   * @param timeoutMs of an owner who begins to count when the request has its connection: for opening that
   */
  constructor(parts: NodeParts, canResend: boolean, timeoutMs?: number) {
    this.#parts = parts
    this.#timeoutMs = timeoutMs
    this.#canResend = canResend
    this.unasked = !canResend || parts.settings.preemptive
  }

  /** Where the 401 that was just given came from, when another request to that URL is to go on from it. */
  get goesOn(): URL | undefined {
    return this.#resend?.hop.url
  }

  /** Whether that request had credentials of the caller's own, and has to have them again. */
  get goesOnAsCaller(): boolean {
    return this.#resend?.hop.isCallers === true
  }

  /** When the page of that 401 is out of the way: a request that is destroyed before takes its connection along. */
  get drained(): Promise<void> | undefined {
    return this.#resend?.drained
  }

  /** How many redirects were followed since the last time that somebody asked. */
  redirectsSince(): number {
    const found = this.#hops - 1 - this.#told
    this.#told += found
    return found
  }

  /** Whether a request went by here: no other has a login, and no other's answer was verified. */
  hasCarried(request: unknown): boolean {
    return typeof request === 'object' && request !== null && this.#carried.has(request)
  }

  /** Gives up what `goesOn` announced. */
  dispose(): void {
    this.#resend?.hop.dispose()
    this.#resend = undefined
  }

  /** Its owner sends something else than was asked for, and may do so each time: tokens go at once from now on, and nothing goes on from a 401. */
  #goAstray(hop: NodeHop): void {
    hop.dispose()
    this.unasked = true
    this.#canResend = false // check: C12
  }

  /** Gives a request its token, if any, and a connection of whoever owns that. */
  carry(add: AddRequest, request: ClientRequest, options: ConnectionOptions): void {
    const outgoing = { add, request, options }
    this.#carried.add(request)
    const url = urlOf(request, options)
    const isCallers = hasAuthorization(request)
    const resend = this.#resend
    this.#resend = undefined
    if (resend !== undefined && isCallers === resend.hop.isCallers && resend.hop.url.href === url?.href) {
      return void this.#ask(outgoing, resend.hop, () => resend.drained.then(() => resend.tokens))
    }
    if (resend !== undefined) this.#goAstray(resend.hop)
    const cameFromHttps = this.#cameFromHttps
    this.#first ??= url ?? proxiedUrlOf(request) // also of a request that carries no token of ours
    const first = this.#first
    this.#cameFromHttps ||= url?.protocol === 'https:'
    this.#hops++
    const proxy = url && !options.socketPath ? this.#parts.proxies?.for(url) : undefined
    const isElsewhere = url === undefined && this.#parts.proxies !== undefined && !options.socketPath
    if (isElsewhere) return void refuse(request, pastProxy(request))
    const isHeld = url !== undefined || !isRequired(this.#parts.settings)
    if (!isHeld) return void refuse(request, pastLogin(request)) // check: C71
    if (url === undefined || first === undefined) return void outgoing.add(request, ownedOptions(CALLER, outgoing))
    const where = { url, first, cameFromHttps, proxy }
    if (isCallers) return void this.#carryCallers(outgoing, where) // check: C16
    const hop = this.#newHop(where)
    const { unasked } = this
    if (unasked || proxy !== undefined) void this.#ask(outgoing, hop, () => hop.login.first(unasked))
    else this.#send(outgoing, hop, {})
  }

  #newHop(where: Where): NodeHop {
    const isReplayable = () => this.isReplayable
    return new NodeHop(this.#parts, { ...where, isReplayable }, this.#canResend, this.#timeoutMs)
  }

  /** With credentials of the caller's own: none of our business, but a proxy may ask for others. */
  #carryCallers(outgoing: Outgoing, where: Where): void {
    try {
      refuseOwnCredentials(this.#parts.settings) // check: C71
    } catch (error) {
      return void refuse(outgoing.request, error as Error)
    }
    if (where.proxy === undefined) return void outgoing.add(outgoing.request, ownedOptions(CALLER, outgoing))
    const hop = this.#newHop({ ...where, isCallers: true })
    void this.#ask(outgoing, hop, () => hop.login.first(this.unasked))
  }

  /** The request waits for its token, without a connection or with the very one that is to carry it. */
  async #ask(outgoing: Outgoing, hop: NodeHop, first: () => Promise<TokenFields>): Promise<void> {
    const { request } = outgoing
    hop.ofRequest(outgoing)
    try {
      let tokens = await first()
      // The connection ended before it carried anything, or there was none yet: another one, and a token for that.
      for (let tried = 0; hop.lacksConnection && tried < MAX_CONNECTIONS; tried++) {
        tokens = await hop.login.rebound()
      }
      if (hasAuthorization(request) && !hop.isCallers) {
        hop.dispose()
        this.#carryCallers(outgoing, hop) // check: C16
      } else await this.#send(outgoing, hop, tokens)
    } catch (error) {
      hop.dispose()
      refuse(request, error as Error)
    }
  }

  /** Without a proxy in the same turn. */
  #send(outgoing: Outgoing, hop: NodeHop, tokens: TokenFields): Promise<void> | undefined {
    const { request } = outgoing
    hop.ofRequest(outgoing)
    const { mutualAuthentication } = this.#parts.settings
    const tellsInterim = mutualAuthentication === 'optional' || mutualAuthentication === 'disabled'
    holdResponse(request, tellsInterim, (response) => this.#look(request, response, hop))
    if (hop.login.way !== undefined) return this.#sendOnWay(outgoing, hop, tokens)
    if (tokens.authorization === undefined) hop.dispose()
    setFields(request, tokens)
    const reserved = hop.takeReserved()
    if (reserved === undefined) outgoing.add(request, hop.optionsOf(hop.ownerOf(tokens), outgoing))
    else handOver(request, reserved)
    return undefined
  }

  /** The connection first: it may be for somebody else than is logged in at the proxy now. */
  async #sendOnWay(outgoing: Outgoing, hop: NodeHop, first: TokenFields): Promise<void> {
    let tokens = first
    for (let tried = 1; ; tried++) {
      try {
        await hop.reserve(outgoing, tokens)
        break
      } catch (error) {
        if (!(error instanceof ProxyOwnerChanged) || tried === MAX_CONNECTIONS) throw error
        hop.dispose()
        tokens = await hop.login.rebound()
      }
    }
    const { request } = outgoing
    if (hop.login.way?.isTunnel === false) setAbsoluteForm(request, hop.url)
    setFields(request, tokens)
    const reserved = hop.takeReserved()
    if (reserved === undefined) throw hop.signal.reason // who destroys the request takes its connection too
    handOver(request, reserved)
  }

  async #look(request: ClientRequest, response: IncomingMessage, hop: NodeHop): Promise<IncomingMessage> {
    const { statusCode: status = 0, headersDistinct } = response
    const next = await hop.login.next(status, (name) => headersDistinct[name] ?? [])
    if (next.kind === 'resend') {
      // Its page may have no end: the client, which reads it before it sends again, gets none.
      this.#resend = { hop, tokens: next.tokens, drained: drainLater(response) }
      return withoutPage(response) // check: C74
    }
    const report = hop.login.report()
    if (report?.attempted === true) setForOneUser(response) // check: C89
    const delivered = next.kind === 'sanitize' ? sanitized(response) : response
    Object.assign(request, { res: delivered }) // as Node does with the one that it read
    setNegotiated(delivered, report)
    setNegotiated(request, report)
    if (report !== undefined) this.#parts.observe(hop.url, status, report)
    return delivered
  }
}

/** When the client has been told of what stands for it; an agent takes the connection back a turn after its end. */
async function drainLater(response: IncomingMessage): Promise<void> {
  await setImmediate()
  await drain(response)
  await setImmediate()
}

interface Where extends Pick<Hop, 'url' | 'first' | 'cameFromHttps' | 'isReplayable'> {
  readonly proxy: HttpProxy | undefined
  readonly isCallers?: boolean
}

/** Most connections that are opened for one token, when they end before they carry it. */
const MAX_CONNECTIONS = 3

/** One URL of a journey: its login, and the connection that is kept for the next token. */
class NodeHop implements Hop, Where {
  readonly proxy: HttpProxy | undefined
  readonly isCallers: boolean
  readonly url: URL
  readonly first: URL
  readonly cameFromHttps: boolean
  readonly canPin: boolean
  readonly keepsLocal: boolean
  readonly canResend: boolean
  readonly isReplayable: Hop['isReplayable']
  readonly bindings: Bindings | undefined
  readonly login: HopLogin
  readonly #parts: NodeParts
  readonly #timeoutMs: number | undefined
  #outgoing: Outgoing | undefined
  #stop = new AbortController()
  #reserved: Reserved | undefined
  #isBoundAhead = false
  #pin: string | undefined

  constructor(parts: NodeParts, where: Where, canResend: boolean, timeoutMs?: number) {
    const { url, first, cameFromHttps, proxy, isReplayable, isCallers = false } = where
    this.isReplayable = isReplayable
    this.proxy = proxy
    this.keepsLocal = proxy === undefined
    this.isCallers = isCallers
    this.#parts = parts
    this.#timeoutMs = timeoutMs
    this.url = url
    this.first = first
    this.cameFromHttps = cameFromHttps
    this.canPin = this.canResend = canResend
    this.bindings = url.protocol === 'https:' ? (owner) => this.#bindings(owner) : undefined
    this.login = loginOf(this, parts, proxy, isCallers)
  }

  /** The request that is being sent; who destroys it also ends what it waits for. */
  ofRequest(outgoing: Outgoing): void {
    if (this.#outgoing?.request === outgoing.request) return
    const stop = new AbortController()
    const { request } = outgoing
    this.#outgoing = outgoing
    this.#stop = stop
    const destroy = request.destroy.bind(request)
    request.destroy = (error) => {
      stop.abort()
      if (request.socket === null) this.dispose()
      return destroy(error)
    }
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** An http server has no certificate, and that of a proxy before it is not its own. */
  get certified(): boolean {
    const outgoing = this.url.protocol === 'https:' ? this.#outgoing : undefined
    return outgoing !== undefined && isCertified(outgoing.request, outgoing.options, this.url)
  }

  /** What names the connections that may carry these tokens. */
  ownerOf({ authorization }: TokenFields): string {
    if (this.isCallers) return CALLER
    return authorization === undefined ? NOBODY : (this.login.owner ?? NOBODY)
  }

  /** The options of an owner's connections; a negotiation that its server keeps on the connection has one of its own. */
  optionsOf(owner: string, outgoing: Outgoing): ConnectionOptions {
    const { way, pin } = this.login
    if (pin !== undefined) this.#pin ??= crypto.randomUUID()
    const name = [owner, this.#pin, way && nameOfWay(way)].filter((part) => part !== undefined)
    const options = ownedOptions(name.join(' '), outgoing)
    return way === undefined ? options : onWay(options, way, this.url, this.#parts.streamsOf(way))
  }

  /** Whether the token is bound to a connection that is not there: no more, or not yet. */
  get lacksConnection(): boolean {
    return this.#isBoundAhead || this.#reserved?.socket.destroyed === true
  }

  takeReserved(): Reserved | undefined {
    const reserved = this.#reserved
    this.#reserved = undefined
    this.#isBoundAhead = false
    return reserved
  }

  dispose(): void {
    this.takeReserved()?.socket.destroy()
  }

  /**
   * Reserves a connection of the owner's, opened and verified; its bindings. While a 401 waits for this answer none is reserved: its own connection is
   * free only when it has been read, and an agent may have no other. Then the bindings are that one's, until the next request is there.
   */
  async #bindings(owner: string): Promise<Uint8Array | undefined> {
    const outgoing = this.#outgoing
    if (outgoing === undefined) return undefined
    this.dispose()
    const { bindingsOf } = this.#parts
    const { socket } = outgoing.request
    this.#isBoundAhead = socket !== null
    return bindingsOf(this.url.origin, certificateOf(socket ?? (await this.#reserve(owner, outgoing)))) // check: C31
  }

  /** A connection for these tokens, unless one is reserved. @throws {ProxyOwnerChanged} when it would be somebody else's */
  async reserve(outgoing: Outgoing, tokens: TokenFields): Promise<void> {
    if (this.#reserved === undefined) await this.#reserve(this.ownerOf(tokens), outgoing)
  }

  #reserve(owner: string, outgoing: Outgoing): Promise<Socket> {
    const options = this.optionsOf(owner, outgoing)
    const { signal } = this
    const early = (reserved: Reserved) => {
      if (signal.aborted) return void reserved.socket.destroy()
      this.#reserved = reserved
    }
    const waiting = { early, timeoutMs: this.#timeoutMs, isTunnel: this.login.way?.isTunnel === true, signal }
    return connected((taker) => outgoing.add(taker, options), outgoing.request, waiting)
  }
}

function ownedOptions(owner: string, { request, options }: Outgoing): ConnectionOptions {
  return {
    ...options,
    [OWNER]: [owner, nameOfRule(options)].filter((part) => part !== undefined).join(' '),
    // Agents for proxies look for https.js in the call stack otherwise, and find it no more where a token was waited for: TLS would be left out.
    secureEndpoint: request.protocol === 'https:',
    // A TLS session that is resumed shows no certificate: each connection begins one of its own.
    session: undefined, // check: C32
    // Plain http to such a name may carry a token.
    ...(request.protocol === 'http:' && isBelowLocalhost(options.host ?? '') && { lookup: lookUpLoopback }), // check: C93
  }
}

/** What its connection would lead to is the caller's to say, and no proxy is known for it. */
function pastProxy({ method }: ClientRequest): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', `${method} for what is no path of a URL would go past the proxy`, {
    hint: 'Take an agent without the option proxy for it; and where a client brings a proxy of its own, as axios from the environment, leave that out.',
  })
}

/** Nothing would prove who answers. */
function pastLogin({ method }: ClientRequest): UsageError {
  return new UsageError(
    'OPTION_UNSUPPORTED',
    `${method} for what is no path of a URL carries no login, which is required`,
    {
      hint: 'Take an agent with another mutualAuthentication for it; where axios finds a proxy in the environment, set proxy: "environment".',
    },
  )
}
