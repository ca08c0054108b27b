/**
 * A realm for tests: an embedded KDC (RFC 4120 §3.1 and §3.3, RFC 6806 §11), octets to octets, a listener for it, files for other programs.
 *
 * Knows the messages, the formats, the enctypes, and how a KDC decides. Must not know the client: nothing of `krb5/exchange` or
 * `krb5/preauth`, whose errors it would share. An edge: `realm.ts` and `listener.ts` have sockets, files, clock and randomness; the KDC
 * itself is handed them. It listens on the loopback address only and is no KDC for anything but tests.
 */
export * from './clock.ts'
export { type Account, Database, type Random } from './database.ts'
export { FAULTS, type FaultName } from './faults.ts'
export { EmbeddedKdc, type EmbeddedKdcSettings } from './kdc.ts'
export { type Listener, LOOPBACK, listen } from './listener.ts'
export { type RunningRealm, startRealm, TestRealmCore } from './realm.ts'
export type { TestRealmOptions } from './realm-settings.ts'
