import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { concat, uint32be } from '../../../src/bytes/bytes.ts'
import { decodeKrbError, ERROR, KEY_USAGE, MESSAGE } from '../../../src/krb5/messages/index.ts'
import { type Listener, LOOPBACK, listen } from '../../../src/testing/index.ts'
import { asReq, lab, open, passwordKey, tgsReq, timestamp, WEB } from './client.ts'
import { framed, overTcp, overUdp, readMessages } from './sockets.ts'

const listeners: Listener[] = []
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((one) => one.close()))
})

async function listening(faults: readonly string[] = []): Promise<number> {
  const listener = await listen(lab(faults).kdc)
  listeners.push(listener)
  return listener.port
}

describe('RFC 4120 §7.2: both transports on one port', () => {
  test('a login over UDP, a service ticket over TCP', async () => {
    const port = await listening()
    const key = await passwordKey()
    const asked = await overUdp(port, asReq())
    expect(decodeKrbError(asked ?? new Uint8Array(0)).errorCode).toBe(ERROR.KDC_ERR_PREAUTH_REQUIRED)
    const granted = await overUdp(port, asReq({}, [timestamp(key)]))
    const tgt = open(granted ?? new Uint8Array(0), MESSAGE.AS_REP, key, KEY_USAGE.AS_REP)
    const [reply] = await overTcp(port, framed(tgsReq(tgt)))
    const { part } = open(reply ?? new Uint8Array(0), MESSAGE.TGS_REP, tgt.sessionKey, KEY_USAGE.TGS_REP_SESSION_KEY)
    expect(part.sname).toEqual(WEB)
  })

  test('several messages of one connection, in order, in one piece and octet by octet', async () => {
    const port = await listening()
    const bob = { nameType: 1, components: ['bob'] }
    const octets = concat(framed(asReq()), framed(asReq({ cname: bob })), framed(asReq({ sname: WEB })))
    const codes = [25, 6, 25]
    expect((await overTcp(port, octets, 3)).map((reply) => decodeKrbError(reply).errorCode)).toEqual(codes)

    const socket = connect({ port, host: LOOPBACK, noDelay: true })
    const replies = readMessages(socket, 3)
    for (const octet of octets) {
      socket.write(Uint8Array.of(octet))
      if (octet % 16 === 0) await setTimeout(0)
    }
    expect((await replies).map((reply) => decodeKrbError(reply).errorCode)).toEqual(codes)
    socket.destroy()
  })

  test('a client that has ended its side still gets the answer', async () => {
    const socket = connect(await listening(), LOOPBACK)
    socket.end(framed(asReq()))
    expect(await readMessages(socket, 2)).toHaveLength(1)
  })

  test('§7.2.2: a length with the high bit, or over 1 MiB, is KRB_ERR_FIELD_TOOLONG and the end', async () => {
    const port = await listening()
    for (const length of [0x80000000, 0xffffffff, 1024 * 1024 + 1]) {
      const octets = concat(uint32be(length), new Uint8Array(100))
      const replies = await overTcp(port, octets, 2)
      expect(replies.map((reply) => decodeKrbError(reply).errorCode)).toEqual([ERROR.KRB_ERR_FIELD_TOOLONG])
    }
  })

  test('what is no request ends a connection, and no datagram answers it', async () => {
    const port = await listening()
    expect(await overTcp(port, framed(new Uint8Array(0)))).toEqual([])
    expect(await overTcp(port, framed(Uint8Array.of(1, 2, 3)))).toEqual([])
    expect(await overUdp(port, Uint8Array.of(1, 2, 3), 50)).toBeUndefined()
    expect(await overUdp(port, asReq())).toBeDefined()
  })
})

describe('K51: nobody but this machine', () => {
  test('is listened to', async () => {
    const port = await listening()
    const others = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ family, internal }) => family === 'IPv4' && !internal)
    for (const { address } of [...others, { address: '127.0.0.2' }]) {
      const socket = connect(port, address)
      await expect(once(socket, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    }
  })
})

describe('ports', () => {
  test('a busy one is PORT_IN_USE, for TCP and for UDP alone', async () => {
    const port = await listening()
    await expect(listen(lab().kdc, port)).rejects.toMatchObject({ code: 'PORT_IN_USE', name: 'UsageError' })

    const socket = createSocket('udp4').bind(0, LOOPBACK)
    await once(socket, 'listening')
    await expect(listen(lab().kdc, socket.address().port)).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    socket.close()
    await once(socket, 'close')

    const server = createServer().listen(0, LOOPBACK)
    await once(server, 'listening')
    const address = server.address() as { port: number }
    await expect(listen(lab().kdc, address.port)).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    server.close()
  })

  test('is free again after close, though a connection was open', async () => {
    const { kdc } = lab()
    const first = await listen(kdc)
    const socket = connect(first.port, LOOPBACK)
    socket.on('error', () => {})
    await once(socket, 'connect')
    const ended = once(socket, 'close')
    await first.close()
    await ended
    const second = await listen(kdc, first.port)
    expect(second.port).toBe(first.port)
    await second.close()
  })
})

describe('faults of the listener', () => {
  test('too-big: over UDP, not over TCP', async () => {
    const port = await listening(['too-big'])
    const reply = decodeKrbError((await overUdp(port, asReq())) ?? new Uint8Array(0))
    expect(reply.errorCode).toBe(ERROR.KRB_ERR_RESPONSE_TOO_BIG)
    const [other] = await overTcp(port, framed(asReq()))
    expect(decodeKrbError(other ?? new Uint8Array(0)).errorCode).toBe(ERROR.KDC_ERR_PREAUTH_REQUIRED)
  })

  test('silent: takes the request and says nothing', async () => {
    const port = await listening(['silent'])
    expect(await overUdp(port, asReq(), 50)).toBeUndefined()
    const socket = connect(port, LOOPBACK)
    socket.write(framed(asReq()))
    const [first] = await Promise.race([once(socket, 'data'), setTimeout(50, ['silence'])])
    expect(first).toBe('silence')
    socket.destroy()
  })

  test('trickle: one octet at a time', async () => {
    const socket = connect(await listening(['trickle']), LOOPBACK)
    socket.write(framed(asReq()))
    const sizes: number[] = []
    socket.on('data', (chunk) => sizes.push(chunk.length))
    const [reply] = await readMessages(socket, 1)
    expect(decodeKrbError(reply ?? new Uint8Array(0)).errorCode).toBe(ERROR.KDC_ERR_PREAUTH_REQUIRED)
    expect(sizes.length).toBeGreaterThan(50)
    socket.destroy()
  })
})
