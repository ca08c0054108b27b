/**
 * SPNEGO (RFC 4178): which mechanism, and that nobody tampered with the choice.
 *
 * Knows offers, states and the MIC over the list. Must not know Kerberos: mechanisms are handed in and fulfil `gss/context`.
 */
export * from './acceptor.ts'
export * from './initiator.ts'
