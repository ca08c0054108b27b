import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Credentials, createInitiator } from '../../src/entries/index.ts'
import { createNegotiateServer } from '../../src/entries/server.ts'
import { SERVER_ENTRIES } from '../unit/entries/server-entries.ts'
import { eventually, World } from '../unit/http-client/site.ts'

/** Clients that are slow, go away or never end, beside good ones: those are served, and nothing stays behind. */

let world: World
let server: Server | undefined
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

async function authorization(): Promise<string> {
  const { alice, realm } = world
  const context = await createInitiator({ target: 'HTTP@localhost', credentials: alice, config: realm.config })
  return `Negotiate ${Buffer.from((await context.step()).token as Uint8Array).toString('base64')}`
}

const hasHandlers = SERVER_ENTRIES.filter(({ name }) => ['node:http', 'Express', 'Fastify', 'Koa'].includes(name))

test('a handler that never answers: its client goes away, and what it held ends', async () => {
  let delegated: Credentials | undefined
  const guard = createNegotiateServer({ keytab: world.realm.environment.KRB5_KTNAME, delegation: true })
  const own = createServer(async (req, res) => {
    delegated = (await guard.handle(req, res))?.delegated
  })
  server = own
  await new Promise<void>((resolve) => own.listen(0, '127.0.0.1', resolve))
  const { port } = own.address() as AddressInfo
  const aborter = new AbortController()
  const { alice, realm } = world
  const flags = ['mutual', 'delegate'] as const
  const context = await createInitiator({ target: 'HTTP@localhost', credentials: alice, config: realm.config, flags })
  const token = Buffer.from((await context.step()).token as Uint8Array).toString('base64')
  const headers = { authorization: `Negotiate ${token}` }
  const asked = fetch(`http://127.0.0.1:${port}/`, { headers, signal: aborter.signal }).catch(() => {})
  await eventually(() => delegated !== undefined)
  expect((await (delegated as unknown as Credentials).login()).principal).toBe('alice@EXAMPLE.TEST')
  aborter.abort()
  await asked
  await eventually(() => false, 50)
  await expect((delegated as unknown as Credentials).login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  await guard.close()
})

describe.each(hasHandlers)('$name', ({ make }) => {
  test('S86 200 slow sockets, and 50 that go away in the middle of a login, beside 100 good clients', async () => {
    server = await make({ keytab: world.realm.environment.KRB5_KTNAME })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const open = (): Socket => connect(port, '127.0.0.1').on('error', () => {})
    const slow = Array.from({ length: 200 }, () => {
      const socket = open()
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Negotiate YII')
      return socket
    })
    const leaving = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const text = `POST / HTTP/1.1\r\nHost: x\r\nAuthorization: ${await authorization()}\r\nContent-Length: 100000\r\n\r\nbegin`
        const socket = open()
        socket.write(text, () => socket.destroy())
        return socket
      }),
    )
    const good = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { authorization: await authorization() } })
        return `${response.status} ${await response.text()}`
      }),
    )
    expect(new Set(good)).toEqual(new Set(['200 Hello alice@EXAMPLE.TEST']))
    for (const socket of [...slow, ...leaving]) socket.destroy()
    const connections = () =>
      new Promise<number>((resolve) => server?.getConnections((_error, count) => resolve(count)))
    let left = await connections()
    await eventually(() => {
      void connections().then((count) => {
        left = count
      })
      return left <= 100
    })
    expect(left).toBeLessThanOrEqual(100) // those that fetch keeps
  })
})
