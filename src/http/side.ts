import { toBase64 } from '../bytes/base64.ts'

/** Whose login is asked for: the origin's (RFC 9110 §11.6) or a proxy's (RFC 9110 §11.7). */
export interface Side {
  /** What asks for credentials (RFC 9110 §15.5.2, §15.5.8). */
  readonly status: 401 | 407
  readonly challenge: 'WWW-Authenticate' | 'Proxy-Authenticate'
  /** The request's field, in lower case. */
  readonly credentials: 'authorization' | 'proxy-authorization'
}

export const ORIGIN: Side = Object.freeze({
  status: 401,
  challenge: 'WWW-Authenticate',
  credentials: 'authorization',
})

export const PROXY: Side = Object.freeze({
  status: 407,
  challenge: 'Proxy-Authenticate',
  credentials: 'proxy-authorization',
})

/** RFC 4559 §4.1: the scheme alone, or with a token. */
export function negotiateChallenge({ challenge }: Side, token?: Uint8Array): readonly [string, string] {
  return [challenge, token === undefined ? 'Negotiate' : `Negotiate ${toBase64(token)}`]
}
