/** `spnego/server`: the decision for any framework, and the handler for node:http. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { NodeAdapter } from '../adapters/server/node.ts'
import type { Decision, HeaderList, Identity, NegotiateRequest, NegotiateServerOptions } from '../http/index.ts'
import { openServer } from './wiring/negotiate-core.ts'

export { endSession, identityOf, recommendedMaxHeaderSize } from '../adapters/server/node.ts'
export type {
  BasicOptions,
  Decision,
  Failure,
  Identity,
  NegotiateRequest,
  NegotiateServerOptions,
  RequestHeaders,
  RevocationStore,
  SessionOptions,
} from '../http/index.ts'
export { type Attributes, requiredAttributes } from '../http/required-attributes.ts'
export { dangerouslyPerProcess, type MemoryReplayStoreOptions, useClusterReplayStore } from './wiring/replay-store.ts'
export { type VerifyPasswordOptions, verifyPassword } from './wiring/verify-password.ts'

export interface NegotiateServer {
  /** What to do with a request. Lets through on `accepted` and `anonymous`, and on nothing else. */
  authenticate(request: NegotiateRequest): Promise<Decision>
  /** For node:http, node:https and node:http2. Undefined: answered already, or anonymous (`res.writableEnded` tells). */
  handle(req: IncomingMessage, res: ServerResponse): Promise<Identity | undefined>
  /** Authenticates upgrades and tunnels (CONNECT) too, and warns when the server's header limit is too small for tickets. */
  attach(server: Server): void
  /** Ends the session that a request came with, or that `authenticate` began for it; gives the fields that its response needs for that. */
  endSession(request: NegotiateRequest, identity?: Identity): Promise<HeaderList>
  /** Ends pending negotiations and forgets the keys. */
  close(): Promise<void>
}

/**
 * A server's side of `Negotiate` (RFC 4559): reads the keytab now, then decides about one request after another.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`
 * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`, `REPLAY_STORE_NEEDED`
 */
export function createNegotiateServer(options?: NegotiateServerOptions): NegotiateServer {
  const core = openServer(options)
  const node = new NodeAdapter(core)
  return {
    authenticate: (request) => core.authenticate(request),
    handle: (req, res) => node.handle(req, res),
    endSession: (request, identity) => core.endSession(identity, request),
    attach: (server) => node.attach(server),
    close: () => core.close(),
  }
}
