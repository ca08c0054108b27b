import type { Socket } from 'node:net'
import { equal } from '../bytes/bytes.ts'
import { VerificationError } from '../errors.ts'
import type { CertificateBindings } from './certificate-bindings.ts'
import { type Connected, type ConnectOptions, connector, originOf } from './tls-connector.ts'

/** What of undici's Dispatcher is needed here. */
export interface Dispatcher {
  dispatch(options: object, handler: object): boolean
}

type AgentClass = new (options: object) => Dispatcher

/** Where undici keeps the dispatcher of the global fetch: `.2` since its version 8. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]

/** A connection that was opened to look at the certificate waits so long for its request. */
const SPARE_MS = 4000
/** Most origins whose certificate is remembered. */
const MAX_ORIGINS = 1024

/** Most owners of tokens whose connections are kept; one more gives up the oldest, whose idle connections then end by themselves. */
const MAX_OWNERS = 64

/**
 * Connections of our own, of the class that the built-in fetch uses: some servers authenticate the connection, so one that carried a token must
 * serve nobody and nothing else. The program may install a dispatcher at any time; its own is never passed by.
 */
export class ConnectionPools {
  #seen: Dispatcher | undefined
  /** Undefined where none can be had (Bun, Deno), or where the program has a dispatcher of its own. */
  #agent: AgentClass | undefined
  #foreign = false
  #anonymous: Dispatcher | undefined
  readonly #byOwner = new Map<string, Dispatcher>()
  readonly #pinned = new WeakMap<object, Dispatcher>()
  readonly #certificates: CertificateBindings
  /** What the newest connection to each origin showed. */
  readonly #bindings = new Map<string, Uint8Array | undefined>()
  /** Connections that were opened to look. */
  readonly #spares = new Map<string, Socket>()

  constructor(certificates: CertificateBindings) {
    this.#certificates = certificates
  }

  /**
   * Without an owner: connections that never carry a token. Undefined when there are none of our own.
   *
   * @param bindings that each of these connections has: one whose server shows another certificate fails with `BINDINGS_CHANGED`
   */
  dispatcherOf(owner: string | undefined, bindings?: Uint8Array): Dispatcher | undefined {
    this.#look()
    if (this.#agent === undefined) return undefined
    if (owner === undefined) {
      this.#anonymous ??= this.#newDispatcher(this.#agent, undefined)
      return this.#anonymous
    }
    const key = bindings === undefined ? owner : `${owner} ${Buffer.from(bindings).toString('base64')}`
    const dispatcher = this.#byOwner.get(key) ?? this.#newDispatcher(this.#agent, bindings)
    this.#byOwner.delete(key)
    this.#byOwner.set(key, dispatcher) // the newest is the last
    const [oldest] = this.#byOwner.keys()
    if (this.#byOwner.size > MAX_OWNERS && oldest !== undefined) this.#byOwner.delete(oldest)
    return dispatcher
  }

  /** One connection for one negotiation that its server keeps on it; it ends when it has been idle for a while. */
  pinnedOf(pin: object, bindings: Uint8Array | undefined): Dispatcher | undefined {
    this.#look()
    if (this.#agent === undefined) return undefined
    const dispatcher = this.#pinned.get(pin) ?? this.#newDispatcher(this.#agent, bindings, { connections: 1 })
    this.#pinned.set(pin, dispatcher)
    return dispatcher
  }

  /** Whether the connections are our own: then their certificates can be seen before they carry anything, and one can be kept. */
  get areOurs(): boolean {
    this.#look()
    return this.#agent !== undefined
  }

  /** The channel bindings that the newest connection to an origin had; one is opened when there was none. Undefined when it has none. */
  async bindingsOf(url: URL, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const { origin } = url
    if (!this.#bindings.has(origin)) await this.#open(url, signal)
    return this.#bindings.get(origin)
  }

  /** What fails here fails again, and is told, when the request needs its connection; who gives up does not wait for it. */
  #open({ protocol, hostname, port, origin }: URL, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve(), { once: true })
      const keep = (_error: Error | null, socket: Socket | null) => {
        if (socket !== null) this.#spare(origin, socket)
        resolve()
      }
      connector((at, certificate) => this.#see(at, certificate, undefined))({ protocol, hostname, port }, keep)
    })
  }

  #spare(origin: string, socket: Socket): void {
    this.#spares.get(origin)?.destroy()
    this.#spares.set(origin, socket)
    const end = () => {
      if (this.#spares.get(origin) === socket) this.#spares.delete(origin)
      socket.destroy()
    }
    const timer = setTimeout(end, SPARE_MS)
    timer.unref()
    socket.unref()
    socket.once('error', end)
    socket.once('close', end)
    socket.once('taken', () => {
      clearTimeout(timer)
      socket.off('error', end)
      socket.off('close', end)
      socket.ref()
    })
  }

  /** The bindings of a connection; an error when they are not those that its tokens are made for. */
  #see(origin: string, certificate: Uint8Array, expected: Uint8Array | undefined): Error | undefined {
    const found = this.#certificates.of(origin, certificate)
    const [oldest] = this.#bindings.keys()
    if (!this.#bindings.has(origin) && this.#bindings.size >= MAX_ORIGINS && oldest !== undefined)
      this.#bindings.delete(oldest)
    this.#bindings.set(origin, found)
    if (expected === undefined || (found !== undefined && equal(found, expected))) return undefined
    return bindingsChanged(origin) // check: C31
  }

  /** Connections with a login are HTTP/1.1 (RFC 4559 §6). */
  #newDispatcher(agent: AgentClass, bindings: Uint8Array | undefined, more: object = {}): Dispatcher {
    const open = connector((origin, certificate) => this.#see(origin, certificate, bindings))
    const connect = (options: ConnectOptions, connected: Connected) => {
      const spare = this.#takeSpare(options, bindings)
      if (spare === undefined) open(options, connected)
      else connected(null, spare)
    }
    return new agent({ allowH2: false, connect, ...more })
  }

  /** It was opened for the token that is about to be sent, and its certificate is the one that was seen. */
  #takeSpare({ protocol, hostname, port }: ConnectOptions, bindings: Uint8Array | undefined): Socket | undefined {
    if (bindings === undefined || protocol !== 'https:') return undefined
    const origin = originOf(protocol, hostname, Number(port || 443))
    const spare = this.#spares.get(origin)
    const seen = this.#bindings.get(origin)
    if (spare === undefined || spare.destroyed || seen === undefined || !equal(seen, bindings)) return undefined
    this.#spares.delete(origin)
    spare.emit('taken')
    return spare
  }

  /** Whether a certificate of an https server has been verified: nobody knows what a dispatcher of the program's own does. */
  get verifyCertificates(): boolean {
    this.#look()
    return !this.#foreign && process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0'
  }

  #look(): void {
    void new Headers() // makes Node load its undici, which then sets the symbol
    const globals = globalThis as Record<symbol, Dispatcher | undefined>
    const installed = GLOBAL_DISPATCHERS.map((symbol) => globals[symbol]).find((one) => one !== undefined)
    if (installed === undefined || installed === this.#seen) return
    this.#seen = installed
    const agent = installed.constructor as AgentClass
    this.#foreign = agent.name !== 'Agent' || !isBuiltIn(agent)
    this.#agent = this.#foreign ? undefined : agent
  }
}

/** For a request with a token: undici repeats what was answered 421 (Fetch standard, HTTP-network-or-cache fetch), token and all. */
export function sendingOnce(dispatcher: Dispatcher): Dispatcher {
  let sent = false
  return {
    dispatch(options, handler) {
      if (sent) throw new Error('the server answered 421 (Misdirected Request), and a token is not sent twice') // check: C19
      sent = true
      return dispatcher.dispatch(options, handler)
    },
  }
}

/** Whether a class is Node's own: the stack of what its constructor throws for a wrong option tells. */
function isBuiltIn(agent: AgentClass): boolean {
  try {
    new agent({ factory: 'not a function' })
    return false
  } catch (error) {
    return error instanceof Error && /\(?node:internal\//.test(error.stack ?? '')
  }
}

function bindingsChanged(origin: string): VerificationError {
  return new VerificationError('BINDINGS_CHANGED', `${origin} shows another certificate than the token was made for`, {
    hint: 'If several servers share the name, give them one certificate, or set channelBindings: "off".',
  })
}
