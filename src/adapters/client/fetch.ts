/** `fetch` with a login: a shell on `http/client`. Redirects are followed here, so that each hop decides anew about its token. */
import { setImmediate } from 'node:timers/promises'
import { KerberosError } from '../../errors.ts'
import {
  type Bindings,
  type FieldValues,
  type HopLogin,
  type Negotiated,
  PROXY,
  type TokenFields,
} from '../../http/client.ts'
import { type LoginParts, loginOf } from '../../http/proxied-login.ts'
import { type Proxies, ProxyOwnerChanged, type Way } from '../../http/proxy.ts'
import { ProxyAnswer } from './absolute-form.ts'
import { NO_BODY, type SendableBody, sendableBody } from './fetch-body.ts'
import { setNegotiated } from './negotiated.ts'
import { ignore, MAX_DRAIN_MS, MAX_DRAINED_BYTES, notReplayable } from './resend.ts'

/** The Fetch standard, HTTP-redirect fetch, step 7. */
const MAX_REDIRECTS = 20
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]
/** Headers that describe a body, dropped with it (Fetch standard, HTTP-redirect fetch, step 13). */
const BODY_HEADERS = ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']
/** Headers that say who somebody is: not for another origin. */
const PERSONAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'host']

/** This client's own: on one way, for one owner of tokens, of these channel bindings, and with a pin the one connection of that name. */
export interface Connections {
  /** Undefined: they never carry a token for the server. */
  readonly owner: string | undefined
  readonly bound: Uint8Array | undefined
  readonly pin: object | undefined
  readonly way: Way | undefined
  /** What a proxy gets that reads the request. */
  readonly proxyAuthorization: string | undefined
}

/** Of requests with credentials of the caller's own. */
const CALLER = 'the caller'

export type Fetch = typeof globalThis.fetch

export interface FetchParts extends LoginParts {
  /** The proxies of this client, if it was told of any. */
  readonly proxies: Proxies | undefined
  /** Sends one request over these connections; without any, as the program's own fetch does. */
  send(request: URL | Request, init: RequestInit, connections: Connections | undefined): Promise<Response>
  /** Whether a certificate of an https server has been verified once a response is there. */
  certified(init: RequestInit): boolean
  /** The channel bindings of the connections that `send` uses with a token, where it can see and hold to them. */
  bindings(url: URL, init: RequestInit, way: () => Way | undefined): Bindings | undefined
  /** Whether `send` opens the connections itself: then it heeds a pin, and takes names below localhost to this machine. */
  canPin(init: RequestInit): boolean
  /** Told of each final response that has something to tell. */
  observe(url: URL, status: number, report: Negotiated): void
}

/** One hop's request: what does not change between its sends. */
interface Outgoing {
  readonly url: URL
  readonly method: string
  readonly headers: Headers
  readonly body: SendableBody
}

export function fetchWith(parts: FetchParts): Fetch {
  return async (input, init) => {
    const request = new Request(input, withDuplex(init))
    const first = new URL(request.url)
    const asItIs = () => parts.send(request, withoutContent(init), undefined)
    if (!isHttp(first)) return asItIs()
    // A caller's own credentials win: this request is none of our business, nor may it use our connections; but a proxy is asked for all.
    const isCallers = request.headers.has('authorization')
    if (isCallers && parts.proxies === undefined) return asItIs()

    const signal = signalOf(input, init)
    const body = await sendableBody(replayableBody(init) ?? request.body, parts.settings.maxReplayBodyBytes, signal)
    let hop: Outgoing = { url: first, method: request.method, headers: headersOf(request, input, init), body }
    let cameFromHttps = false
    for (let redirects = 0; ; redirects++) {
      const response = await sendHop(parts, hop, { request, init, signal, first, cameFromHttps, isCallers })
      const location = request.redirect === 'follow' ? locationOf(response) : undefined
      if (location === undefined) return redirects === 0 ? response : asRedirected(response)
      await drain(response)
      if (redirects >= MAX_REDIRECTS) throw networkError('redirect count exceeded')
      cameFromHttps ||= hop.url.protocol === 'https:'
      hop = redirected(hop, response.status, location)
    }
  }
}

interface Journey {
  readonly request: Request
  readonly init: RequestInit | undefined
  /** The caller's own: the request's dies with the request, and the body of the response lives longer. */
  readonly signal: AbortSignal | undefined
  readonly first: URL
  readonly cameFromHttps: boolean
  readonly isCallers: boolean
}

async function sendHop(parts: FetchParts, hop: Outgoing, journey: Journey): Promise<Response> {
  const { request, init = {}, signal, first, cameFromHttps, isCallers } = journey
  signal?.throwIfAborted()
  const certified = hop.url.protocol === 'https:' && parts.certified(init)
  const bindings = parts.bindings(hop.url, init, () => login.way)
  const isOneShot = !hop.body.replayable
  const isReplayable = () => hop.body.replayable
  const proxy = parts.proxies?.for(hop.url)
  const canPin = parts.canPin(init)
  const keepsLocal = canPin && proxy === undefined
  const at = {
    url: hop.url,
    first,
    cameFromHttps,
    certified,
    bindings,
    canPin,
    keepsLocal,
    isReplayable,
    isOneShot,
    signal,
  }
  const login = loginOf(at, parts, proxy, isCallers)
  // What cannot be sent twice goes with a token at once; so does what fetch would hold against a 401's page.
  let tokens = await login.first(parts.settings.preemptive || !hop.body.replayable || request.integrity !== '')
  for (let rebound = 0; ; ) {
    const body = hop.body.take()
    if (body === undefined) throw notReplayable(hop.url)
    const answer = await attempt(
      parts.send(hop.url, outgoingInit(hop, body, tokens, journey), connectionsOf(login, tokens, isCallers)),
    )
    if (answer instanceof ConnectionRefused) {
      if (!hop.body.replayable || ++rebound > MAX_REBOUND) throw answer.cause
      tokens = await login.rebound() // check: C31
      continue
    }
    try {
      const next =
        answer instanceof ProxyAnswer
          ? await login.next(PROXY.status, answer.fields)
          : await login.next(answer.status, fieldsOf(answer))
      signal?.throwIfAborted()
      if (next.kind !== 'resend' && answer instanceof Response)
        return await finish(parts, hop, answer, login, next.kind)
      if (!hop.body.replayable || next.kind !== 'resend') throw notReplayable(hop.url)
      tokens = next.tokens
    } catch (error) {
      if (answer instanceof Response) void drain(answer)
      signal?.throwIfAborted()
      throw error
    }
    if (answer instanceof Response) await drain(answer)
  }
}

function connectionsOf(login: HopLogin, tokens: TokenFields, isCallers: boolean): Connections {
  const { owner, bound, pin, way } = login
  const proxyAuthorization = tokens['proxy-authorization']
  const common = { way, pin, proxyAuthorization }
  if (isCallers) return { ...common, owner: CALLER, bound: undefined }
  return tokens.authorization === undefined
    ? { ...common, owner: undefined, bound: undefined }
    : { ...common, owner, bound }
}

/** Servers that share a name may show different certificates, but not for ever. */
const MAX_REBOUND = 3

/** Nothing was sent: the connection was given up when it showed its certificate, or is not for whoever is logged in at the proxy now. */
class ConnectionRefused {
  readonly cause: unknown

  constructor(cause: unknown) {
    this.cause = cause
  }
}

async function attempt(sending: Promise<Response>): Promise<Response | ProxyAnswer | ConnectionRefused> {
  try {
    return await sending
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if (cause instanceof ProxyAnswer) return cause
    const isChanged = cause instanceof KerberosError && cause.code === 'BINDINGS_CHANGED'
    if (isChanged || cause instanceof ProxyOwnerChanged) return new ConnectionRefused(cause)
    throw cause instanceof KerberosError ? cause : error
  }
}

async function finish(
  parts: FetchParts,
  { url }: Outgoing,
  response: Response,
  login: HopLogin,
  kind: 'deliver' | 'sanitize',
): Promise<Response> {
  const report = login.report()
  const delivered = kind === 'sanitize' ? await sanitized(response) : response
  setNegotiated(delivered, report)
  if (report !== undefined) parts.observe(url, response.status, report)
  return delivered
}

/** Same status and URL; of the headers only date and server; no body, no cookies: the page proved nothing about its sender. */
async function sanitized(response: Response): Promise<Response> {
  await drain(response)
  const headers = new Headers({ 'content-length': '0' })
  for (const name of ['date', 'server']) {
    const value = response.headers.get(name)
    if (value !== null) headers.set(name, value)
  }
  const { status, statusText, url } = response
  const empty = new Response(null, { status: 500, headers }) // the constructor has no status over 599
  return Object.defineProperties(empty, {
    status: { value: status },
    statusText: { value: statusText },
    url: { value: url },
  })
}

/** Reads what is left of a body, or cancels it. Never throws. */
async function drain(response: Response): Promise<void> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  const timer = setTimeout(() => void reader.cancel().catch(ignore), MAX_DRAIN_MS)
  try {
    for (let length = 0; length <= MAX_DRAINED_BYTES; ) {
      const { done, value } = await reader.read()
      if (done) return await setImmediate() // undici takes the connection back in its next turn
      length += value.length
    }
    await reader.cancel()
  } catch {
    // The page was cut off: nobody wanted it.
  } finally {
    clearTimeout(timer)
  }
}

function fieldsOf({ headers }: Response): FieldValues {
  return (name) => {
    const value = headers.get(name)
    return value === null ? [] : [value]
  }
}

function outgoingInit(
  hop: Outgoing,
  body: BodyInit | null,
  { authorization }: TokenFields,
  { request, init, signal }: Journey,
): RequestInit {
  const { cache, credentials, integrity, keepalive, mode, referrer, referrerPolicy } = request
  const headers = new Headers(hop.headers)
  if (authorization !== undefined) headers.set('authorization', authorization)
  return withDuplex({
    ...init, // what only some runtimes know: dispatcher, verbose, client
    ...{ cache, credentials, integrity, keepalive, mode, referrer, referrerPolicy },
    method: hop.method,
    headers,
    body,
    signal: signal ?? null,
    redirect: request.redirect === 'follow' ? 'manual' : request.redirect,
  }) as RequestInit
}

function isHttp({ protocol }: URL): boolean {
  return protocol === 'http:' || protocol === 'https:'
}

/** What goes beside a request that has taken headers and body already. */
function withoutContent(init: RequestInit | undefined): RequestInit {
  const { headers, body, ...rest } = init ?? {}
  return rest
}

function signalOf(input: RequestInfo | URL, init: RequestInit | undefined): AbortSignal | undefined {
  const inherited = input instanceof Request ? input.signal : undefined
  return (init?.signal === undefined ? inherited : init.signal) ?? undefined
}

/** Each send makes a type for its body, and a form a new boundary: what the Request made for it must not stay. */
function headersOf(request: Request, input: RequestInfo | URL, init: RequestInit | undefined): Headers {
  const headers = new Headers(request.headers)
  const given = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
  if (replayableBody(init) !== undefined && !given.has('content-type')) headers.delete('content-type')
  return headers
}

function replayableBody(init: RequestInit | undefined): BodyInit | undefined {
  const body = init?.body
  const oneShot =
    body instanceof ReadableStream || (typeof body === 'object' && body !== null && Symbol.asyncIterator in body)
  return oneShot ? undefined : (body ?? undefined)
}

/** Streams need `duplex: 'half'` in Node (Fetch standard, RequestInit). */
function withDuplex(init: RequestInit | undefined): RequestInit | undefined {
  if (init?.body === undefined || init.body === null || 'duplex' in init) return init
  return { ...init, duplex: 'half' } as RequestInit
}

/** Where a redirect leads; the header's octets are UTF-8 (Fetch standard, location URL). */
function locationOf(response: Response): string | undefined {
  const location = response.headers.get('location')
  if (!REDIRECTS.includes(response.status) || location === null) return undefined
  return new TextDecoder().decode(Uint8Array.from(location, (character) => character.charCodeAt(0)))
}

/** The next hop (Fetch standard, HTTP-redirect fetch). */
function redirected(hop: Outgoing, status: number, location: string): Outgoing {
  if (!URL.canParse(location, hop.url)) throw networkError('redirect to something that is no URL')
  const url = new URL(location, hop.url)
  if (!isHttp(url)) throw networkError('redirect to a URL that is not http')
  if (url.username !== '' || url.password !== '') throw networkError('redirect to a URL with credentials') // check: C61
  if (url.hash === '') url.hash = hop.url.hash
  const headers = new Headers(hop.headers)
  if (url.origin !== hop.url.origin) for (const name of PERSONAL_HEADERS) headers.delete(name)
  const { method, body } = hop
  const toGet =
    status === 303 ? method !== 'GET' && method !== 'HEAD' : (status === 301 || status === 302) && method === 'POST'
  if (!toGet && !body.replayable) throw networkError('redirect of a body that can be sent only once')
  if (!toGet) return { url, method, headers, body }
  for (const name of BODY_HEADERS) headers.delete(name)
  return { url, method: 'GET', headers, body: NO_BODY }
}

function asRedirected(response: Response): Response {
  return Object.defineProperty(response, 'redirected', { value: true })
}

/** As fetch itself fails. */
function networkError(why: string): TypeError {
  return new TypeError('fetch failed', { cause: new Error(why) })
}
