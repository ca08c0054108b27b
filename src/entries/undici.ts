/** `spnego/undici`: an interceptor for undici's dispatchers, of npm (6, 7, 8) and of Node. */
import type { ConnectionOptions } from 'node:tls'
import { negotiated } from '../adapters/client/negotiated.ts'
import { type Dispatch, type Interceptor, interceptorWith } from '../adapters/client/undici.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import { ANYBODY, type Proxies } from '../http/proxy.ts'
import { type Connected, type ConnectOptions, connector, endUrlOf, openProxy, tellOf } from '../system/index.ts'
import { clientOf, type NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { loginReporter, type Observe } from './wiring/login-reporter.ts'
import type { ProxyLoginOptions } from './wiring/proxy.ts'
import { streamsOf } from './wiring/proxy.ts'

export { Credentials } from './wiring/credentials.ts'
export type {
  ClientHttpOptions,
  ClientLoginOptions,
  Dispatch,
  Interceptor,
  MutualAuthentication,
  Negotiated,
  ProxyLoginOptions,
  TargetName,
}
export { negotiated }

export type NegotiateInterceptorOptions = NegotiateClientOptions

/**
 * Makes an interceptor for `dispatcher.compose(…)` that answers `WWW-Authenticate: Negotiate` (RFC 4559) with the user's Kerberos ticket, and hands
 * a response on when the server is verified by the table in the documentation. It never remembers who was logged in where. Requests with an
 * Authorization of the caller's, and CONNECT, pass untouched; upgrades log in as anything else does.
 *
 * Redirects and retries go after it: `agent.compose(negotiateInterceptor(), interceptors.redirect(), interceptors.retry())`. Then each of their
 * requests has a login, and a token, of its own. Before it they would send a token again, which is an error: in time, but for the retries of
 * undici 6, whose first gets through.
 *
 * Caches go before it, where they see Authorization: `agent.compose(interceptors.cache(), negotiateInterceptor())`. Answers to a token are marked
 * `Cache-Control: private`, unless the server has decided itself, so that a shared cache above keeps none; one of `type: 'private'`, and
 * `interceptors.deduplicate()`, do not know whose answers they hand out, and must not be shared by users.
 *
 * The connections are the dispatcher's: one that carried a token serves whoever asks next, so users whose servers authenticate connections need a
 * dispatcher each; and whether it verified a certificate is not known here, so none vouches for the server.
 *
 * A body that can be read once is read ahead, up to `maxReplayBodyBytes`, before anything is sent. Interim responses (1xx) are not handed on.
 *
 * @returns an interceptor. `negotiated(response)` says what happened for the response of `request`, and for what the callbacks of `stream` and
 * `pipeline` get: it is found by their `context`. The redirects and retries of undici 6 make another one, and `fetch` and `upgrade` show none: there
 * the diagnostics channel `spnego:client` tells
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED`, `ORIGINS_MISSING` at once; by the request (as the `cause` of what
 * `fetch` throws) `BODY_NOT_REPLAYABLE`, `TARGET_IS_ADDRESS`, `NAME_INVALID`, and `OPTION_INVALID` when a Client or Pool is not told the origin
 * @throws {MutualAuthenticationError} by the request, likewise, when nobody vouches for the server
 */
export function negotiateInterceptor(options?: NegotiateInterceptorOptions): LoginInterceptor {
  const parts = clientOf('undici', 'negotiateInterceptor', options)
  const observe = loginReporter(parts.settings.logger)
  let hasConnector = false
  const interceptor = interceptorWith({ ...parts, observe, hasConnector: () => hasConnector })
  return Object.assign(interceptor, {
    connector(tls?: ConnectionOptions): Connect {
      hasConnector = true
      return throughProxies(parts.proxies, tls, observe)
    },
  })
}

/** An interceptor, and what the dispatcher opens its connections with, when they are to go through a proxy. */
export interface LoginInterceptor extends Interceptor {
  /**
   * What undici's `Agent` takes as `connect`, as that which `buildConnector` makes: connections go through the proxy, with a login there when it
   * asks, and straight where none is meant for their server. https needs it; http that has no interceptor before it goes through CONNECT too.
   *
   * @param tls of the connections to servers: `ca`, `cert`, …
   */
  connector(tls?: ConnectionOptions): Connect
}

/** As undici calls it for a new connection. */
export type Connect = (options: ConnectOptions, connected: Connected) => void

function throughProxies(proxies: Proxies | undefined, tls: ConnectionOptions | undefined, observe: Observe): Connect {
  const straight = connector(() => undefined, undefined, tls)
  return (options, connected) => {
    let url: URL
    try {
      url = endUrlOf(options)
    } catch (error) {
      return void process.nextTick(connected, error) // check: C85
    }
    // What was put in absolute form goes to the proxy itself.
    const end = proxies?.at(url)
    if (end !== undefined) return tellOf(openProxy(end.url), connected)
    const proxy = proxies?.for(url)
    if (proxy === undefined) return straight(options, connected)
    connector(() => undefined, streamsOf({ proxy, owner: ANYBODY, isTunnel: true }, observe), tls)(options, connected)
  }
}
