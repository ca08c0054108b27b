import type { Credentials } from '../entries/wiring/credentials.ts'

/** Who the client is. Exists only after every check has passed; built from the ticket alone (RFC 4120 §3.2.3). */
export interface Identity {
  /** `alice@EXAMPLE.COM`, escaped, with its realm. */
  readonly principal: string
  /** The components alone, escaped. */
  readonly name: string
  readonly realm: string
  readonly localName: string | undefined
  readonly mechanism: 'negotiate' | 'basic' | 'session'
  /** Whether the client tied the login to this TLS connection (RFC 5929); of a session, the login that began it. */
  readonly channelBound: boolean
  /** The end of the ticket, or of the session. */
  readonly expiresAt: Date
  /**
   * The user's login, when he forwarded it and the `delegation` option is on. It ends with the request, unless its `keep` was called; `save` writes a
   * credential cache.
   */
  readonly delegated: Credentials | undefined
}

/** What a server can do beside letting a request in, where it depends on what a framework shows. */
export interface Capabilities {
  /** A negotiation of several tokens goes on over its connection (RFC 4559 §6); else the first one counts. */
  readonly multiLeg: boolean
  /** Bindings are compared with the connection's own certificate; else with the `certificate` option alone. */
  readonly ownCertificate: boolean
}

export type HeaderList = readonly (readonly [string, string])[]

/** What to do with a request. Let it through on `accepted` and `anonymous` and on nothing else. */
export type Decision =
  | { readonly kind: 'accepted'; readonly identity: Identity; readonly headers: HeaderList }
  | { readonly kind: 'anonymous'; readonly reason: string | undefined }
  | Refusal

export interface Refusal {
  readonly kind: 'refused'
  readonly status: 401 | 403 | 407 | 503
  /** A code of `ERROR_CODES`. */
  readonly reason: string
  readonly headers: HeaderList
  readonly body: Uint8Array
}

/** What decides. `NegotiateCore` does; adapters ask for no more than this. */
export interface Authenticator<Request> {
  authenticate(request: Request): Promise<Decision>
  /** For a request that was accepted already, by this authenticator or another: its own `authorize` alone. */
  authorize(identity: Identity, request: Request): Promise<Decision>
  /** Ends what lasts of a login; gives the fields that the response needs for that. */
  endSession(identity: Identity | undefined, request: Request): Promise<HeaderList>
}

/** The response fields that are lists, so that ours stands beside the application's (RFC 9110 §5.3). */
export function isListField(name: string): boolean {
  return isChallengeField(name) || isSessionField(name) || name.toLowerCase() === 'vary'
}

/** What asks for credentials (RFC 9110 §11.6.1, §11.7.1). */
export function isChallengeField(name: string): boolean {
  return /^(www|proxy)-authenticate$/i.test(name)
}

/** What makes a login last beyond its response (RFC 6265 §4.1). */
export function isSessionField(name: string): boolean {
  return name.toLowerCase() === 'set-cookie'
}

/** The challenge alone: for whoever must refuse and has no better answer. */
export function bareRefusal(reason: string): Refusal {
  const headers: HeaderList = [
    ['WWW-Authenticate', 'Negotiate'], // RFC 4559 §4.1
    ['Content-Length', '0'],
    ['Cache-Control', 'no-store'],
  ]
  return { kind: 'refused', status: 401, reason, headers, body: new Uint8Array(0) }
}
