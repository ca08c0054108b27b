import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { concat, uint32be } from '../../../src/bytes/bytes.ts'
import { ByteReader } from '../../../src/bytes/reader.ts'
import { LOOPBACK } from '../../../src/testing/index.ts'

export function framed(message: Uint8Array): Uint8Array {
  return concat(uint32be(message.length), message)
}

/** All that comes until the other side ends, or for as long as it takes to have so many messages. */
export async function readMessages(socket: Socket, count: number): Promise<Uint8Array[]> {
  let received: Uint8Array = new Uint8Array(0)
  const found: Uint8Array[] = []
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    received = concat(received, chunk as Uint8Array)
    while (received.length >= 4 && received.length >= 4 + new ByteReader(received).uint32('length')) {
      const from = new ByteReader(received)
      found.push(from.take(from.uint32('length'), 'message'))
      received = from.rest()
    }
    if (found.length >= count) break
  }
  return found
}

export async function overTcp(port: number, octets: Uint8Array, count = 1): Promise<Uint8Array[]> {
  const socket = connect(port, LOOPBACK)
  socket.write(octets)
  const found = await readMessages(socket, count)
  socket.destroy()
  return found
}

export async function overUdp(port: number, message: Uint8Array, waitMs = 2000): Promise<Uint8Array | undefined> {
  const socket = createSocket('udp4')
  socket.send(message, port, LOOPBACK)
  const silence = new AbortController()
  const answered = once(socket, 'message', { signal: silence.signal }).then(([answer]) => new Uint8Array(answer))
  const answer = await Promise.race([answered, setTimeout(waitMs, undefined, { signal: silence.signal })])
  silence.abort()
  answered.catch(() => {})
  socket.close()
  return answer
}
