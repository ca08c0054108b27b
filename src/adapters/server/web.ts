/** Requests and responses of the Fetch standard: they show no connection. */
import {
  type Authenticator,
  type Capabilities,
  type Identity,
  isCacheField,
  type NegotiateRequest,
  type Refusal,
  withField,
} from '../../http/index.ts'
import { decide, headersAfter, isAdmitted } from './admitted.ts'

export { endSession, identityOf } from './admitted.ts'

/** Of the Fetch standard, wherever it runs. */
export const capabilities: Capabilities = Object.freeze({ multiLeg: false, ownCertificate: false })

/** What answers a request, knowing who sent it. */
export type Handler = (request: Request, identity: Identity | undefined) => Response | Promise<Response>

/** Lets a handler answer requests that are let through; its response carries the token. */
export function negotiateWith(
  server: Authenticator<NegotiateRequest>,
): (handler: Handler) => (request: Request) => Promise<Response> {
  return (handler) => async (request) => {
    const isFirst = !isAdmitted(request)
    const decision = await decide(server, request, webRequest(request))
    switch (decision.kind) {
      case 'accepted':
        try {
          const response = await handler(request, decision.identity)
          return withHeaders(response, headersAfter(request, decision.headers))
        } finally {
          if (isFirst) decision.identity.delegated?.release() // check: S71
        }
      case 'anonymous':
        return withHeaders(await handler(request, undefined), decision.headers)
      case 'refused':
        return webRefusal(request, decision)
    }
  }
}

/** One leg is all there is: nobody can tell which request comes over the same connection. */
export function webRequest(request: Request): NegotiateRequest {
  return {
    method: request.method,
    url: request.url.replace(/#.*$/s, ''), // servers make it of what they have routed by, and a fragment is no part of that
    headers: request.headers,
    secure: request.url.startsWith('https:'),
  }
}

export function webRefusal({ method }: Request, { status, headers, body }: Refusal): Response {
  const page = method === 'HEAD' ? null : new Uint8Array(body)
  return new Response(page, { status, headers: headers.map(([name, value]) => [name, value]) })
}

/** Adds ours to what the field says already. */
export function addTo(fields: Headers, name: string, value: string): void {
  if (!isCacheField(name)) {
    fields.append(name, value)
    return
  }
  const found = fields.get(name)
  const [line] = withField(name, found === null ? [] : [found], value) ?? []
  if (line !== undefined) fields.set(name, line)
}

/** Beside those of the response, which may be one that cannot be changed. */
function withHeaders(response: Response, headers: Refusal['headers']): Response {
  // An upgrade (101) and `Response.error()` (0) cannot be copied (Fetch standard, "initialize a response").
  if (headers.length === 0 || response.status < 200) return response
  const all = new Headers(response.headers)
  for (const [name, value] of headers) addTo(all, name, value)
  const { status, statusText } = response
  return new Response(response.body, { status, statusText, headers: all })
}
