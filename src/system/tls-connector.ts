import { connect as connectStream, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'

/** As undici's own. */
const CONNECT_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 60_000

/** What undici tells of a connection that it needs. */
export interface ConnectOptions {
  readonly protocol: string
  readonly hostname: string
  readonly port?: string | undefined
  readonly servername?: string | null | undefined
}

export type Connected = (error: Error | null, socket: Socket | null) => void

/**
 * Opens a connection for HTTP/1.1: verified as Node verifies, and never resumed, since a resumed TLS session shows no certificate.
 *
 * @param look at the server's certificate (DER) before anything is sent; an error ends the connection
 */
export function connector(
  look: (origin: string, certificate: Uint8Array) => Error | undefined,
): (options: ConnectOptions, connected: Connected) => void {
  return (options, connected) => {
    const { protocol } = options
    const hostname = options.hostname.replace(/^\[(.*)\]$/, '$1')
    const isSecure = protocol === 'https:'
    const port = Number(options.port || (isSecure ? 443 : 80))
    const servername = options.servername || (isIP(hostname) === 0 ? hostname : '')
    const socket = isSecure
      ? connectTls({ host: hostname, port, servername, ALPNProtocols: ['http/1.1'] })
      : connectStream({ host: hostname, port })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    let answer: Connected | undefined = connected
    const finish = (error: Error | null) => {
      clearTimeout(timer)
      const once = answer
      answer = undefined
      if (error !== null) socket.destroy()
      once?.(error, error === null ? socket : null)
    }
    const timer = setTimeout(() => finish(timedOut(hostname, port)), CONNECT_TIMEOUT_MS)
    socket.once('error', finish)
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      const origin = originOf(protocol, options.hostname, port)
      finish((isSecure ? look(origin, certificateOf(socket as TLSSocket)) : undefined) ?? null)
    })
  }
}

function certificateOf(socket: TLSSocket): Uint8Array {
  return socket.getPeerX509Certificate()?.raw ?? new Uint8Array(0)
}

/** As `URL.origin` writes it. */
export function originOf(protocol: string, hostname: string, port: number): string {
  return new URL(`${protocol}//${hostname}:${port}`).origin
}

function timedOut(hostname: string, port: number): Error {
  return Object.assign(new Error(`connect timeout: ${hostname}:${port}`), { code: 'UND_ERR_CONNECT_TIMEOUT' })
}
