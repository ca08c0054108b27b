import { quote } from '../bytes/text.ts'
import { VerificationError } from '../errors.ts'
import type { ClientSettings } from './client-options.ts'
import { isDelegable, isLoopback } from './loopback.ts'

/**
 * Whether a URL may see a token, as the error that says why not. A token goes to the origin that the caller named or listed, over https, or
 * over plain http to loopback and to what is listed; never to http after https.
 *
 * @param keepsLocal whether whoever sends takes names below localhost to this machine
 */
export function originError(
  url: URL,
  first: URL,
  cameFromHttps: boolean,
  settings: ClientSettings,
  keepsLocal = true,
): VerificationError | undefined {
  const allowed = settings.origins ?? [first.origin]
  if (!allowed.some((pattern) => matches(pattern, url))) return notAllowed(url) // check: C01 C02 C10
  if (url.protocol === 'https:') return undefined
  if (cameFromHttps) return insecure(url) // check: C05
  if (isLoopback(url.hostname, keepsLocal) || settings.insecureOrigins.some((pattern) => matches(pattern, url)))
    return undefined
  return insecure(url) // check: C06
}

/** Whether the login is forwarded to a URL that may see a token: never over plain http, and only to whom the caller named. */
export function delegationTo(
  url: URL,
  first: URL,
  settings: ClientSettings,
  keepsLocal = true,
): 'never' | 'policy' | 'always' {
  const { delegate, delegateTo, origins } = settings
  if (delegate === false || !isDelegable(url, keepsLocal)) return 'never' // check: C43
  const listed = delegateTo ?? origins ?? [first.origin]
  if (!listed.some((pattern) => matches(pattern, url))) return 'never' // check: C43
  return delegate === 'policy' ? 'policy' : 'always'
}

/** Equal origins, or `*.` before a suffix of whole labels; letters and one trailing dot do not matter. */
function matches(pattern: string, url: URL): boolean {
  const wildcard = /^(https?:\/\/)\*\.(.*)$/i.exec(pattern)
  const wanted = new URL(wildcard === null ? pattern : `${wildcard[1]}${wildcard[2]}`)
  if (wanted.protocol !== url.protocol || wanted.port !== url.port) return false
  const host = url.hostname.replace(/\.$/, '')
  const name = wanted.hostname.replace(/\.$/, '')
  return wildcard === null ? host === name : host.endsWith(`.${name}`)
}

function notAllowed(url: URL): VerificationError {
  return new VerificationError('ORIGIN_NOT_ALLOWED', `${quote(url.origin)} asked for a token and may not see one`, {
    hint: `If it may, add it: origins: ['${url.origin}'] beside the first one.`,
  })
}

function insecure(url: URL): VerificationError {
  return new VerificationError('INSECURE_ORIGIN', `${quote(url.origin)} asked for a token over plain http`, {
    hint: `Use https, or allow it: insecureOrigins: ['${url.origin}'].`,
  })
}
