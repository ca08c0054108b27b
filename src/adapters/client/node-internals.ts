/** What node:http does with agents and does not declare, in one place. Widely relied upon; the matrix shows it on every runtime. */
import type { ClientRequest } from 'node:http'
import { isIP, isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** What an agent is told of a request's connection, as far as it is needed here. */
export interface ConnectionOptions {
  readonly host?: string | null | undefined
  readonly port?: number | string | null | undefined
  readonly defaultPort?: number | string | undefined
  readonly servername?: string | undefined
  readonly rejectUnauthorized?: boolean | undefined
  readonly checkServerIdentity?: unknown
  readonly session?: Uint8Array | undefined
  readonly [owner: symbol]: string
}

/** `http.Agent.addRequest`: gives the request a connection, now or later. */
export type AddRequest = (request: ClientRequest, options: ConnectionOptions) => void

interface Undeclared {
  /** What an agent calls with a connection, or with the reason why there is none. */
  onSocket?: ((socket: Socket | null | undefined, error?: Error | null) => void) | undefined
  /** The head as it will be written, once it has been made. */
  _header: string | null | undefined
  /** What waits for a connection; the head is the beginning of the first. */
  outputData: { data: unknown }[] | undefined
  outputSize: number
  timeout: number | undefined
}

function undeclared(request: ClientRequest): Undeclared {
  return request as unknown as Undeclared
}

/** The URL of a request; undefined for a proxy's absolute form and CONNECT, whose host is not the connection's. */
export function urlOf({ protocol, path }: ClientRequest, options: ConnectionOptions): URL | undefined {
  if (!path.startsWith('/')) return undefined
  const { host, port, defaultPort } = options
  const name = host === null || host === undefined ? 'localhost' : host
  const text = `${protocol}//${isIPv6(name) ? `[${name}]` : name}:${port ?? defaultPort ?? ''}${path}`
  return URL.canParse(text) ? new URL(text) : undefined
}

/** The URL that a request asks a proxy for, in absolute form (RFC 9112 §3.2.2). */
export function proxiedUrlOf({ path }: ClientRequest): URL | undefined {
  return /^https?:\/\//i.test(path) && URL.canParse(path) ? new URL(path) : undefined
}

/** Whether it has credentials of the caller's own, maybe in a head that was made already. */
export function hasAuthorization(request: ClientRequest): boolean {
  return request.hasHeader('authorization') || /\r\nauthorization:/i.test(undeclared(request)._header ?? '')
}

/** Also when the head has been made: then one line more stands at its end. */
export function setAuthorization(request: ClientRequest, value: string): void {
  const inner = undeclared(request)
  const head = inner._header
  if (typeof head !== 'string') return void request.setHeader('authorization', value)
  const more = `Authorization: ${value}\r\n`
  const longer = `${head.slice(0, -2)}${more}\r\n`
  const [first] = inner.outputData ?? []
  if (typeof first?.data !== 'string' || !first.data.startsWith(head)) throw new Error('the head has been sent already')
  inner._header = longer
  first.data = longer + first.data.slice(head.length)
  inner.outputSize += more.length
}

/** As an agent does; nobody learns otherwise that a connection ended before it was his. */
export function handOver(request: ClientRequest, socket: Socket): void {
  const { timeout } = undeclared(request)
  if (socket.destroyed) return void refuse(request, socket.errored ?? connectionLost())
  if (timeout !== undefined) socket.setTimeout(timeout)
  request.onSocket(socket)
}

/** As an agent whose connection could not be opened. */
export function refuse(request: ClientRequest, error: Error): void {
  undeclared(request).onSocket?.(null, error)
}

/** Takes a connection in place of a request that does not exist yet. */
export function standIn({ servername, host }: ConnectionOptions): ClientRequest {
  const name = servername ?? host ?? ''
  return { getHeader: () => (isIP(name) === 0 ? name : undefined) } as unknown as ClientRequest
}

/**
 * Has an agent give a connection, and waits until it is open, with TLS also verified. The request, which would send at once, does not see it.
 *
 * @param early is told of the connection before it is open
 */
export function connected(add: () => void, request: ClientRequest, early: (socket: Socket) => void): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const inner = undeclared(request)
    inner.onSocket = (socket, error) => {
      Reflect.deleteProperty(inner, 'onSocket')
      if (socket === null || socket === undefined || (error ?? null) !== null) return reject(error ?? connectionLost())
      early(socket)
      open(socket, request).then(resolve, reject)
    }
    add()
  })
}

function open(socket: Socket, request: ClientRequest): Promise<Socket> {
  if (!(socket as { secureConnecting?: boolean }).secureConnecting) return Promise.resolve(socket)
  return new Promise((resolve, reject) => {
    const { timeout } = undeclared(request)
    if (timeout !== undefined) socket.setTimeout(timeout)
    const late = () => request.emit('timeout')
    const fail = (error: Error | boolean) => finish(() => reject(error instanceof Error ? error : connectionLost()))
    const done = () => finish(() => resolve(socket))
    const finish = (act: () => void) => {
      socket.off('timeout', late).off('secureConnect', done).off('close', fail)
      act()
    }
    socket.once('timeout', late).once('secureConnect', done).once('close', fail)
    socket.once('error', fail) // stays: until a request listens, nobody else does
  })
}

/** DER; empty when there is none to be seen. */
export function certificateOf(socket: Socket): Uint8Array {
  return (socket as Partial<TLSSocket>).getPeerX509Certificate?.()?.raw ?? new Uint8Array(0)
}

/** Whether Node verified the server's certificate and name, by its own rules. */
export function isCertified(socket: Socket | undefined, { checkServerIdentity }: ConnectionOptions): boolean {
  return checkServerIdentity === undefined && (socket as Partial<TLSSocket> | undefined)?.authorized === true
}

function connectionLost(): Error {
  return Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
}
