import { createSocket } from 'node:dgram'
import { createConnection, isIPv6 } from 'node:net'
import { concat, uint32be } from '../bytes/bytes.ts'
import { NetworkError } from '../errors.ts'
import type { Message, Transport, TransportOptions } from '../krb5/client.ts'
import type { ServerAddress } from '../krb5/formats/index.ts'

/** Longest message to or from a KDC. */
export const MAX_KDC_MESSAGE_BYTES: number = 1024 * 1024
/** Silence after which a datagram is sent again. */
const RESEND_MS = 1000

/** TCP and UDP sockets of this machine (RFC 4120 §7.2). */
export const systemTransport: Transport = {
  exchange(to, protocol, message, options) {
    return protocol === 'tcp' ? exchangeTcp(to, message, options) : exchangeUdp(to, message, options)
  },
}

/** RFC 4120 §7.2.2: a message behind its length in four octets, most significant first; the highest bit is reserved. */
function exchangeTcp(to: ServerAddress, message: Message, options: TransportOptions): Promise<Uint8Array> {
  return withDeadline(options, (settle) => {
    const socket = createConnection({ host: to.host, port: to.port, noDelay: true })
    const framed = new FramedReply()
    socket.on('connect', () => {
      try {
        const octets = octetsOf(message, socket.localAddress)
        socket.write(concat(uint32be(octets.length), octets))
      } catch (error) {
        settle.reject(error)
      }
    })
    socket.on('data', (chunk: Uint8Array) => {
      try {
        const reply = framed.add(chunk)
        if (reply !== undefined) settle.resolve(reply)
      } catch (error) {
        settle.reject(error)
      }
    })
    socket.on('error', settle.reject)
    socket.on('close', () => settle.reject(new NetworkError('KDC_UNREACHABLE', 'closed the connection')))
    return () => socket.destroy()
  })
}

/** Collects a reply in time linear in its length, however small the pieces are. */
class FramedReply {
  readonly #head = new Uint8Array(4)
  #body: Uint8Array | undefined
  #received = 0

  /** The reply, once it is whole. */
  add(chunk: Uint8Array): Uint8Array | undefined {
    let at = 0
    while (this.#body === undefined && at < chunk.length) {
      this.#head[this.#received++] = chunk[at++] as number
      if (this.#received === 4) this.#body = new Uint8Array(announcedLength(this.#head))
    }
    if (this.#body === undefined) return undefined
    const filled = this.#received - 4
    const part = chunk.subarray(at, at + this.#body.length - filled)
    this.#body.set(part, filled)
    this.#received += part.length
    return this.#received - 4 === this.#body.length ? this.#body : undefined
  }
}

function announcedLength(head: Uint8Array): number {
  const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
  if (length === 0 || length > MAX_KDC_MESSAGE_BYTES) throw tooLong(length, head) // check: K21
  return length
}

/** RFC 4120 §7.2.1. A connected socket: datagrams from other addresses and ports never arrive. */
function exchangeUdp(to: ServerAddress, message: Message, options: TransportOptions): Promise<Uint8Array> {
  return withDeadline(options, (settle) => {
    const socket = createSocket(isIPv6(to.host) ? 'udp6' : 'udp4')
    let resend: NodeJS.Timeout | undefined
    socket.on('error', settle.reject)
    socket.on('message', (datagram) => {
      if (options.isReply(datagram)) settle.resolve(new Uint8Array(datagram)) // check: K18
    })
    socket.connect(to.port, to.host, (error?: Error) => {
      if (error !== undefined && error !== null) return settle.reject(error)
      try {
        const octets = octetsOf(message, socket.address().address)
        const send = () => socket.send(octets)
        send()
        resend = setInterval(send, RESEND_MS)
      } catch (failure) {
        settle.reject(failure)
      }
    })
    return () => {
      clearInterval(resend)
      socket.close()
    }
  })
}

function octetsOf(message: Message, sender: string | undefined): Uint8Array {
  return typeof message === 'function' ? message(addressOctets(sender ?? '')) : message
}

/** 4 or 16 octets of an address in text, without its zone. */
function addressOctets(text: string): Uint8Array {
  const mapped = /^::ffff:([\d.]+)$/i.exec(text)?.[1] ?? text
  if (!isIPv6(mapped)) return Uint8Array.from(mapped.split('.').map(Number))
  const [head = '', tail] = mapped.replace(/%.*$/, '').split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))
  const [before, after] = [groups(head), groups(tail ?? '')]
  const zeros = new Array<number>(tail === undefined ? 0 : 8 - before.length - after.length).fill(0)
  return Uint8Array.from([...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]))
}

interface Settle {
  resolve(value: Uint8Array): void
  reject(error: unknown): void
}

/** Ends when the work does, when time is up or when the caller aborts; what `start` opened is closed in each case. */
function withDeadline(options: TransportOptions, start: (settle: Settle) => () => void): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let settled = false
    let close: (() => void) | undefined
    const finish = (then: () => void) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      clearTimeout(patience)
      options.signal?.removeEventListener('abort', abort)
      close?.()
      then()
    }
    const abort = () => finish(() => reject(options.signal?.reason))
    const late = () => finish(() => reject(new NetworkError('KDC_TIMEOUT', 'no answer in time')))
    const timer = setTimeout(late, Math.ceil(options.timeoutMs))
    const { silentAfterMs = options.timeoutMs } = options
    const patience = setTimeout(() => options.onSilent?.(), silentAfterMs)
    if (options.signal?.aborted === true) return abort()
    options.signal?.addEventListener('abort', abort, { once: true })
    close = start({
      resolve: (value) => finish(() => resolve(value)),
      reject: (error) => finish(() => reject(error)),
    })
    if (settled) close()
  })
}

/** What else listens where a KDC is looked for, by the first four bytes of its answer. */
const FOREIGN: readonly (readonly [RegExp, string])[] = [
  [/^HTTP/, 'an answer in HTTP'],
  [/^SSH-/, 'an SSH banner'],
  [/^220[ -]/, 'the greeting of a mail or FTP server'],
  [/^[\x15\x16]\x03[\x00-\x04]/, 'an answer in TLS'],
]

function tooLong(length: number, head: Uint8Array): NetworkError {
  const text = String.fromCharCode(...head)
  const foreign = FOREIGN.find(([pattern]) => pattern.test(text))?.[1]
  const what = foreign === undefined ? `announced a reply of ${length} bytes` : `sent ${foreign}, which is not Kerberos`
  return new NetworkError('KDC_REPLY_TOO_LONG', what)
}
