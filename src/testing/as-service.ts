import { EMPTY, uint32be } from '../bytes/bytes.ts'
import { ByteReader } from '../bytes/reader.ts'
import { enctype, type Key } from '../crypto/index.ts'
import { KerberosError } from '../errors.ts'
import { changePasswordService } from '../krb5/extensions/kpasswd-messages.ts'
import {
  decodePaEncTsEnc,
  ERROR,
  type EtypeInfo2Entry,
  encodeChecksum,
  encodeEtypeInfo2,
  encodeMethodData,
  type KdcReq,
  type KdcReqBody,
  KEY_USAGE,
  MESSAGE,
  PA,
  type PaData,
  readEncryptedData,
  TICKET_FLAG,
} from '../krb5/messages/index.ts'
import type { Account } from './database.ts'
import { Refusal } from './krb-error.ts'
import { initialTerms } from './options.ts'
import { CLOCK_SKEW, chooseEnctype, encodeReply, type Kdc, lookUp } from './tickets.ts'

/** Usage of the checksum over an AS-REQ (RFC 6806 §11). */
const KEY_USAGE_AS_REQ = 56

/**
 * The Authentication Service (RFC 4120 §3.1.3): a ticket for whoever knows the key of the account. Everybody has to prove it with an
 * encrypted timestamp first.
 *
 * @param raw the request as received: PA-REQ-ENC-PA-REP covers it
 * @throws {Refusal}
 */
export async function answerAsReq(kdc: Kdc, { padata, body }: KdcReq, raw: Uint8Array): Promise<Uint8Array> {
  const client = lookUp(kdc, body.cname, body.realm, ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN)
  const server = lookUp(kdc, body.sname, body.realm, ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN)
  const replyEnctype = chooseEnctype(body, client)
  const sessionEnctype = chooseEnctype(body, server)
  const now = kdc.now()
  if (kdc.faults.has('account-locked')) throw new Refusal(ERROR.KDC_ERR_CLIENT_REVOKED)
  const terms = initialTerms(body, now)
  await preauthenticate(kdc, client, padata, body, now)
  const isChange = server.principal.equals(changePasswordService(kdc.realm))
  if (client.passwordExpired && !isChange) throw new Refusal(ERROR.KDC_ERR_KEY_EXPIRED) // RFC 4120 §3.1.3

  const key = await keyOf(client, replyEnctype)
  const protection = padata.some(({ type }) => type === PA.REQ_ENC_PA_REP) ? [requestChecksum(key, raw)] : undefined
  const flags = terms.flags | (protection === undefined ? 0 : TICKET_FLAG['enc-pa-rep'])
  const grant = {
    ...terms,
    flags,
    client: body.cname ?? client.principal,
    clientRealm: client.principal.realm,
    server,
    sessionEnctype,
    addresses: body.addresses,
    authorizationData: undefined,
  }
  return encodeReply(kdc, body, grant, {
    type: MESSAGE.AS_REP,
    key,
    usage: KEY_USAGE.AS_REP,
    kvno: client.kvno,
    padata: [etypeInfo2(kdc, client, [replyEnctype])],
    encryptedPaData: protection,
  })
}

/** PA-ENC-TIMESTAMP (RFC 4120 §5.2.7.2): the present time, under any key of the account that the request lists. */
async function preauthenticate(
  kdc: Kdc,
  client: Account,
  padata: readonly PaData[],
  body: KdcReqBody,
  now: number,
): Promise<void> {
  const offered = padata.find(({ type }) => type === PA.ENC_TIMESTAMP)
  if (offered === undefined || kdc.faults.has('preauth-forever')) throw preauthRequired(kdc, client, body)

  const from = new ByteReader(offered.value)
  const { etype, cipher } = readEncryptedData(from, 'PA-ENC-TIMESTAMP')
  from.end('PA-ENC-TIMESTAMP')
  if (!body.etype.includes(etype)) throw new Refusal(ERROR.KDC_ERR_ETYPE_NOSUPP)
  const time = openTimestamp(await keyOf(client, etype), cipher)
  // RFC 4120 §3.1.3: a difference beyond the skew is told by its own number, so that the client can say which clock is wrong.
  if (Math.abs(time - now) > CLOCK_SKEW) throw new Refusal(ERROR.KRB_AP_ERR_SKEW)
}

function openTimestamp(key: Key, cipher: Uint8Array): number {
  try {
    return decodePaEncTsEnc(key.decrypt(KEY_USAGE.PA_ENC_TIMESTAMP, cipher))
  } catch (error) {
    if (error instanceof KerberosError) throw new Refusal(ERROR.KDC_ERR_PREAUTH_FAILED) // RFC 4120 §3.1.3
    throw error
  }
}

function keyOf(client: Account, etype: number): Promise<Key> {
  const key = client.key(etype)
  if (key === undefined) throw new Refusal(ERROR.KDC_ERR_ETYPE_NOSUPP)
  return key
}

/** METHOD-DATA: how the key is made, and that a timestamp under it will do (RFC 4120 §5.9.1). */
function preauthRequired(kdc: Kdc, client: Account, { etype }: KdcReqBody): Refusal {
  const known = etype.filter((id) => client.enctypes.includes(id))
  const methods = [etypeInfo2(kdc, client, [...new Set(known)]), { type: PA.ENC_TIMESTAMP, value: EMPTY }]
  return new Refusal(ERROR.KDC_ERR_PREAUTH_REQUIRED, undefined, encodeMethodData(methods))
}

/** One entry for each key, in the client's order (RFC 4120 §5.2.7.5). */
function etypeInfo2(kdc: Kdc, { salt }: Account, enctypes: readonly number[]): PaData {
  const entries = enctypes.map(
    (etype): EtypeInfo2Entry => ({ etype, salt, s2kparams: uint32be(enctype(etype).defaultIterations) }),
  )
  return { type: PA.ETYPE_INFO2, value: encodeEtypeInfo2(kdc.faults.hints(entries)) }
}

/** RFC 6806 §11: tells the client, under the reply key, which request arrived. */
function requestChecksum(key: Key, raw: Uint8Array): PaData {
  const checksum = key.checksum(KEY_USAGE_AS_REQ, raw)
  const value = encodeChecksum({ type: enctype(key.enctype).checksumType, checksum })
  return { type: PA.REQ_ENC_PA_REP, value }
}
