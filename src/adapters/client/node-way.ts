/** Connections of node:http that lead through a proxy. */
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { OpenStream, Way } from '../../http/proxy.ts'
import type { ConnectionOptions } from './node-internals.ts'

/** Opens the connection that these options of an agent ask for, on some way. */
export type OpenWay = (options: ConnectionOptions) => Promise<Socket>

/** Among the options of a connection: how it is opened, when not straight. */
export const WAY: unique symbol = Symbol('spnego.way')

/**
 * The options of a connection on a way.
 *
 * @param url where it leads: what `host` of node:http says besides is for nobody's CONNECT
 */
export function onWay(options: ConnectionOptions, { isTunnel }: Way, url: URL, open: OpenStream): ConnectionOptions {
  const isSecure = isTunnel && url.protocol === 'https:'
  const opened = async (own: ConnectionOptions) => {
    const socket = await open(url)
    try {
      return isSecure ? connectTls({ ...(own as object), socket }) : socket
    } catch (error) {
      socket.destroy() // the options are the caller's, and may be wrong
      throw error
    }
  }
  return { ...options, [WAY]: opened }
}
