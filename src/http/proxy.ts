import type { Socket } from 'node:net'
import { KerberosError } from '../errors.ts'
import { type Hop, type InitiatorContexts, ownerOf, PROXY, RequestLogin } from './client.ts'
import type { ClientSettings } from './client-options.ts'

/** Of connections to a proxy where there is nothing to log in with. */
const NOBODY = 'nobody'

/** Whoever is logged in there then: for connections that are not this package's to keep apart. */
export const ANYBODY: unique symbol = Symbol('anybody')

/** Where a stream is to lead: a URL, as far as it says that. */
export interface StreamTarget {
  readonly protocol: string
  readonly hostname: string
  /** Empty or left out: the scheme's own. */
  readonly port?: string | undefined
}

/** Opens a stream of octets to a host, otherwise than straight. */
export type OpenStream = (target: StreamTarget) => Promise<Socket>

/** A way to a server: through this proxy, over connections of this owner. */
export interface Way {
  readonly proxy: HttpProxy
  /** Who is logged in at the proxy, or would be; undefined as long as it has never asked. */
  readonly owner: string | typeof ANYBODY | undefined
  /** Through CONNECT (RFC 9110 §9.3.6); else the proxy gets the request itself, in absolute form (RFC 9112 §3.2.2). */
  readonly isTunnel: boolean
}

/** What names the connections of a way. */
export function nameOfWay({ proxy, owner, isTunnel }: Way): string {
  return JSON.stringify([proxy.url, isTunnel, owner ?? null])
}

/**
 * A proxy, as one client sees it. What is remembered is only that it asks: then connections to it are somebody's, and each request first finds out
 * whose it needs. Nobody's connection ever becomes somebody's.
 */
export class HttpProxy {
  readonly url: URL
  readonly #tunnelsAll: boolean
  readonly #settings: ClientSettings
  readonly #contexts: InitiatorContexts
  readonly #keepsApart: boolean
  #asks: boolean

  /**
   * @param settings of the login there, as that of a client whose only server it is
   * @param how `tunnelsAll`: http goes through CONNECT too; `keepsApart`: whoever connects keeps the connections of several owners apart
   */
  constructor(
    url: URL,
    settings: ClientSettings,
    contexts: InitiatorContexts,
    how: { readonly tunnelsAll: boolean; readonly keepsApart: boolean },
  ) {
    this.url = url
    this.#tunnelsAll = how.tunnelsAll
    this.#keepsApart = how.keepsApart
    this.#settings = settings
    this.#contexts = contexts
    this.#asks = settings.preemptive
  }

  /** Whether its tokens go unasked. */
  get preemptive(): boolean {
    return this.#settings.preemptive
  }

  /** Whether a URL is reached by CONNECT. */
  tunnels({ protocol }: URL): boolean {
    return this.#tunnelsAll || protocol === 'https:'
  }

  /**
   * @param knowOwner whether it must be known now who is logged in there: the token goes at once, or nothing can be sent twice
   */
  async wayTo(url: URL, knowOwner: boolean, signal: AbortSignal | undefined): Promise<Way> {
    const isTunnel = this.tunnels(url)
    if (!this.#keepsApart) return { proxy: this, owner: ANYBODY, isTunnel }
    const owner = this.#asks || knowOwner ? await this.#owner(signal) : undefined
    return { proxy: this, owner, isTunnel }
  }

  async #owner(signal: AbortSignal | undefined): Promise<string> {
    try {
      return ownerOf(await this.#open(this.#targetName(), signal))
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
      return NOBODY // the proxy may not ask; when it does, the login fails for the same reason
    }
  }

  /** The login of one connection, or of one request in absolute form; of nobody else than the connections are for. */
  login(owner: Way['owner'], can: Pick<Hop, 'signal' | 'canPin' | 'canResend'>): RequestLogin {
    const hop: Hop = {
      party: PROXY,
      url: this.url,
      first: this.url,
      cameFromHttps: false,
      certified: false,
      canPin: can.canPin,
      canResend: can.canResend,
      get signal() {
        return can.signal // of whichever send is on its way
      },
    }
    return new RequestLogin(hop, this.#settings, {
      open: async (target, { signal }) => {
        this.#asks = true
        if (owner === undefined) throw new ProxyOwnerChanged()
        const opened = await this.#open(target, signal)
        if (owner !== ANYBODY && ownerOf(opened) !== owner) throw new ProxyOwnerChanged() // check: C52
        return opened
      },
    })
  }

  #targetName(): Parameters<InitiatorContexts['open']>[0] {
    const { targetName, service } = this.#settings
    return typeof targetName === 'function' || targetName === undefined ? `${service}@${this.url.hostname}` : targetName
  }

  #open(target: Parameters<InitiatorContexts['open']>[0], signal: AbortSignal | undefined) {
    const mutual = this.#settings.mutualAuthentication !== 'disabled'
    return this.#contexts.open(target, { mutual, delegation: 'never', signal }) // a login is never forwarded to a proxy
  }
}

/** The proxy asks for the first time, or somebody else is logged in by now: the connection is not for him, another one must be chosen. */
export class ProxyOwnerChanged extends Error {
  constructor() {
    super('somebody else is logged in at the proxy')
  }
}

/** The proxies of a client. */
export interface Proxies {
  /** What leads to a URL; undefined: straight. */
  for(url: URL): HttpProxy | undefined
  /** The one whose own URL this is. */
  at(url: URL): HttpProxy | undefined
}
