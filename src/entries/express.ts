/** `spnego/express`: a middleware of Express 4 and 5. */
import type { RequestHandler } from 'express'
import { negotiateWith } from '../adapters/server/express.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { endSession, identityOf } from '../adapters/server/express.ts'
export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * Lets a request through when its user has proved who he is: `req.kerberos`, or `identityOf(req)` where it must be there.
 *
 * @throws {UsageError} at once: `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} at once: `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function negotiate(options?: NegotiateServerOptions): RequestHandler {
  return negotiateWith(openServer(options))
}
