/** `spnego/hono`: a middleware of Hono 4. */
import type { MiddlewareHandler } from 'hono'
import { type KerberosVariables, negotiateWith } from '../adapters/server/hono.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { capabilitiesOf, endSession, identityOf, type KerberosVariables } from '../adapters/server/hono.ts'
export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type { Capabilities, Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * Lets a request through when its user has proved who he is: `c.get('kerberos')`, or `identityOf(c)` where it must be there.
 *
 * On Node (`@hono/node-server`) a negotiation of several tokens goes on over its connection, and bindings are compared; elsewhere no connection is
 * visible: one token, and bindings with the `certificate` option alone.
 *
 * @throws {UsageError} at once: `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} at once: `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function negotiate(options?: NegotiateServerOptions): MiddlewareHandler<{ Variables: KerberosVariables }> {
  return negotiateWith(openServer(options))
}
