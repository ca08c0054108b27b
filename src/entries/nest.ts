/** `spnego/nest`: a guard of Nest. */
import { LoginGuard } from '../adapters/server/nest.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { endSession, identityOf } from '../adapters/server/nest.ts'
export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * `app.useGlobalGuards(new NegotiateGuard(options))`, or `@UseGuards(guard)`: `request.kerberos`, or `identityOf(request)` where it must be there. A
 * refusal is an `HttpException` with the challenge set already, for the filters of the program.
 */
export class NegotiateGuard extends LoginGuard {
  /**
   * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
   * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
   */
  constructor(options?: NegotiateServerOptions) {
    super(openServer(options))
  }
}
