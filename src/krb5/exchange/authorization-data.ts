import { ByteReader } from '../../bytes/reader.ts'
import { malformed, VerificationError } from '../../errors.ts'
import { AUTHORIZATION_DATA, type AuthorizationData, readAuthorizationData } from '../messages/index.ts'

/** Deepest nesting of containers. */
export const MAX_AUTHORIZATION_NESTING = 8

/**
 * What an acceptor may ignore or knows how to use. AND-OR and MANDATORY-FOR-KDC are not among them: RFC 4120 §5.2.6.3 wants the first
 * evaluated, §5.2.6.4 has a server refuse the second.
 */
const UNDERSTOOD: ReadonlySet<number> = new Set([
  AUTHORIZATION_DATA.IF_RELEVANT,
  AUTHORIZATION_DATA.KDC_ISSUED,
  AUTHORIZATION_DATA.CAMMAC,
  AUTHORIZATION_DATA.AUTHENTICATION_INDICATOR,
  AUTHORIZATION_DATA.WIN2K_PAC,
  AUTHORIZATION_DATA.ETYPE_NEGOTIATION,
  // Windows sends KERB-LOCAL outside of AD-IF-RELEVANT (MS-KILE §2.2.4).
  AUTHORIZATION_DATA.TOKEN_RESTRICTIONS,
  AUTHORIZATION_DATA.LOCAL,
  AUTHORIZATION_DATA.AP_OPTIONS,
  AUTHORIZATION_DATA.TARGET_PRINCIPAL,
])

/** Refuses what is critical and not understood (RFC 4120 §5.2.6): an element outside of every AD-IF-RELEVANT. */
export function checkCritical(data: AuthorizationData | undefined, where: string): void {
  for (const { adType } of data ?? []) {
    if (!UNDERSTOOD.has(adType)) throw refused(adType, where) // check: S53
  }
}

/** All elements of a kind, also those inside AD-IF-RELEVANT containers. */
export function findAuthorizationData(data: AuthorizationData | undefined, adType: number, depth = 0): Uint8Array[] {
  if (depth > MAX_AUTHORIZATION_NESTING) throw malformed('AuthorizationData: nested too deep') // check: S53
  return (data ?? []).flatMap((one) => {
    if (one.adType === adType) return [one.adData]
    if (one.adType !== AUTHORIZATION_DATA.IF_RELEVANT) return []
    return findAuthorizationData(readContainer(one.adData), adType, depth + 1)
  })
}

function readContainer(bytes: Uint8Array): AuthorizationData {
  const from = new ByteReader(bytes)
  const data = readAuthorizationData(from, 'AD-IF-RELEVANT')
  from.end('AD-IF-RELEVANT')
  return data
}

function refused(adType: number, where: string): VerificationError {
  return new VerificationError(
    'AUTHORIZATION_DATA_REFUSED',
    `the ${where} carries authorization data of type ${adType}, which is critical and not understood`,
  )
}
