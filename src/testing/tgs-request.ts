import { equal } from '../bytes/bytes.ts'
import { enctype, type Key } from '../crypto/index.ts'
import { type Authenticator, decodeApReq, ERROR, type KdcReq, KEY_USAGE, PA } from '../krb5/messages/index.ts'
import { type VerifiedApReq, verifyApReq } from './ap-request.ts'
import type { Account } from './database.ts'
import { Refusal } from './krb-error.ts'
import type { Replays } from './replays.ts'
import type { Kdc } from './tickets.ts'

/**
 * Checks the PA-TGS-REQ of a request (RFC 4120 §3.3.2): an AP-REQ with a ticket-granting ticket of this realm, for this very body.
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
): Promise<VerifiedApReq> {
  const offered = request.padata.find(({ type }) => type === PA.TGS_REQ)
  if (offered === undefined) throw new Refusal(ERROR.KDC_ERR_PADATA_TYPE_NOSUPP)
  const check = (authenticator: Authenticator, key: Key) => checkBody(authenticator, key, request.rawBody)
  const apReq = decodeApReq(offered.value)
  return verifyApReq(apReq, service, KEY_USAGE.TGS_REQ_AUTHENTICATOR, kdc.now(), replays, check)
}

/** RFC 4120 §3.3.2: a checksum of the type that goes with the session key, over the octets that came. */
function checkBody({ cksum }: Authenticator, key: Key, rawBody: Uint8Array): void {
  if (cksum === undefined || cksum.type !== enctype(key.enctype).checksumType) {
    throw new Refusal(ERROR.KRB_AP_ERR_INAPP_CKSUM)
  }
  const expected = key.checksum(KEY_USAGE.TGS_REQ_AUTHENTICATOR_CHECKSUM, rawBody)
  if (!equal(expected, cksum.checksum)) throw new Refusal(ERROR.KRB_AP_ERR_MODIFIED)
}
