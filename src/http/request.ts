import type { IncomingHttpHeaders } from 'node:http'

/** Node's adapters pass `headersDistinct`, so that a second Authorization is seen. */
export type RequestHeaders = IncomingHttpHeaders | NodeJS.Dict<string[]> | globalThis.Headers

/** What the decision needs of a request, whatever the framework. */
export interface NegotiateRequest {
  readonly method: string
  /**
   * The request's target: any form that RFC 9112 §3.2 has, or the whole URL. Functions of the program always see the origin form, `/path?query`,
   * as the client wrote it: rules by path belong into routing, since frameworks fold case and decode. To a proxy: as it came, with the origin.
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

/** Path and query. Servers read `\` as a slash, or not, and end the path at `#`, or not: neither is of a target (RFC 3986 §3.3, RFC 9112 §3.2). */
const ORIGIN_FORM = /^\/[^\\?#\x00-\x20\x7f]*(\?[^#\x00-\x20\x7f]*)?$/
/** Scheme and authority of an absolute-form target (RFC 9112 §3.2.2), without a user (RFC 9110 §4.2.4). */
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\@\s]+)(?=[/?]|$)/i
/** Of CONNECT (RFC 9112 §3.2.3); whether it has a port is for who makes the tunnel. */
const AUTHORITY_FORM = /^[^/?#\\@\s]+$/

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
  const [, scheme = '', host = ''] = ABSOLUTE.exec(url) ?? []
  if (!/^https?$/i.test(scheme)) return request // `*` of OPTIONS, host and port of CONNECT
  return {
    ...request,
    url: originFormOf(url), // check: S106
    headers: hostsOf(request).length > 0 ? headers : withHost(headers, host),
    secure: secure ?? (scheme.toLowerCase() === 'https' ? true : undefined),
  }
}

/**
 * Whether rules and routes can only read the target in one way: as path and query, or as what OPTIONS and CONNECT have (RFC 9112 §3.2.3, §3.2.4).
 *
 * @param isProxied of a request to a proxy, which names its origin
 */
export function isTarget({ method, url }: NegotiateRequest, isProxied: boolean): boolean {
  if (ORIGIN_FORM.test(url) || (url === '*' && method === 'OPTIONS')) return true
  if (method === 'CONNECT') return url === '' || AUTHORITY_FORM.test(url) // HTTP/2 names it in `:authority` (RFC 9113 §8.5)
  return isProxied && ABSOLUTE.test(url) && ORIGIN_FORM.test(originFormOf(url))
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
