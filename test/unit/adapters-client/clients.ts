import { type Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import axios from 'axios'
import got from 'got'
import nodeFetch, { type RequestInit as NodeFetchInit } from 'node-fetch'
import superagent from 'superagent'
import { Agent as Agent7, type Dispatcher as Dispatcher7, request as request7 } from 'undici7'
import { NegotiateAgent, NegotiateHttpsAgent } from '../../../src/entries/agent.ts'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { type Negotiated, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'

/** Every HTTP client that this package logs in, behind one shape. */

export interface Outgoing {
  readonly method?: string
  readonly body?: string | Uint8Array | (() => AsyncGenerator<Uint8Array>)
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Undefined also where a client lets nobody see the message under its response. */
  readonly report: Negotiated | undefined
}

export type Caller = (url: string, outgoing?: Outgoing) => Promise<Answer>

export interface Client {
  readonly name: string
  /** Whether it sends a request again; else a token goes with the first one. */
  readonly answers: boolean
  /** Whether `negotiated` finds what happened. */
  readonly reports: boolean
  /** Whether it takes a stream for a body. */
  readonly streams: boolean
  /** Whether it follows redirects. */
  readonly follows: boolean
  /** Whether its connections are this package's: they show their certificate, and each is one user's. */
  readonly owns: boolean
  /** Whether it stays on one connection where a server wants several tokens there. */
  readonly legs: boolean
  /** Whether it goes through a proxy that wants a login. */
  readonly proxies: boolean
  open(options: NegotiateClientOptions): Caller
}

/** Clients that decide themselves what Node is to verify do as this variable says. */
const isLax = (): boolean => process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0'

const flat = (headers: IncomingHttpHeaders): Answer['headers'] =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks).toString('latin1')
}

function streamed(body: Outgoing['body']): Readable | string | Buffer | undefined {
  if (typeof body === 'function') return Readable.from(body(), { objectMode: false })
  return body instanceof Uint8Array ? Buffer.from(body) : body
}

/** `ReadableStream.from`, which TypeScript 7 does not know yet. */
const webStream = (source: AsyncIterable<Uint8Array>): ReadableStream =>
  Readable.toWeb(Readable.from(source)) as unknown as ReadableStream

interface Agents {
  readonly http: Agent
  readonly https: Agent
}

function agents(options: NegotiateClientOptions): Agents {
  return { http: new NegotiateAgent(options), https: new NegotiateHttpsAgent(options) }
}

function onNode(options: NegotiateClientOptions): Caller {
  const { http, https } = agents(options)
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const secure = url.startsWith('https:')
    const request = (secure ? httpsRequest : httpRequest)(url, {
      agent: secure ? https : http,
      method,
      headers,
      ...(signal && { signal }),
    })
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject)
      const stream = streamed(body)
      if (stream instanceof Readable) stream.pipe(request)
      else request.end(stream)
    })
    const text = await textOf(response)
    return { status: response.statusCode ?? 0, text, headers: flat(response.headers), report: negotiated(response) }
  }
}

function onAxios(instance: ReturnType<typeof axios.create>): Caller {
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const { status, ...response } = await instance.request<string>({
      url,
      method,
      data: streamed(body),
      headers: { 'content-type': 'text/plain', ...headers },
      responseType: 'text',
      transformResponse: (text: unknown) => text,
      validateStatus: () => true,
      ...(signal && { signal }),
    })
    const report = negotiated(response)
    return { status, text: response.data, headers: flat(response.headers as IncomingHttpHeaders), report }
  }
}

function onGot(instance: typeof got): Caller {
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const response = await instance(url, {
      method: method as 'GET',
      ...(body !== undefined && { body: typeof body === 'function' ? body() : streamed(body) }),
      headers: { ...headers },
      throwHttpErrors: false,
      retry: { limit: 0 },
      https: { rejectUnauthorized: !isLax() },
      encoding: 'latin1',
      ...(signal && { signal }),
    } as { method: 'GET' })
    const { statusCode: status, body: text } = response
    return { status, text: String(text), headers: flat(response.headers), report: negotiated(response) }
  }
}

function onSuperagent(options: NegotiateClientOptions): Caller {
  const { http, https } = agents(options)
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const request = superagent(method, url)
      .agent((url.startsWith('https:') ? https : http) as never)
      .set({ ...headers })
      .ok(() => true)
      .buffer(true)
      .parse((response, done) => {
        void textOf(response as unknown as Readable).then((text) => done(null, text) as never, done as never)
      })
    if (isLax()) request.disableTLSCerts()
    signal?.addEventListener('abort', () => void request.abort())
    const response = await (body === undefined ? request : request.type('text/plain').send(streamed(body) as string))
    const { status, body: text } = response
    const headersOf = response.headers as Answer['headers']
    // What has no body is an object here.
    return { status, text: typeof text === 'string' ? text : '', headers: headersOf, report: negotiated(response) }
  }
}

function onNodeFetch(options: NegotiateClientOptions): Caller {
  const { http, https } = agents(options)
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const response = await nodeFetch(url, {
      method,
      body: streamed(body),
      headers: { ...headers },
      agent: ({ protocol }: URL) => (protocol === 'https:' ? https : http),
      signal,
    } as NodeFetchInit)
    const text = Buffer.from(await response.arrayBuffer()).toString('latin1')
    const report = negotiated(response)
    return { status: response.status, text, headers: Object.fromEntries(response.headers), report }
  }
}

function onFetch(options: NegotiateClientOptions): Caller {
  const fetch = negotiateFetch(options)
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const response = await fetch(url, {
      method,
      ...(body !== undefined && { body: typeof body === 'function' ? webStream(body()) : body }),
      headers,
      ...(signal && { signal }),
    } as RequestInit)
    const text = Buffer.from(await response.arrayBuffer()).toString('latin1')
    const report = negotiated(response)
    return { status: response.status, text, headers: Object.fromEntries(response.headers), report }
  }
}

function onUndici(options: NegotiateClientOptions): Caller {
  const login = negotiateInterceptor(options)
  // What tunnels through a proxy has options for TLS of its own.
  const connect = options.proxy === undefined ? undefined : login.connector({ rejectUnauthorized: !isLax() })
  const dispatcher = new Agent7({ ...(connect && { connect: connect as never }) }).compose(login as never)
  return async (url, { method = 'GET', body, headers = {}, signal } = {}) => {
    const response = await request7(url, {
      dispatcher,
      method: method as 'GET',
      body: typeof body === 'function' ? body() : (streamed(body) ?? null),
      headers: { ...headers },
      signal,
    } as { dispatcher: Dispatcher7 })
    const text = await textOf(response.body)
    const report = negotiated(response)
    return { status: response.statusCode, text, headers: flat(response.headers), report }
  }
}

export type Runtime = 'Node' | 'Bun' | 'Deno'
const versions: Readonly<Record<string, string | undefined>> = process.versions
export const RUNTIME: Runtime = versions['bun'] !== undefined ? 'Bun' : versions['deno'] !== undefined ? 'Deno' : 'Node'

const ANSWERING = { answers: true, reports: true, streams: true, follows: true, owns: true, legs: true, proxies: true }
const AGENT = { ...ANSWERING, answers: false, legs: false }

/** What each can do where. */
export const clientsOn = (runtime: Runtime): readonly Client[] => [
  // The fetch of Bun and Deno makes its connections by itself.
  {
    ...ANSWERING,
    name: 'spnego/fetch',
    owns: runtime === 'Node',
    legs: runtime === 'Node',
    proxies: runtime === 'Node',
    open: onFetch,
  },
  { ...ANSWERING, name: 'spnego/axios', open: (options) => onAxios(negotiateAxios(axios.create(), options)) },
  { ...ANSWERING, name: 'spnego/got', open: (options) => onGot(negotiateGot(got, options)) },
  { ...ANSWERING, name: 'spnego/undici', follows: false, owns: false, legs: false, open: onUndici },
  { ...AGENT, name: 'spnego/agent, node:http', follows: false, open: onNode },
  {
    ...AGENT,
    name: 'spnego/agent, axios',
    open: (options) => {
      const { http, https } = agents(options)
      return onAxios(axios.create({ httpAgent: http, httpsAgent: https }))
    },
  },
  {
    ...AGENT,
    name: 'spnego/agent, got',
    open: (options) => onGot(got.extend({ agent: agents(options) as { http: Agent } })),
  },
  { ...AGENT, name: 'spnego/agent, superagent', streams: false, open: onSuperagent },
  { ...AGENT, name: 'spnego/agent, node-fetch', reports: false, open: onNodeFetch },
]

export const CLIENTS: readonly Client[] = clientsOn(RUNTIME)

/** The codes of an error and of what caused it. */
export function causes(error: unknown): readonly unknown[] {
  const codes: unknown[] = []
  for (let one = error; one instanceof Error; one = one.cause) {
    codes.push((one as { code?: unknown }).code)
    if (one instanceof AggregateError) codes.push(...one.errors.map(({ code }: { code?: unknown }) => code))
  }
  return codes
}
