import type { Key } from '../../crypto/index.ts'
import type { HostAddress, Principal, Ticket } from '../messages/index.ts'

/** A ticket with what its owner must know to use it: the result of an AS or TGS exchange (RFC 4120 §3.1.5, §3.3.4). */
export interface Credential {
  readonly client: Principal
  readonly server: Principal
  readonly ticket: Ticket
  readonly sessionKey: Key
  readonly flags: number
  /** Microseconds since 1970. */
  readonly authTime: number
  readonly startTime: number
  readonly endTime: number
  readonly renewTill: number | undefined
  readonly addresses: readonly HostAddress[] | undefined
  /** The KDC's clock minus ours when it issued the ticket (`clockOffset`): all that is done with the ticket happens by its clock. */
  readonly clockOffset: number
}
