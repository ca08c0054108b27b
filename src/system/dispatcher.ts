import { type Connected, type ConnectOptions, verifiesNow } from './tls-connector.ts'

/** What of undici's Dispatcher is needed here. */
export interface Dispatcher {
  dispatch(options: object, handler: object): boolean
}

type AgentClass = new (options: object) => Dispatcher

/**
 * Where the runtime's own fetch looks for its dispatcher: undici 8 at the second symbol, those before at the first, although the last of them set both.
 * A program that brings an older undici sets the first alone.
 */
const GLOBAL_DISPATCHERS = (Number.parseInt(process.versions['undici'] ?? '', 10) >= 8 ? ['2', '1'] : ['1', '2']).map(
  (version) => Symbol.for(`undici.globalDispatcher.${version}`),
)

/** Most pools that are kept; one more gives up the one that was idle for longest, whose connections then end by themselves. */
const MAX_POOLS = 256

/** What opens the connections of pools. */
export interface Connections {
  /** @param bindings that each of them must have */
  connectWith(bindings: Uint8Array | undefined): (options: ConnectOptions, connected: Connected) => void
}

/**
 * Connections of our own, of the class that the built-in fetch uses: some servers authenticate the connection, so one that carried a token must
 * serve nobody and nothing else. The program may install a dispatcher at any time; its own is never passed by.
 */
export class ConnectionPools {
  #seen: Dispatcher | undefined
  /** Undefined where none can be had (Bun, Deno), or where the program has a dispatcher of its own. */
  #agent: AgentClass | undefined
  #foreign = false
  /** By origin, owner, channel bindings, and whether certificates are verified; the newest last. undici's own agent keeps what it knows of an origin for ever. */
  readonly #pools = new Map<string, Dispatcher>()
  readonly #pinned = new WeakMap<object, Dispatcher>()
  readonly #connections: Connections

  constructor(connections: Connections) {
    this.#connections = connections
  }

  /**
   * Without an owner: connections that never carry a token. Undefined when there are none of our own.
   *
   * @param bindings that each of these connections has: one whose server shows another certificate fails with `BINDINGS_CHANGED`
   */
  dispatcherOf(origin: string, owner: string | undefined, bindings?: Uint8Array): Dispatcher | undefined {
    this.#look()
    if (this.#agent === undefined) return undefined
    const bound = bindings && Buffer.from(bindings).toString('base64')
    const key = JSON.stringify([origin, owner ?? null, bound, verifiesNow()]) // check: C91
    const pool = this.#pools.get(key) ?? this.#newDispatcher(this.#agent, bindings)
    this.#pools.delete(key)
    this.#pools.set(key, pool)
    const [oldest] = this.#pools.keys()
    if (this.#pools.size > MAX_POOLS && oldest !== undefined) this.#pools.delete(oldest)
    return pool
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

  /** Connections with a login are HTTP/1.1 (RFC 4559 §6). */
  #newDispatcher(agent: AgentClass, bindings: Uint8Array | undefined, more: object = {}): Dispatcher {
    return new agent({ allowH2: false, connect: this.#connections.connectWith(bindings), ...more })
  }

  /** Whether a certificate of an https server has been verified: nobody knows what a dispatcher of the program's own does. */
  get verifyCertificates(): boolean {
    this.#look()
    return !this.#foreign && verifiesNow()
  }

  #look(): void {
    void new Headers() // makes Node load its undici, which then sets the symbol
    const globals = globalThis as Record<symbol, Dispatcher | undefined>
    const installed = GLOBAL_DISPATCHERS.map((symbol) => globals[symbol]).find((one) => one !== undefined)
    if (installed === undefined || installed === this.#seen) return
    this.#seen = installed
    const agent = installed.constructor as AgentClass
    this.#foreign = agent.name !== 'Agent' || !isBuiltIn(agent) || !isUntouched(installed, agent) // check: C92
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

/**
 * Whether a dispatcher is as its class makes one without options: Node's own is. A program may have made one of that class with a `connect`, a
 * `factory` or interceptors, which must not be passed by. What this undici keeps otherwise than is known here counts as a program's.
 */
function isUntouched(installed: Dispatcher, agent: AgentClass): boolean {
  const fresh = new agent({})
  const [own, plain] = [partsOf(installed), partsOf(fresh)]
  const names = new Set([...Object.keys(own), ...Object.keys(plain)])
  return installed.dispatch === fresh.dispatch && [...names].every((name) => Object.is(own[name], plain[name]))
}

/** What an Agent of undici was made with. */
function partsOf(agent: Dispatcher): Readonly<Record<string, unknown>> {
  const kept = (name: string): unknown => {
    const symbol = Object.getOwnPropertySymbols(agent).find(({ description }) => description === name)
    return symbol && (agent as unknown as Record<symbol, unknown>)[symbol]
  }
  const options = kept('options') as Readonly<Record<string, unknown>> | undefined
  return { ...options, 'its factory': kept('factory'), 'its redirects': kept('maxRedirections') }
}
