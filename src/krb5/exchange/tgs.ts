import { CONFOUNDER_BYTES, enctype, Key } from '../../crypto/index.ts'
import {
  decodeEncKdcRepPart,
  decodeKdcRep,
  decodeKrbError,
  encodeApReq,
  encodeAuthenticator,
  encodeKdcReq,
  encodeKdcReqBody,
  KDC_OPTION,
  type KdcReqBody,
  KEY_USAGE,
  MESSAGE,
  PA,
  type Principal,
  TICKET_FLAG,
} from '../messages/index.ts'
import type { Credential } from './credential.ts'
import { type Exchange, random31, type Source, send } from './effects.ts'
import { kdcRefused } from './kdc-error.ts'
import { checkReplyHead, checkReplyPart } from './kdc-reply.ts'

export interface TgsRequest {
  readonly tgt: Credential
  /** In the realm of the ticket-granting ticket. */
  readonly server: Principal
  readonly enctypes: readonly number[]
  readonly clockSkew?: number | undefined
  readonly source: Source
}

/**
 * The Ticket-Granting Service exchange (RFC 4120 §3.3) within one realm: an AP-REQ with the ticket-granting ticket, whose authenticator has
 * a checksum of the request and a subkey for the reply.
 */
export function* tgsExchange(request: TgsRequest): Exchange<Credential> {
  const { tgt, server, source, clockSkew } = request
  const body = askFor(request)
  const rawBody = encodeKdcReqBody(body)
  const subkey = newSubkey(tgt.sessionKey.enctype, source)
  const padata = [{ type: PA.TGS_REQ, value: authenticate(request, rawBody, subkey) }]
  const reply = yield* send(server.realm, encodeKdcReq({ type: MESSAGE.TGS_REQ, padata, body }, rawBody))
  const now = source.now()
  if (reply[0] === (0x60 | MESSAGE.KRB_ERROR)) {
    throw kdcRefused(decodeKrbError(reply), `a ticket for ${server.toString()}`, now)
  }

  const decoded = decodeKdcRep(reply, MESSAGE.TGS_REP)
  // The reply is under the subkey of our authenticator (RFC 4120 §3.3.3), whose enctype is the session key's.
  const asked = { body, client: tgt.client, server, now, clockSkew }
  checkReplyHead(decoded, { ...asked, body: { ...body, etype: [subkey.enctype] } })
  const plain = subkey.decrypt(KEY_USAGE.TGS_REP_SUBKEY, decoded.encPart.cipher)
  return checkReplyPart(decoded, decodeEncKdcRepPart(plain, MESSAGE.TGS_REP), asked)
}

function askFor({ tgt, server, enctypes, source }: TgsRequest): KdcReqBody {
  const forwardable = (tgt.flags & TICKET_FLAG.forwardable) !== 0
  return {
    kdcOptions: forwardable ? KDC_OPTION.FORWARDABLE : 0,
    cname: undefined,
    realm: server.realm,
    sname: { nameType: server.nameType, components: server.components },
    from: undefined,
    till: tgt.endTime,
    rtime: undefined,
    nonce: random31(source),
    etype: enctypes,
    addresses: undefined,
    encAuthorizationData: undefined,
    additionalTickets: undefined,
  }
}

function authenticate({ tgt, source }: TgsRequest, rawBody: Uint8Array, subkey: Key): Uint8Array {
  const key = tgt.sessionKey
  const plain = encodeAuthenticator({
    crealm: tgt.client.realm,
    cname: tgt.client,
    cksum: {
      type: enctype(key.enctype).checksumType,
      checksum: key.checksum(KEY_USAGE.TGS_REQ_AUTHENTICATOR_CHECKSUM, rawBody),
    },
    ctime: source.now(),
    subkey: { keytype: subkey.enctype, keyvalue: subkey.toBytes() },
    seqNumber: undefined,
    authorizationData: undefined,
  })
  const cipher = key.encrypt(KEY_USAGE.TGS_REQ_AUTHENTICATOR, plain, source.random(CONFOUNDER_BYTES))
  return encodeApReq({
    apOptions: 0,
    ticket: tgt.ticket,
    authenticator: { etype: key.enctype, kvno: undefined, cipher },
  })
}

/** A fresh random key: for AES any octets are one (RFC 3962 §6 random-to-key, RFC 8009 §3). */
export function newSubkey(etype: number, source: Source): Key {
  return new Key(etype, source.random(enctype(etype).keyBytes))
}
