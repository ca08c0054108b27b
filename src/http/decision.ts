import { utf8 } from '../bytes/bytes.ts'
import type { Identity } from './identity.ts'

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
  | {
      readonly kind: 'anonymous'
      readonly reason: string | undefined
      /** For the response: none of them proves anything. */
      readonly headers: HeaderList
    }
  | Refusal

export interface Refusal {
  readonly kind: 'refused'
  /** 400: the target has no form that a request may have. 500: a function of the program threw. */
  readonly status: 400 | 401 | 403 | 407 | 500 | 503
  /** A code of `ERROR_CODES`. */
  readonly reason: string
  readonly headers: HeaderList
  readonly body: Uint8Array
  /** With 500: what the program's function threw, for a framework that has handlers for errors. */
  readonly cause?: unknown
}

/** What decides. `NegotiateCore` does; adapters ask for no more than this. */
export interface Authenticator<Request> {
  authenticate(request: Request): Promise<Decision>
  /** For a request that was accepted already, by this authenticator or another: everything but its token, which is good once. */
  authorize(identity: Identity, request: Request): Promise<Decision>
  /** Ends what lasts of a login; gives the fields that the response needs for that. */
  endSession(identity: Identity | undefined, request: Request): Promise<HeaderList>
}

/** An answer for which nothing of the program is asked. */
export function faultRefusal(cause: unknown): Refusal {
  const body = utf8('Internal Server Error')
  const headers: HeaderList = [
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['Content-Length', String(body.length)],
    ['Cache-Control', 'no-store'], // RFC 9111 §5.2.2.5
  ]
  return { kind: 'refused', status: 500, reason: 'CALLBACK_FAILED', headers, body, cause }
}

/** The challenge alone: for a decision of an unknown kind. */
export function bareRefusal(reason: string): Refusal {
  const headers: HeaderList = [
    ['WWW-Authenticate', 'Negotiate'], // RFC 4559 §4.1
    ['Content-Length', '0'],
    ['Cache-Control', 'no-store'],
  ]
  return { kind: 'refused', status: 401, reason, headers, body: new Uint8Array(0) }
}
