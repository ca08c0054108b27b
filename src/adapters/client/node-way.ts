/** Connections of node:http that lead through a proxy. */
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Way } from '../../http/proxy.ts'
import type { ConnectionOptions } from './node-internals.ts'

/** Opens a stream of octets to a host through a tunnel. */
export type OpenStream = (target: { readonly host: string; readonly port: number }) => Promise<Socket>

/** Opens the connection that these options of an agent ask for, on some way. */
export type OpenWay = (options: ConnectionOptions) => Promise<Socket>

/** Among the options of a connection: how it is opened, when not straight. */
export const WAY: unique symbol = Symbol('spnego.way')

/** What names the connections of a way. */
export function nameOfWay({ proxy, owner, isTunnel }: Way): string {
  return JSON.stringify([proxy.url, isTunnel, owner ?? null])
}

/** The options of a connection on a way. */
export function onWay(
  options: ConnectionOptions,
  { isTunnel }: Way,
  { protocol }: URL,
  open: OpenStream,
): ConnectionOptions {
  const isSecure = isTunnel && protocol === 'https:'
  const opened = async (own: ConnectionOptions) => {
    const { host, port, defaultPort } = own
    const socket = await open({ host: host ?? 'localhost', port: Number(port ?? defaultPort) })
    return isSecure ? connectTls({ ...(own as object), socket }) : socket
  }
  return { ...options, [WAY]: opened }
}
