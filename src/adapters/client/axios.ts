/** axios with a login: its http adapter, called again when the server asks. Redirects stay axios' own; each hop decides anew about its token. */
import type { ClientRequest } from 'node:http'
import { Readable } from 'node:stream'
import type { AxiosAdapter, AxiosHeaders, AxiosInstance, AxiosResponse, InternalAxiosRequestConfig } from 'axios'
import { KerberosError, UsageError } from '../../errors.ts'
import { isRequired } from '../../http/mutual.ts'
import { type Agents, agentOf } from './agent.ts'
import { drain } from './drain.ts'
import { Journey, type NodeParts } from './journey.ts'
import { setCause } from './negotiated.ts'
import { isStream, nodeBody } from './node-body.ts'
import { notReplayable } from './resend.ts'

/** As follow-redirects, which axios uses. */
const MAX_REDIRECTS = 21
/** What each request makes anew, or must not take along. */
const OWN_HEADERS: readonly string[] = ['content-length', 'host', 'proxy-authorization', 'transfer-encoding']
const BODY_HEADERS: readonly string[] = ['content-encoding', 'content-type']

type Config = InternalAxiosRequestConfig

/** @param inner sends over the agents it is given */
export function adapterWith(parts: NodeParts, inner: AxiosAdapter, agents: Agents): AxiosAdapter {
  return async (given) => {
    refuseOtherTransports(given)
    if (parts.proxies !== undefined) refuseOtherWays(given)
    const journey = new Journey(parts, true, Number(given.timeout) || undefined)
    const { config, replayable } = await sendable(given, parts.settings.maxReplayBodyBytes)
    journey.unasked ||= !replayable
    journey.isReplayable = replayable
    // axios reads the environment by itself, and would go through two proxies.
    const own: Partial<Config> = parts.proxies === undefined ? {} : { proxy: false }
    try {
      let next = config
      for (;;) {
        const { response, error } = await attempt(inner, { ...next, ...own, ...agentsFor(next, agents, journey) })
        if (isRequired(parts.settings) && response !== undefined && !journey.hasCarried(response.request)) {
          throw unsupported('a connection that axios, or an adapter, opened by itself') // check: C71
        }
        const at = journey.goesOn
        if (at === undefined || response === undefined) return result(given, response, error)
        if (!replayable) throw notReplayable(at)
        if (response.data instanceof Readable) await drain(response.data)
        next = redirected(next, response, at, journey)
      }
    } finally {
      journey.dispose()
    }
  }
}

interface Outcome {
  readonly response: AxiosResponse | undefined
  /** What axios made of a response that `validateStatus` does not want, or why there is none. */
  readonly error: unknown
}

async function attempt(inner: AxiosAdapter, config: Config): Promise<Outcome> {
  try {
    return { response: await inner(config), error: undefined }
  } catch (error) {
    const { cause } = error as Error
    if (cause instanceof KerberosError) throw cause
    return { response: (error as { response?: AxiosResponse }).response, error }
  }
}

/** With the configuration that the caller knows: others send it again. */
function result(config: Config, response: AxiosResponse | undefined, error: unknown): AxiosResponse {
  if (error instanceof Error && 'config' in error) error.config = config
  if (response !== undefined) response.config = config
  setCause(error)
  if (response === undefined || error !== undefined) throw error
  return response
}

function agentsFor(config: Config, agents: Agents, journey: Journey): Pick<Config, 'httpAgent' | 'httpsAgent'> {
  return {
    httpAgent: agentOf(config.httpAgent || agents.http, journey),
    httpsAgent: agentOf(config.httpsAgent || agents.https, journey),
  }
}

/**
 * A request once more, from the redirect where it was asked who it is. The caller's credentials are those that follow-redirects left in its
 * header: of the option `auth` axios would make them anew, for whichever host this is.
 */
function redirected(config: Config, response: AxiosResponse, at: URL, journey: Journey): Config {
  const redirects = journey.redirectsSince()
  if (redirects === 0) return config
  const request = response.request as ClientRequest
  const sameMethod = request.method === (config.method ?? 'get').toUpperCase()
  const ours = journey.goesOnAsCaller ? [] : ['authorization']
  const dropped = [...OWN_HEADERS, ...ours, ...(sameMethod ? [] : BODY_HEADERS)]
  const headers = Object.entries(request.getHeaders()).filter(([name]) => !dropped.includes(name))
  return {
    ...config,
    url: at.href,
    auth: undefined as never, // check: C70
    baseURL: undefined as never,
    params: undefined,
    method: request.method,
    data: sameMethod ? config.data : undefined,
    headers: withHeaders(config, Object.fromEntries(headers) as Record<string, string>),
    maxRedirects: Math.max((config.maxRedirects ?? MAX_REDIRECTS) - redirects, 0),
  }
}

function withHeaders(config: Config, headers: Record<string, string>): AxiosHeaders {
  const own = config.headers.concat({})
  own.clear()
  return own.set(headers)
}

/** A stream is kept as far as `most` octets. */
async function sendable(config: Config, most: number): Promise<{ config: Config; replayable: boolean }> {
  const data: unknown = config.data
  if (typeof data !== 'object' || data === null || !isStream(data)) return { config, replayable: true }
  const headers = config.headers.concat({})
  const { getHeaders } = data as { getHeaders?: () => Record<string, string> } // of the package form-data: its boundary
  if (typeof getHeaders === 'function') headers.set(getHeaders.call(data))
  const body = nodeBody(data)
  await body.prepare?.(most, config.signal as AbortSignal | undefined)
  const kept = body.take()
  const whole = body.replayable
  return {
    config: { ...config, headers, data: whole ? kept : Readable.from(kept as AsyncIterable<unknown>) },
    replayable: whole,
  }
}

/**
 * The adapter that an instance has: axios' own for Node, or one that the program brought. It runs in an instance of its own, which transforms and
 * intercepts nothing once more. What goes another way would go without a login.
 */
export function innerAdapter(instance: AxiosInstance): AxiosAdapter {
  const { adapter = 'http' } = instance.defaults
  if (typeof adapter === 'function') return adapter
  const names: readonly unknown[] = Array.isArray(adapter) ? adapter : [adapter]
  if (!names.includes('http')) throw unsupported('an adapter other than http')
  const bare = instance.create()
  // A request has its defaults already, but for what an interceptor took away.
  for (const name of Object.keys(bare.defaults)) Reflect.deleteProperty(bare.defaults, name)
  bare.defaults.headers = { common: {} } as typeof bare.defaults.headers
  return (config) => bare.request({ ...config, adapter: 'http', transformRequest: [], transformResponse: [] })
}

function refuseOtherTransports(config: Config): void {
  const { transport, httpVersion } = config as { transport?: unknown; httpVersion?: unknown }
  if (transport !== undefined && transport !== null) throw unsupported('a transport of its own')
  if (httpVersion !== undefined && Number(httpVersion) !== 1) throw unsupported('HTTP/2')
}

/** A proxy of ours needs connections of ours. */
function refuseOtherWays({ httpAgent, httpsAgent, proxy, socketPath }: Config): void {
  if (httpAgent || httpsAgent) throw unsupported('agents of its own, beside the option proxy,')
  if (proxy || socketPath) throw unsupported('a proxy or socket of its own, beside the option proxy,')
}

function unsupported(what: string): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', `negotiateAxios: a request over ${what} carries no login`, {
    hint: 'Use the http adapter of axios, or spnego/fetch.',
  })
}
