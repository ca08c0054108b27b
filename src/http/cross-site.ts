import { fieldValues, hostsOf, type NegotiateRequest } from './request.ts'

/** `allow`, or the only foreign origins that may send unsafe requests. */
export type CrossSiteRule = 'allow' | readonly string[]

/** RFC 9110 §9.2.1: methods that ask for no change. */
const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE']

/**
 * Whether a browser sent this for another site's page. A browser logs in by itself, so any page could act in the user's name; it says
 * so in Sec-Fetch-Site (W3C Fetch Metadata §2.3) or, when it is old, in Origin (RFC 6454 §7). Programs send neither.
 */
export function isCrossSite(request: NegotiateRequest, rule: CrossSiteRule): boolean {
  if (rule === 'allow' || !changesSomething(request)) return false
  const origins = fieldValues(request.headers, 'origin')
  const [origin] = origins
  if (origin !== undefined && origins.length === 1 && rule.includes(origin)) return false
  const sites = fieldValues(request.headers, 'sec-fetch-site')
  if (sites.some((site) => site === 'cross-site' || site === 'same-site')) return true
  // Any other word is to be ignored, says Fetch Metadata; then Origin decides.
  if (sites.length === 1 && (sites[0] === 'same-origin' || sites[0] === 'none')) return false
  return origin !== undefined && (origins.length > 1 || !isOwnHost(origin, request))
}

export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.includes(method)
}

/**
 * A WebSocket opens with a GET (RFC 6455 §4.1). Proxies that only ask about a request take its hop-by-hop fields off (RFC 9110 §7.6.1), `Upgrade` among
 * them, and leave the others: Sec-WebSocket-Key and -Version, and the mode of Fetch Metadata §2.2.
 */
function changesSomething({ method, headers }: NegotiateRequest): boolean {
  if (!isSafeMethod(method) || UPGRADE_FIELDS.some((name) => fieldValues(headers, name).length > 0)) return true
  return fieldValues(headers, 'sec-fetch-mode').includes('websocket')
}

const UPGRADE_FIELDS: readonly string[] = ['upgrade', 'sec-websocket-key', 'sec-websocket-version']

/** Host and port as the browser knows them, in one spelling; `null` and other opaque origins are nobody's. */
function isOwnHost(origin: string, request: NegotiateRequest): boolean {
  const [host, ...others] = hostsOf(request)
  if (host === undefined || others.length > 0 || !URL.canParse(origin)) return false
  const { host: theirs, protocol } = new URL(origin)
  // Where TLS is known to be used, a page that came over plain http is another site: anybody on the way may have written it.
  if (request.secure === true && protocol !== 'https:') return false // check: S84
  const own = `${protocol}//${host}`
  return theirs !== '' && URL.canParse(own) && new URL(own).host === theirs
}
