import type { Credential } from '../../krb5/exchange/index.ts'
import { type Principal, ticketFlagNames } from '../../krb5/messages/index.ts'

/** A ticket as a caller may see it: no key, no bytes. */
export interface Ticket {
  readonly client: Principal
  readonly server: Principal
  /** Of the session key. */
  readonly enctype: number
  /** Of the service's key. */
  readonly ticketEnctype: number
  readonly startsAt: Date
  readonly expiresAt: Date
  readonly renewableUntil: Date | undefined
  /** `'forwardable'`, `'ok-as-delegate'`, …: RFC 4120 §5.3. */
  readonly flags: ReadonlySet<string>
}

/** A ticket in a credential cache, which may hold something else in its place. */
export interface CachedTicket extends Omit<Ticket, 'ticketEnctype'> {
  /** Of the service's key; undefined for what is no ticket. */
  readonly ticketEnctype: number | undefined
}

/** Times in microseconds since 1970. */
export interface TicketFacts {
  readonly client: Principal
  readonly server: Principal
  readonly enctype: number
  readonly flags: number
  readonly startTime: number
  readonly endTime: number
  readonly renewTill: number | undefined
}

export function ticketOf<Enctype extends number | undefined>(
  facts: TicketFacts & { readonly ticketEnctype: Enctype },
): Omit<Ticket, 'ticketEnctype'> & { readonly ticketEnctype: Enctype } {
  return Object.freeze({
    client: facts.client,
    server: facts.server,
    enctype: facts.enctype,
    ticketEnctype: facts.ticketEnctype,
    startsAt: new Date(facts.startTime / 1000),
    expiresAt: new Date(facts.endTime / 1000),
    renewableUntil: facts.renewTill === undefined ? undefined : new Date(facts.renewTill / 1000),
    flags: ticketFlagNames(facts.flags),
  })
}

export function ticketOfCredential(credential: Credential): Ticket {
  return ticketOf({
    ...credential,
    enctype: credential.sessionKey.enctype,
    ticketEnctype: credential.ticket.encPart.etype,
  })
}
