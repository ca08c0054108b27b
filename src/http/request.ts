import type { IncomingHttpHeaders } from 'node:http'

/** Node's adapters pass `headersDistinct`, so that a second Authorization is seen. */
export type RequestHeaders = IncomingHttpHeaders | NodeJS.Dict<string[]> | globalThis.Headers

/** What the decision needs of a request, whatever the framework. */
export interface NegotiateRequest {
  readonly method: string
  /** The request's target, or the whole URL. */
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
  const value = isHeaders(headers) ? headers.get(name) : headers[name]
  if (value === null || value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

/** The hosts that it says it is for: one, unless it is wrong. */
export function hostsOf({ headers, url }: NegotiateRequest): readonly string[] {
  const named = fieldValues(headers, 'host')
  if (named.length > 0) return named
  if (!isHeaders(headers)) return fieldValues(headers, ':authority') // RFC 9113 §8.3.1
  return URL.canParse(url) ? [new URL(url).host] : [] // `Headers` take no name with a colon
}

function isHeaders(headers: RequestHeaders): headers is globalThis.Headers {
  return typeof headers.get === 'function'
}

/** The host that it says it is for, without its port, as DNS compares names; empty when it says none. */
export function hostnameOf(request: NegotiateRequest): string {
  const [host = ''] = hostsOf(request)
  return host.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase()
}

/** Whether it came over TLS, as far as anybody knows. */
export function isSecure({ secure, url }: NegotiateRequest): boolean | undefined {
  return secure ?? (url.startsWith('https:') ? true : undefined)
}

/** The target without its query, which may hold secrets. */
export function pathOf(url: string): string {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}
