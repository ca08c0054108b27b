import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KerberosTicket } from '../../src/entries/index.ts'
import { World } from '../unit/http-client/site.ts'

/** The program of examples/forward-proxy, from the built package: what it does not let out. */

const PROGRAM = fileURLToPath(new URL('../../examples/forward-proxy/forward-proxy.mjs', import.meta.url))

let world: World
const children: ChildProcess[] = []
let port: number

beforeAll(async () => {
  world = await World.start()
  port = await start([])
})
afterAll(async () => {
  for (const child of children) child.kill()
  await world?.[Symbol.asyncDispose]()
})

/** The port of a proxy. */
async function start(options: string[], before: string[] = []): Promise<number> {
  const { KRB5_KTNAME = '' } = world.realm.environment
  const child = spawn(process.execPath, [...before, PROGRAM, '--keytab', KRB5_KTNAME, '--port', '0', ...options])
  children.push(child)
  let said = ''
  child.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  while (!/:(\d+), tunnels/.test(said)) await once(child.stdout as NodeJS.EventEmitter, 'data')
  return Number(/:(\d+), tunnels/.exec(said)?.[1])
}

/** A request with a fresh login. */
async function requestFor(line: string, more = 'Connection: close\r\n\r\n', login = true): Promise<string> {
  const options = { credentials: world.alice, config: world.realm.config }
  const ticket = login ? (await KerberosTicket.for('HTTP@localhost', options)).authorization : undefined
  const field = ticket === undefined ? '' : `Proxy-Authorization: ${ticket}\r\n`
  return `${line} HTTP/1.1\r\nHost: x\r\n${field}${more}`
}

/** What comes back for it. */
async function ask(line: string, login = true, at = port): Promise<string> {
  const socket = connect(at, '127.0.0.1')
  socket.write(await requestFor(line, undefined, login))
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

describe('examples/forward-proxy', () => {
  test.each(['GET http://example.com/', 'CONNECT example.com:443'])('%s without a login: 407', async (line) => {
    const text = await ask(line, false)
    expect(text).toMatch(/^HTTP\/1\.1 407 Proxy Authentication Required\r\n/)
    expect(text).toMatch(/^Proxy-Authenticate: Negotiate\r$/im)
  })

  test.each<[string, RegExp]>([
    ['GET http://localhost:22/', /^HTTP\/1\.1 403 [\s\S]*localhost is not outside/],
    ['GET http://127.0.0.1/', /^HTTP\/1\.1 403 /],
    ['GET http://[::1]/', /^HTTP\/1\.1 403 /],
    ['GET http://[::ffff:127.0.0.1]/', /^HTTP\/1\.1 403 /],
    ['GET http://169.254.169.254/latest/meta-data/', /^HTTP\/1\.1 403 /],
    ['GET http://0.0.0.0/', /^HTTP\/1\.1 403 /],
    ['CONNECT localhost:443', /^HTTP\/1\.1 403 /],
    ['CONNECT [::1]:443', /^HTTP\/1\.1 403 /],
    ['CONNECT example.com:25', /^HTTP\/1\.1 403 [\s\S]*No tunnels to port 25/],
    ['CONNECT example.com', /^HTTP\/1\.1 403 /],
    ['GET /path', /^HTTP\/1\.1 400 /],
    ['GET ftp://example.com/', /^HTTP\/1\.1 400 /],
  ])('%s goes nowhere', async (line, answer) => {
    expect(await ask(line)).toMatch(answer)
  })

  test('a wrong option is named, with the usage', () => {
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, '--keytap', 'x'], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([2, expect.stringMatching(/--keytap[\s\S]*usage: forward-proxy/)])
  })
})

describe('examples/forward-proxy, and servers and clients that mean no good', () => {
  let origin: Server
  let far: number
  let near: number
  let answer: (socket: Socket) => void

  beforeAll(async () => {
    origin = createServer((socket) => answer(socket.on('error', () => {}))).listen(0, '127.0.0.1')
    await once(origin, 'listening')
    far = (origin.address() as AddressInfo).port
    const slowNames =
      'import dns from "node:dns/promises"; import { syncBuiltinESMExports } from "node:module"; import { setTimeout } from "node:timers/promises";' +
      'const { lookup } = dns; dns.lookup = async (name) => { await setTimeout(100); return lookup(name) }; syncBuiltinESMExports()'
    near = await start(['--loopback', '--tunnel', String(far)], ['--import', `data:text/javascript,${slowNames}`])
  })
  afterAll(() => origin?.close())

  /** A client that closes nothing by itself. */
  function client(): { readonly socket: Socket; readonly isClosed: Promise<boolean> } {
    const socket = connect({ port: near, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
    const isClosed = once(socket.resume(), 'end')
      .then(() => setTimeout(50))
      .then(() => refusesBytes(socket))
    return { socket, isClosed }
  }

  /** Bytes for a socket that is gone are answered with a reset, and more are not even sent. */
  async function refusesBytes(socket: Socket): Promise<boolean> {
    const reset = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)))
    socket.write('x')
    await setTimeout(50)
    socket.write('x')
    const isClosed = await Promise.race([reset, setTimeout(1000).then(() => false)])
    socket.destroy()
    return isClosed
  }

  test('this machine’s own addresses are not outside', async () => {
    const own = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
    for (const { address, family } of own.filter(({ address }) => !address.startsWith('fe80'))) {
      const host = family === 'IPv6' ? `[${address}]` : address
      expect(await ask(`GET http://${host}:1/`), address).toMatch(/^HTTP\/1\.1 403 /)
    }
  })

  test.each([
    ['chunks', 'Transfer-Encoding: chunked\r\n\r\n1b\r\nGET /other HTTP/1.1\r\nX: y\r\n\r\n0\r\n\r\n'],
    [
      'a length that Connection names',
      'Connection: content-length\r\nContent-Length: 27\r\n\r\nGET /other HTTP/1.1\r\nX: y\r\n',
    ],
  ])('P52 RFC 9112 §6: the body of a request stays one: %s', async (_name, more) => {
    for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'POST']) await staysOne(method, more)
  })

  async function staysOne(method: string, more: string): Promise<void> {
    let received = ''
    const done = new Promise<void>((resolve) => {
      answer = (socket) =>
        void socket.on('data', (chunk) => {
          received += String(chunk)
          if (received.includes('X: y')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', resolve)
        })
    })
    const { socket } = client()
    socket.write(await requestFor(`${method} http://127.0.0.1:${far}/`, more))
    await done
    socket.destroy()
    const [head = ''] = received.split('\r\n\r\n')
    expect(head).toMatch(/^(Transfer-Encoding: chunked|Content-Length: 27)$/im)
  }

  test.each(['gzip, chunked', 'chunked, chunked', 'xchunked'])(
    'P52 a coding that is not known is refused: %s',
    async (coding) => {
      answer = (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      const { socket } = client()
      const more = `Connection: close\r\nTransfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`
      socket.write(await requestFor(`GET http://127.0.0.1:${far}/`, more))
      const [head] = (await once(socket, 'data')) as [Buffer]
      expect(String(head)).toMatch(/^HTTP\/1\.1 (400|501) /)
      socket.destroy()
    },
  )

  test.each(['200 O\x01K', '099 x', '101 Changed', '200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked'])(
    'an answer that is none (%j) is 502, and the proxy lives',
    async (status) => {
      const more = status.startsWith('101') ? 'Upgrade: x\r\nConnection: upgrade\r\n' : ''
      answer = (socket) => void socket.once('data', () => socket.end(`HTTP/1.1 ${status}\r\n${more}\r\n`))
      const text = await ask(`GET http://127.0.0.1:${far}/`, true, near)
      expect(text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/)
    },
  )

  test('a refused tunnel’s socket is closed, whether its client closes it or not', async () => {
    const { socket, isClosed } = client()
    socket.write(await requestFor('CONNECT x:443', '\r\n', false))
    expect(await isClosed).toBe(true)
  })

  test('so is a tunnel’s whose far end is closed', async () => {
    answer = (socket) => void socket.end('bye')
    const { socket, isClosed } = client()
    socket.write(await requestFor(`CONNECT 127.0.0.1:${far}`, '\r\n'))
    expect(await isClosed).toBe(true)
  })

  test.each(['CONNECT 127.0.0.1:', 'GET http://127.0.0.1:'])(
    '%s: for a client that has left nothing stays open',
    async (line) => {
      const open = new Set<Socket>()
      answer = (socket) => void open.add(socket.resume().on('close', () => open.delete(socket)))
      for (let i = 0; i < 4; i++) {
        const { socket, isClosed } = client()
        isClosed.catch(() => {})
        socket.write(await requestFor(`${line}${far}`, '\r\n'))
        await setTimeout(10 * i)
        socket.resetAndDestroy()
      }
      await setTimeout(400)
      expect(open.size).toBe(0)
    },
  )
})
