import { booleanOf, integerIn, invalid, ownOptions, rejectUnknown, stringOf } from '../options.ts'

const MAX_SECONDS = 86_400

export interface BasicOptions {
  /** What a browser shows beside the question for the password (RFC 7617 §2). Default `Kerberos`. */
  readonly realm?: string | undefined
  /** Failed attempts of one user, and ten times as many of one address, before neither may try any more. 1 to 10 000. Default 5. */
  readonly maxFailures?: number | undefined
  /** For how long failures count, in seconds, 1 to 86 400. Default 300. */
  readonly windowSeconds?: number | undefined
  /**
   * How long a password that was proven need not be proven again, in seconds, 0 to 86 400. Default 0: the KDC is asked with each request. Browsers send the
   * password with each request; a password that was changed counts for that much longer.
   */
  readonly rememberSeconds?: number | undefined
  /** For one check, 1 to 60 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
  /** A `Krb5Config`: where the KDCs are. Default krb5.conf. */
  readonly config?: object | undefined
  /** Takes passwords also where everybody on the way can read them. Default false: over https, and on this machine. */
  readonly dangerouslyOverHttp?: boolean | undefined
}

export interface BasicSettings {
  readonly realm: string
  readonly maxFailures: number
  readonly windowMs: number
  readonly rememberMs: number
  readonly timeoutMs: number
  /** As the caller gave it. */
  readonly config: object | undefined
  readonly overHttp: boolean
}

/** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` */
export function basicSettings(value: boolean | BasicOptions): BasicSettings | undefined {
  if (value === false) return undefined
  const options = ownOptions<BasicOptions>('basic', value === true ? {} : value)
  const { realm = 'Kerberos', maxFailures = 5, windowSeconds = 300, ...others } = options
  const { rememberSeconds = 0, timeoutMs = 10_000, config, dangerouslyOverHttp = false, ...unknown } = others
  rejectUnknown('basic', unknown)
  return Object.freeze({
    realm: realmOf(realm),
    maxFailures: integerIn('basic.maxFailures', maxFailures, 1, 10_000),
    windowMs: integerIn('basic.windowSeconds', windowSeconds, 1, MAX_SECONDS) * 1000,
    rememberMs: integerIn('basic.rememberSeconds', rememberSeconds, 0, MAX_SECONDS) * 1000,
    timeoutMs: integerIn('basic.timeoutMs', timeoutMs, 1, 60_000),
    config,
    overHttp: booleanOf('basic.dangerouslyOverHttp', dangerouslyOverHttp),
  })
}

/** Goes into a quoted string of ASCII (RFC 9110 §5.6.4). */
function realmOf(value: unknown): string {
  const realm = stringOf('basic.realm', value)
  if (!/^[ !#-[\]-~]{1,128}$/.test(realm)) throw invalid('basic.realm', 'ASCII without quotes and backslashes', value)
  return realm
}
