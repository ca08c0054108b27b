/** What of undici's Dispatcher is needed here; opaque otherwise. */
export type Dispatcher = object

type AgentClass = new (options: object) => Dispatcher

/** Where undici keeps the dispatcher of the global fetch: `.2` since its version 8. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]

export interface ConnectionPool {
  /** Undefined where none can be had (Bun, Deno), or where the program's own must not be passed by. */
  readonly dispatcher: Dispatcher | undefined
  /** The program has installed a dispatcher of its own: nobody knows what it verifies. */
  readonly foreign: boolean
}

/**
 * A connection pool of our own, of the class that the built-in fetch uses: some servers authenticate the connection, so one that carried a
 * token must serve nobody else.
 */
export function connectionPool(): ConnectionPool {
  void new Headers() // makes Node load its undici, which then sets the symbol
  const globals = globalThis as Record<symbol, object | undefined>
  const installed = GLOBAL_DISPATCHERS.map((symbol) => globals[symbol]).find((one) => one !== undefined)
  if (installed === undefined) return { dispatcher: undefined, foreign: false }
  const agent = installed.constructor as AgentClass
  if (agent.name !== 'Agent' || !isBuiltIn(agent)) return { dispatcher: undefined, foreign: true }
  // A resumed TLS session shows no certificate, so sessions are not resumed; connections with a login are HTTP/1.1 (RFC 4559 §6).
  return { dispatcher: new agent({ allowH2: false, connect: { maxCachedSessions: 0 } }), foreign: false }
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
