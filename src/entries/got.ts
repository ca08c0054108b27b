/** `spnego/got`: a got instance that logs in. */
import type { Got } from 'got'
import { OwnedHttpAgent, OwnedHttpsAgent } from '../adapters/client/agent.ts'
import { gotOptions } from '../adapters/client/got.ts'
import { negotiated } from '../adapters/client/negotiated.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import type { NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { nodeParts } from './wiring/node-parts.ts'
import type { ProxyLoginOptions } from './wiring/proxy.ts'

export { Credentials } from './wiring/credentials.ts'
export type { ClientHttpOptions, ClientLoginOptions, MutualAuthentication, Negotiated, ProxyLoginOptions, TargetName }
export { negotiated }

export type NegotiateGotOptions = NegotiateClientOptions

/**
 * Extends got (14.6 or later) so that it answers `WWW-Authenticate: Negotiate` (RFC 4559) with the user's Kerberos ticket, and verifies the server
 * before anybody sees the answer. Redirects, retries and hooks stay got's own; agents that the caller configured are used, and then their pools
 * are his affair. In stream mode, where got lets nobody answer a challenge, the token goes with the first request.
 *
 * @returns a new instance
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED` at once; `BODY_NOT_REPLAYABLE`, `TARGET_IS_ADDRESS`, `NAME_INVALID`,
 * `BINDINGS_UNAVAILABLE` by the call
 * @throws {MutualAuthenticationError} by the call, when nobody vouches for the server
 */
export function negotiateGot(instance: Got, options?: NegotiateGotOptions): Got {
  const parts = nodeParts('got', 'negotiateGot', options)
  return instance.extend(gotOptions(parts, { http: new OwnedHttpAgent(), https: new OwnedHttpsAgent() }))
}
