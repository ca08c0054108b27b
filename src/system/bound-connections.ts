import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { equal } from '../bytes/bytes.ts'
import { VerificationError } from '../errors.ts'
import type { OpenStream } from '../http/proxy.ts'
import type { CertificateBindings } from './certificate-bindings.ts'
import type { Connections } from './dispatcher.ts'
import { type Connected, type ConnectOptions, connector, endUrlOf, verifiesNow } from './tls-connector.ts'

/** A connection that was opened to look at the certificate waits so long for its request. */
const SPARE_MS = 4000
/** Most origins whose certificate is remembered. */
const MAX_ORIGINS = 1024

/**
 * Connections of which is known, before they carry anything, what certificate they show: a token is made for the newest one's, and a connection
 * that shows another does not carry it.
 */
export class BoundConnections implements Connections {
  readonly #certificates: CertificateBindings
  readonly #through: OpenStream | undefined
  /** What the newest connection to each origin showed. */
  readonly #bindings = new Map<string, Uint8Array | undefined>()
  /** Connections that were opened to look. */
  readonly #spares = new Map<string, Socket>()

  /** @param through what leads to all of them, when not straight */
  constructor(certificates: CertificateBindings, through?: OpenStream) {
    this.#certificates = certificates
    this.#through = through
  }

  /** The channel bindings that the newest connection to an origin had; one is opened when there was none. Undefined when it has none. */
  async bindingsOf(url: URL, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const { origin } = url
    if (!this.#bindings.has(origin)) await this.#open(url, signal)
    return this.#bindings.get(origin)
  }

  /**
   * What fails here fails again, and is told, when the request needs its connection; who gives up does not wait for it.
   *
   * @throws what `through` does: then the way is not there, and whatever is made for its connections would be for nobody
   */
  #open({ protocol, hostname, port, origin }: URL, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => resolve(), { once: true })
      const through = this.#through
      const told: OpenStream = async (target) => {
        const opening = through?.(target) as Promise<Socket>
        opening.catch(reject)
        return opening
      }
      const keep = (_error: Error | null, socket: Socket | null) => {
        if (socket !== null) this.#spare(origin, socket)
        resolve()
      }
      const look = (at: string, certificate: Uint8Array) => this.#see(at, certificate, undefined)
      connector(look, through && told)({ protocol, hostname, port }, keep)
    })
  }

  #spare(origin: string, socket: Socket): void {
    this.#spares.get(origin)?.destroy()
    this.#spares.set(origin, socket)
    const end = () => {
      if (this.#spares.get(origin) === socket) this.#spares.delete(origin)
      socket.destroy()
    }
    const timer = setTimeout(end, SPARE_MS)
    timer.unref()
    socket.unref()
    socket.once('error', end)
    socket.once('close', end)
    socket.once('taken', () => {
      clearTimeout(timer)
      socket.off('error', end)
      socket.off('close', end)
      socket.ref()
    })
  }

  /** The bindings of a connection; an error when they are not those that its tokens are made for. */
  #see(origin: string, certificate: Uint8Array, expected: Uint8Array | undefined): Error | undefined {
    const found = this.#certificates.of(origin, certificate)
    const [oldest] = this.#bindings.keys()
    if (!this.#bindings.has(origin) && this.#bindings.size >= MAX_ORIGINS && oldest !== undefined)
      this.#bindings.delete(oldest)
    this.#bindings.set(origin, found)
    if (expected === undefined || (found !== undefined && equal(found, expected))) return undefined
    return bindingsChanged(origin) // check: C31
  }

  /**
   * What an undici Agent connects with.
   *
   * @param bindings that each connection must have: one whose server shows another certificate fails with `BINDINGS_CHANGED`
   */
  connectWith(bindings: Uint8Array | undefined): (options: ConnectOptions, connected: Connected) => void {
    const open = connector((origin, certificate) => this.#see(origin, certificate, bindings), this.#through)
    return (options, connected) => {
      const spare = this.#takeSpare(options, bindings)
      if (spare === undefined) open(options, connected)
      else process.nextTick(connected, null, spare) // undici 7 and 8 wait for ever when they are told at once
    }
  }

  /** It was opened for the token that is about to be sent, and its certificate is the one that was seen. */
  #takeSpare(options: ConnectOptions, bindings: Uint8Array | undefined): Socket | undefined {
    if (bindings === undefined || options.protocol !== 'https:') return undefined
    const { origin } = endUrlOf(options)
    const spare = this.#spares.get(origin)
    const seen = this.#bindings.get(origin)
    if ((spare as TLSSocket | undefined)?.authorized === false && verifiesNow()) return undefined // check: C91
    if (spare === undefined || spare.destroyed || seen === undefined || !equal(seen, bindings)) return undefined
    this.#spares.delete(origin)
    spare.emit('taken')
    return spare
  }
}

function bindingsChanged(origin: string): VerificationError {
  return new VerificationError('BINDINGS_CHANGED', `${origin} shows another certificate than the token was made for`, {
    hint: 'If several servers share the name, give them one certificate, or set channelBindings: "off".',
  })
}
