/** `spnego/fetch`: a drop-in `fetch` that logs in. */
import { fetchWith } from '../adapters/client/fetch.ts'
import { negotiated } from '../adapters/client/negotiated.ts'
import { tlsServerEndPoint } from '../gss/bindings.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import { BoundConnections, CertificateBindings, ConnectionPools, sendingOnce } from '../system/index.ts'
import { clientOf, type NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { loginReporter } from './wiring/login-reporter.ts'

export { Credentials } from './wiring/credentials.ts'
export type { ClientHttpOptions, ClientLoginOptions, MutualAuthentication, Negotiated, TargetName }
export { negotiated }

export type NegotiateFetchOptions = NegotiateClientOptions

/**
 * Makes a `fetch` that answers `WWW-Authenticate: Negotiate` (RFC 4559) with the user's Kerberos ticket and verifies the server by the table in
 * the documentation. Response, redirects and abort are fetch's own. It never remembers who was logged in where.
 *
 * @returns a function with the signature of `fetch`; see `negotiated(response)` for what happened
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` at once; `BODY_NOT_REPLAYABLE`, `TARGET_IS_ADDRESS`, `NAME_INVALID` by the call
 * @throws {MutualAuthenticationError} by the call, when nobody vouches for the server
 */
export function negotiateFetch(options?: NegotiateFetchOptions): typeof globalThis.fetch {
  const { settings, contexts } = clientOf('fetch', 'negotiateFetch', options)
  const plain = globalThis.fetch // kept, so that this one may take its place
  const boundConnections = new BoundConnections(new CertificateBindings(tlsServerEndPoint))
  const pools = new ConnectionPools(boundConnections)
  // A dispatcher of the caller's, Bun's `tls` and Deno's `client` make connections of their own, and may verify nothing.
  const isPlain = (init: RequestInit) => !names(init, ['dispatcher', 'tls', 'client'])
  const isOurs = (init: RequestInit) => isPlain(init) && pools.areOurs
  return fetchWith({
    settings,
    contexts,
    send(request, init, connections) {
      if (connections === 'plain' || names(init, ['dispatcher'])) return plain(request, init)
      const { owner, bound, pin } = connections === 'anonymous' ? NOBODY : connections
      const dispatcher =
        pin === undefined ? pools.dispatcherOf(originOf(request), owner, bound) : pools.pinnedOf(pin, bound)
      if (dispatcher === undefined) return plain(request, init)
      return plain(request, {
        ...init,
        dispatcher: owner === undefined ? dispatcher : sendingOnce(dispatcher),
      } as RequestInit)
    },
    certified: (init) => isPlain(init) && pools.verifyCertificates,
    bindings(url, init) {
      return url.protocol === 'https:' && isOurs(init)
        ? (_owner, signal) => boundConnections.bindingsOf(url, signal)
        : undefined
    },
    canPin: isOurs,
    observe: loginReporter(settings.logger),
  })
}

function originOf(request: URL | Request): string {
  return request instanceof URL ? request.origin : new URL(request.url).origin
}

const NOBODY = { owner: undefined, bound: undefined, pin: undefined }

/** Whether one of the options that only some runtimes know is there. */
function names(init: object, options: readonly string[]): boolean {
  return options.some((name) => (init as Record<string, unknown>)[name] !== undefined)
}
