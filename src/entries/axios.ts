/** `spnego/axios`: an axios instance that logs in. */
import type { AxiosInstance } from 'axios'
import { OwnedHttpAgent, OwnedHttpsAgent } from '../adapters/client/agent.ts'
import { adapterWith, innerAdapter } from '../adapters/client/axios.ts'
import { refuseOtherAdapters, verifying } from '../adapters/client/axios-required.ts'
import { negotiated } from '../adapters/client/negotiated.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import { isRequired } from '../http/mutual.ts'
import type { NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { nodeParts } from './wiring/node-parts.ts'
import type { ProxyLoginOptions } from './wiring/proxy.ts'

export { Credentials } from './wiring/credentials.ts'
export type { ClientHttpOptions, ClientLoginOptions, MutualAuthentication, Negotiated, ProxyLoginOptions, TargetName }
export { negotiated }

export type NegotiateAxiosOptions = NegotiateClientOptions

/**
 * Makes an axios instance answer `WWW-Authenticate: Negotiate` (RFC 4559) with the user's Kerberos ticket, and verify the server before anybody
 * sees the answer. Statuses, redirects, interceptors and streams stay axios' own; agents that the caller configured are used, and then their pools
 * are his affair. What `data` was transformed to is sent again; a stream is kept up to `maxReplayBodyBytes`, and a longer one goes with a token.
 *
 * @returns the same instance, changed
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED` at once; `BODY_NOT_REPLAYABLE`, `TARGET_IS_ADDRESS`, `NAME_INVALID`,
 * `BINDINGS_UNAVAILABLE` by the call
 * @throws {MutualAuthenticationError} by the call, when nobody vouches for the server
 */
export function negotiateAxios<T extends AxiosInstance>(instance: T, options?: NegotiateAxiosOptions): T {
  const parts = nodeParts('axios', 'negotiateAxios', options)
  const agents = { http: new OwnedHttpAgent(), https: new OwnedHttpsAgent() }
  const adapter = adapterWith(parts, innerAdapter(instance), agents)
  const answers = new WeakSet<object>()
  instance.defaults.adapter = verifying(adapter, answers)
  if (isRequired(parts.settings)) refuseOtherAdapters(instance, answers)
  return instance
}
