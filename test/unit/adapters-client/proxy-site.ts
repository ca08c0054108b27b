import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Tls, World } from '../http-client/site.ts'

/** A proxy of this test, that does what its script says: CONNECT, and requests in absolute form. */

/** A request as the proxy saw it. */
export interface SeenByProxy {
  readonly method: string
  /** What the request line names: `host:port`, or a whole URL. */
  readonly target: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Number of the connection, from 1. */
  readonly connection: number
  /** The base64 of its Negotiate token for the proxy. */
  readonly token: string | undefined
}

export interface ProxyReply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The connection ends with it. */
  readonly closes?: boolean
}

/** Answers a request itself, or lets it pass, with fields of its own for the answer. */
export type ProxyScript = (seen: SeenByProxy, nth: number) => Promise<ProxyReply | Passing>
export interface Passing {
  readonly pass: Readonly<Record<string, string>>
}

export const PASS: Passing = { pass: {} }
export const PROXY_CHALLENGE: ProxyReply = { status: 407, headers: { 'proxy-authenticate': 'Negotiate' }, body: 'who?' }
/** RFC 4559 §6. */
export const KEEPS_APART: Passing['pass'] = { 'proxy-support': 'Session-Based-Authentication' }

export class ProxySite implements AsyncDisposable {
  readonly seen: SeenByProxy[] = []
  readonly #server: Server
  readonly #scheme: string
  readonly #script: ProxyScript
  readonly #numbers = new WeakMap<Duplex, number>()
  readonly #open = new Set<Duplex>()
  #connections = 0

  private constructor(script: ProxyScript, tls: Tls | undefined) {
    this.#script = script
    this.#scheme = tls === undefined ? 'http' : 'https'
    const options = { maxHeaderSize: 98_304 }
    this.#server = tls === undefined ? createServer(options) : createSecureServer({ ...options, ...tls })
    this.#server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => this.#count(socket))
    this.#server.on('request', (incoming, response) => void this.#forward(incoming, response))
    this.#server.on('connect', (incoming, socket, head) => void this.#tunnel(incoming, socket, head))
  }

  static async start(script: ProxyScript, tls?: Tls): Promise<ProxySite> {
    const site = new ProxySite(script, tls)
    await new Promise<void>((resolve) => site.#server.listen(0, '127.0.0.1', resolve))
    return site
  }

  get url(): string {
    return `${this.#scheme}://localhost:${(this.#server.address() as AddressInfo).port}`
  }

  get tokens(): readonly string[] {
    return this.seen.flatMap(({ token }) => token ?? [])
  }

  /** As a proxy that is started anew: nobody's connection lives on. */
  dropAll(): void {
    for (const socket of this.#open) socket.destroy()
  }

  #count(socket: Socket): void {
    if (this.#numbers.has(socket)) return
    this.#numbers.set(socket, ++this.#connections)
    this.#open.add(socket)
    socket.on('error', () => {}).on('close', () => this.#open.delete(socket))
  }

  #see({ method = '', url = '', headers }: IncomingMessage, socket: Duplex): Promise<ProxyReply | Passing> {
    const token = /^Negotiate (\S+)$/.exec(headers['proxy-authorization'] ?? '')?.[1]
    const connection = this.#numbers.get(socket) ?? 0
    const seen = { method, target: url, headers: headers as SeenByProxy['headers'], connection, token }
    return this.#script(seen, this.seen.push(seen))
  }

  async #forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const reply = await this.#see(incoming, incoming.socket)
    if ('status' in reply) {
      incoming.resume()
      const ends = reply.closes === true ? { connection: 'close' } : {}
      return void response.writeHead(reply.status, { ...reply.headers, ...ends }).end(reply.body)
    }
    const { 'proxy-authorization': _, 'proxy-connection': __, ...headers } = incoming.headers
    const outgoing = request(incoming.url ?? '', { method: incoming.method ?? '', headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, { ...answer.headers, ...reply.pass })
      answer.pipe(response)
    })
    outgoing.on('error', () => response.writeHead(502).end())
    incoming.pipe(outgoing)
  }

  async #tunnel(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const reply = await this.#see(incoming, socket)
    const fields = (all: Readonly<Record<string, string>>) =>
      Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    if ('status' in reply) {
      const { status, headers = {}, body = '', closes } = reply
      const all = { ...headers, 'content-length': String(body.length), ...(closes && { connection: 'close' }) }
      socket.write(`HTTP/1.1 ${status} Of The Test\r\n${fields(all).join('')}\r\n${body}`)
      if (closes === true) return void socket.end()
      if (head.length > 0) socket.unshift(head)
      return void this.#server.emit(this.#scheme === 'https' ? 'secureConnection' : 'connection', socket)
    }
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(incoming.url ?? '') ?? []
    const stream = connect(Number(port), host.replace(/^\[(.*)\]$/, '$1'), () => {
      socket.write(`HTTP/1.1 200 Connection established\r\n${fields(reply.pass).join('')}\r\n`)
      stream.write(head)
      stream.pipe(socket).pipe(stream)
    })
    stream.on('error', () => socket.destroy())
    socket.on('error', () => {}).on('close', () => stream.destroy())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dropAll()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

export interface GuardOptions {
  /** Whether it sends a proof of its identity; Squid does not. */
  readonly proves?: boolean
  /** Whether it says of a server's challenge that it keeps connections apart (RFC 4559 §6). */
  readonly keepsApart?: boolean
  /** Whether a 407 ends the connection. */
  readonly closes?: boolean
  /** Is told who logged in. */
  readonly users?: string[]
}

/** An honest proxy: each request, or tunnel, needs a token. */
export function guard(world: World, options: GuardOptions = {}): ProxyScript {
  const { proves = false, keepsApart = true, closes = false, users } = options
  return async ({ token }) => {
    if (token === undefined) return { ...PROXY_CHALLENGE, closes }
    try {
      const { answer, user } = await world.accept(token)
      users?.push(user)
      const proof: Passing['pass'] = proves ? { 'proxy-authenticate': `Negotiate ${answer}` } : {}
      return { pass: { ...proof, ...(keepsApart && KEEPS_APART) } }
    } catch {
      return { ...PROXY_CHALLENGE, closes }
    }
  }
}
