import { connect as connectStream, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { isBelowLocalhost, lookUpLoopback, urlAt } from '../bytes/host.ts'
import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import type { OpenStream, StreamTarget } from '../http/proxy.ts'

/** As undici's own. */
const CONNECT_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 60_000

/** Whether connections that are opened now verify the certificates of servers, as Node does; what was opened before stays as it is. */
export function verifiesNow(): boolean {
  return process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0'
}

/** What undici tells of a connection that it needs. */
export interface ConnectOptions extends StreamTarget {
  readonly servername?: string | null | undefined
}

export type Connected = (error: Error | null, socket: Socket | null) => void

/**
 * Opens a connection for HTTP/1.1: verified as Node verifies, and never resumed, since a resumed TLS session shows no certificate.
 *
 * @param look at the server's certificate (DER) before anything is sent; an error ends the connection
 * @param through what leads to the server, when not straight
 * @param tls of the caller's own
 */
export function connector(
  look: (origin: string, certificate: Uint8Array) => Error | undefined,
  through?: OpenStream,
  tls?: ConnectionOptions,
): (options: ConnectOptions, connected: Connected) => void {
  return (options, connected) => {
    if (through === undefined) return open(options, connected, look, tls)
    const over = (error: Error | null, socket: Socket | null) => {
      if (socket === null) return void connected(error, null)
      try {
        open(options, connected, look, { ...tls, socket })
      } catch (wrong) {
        socket.destroy() // `tls` is the caller's, and may be wrong
        connected(wrong as Error, null)
      }
    }
    tellOf(through(options), over)
  }
}

/** As undici is told of a connection. */
export function tellOf(opening: Promise<Socket>, connected: Connected): void {
  opening.then(
    (socket) => connected(null, socket),
    (error: Error) => connected(error, null),
  )
}

/** Host and port as a socket takes them. */
export function endOf({ protocol, hostname, port }: StreamTarget): { readonly host: string; readonly port: number } {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(port || (protocol === 'https:' ? 443 : 80)) }
}

/** @param tls its `socket` leads to the server already */
function open(
  options: ConnectOptions,
  connected: Connected,
  look: (origin: string, certificate: Uint8Array) => Error | undefined,
  tls: ConnectionOptions = {},
): void {
  const { protocol } = options
  const { host, port } = endOf(options)
  const isSecure = protocol === 'https:'
  const servername = options.servername || (isIP(host) === 0 ? host : '')
  const stream = tls.socket as Socket | undefined
  const end: TcpNetConnectOpts = { host, port }
  if (isBelowLocalhost(host)) end.lookup = lookUpLoopback // check: C93
  const socket = isSecure
    ? connectTls({ servername, ...tls, host, port, ALPNProtocols: ['http/1.1'] })
    : (stream ?? connectStream(end))
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
  const timer = setTimeout(() => finish(timedOut(host, port)), CONNECT_TIMEOUT_MS)
  socket.once('error', finish)
  if (socket === stream) finish(null)
  socket.once(isSecure ? 'secureConnect' : 'connect', () => {
    finish(isSecure ? rejectionOf(() => look(endUrlOf(options).origin, certificateOf(socket as TLSSocket))) : null)
  })
}

/** What is thrown to a socket's event ends the process. */
function rejectionOf(look: () => Error | undefined): Error | null {
  try {
    return look() ?? null
  } catch (error) {
    return error as Error // check: C85
  }
}

function certificateOf(socket: TLSSocket): Uint8Array {
  return socket.getPeerX509Certificate()?.raw ?? new Uint8Array(0)
}

/** Where a connection ends, as a URL. @throws {UsageError} `NAME_INVALID` */
export function endUrlOf({ protocol, hostname, port }: StreamTarget): URL {
  const url = urlAt(protocol, hostname, port)
  if (url === undefined) throw noUrl(hostname) // check: C85
  return url
}

function noUrl(hostname: string): UsageError {
  return new UsageError('NAME_INVALID', `${quote(hostname)} and its port are none that a URL can have`, {
    hint: 'Ask for a host name, or an address without a zone.',
  })
}

function timedOut(hostname: string, port: number): Error {
  return Object.assign(new Error(`connect timeout: ${hostname}:${port}`), { code: 'UND_ERR_CONNECT_TIMEOUT' })
}
