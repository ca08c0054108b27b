/** `spnego/web`: `Request → Response`, for Deno, Bun, Next and whatever speaks the Fetch standard. */
import { type Handler, negotiateWith } from '../adapters/server/web.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { capabilities, endSession, type Handler, identityOf } from '../adapters/server/web.ts'
export type { Capabilities, Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * Wraps a handler: it answers requests whose user has proved who he is, and is told who that is; `identityOf(request)` finds it too.
 *
 * No connection is visible here: one token, and bindings with the `certificate` option alone. Who wants more takes the entry of his framework on
 * Node. What the handler throws is the platform's to answer, and carries no token.
 *
 * @throws {UsageError} at once: `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} at once: `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function negotiate(
  options?: NegotiateServerOptions,
): (handler: Handler) => (request: Request) => Promise<Response> {
  return negotiateWith(openServer(options))
}
