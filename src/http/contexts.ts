import type { SecurityContext } from '../gss/context.ts'
import type { NegotiateRequest } from './request.ts'

/** A context that may have a token for a peer whom it refused (RFC 4120 §3.2.3). */
export interface AcceptingContext extends SecurityContext {
  readonly errorToken: Uint8Array | undefined
}

/** What http asks of GSS. */
export interface AcceptorContexts {
  createContext(options: { readonly request: NegotiateRequest }): AcceptingContext
  close(): Promise<void>
}
