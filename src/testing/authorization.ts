import { ByteReader } from '../bytes/reader.ts'
import { KerberosError } from '../errors.ts'
import {
  AUTHORIZATION_DATA,
  type AuthorizationData,
  type AuthorizationElement,
  type EncryptedData,
  ERROR,
  readAuthorizationData,
} from '../krb5/messages/index.ts'
import type { VerifiedApReq } from './ap-request.ts'
import { Refusal } from './krb-error.ts'

/** Usages of enc-authorization-data (RFC 4120 §7.5.1). */
const KEY_USAGE_SESSION_KEY = 4
const KEY_USAGE_SUBKEY = 5

/** What only a KDC may say (RFC 4120 §5.2.6.2, RFC 7751 §3, RFC 8129 §3, MS-PAC §3). */
const BY_THE_KDC: ReadonlySet<number> = new Set([
  AUTHORIZATION_DATA.KDC_ISSUED,
  AUTHORIZATION_DATA.CAMMAC,
  AUTHORIZATION_DATA.AUTHENTICATION_INDICATOR,
  AUTHORIZATION_DATA.WIN2K_PAC,
])

/** Restrictions that the client adds, then those of its ticket (RFC 4120 §3.3.3). */
export function mergeAuthorizationData(
  sealed: EncryptedData | undefined,
  { ticket, sessionKey, subkey }: VerifiedApReq,
): AuthorizationData | undefined {
  const inherited = ticket.authorizationData
  if (sealed === undefined) return inherited

  const key = subkey ?? sessionKey
  const usage = subkey === undefined ? KEY_USAGE_SESSION_KEY : KEY_USAGE_SUBKEY
  if (sealed.etype !== key.enctype) throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
  try {
    const added = decode(key.decrypt(usage, sealed.cipher)).filter((one) => !speaksForTheKdc(one))
    const all = [...added, ...(inherited ?? [])]
    return all.length === 0 ? undefined : all
  } catch (error) {
    if (error instanceof KerberosError) throw new Refusal(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    throw error
  }
}

/** Itself, or somewhere within a container that a service looks into (RFC 4120 §5.2.6.1). */
function speaksForTheKdc({ adType, adData }: AuthorizationElement): boolean {
  if (adType === AUTHORIZATION_DATA.IF_RELEVANT) return decode(adData).some(speaksForTheKdc)
  return BY_THE_KDC.has(adType) // check: K44
}

function decode(bytes: Uint8Array): AuthorizationData {
  const from = new ByteReader(bytes)
  const value = readAuthorizationData(from, 'AuthorizationData')
  from.end('AuthorizationData')
  return value
}
