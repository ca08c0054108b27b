/** A replica that does not know a new password or user yet: the realm's primary KDC has the last word (MIT krb5.conf, primary_kdc). */
import { KdcError, NetworkError } from '../errors.ts'
import type { Route } from './client.ts'
import type { Krb5Config, ServerAddress } from './formats/index.ts'
import { ERROR } from './messages/index.ts'

/** Refusals that are over at the primary KDC before a replica hears of it: a changed password, a new user, an extended one. */
const LAGGING: readonly number[] = [
  ERROR.KDC_ERR_PREAUTH_FAILED,
  ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN,
  ERROR.KDC_ERR_KEY_EXPIRED,
]

/**
 * Runs a login, and once more at the primary KDC of krb5.conf when another KDC refused it. A wrong password is sent twice at the most. A
 * primary KDC that cannot be reached leaves the first refusal.
 */
export async function withPrimaryKdc<T>(
  config: Krb5Config,
  realm: string,
  run: (route: Route) => Promise<T>,
): Promise<T> {
  let answeredBy: ServerAddress | undefined
  try {
    return await run({ onAnswer: (address) => (answeredBy = address) })
  } catch (refusal) {
    if (!(refusal instanceof KdcError && LAGGING.includes(refusal.errorCode))) throw refusal // check: K90
    const primaries = config.primaryKdcs(realm)
    if (primaries.length === 0 || primaries.some((one) => isSame(one, answeredBy))) throw refusal // check: K90
    return run({ only: primaries }).catch((error) => {
      throw error instanceof NetworkError ? refusal : error // check: K90
    })
  }
}

function isSame(one: ServerAddress, other: ServerAddress | undefined): boolean {
  return one.host.toLowerCase() === other?.host.toLowerCase() && one.port === other.port
}
