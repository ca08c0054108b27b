import { once } from 'node:events'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Authenticator, Decision, HeaderList, Identity, NegotiateRequest } from '../../../src/http/index.ts'

export interface Running {
  readonly server: Server
  readonly port: number
  /** Writes the texts on a new connection, each after the answer to the one before, until the peer closes it or `until` is there. */
  exchange(text: string | string[], until?: string | RegExp): Promise<string>
  close(): Promise<void>
}

export async function serve(listener: RequestListener | undefined, options: ServerOptions = {}): Promise<Running> {
  const server = createServer({ maxHeaderSize: 98_304, ...options }, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    server,
    port,
    exchange: (text, until) => exchange(port, text, until),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function exchange(port: number, text: string | string[], until?: string | RegExp): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const [first = '', ...others] = typeof text === 'string' ? [text] : text
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      const next = others.shift()
      if (next !== undefined) socket.write(next)
      if (until !== undefined && received.search(until) !== -1) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(received))
    socket.write(first)
  })
}

export function get(path: string, headers: Record<string, string> = {}, method = 'GET'): string {
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** The values of a field in a response as it came. */
export function fields(response: string, name: string): string[] {
  const [head = ''] = response.split('\r\n\r\n')
  const lines = head.split('\r\n').filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
  return lines.map((line) => line.slice(name.length + 1).trim())
}

/** Decides whatever it is told to. */
export class Scripted implements Authenticator<NegotiateRequest> {
  readonly asked: NegotiateRequest[] = []
  readonly #decide: () => unknown
  constructor(decide: () => unknown) {
    this.#decide = decide
  }

  async authenticate(request: NegotiateRequest): Promise<Decision> {
    this.asked.push(request)
    return (await this.#decide()) as Decision
  }
  async authorize(_identity: Identity, request: NegotiateRequest): Promise<Decision> {
    return this.authenticate(request)
  }
  async endSession(): Promise<HeaderList> {
    return [['Set-Cookie', 'spnego=; Max-Age=0']]
  }
}
