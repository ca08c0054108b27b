/** What of undici's Dispatcher is needed here. */
export interface Dispatcher {
  dispatch(options: object, handler: object): boolean
}

type AgentClass = new (options: object) => Dispatcher

/** Where undici keeps the dispatcher of the global fetch: `.2` since its version 8. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]

/**
 * A connection pool of our own, of the class that the built-in fetch uses: some servers authenticate the connection, so one that carried a
 * token must serve nobody else. The program may install a dispatcher at any time; its own is never passed by.
 */
export class ConnectionPool {
  #seen: Dispatcher | undefined
  #foreign = false
  #own: Dispatcher | undefined

  /** Undefined where none can be had (Bun, Deno), or where the program has one of its own. */
  get dispatcher(): Dispatcher | undefined {
    this.#look()
    return this.#foreign ? undefined : this.#own
  }

  /** The program has installed a dispatcher of its own: nobody knows what it verifies. */
  get foreign(): boolean {
    this.#look()
    return this.#foreign
  }

  #look(): void {
    void new Headers() // makes Node load its undici, which then sets the symbol
    const globals = globalThis as Record<symbol, Dispatcher | undefined>
    const installed = GLOBAL_DISPATCHERS.map((symbol) => globals[symbol]).find((one) => one !== undefined)
    if (installed === undefined || installed === this.#seen) return
    this.#seen = installed
    const agent = installed.constructor as AgentClass
    this.#foreign = agent.name !== 'Agent' || !isBuiltIn(agent)
    if (this.#foreign || this.#own !== undefined) return
    // A resumed TLS session shows no certificate, so sessions are not resumed; connections with a login are HTTP/1.1 (RFC 4559 §6).
    this.#own = new agent({ allowH2: false, connect: { maxCachedSessions: 0 } })
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
