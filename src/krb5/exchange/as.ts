import { EMPTY } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { shorten } from '../../bytes/text.ts'
import { enctype, type Key } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import {
  decodeEncKdcRepPart,
  decodeKdcRep,
  decodeKrbError,
  type EncKdcRepPart,
  ERROR,
  encodeKdcReq,
  KDC_OPTION,
  type KdcRep,
  type KdcReqBody,
  KEY_USAGE,
  type KrbError,
  MESSAGE,
  NAME_TYPE,
  PA,
  type PaData,
  Principal,
  readChecksum,
  readMethodData,
  TICKET_FLAG,
} from '../messages/index.ts'
import { defaultSalt, encryptedTimestamp, type KeyHints, keyHints } from '../preauth/encrypted-timestamp.ts'
import { clockOffset } from './clock-offset.ts'
import type { Credential } from './credential.ts'
import { derive, type Exchange, random31, type Source, send } from './effects.ts'
import { kdcRefused } from './kdc-error.ts'
import { type Asked, checkReplyHead, checkReplyPart, mismatch } from './kdc-reply.ts'

/** Most AS-REQs of one login, however often the KDC asks for more. */
export const MAX_ROUNDS = 4
/** Key usage of the checksum over the AS-REQ (RFC 6806 §11). */
const KEY_USAGE_AS_REQ = 56

export interface AsRequest {
  readonly client: Principal
  /** By default the ticket-granting service of the client's realm. */
  readonly server?: Principal | undefined
  /** In order of preference; nothing else is accepted in the reply. */
  readonly enctypes: readonly number[]
  /** How long the ticket shall last, and how long it shall be renewable. Microseconds. */
  readonly lifetime: number
  readonly renewLifetime?: number | undefined
  readonly forwardable?: boolean | undefined
  readonly proxiable?: boolean | undefined
  /** Largest clock difference, in microseconds. */
  readonly clockSkew?: number | undefined
  /** Whether the KDC's clock is followed where ours differs (MIT krb5.conf, kdc_timesync). Default: such a login fails. */
  readonly followClock?: boolean | undefined
  readonly source: Source
}

/** The name of a realm's ticket-granting service (RFC 4120 §7.3). */
export function ticketGrantingService(realm: string, issuer: string = realm): Principal {
  return new Principal(['krbtgt', realm], issuer, NAME_TYPE.NT_SRV_INST)
}

/**
 * The Authentication Service exchange (RFC 4120 §3.1): a request without pre-authentication, then, when the KDC demands it, one with an
 * encrypted timestamp under the key that its ETYPE-INFO2 describes.
 */
export function* asExchange(request: AsRequest): Exchange<Credential> {
  const { client, source } = request
  const asked = askFor(request)
  const random = (length: number) => source.random(length)
  let padata: readonly PaData[] = []
  let cookies: readonly PaData[] = []
  let followed = false
  let known: { readonly key: Key; readonly hints: KeyHints } | undefined
  for (let round = 0; round < MAX_ROUNDS; round++) {
    // RFC 6806 §11: asks the KDC to protect the request itself by a checksum in its reply.
    const wanted = [...padata, { type: PA.REQ_ENC_PA_REP, value: EMPTY }]
    const message = encodeKdcReq({ type: MESSAGE.AS_REQ, padata: wanted, body: asked.body })
    const reply = yield* send(client.realm, message)
    if (reply[0] !== (0x60 | MESSAGE.KRB_ERROR)) {
      return yield* openReply(decodeKdcRep(reply, MESSAGE.AS_REP), { ...asked, now: source.now() }, message, known)
    }

    const error = decodeKrbError(reply)
    const refusal = kdcRefused(error, `a login of ${shorten(client.toString())}`, source.now())
    if (error.errorCode === ERROR.KRB_AP_ERR_SKEW && known !== undefined && request.followClock === true && !followed) {
      // Anybody can send such an error: it moves the time of one timestamp, once. What is kept comes from the sealed reply.
      const offset = clockOffset(error.stime, source.now())
      if (offset === undefined) throw refusal // check: K28
      followed = true
      padata = [...cookies, encryptedTimestamp(known.key, source.now() + offset, random)]
      continue
    }
    // A second demand after a timestamp was sent leads nowhere: the KDC would ask for ever.
    if (error.errorCode !== ERROR.KDC_ERR_PREAUTH_REQUIRED || known !== undefined) throw refusal // check: K15
    const offered = methodData(error)
    const hints = keyHints(offered, request.enctypes, client)
    if (hints === undefined || !offered.some(({ type }) => type === PA.ENC_TIMESTAMP)) throw refusal // check: K16
    known = { hints, key: yield* derive({ ...hints, kvno: undefined }) }
    cookies = offered.filter(({ type }) => type === PA.FX_COOKIE) // RFC 6113 §5.2: returned as it came
    padata = [...cookies, encryptedTimestamp(known.key, source.now(), random)]
  }
  throw mismatch('it asks for one more round, without end')
}

function askFor(request: AsRequest): Asked {
  const { client, source, clockSkew, followClock } = request
  const now = source.now()
  const server = request.server ?? ticketGrantingService(client.realm)
  const renewable = request.renewLifetime !== undefined && request.renewLifetime > 0
  const body: KdcReqBody = {
    kdcOptions:
      (request.forwardable === true ? KDC_OPTION.FORWARDABLE : 0) |
      (request.proxiable === true ? KDC_OPTION.PROXIABLE : 0) |
      (renewable ? KDC_OPTION.RENEWABLE : 0),
    cname: { nameType: client.nameType, components: client.components },
    realm: client.realm,
    sname: { nameType: server.nameType, components: server.components },
    from: undefined,
    till: toSecond(now + request.lifetime),
    rtime: renewable ? toSecond(now + (request.renewLifetime ?? 0)) : undefined,
    nonce: random31(source),
    etype: request.enctypes,
    addresses: undefined,
    encAuthorizationData: undefined,
    additionalTickets: undefined,
  }
  return { body, client, server, now, clockSkew, clockOffset: followClock === true ? 'learn' : 0 }
}

/** KerberosTime has no fraction: what is compared with a reply must have none either. */
export function toSecond(microseconds: number): number {
  return Math.floor(microseconds / 1e6) * 1e6
}

function methodData(error: KrbError): readonly PaData[] {
  if (error.eData === undefined) return []
  const from = new ByteReader(error.eData)
  const found = readMethodData(from, 'METHOD-DATA')
  from.end('METHOD-DATA')
  return found
}

function* openReply(
  reply: KdcRep,
  asked: Asked,
  message: Uint8Array,
  known: { readonly key: Key; readonly hints: KeyHints } | undefined,
): Exchange<Credential> {
  checkReplyHead(reply, asked)
  const key = yield* replyKey(reply, asked, known)
  const plain = openSealed(key, reply, known === undefined)
  const part = decodeEncKdcRepPart(plain, MESSAGE.AS_REP)
  const credential = checkReplyPart(reply, part, asked)
  checkRequestProtection(part, key, message)
  return credential
}

/** Where no proof was asked for, a wrong password shows only here. */
function openSealed(key: Key, { encPart }: KdcRep, unproved: boolean): Uint8Array {
  try {
    return key.decrypt(KEY_USAGE.AS_REP, encPart.cipher)
  } catch (cause) {
    if (!unproved || !(cause instanceof VerificationError)) throw cause
    throw new VerificationError('INTEGRITY_FAILED', 'the KDC’s reply does not open under this key', {
      cause,
      hint: 'Wrong password, or a keytab older than the last password change.',
    })
  }
}

/** The reply may name its own salt and iterations (RFC 4120 §5.2.7.5); a key made for pre-authentication serves when they agree. */
function* replyKey(
  reply: KdcRep,
  { body, client }: Asked,
  known: { readonly key: Key; readonly hints: KeyHints } | undefined,
): Exchange<Key> {
  const { etype, kvno } = reply.encPart
  const hints = keyHints(
    reply.padata,
    [etype].filter((one) => body.etype.includes(one)),
    client,
  ) ??
    known?.hints ?? { enctype: etype, salt: defaultSalt(client), iterations: enctype(etype).defaultIterations }
  if (hints.enctype !== etype) throw mismatch('its enctype is not the one that its hints name')
  const same =
    known !== undefined &&
    known.hints.enctype === hints.enctype &&
    known.hints.salt === hints.salt &&
    known.hints.iterations === hints.iterations
  return same ? known.key : yield* derive({ ...hints, kvno })
}

/** RFC 6806 §11: with the `enc-pa-rep` flag the KDC has checksummed the request, so nobody altered its options on the way. */
function checkRequestProtection(part: EncKdcRepPart, key: Key, message: Uint8Array): void {
  if ((part.flags & TICKET_FLAG['enc-pa-rep']) === 0) return
  const found = part.encryptedPaData?.find(({ type }) => type === PA.REQ_ENC_PA_REP)
  if (found === undefined) throw mismatch('it promises a checksum of the request and has none')
  const from = new ByteReader(found.value)
  const { checksum } = readChecksum(from, 'PA-REQ-ENC-PA-REP')
  from.end('PA-REQ-ENC-PA-REP')
  try {
    key.verifyChecksum(KEY_USAGE_AS_REQ, message, checksum)
  } catch (cause) {
    throw new VerificationError('REPLY_MISMATCH', 'the request was altered on its way to the KDC', { cause })
  }
}
