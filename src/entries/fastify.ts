/** `spnego/fastify`: a plugin of Fastify 5. */
import type { FastifyInstance, RegisterOptions } from 'fastify'
import { guardScope } from '../adapters/server/fastify.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { endSession, identityOf } from '../adapters/server/fastify.ts'
export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/** A plugin that acts on the scope that registers it. */
export type NegotiatePlugin = (scope: FastifyInstance, options: NegotiateServerOptions) => Promise<void>

/**
 * `await app.register(negotiate, options)`: guards the scope that it is registered in and what is below, and nothing beside it. `request.kerberos`, or
 * `identityOf(request.raw)` where it must be there. Rejects `register` with
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export const negotiate: NegotiatePlugin = Object.assign(
  async (scope: FastifyInstance, options: NegotiateServerOptions) => {
    const { prefix, logLevel, logSerializers, ...own } = options as NegotiateServerOptions & RegisterOptions
    guardScope(scope, openServer(own))
  },
  // As fastify-plugin does: the scope is that of who registers it, not one of its own.
  { [Symbol.for('skip-override')]: true, [Symbol.for('plugin-meta')]: { name: 'spnego', fastify: '5.x' } },
)
