import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context, MiddlewareHandler } from 'hono'
import type { Authenticator, Capabilities, Identity, NegotiateRequest } from '../../http/index.ts'
import {
  decide,
  endSession as endSessionOfRaw,
  endWith,
  headersAfter,
  identityOf as identityOfRaw,
  isAdmitted,
} from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { requestOf } from './request-of.ts'
import { capabilities, webRefusal, webRequest } from './web.ts'

/** What `negotiate` sets: `c.get('kerberos')`. */
export interface KerberosVariables {
  /** Set once every check has passed; what was there before is gone. */
  kerberos: Identity | undefined
}

/** A middleware of Hono 4. On Node it sees the connection, elsewhere not. */
export function negotiateWith(
  server: Authenticator<NegotiateRequest>,
): MiddlewareHandler<{ Variables: KerberosVariables }> {
  const headerSize = new HeaderSizeCheck()
  return async (c, next) => {
    c.set('kerberos', undefined) // check: A07
    const { incoming, outgoing } = nodeOf(c)
    if (incoming !== undefined) headerSize.checkRequest(incoming)
    const request = incoming === undefined ? webRequest(c.req.raw) : requestOf(incoming)
    const isFirst = !isAdmitted(incoming ?? c)
    const decision = await decide(server, incoming ?? c, request)
    switch (decision.kind) {
      case 'accepted':
        c.set('kerberos', decision.identity)
        if (outgoing !== undefined) endWith(outgoing, decision.identity) // a stream goes on when the handler has returned
        try {
          await next() // an error that a handler throws is a response by then; what is no `Error` goes through
        } finally {
          if (isFirst && outgoing === undefined) decision.identity.delegated?.release() // check: S71
        }
        for (const [name, value] of headersAfter(incoming ?? c, decision.headers))
          c.header(name, value, { append: true })
        return undefined
      case 'anonymous':
        return next()
      case 'refused':
        return webRefusal(c.req.raw, decision)
    }
  }
}

/** What the server that this request came to can do: on Node all, elsewhere as `spnego/web`. */
export function capabilitiesOf(c: Context): Capabilities {
  return nodeOf(c).incoming !== undefined ? { multiLeg: true, ownCertificate: true } : capabilities
}

/** Ends the session that a request came with or began: its response makes the browser forget the cookie. */
export async function endSession(c: Context): Promise<void> {
  for (const [name, value] of await endSessionOfRaw(nodeOf(c).incoming ?? c)) c.header(name, value, { append: true })
}

/**
 * Who a request was accepted as; never what another middleware wrote on it.
 *
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(c: Context): Identity {
  return identityOfRaw(nodeOf(c).incoming ?? c)
}

/** What `@hono/node-server` shows. The identity stands on `incoming`, since middleware (`bodyLimit`) exchanges `c.req.raw`. */
function nodeOf(c: Context): { readonly incoming?: IncomingMessage; readonly outgoing?: ServerResponse } {
  return c.env ?? {}
}
