import { quote } from '../bytes/text.ts'
import { VerificationError } from '../errors.ts'
import type { ClientSettings } from './client-options.ts'

/** RFC 6761 §6.3 and RFC 5735 §4: names and addresses that never leave the machine. */
function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '')
  return host === 'localhost' || host.endsWith('.localhost') || /^127(\.\d{1,3}){3}$/.test(host) || host === '[::1]'
}

/**
 * Whether a URL may see a token, as the error that says why not. A token goes to the origin that the caller named or listed, over https, or
 * over plain http to loopback and to what is listed; never to http after https.
 */
export function originError(
  url: URL,
  first: URL,
  cameFromHttps: boolean,
  settings: ClientSettings,
): VerificationError | undefined {
  const allowed = settings.origins ?? [first.origin]
  if (!allowed.some((pattern) => matches(pattern, url))) return notAllowed(url) // check: C01 C02 C10
  if (url.protocol === 'https:') return undefined
  if (cameFromHttps) return insecure(url) // check: C05
  if (isLoopback(url.hostname) || settings.insecureOrigins.some((pattern) => matches(pattern, url))) return undefined
  return insecure(url) // check: C06
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
