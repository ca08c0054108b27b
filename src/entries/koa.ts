/** `spnego/koa`: a middleware of Koa 2 and 3. */
import { type KoaMiddleware, negotiateWith } from '../adapters/server/koa.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export {
  endSession,
  identityOf,
  type KerberosState,
  type KoaContext,
  type KoaMiddleware,
} from '../adapters/server/koa.ts'
export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * Lets a request through when its user has proved who he is: `ctx.state.kerberos`, or `identityOf(ctx)` where it must be there.
 *
 * @throws {UsageError} at once: `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} at once: `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function negotiate(options?: NegotiateServerOptions): KoaMiddleware {
  return negotiateWith(openServer(options))
}
