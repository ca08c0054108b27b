import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context, MiddlewareHandler } from 'hono'
import {
  type Authenticator,
  type Capabilities,
  type HeaderList,
  type Identity,
  isCacheField,
  type NegotiateRequest,
  withField,
} from '../../http/index.ts'
import {
  decide,
  endSession as endSessionOfRaw,
  endWith,
  headersAfter,
  identityOf as identityOfRaw,
  isAdmitted,
  throwFault,
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
    const request = incoming === undefined ? webRequest(c.req.raw) : requestOf(incoming, routedUrl(incoming))
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
        addAll(c, headersAfter(incoming ?? c, decision.headers))
        return undefined
      case 'anonymous':
        await next()
        return addAll(c, decision.headers)
      case 'refused':
        throwFault(decision)
        return webRefusal(c.req.raw, decision)
    }
  }
}

function addAll(c: Context, headers: HeaderList): void {
  if (c.res.status < 200) return // an upgrade (101) and `Response.error()` (0) cannot be changed (Fetch standard, "initialize a response")
  for (const [name, value] of headers) {
    if (!isCacheField(name)) c.header(name, value, { append: true })
    else {
      const found = c.res.headers.get(name)
      const [line] = withField(name, found === null ? [] : [found], value) ?? []
      if (line !== undefined) c.header(name, line)
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

/** The whole target as Hono routes it on Node: its URL resolves dot segments, also within a mounted application. */
function routedUrl({ url = '/' }: IncomingMessage): string {
  const absolute = url.startsWith('/') ? `http://host${url}` : url
  if (!URL.canParse(absolute)) return url
  const { pathname, search } = new URL(absolute)
  return `${pathname}${search}`
}

/** What `@hono/node-server` shows. The identity stands on `incoming`, since middleware (`bodyLimit`) exchanges `c.req.raw`. */
function nodeOf(c: Context): { readonly incoming?: IncomingMessage; readonly outgoing?: ServerResponse } {
  return c.env ?? {}
}
