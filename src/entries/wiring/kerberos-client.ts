import { DEFAULT_ENCTYPES, isSupportedEnctype } from '../../crypto/index.ts'
import type { CredentialStore, TicketOptions } from '../../krb5/credentials.ts'
import type { Krb5Config } from '../../krb5/formats/index.ts'
import type { Principal } from '../../krb5/messages/index.ts'
import { integerIn, invalid, optional, ownOptions, rejectUnknown } from '../../options.ts'
import { Credentials, configOf, MAX_TIMEOUT_MS } from './credentials.ts'
import { serviceTarget } from './service-name.ts'
import { type Ticket, ticketOfCredential } from './ticket.ts'

export interface KerberosClientOptions {
  readonly credentials: Credentials
  readonly config?: Krb5Config | undefined
  /** For each call, 1 to 600 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
  /** Numbers of enctypes in order of preference. Default 18, 17, 20, 19, or those of krb5.conf. */
  readonly enctypes?: readonly number[] | undefined
}

/** Tickets without a connection: log in, and fetch a ticket for a service (RFC 4120 §3.1, §3.3). */
export class KerberosClient {
  readonly #store: CredentialStore
  readonly #options: TicketOptions

  constructor(options: KerberosClientOptions) {
    const { credentials, config, timeoutMs, enctypes, ...unknown } = ownOptions('KerberosClient', options)
    rejectUnknown('KerberosClient', unknown)
    if (!(credentials instanceof Credentials)) throw invalid('credentials', 'Credentials', credentials)
    this.#store = Credentials.storeOf(credentials)
    this.#options = Object.freeze({
      config: optional(config, configOf),
      timeoutMs: optional(timeoutMs, (value) => integerIn('timeoutMs', value, 1, MAX_TIMEOUT_MS)),
      enctypes: optional(enctypes, enctypeNumbers),
    })
  }

  /** The ticket-granting ticket. One exchange, however many wait for it. */
  async login(): Promise<Ticket> {
    return ticketOfCredential(await this.#store.login(this.#options))
  }

  /**
   * A ticket for `HTTP/host`, `HTTP@host` or `HTTP/host@REALM`. The host is lower-cased; when the KDC does not know that name it is asked once
   * more for the name as it was written. A host with a port, an address and the realm of `krbtgt/REALM` are taken as written, and so is a
   * `Principal`.
   *
   * @throws {UsageError} `NAME_INVALID`
   * @throws {KerberosError} as `Credentials.login`; `KDC_ERR_S_PRINCIPAL_UNKNOWN` when the KDC has no such service
   */
  async getTicket(service: string | Principal): Promise<Ticket> {
    const { service: name, written } = serviceTarget(service)
    return ticketOfCredential(await this.#store.getTicket(name, { ...this.#options, written }))
  }
}

/** A list of enctype numbers that this version has. */
export function enctypeNumbers(value: unknown): readonly number[] {
  const known = Array.isArray(value) && value.length > 0 && value.every((one) => isSupportedEnctype(one))
  if (!known) throw invalid('enctypes', `some of ${DEFAULT_ENCTYPES.join(', ')}`, value)
  return Object.freeze([...value])
}
