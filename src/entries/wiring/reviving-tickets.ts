import { KerberosError } from '../../errors.ts'
import { calledForCaller } from '../../http/callbacks.ts'
import type { TicketOptions } from '../../krb5/credentials.ts'
import type { Principal } from '../../krb5/messages/index.ts'
import { invalid, untilAborted } from '../../options.ts'
import { Credentials } from './credentials.ts'
import type { Found } from './initiator.ts'

/** May be asynchronous. Its result is `Credentials`, or nothing when the same ones are good again. */
export type OnCredentialExpired = (error: KerberosError) => unknown

/** Codes of a login that is over: ours for a cache, RFC 4120 §7.5.9 for what the KDC finds. */
const EXPIRED: readonly string[] = ['TICKET_EXPIRED', 'KRB_AP_ERR_TKT_EXPIRED']

export function expiryHook(value: unknown): OnCredentialExpired {
  if (typeof value !== 'function') throw invalid('onCredentialExpired', 'a function', value)
  return value as OnCredentialExpired
}

/** The tickets of credentials that their owner may replace when they have expired. */
export class RevivingTickets {
  #credentials: Credentials
  readonly #hook: OnCredentialExpired | undefined
  #reviving: Promise<void> | undefined

  constructor(credentials: Credentials, hook: OnCredentialExpired | undefined) {
    this.#credentials = credentials
    this.#hook = hook
  }

  /** Tries once more after the hook; many callers wait for one call of it. */
  async get(service: Principal, options: TicketOptions): Promise<Found> {
    const tried = this.#credentials
    try {
      return await ticketOf(tried, service, options)
    } catch (error) {
      const isOver = error instanceof KerberosError && EXPIRED.includes(error.code)
      if (this.#hook === undefined || !isOver) throw error
      if (tried === this.#credentials) await untilAborted(this.#revive(error), options.signal)
      return ticketOf(this.#credentials, service, options)
    }
  }

  #revive(error: KerberosError): Promise<void> {
    this.#reviving ??= this.#ask(error).finally(() => {
      this.#reviving = undefined
    })
    return this.#reviving
  }

  async #ask(error: KerberosError): Promise<void> {
    const found = await calledForCaller('onCredentialExpired', () => this.#hook?.(error), undefined).catch((failed) => {
      throw failed.cause === error ? error : failed // it has no other login, and says so with the error that it was given
    })
    if (found === undefined) return
    if (!(found instanceof Credentials)) throw invalid('onCredentialExpired: its result', 'Credentials', found)
    this.#credentials = found
  }
}

async function ticketOf(credentials: Credentials, service: Principal, options: TicketOptions): Promise<Found> {
  const store = Credentials.storeOf(credentials)
  return { credential: await store.getTicket(service, options), store }
}
