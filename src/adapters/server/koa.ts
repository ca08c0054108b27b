import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Authenticator, Identity, NegotiateRequest } from '../../http/index.ts'
import { decide, identityOf as identityOfRaw, throwFault } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { admit, endSessionOn, onHead } from './on-head.ts'
import { refuse } from './refuse.ts'
import { requestOf } from './request-of.ts'

/** What `negotiate` puts into `ctx.state`. */
export interface KerberosState {
  /** Set once every check has passed; what was there before is gone. */
  kerberos?: Identity | undefined
}

/** What is used of Koa's context, whichever declarations of it a program has. */
export interface KoaContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly originalUrl: string
  readonly state: KerberosState
  respond?: boolean | undefined
}

export type KoaMiddleware = (ctx: KoaContext, next: () => Promise<unknown>) => Promise<unknown>

/** A middleware of Koa 2 or 3. */
export function negotiateWith(server: Authenticator<NegotiateRequest>): KoaMiddleware {
  const headerSize = new HeaderSizeCheck()
  return async (ctx, next) => {
    headerSize.checkRequest(ctx.req)
    ctx.state.kerberos = undefined // check: A07
    const decision = await decide(server, ctx.req, requestOf(ctx.req, ctx.originalUrl))
    switch (decision.kind) {
      case 'accepted':
        admit(ctx.req, ctx.res, decision)
        ctx.state.kerberos = decision.identity
        return next()
      case 'anonymous':
        onHead(ctx.res, decision.headers)
        return next()
      case 'refused':
        throwFault(decision)
        // The connection lives on only when what is left of the body has been read: that is not for Koa to do.
        ctx.respond = false
        return refuse(ctx.req, ctx.res, decision)
    }
  }
}

/** Ends the session that a request came with or began: its response makes the browser forget the cookie. */
export function endSession({ req, res }: Pick<KoaContext, 'req' | 'res'>): Promise<void> {
  return endSessionOn(req, res)
}

/**
 * Who a request was accepted as; never what another middleware wrote on it.
 *
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(ctx: Pick<KoaContext, 'req'>): Identity {
  return identityOfRaw(ctx.req)
}
