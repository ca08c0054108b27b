import type { Credentials } from '../entries/wiring/credentials.ts'
import type { SecurityContext } from '../gss/context.ts'
import type { AcceptedLogin } from '../krb5/exchange/ap-acceptor.ts'
import type { NegotiateRequest } from './request.ts'

/** A context that may have a token for a peer whom it refused (RFC 4120 §3.2.3). */
export interface AcceptingContext extends SecurityContext {
  readonly errorToken: Uint8Array | undefined
  /** What the client forwarded, when that is wanted; of a complete context. */
  readonly delegated?: Credentials | undefined
  /** What another acceptor needs to decide about the login; of a complete context. */
  readonly login?: AcceptedLogin | undefined
}

/** What http asks of GSS. */
export interface AcceptorContexts {
  createContext(options: { readonly request: NegotiateRequest }): AcceptingContext
  /**
   * Whether this acceptor could have accepted that login for this request.
   *
   * @throws {VerificationError} `WRONG_PRINCIPAL`, `REALM_NOT_TRUSTED`, `TRANSITED_REFUSED`
   */
  recheck?(login: AcceptedLogin | undefined, request: NegotiateRequest): void
  close(): Promise<void>
}
