/**
 * The messages of RFC 4120 §5 and RFC 6806 §11, each as its ASN.1, decode beside encode.
 *
 * Knows fields, types and numbers. Must not know keys, clocks or policy: whether a value may be believed is decided in
 * `exchange`. Every decoder consumes all its bytes and returns a readonly value, or throws `MALFORMED`.
 */
export * from './ap.ts'
export * from './basic.ts'
export * from './cred.ts'
export * from './error-codes.ts'
export * from './kdc.ts'
export * from './krb-error.ts'
export * from './preauth.ts'
export * from './principal.ts'
export * from './priv.ts'
export * from './registries.ts'
export * from './ticket.ts'
