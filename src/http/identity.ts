import type { Credentials } from '../entries/wiring/credentials.ts'
import type { AcceptedLogin } from '../krb5/exchange/ap-acceptor.ts'

/** Who the client is. Exists only after every check has passed; built from the ticket alone (RFC 4120 §3.2.3). */
export interface Identity {
  /** `alice@EXAMPLE.COM`, escaped, with its realm. */
  readonly principal: string
  /** The components alone, escaped. */
  readonly name: string
  readonly realm: string
  readonly localName: string | undefined
  readonly mechanism: 'negotiate' | 'basic' | 'session'
  /** Whether the client tied the login to this TLS connection (RFC 5929); of a session, the login that began it. */
  readonly channelBound: boolean
  /** The end of the ticket, or of the session. */
  readonly expiresAt: Date
  /**
   * The user's login, when it was forwarded and the `delegation` option is on. It ends with the request, unless its `keep` was called; `save` writes a
   * credential cache.
   */
  readonly delegated: Credentials | undefined
}

/** How an identity was proven: what another guard needs to decide whether it would have accepted the login. */
export interface Proof {
  readonly mechanism: 'negotiate' | 'basic'
  readonly login: AcceptedLogin | undefined
}

/** Where an identity carries its proof: not enumerable, so that no copy, log or JSON has it. */
const PROOF: unique symbol = Symbol.for('spnego.proof')

/** The only place where identities are made. */
export function makeIdentity(fields: Identity, proof: Proof): Identity {
  const identity = { ...fields }
  Object.defineProperty(identity, PROOF, { value: proof })
  return Object.freeze(identity)
}

/** Undefined: the identity was not made by `makeIdentity`. */
export function proofOf(identity: Identity): Proof | undefined {
  return (identity as { readonly [PROOF]?: Proof })[PROOF]
}
