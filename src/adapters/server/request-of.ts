import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { NegotiateRequest, RequestHeaders } from '../../http/index.ts'

/** A Node request as the decision sees it: the whole target, also inside a mounted router. */
export function requestOf(req: NodeRequest, url?: string): NegotiateRequest {
  return seen(req, url, connectionOf(req))
}

/** An upgrade, or a tunnel: its connection ends with a refusal, so no negotiation can go on over it. */
export function upgradeOf(req: NodeRequest): NegotiateRequest {
  return seen(req, undefined, undefined)
}

/** Plain fields: a program may copy it, and a getter would cost more than what it gets. */
function seen(req: NodeRequest, url: string | undefined, connection: object | undefined): NegotiateRequest {
  const { socket } = req
  const tls = socket as Partial<TLSSocket>
  const secure = tls.encrypted === true
  return {
    method: req.method ?? '',
    url: url ?? req.originalUrl ?? req.url ?? '',
    headers: headersOf(req),
    connection,
    httpVersion: req.httpVersion,
    secure,
    address: socket.remoteAddress,
    certificate: secure ? certificateOf(connectionOf(req) ?? socket, tls) : undefined,
  }
}

type NodeRequest = IncomingMessage & { readonly originalUrl?: string }

/** HTTP/2's `socket` is another object for every request; its session is one. */
function connectionOf(req: NodeRequest): object | undefined {
  return isHttp2(req) ? req.stream.session : req.socket
}

/** By connection, since making one costs more than a login with a known ticket. */
const certificates = new WeakMap<object, Uint8Array | undefined>()

/** This server's own, DER. */
function certificateOf(connection: object, socket: Partial<TLSSocket>): Uint8Array | undefined {
  if (!certificates.has(connection)) certificates.set(connection, socket.getX509Certificate?.()?.raw)
  return certificates.get(connection)
}

/** Every line of every field: `headers` keeps one Authorization of two, and HTTP/2 requests have no `headersDistinct`. */
function headersOf(req: IncomingMessage): RequestHeaders {
  if (req.headersDistinct !== undefined) return req.headersDistinct
  const headers: Record<string, string[]> = Object.create(null)
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = (req.rawHeaders[i] as string).toLowerCase()
    const values = headers[name] ?? []
    values.push(req.rawHeaders[i + 1] as string)
    headers[name] = values
  }
  return headers
}

/** node:http2's compatible request: one stream of many on its socket. */
export function isHttp2(
  req: IncomingMessage,
): req is IncomingMessage & { readonly stream: { readonly session?: object; close(code: number): void } } {
  return 'stream' in req && req.httpVersionMajor === 2
}
