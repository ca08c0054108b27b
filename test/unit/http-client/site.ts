import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { fromBase64, toBase64 } from '../../../src/bytes/base64.ts'
import { type Acceptor, createAcceptor, type SecurityContext } from '../../../src/entries/index.ts'
import { type Credentials, TestRealm } from '../../../src/entries/testing.ts'

/** A request as it stood on the wire. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: string
  /** Number of the connection, from 1. */
  readonly connection: number
  /** The base64 of its Negotiate token. */
  readonly token: string | undefined
}

export interface Reply {
  readonly status?: number
  readonly reason?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Uint8Array
}

/** Key and certificate, as PEM. */
export interface Tls {
  readonly key: string
  readonly cert: string
}

/** Answers a request; `undefined` leaves it to the script, which has the response. */
export type Script = (
  seen: Seen,
  nth: number,
  response: ServerResponse,
) => Reply | undefined | Promise<Reply | undefined>

/** A server of this test, that does what the script says and remembers what it was sent. */
export class Site implements AsyncDisposable {
  readonly seen: Seen[] = []
  /** Numbers of the connections that are open. */
  readonly open: Set<number> = new Set()
  readonly #server: Server
  readonly #scheme: 'http' | 'https'
  #connections = 0

  private constructor(script: Script, tls: Tls | undefined) {
    const numbers = new WeakMap<Socket, number>()
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      response.on('error', () => {})
      try {
        const seen = await readRequest(request, numbers.get(request.socket) ?? 0)
        this.seen.push(seen)
        const reply = await script(seen, this.seen.length, response)
        if (reply === undefined) return
        const body = reply.body ?? ''
        const headers: Record<string, string | string[]> = { 'content-length': String(Buffer.byteLength(body)) }
        for (const [name, value] of Object.entries(reply.headers ?? {})) {
          headers[name] = typeof value === 'string' ? value : [...value]
        }
        response.writeHead(reply.status ?? 200, reply.reason ?? '', headers)
        response.end(Buffer.from(body)) // with a text, node:http would write the headers as UTF-8 too
      } catch {
        response.destroy()
      }
    }
    const options = { maxHeaderSize: 98_304 }
    this.#scheme = tls === undefined ? 'http' : 'https'
    this.#server =
      tls === undefined ? createServer(options, answer) : createSecureServer({ ...options, ...tls }, answer)
    this.#server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      const number = ++this.#connections
      numbers.set(socket, number)
      this.open.add(number)
      socket.on('close', () => this.open.delete(number))
    })
  }

  /**
   * @param tls makes it an https server
   * @param address of this machine that it listens at
   */
  static async start(script: Script, tls?: Tls, address = '127.0.0.1'): Promise<Site> {
    const site = new Site(script, tls)
    await new Promise<void>((resolve) => site.#server.listen(0, address, resolve))
    return site
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** With the name that has a ticket. */
  get url(): string {
    return `${this.#scheme}://localhost:${this.port}`
  }

  get tokens(): readonly string[] {
    return this.seen.flatMap(({ token }) => token ?? [])
  }

  get connections(): number {
    return this.#connections
  }

  /** Ends what clients keep open, so that the next one finds nothing of theirs. */
  async endConnections(): Promise<void> {
    this.#server.closeAllConnections()
    await eventually(() => this.open.size === 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function readRequest(request: IncomingMessage, connection: number): Promise<Seen> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const headers = request.headers as Record<string, string | undefined>
  const token = /^Negotiate (\S+)$/.exec(headers['authorization'] ?? '')?.[1]
  const { method = '', url = '' } = request
  return { method, url, headers, body: Buffer.concat(chunks).toString('latin1'), connection, token }
}

/** 401 with a bare challenge. */
export const CHALLENGE: Reply = { status: 401, headers: { 'www-authenticate': 'Negotiate' }, body: 'who are you?' }

/** A realm, its users and one service, with what a server of it needs. */
export class World implements AsyncDisposable {
  readonly realm: TestRealm
  readonly acceptor: Acceptor
  readonly alice: Credentials
  readonly bob: Credentials

  private constructor(realm: TestRealm, acceptor: Acceptor, alice: Credentials, bob: Credentials) {
    this.realm = realm
    this.acceptor = acceptor
    this.alice = alice
    this.bob = bob
  }

  static async start(): Promise<World> {
    const realm = await TestRealm.start({
      realm: 'EXAMPLE.TEST',
      users: { alice: PASSWORD, bob: 'builder' },
      services: ['HTTP/localhost', 'HTTP/web1.corp.example', 'HTTP/proxy.corp.example'],
    })
    const acceptor = await createAcceptor({ keytab: realm.environment.KRB5_KTNAME, principal: 'any' })
    return new World(realm, acceptor, await realm.login('alice'), await realm.login('bob'))
  }

  /** Accepts a token as a server does. */
  async accept(token: string): Promise<{ answer: string; user: string; context: SecurityContext }> {
    const context = this.acceptor.createContext()
    const { token: answer } = await context.step(fromBase64(token, 'token'))
    return { answer: toBase64(answer ?? new Uint8Array(0)), user: context.peer.toString(), context }
  }

  /** An honest server: asks, accepts, proves itself. `reply` sees who it is. */
  honest(reply: (seen: Seen, user: string, nth: number) => Reply = (_, user) => ({ body: user })): Script {
    return async (seen, nth) => {
      if (seen.token === undefined) return CHALLENGE
      const { answer, user } = await this.accept(seen.token)
      const { headers, ...rest } = reply(seen, user, nth)
      return { ...rest, headers: { ...headers, 'www-authenticate': `Negotiate ${answer}` } }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.acceptor.close()
    await this.realm.stop()
  }
}

export const PASSWORD = 'correct horse battery staple'

/** Waits for something that other sockets and timers do; the caller's own assertion speaks when it never comes. */
export async function eventually(isSo: () => boolean, mostMs = 2000): Promise<void> {
  const end = Date.now() + mostMs
  while (!isSo() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 5))
}

export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return undefined
}

/** Nothing of a response's base64, and no password, is in a text. */
export function secretsIn(text: string, tokens: readonly string[]): readonly string[] {
  const parts = tokens.flatMap((token) => [token.slice(40, 72), token.slice(-40)])
  return [PASSWORD, ...parts].filter((secret) => text.includes(secret))
}
