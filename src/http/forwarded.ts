import { isSafeMethod } from './cross-site.ts'
import { fieldValues, type NegotiateRequest, withHost } from './request.ts'

/**
 * What stands before the server and ends its connections. `true`: it sets X-Forwarded-Proto and X-Forwarded-For. `'forward-auth'`: it asks about
 * requests that it keeps (nginx `auth_request`, Traefik `ForwardAuth`, Caddy `forward_auth`), and says in X-Forwarded-Method, -Uri and -Host what they are.
 */
export type ProxyTrust = boolean | 'forward-auth'

/** The request as the client sent it to the proxy. Its connection is the proxy's, which carries many clients: nothing is kept on it. */
export function asForwarded(request: NegotiateRequest, trust: ProxyTrust): NegotiateRequest {
  if (trust === false) return request
  const { headers, method, url } = request
  const proto = last(request, 'x-forwarded-proto')
  const forwarded = {
    headers,
    method,
    url,
    connection: undefined,
    get certificate() {
      return request.certificate
    },
    secure: proto === undefined ? request.secure : proto === 'https',
    address: last(request, 'x-forwarded-for'), // the connection's is the proxy's, and says nothing of the client
  }
  return trust === 'forward-auth' ? asAsked(forwarded) : forwarded
}

/** Method of a request of which the proxy says none: it may be any, so it counts as unsafe. */
export const UNKNOWN_METHOD = ''

/** What is asked about. Its method counts only when our own changes nothing: the stricter of the two. */
function asAsked(request: NegotiateRequest): NegotiateRequest {
  const { method, url, headers } = request
  const host = last(request, 'x-forwarded-host')
  return {
    ...request,
    method: isSafeMethod(method) ? (last(request, 'x-forwarded-method') ?? UNKNOWN_METHOD) : method, // check: S84
    url: last(request, 'x-forwarded-uri') ?? url,
    headers: host === undefined ? headers : withHost(headers, host),
  }
}

/** What the nearest proxy has said: it adds at the end, or replaces. */
function last(request: NegotiateRequest, name: string): string | undefined {
  const text = fieldValues(request.headers, name).at(-1)
  const value = text?.slice(text.lastIndexOf(',') + 1).trim()
  return value === '' ? undefined : value
}
