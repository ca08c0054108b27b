import { ERROR, KDC_OPTION, type KdcReq, KEY_USAGE, MESSAGE, Principal, TICKET_FLAG } from '../krb5/messages/index.ts'
import { mergeAuthorizationData } from './authorization.ts'
import type { Account } from './database.ts'
import { Refusal } from './krb-error.ts'
import { derivedTerms, has, OPTION } from './options.ts'
import type { Replays } from './replays.ts'
import { verifyTgsRequest } from './tgs-request.ts'
import { chooseEnctype, encodeReply, type Kdc, lookUp } from './tickets.ts'

/** RFC 4120 §7.3. */
export function ticketGrantingService(realm: string): Principal {
  return new Principal(['krbtgt', realm], realm)
}

/**
 * The Ticket-Granting Service (RFC 4120 §3.3.3): a ticket for a service, or a forwarded or renewed ticket-granting ticket, for whoever
 * shows a ticket-granting ticket of this realm.
 *
 * @throws {Refusal}
 */
export async function answerTgsReq(
  kdc: Kdc,
  request: KdcReq & { readonly rawBody: Uint8Array },
  replays: Replays,
): Promise<Uint8Array> {
  const { body } = request
  const service = kdc.database.find(ticketGrantingService(kdc.realm))
  if (service === undefined) throw new Refusal(ERROR.KDC_ERR_SVC_UNAVAILABLE)
  const verified = await verifyTgsRequest(kdc, request, service, replays)
  const { ticket: tgt, sessionKey, subkey } = verified

  const server = lookUp(kdc, body.sname, body.realm, ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN)
  checkServer(server, service, request)
  const moved = has(body, KDC_OPTION.FORWARDED | OPTION.PROXY)
  const terms = derivedTerms(body, kdc.now(), tgt)
  const grant = {
    ...terms,
    flags: terms.flags | (server.okAsDelegate ? TICKET_FLAG['ok-as-delegate'] : 0),
    client: tgt.cname,
    clientRealm: tgt.crealm,
    server,
    sessionEnctype: chooseEnctype(body, server),
    addresses: moved ? body.addresses : tgt.caddr, // RFC 4120 §3.3.3
    authorizationData: mergeAuthorizationData(body.encAuthorizationData, verified),
  }
  return encodeReply(kdc, body, grant, {
    type: MESSAGE.TGS_REP,
    key: subkey ?? sessionKey, // RFC 4120 §3.3.3
    usage: subkey === undefined ? KEY_USAGE.TGS_REP_SESSION_KEY : KEY_USAGE.TGS_REP_SUBKEY,
    kvno: undefined,
    padata: [],
    encryptedPaData: undefined,
  })
}

function checkServer(server: Account, service: Account, { body }: KdcReq): void {
  const isTgt = server === service
  // RFC 4120 §3.3.3: a renewed ticket is for whom it was.
  if (has(body, KDC_OPTION.RENEW) && !isTgt) throw new Refusal(ERROR.KDC_ERR_SERVER_NOMATCH)
  // RFC 4120 §2.5: a proxy is for one service.
  if (has(body, OPTION.PROXY) && isTgt) throw new Refusal(ERROR.KDC_ERR_BADOPTION)
}
