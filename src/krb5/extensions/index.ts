/**
 * What grew beside RFC 4120: changing a password (RFC 3244).
 *
 * Knows these messages and who proves what in them. Must not open a socket or read a clock: time, randomness and addresses are handed in.
 */
export * from './kpasswd.ts'
export * from './kpasswd-messages.ts'
