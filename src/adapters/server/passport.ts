import type { ServerResponse } from 'node:http'
import type { Request } from 'express'
import {
  type Authenticator,
  errorOf,
  type Identity,
  isChallengeField,
  type NegotiateRequest,
} from '../../http/index.ts'
import { decide, forget, isAdmitted, throwFault } from './admitted.ts'
import { admit, onHead } from './on-head.ts'
import { requestOf } from './request-of.ts'

export { identityOf } from './admitted.ts'
export { endSessionOn as endSession } from './on-head.ts'

/** Makes the program's user of an identity; a falsy user is nobody. An error of `null` or `undefined` is none. */
export type Verify = (
  identity: Identity,
  done: (error: unknown, user?: unknown, info?: object) => void,
) => void | Promise<void>

/** What Passport adds to a strategy for one request. */
interface Actions {
  success(user: unknown, info?: object): void
  fail(challenge?: string, status?: number): void
  pass(): void
  error(error: unknown): void
}

/** A strategy of Passport: fails with the challenge, so that others may stand beside it. */
export class LoginStrategy {
  readonly name = 'negotiate'
  readonly #server: Authenticator<NegotiateRequest>
  readonly #verify: Verify

  constructor(server: Authenticator<NegotiateRequest>, verify: Verify = (identity, done) => done(null, identity)) {
    this.#server = server
    this.#verify = verify
  }

  /** What Passport calls, on an object made from this one. */
  authenticate(this: LoginStrategy & Actions, req: Request): void {
    // Private fields are those of the strategy itself.
    const strategy = Object.getPrototypeOf(this) as LoginStrategy
    strategy.#admit(req, this).catch((error: unknown) => this.error(errorOf(error)))
  }

  async #admit(req: Request, passport: Actions): Promise<void> {
    const res = req.res as ServerResponse
    const isFirst = !isAdmitted(req)
    const decision = await decide(this.#server, req, requestOf(req))
    switch (decision.kind) {
      case 'accepted':
        admit(req, res, decision)
        return await this.#verify(decision.identity, (error, user, info) => {
          if (error !== null && error !== undefined) return passport.error(errorOf(error))
          if (!user) {
            if (isFirst) forget(req) // another strategy may find somebody else
            return passport.fail(undefined, 403)
          }
          passport.success(user, info)
        })
      case 'anonymous':
        onHead(res, decision.headers)
        return passport.pass()
      case 'refused': {
        throwFault(decision)
        const challenge =
          decision.headers
            .filter(([name]) => isChallengeField(name))
            .map(([, value]) => value)
            .join(', ') || undefined // RFC 9110 §11.6.1
        for (const [name, value] of decision.headers) if (name === 'Retry-After') res.setHeader(name, value)
        return passport.fail(challenge, decision.status)
      }
    }
  }
}
