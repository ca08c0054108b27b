import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator, Identity, NegotiateRequest } from '../../http/index.ts'
import { decide, identityOf as identityOfRaw, throwFault } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { admit, endSessionOn, onHead } from './on-head.ts'
import { refuse } from './refuse.ts'
import { requestOf } from './request-of.ts'

/**
 * Who a request was accepted as; never what another hook wrote on it.
 *
 * @param request Fastify's, or node:http's below it
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(request: FastifyRequest | FastifyRequest['raw']): Identity {
  return identityOfRaw('raw' in request ? request.raw : request)
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `negotiate` once every check has passed; what was there before is gone. */
    kerberos: Identity | null
  }
}

/** Ends the session that a request came with or began: its response makes the browser forget the cookie. */
export async function endSession({ raw }: FastifyRequest, reply: FastifyReply): Promise<void> {
  await endSessionOn(raw, reply.raw)
}

/** A server that a scope of Fastify opens for itself, and closes. */
export interface ClosingAuthenticator extends Authenticator<NegotiateRequest> {
  close(): Promise<void>
}

/** Guards the scope that it is registered in, and what is below: none beside it. */
export function guardScope(scope: FastifyInstance, server: ClosingAuthenticator): void {
  new HeaderSizeCheck().checkServer(scope.server as { readonly maxHeaderSize?: number })
  if (!scope.hasRequestDecorator('kerberos')) scope.decorateRequest('kerberos', null)
  scope.addHook('onRequest', (request, reply) => check(server, request, reply))
  scope.addHook('onClose', () => server.close())
}

async function check(server: ClosingAuthenticator, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  request.kerberos = null // check: A07
  const decision = await decide(server, request.raw, requestOf(request.raw))
  switch (decision.kind) {
    case 'accepted':
      admit(request.raw, reply.raw, decision)
      request.kerberos = decision.identity
      return undefined
    case 'anonymous':
      onHead(reply.raw, decision.headers)
      return undefined
    case 'refused':
      throwFault(decision)
      // The connection lives on only when what is left of the body has been read: that is not for Fastify to do.
      reply.hijack()
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) reply.raw.setHeader(name, value)
      }
      await refuse(request.raw, reply.raw, decision)
      return reply
  }
}
