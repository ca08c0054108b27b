import type { Request, RequestHandler, Response } from 'express'
import { type Authenticator, errorOf, type Identity, type NegotiateRequest } from '../../http/index.ts'
import { decide, throwFault } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { admit, onHead } from './on-head.ts'
import { refuse } from './refuse.ts'
import { requestOf } from './request-of.ts'

export { identityOf } from './admitted.ts'
export { endSessionOn as endSession } from './on-head.ts'

declare global {
  namespace Express {
    interface Request {
      /** Set by `negotiate` once every check has passed; what was there before is gone. */
      kerberos?: Identity | undefined
    }
  }
}

/** A middleware of Express 4 or 5. */
export function negotiateWith(server: Authenticator<NegotiateRequest>): RequestHandler {
  const headerSize = new HeaderSizeCheck()
  return async (req, res, next) => {
    let pass: boolean
    try {
      headerSize.checkRequest(req)
      pass = await check(server, req, res)
    } catch (error) {
      return next(errorOf(error))
    }
    if (pass) next()
  }
}

async function check(server: Authenticator<NegotiateRequest>, req: Request, res: Response): Promise<boolean> {
  req.kerberos = undefined // check: A07
  const decision = await decide(server, req, requestOf(req))
  switch (decision.kind) {
    case 'accepted':
      admit(req, res, decision)
      req.kerberos = decision.identity
      return true
    case 'anonymous':
      onHead(res, decision.headers)
      return true
    case 'refused':
      throwFault(decision)
      await refuse(req, res, decision)
      return false
  }
}
