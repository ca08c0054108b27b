import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { CanActivate, ExecutionContext, HttpException } from '@nestjs/common'
import { quote } from '../../bytes/text.ts'
import { UsageError } from '../../errors.ts'
import { type Authenticator, type Identity, isListField, type NegotiateRequest } from '../../http/index.ts'
import { decide, identityOf as identityOfRaw, throwFault } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { addField, admit, endSessionOn, onHead } from './on-head.ts'
import { requestOf } from './request-of.ts'

type Platform<T> = T & { readonly raw?: T; kerberos?: Identity | undefined }

/** A guard of Nest 10 and later, on Express or Fastify. It refuses with an `HttpException`, for the filters of the program. */
export class LoginGuard implements CanActivate {
  readonly #server: Authenticator<NegotiateRequest>
  readonly #headerSize = new HeaderSizeCheck()

  constructor(server: Authenticator<NegotiateRequest>) {
    this.#server = server
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') throw notHttp(context.getType())
    const http = context.switchToHttp()
    const request = http.getRequest<Platform<IncomingMessage>>()
    const response = http.getResponse<Platform<ServerResponse>>()
    const [req, res] = [request.raw ?? request, response.raw ?? response]
    this.#headerSize.checkRequest(req)
    request.kerberos = undefined // check: A07
    const decision = await decide(this.#server, req, requestOf(req))
    switch (decision.kind) {
      case 'accepted':
        admit(req, res, decision)
        request.kerberos = decision.identity
        return true
      case 'anonymous':
        onHead(res, decision.headers)
        return true
      case 'refused':
        throwFault(decision)
        for (const [name, value] of decision.headers) {
          if (isListField(name)) addField(res, name, value)
          else if (!/^content-/i.test(name)) res.setHeader(name, value)
        }
        throw new (await exceptionClass())(STATUS_CODES[decision.status] ?? '', decision.status) // a page is no message
    }
  }
}

function notHttp(type: string): UsageError {
  return new UsageError(
    'OPTION_UNSUPPORTED',
    `NegotiateGuard guards HTTP requests, and this context is ${quote(type)}`,
    {
      hint: 'Put the guard on HTTP controllers with @UseGuards, or in front of the others as a middleware of the platform.',
    },
  )
}

/** The program's own, which its filters know; it is there, since Nest is. */
async function exceptionClass(): Promise<typeof HttpException> {
  return (await import('@nestjs/common')).HttpException
}

/** Ends the session that a request came with or began: its response makes the browser forget the cookie. */
export function endSession(request: object, response: object): Promise<void> {
  const [req, res] = [request as Platform<IncomingMessage>, response as Platform<ServerResponse>]
  return endSessionOn(req.raw ?? req, res.raw ?? res)
}

/**
 * Who a request was accepted as; never what another guard wrote on it.
 *
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(request: object): Identity {
  return identityOfRaw((request as Platform<IncomingMessage>).raw ?? request)
}
