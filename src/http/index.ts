/**
 * HTTP authentication (RFC 9110 §11) with the Negotiate scheme (RFC 4559): header grammar and the server's decision.
 *
 * Knows header fields, status codes and the contract of a security context (`gss/context`).
 * Must not know frameworks, sockets, clocks, keytabs or Kerberos messages: contexts and effects are handed in.
 */
export * from './basic.ts'
export * from './basic-options.ts'
export { errorOf } from './callbacks.ts'
export * from './challenge.ts'
export * from './contexts.ts'
export * from './credentials.ts'
export * from './decision.ts'
export * from './identity.ts'
export * from './request.ts'
export * from './response-fields.ts'
export * from './revocation.ts'
export * from './server.ts'
export * from './server-options.ts'
export * from './session-options.ts'
export * from './sessions.ts'
