import { fromBase64, toBase64 } from '../../bytes/base64.ts'
import { KerberosError, MutualAuthenticationError, malformed, UsageError } from '../../errors.ts'
import type { SecurityContext } from '../../gss/context.ts'
import { negotiateTokens } from '../../http/challenge.ts'
import { invalid, ownOptions, rejectUnknown } from '../../options.ts'
import { createInitiator, type InitiatorOptions } from './initiator.ts'

export type KerberosTicketOptions = Omit<InitiatorOptions, 'target'>

/**
 * One login by hand: send `authorization`, then `verify` what came back. For programs that have an HTTP client of their own; `negotiateFetch` does
 * all of it.
 */
export class KerberosTicket {
  readonly #authorization: string
  readonly #context: SecurityContext
  #used = false

  private constructor(context: SecurityContext, token: Uint8Array) {
    this.#context = context
    this.#authorization = `Negotiate ${toBase64(token)}`
  }

  /** The value of the `Authorization` header: `Negotiate …` (RFC 4559 §4.2). For one request: a second use is a replay. */
  get authorization(): string {
    return this.#authorization
  }

  /**
   * @param target `HTTP@host`, `HTTP/host`, `HTTP/host@REALM`
   * @throws {KerberosError} as `createInitiator`
   */
  static async for(target: string, options: KerberosTicketOptions = {}): Promise<KerberosTicket> {
    const own = ownOptions('KerberosTicket.for', options)
    if ('target' in own) rejectUnknown('KerberosTicket.for', { target })
    const { flags } = options
    if (Array.isArray(flags) && !flags.includes('mutual')) throw invalid('flags', "a list with 'mutual'", flags)
    const context = await createInitiator({ ...own, target })
    const { token } = await context.step()
    if (token === undefined) throw malformed('the mechanism has no token to send')
    return new KerberosTicket(context, token)
  }

  /**
   * Checks the server's proof: the token of its `WWW-Authenticate` header. Once.
   *
   * @throws {UsageError} `TICKET_USED` when called again
   * @throws {MutualAuthenticationError} when there is no token, more than one, or a wrong one
   */
  async verify(wwwAuthenticate: string): Promise<void> {
    if (this.#used) throw alreadyUsed()
    this.#used = true
    try {
      await this.#context.step(onlyToken(wwwAuthenticate))
      const proven = this.#context.complete && this.#context.flags.has('mutual')
      if (!proven) throw malformed('the server accepted without a proof') // check: C20
    } catch (cause) {
      if (!(cause instanceof KerberosError)) throw cause
      throw new MutualAuthenticationError(`the server did not prove its identity: ${cause.message}`, {
        cause,
        hint: cause.hint,
      })
    } finally {
      this.#context.dispose()
    }
  }
}

function onlyToken(wwwAuthenticate: string): Uint8Array {
  const tokens = negotiateTokens([wwwAuthenticate]).filter((token) => token !== undefined)
  const [token, ...more] = tokens
  if (token === undefined) throw malformed('the header carries no Negotiate token')
  if (more.length > 0) throw malformed('the header carries more than one Negotiate token')
  return fromBase64(token, 'Negotiate token')
}

function alreadyUsed(): UsageError {
  return new UsageError('TICKET_USED', 'this ticket has verified an answer already', {
    hint: 'Make a new one for each request: KerberosTicket.for.',
  })
}
