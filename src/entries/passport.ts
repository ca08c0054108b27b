/** `spnego/passport`: a strategy of Passport. */
import { LoginStrategy, type Verify } from '../adapters/server/passport.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export { endSession, identityOf, type Verify } from '../adapters/server/passport.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * `passport.use(new NegotiateStrategy(options, (identity, done) => done(null, user)))`, then `passport.authenticate('negotiate', { session: false })`.
 * A refusal is Passport's to answer, with the challenge among those of other strategies; the options `unauthorized` and `forbidden` have no page here.
 */
export class NegotiateStrategy extends LoginStrategy {
  /**
   * @param verify finds the program's user; default: the identity itself. `false` is a 403
   * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
   * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
   */
  constructor(options?: NegotiateServerOptions, verify?: Verify) {
    super(openServer(options), verify)
  }
}
