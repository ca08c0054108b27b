import { createSocket, type Socket as DatagramSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { concat, uint32be } from '../bytes/bytes.ts'
import { ByteReader } from '../bytes/reader.ts'
import { UsageError } from '../errors.ts'
import type { Faults } from './faults.ts'
import type { EmbeddedKdc } from './kdc.ts'
import { fieldTooLong, responseTooBig } from './krb-error.ts'

/** The one address that is listened on: nobody else's machine can reach a realm whose passwords are in a test. */
export const LOOPBACK = '127.0.0.1' // check: K51

/** Longest message over TCP. A length with the high bit set is longer, and reserved (RFC 4120 §7.2.2). */
export const MAX_MESSAGE_BYTES: number = 1024 * 1024
/** Longest reply over UDP; a longer one has to be asked for over TCP (RFC 4120 §7.2.1). As MIT's `kdc_max_dgram_reply_size`. */
export const MAX_DATAGRAM_BYTES = 4096
/** Octets of the length in front of a message over TCP (RFC 4120 §7.2.2). */
const LENGTH_BYTES = 4
/** A connection that says nothing for so long is closed. */
const IDLE_MS = 60_000
/** Free TCP ports that are tried until one is free for UDP too. */
const MAX_PORTS_TRIED = 16

/** A listening KDC. It keeps the process alive until it is closed. */
export interface Listener {
  readonly port: number
  /** Stops listening and destroys what is open. */
  close(): Promise<void>
}

/** What answers. */
interface Service {
  readonly faults: Faults
  /** Undefined: no answer. */
  handle(request: Uint8Array): Promise<Uint8Array | undefined>
  /** For a message over `MAX_MESSAGE_BYTES`, and in place of a reply over `MAX_DATAGRAM_BYTES`; undefined: none. */
  tooLong(): Uint8Array | undefined
  tooBig(): Uint8Array | undefined
}

/** Listens for the password service of a KDC (RFC 3244 §2), which has no error for a wrong length. @param port as for `listen` */
export function listenForPasswords({ faults, passwords }: EmbeddedKdc, port = 0): Promise<Listener> {
  const handle = (request: Uint8Array) => passwords.handle(request)
  return listenFor({ faults, handle, tooLong: () => undefined, tooBig: () => undefined }, port)
}

/**
 * Listens for a KDC on TCP and UDP, same port, loopback only (RFC 4120 §7.2).
 *
 * @param port 0 for any free one
 * @throws {UsageError} `PORT_IN_USE`, or `OPTION_INVALID` for a port that this user may not open
 */
export function listen(kdc: EmbeddedKdc, port = 0): Promise<Listener> {
  return listenFor(
    {
      faults: kdc.faults,
      handle: (request) => kdc.handle(request),
      tooLong: () => kdc.refuse(fieldTooLong()),
      tooBig: () => kdc.refuse(responseTooBig()),
    },
    port,
  )
}

async function listenFor(service: Service, port: number): Promise<Listener> {
  for (let tried = 1; ; tried++) {
    const connections = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      accept(service, socket, connections),
    )
    const datagrams = createSocket(
      { type: 'udp4' },
      (message, from) => void answerDatagram(service, datagrams, message, from),
    )
    try {
      const bound = await listenStream(server, port)
      await bindDatagrams(datagrams, bound)
      return { port: bound, close: () => closeAll(server, datagrams, connections) }
    } catch (error) {
      await closeAll(server, datagrams, connections)
      if (port === 0 && codeOf(error) === 'EADDRINUSE' && tried < MAX_PORTS_TRIED) continue
      throw cannotListen(port, error)
    }
  }
}

async function listenStream(server: Server, port: number): Promise<number> {
  server.listen({ host: LOOPBACK, port, exclusive: true })
  await once(server, 'listening')
  const address = server.address()
  return address !== null && typeof address === 'object' ? address.port : port
}

async function bindDatagrams(socket: DatagramSocket, port: number): Promise<void> {
  socket.bind({ address: LOOPBACK, port, exclusive: true })
  await once(socket, 'listening')
  socket.on('error', () => {}) // an ICMP answer to a client that is gone
}

async function closeAll(server: Server, datagrams: DatagramSocket, connections: Set<Socket>): Promise<void> {
  for (const socket of connections) socket.destroy()
  await new Promise<void>((resolve) => server.close(() => resolve())) // an error says that it was not open
  await new Promise<void>((resolve) => datagrams.close(() => resolve()))
}

async function answerDatagram(
  service: Service,
  socket: DatagramSocket,
  message: Uint8Array,
  from: RemoteInfo,
): Promise<void> {
  const made = await service.handle(message)
  if (made === undefined || service.faults.has('silent')) return
  const isTooBig = made.length > MAX_DATAGRAM_BYTES || service.faults.has('too-big')
  const reply = isTooBig ? service.tooBig() : distorted(service, made)
  if (reply === undefined) return
  try {
    socket.send(reply, from.port, from.address, () => {})
  } catch {
    // closed meanwhile: a datagram may get lost
  }
}

function accept(service: Service, socket: Socket, connections: Set<Socket>): void {
  connections.add(socket)
  socket.on('close', () => connections.delete(socket))
  socket.on('error', () => socket.destroy())
  socket.setTimeout(IDLE_MS, () => socket.destroy())
  serve(service, socket).then(
    () => socket.end().resume(), // what still comes is dropped: closing over unread octets would reset the answer away
    () => socket.destroy(),
  )
}

/** One message after the other, each answered before the next is read (RFC 4120 §7.2.2). */
async function serve(service: Service, socket: Socket): Promise<void> {
  let parts: Uint8Array[] = []
  let size = 0
  let wanted = LENGTH_BYTES
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    parts.push(chunk as Uint8Array)
    size += (chunk as Uint8Array).length
    if (size < wanted) continue // joined only when whole: a peer that sends single octets must not cost the square

    const rest = await answerMessages(service, socket, concat(...parts))
    if (rest === undefined) return
    parts = [rest.bytes]
    size = rest.bytes.length
    wanted = rest.wanted
  }
}

/** Answers every whole message; says what is left and how much there must be. Undefined: the connection has to end. */
async function answerMessages(
  service: Service,
  socket: Socket,
  received: Uint8Array,
): Promise<{ readonly bytes: Uint8Array; readonly wanted: number } | undefined> {
  const from = new ByteReader(received)
  while (from.remaining >= LENGTH_BYTES) {
    const start = from.position
    const length = from.uint32('length')
    if (length > MAX_MESSAGE_BYTES) {
      const refusal = service.tooLong()
      if (refusal !== undefined) await send(service, socket, refusal)
      return undefined
    }
    if (length > from.remaining) return { bytes: received.subarray(start), wanted: LENGTH_BYTES + length }
    const reply = await service.handle(from.take(length, 'message'))
    if (reply === undefined || service.faults.has('hang-up')) return undefined
    await send(service, socket, distorted(service, reply))
  }
  return { bytes: from.rest(), wanted: LENGTH_BYTES }
}

function distorted({ faults }: Service, reply: Uint8Array): Uint8Array {
  return faults.has('garbage') ? globalThis.crypto.getRandomValues(new Uint8Array(reply.length)) : reply
}

async function send(service: Service, socket: Socket, reply: Uint8Array): Promise<void> {
  if (service.faults.has('silent')) return
  const framed = concat(uint32be(reply.length), reply)
  if (!service.faults.has('trickle')) {
    socket.write(framed)
    return
  }
  for (let i = 0; i < framed.length && !socket.destroyed; i++) {
    socket.write(framed.subarray(i, i + 1))
    await setImmediate()
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function cannotListen(port: number, cause: unknown): unknown {
  const code = codeOf(cause)
  if (code === 'EADDRINUSE') return new UsageError('PORT_IN_USE', `port ${port} is taken by another process`, { cause })
  if (code !== 'EACCES') return cause
  return new UsageError('OPTION_INVALID', `port ${port}: this user may not listen there`, {
    cause,
    hint: 'Choose a port above 1023, or none for any free one.',
  })
}
