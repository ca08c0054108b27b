/** MIT krb5, "krb5.conf", [realms]: how kdc, admin_server and kpasswd_server name a host. */

/** Where a server of a realm listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
  /** The only transport that the entry allows; `undefined`: any. */
  readonly transport: 'tcp' | 'udp' | undefined
}

/**
 * Reads `host`, `host:port`, `[address]`, `[address]:port`, each also behind `tcp/` or `udp/` as Heimdal has it. As in MIT's
 * reader, what follows a blank does not matter.
 *
 * @returns `undefined` when the text is no such thing
 */
export function parseServerAddress(text: string, defaultPort: number): ServerAddress | undefined {
  const [, transport, address, host, digits] = ADDRESS.exec(text) ?? []
  const port = digits === undefined ? defaultPort : Number(digits)
  const name = address ?? host
  // A number alone is a port, says MIT; a KDC needs a host.
  if (name === undefined || /^\d+$/.test(name) || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  return { host: name, port, transport: transport?.toLowerCase() as ServerAddress['transport'] }
}

const ADDRESS =
  /^(?:(tcp|udp)\/)?(?:\[([0-9a-f:.]{2,45}(?:%[a-z0-9_.-]{1,64})?)\]|([^\s:/[\]@\\"\u0000-\u001f\u007f]{1,255}))(?::(\d{1,5}))?(?:[ \t].*)?$/i
