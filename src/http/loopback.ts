/** RFC 6761 §6.3 and RFC 5735 §4: names and addresses that never leave the machine. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '')
  return host === 'localhost' || host.endsWith('.localhost') || /^127(\.\d{1,3}){3}$/.test(host) || host === '[::1]'
}

/** Whether a user's login may be handed to a URL: over https, or within this machine. */
export function isDelegable({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || isLoopback(hostname)
}
