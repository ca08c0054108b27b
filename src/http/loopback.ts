import { isBelowLocalhost } from '../bytes/host.ts'

/**
 * RFC 6761 §6.3 and RFC 5735 §4: names and addresses that never leave the machine.
 *
 * @param isKept whether a name below `localhost` is taken to this machine whatever the DNS says: some resolvers ask it, and anybody may answer
 */
export function isLoopback(hostname: string, isKept = true): boolean {
  const host = hostname.replace(/\.$/, '')
  if (isBelowLocalhost(host)) return isKept // check: C93
  return host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || host === '[::1]'
}

/** Whether a user's login may be handed to a URL: over https, or within this machine. */
export function isDelegable({ protocol, hostname }: URL, isKept = true): boolean {
  return protocol === 'https:' || isLoopback(hostname, isKept)
}
