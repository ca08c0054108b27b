/** Whether a password is somebody's: the KDC is asked, and believed only when it has a ticket that our own key opens. */
import { utf8 } from '../bytes/bytes.ts'
import { enctype, stringToKey } from '../crypto/index.ts'
import { CredentialError, KdcError, KerberosError, NetworkError, VerificationError } from '../errors.ts'
import { RealmSender, type World } from './client.ts'
import {
  type AcceptedLogin,
  type AcceptorRules,
  acceptedLogin,
  type Credential,
  makeApReq,
  tgsExchange,
  verifyApReq,
} from './exchange/index.ts'
import { type Call, driveToKdc, logIn } from './login.ts'
import { ERROR, type Principal } from './messages/index.ts'

/** Who a password has proven, until when. */
export interface PasswordProof {
  readonly client: Principal
  /** Microseconds since 1970. */
  readonly endTime: number
  readonly login: AcceptedLogin
}

export interface PasswordQuestion {
  readonly client: Principal
  readonly password: Uint8Array
  /** Whose key in the keytab the KDC must know too. */
  readonly service: Principal
  readonly rules: AcceptorRules
}

/** How a password becomes a key here: what the last KDC asked for, so that unknown users cost what known ones do. */
interface Usual {
  readonly enctype: number
  readonly iterations: number
}

/**
 * Checks passwords as `krb5_verify_init_creds` of MIT does: a login (RFC 4120 §3.1), then a ticket for ourselves (RFC 4120 §3.3) that our keytab opens. A
 * KDC that is none can give the first, whatever the password; the second it cannot.
 */
export class PasswordCheck {
  readonly #world: World
  readonly #sender: RealmSender
  #usual: Usual

  constructor(world: World, preferredEnctype: number) {
    this.#world = world
    this.#sender = new RealmSender(world)
    this.#usual = { enctype: preferredEnctype, iterations: enctype(preferredEnctype).defaultIterations }
  }

  /**
   * @throws {CredentialError} `PASSWORD_WRONG`, for an unknown user alike: with the same messages, and as much work
   * @throws {VerificationError} `PASSWORD_UNPROVEN`, `ANONYMOUS_TICKET`
   * @throws {KdcError} a locked account, an expired password: by the RFC's name
   * @throws {NetworkError} `KDC_UNREACHABLE`, `KDC_TIMEOUT`
   */
  async check(question: PasswordQuestion, call: Call): Promise<PasswordProof> {
    const tgt = await this.#login(question, call)
    try {
      return await this.#ownTicket(tgt, question, call)
    } catch (error) {
      if (error instanceof NetworkError || !(error instanceof KerberosError)) throw error
      if (error.code === 'ANONYMOUS_TICKET') throw error
      throw unproven(question.service, error)
    } finally {
      tgt.sessionKey.dispose()
    }
  }

  async #login(question: PasswordQuestion, call: Call): Promise<Credential> {
    try {
      return await this.#ask(question, call)
    } catch (error) {
      if (isUnknown(error)) await this.#pretend(question, call) // check: S93
      throw isWrong(error) ? wrong(error) : error
    }
  }

  #ask({ client, password }: PasswordQuestion, call: Call): Promise<Credential> {
    const origin = { kind: 'password', principal: client.toString(), password } as const
    return logIn(origin, call, this.#world, this.#sender, {
      // A guess counts once, and known and unknown users take as many messages.
      asksPrimary: false, // check: S93
      onDerive: (used) => {
        this.#usual = used
      },
    })
  }

  /** A known user's wrong password takes two messages and a hash: time must not tell who is unknown. */
  async #pretend(question: PasswordQuestion, call: Call): Promise<void> {
    const { enctype: id, iterations } = this.#usual
    const { client, password } = question
    const key = await stringToKey(id, password, utf8(client.realm + client.components.join('')), iterations)
    key.dispose()
    await this.#ask(question, call).catch(() => {})
  }

  async #ownTicket(tgt: Credential, { service, rules }: PasswordQuestion, call: Call): Promise<PasswordProof> {
    const { enctypes, clockSkew } = call
    const { source } = this.#world
    const request = { tgt, server: service, enctypes, clockSkew, source }
    const credential = await driveToKdc(tgsExchange(request), call, this.#sender)
    const { message } = makeApReq({
      credential,
      mutual: false,
      checksum: undefined,
      subkey: undefined,
      seqNumber: undefined,
      source,
    })
    credential.sessionKey.dispose()
    const proven = verifyApReq(message, source.now(), rules)
    proven.opened.release()
    return { client: proven.client, endTime: proven.ticket.endtime, login: acceptedLogin(proven) }
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof KdcError && error.errorCode === ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN
}

/** An account without pre-authentication shows by its reply alone that the password is another one. */
function isWrong(error: unknown): boolean {
  if (error instanceof VerificationError) return error.code === 'INTEGRITY_FAILED'
  return isUnknown(error) || (error instanceof KdcError && error.errorCode === ERROR.KDC_ERR_PREAUTH_FAILED)
}

function wrong(cause: unknown): CredentialError {
  return new CredentialError('PASSWORD_WRONG', 'the user name or the password is wrong', { cause })
}

function unproven(service: Principal, cause: KerberosError): VerificationError {
  return new VerificationError(
    'PASSWORD_UNPROVEN',
    `the KDC did not prove that it knows ${service}: ${cause.message}`,
    {
      cause,
      hint: cause.hint ?? 'Export the service’s key again; if it is right, somebody pretends to be the KDC.',
    },
  )
}
