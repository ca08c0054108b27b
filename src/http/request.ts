import type { IncomingHttpHeaders } from 'node:http'

/** Node's adapters pass `headersDistinct`, so that a second Authorization is seen. */
export type RequestHeaders = IncomingHttpHeaders | NodeJS.Dict<string[]> | globalThis.Headers

/** What the decision needs of a request, whatever the framework. */
export interface NegotiateRequest {
  readonly method: string
  /**
   * The request's target: any form that RFC 9112 §3.2 has, or the whole URL. Functions of the program always see the origin form, `/path?query`,
   * as the client wrote it: rules by path belong into routing, since frameworks fold case and decode.
   */
  readonly url: string
  /** Names in lower case, as Node and `Headers` give them. */
  readonly headers: RequestHeaders
  /** What carries the request: an object of the transport, the same for each request on it. Without it one leg is all there is. */
  readonly connection?: object | undefined
  /** This server's certificate on that connection, DER. */
  readonly certificate?: Uint8Array | undefined
  /** Whether it came over TLS; undefined: nobody knows. */
  readonly secure?: boolean | undefined
  /** The client's address, as text. */
  readonly address?: string | undefined
  /** `1.1`: then `connection` carries one request at a time. */
  readonly httpVersion?: string | undefined
}

/** Every field of that name, in lower case; `Headers` shows several as one with commas. */
export function fieldValues(headers: RequestHeaders, name: string): readonly string[] {
  const value = isHeaders(headers) ? headers.get(name) : Object.hasOwn(headers, name) ? headers[name] : undefined // check: S105
  if (value === null || value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

/** Scheme and authority of an absolute-form target (RFC 9112 §3.2.2). */
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i

/** A target without scheme and authority; what has none stays as it is. */
export function originFormOf(url: string): string {
  const [whole] = ABSOLUTE.exec(url) ?? []
  if (whole === undefined) return url
  const rest = url.slice(whole.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/**
 * The request with its target in origin form (RFC 9112 §3.2.1), and with what an absolute form says beside it: the host where no field names one, and
 * whether it came over TLS where nothing else tells.
 */
export function inOriginForm(request: NegotiateRequest): NegotiateRequest {
  const { url, headers, secure } = request
  if (url.startsWith('/')) return request
  const [, scheme, authority = ''] = ABSOLUTE.exec(url) ?? []
  if (scheme === undefined) return request // `*` of OPTIONS, host and port of CONNECT
  const host = authority.slice(authority.lastIndexOf('@') + 1)
  return {
    ...request,
    url: originFormOf(url), // check: S106
    headers: host === '' || hostsOf(request).length > 0 ? headers : withHost(headers, host),
    secure: secure ?? (scheme.toLowerCase() === 'https' ? true : undefined),
  }
}

/** The fields with one Host. */
export function withHost(headers: RequestHeaders, host: string): RequestHeaders {
  if (!isHeaders(headers)) return { ...(headers as NodeJS.Dict<string[]>), host: [host] }
  const all = new Headers(headers)
  all.set('host', host)
  return all
}

/** The hosts that it says it is for: one, unless it is wrong. */
export function hostsOf({ headers }: NegotiateRequest): readonly string[] {
  const named = fieldValues(headers, 'host')
  if (named.length > 0 || isHeaders(headers)) return named // `Headers` take no name with a colon
  return fieldValues(headers, ':authority') // RFC 9113 §8.3.1
}

function isHeaders(headers: RequestHeaders): headers is globalThis.Headers {
  return typeof headers.get === 'function'
}

/** The host that it says it is for, without its port, as DNS compares names; empty when it says none. */
export function hostnameOf(request: NegotiateRequest): string {
  const [host = ''] = hostsOf(request)
  return host.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase()
}

/** The target without its query, which may hold secrets. */
export function pathOf(url: string): string {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}
