/** Connections of node:http that lead through a proxy. */
import { isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Way } from '../../http/proxy.ts'
import type { ConnectionOptions } from './node-internals.ts'

/** Opens a stream of octets to a host through a tunnel. */
export type OpenStream = (target: { readonly host: string; readonly port: number }) => Promise<Socket>

/** Opens the connection that these options of an agent ask for, on some way. */
export type OpenWay = (options: ConnectionOptions) => Promise<Socket>

/** Among the options of a connection: how it is opened, when not straight. */
export const WAY: unique symbol = Symbol('spnego.way')

/** What names the connections of a way; with the server, where the proxy would hide it. */
export function nameOfWay({ proxy, owner, isTunnel }: Way, { origin }: URL): string {
  return JSON.stringify([proxy.url, isTunnel ? null : origin, owner ?? null])
}

/** The options of a connection on a way: a tunnel to where they lead, or a connection to the proxy itself. */
export function onWay(options: ConnectionOptions, way: Way, url: URL, open: OpenStream): ConnectionOptions {
  const { hostname, port, protocol } = way.proxy.url
  const isSecure = url.protocol === 'https:'
  if (way.isTunnel) return { ...options, [WAY]: (own: ConnectionOptions) => tunnelled(own, isSecure, open) }
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const straight = { ...options, host, port: Number(port || (protocol === 'https:' ? 443 : 80)), servername: undefined }
  return protocol === 'https:' ? { ...straight, [WAY]: secured } : straight
}

async function tunnelled(options: ConnectionOptions, isSecure: boolean, open: OpenStream): Promise<Socket> {
  const { host, port, defaultPort } = options
  const socket = await open({ host: host ?? 'localhost', port: Number(port ?? defaultPort) })
  return isSecure ? connectTls({ ...(options as object), socket }) : socket
}

async function secured({ host, port }: ConnectionOptions): Promise<Socket> {
  const name = host ?? 'localhost'
  const servername = isIP(name) === 0 ? name : ''
  return connectTls({ host: name, port: Number(port), servername, ALPNProtocols: ['http/1.1'] })
}
