import type { Identity } from './decision.ts'
import { hostsOf, type NegotiateRequest } from './request.ts'

interface BoundLogin {
  readonly identity: Identity
  /** For which it was made: whose tickets count may depend on it. */
  readonly host: string
}

/** Logins that count for what comes after them on their connection (MS-N2HT §3.2): only where it carries one request after the other, of one client. */
export class BoundConnections {
  readonly #logins = new WeakMap<object, BoundLogin>()
  readonly #now: () => number

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The forwarded login ends with the request that brought it; the identity stays. */
  keep(request: NegotiateRequest, identity: Identity): void {
    const { connection, httpVersion } = request
    if (connection === undefined || httpVersion !== '1.1') return // check: S62
    const host = hostsOf(request).join()
    this.#logins.set(connection, { identity: Object.freeze({ ...identity, delegated: undefined }), host })
  }

  find(request: NegotiateRequest): Identity | undefined {
    const { connection } = request
    const found = connection && this.#logins.get(connection)
    if (found === undefined || found.host !== hostsOf(request).join()) return undefined
    return found.identity.expiresAt.getTime() > this.#now() ? found.identity : undefined // check: S29
  }

  /** Before anything new is tried on it. */
  forget({ connection }: NegotiateRequest): void {
    if (connection !== undefined) this.#logins.delete(connection) // check: S60
  }
}
