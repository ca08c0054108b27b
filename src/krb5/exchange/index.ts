/**
 * The exchanges of RFC 4120 §3: AS, TGS and AP, without I/O.
 *
 * Knows who proves what to whom and refuses what does not hold. Must not read a clock, a socket or a file: time, randomness and
 * keys are handed in, so that every exchange can be replayed. AS and TGS are generators that yield what they need.
 */
export * from './ap-acceptor.ts'
export * from './ap-initiator.ts'
export * from './as.ts'
export * from './authorization-data.ts'
export * from './clock-offset.ts'
export * from './credential.ts'
export * from './effects.ts'
export * from './forgotten-times.ts'
export * from './kdc-error.ts'
export * from './krb-cred.ts'
export * from './opened-tickets.ts'
export * from './replay.ts'
export { Retention } from './retention.ts'
export * from './service-keys.ts'
export * from './tgs.ts'
