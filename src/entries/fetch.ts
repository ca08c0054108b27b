/** `spnego/fetch`: a drop-in `fetch` that logs in. */
import { throughProxy } from '../adapters/client/absolute-form.ts'
import { fetchWith } from '../adapters/client/fetch.ts'
import { negotiated } from '../adapters/client/negotiated.ts'
import { UsageError } from '../errors.ts'
import { tlsServerEndPoint } from '../gss/bindings.ts'
import type { Negotiated } from '../http/client.ts'
import type { ClientHttpOptions, MutualAuthentication, TargetName } from '../http/client-options.ts'
import { nameOfWay, type OpenStream, type Way } from '../http/proxy.ts'
import {
  BoundConnections,
  CertificateBindings,
  ConnectionPools,
  type Connections,
  sendingOnce,
  tellOf,
} from '../system/index.ts'
import { clientOf, type NegotiateClientOptions } from './wiring/client.ts'
import type { ClientLoginOptions } from './wiring/initiator-contexts.ts'
import { loginReporter, type Observe } from './wiring/login-reporter.ts'
import type { ProxyLoginOptions } from './wiring/proxy.ts'
import { streamsOf } from './wiring/proxy.ts'

export { Credentials } from './wiring/credentials.ts'
export type { ClientHttpOptions, ClientLoginOptions, MutualAuthentication, Negotiated, ProxyLoginOptions, TargetName }
export { negotiated }

export type NegotiateFetchOptions = NegotiateClientOptions

/**
 * Makes a `fetch` that answers `WWW-Authenticate: Negotiate` (RFC 4559) with the user's Kerberos ticket and verifies the server by the table in
 * the documentation. Response, redirects and abort are fetch's own. It never remembers who was logged in where.
 *
 * @returns a function with the signature of `fetch`; see `negotiated(response)` for what happened
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED` at once; `BODY_NOT_REPLAYABLE`, `TARGET_IS_ADDRESS`, `NAME_INVALID` by the call
 * @throws {MutualAuthenticationError} by the call, when nobody vouches for the server
 */
export function negotiateFetch(options?: NegotiateFetchOptions): typeof globalThis.fetch {
  const parts = clientOf('fetch', 'negotiateFetch', options)
  const plain = globalThis.fetch // kept, so that this one may take its place
  const observe = loginReporter(parts.settings.logger)
  const roads = new Roads(observe)
  const { pools } = roads.of(undefined)
  // A dispatcher of the caller's, Bun's `tls` and Deno's `client` make connections of their own, and may verify nothing.
  const isPlain = (init: RequestInit) => !names(init, ['dispatcher', 'tls', 'client'])
  const isOurs = (init: RequestInit) => isPlain(init) && pools.areOurs
  if (parts.proxies !== undefined && !pools.areOurs) throw proxyUnsupported()
  return fetchWith({
    ...parts,
    observe,
    async send(request, init, connections) {
      if (connections === undefined) return plain(request, init)
      const { owner, bound, pin, way, proxyAuthorization } = connections
      if (way !== undefined && !isOurs(init)) throw proxyUnsupported()
      if (names(init, ['dispatcher'])) return plain(request, init)
      const { pools } = roads.of(way)
      const own = pin === undefined ? pools.dispatcherOf(originOf(request), owner, bound) : pools.pinnedOf(pin, bound)
      if (own === undefined) return plain(request, init)
      const once = owner === undefined && proxyAuthorization === undefined ? own : sendingOnce(own)
      const dispatcher =
        way === undefined || way.isTunnel ? once : throughProxy(once, way.proxy.url, proxyAuthorization)
      return plain(request, { ...init, dispatcher } as RequestInit)
    },
    certified: (init) => isPlain(init) && pools.verifyCertificates,
    bindings(url, init, way) {
      return url.protocol === 'https:' && isOurs(init)
        ? (_owner, signal) => roads.of(way()).bound.bindingsOf(url, signal)
        : undefined
    },
    canPin: isOurs,
  })
}

interface Road {
  readonly bound: BoundConnections
  readonly pools: ConnectionPools
}

/** Most owners at proxies whose connections are kept. */
const MAX_ROADS = 16

/** Connections by the way they take: those through a proxy belong to whoever is logged in there. */
class Roads {
  readonly #certificates = new CertificateBindings(tlsServerEndPoint)
  readonly #observe: Observe
  readonly #roads = new Map<string, Road>()

  constructor(observe: Observe) {
    this.#observe = observe
  }

  of(way: Way | undefined): Road {
    const key = way === undefined ? '' : nameOfWay(way)
    const road = this.#roads.get(key) ?? this.#build(way)
    this.#roads.delete(key)
    this.#roads.set(key, road)
    const [oldest] = this.#roads.keys()
    if (this.#roads.size > MAX_ROADS && oldest !== undefined) this.#roads.delete(oldest)
    return road
  }

  #build(way: Way | undefined): Road {
    const streams = way && streamsOf(way, this.#observe)
    const bound = new BoundConnections(this.#certificates, way?.isTunnel === true ? streams : undefined)
    return { bound, pools: new ConnectionPools(way?.isTunnel === false ? toProxy(streams as OpenStream) : bound) }
  }
}

/** Connections to a proxy that reads the requests: it is no server with bindings. */
function toProxy(open: OpenStream): Connections {
  return {
    connectWith: () => (options, connected) => tellOf(open(options), connected),
  }
}

function proxyUnsupported(): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', 'negotiateFetch: no proxy where connections are not its own', {
    hint: 'Leave out dispatchers of your own; on Bun and Deno use spnego/agent, spnego/axios or spnego/got.',
  })
}

function originOf(request: URL | Request): string {
  return request instanceof URL ? request.origin : new URL(request.url).origin
}

/** Whether one of the options that only some runtimes know is there. */
function names(init: object, options: readonly string[]): boolean {
  return options.some((name) => (init as Record<string, unknown>)[name] !== undefined)
}
