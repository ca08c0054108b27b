/** What ends the host of a URL, or is left out of it: node:http takes any text for a host. */
const NO_HOST = /[\s/?#@\\]/

/**
 * The URL at a host, whose IPv6 address may stand without the brackets that a URL needs (RFC 3986 §3.2.2): undici and node:net leave them out.
 *
 * @param protocol `http:` or `https:`
 * @param port empty or left out: the scheme's own
 * @param path as it follows the authority, with its query
 * @returns undefined for what is no host of a URL, or no port
 */
export function urlAt(protocol: string, host: string, port: string | number | undefined, path = '/'): URL | undefined {
  if (NO_HOST.test(host)) return undefined
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host // check: C85
  const text = `${protocol}//${name}:${port ?? ''}${path}`
  return URL.canParse(text) ? new URL(text) : undefined
}

/** RFC 6761 §6.3: such names are this machine's. */
export function isBelowLocalhost(host: string): boolean {
  return /\.localhost\.?$/i.test(host)
}

interface Address {
  readonly address: string
  readonly family: number
}
type Looked = (error: null, address: string | Address[], family?: number) => void

const LOOPBACK: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

/** The option `lookup` of a socket to a name below localhost: this machine, without asking anybody. */
export function lookUpLoopback(
  _host: string,
  options: { all?: boolean | undefined; family?: unknown },
  looked: Looked,
): void {
  const found = options.family === 6 || options.family === 'IPv6' ? LOOPBACK.slice(1) : LOOPBACK
  const [{ address, family }] = found as [Address]
  if (options.all === true) looked(null, [...found])
  else looked(null, address, family)
}
