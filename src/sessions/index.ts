/**
 * Sealed cookies (RFC 7516 over RFC 7518, RFC 6265), with `jose` and `cookie`.
 *
 * Knows keys, claims and cookie syntax. Must not know requests, identities or how long a session lasts: `http` decides that, and hands it in. Loaded only
 * when the option is set.
 */
export * from './sealer.ts'
