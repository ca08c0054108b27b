/**
 * DER: strict reading and canonical writing (X.690).
 *
 * Knows tags, lengths and the few types that Kerberos and SPNEGO use. Must not know any message: no field number, no meaning.
 * Readers consume exactly one element from a cursor or throw `MALFORMED`; indefinite, non-minimal and constructed forms are refused.
 */
export * from './read.ts'
export * from './tags.ts'
export * from './write.ts'
