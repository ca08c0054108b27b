import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Flag, SecurityContext } from '../../src/entries/index.ts'
import type { Environment, Outcome } from './lab.ts'

/**
 * What gss-client and gss-server (Debian's krb5-gss-samples) say to each other over TCP, as observed: each token behind one octet of flags and its
 * length in four octets.
 */
export const FLAG = {
  NOOP: 0x01,
  CONTEXT: 0x02,
  DATA: 0x04,
  MIC: 0x08,
  CONTEXT_NEXT: 0x10,
  WRAPPED: 0x20,
  ENCRYPTED: 0x40,
  SEND_MIC: 0x80,
} as const

export interface SampleToken {
  readonly flags: number
  readonly data: Uint8Array
}

/** One side of such a conversation. */
export class SampleConnection {
  readonly #socket: Socket
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#socket = socket
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  send(flags: number, data: Uint8Array = new Uint8Array(0)): void {
    const head = Buffer.alloc(5)
    head[0] = flags
    head.writeUInt32BE(data.length, 1)
    this.#socket.write(Buffer.concat([head, data]))
  }

  /** Undefined when the peer has closed. */
  async receive(): Promise<SampleToken | undefined> {
    const head = await this.#take(5)
    if (head === undefined) return undefined
    const data = await this.#take(head.readUInt32BE(1))
    return data && { flags: head[0] as number, data: new Uint8Array(data) }
  }

  end(): void {
    this.#socket.end()
  }

  async #take(length: number): Promise<Buffer | undefined> {
    while (this.#rest.length < length) {
      const { value, done } = await this.#chunks.next().catch(() => ({ value: undefined, done: true as const }))
      if (done === true || value === undefined) return undefined
      this.#rest = Buffer.concat([this.#rest, value])
    }
    const taken = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return taken
  }
}

/**
 * `gss-server -inetd` for one connection, behind a port of our own: by itself it would listen on every address. `said` is its log, once it has
 * ended; it is written below `folder`.
 */
export async function gssServer(
  service: string,
  folder: string,
  environment: Environment,
): Promise<{ port: number; said: Promise<string> }> {
  const log = join(mkdtempSync(join(folder, 'gss-server-')), 'log')
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const said = once(server, 'connection').then(async ([socket]) => {
    server.close()
    const child = spawn('gss-server', ['-inetd', '-verbose', '-logfile', log, service], {
      env: { ...process.env, ...environment },
      stdio: [socket as Socket, 'ignore', 'ignore'],
    })
    await once(child, 'exit')
    ;(socket as Socket).destroy()
    return readFileSync(log, 'utf8')
  })
  return { port: (server.address() as AddressInfo).port, said }
}

export async function connectTo(port: number): Promise<SampleConnection> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return new SampleConnection(socket)
}

/** What a client does first; the established context. */
export async function establish(connection: SampleConnection, context: SecurityContext): Promise<void> {
  connection.send(FLAG.NOOP | FLAG.CONTEXT_NEXT)
  let step = await context.step()
  for (;;) {
    if (step.token !== undefined) connection.send(FLAG.CONTEXT, step.token)
    if (context.complete) return
    const answer = await connection.receive()
    if (answer === undefined) throw new Error('gss-server closed the connection')
    step = await context.step(answer.data)
  }
}

export interface Served {
  readonly peer: string
  readonly messages: readonly { readonly text: string; readonly confidential: boolean | undefined }[]
  readonly flags: readonly Flag[]
  readonly error: unknown
}

/** What a meddler on the way does to the tokens of messages and MICs. */
export interface Meddler {
  /** The tokens that arrive in place of the client's. */
  readonly toServer?: (token: Uint8Array, context: SecurityContext) => readonly Uint8Array[]
  readonly toClient?: (mic: Uint8Array) => Uint8Array
}

/** A server for one `gss-client`: what it understood. */
export async function serveOnce(
  context: SecurityContext,
  meddler: Meddler = {},
): Promise<{ port: number; served: Promise<Served> }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const served = once(server, 'connection').then(async ([socket]) => {
    server.close()
    const connection = new SampleConnection(socket as Socket)
    const messages: Served['messages'][number][] = []
    let error: unknown
    try {
      await converse(connection, context, messages, meddler)
    } catch (reason) {
      error = reason
    }
    connection.end()
    const [peer, flags] = context.complete ? [`${context.peer}`, [...context.flags].sort()] : ['', []]
    return { peer, flags, messages, error }
  })
  return { port: (server.address() as AddressInfo).port, served }
}

async function converse(
  connection: SampleConnection,
  context: SecurityContext,
  messages: Served['messages'][number][],
  { toServer = (token) => [token], toClient = (mic) => mic }: Meddler,
): Promise<void> {
  for (;;) {
    const token = await connection.receive()
    if (token === undefined) return
    if ((token.flags & FLAG.CONTEXT) !== 0) {
      const step = await context.step(token.data)
      if (step.token !== undefined) connection.send(FLAG.CONTEXT, step.token)
    } else if ((token.flags & FLAG.DATA) !== 0) {
      const wrapped = (token.flags & FLAG.WRAPPED) !== 0
      for (const arrived of wrapped ? toServer(token.data, context) : [token.data]) {
        const { data, confidential } = wrapped ? context.unwrap(arrived) : { data: arrived, confidential: undefined }
        messages.push({ text: new TextDecoder().decode(data), confidential })
        if ((token.flags & FLAG.SEND_MIC) !== 0) connection.send(FLAG.MIC, toClient(context.getMic(data)))
        else connection.send(FLAG.NOOP)
      }
    }
  }
}

/** `gss-client` to its end. */
export function gssClient(
  options: readonly string[],
  port: number,
  service: string,
  message: string,
  environment: Environment,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const args = ['-port', String(port), ...options, 'localhost', service, message]
    const child = spawn('gss-client', args, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, stdout, stderr }))
  })
}
