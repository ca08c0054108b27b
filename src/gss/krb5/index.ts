/**
 * The Kerberos mechanism (RFC 4121): context tokens, the 0x8003 checksum, per-message tokens.
 *
 * Knows what lies inside a GSS frame. Must not know SPNEGO or HTTP, read a clock or keep a ticket: credentials, keys, the replay store and
 * time are handed in.
 */
export * from './acceptor.ts'
export * from './initiator.ts'
export { retentionMs } from './replay-check.ts'
