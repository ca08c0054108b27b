/** An undici interceptor with a login: a shell on `http/client`. What it is composed of or with is not its affair: each dispatch is one request. */
import type { Duplex } from 'node:stream'
import { UsageError } from '../../errors.ts'
import type { CallbackReports } from '../../http/callbacks.ts'
import type { Negotiated, TokenFields } from '../../http/client.ts'
import { isRequired } from '../../http/mutual.ts'
import { type LoginParts, loginOf } from '../../http/proxied-login.ts'
import type { HttpProxy, Proxies } from '../../http/proxy.ts'
import { withField } from '../../http/response-fields.ts'
import { inAbsoluteForm } from './absolute-form.ts'
import { announceNegotiated } from './negotiated.ts'
import { type NodeBody, nodeBody } from './node-body.ts'
import { ignore, notReplayable } from './resend.ts'
import { Answer, type Begun } from './undici-answer.ts'
import { Fields, type RawFields } from './undici-fields.ts'
import { type Caller, type Controller, callerOf, type Head, handlerOf } from './undici-handlers.ts'
import { type DispatchOptions, OutgoingHeaders, urlOf } from './undici-request.ts'

export interface UndiciParts extends LoginParts {
  /** The proxies of this client, if it was told of any. */
  readonly proxies: Proxies | undefined
  /** Tells of what a handler throws that is told of an error already. */
  readonly reports: CallbackReports
  /** Whether the dispatcher can have been made with what opens tunnels. */
  readonly hasConnector: () => boolean
  /** Told of each final response that has something to tell. */
  observe(url: URL, status: number, report: Negotiated): void
}

export type Dispatch = (options: object, handler: object) => boolean

/** What `dispatcher.compose` takes, whichever undici's dispatcher it is. */
export type Interceptor = (dispatch: (options: never, handler: never) => boolean) => Dispatch

export function interceptorWith(parts: UndiciParts): Interceptor {
  return (inner) => {
    const dispatch = inner as Dispatch
    return (options: DispatchOptions, handler) => {
      const caller = callerOf(handler)
      if (caller === undefined) return dispatch(options, handler)
      const url = options.method === 'CONNECT' ? undefined : urlOf(options)
      if (url === undefined && parts.proxies !== undefined) throw pastProxy()
      const headers = new OutgoingHeaders(options.headers)
      const isCallers = headers.has('authorization')
      if (url === undefined && !isCallers && isRequired(parts.settings)) throw pastLogin() // check: C71
      const proxy = url && parts.proxies?.for(url)
      // A caller's own credentials win; the header goes on as it was read, which may be possible only once.
      const isAsItIs = url === undefined || (isCallers && proxy === undefined) // check: C16
      if (isAsItIs) return dispatch({ ...options, headers: headers.with({}) }, handler)
      if (proxy?.tunnels(url) === true && !parts.hasConnector()) throw connectorMissing()
      const outgoing = { url, proxy, isCallers, headers, body: nodeBody(options.body), options }
      return new Exchange(parts, outgoing, dispatch, caller).begin()
    }
  }
}

/** A request: what does not change between its sends. */
interface Outgoing {
  readonly url: URL
  readonly proxy: HttpProxy | undefined
  /** It has credentials of the caller's own. */
  readonly isCallers: boolean
  readonly headers: OutgoingHeaders
  readonly body: NodeBody
  readonly options: DispatchOptions
}

/** One dispatch of the caller's. His handler is told of one request, however often it is sent, and holds this in place of undici's own controller. */
class Exchange implements Controller {
  readonly #parts: UndiciParts
  readonly #outgoing: Outgoing
  readonly #dispatch: Dispatch
  readonly #caller: Caller
  readonly #context: object = {}
  readonly #announce: (report: Negotiated | undefined) => void
  readonly #aborter = new AbortController()
  #answer: Answer | undefined
  #aborted: { readonly reason: unknown } | undefined
  #isDelivered = false
  #isPaused = false
  #isOver = false
  #accepted = true
  #rawHeaders: RawFields | null = null
  #rawTrailers: RawFields | null = null

  constructor(parts: UndiciParts, outgoing: Outgoing, dispatch: Dispatch, caller: Caller) {
    this.#parts = parts
    this.#outgoing = outgoing
    this.#dispatch = dispatch
    this.#caller = caller
    this.#announce = announceNegotiated(this.#context)
  }

  /** @returns whether the dispatcher takes more, where the request could go to it at once */
  begin(): boolean {
    this.#tell(() => this.#caller.start(this, this.#context))
    if (!this.#isOver) void this.#run()
    return this.#accepted
  }

  async #run(): Promise<void> {
    try {
      await this.#logIn()
    } catch (error) {
      this.#fail(error)
      void this.#answer?.discard()
    }
  }

  async #logIn(): Promise<void> {
    const { settings } = this.#parts
    const { url, body, proxy, isCallers } = this.#outgoing
    const { signal } = this.#aborter
    // Who sends may verify no certificate: none vouches for the server.
    const isReplayable = () => body.replayable
    const hop = { url, first: url, cameFromHttps: false, certified: false, isReplayable, signal }
    const login = loginOf(hop, this.#parts, proxy, isCallers)
    if (body.prepare !== undefined) await body.prepare(settings.maxReplayBodyBytes, signal)
    // What cannot be sent twice goes with a token at once; what needs none goes in the same turn.
    const unasked = settings.preemptive || !body.replayable
    let tokens = unasked || proxy !== undefined ? await login.first(unasked) : {}
    for (;;) {
      signal.throwIfAborted()
      const answer = this.#send(tokens)
      const begun = await answer.begun
      const next = await login.next(begun.head.status, (name) => begun.head.fields.values(name))
      signal.throwIfAborted()
      if (next.kind !== 'resend') return await this.#finish(answer, begun, login.report(), next.kind)
      if (!body.replayable) throw notReplayable(url) // check: C11
      tokens = next.tokens
      await answer.discard()
      this.#answer = undefined
    }
  }

  #send(tokens: TokenFields): Answer {
    const { url, proxy, options, headers, body } = this.#outgoing
    const answer = new Answer(Object.keys(tokens).length > 0, {
      context: (context) => void Object.assign(this.#context, context),
      progress: (name, chunk) => this.#tell(() => this.#caller.progress(name, chunk)),
    })
    this.#answer = answer
    const forwarded =
      proxy === undefined || proxy.tunnels(url)
        ? { ...options, headers: headers.with(tokens) }
        : inAbsoluteForm(options, headers, url, proxy.url, tokens)
    this.#accepted = this.#dispatch({ ...forwarded, body: body.take() }, handlerOf(answer)) !== false
    return answer
  }

  async #finish(
    answer: Answer,
    { head, socket }: Begun,
    report: Negotiated | undefined,
    kind: 'deliver' | 'sanitize',
  ): Promise<void> {
    this.#announce(report)
    if (report !== undefined) this.#parts.observe(this.#outgoing.url, head.status, report)
    if (socket !== undefined) return this.#handOver(head, socket)
    if (kind === 'deliver') return this.#deliver(answer, report?.attempted === true ? forOneUser(head) : head) // check: C89
    await answer.discard()
    const page = new Answer(false, undefined)
    page.end(Fields.ofRaw([]))
    this.#deliver(page, sanitized(head))
  }

  #handOver(head: Head, socket: Duplex): void {
    this.#rawHeaders = head.fields.raw
    this.#caller.upgrade(this, head, socket)
    socket.off('error', ignore)
    this.#isOver = true
  }

  #deliver(answer: Answer, head: Head): void {
    this.#answer = answer
    this.#isDelivered = true
    this.#rawHeaders = head.fields.raw
    this.#tell(() => this.#caller.head(this, head))
    answer.pass({
      data: (chunk) => this.#tell(() => this.#caller.data(this, chunk)),
      end: (trailers) => this.#end(trailers),
      fail: (error) => this.#fail(error),
    })
    if (!this.#isPaused) answer.resume()
  }

  /** A handler that throws has no use for the rest; undici then tells it of its own error, by which the retries of version 7 work. */
  #tell(what: () => void): void {
    if (this.#isOver) return
    try {
      what()
    } catch (error) {
      this.#giveUp(error)
    }
  }

  /** After the end nothing is to be given up, but the handler may still object to it. */
  #end(trailers: Fields): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rawTrailers = trailers.raw
    try {
      this.#caller.end(this, trailers)
    } catch (error) {
      this.#tellError(error)
    }
  }

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#aborter.abort(error)
    this.#outgoing.body.destroy(error)
    this.#tellError(error)
  }

  #tellError(error: unknown): void {
    try {
      this.#caller.fail(this, error)
    } catch (thrown) {
      this.#parts.reports.tell('a handler of errors', thrown) // check: C88
    }
  }

  #giveUp(error: unknown): void {
    this.#fail(error)
    this.#answer?.abort(error)
  }

  abort(reason?: unknown): void {
    if (this.#isOver) return
    this.#aborted = { reason: reason ?? new DOMException('The request was aborted', 'AbortError') }
    this.#giveUp(this.#aborted.reason)
  }

  pause(): void {
    this.#isPaused = true
    if (this.#isDelivered) this.#answer?.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#isDelivered) this.#answer?.resume()
  }

  get aborted(): boolean {
    return this.#aborted !== undefined
  }

  get reason(): unknown {
    return this.#aborted?.reason ?? null
  }

  get paused(): boolean {
    return this.#isPaused
  }

  get rawHeaders(): RawFields | null {
    return this.#rawHeaders
  }

  get rawTrailers(): RawFields | null {
    return this.#rawTrailers
  }
}

function pastProxy(): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', 'CONNECT, or what is no path of a URL, would go past the proxy', {
    hint: 'Compose another dispatcher for it, without the option proxy.',
  })
}

/** Nothing would prove who answers. */
function pastLogin(): UsageError {
  return new UsageError(
    'OPTION_UNSUPPORTED',
    'CONNECT, or what is no path of a URL, carries no login, which is required',
    {
      hint: 'Compose another dispatcher for it, with another mutualAuthentication.',
    },
  )
}

function connectorMissing(): UsageError {
  return new UsageError('OPTION_INVALID', 'the dispatcher opens no tunnel through the proxy, and would go straight', {
    hint: 'Make it with the connector: new Agent({ connect: login.connector() }).compose(login).',
  })
}

/** A cache above sees a request without Authorization, and would keep for all what is one user's (RFC 9111 §3.5). */
function forOneUser(head: Head): Head {
  const own = withField('cache-control', head.fields.values('cache-control'), 'private')
  return own === undefined ? head : { ...head, fields: head.fields.with('cache-control', own.join(', ')) }
}

/** Same status; of the fields only date and server; no body, no cookies: the page proved nothing about its sender. */
function sanitized({ status, fields, reason }: Head): Head {
  const kept = ['date', 'server'].flatMap((name) => fields.values(name).map((value) => [name, value] as const))
  return { status, fields: Fields.ofParsed(Object.fromEntries([['content-length', '0'], ...kept])), reason }
}
