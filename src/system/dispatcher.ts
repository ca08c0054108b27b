/** What of undici's Dispatcher is needed here. */
export interface Dispatcher {
  dispatch(options: object, handler: object): boolean
}

type AgentClass = new (options: object) => Dispatcher

/** Where undici keeps the dispatcher of the global fetch: `.2` since its version 8. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]

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

  /** Without an owner: connections that never carry a token. Undefined when there are none of our own. */
  dispatcherOf(owner: string | undefined): Dispatcher | undefined {
    this.#look()
    if (this.#agent === undefined) return undefined
    if (owner === undefined) {
      this.#anonymous ??= newDispatcher(this.#agent)
      return this.#anonymous
    }
    const dispatcher = this.#byOwner.get(owner) ?? newDispatcher(this.#agent)
    this.#byOwner.delete(owner)
    this.#byOwner.set(owner, dispatcher) // the newest is the last
    const [oldest] = this.#byOwner.keys()
    if (this.#byOwner.size > MAX_OWNERS && oldest !== undefined) this.#byOwner.delete(oldest)
    return dispatcher
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

/** A resumed TLS session shows no certificate, so sessions are not resumed; connections with a login are HTTP/1.1 (RFC 4559 §6). */
function newDispatcher(agent: AgentClass): Dispatcher {
  return new agent({ allowH2: false, connect: { maxCachedSessions: 0 } })
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
