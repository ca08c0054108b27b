import { shorten } from '../../bytes/text.ts'
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
import { checkReplyHead, checkReplyPart, mismatch } from './kdc-reply.ts'

export interface TgsRequest {
  readonly tgt: Credential
  /** In the realm of the ticket-granting ticket. */
  readonly server: Principal
  readonly enctypes: readonly number[]
  readonly clockSkew?: number | undefined
  readonly source: Source
}

/** What a request asks for beside a ticket for `server`, and what the new ticket may be. */
interface Wish {
  readonly what: string
  readonly kdcOptions: number
  /** Latest end, and latest end of renewal where that is a rule. Microseconds. */
  readonly till: number
  readonly renewTill?: number | undefined
  /** Flags that the new ticket must have. */
  readonly flags: number
}

/** A ticket for a service (RFC 4120 §3.3) within one realm. */
export function tgsExchange(request: TgsRequest): Exchange<Credential> {
  const { tgt, server } = request
  const kdcOptions = (tgt.flags & TICKET_FLAG.forwardable) !== 0 ? KDC_OPTION.FORWARDABLE : 0
  return exchange(request, {
    what: `a ticket for ${shorten(server.toString())}`,
    kdcOptions,
    till: tgt.endTime,
    flags: 0,
  })
}

/** Options that have the number of a ticket flag (RFC 4120 §5.4.1): a new ticket has a flag of these only when the request asks for it. */
const KEPT_FLAGS = KDC_OPTION.FORWARDABLE | KDC_OPTION.PROXIABLE | KDC_OPTION.ALLOW_POSTDATE | KDC_OPTION.RENEWABLE

/** As MIT krb5 asks: for all that the ticket at hand may be, and for nothing else, which the KDC would refuse (RFC 4120 §3.3.3). */
function keptFlags({ flags }: Credential): number {
  return flags & KEPT_FLAGS // check: K80
}

/**
 * The same ticket once more, for as long as it was, until its renewal ends (RFC 4120 §2.3, §3.3.3). The new one takes the old one's place in
 * the user's cache, so it is as forwardable, proxiable and renewable as that one.
 */
export function renewExchange(request: Omit<TgsRequest, 'server'>): Exchange<Credential> {
  const { tgt } = request
  const till = tgt.renewTill ?? tgt.endTime
  const kdcOptions = KDC_OPTION.RENEW | keptFlags(tgt)
  return exchange(
    { ...request, server: tgt.server },
    { what: 'to renew the ticket', kdcOptions, till, renewTill: till, flags: 0 },
  )
}

/** A ticket-granting ticket without addresses that another host may use (RFC 4120 §2.6, §3.3.3). */
export function forwardExchange(request: Omit<TgsRequest, 'server'>): Exchange<Credential> {
  const { tgt } = request
  const kdcOptions = KDC_OPTION.FORWARDED | keptFlags(tgt)
  const flags = TICKET_FLAG.forwarded
  const wish = { what: 'a ticket to forward', kdcOptions, till: tgt.endTime, flags }
  return exchange({ ...request, server: tgt.server }, wish)
}

/** RFC 4120 §3.3: an AP-REQ with the ticket-granting ticket, whose authenticator has a checksum of the request and a subkey for the reply. */
function* exchange(request: TgsRequest, wish: Wish): Exchange<Credential> {
  const { tgt, server, source, clockSkew } = request
  const body = askFor(request, wish)
  const rawBody = encodeKdcReqBody(body)
  const subkey = newSubkey(tgt.sessionKey.enctype, source)
  const padata = [{ type: PA.TGS_REQ, value: authenticate(request, rawBody, subkey) }]
  const reply = yield* send(server.realm, encodeKdcReq({ type: MESSAGE.TGS_REQ, padata, body }, rawBody))
  const now = source.now()
  if (reply[0] === (0x60 | MESSAGE.KRB_ERROR)) throw kdcRefused(decodeKrbError(reply), wish.what, now)

  const decoded = decodeKdcRep(reply, MESSAGE.TGS_REP)
  // The reply is under the subkey of our authenticator (RFC 4120 §3.3.3), whose enctype is the session key's.
  const asked = { body, client: tgt.client, server, now, clockSkew, clockOffset: tgt.clockOffset }
  checkReplyHead(decoded, { ...asked, body: { ...body, etype: [subkey.enctype] } })
  const plain = subkey.decrypt(KEY_USAGE.TGS_REP_SUBKEY, decoded.encPart.cipher)
  const credential = checkReplyPart(decoded, decodeEncKdcRepPart(plain, MESSAGE.TGS_REP), asked)
  const { renewTill = 0, flags } = credential
  if (renewTill > (wish.renewTill ?? Number.POSITIVE_INFINITY)) throw mismatch('it is renewable for longer than before') // check: K09
  if ((flags & wish.flags) !== wish.flags) throw mismatch('the ticket is not one to forward') // check: C44
  return credential
}

function askFor({ tgt, server, enctypes, source }: TgsRequest, { kdcOptions, till }: Wish): KdcReqBody {
  return {
    kdcOptions,
    cname: undefined,
    realm: server.realm,
    sname: { nameType: server.nameType, components: server.components },
    from: undefined,
    till,
    rtime: (kdcOptions & KDC_OPTION.RENEWABLE) === 0 ? undefined : tgt.renewTill, // RFC 4120 §5.4.1
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
    ctime: source.now() + tgt.clockOffset,
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
