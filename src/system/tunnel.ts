import { connect as connectStream, isIP, isIPv6, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { NetworkError } from '../errors.ts'
import type { HopLogin, TokenFields } from '../http/client.ts'
import type { StreamTarget } from '../http/proxy.ts'
import { type ResponseHead, ResponseHeadReader } from './response-head.ts'
import { endOf } from './tls-connector.ts'

/** For a connection to the proxy, and for each of its answers. */
const PROXY_TIMEOUT_MS = 10_000
/** Longest page of a refusal that is read so that the connection serves again. */
const MAX_PAGE_BYTES = 65_536
/** Most answers of 1xx before the one that counts. */
const MAX_INTERIM = 8

/**
 * A stream to a host through a proxy (CONNECT, RFC 9110 §9.3.6), with a login there when it asks: its tokens go over the one connection that then
 * becomes the stream.
 *
 * @param login at the proxy
 * @param unasked whether its token goes with the first CONNECT
 * @param failed the error for a 407 that stays
 * @returns a connected socket; what the host says comes from it
 * @throws {NetworkError} `PROXY_UNREACHABLE`, `PROXY_REFUSED` for any answer but 2xx and 407
 */
export async function openTunnel(
  proxy: URL,
  target: StreamTarget,
  login: HopLogin,
  unasked: boolean,
  failed: () => Error,
): Promise<Socket> {
  let tokens = await login.first(unasked)
  let stream: ProxyStream | undefined
  try {
    for (;;) {
      stream ??= await ProxyStream.open(proxy)
      const head = await stream.ask(target, tokens)
      const next = await login.next(head.status, head.fields)
      if (head.status >= 200 && head.status < 300 && next.kind === 'deliver') return stream.handOver()
      if (head.status !== 407) throw refused(proxy, target, head.status) // check: C09
      if (next.kind !== 'resend') throw failed()
      tokens = next.tokens
      if (!(await stream.skipPage(head))) stream = void stream.end()
    }
  } catch (error) {
    stream?.end()
    throw error
  }
}

/** A connection to a proxy, for requests that it reads itself. @throws {NetworkError} `PROXY_UNREACHABLE` */
export async function openProxy(proxy: URL): Promise<Socket> {
  return (await ProxyStream.open(proxy)).handOver()
}

/** A connection to a proxy, as long as it speaks HTTP. */
class ProxyStream {
  readonly #proxy: URL
  readonly #socket: Socket
  /** Came behind the last answer. */
  #rest: Uint8Array = new Uint8Array(0)

  private constructor(proxy: URL, socket: Socket) {
    this.#proxy = proxy
    this.#socket = socket
    socket.on('error', () => {}) // it may end while a ticket is fetched, when nobody else listens
  }

  static async open(proxy: URL): Promise<ProxyStream> {
    const { host, port } = endOf(proxy)
    const isSecure = proxy.protocol === 'https:'
    const servername = isIP(host) === 0 ? host : ''
    const socket = isSecure
      ? connectTls({ host, port, servername, ALPNProtocols: ['http/1.1'] })
      : connectStream({ host, port })
    socket.setNoDelay(true)
    const stream = new ProxyStream(proxy, socket)
    try {
      await stream.#until<void>(({ resolve }) => {
        socket.once(isSecure ? 'secureConnect' : 'connect', () => resolve())
        return () => {}
      })
      return stream
    } catch (error) {
      stream.end()
      throw error
    }
  }

  /** Writes CONNECT, and reads the head of the answer; interim ones are passed over. */
  async ask(target: StreamTarget, tokens: TokenFields): Promise<ResponseHead> {
    const { host, port } = endOf(target)
    const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`
    const token = tokens['proxy-authorization']
    const fields = token === undefined ? '' : `Proxy-Authorization: ${token}\r\n`
    this.#socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`, 'latin1')
    for (let interim = 0; interim <= MAX_INTERIM; interim++) {
      const reader = new ResponseHeadReader()
      const { head, rest } = await this.#read((chunk) => reader.add(chunk))
      this.#rest = rest
      if (head.status >= 200) return head
    }
    throw unreachable(this.#proxy, new Error('it sends interim answers only'))
  }

  /** Reads the page of a refusal. @returns whether the connection serves for another CONNECT */
  async skipPage({ fields, isOld }: ResponseHead): Promise<boolean> {
    const [length, ...more] = fields('content-length')
    const ends = [...fields('connection'), ...fields('proxy-connection')].join().toLowerCase()
    const isFramed = length !== undefined && more.length === 0 && /^\d{1,6}$/.test(length)
    const closes = ends.includes('close') || (isOld && !ends.includes('keep-alive'))
    if (!isFramed || closes || fields('transfer-encoding').length > 0 || Number(length) > MAX_PAGE_BYTES) return false
    let left = Number(length)
    this.#rest = await this.#read((chunk) => {
      const page = Math.min(left, chunk.length)
      left -= page
      return left === 0 ? chunk.subarray(page) : undefined
    })
    return !this.#socket.destroyed && !this.#socket.readableEnded
  }

  /** The stream is the host's from here on. */
  handOver(): Socket {
    if (this.#rest.length > 0) this.#socket.unshift(this.#rest)
    return this.#socket
  }

  end(): void {
    this.#socket.destroy()
  }

  /** @param take is given what came, until it gives something back; what came earlier is there at once */
  #read<T>(take: (chunk: Uint8Array) => T | undefined): Promise<T> {
    return this.#until(({ resolve, reject }) => {
      let found: T | undefined
      const more = () => {
        if (found !== undefined) return
        let chunk: Uint8Array | null = this.#rest
        this.#rest = new Uint8Array(0)
        try {
          while (chunk !== null) {
            found = take(chunk)
            if (found !== undefined) return resolve(found)
            chunk = this.#socket.read() as Uint8Array | null
          }
        } catch (error) {
          reject(error)
        }
      }
      this.#socket.on('readable', more)
      more()
      return () => void this.#socket.off('readable', more)
    })
  }

  /** What `start` waits for, unless the connection fails meanwhile, or is silent for too long; it gives back what ends the waiting. */
  async #until<T>(start: (settle: Settle<T>) => () => void): Promise<T> {
    const socket = this.#socket
    let stop = () => {}
    try {
      return await new Promise<T>((resolve, reject) => {
        const fail = (cause: unknown) => reject(unreachable(this.#proxy, cause))
        const closed = () => fail(new Error('it closed the connection'))
        const timer = setTimeout(() => fail(new Error('it did not answer in time')), PROXY_TIMEOUT_MS)
        socket.on('error', fail).on('close', closed)
        if (socket.destroyed) closed()
        const end = start({ resolve, reject })
        stop = () => {
          clearTimeout(timer)
          socket.off('error', fail).off('close', closed)
          end()
        }
      })
    } finally {
      stop()
    }
  }
}

interface Settle<T> {
  resolve(value: T): void
  reject(error: unknown): void
}

function unreachable({ origin }: URL, cause: unknown): NetworkError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new NetworkError('PROXY_UNREACHABLE', `the proxy ${origin} cannot be used: ${why}`, {
    cause,
    hint: 'Check its address and that it runs; NO_PROXY, or proxy.bypass, names hosts that need none.',
  })
}

function refused({ origin }: URL, target: StreamTarget, status: number): NetworkError {
  const { host, port } = endOf(target)
  return new NetworkError('PROXY_REFUSED', `the proxy ${origin} answered ${status} to CONNECT ${host}:${port}`, {
    hint: 'Its log has the reason: a host or port that it does not serve, or a host that it does not find.',
  })
}
