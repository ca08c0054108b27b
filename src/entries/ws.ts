/** `spnego/ws`: WebSockets of npm `ws` that are opened by known users alone. */
import type { WebSocketServer } from 'ws'
import { guardSockets } from '../adapters/server/ws.ts'
import type { NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export { identityOf } from '../adapters/server/ws.ts'
export type { Failure, Identity, NegotiateServerOptions } from '../http/index.ts'

/**
 * Makes a `WebSocketServer` ask who opens a socket, before its own `verifyClient`: `identityOf(request)` in `connection`.
 *
 * @param sockets with `server`, or `noServer` and `handleUpgrade`
 * @returns the same server, changed
 * @throws {UsageError} at once: `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} at once: `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function negotiate<T extends WebSocketServer>(sockets: T, options?: NegotiateServerOptions): T {
  const core = openServer(options)
  guardSockets(sockets, core)
  sockets.on('close', () => void core.close())
  return sockets
}
