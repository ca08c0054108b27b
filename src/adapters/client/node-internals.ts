/** What node:http does with agents and does not declare, in one place. Widely relied upon; the matrix shows it on every runtime. */
import { EventEmitter } from 'node:events'
import type { ClientRequest, Agent as HttpAgent, IncomingMessage, RequestOptions } from 'node:http'
import { Socket } from 'node:net'
import { checkServerIdentity, type TLSSocket } from 'node:tls'
import { urlAt } from '../../bytes/host.ts'
import { withField } from '../../http/response-fields.ts'

/** What an agent is told of a request's connection, as far as it is needed here. */
export interface ConnectionOptions {
  readonly host?: string | null | undefined
  /** Of this machine: it takes the place of host and port. */
  readonly socketPath?: string | null | undefined
  readonly port?: number | string | null | undefined
  readonly defaultPort?: number | string | undefined
  readonly checkServerIdentity?: unknown
  readonly session?: Uint8Array | undefined
  readonly secureEndpoint?: boolean | undefined
  readonly [own: symbol]: unknown
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

/** The URL of a request; undefined for a proxy's absolute form and CONNECT, whose host is not the connection's, and for what is no host. */
export function urlOf({ protocol, path }: ClientRequest, options: ConnectionOptions): URL | undefined {
  if (!path.startsWith('/')) return undefined
  const { host, port, defaultPort } = options
  return urlAt(protocol, host ?? 'localhost', port ?? defaultPort, path)
}

/** The URL that a request asks a proxy for, in absolute form (RFC 9112 §3.2.2). */
export function proxiedUrlOf({ path }: ClientRequest): URL | undefined {
  return /^https?:\/\//i.test(path) && URL.canParse(path) ? new URL(path) : undefined
}

/** Whether it has credentials of the caller's own, maybe in a head that was made already. */
export function hasAuthorization(request: ClientRequest): boolean {
  return request.hasHeader('authorization') || /\r\nauthorization:/i.test(undeclared(request)._header ?? '')
}

/** In place of what it has of these names; also when the head has been made: then they stand at its end. */
export function setFields(request: ClientRequest, fields: Readonly<Record<string, string>>): void {
  if (typeof undeclared(request)._header !== 'string') {
    for (const [name, value] of Object.entries(fields)) request.setHeader(name, value)
    return
  }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const names = Object.keys(fields)
  const isOld = (line: string) => names.includes(line.slice(0, line.indexOf(':')).toLowerCase())
  rewriteHead(request, (head) => {
    const kept = head.slice(0, -2).split(/(?<=\r\n)/)
    return `${kept.filter((line) => !isOld(line)).join('')}${lines.join('')}\r\n`
  })
}

/** For a proxy that reads the request: it names the whole URL (RFC 9112 §3.2.2). */
export function setAbsoluteForm(request: ClientRequest, { origin, pathname, search }: URL): void {
  const target = `${origin}${pathname}${search}`
  const { method, path } = request
  request.path = target
  if (typeof undeclared(request)._header !== 'string') return
  const start = `${method} ${path} `
  rewriteHead(request, (head) => {
    if (!head.startsWith(start)) throw new Error('the head has another request line')
    return `${method} ${target} ${head.slice(start.length)}`
  })
}

/** A cache above sees a request without Authorization, and would keep for all what is one user's (RFC 9111 §3.5). */
export function setForOneUser(response: IncomingMessage): void {
  const { headers, headersDistinct, rawHeaders } = response
  const name = 'cache-control'
  const own = withField(name, headersDistinct[name] ?? [], 'private')
  if (own === undefined) return
  const kept = rawHeaders.filter((_, i) => rawHeaders[i - (i % 2)]?.toLowerCase() !== name)
  response.rawHeaders = [...kept, 'Cache-Control', own.join(', ')]
  headers[name] = own.join(', ')
  headersDistinct[name] = [...own]
}

/** Changes a head that has been made and waits for a connection. */
function rewriteHead(request: ClientRequest, rewrite: (head: string) => string): void {
  const inner = undeclared(request)
  const head = inner._header
  const [first] = inner.outputData ?? []
  if (typeof head !== 'string' || typeof first?.data !== 'string' || !first.data.startsWith(head)) {
    throw new Error('the head has been sent already')
  }
  const rewritten = rewrite(head)
  inner._header = rewritten
  first.data = rewritten + first.data.slice(head.length)
  inner.outputSize += rewritten.length - head.length
}

/** As an agent does; nobody learns otherwise that a connection ended before it was his. */
export function handOver(request: ClientRequest, { socket, taker }: Reserved): void {
  const { timeout } = undeclared(request)
  if (socket.destroyed) return void refuse(request, socket.errored ?? connectionLost())
  if (timeout !== undefined) socket.setTimeout(timeout)
  request.once('socket', () => void taker.emit('socket', socket)) // agents for proxies wait for it
  request.reusedSocket = taker.reusedSocket
  request.onSocket(socket)
}

/** As an agent whose connection could not be opened. Who has destroyed the request meanwhile is told of his own reason. */
export function refuse(request: ClientRequest, error: Error): void {
  undeclared(request).onSocket?.(null, request.destroyed ? undefined : error)
}

/** A connection, and what took it from an agent in place of a request. */
export interface Reserved {
  readonly socket: Socket
  readonly taker: ClientRequest
}

/** What agents ask of a request before it has a connection, and no more: the request itself would send at once. */
function standIn(request: ClientRequest): ClientRequest {
  const { method, path, protocol, host, timeout } = request as ClientRequest & { timeout?: number }
  const getHeader = (name: string) => request.getHeader(name)
  return Object.assign(new EventEmitter(), {
    ...{ method, path, protocol, host, timeout, getHeader },
    reusedSocket: false,
  }) as unknown as ClientRequest
}

/** Who waits for a connection. */
export interface Waiting {
  /** Is told of the connection before it is open, also when nobody waits any more. */
  early(reserved: Reserved): void
  /** When the request, if it has none of its own, tells of a timeout. */
  readonly timeoutMs: number | undefined
  /** Whether there is no socket, and so nothing that counts, as long as it is being opened. */
  readonly isTunnel: boolean
  readonly signal: AbortSignal
}

/** Has an agent give a connection for a request, and waits until it is open, with TLS also verified. */
export function connected(
  add: (taker: ClientRequest) => void,
  request: ClientRequest,
  { early, timeoutMs, isTunnel, signal }: Waiting,
): Promise<Socket> {
  const { timeout = timeoutMs } = undeclared(request)
  const timer = isTunnel && timeout ? setTimeout(() => request.emit('timeout'), timeout) : undefined
  const opening = new Promise<Socket>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    const taker = standIn(request)
    taker.on('error', reject) // as agents for proxies tell that there is none
    undeclared(taker).onSocket = (socket, error) => {
      clearTimeout(timer)
      if (socket === null || socket === undefined || (error ?? null) !== null) return reject(error ?? connectionLost())
      early({ socket, taker })
      open(socket, request, timeout).then(() => (socket.errored ? reject(socket.errored) : resolve(socket)), reject)
    }
    add(taker)
  })
  return opening.finally(() => clearTimeout(timer))
}

function open(socket: Socket, request: ClientRequest, timeout: number | undefined): Promise<Socket> {
  if (!(socket as { secureConnecting?: boolean }).secureConnecting) return Promise.resolve(socket)
  return new Promise((resolve, reject) => {
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

/** Node 20 gives a connection's certificate away the first time that it is asked, and has none from then on. */
const certificates = new WeakMap<Socket, Uint8Array>()

/** DER; empty when there is none to be seen. */
export function certificateOf(socket: Socket): Uint8Array {
  const found =
    certificates.get(socket) ?? (socket as Partial<TLSSocket>).getPeerX509Certificate?.()?.raw ?? new Uint8Array(0)
  certificates.set(socket, found)
  return found
}

/**
 * Whether Node verified the server's certificate, by its own rules (neither the request nor its agent has others; got names Node's own), and for the
 * URL's host: a field Host or an option can have it verify another name.
 */
export function isCertified(request: ClientRequest, options: ConnectionOptions, { hostname }: URL): boolean {
  const { agent, socket } = request as unknown as { agent?: { options?: ConnectionOptions }; socket: TLSSocket | null }
  const isOther = ruleOf(options) !== undefined || ruleOf(agent?.options) !== undefined
  if (isOther || socket?.authorized !== true) return false // check: C90
  const { servername } = socket as { servername?: string | false | null } // none for an address, which is then what is verified
  return !servername || nameOf(servername) === nameOf(hostname) // check: C90
}

/** A rule for names of certificates that is not Node's own. */
function ruleOf(options: ConnectionOptions | undefined): unknown {
  const rule = options?.checkServerIdentity
  return rule === checkServerIdentity ? undefined : rule
}

const rules = new WeakMap<object, string>()

/** What names the connections that a rule of the caller's has let through; undefined: those of Node's rule. */
export function nameOfRule(options: ConnectionOptions): string | undefined {
  const rule = ruleOf(options)
  if (typeof rule !== 'function') return undefined
  const name = rules.get(rule) ?? crypto.randomUUID()
  rules.set(rule, name)
  return name // check: C94
}

/** As DNS compares names. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/\.$/, '')
}

/** As node:http says it. */
export function connectionLost(): Error {
  return Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
}

/**
 * A place among the connections of an agent, for one that is being opened: an agent counts, for `maxSockets`, what it is given at once.
 *
 * @returns what gives it up
 */
export function takePlace(agent: HttpAgent, options: RequestOptions): () => void {
  if (agent.maxSockets === Infinity && agent.maxTotalSockets === Infinity) return () => {}
  const counted = agent as unknown as { sockets: Record<string, Socket[]>; totalSocketCount: number }
  const name = agent.getName(options)
  const place = new Socket()
  counted.sockets[name] = [...(counted.sockets[name] ?? []), place]
  counted.totalSocketCount++
  return () => {
    const others = counted.sockets[name]?.filter((socket) => socket !== place) ?? []
    if (others.length > 0) counted.sockets[name] = others
    else delete counted.sockets[name]
    counted.totalSocketCount--
  }
}
