import { type Identity, makeIdentity, type Proof, proofOf } from './identity.ts'
import { hostsOf, type NegotiateRequest } from './request.ts'

interface BoundLogin {
  readonly identity: Identity
  /** For which it was made: whose tickets count may depend on it. */
  readonly host: string
}

const NO_PROOF: Proof = { mechanism: 'negotiate', login: undefined }

/** Logins that count for what comes after them on their connection (MS-N2HT §3.2): only where it carries one request after the other, of one client. */
export class BoundConnections {
  readonly #logins = new WeakMap<object, BoundLogin>()
  /** What was tried last on a connection. */
  readonly #tried = new WeakMap<object, object>()
  readonly #now: () => number

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * The forwarded login ends with the request that brought it; the identity stays.
   *
   * @param tried what `forget` gave: of requests that came at once (RFC 9112 §9.3.2) the last one counts, whichever is checked last
   */
  keep(request: NegotiateRequest, identity: Identity, tried: object | undefined): void {
    const { connection, httpVersion } = request
    if (connection === undefined || httpVersion !== '1.1') return // check: S62
    if (this.#tried.get(connection) !== tried) return // check: S60
    const host = hostsOf(request).join()
    const proof = proofOf(identity) ?? NO_PROOF
    this.#logins.set(connection, { identity: makeIdentity({ ...identity, delegated: undefined }, proof), host })
  }

  find(request: NegotiateRequest): Identity | undefined {
    const { connection } = request
    const found = connection && this.#logins.get(connection)
    if (found === undefined || found.host !== hostsOf(request).join()) return undefined
    return found.identity.expiresAt.getTime() > this.#now() ? found.identity : undefined // check: S29
  }

  /** Before anything new is tried on it: gives what `keep` is told of it. */
  forget({ connection }: NegotiateRequest): object | undefined {
    if (connection === undefined) return undefined
    this.#logins.delete(connection) // check: S60
    const tried = {}
    this.#tried.set(connection, tried)
    return tried
  }
}
