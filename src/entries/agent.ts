/** `spnego/agent`: agents of node:http and node:https that log in, under whatever is built on them: axios, got, superagent, node-fetch. */
import type { AgentOptions } from 'node:http'
import type { AgentOptions as HttpsAgentOptions } from 'node:https'
import { LoginHttpAgent, LoginHttpsAgent } from '../adapters/client/agent.ts'
import { negotiated } from '../adapters/client/negotiated.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import type { NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { nodeParts } from './wiring/node-parts.ts'
import type { ProxyLoginOptions } from './wiring/proxy.ts'
import { type ProxyAuth, type ProxyAuthOptions, type ProxyChallenge, proxyAuthOf } from './wiring/proxy-auth.ts'

export { Credentials } from './wiring/credentials.ts'
export type {
  ClientHttpOptions,
  ClientLoginOptions,
  MutualAuthentication,
  Negotiated,
  ProxyAuth,
  ProxyAuthOptions,
  ProxyChallenge,
  ProxyLoginOptions,
  TargetName,
}
export { negotiated }

export type NegotiateAgentOptions = NegotiateClientOptions

/**
 * An agent for `http.request` whose requests carry a Kerberos token from the first one on (RFC 4559), where the origin may see one and a ticket can
 * be had; otherwise they go without. The answer is verified before the request tells of it, by the table in the documentation. An agent cannot
 * repeat a request: a server that wants a second token gets none, and `negotiated(response).error` is `CONTINUE_NEEDED`.
 *
 * Connections are kept alive as those of Node's global agent, apart for each user and service. `Authorization` of the caller's own wins.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`, `ORIGINS_MISSING`; of a request: an `error` event
 */
export class NegotiateAgent extends LoginHttpAgent {
  /** @param agentOptions Node's own: `keepAlive`, `maxSockets`, … */
  constructor(options?: NegotiateAgentOptions, agentOptions?: AgentOptions) {
    super(nodeParts('agent', 'NegotiateAgent', options), agentOptions)
  }
}

/**
 * The same for `https.request`. A token is bound to the very connection that carries it (RFC 5929 §4): the connection is opened and verified
 * first. TLS sessions are never resumed, since a resumed one shows no certificate.
 *
 * @throws {UsageError} as `NegotiateAgent`; of a request also `BINDINGS_UNAVAILABLE`
 */
export class NegotiateHttpsAgent extends LoginHttpsAgent {
  /** @param agentOptions Node's own: `ca`, `cert`, `maxSockets`, … */
  constructor(options?: NegotiateAgentOptions, agentOptions?: HttpsAgentOptions) {
    super(nodeParts('agent', 'NegotiateHttpsAgent', options), agentOptions)
  }
}

/**
 * What `https-proxy-agent` (9 and later) takes as `onProxyAuth`: it logs in at the proxy, once for each tunnel. Where the agent may be another, use
 * the `proxy` option of this package's: they stay on the connection that asked, and verify a proxy that proves itself.
 *
 * @returns a function from a 407 to `{ headers: { 'Proxy-Authorization': … } }`; it rejects with `PROXY_LOGIN_FAILED`
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 */
export function createProxyAuth(options: ProxyAuthOptions): ProxyAuth {
  return proxyAuthOf('createProxyAuth', options)
}
