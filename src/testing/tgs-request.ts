import { equal } from '../bytes/bytes.ts'
import { enctype, isSupportedEnctype, Key } from '../crypto/index.ts'
import { MalformedError, VerificationError } from '../errors.ts'
import {
  type ApReq,
  type Authenticator,
  decodeApReq,
  decodeAuthenticator,
  decodeEncTicketPart,
  type EncryptionKey,
  type EncTicketPart,
  ERROR,
  type KdcReq,
  KEY_USAGE,
  PA,
  principalOf,
  TICKET_FLAG,
} from '../krb5/messages/index.ts'
import type { Account } from './database.ts'
import { Refusal } from './krb-error.ts'
import type { Replays } from './replays.ts'
import { CLOCK_SKEW, type Kdc } from './tickets.ts'

/** A TGS-REQ whose sender is known. */
export interface VerifiedTgsRequest {
  readonly tgt: EncTicketPart
  readonly sessionKey: Key
  readonly subkey: Key | undefined
}

/**
 * Checks the PA-TGS-REQ of a request (RFC 4120 §3.3.2, §3.2.3): a ticket-granting ticket of this realm, an authenticator by whoever
 * holds its session key, made now, not seen before, and for this very body.
 *
 * @param rawBody the KDC-REQ-BODY as received
 * @param service the account of the ticket-granting service
 * @throws {Refusal}
 */
export async function verifyTgsRequest(
  kdc: Kdc,
  request: KdcReq & { readonly rawBody: Uint8Array },
  service: Account,
  replays: Replays,
): Promise<VerifiedTgsRequest> {
  const offered = request.padata.find(({ type }) => type === PA.TGS_REQ)
  if (offered === undefined) throw new Refusal(ERROR.KDC_ERR_PADATA_TYPE_NOSUPP)
  const apReq = decodeApReq(offered.value)
  const tgt = await openTicket(apReq, service)
  const sessionKey = keyFrom(tgt.key)
  const authenticator = openAuthenticator(apReq, sessionKey)

  const { cname, crealm, ctime, subkey } = authenticator
  const isSame = principalOf(cname, crealm).equals(principalOf(tgt.cname, tgt.crealm))
  if (!isSame) throw new Refusal(ERROR.KRB_AP_ERR_BADMATCH) // RFC 4120 §3.2.3
  checkBody(authenticator, sessionKey, request.rawBody)
  const now = kdc.now()
  if (Math.abs(ctime - now) > CLOCK_SKEW) throw new Refusal(ERROR.KRB_AP_ERR_SKEW) // RFC 4120 §3.2.3
  checkTimes(tgt, now)
  // RFC 4120 §3.2.3. Last: what was refused for another reason takes no room.
  if (!replays.isNew(apReq.authenticator.cipher, now)) throw new Refusal(ERROR.KRB_AP_ERR_REPEAT)
  return { tgt, sessionKey, subkey: subkey === undefined ? undefined : keyFrom(subkey) }
}

/** RFC 4120 §3.3.2: the whole name of the ticket-granting service, and its key. No other key of the realm is ever tried. */
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

function openAuthenticator({ authenticator }: ApReq, key: Key): Authenticator {
  if (authenticator.etype !== key.enctype) throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
  return opened(() => decodeAuthenticator(key.decrypt(KEY_USAGE.TGS_REQ_AUTHENTICATOR, authenticator.cipher)))
}

/** RFC 4120 §3.2.3: what does not decrypt to the right message has been altered. */
function opened<T>(open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (error instanceof VerificationError || error instanceof MalformedError) {
      throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    }
    throw error
  }
}

/** RFC 4120 §3.3.2: a checksum of the type that goes with the session key, over the octets that came. */
function checkBody({ cksum }: Authenticator, key: Key, rawBody: Uint8Array): void {
  if (cksum === undefined || cksum.type !== enctype(key.enctype).checksumType) {
    throw new Refusal(ERROR.KRB_AP_ERR_INAPP_CKSUM)
  }
  const expected = key.checksum(KEY_USAGE.TGS_REQ_AUTHENTICATOR_CHECKSUM, rawBody)
  if (!equal(expected, cksum.checksum)) throw new Refusal(ERROR.KRB_AP_ERR_MODIFIED)
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
