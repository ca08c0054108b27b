import { TAG } from '../asn1/index.ts'
import { KerberosError } from '../errors.ts'
import { changePasswordService } from '../krb5/extensions/kpasswd-messages.ts'
import { decodeKdcReq, ERROR, type KdcReqBody, MESSAGE } from '../krb5/messages/index.ts'
import { answerAsReq } from './as-service.ts'
import type { Database, Random } from './database.ts'
import { type Faults, resolveFaults } from './faults.ts'
import { PasswordService } from './kpasswd-service.ts'
import { krbError, Refusal } from './krb-error.ts'
import { RecentReplies, Replays } from './replays.ts'
import { answerTgsReq, ticketGrantingService } from './tgs-service.ts'
import type { Kdc } from './tickets.ts'

export interface EmbeddedKdcSettings {
  readonly realm: string
  /** Users and services; the account of the ticket-granting service is added where it is missing. */
  readonly database: Database
  /** Microseconds since 1970. */
  readonly now: () => number
  readonly random: Random
  /** Names of `FAULTS`. */
  readonly faults?: readonly string[] | undefined
}

/**
 * A KDC for tests: the Authentication Service and the Ticket-Granting Service of one realm (RFC 4120 §3.1, §3.3), octets in, octets
 * out, without a socket, a clock or a random source of its own. It shares none of the client's logic, so that it does not share its errors.
 */
export class EmbeddedKdc {
  readonly realm: string
  readonly faults: Faults
  /** Where the users of the realm change their passwords. */
  readonly passwords: PasswordService
  readonly #kdc: Kdc
  readonly #replays = new Replays()
  readonly #recent = new RecentReplies()

  /** @throws {UsageError} `OPTION_INVALID` for an unknown fault */
  constructor({ realm, database, now, random, faults = [] }: EmbeddedKdcSettings) {
    this.realm = realm
    this.faults = resolveFaults(faults)
    const { clockOffset } = this.faults
    this.#kdc = { realm, database, random, faults: this.faults, now: () => Math.floor(now() + clockOffset) }
    this.passwords = new PasswordService(this.#kdc)
    for (const service of [ticketGrantingService(realm), changePasswordService(realm)]) {
      if (database.find(service) === undefined) database.addService(service)
    }
  }

  /**
   * Answers one request. Whatever the octets are, it never rejects.
   *
   * @returns AS-REP, TGS-REP or KRB-ERROR; undefined where the octets do not even begin like a request, so that two servers can
   *   never talk to each other for ever
   */
  async handle(request: Uint8Array): Promise<Uint8Array | undefined> {
    const isRequest =
      request[0] === (TAG.APPLICATION | MESSAGE.AS_REQ) || request[0] === (TAG.APPLICATION | MESSAGE.TGS_REQ)
    if (!isRequest) return undefined

    let body: KdcReqBody | undefined
    try {
      const decoded = decodeKdcReq(request)
      body = decoded.body
      if (decoded.type === MESSAGE.AS_REQ) return await answerAsReq(this.#kdc, decoded, request)
      return await this.#answerTgsReq(decoded, request)
    } catch (error) {
      return krbError(this.#kdc, refusalFor(error), body)
    }
  }

  /** The KRB-ERROR that the listener needs for what is wrong with a frame. */
  refuse(refusal: Refusal): Uint8Array {
    return krbError(this.#kdc, refusal)
  }

  async #answerTgsReq(decoded: ReturnType<typeof decodeKdcReq>, request: Uint8Array): Promise<Uint8Array> {
    const now = this.#kdc.now()
    const sent = this.#recent.find(request, now)
    if (sent !== undefined) return sent
    const reply = await answerTgsReq(this.#kdc, decoded, this.#replays)
    this.#recent.add(request, reply, now)
    return reply
  }
}

/** RFC 4120 §5.9.1, §7.5.9: what has no number of its own is KRB_ERR_GENERIC; its text names the field. */
function refusalFor(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof KerberosError) return new Refusal(ERROR.KRB_ERR_GENERIC, error.message)
  return new Refusal(ERROR.KRB_ERR_GENERIC, 'internal error')
}
