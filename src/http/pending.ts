import { tokenKind } from '../gss/context.ts'
import type { AcceptingContext } from './contexts.ts'

/** How long a half-finished negotiation is kept. */
export const MAX_PENDING_MS = 30_000
/** How many are kept; one more ends the oldest. */
export const MAX_PENDING_CONTEXTS = 1_000

/** Runs something later, unless cancelled; must not keep the process alive. */
export type After = (delayMs: number, run: () => void) => () => void

export interface Continuation {
  readonly context: AcceptingContext
  /** Tokens read so far. */
  readonly legs: number
  /** For which it began: whose tickets count may depend on it. */
  readonly host: string
}

/** Negotiations that wait for the client's next token, each on the connection where it began. */
export class PendingContexts {
  readonly #after: After
  readonly #waiting = new Map<object, Continuation & { readonly cancel: () => void }>()

  constructor(after: After) {
    this.#after = after
  }

  get size(): number {
    return this.#waiting.size
  }

  keep(connection: object, { context, legs, host }: Continuation): void {
    this.drop(connection)
    const [oldest] = this.#waiting.keys()
    if (oldest !== undefined && this.#waiting.size >= MAX_PENDING_CONTEXTS) this.drop(oldest) // check: S30
    const cancel = this.#after(MAX_PENDING_MS, () => this.drop(connection))
    this.#waiting.set(connection, { context, legs, host, cancel })
  }

  /** The negotiation that this token continues. One that begins anew ends what waited: connections of proxies carry many clients. */
  take(connection: object | undefined, token: Uint8Array, host: string): Continuation | undefined {
    const found = this.#remove(connection)
    if (found === undefined) return undefined
    let continues = false
    try {
      continues = found.host === host && tokenKind(token) === 'spnego-response'
    } finally {
      if (!continues) found.context.dispose()
    }
    return continues ? found : undefined
  }

  drop(connection: object | undefined): void {
    this.#remove(connection)?.context.dispose()
  }

  close(): void {
    for (const connection of [...this.#waiting.keys()]) this.drop(connection)
  }

  #remove(connection: object | undefined): Continuation | undefined {
    const found = connection && this.#waiting.get(connection)
    if (connection === undefined || found === undefined) return undefined
    this.#waiting.delete(connection)
    found.cancel()
    return found
  }
}
