import { isSupportedEnctype, Key } from '../crypto/index.ts'
import { MalformedError, VerificationError } from '../errors.ts'
import {
  type ApReq,
  type Authenticator,
  decodeAuthenticator,
  decodeEncTicketPart,
  type EncryptionKey,
  type EncTicketPart,
  ERROR,
  KEY_USAGE,
  principalOf,
  TICKET_FLAG,
} from '../krb5/messages/index.ts'
import type { Account } from './database.ts'
import { Refusal } from './krb-error.ts'
import type { Replays } from './replays.ts'
import { CLOCK_SKEW } from './tickets.ts'

/** An AP-REQ whose sender is known. */
export interface VerifiedApReq {
  readonly ticket: EncTicketPart
  readonly sessionKey: Key
  readonly subkey: Key | undefined
  readonly authenticator: Authenticator
}

/**
 * Checks an AP-REQ (RFC 4120 §3.2.3): a ticket for the service, an authenticator by whoever holds its session key, made now, not seen before.
 *
 * @param usage of the authenticator, which depends on where it lies (RFC 4120 §7.5.1)
 * @param check what the service asks of the authenticator beside
 * @throws {Refusal}
 */
export async function verifyApReq(
  apReq: ApReq,
  service: Account,
  usage: number,
  now: number,
  replays: Replays,
  check: (authenticator: Authenticator, sessionKey: Key) => void = () => {},
): Promise<VerifiedApReq> {
  const ticket = await openTicket(apReq, service)
  const sessionKey = keyFrom(ticket.key)
  const authenticator = openAuthenticator(apReq, sessionKey, usage)

  const { cname, crealm, ctime, subkey } = authenticator
  const isSame = principalOf(cname, crealm).equals(principalOf(ticket.cname, ticket.crealm))
  if (!isSame) throw new Refusal(ERROR.KRB_AP_ERR_BADMATCH) // RFC 4120 §3.2.3
  check(authenticator, sessionKey)
  if (Math.abs(ctime - now) > CLOCK_SKEW) throw new Refusal(ERROR.KRB_AP_ERR_SKEW) // RFC 4120 §3.2.3
  checkTimes(ticket, now)
  // RFC 4120 §3.2.3. Last: what was refused for another reason takes no room.
  if (!replays.isNew(apReq.authenticator.cipher, now)) throw new Refusal(ERROR.KRB_AP_ERR_REPEAT)
  return { ticket, sessionKey, subkey: subkey === undefined ? undefined : keyFrom(subkey), authenticator }
}

/** RFC 4120 §3.3.2: the whole name of the service, and its key. No other key of the realm is ever tried. */
async function openTicket({ ticket }: ApReq, service: Account): Promise<EncTicketPart> {
  // check: K43
  if (!service.principal.equals(principalOf(ticket.sname, ticket.realm))) throw new Refusal(ERROR.KRB_AP_ERR_NOT_US)
  const { etype, kvno, cipher } = ticket.encPart
  if (kvno !== undefined && kvno !== service.kvno) throw new Refusal(ERROR.KRB_AP_ERR_BADKEYVER) // RFC 4120 §3.2.3
  const key = service.key(etype)
  if (key === undefined) throw new Refusal(ERROR.KRB_AP_ERR_NOKEY)
  const serviceKey = await key
  return opened(() => decodeEncTicketPart(serviceKey.decrypt(KEY_USAGE.TICKET, cipher)))
}

function openAuthenticator({ authenticator }: ApReq, key: Key, usage: number): Authenticator {
  if (authenticator.etype !== key.enctype) throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
  return opened(() => decodeAuthenticator(key.decrypt(usage, authenticator.cipher)))
}

/** RFC 4120 §3.2.3: what does not decrypt to the right message has been altered. */
export function opened<T>(open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (error instanceof VerificationError || error instanceof MalformedError) {
      throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    }
    throw error
  }
}

/** RFC 4120 §3.2.3. The end is exact: it was set by the clock that it is now compared with. */
function checkTimes({ flags, authtime, starttime = authtime, endtime }: EncTicketPart, now: number): void {
  if ((flags & TICKET_FLAG.invalid) !== 0 || starttime > now + CLOCK_SKEW) throw new Refusal(ERROR.KRB_AP_ERR_TKT_NYV)
  if (endtime <= now) throw new Refusal(ERROR.KRB_AP_ERR_TKT_EXPIRED)
}

function keyFrom({ keytype, keyvalue }: EncryptionKey): Key {
  if (!isSupportedEnctype(keytype)) throw new Refusal(ERROR.KDC_ERR_ETYPE_NOSUPP)
  return new Key(keytype, keyvalue)
}
