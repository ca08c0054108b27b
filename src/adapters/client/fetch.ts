/** `fetch` with a login: a shell on `http/client`. Redirects are followed here, so that each hop decides anew about its token. */
import { UsageError } from '../../errors.ts'
import { type InitiatorContexts, type Negotiated, RequestLogin } from '../../http/client.ts'
import type { ClientSettings } from '../../http/client-options.ts'
import { type SendableBody, sendableBody } from './fetch-body.ts'
import { setNegotiated } from './negotiated.ts'

/** The Fetch standard, HTTP-redirect fetch, step 7. */
const MAX_REDIRECTS = 20
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]
/** Headers that describe a body, dropped with it (Fetch standard, HTTP-redirect fetch, step 13). */
const BODY_HEADERS = ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']
/** Headers that say who somebody is: not for another origin. */
const PERSONAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'host']

export type Fetch = typeof globalThis.fetch

export interface FetchParts {
  readonly settings: ClientSettings
  readonly contexts: InitiatorContexts
  /** Sends one request and follows nothing. `own` says whether the connection may be one that carries this client's tokens. */
  send(url: URL, init: RequestInit, own: boolean): Promise<Response>
  /** Whether a certificate of an https server has been verified once a response is there. */
  certified(init: RequestInit): boolean
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
    // A caller's own credentials win: this request is none of our business, nor may it use our connections.
    if (request.headers.has('authorization'))
      return parts.send(new URL(request.url), initOf(request, init, input), false) // check: C16

    const body = await sendableBody(replayableBody(init) ?? request.body, parts.settings.maxReplayBodyBytes)
    const first = new URL(request.url)
    let hop: Outgoing = { url: first, method: request.method, headers: new Headers(request.headers), body }
    let cameFromHttps = false
    for (let redirects = 0; ; redirects++) {
      const response = await sendHop(parts, hop, { request, init, first, cameFromHttps })
      const next = request.redirect === 'follow' ? redirectOf(response, hop) : undefined
      if (next === undefined) return redirects === 0 ? response : asRedirected(response)
      if (redirects >= MAX_REDIRECTS)
        throw new TypeError('fetch failed', { cause: new Error('redirect count exceeded') })
      await response.body?.cancel()
      cameFromHttps ||= hop.url.protocol === 'https:'
      hop = next
    }
  }
}

interface Journey {
  readonly request: Request
  readonly init: RequestInit | undefined
  readonly first: URL
  readonly cameFromHttps: boolean
}

async function sendHop(parts: FetchParts, hop: Outgoing, journey: Journey): Promise<Response> {
  const { request, init, first, cameFromHttps } = journey
  const certified = hop.url.protocol === 'https:' && parts.certified(init ?? {})
  const state = { url: hop.url, first, cameFromHttps, certified, signal: request.signal }
  const login = new RequestLogin(state, parts.settings, parts.contexts)
  const unasked = parts.settings.preemptive || !hop.body.replayable
  let authorization = unasked ? await login.preemptive() : undefined
  for (;;) {
    const body = hop.body.take()
    if (body === undefined) throw notReplayable(hop.url)
    const response = await parts.send(hop.url, outgoingInit(hop, body, authorization, journey), true)
    try {
      const next = await login.next(response.status, challengeFields(response))
      if (next.kind !== 'resend') return finish(parts, hop, response, login, next.kind)
      if (!hop.body.replayable) throw notReplayable(hop.url)
      authorization = next.authorization
    } catch (error) {
      await response.body?.cancel()
      throw error
    }
    await drain(response)
  }
}

function finish(
  parts: FetchParts,
  { url }: Outgoing,
  response: Response,
  login: RequestLogin,
  kind: 'deliver' | 'sanitize',
): Response {
  const report = login.report()
  const delivered = kind === 'sanitize' ? sanitized(response) : response
  setNegotiated(delivered, report)
  if (report !== undefined) parts.observe(url, response.status, report)
  return delivered
}

/** Same status and URL; of the headers only date and server; no body, no cookies: the page proved nothing about its sender. */
function sanitized(response: Response): Response {
  void response.body?.cancel()
  const headers = new Headers({ 'content-length': '0' })
  for (const name of ['date', 'server']) {
    const value = response.headers.get(name)
    if (value !== null) headers.set(name, value)
  }
  const empty = new Response(null, { status: response.status, statusText: response.statusText, headers })
  Object.defineProperty(empty, 'url', { value: response.url })
  return empty
}

/** The connection serves the next send only when this body has been read; a long one is not worth it. */
async function drain(response: Response): Promise<void> {
  const length = Number(response.headers.get('content-length') ?? Number.POSITIVE_INFINITY)
  if (length <= MAX_DRAINED_BYTES) await response.arrayBuffer()
  else await response.body?.cancel()
}
const MAX_DRAINED_BYTES = 65_536

function challengeFields(response: Response): readonly string[] {
  const value = response.headers.get('www-authenticate')
  return value === null ? [] : [value]
}

function outgoingInit(
  hop: Outgoing,
  body: BodyInit | null,
  authorization: string | undefined,
  { request, init }: Journey,
): RequestInit {
  const headers = new Headers(hop.headers)
  if (authorization !== undefined) headers.set('authorization', authorization)
  return withDuplex({
    ...init, // what only some runtimes know: dispatcher, verbose, client
    method: hop.method,
    headers,
    body,
    signal: request.signal,
    redirect: request.redirect === 'follow' ? 'manual' : request.redirect,
  }) as RequestInit
}

/** The request as it is, for a send that is not ours. */
function initOf(request: Request, init: RequestInit | undefined, input: RequestInfo | URL): RequestInit {
  const body = replayableBody(init) ?? request.body
  const own = input instanceof Request ? { ...init, redirect: request.redirect } : { ...init }
  return withDuplex({
    ...own,
    method: request.method,
    headers: request.headers,
    body,
    signal: request.signal,
  }) as RequestInit
}

function replayableBody(init: RequestInit | undefined): BodyInit | null | undefined {
  const body = init?.body
  const oneShot =
    body instanceof ReadableStream || (typeof body === 'object' && body !== null && Symbol.asyncIterator in body)
  return oneShot || body === null ? undefined : body
}

/** Streams need `duplex: 'half'` in Node (Fetch standard, RequestInit). */
function withDuplex(init: RequestInit | undefined): RequestInit | undefined {
  if (init?.body === undefined || init.body === null || 'duplex' in init) return init
  return { ...init, duplex: 'half' } as RequestInit
}

/** The next hop of a redirect (Fetch standard, HTTP-redirect fetch). */
function redirectOf(response: Response, hop: Outgoing): Outgoing | undefined {
  const location = response.headers.get('location')
  if (!REDIRECTS.includes(response.status) || location === null) return undefined
  const url = new URL(location, hop.url)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError('fetch failed', { cause: new Error('redirect to a URL that is not http') })
  }
  if (url.hash === '') url.hash = hop.url.hash
  const headers = new Headers(hop.headers)
  if (url.origin !== hop.url.origin) for (const name of PERSONAL_HEADERS) headers.delete(name)
  const { method, body } = hop
  const toGet =
    response.status === 303
      ? method !== 'GET' && method !== 'HEAD'
      : (response.status === 301 || response.status === 302) && method === 'POST'
  if (!toGet) return { url, method, headers, body }
  for (const name of BODY_HEADERS) headers.delete(name)
  return { url, method: 'GET', headers, body: { take: () => null, replayable: true } }
}

function asRedirected(response: Response): Response {
  Object.defineProperty(response, 'redirected', { value: true })
  return response
}

function notReplayable(url: URL): UsageError {
  return new UsageError('BODY_NOT_REPLAYABLE', `${url.origin} asked for a login after a one-shot body had been sent`, {
    hint: 'Send text or bytes, raise maxReplayBodyBytes, or make a ticket available so that the token goes first.',
  })
}
