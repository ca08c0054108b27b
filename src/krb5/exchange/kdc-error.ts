import { quote } from '../../bytes/text.ts'
import { KdcError } from '../../errors.ts'
import { ERROR, type KrbError, kdcErrorName, principalOf } from '../messages/index.ts'

/** A KDC's refusal as an error that says what to do. Its text is quoted, never obeyed: a KRB-ERROR is unauthenticated. */
export function kdcRefused(error: KrbError, what: string, now: number): KdcError {
  const name = kdcErrorName(error.errorCode)
  const text = error.eText === undefined || error.eText === '' ? '' : `, saying ${quote(error.eText)}`
  return new KdcError(error.errorCode, name, `the KDC of ${quote(error.realm)} refused ${what}: ${name}${text}`, {
    hint: hintFor(error, now),
  })
}

function hintFor(error: KrbError, now: number): string | undefined {
  const service = quote(principalOf(error.sname, error.realm).toString())
  switch (error.errorCode) {
    case ERROR.KDC_ERR_NAME_EXP:
      return 'The account has expired: ask the administrator to extend it.'
    case ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN:
      return 'The KDC has no such user: check the spelling, upper and lower case, and the realm.'
    case ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN:
      return unknownServiceHint(error, service)
    case ERROR.KDC_ERR_CLIENT_REVOKED:
      return 'The account is locked, disabled or expired: ask the administrator.'
    case ERROR.KDC_ERR_KEY_EXPIRED:
      return 'The password has expired: change it with spnego passwd (kpasswd) or credentials.changePassword, then log in again.'
    case ERROR.KDC_ERR_PREAUTH_FAILED:
      return 'Wrong password, or a keytab older than the last password change.'
    case ERROR.KDC_ERR_PREAUTH_REQUIRED:
      return 'The account has no AES key, or the KDC wants another pre-authentication than an encrypted timestamp.'
    case ERROR.KDC_ERR_ETYPE_NOSUPP:
      return 'Client, service and KDC share no enctype: give the account AES keys (change its password once).'
    case ERROR.KDC_ERR_POLICY:
      return 'The KDC’s policy forbids it: ask the administrator.'
    case ERROR.KDC_ERR_WRONG_REALM:
      return 'The user belongs to another realm: write name@REALM.'
    case ERROR.KRB_AP_ERR_TKT_EXPIRED:
      return 'The ticket has expired: run kinit or spnego login again.'
    case ERROR.KRB_AP_ERR_SKEW:
      return skewHint(error.stime, now)
    default:
      return undefined
  }
}

/** A dotted quad, or an IPv6 address; a host with a port has one colon. */
const ADDRESS = /^\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?$|:.*:/

function unknownServiceHint({ sname }: KrbError, service: string): string {
  const host = sname.components[1] ?? ''
  if (ADDRESS.test(host)) return `The KDC has no ${service}, and services are named by host name: name the host.`
  return `The KDC has no ${service}: add it there, or set targetName to the name that the service has.`
}

/** "clock is 412 s behind the KDC" */
export function skewHint(theirs: number, ours: number): string {
  const seconds = Math.round((theirs - ours) / 1e6)
  const direction = seconds >= 0 ? 'behind' : 'ahead of'
  return `This clock is ${Math.abs(seconds)} s ${direction} the peer’s: synchronise both (NTP).`
}
