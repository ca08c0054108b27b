/** Requests of node:http that carry a login: a shell on `http/client` for whatever is built on `http.Agent`. */
import { type ClientRequest, IncomingMessage } from 'node:http'
import {
  type Bindings,
  type Hop,
  type InitiatorContexts,
  type Negotiated,
  RequestLogin,
  type TokenFields,
} from '../../http/client.ts'
import type { ClientSettings } from '../../http/client-options.ts'
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
  proxiedUrlOf,
  type Reserved,
  refuse,
  setAuthorization,
  urlOf,
} from './node-internals.ts'

export interface NodeParts {
  readonly settings: ClientSettings
  readonly contexts: InitiatorContexts
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

/** The requests of one call: one, the redirects that follow it, and what is sent again with a token. */
export class Journey {
  readonly #parts: NodeParts
  #canResend: boolean
  readonly #timeoutMs: number | undefined
  #first: URL | undefined
  #cameFromHttps = false
  #hops = 0
  #told = 0
  #resend: { readonly hop: NodeHop; readonly tokens: TokenFields } | undefined
  /** A token with each first send. */
  unasked: boolean

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

  /** How many redirects were followed since the last time that somebody asked. */
  redirectsSince(): number {
    const found = this.#hops - 1 - this.#told
    this.#told += found
    return found
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
    const url = urlOf(request, options)
    const isCallers = hasAuthorization(request)
    const resend = this.#resend
    this.#resend = undefined
    if (resend !== undefined && !isCallers && resend.hop.url.href === url?.href) {
      return void this.#ask(outgoing, resend.hop, () => Promise.resolve(resend.tokens))
    }
    if (resend !== undefined) this.#goAstray(resend.hop)
    const cameFromHttps = this.#cameFromHttps
    this.#first ??= url ?? proxiedUrlOf(request) // also of a request that carries no token of ours
    const first = this.#first
    this.#cameFromHttps ||= url?.protocol === 'https:'
    this.#hops++
    if (url === undefined || first === undefined || isCallers) return void ownedBy(CALLER, outgoing) // check: C16
    const hop = new NodeHop(this.#parts, { url, first, cameFromHttps }, this.#canResend, this.#timeoutMs)
    if (this.unasked) void this.#ask(outgoing, hop, () => hop.login.first(true))
    else this.#send(outgoing, hop, {})
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
      if (hasAuthorization(request)) {
        hop.dispose()
        ownedBy(CALLER, outgoing) // check: C16
      } else this.#send(outgoing, hop, tokens)
    } catch (error) {
      hop.dispose()
      refuse(request, error as Error)
    }
  }

  #send(outgoing: Outgoing, hop: NodeHop, { authorization }: TokenFields): void {
    const { request } = outgoing
    hop.ofRequest(outgoing)
    holdResponse(request, (response) => this.#look(request, response, hop))
    if (authorization === undefined) {
      hop.dispose()
      return void ownedBy(NOBODY, outgoing)
    }
    setAuthorization(request, authorization)
    const reserved = hop.takeReserved()
    if (reserved === undefined) ownedBy(hop.owned(hop.login.owner ?? NOBODY), outgoing)
    else handOver(request, reserved)
  }

  async #look(request: ClientRequest, response: IncomingMessage, hop: NodeHop): Promise<IncomingMessage> {
    const { statusCode: status = 0, headersDistinct } = response
    const next = await hop.login.next(status, (name) => headersDistinct[name] ?? [])
    if (next.kind === 'resend') {
      this.#resend = { hop, tokens: next.tokens }
      return response
    }
    const report = hop.login.report()
    const delivered = next.kind === 'sanitize' ? sanitized(response) : response
    setNegotiated(delivered, report)
    setNegotiated(request, report)
    if (report !== undefined) this.#parts.observe(hop.url, status, report)
    return delivered
  }
}

type Where = Pick<Hop, 'url' | 'first' | 'cameFromHttps'>

/** Most connections that are opened for one token, when they end before they carry it. */
const MAX_CONNECTIONS = 3

/** One URL of a journey: its login, and the connection that is kept for the next token. */
class NodeHop implements Hop {
  readonly url: URL
  readonly first: URL
  readonly cameFromHttps: boolean
  readonly canPin: boolean
  readonly canResend: boolean
  readonly bindings: Bindings | undefined
  readonly login: RequestLogin
  readonly #timeoutMs: number | undefined
  #outgoing: Outgoing | undefined
  #stop = new AbortController()
  #reserved: Reserved | undefined
  #isBoundAhead = false
  #pin: string | undefined

  constructor(parts: NodeParts, { url, first, cameFromHttps }: Where, canResend: boolean, timeoutMs?: number) {
    this.#timeoutMs = timeoutMs
    this.url = url
    this.first = first
    this.cameFromHttps = cameFromHttps
    this.canPin = this.canResend = canResend
    this.bindings = url.protocol === 'https:' ? (owner) => this.#bindings(parts, owner) : undefined
    this.login = new RequestLogin(this, parts.settings, parts.contexts)
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

  get certified(): boolean {
    return this.#outgoing !== undefined && isCertified(this.#outgoing.request, this.#outgoing.options)
  }

  /** Whose connections carry the token; a negotiation that its server keeps on the connection has one of its own. */
  owned(owner: string): string {
    if (this.login.pin === undefined) return owner
    this.#pin ??= crypto.randomUUID()
    return `${owner} ${this.#pin}`
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
  async #bindings({ bindingsOf }: NodeParts, owner: string): Promise<Uint8Array | undefined> {
    const outgoing = this.#outgoing
    if (outgoing === undefined) return undefined
    this.dispose()
    const { request, add } = outgoing
    if (request.socket !== null) {
      this.#isBoundAhead = true
      return bindingsOf(this.url.origin, certificateOf(request.socket))
    }
    const named = ownedOptions(this.owned(owner), outgoing)
    const early = (reserved: Reserved) => {
      this.#reserved = reserved
      if (this.signal.aborted) this.dispose()
    }
    const socket = await connected((taker) => add(taker, named), request, early, this.#timeoutMs)
    return bindingsOf(this.url.origin, certificateOf(socket)) // check: C31
  }
}

function ownedBy(owner: string, outgoing: Outgoing): void {
  outgoing.add(outgoing.request, ownedOptions(owner, outgoing))
}

function ownedOptions(owner: string, { request, options }: Outgoing): ConnectionOptions {
  return {
    ...options,
    [OWNER]: owner,
    // Agents for proxies look for https.js in the call stack otherwise, and find it no more where a token was waited for: TLS would be left out.
    secureEndpoint: request.protocol === 'https:',
    // A TLS session that is resumed shows no certificate: each connection begins one of its own.
    session: undefined, // check: C32
  }
}

/** Same status; of the headers only date and server; no body: the page proved nothing about its sender. */
function sanitized(response: IncomingMessage): IncomingMessage {
  const { statusCode, statusMessage, httpVersion, httpVersionMajor, httpVersionMinor, url, headers } = response
  const bare = new IncomingMessage(response.socket)
  Object.assign(bare, { statusCode, statusMessage, httpVersion, httpVersionMajor, httpVersionMinor, url })
  Object.assign(bare, { req: (response as { req?: ClientRequest }).req, complete: true })
  const { date, server } = headers
  const kept = Object.entries({ 'content-length': '0', date, server: server as string | undefined })
  const fields = kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
  bare.rawHeaders.push(...fields.flat())
  bare.headers = Object.fromEntries(fields)
  bare.headersDistinct = Object.fromEntries(fields.map(([name, value]) => [name, [value]]))
  bare.push(null)
  response.destroy()
  return bare
}
