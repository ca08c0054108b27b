import type { Identity } from './identity.ts'
import type { Continuation } from './pending.ts'

/** What became of a credential. */
export type Outcome = Proven | Refused

export interface Proven {
  readonly kind: 'proven'
  readonly identity: Identity
  readonly token: Uint8Array | undefined
}

export interface Refused {
  readonly kind: 'refused'
  readonly status: 400 | 401 | 403 | 407 | 503
  /** What the client tried to log in with, if it did. */
  readonly scheme?: 'negotiate' | 'basic' | undefined
  readonly retryAfterSeconds?: number | undefined
  readonly reason: string
  readonly message: string
  readonly hint?: string | undefined
  readonly token?: Uint8Array | undefined
  readonly principal?: string | undefined
  /** When the next token on the same connection may still complete it. */
  readonly continuation?: Continuation | undefined
}
