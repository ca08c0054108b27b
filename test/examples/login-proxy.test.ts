import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Site, World } from '../unit/http-client/site.ts'

/** The program of examples/login-proxy, from the built package, with a client that knows nothing of Kerberos. */

const PROGRAM = fileURLToPath(new URL('../../examples/login-proxy/login-proxy.mjs', import.meta.url))

let world: World
let site: Site
/** A server that answers anything with that text. */
let odd: Server
let oddAnswer = ''
const oddUrl = () => `http://localhost:${(odd.address() as AddressInfo).port}`
let child: ChildProcess
let port: number
let said = ''

beforeAll(async () => {
  world = await World.start()
  await world.alice.save(world.realm.environment.KRB5CCNAME)
  site = await Site.start(
    world.honest(({ method, body, headers }, user) => ({
      headers: { 'x-seen': Object.keys(headers).join() },
      body: `${user} ${method} ${body}`,
    })),
  )
  odd = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(oddAnswer, 'latin1'))
  })
  await once(odd.listen(0, '127.0.0.1'), 'listening')
  const env = { ...process.env, ...world.realm.environment }
  child = spawn(process.execPath, [PROGRAM, '--allow', site.url, '--allow', oddUrl(), '--port', '0'], { env })
  child.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  while (!/localhost:(\d+) /.test(said)) await once(child.stdout as NodeJS.EventEmitter, 'data')
  port = Number(/localhost:(\d+) /.exec(said)?.[1])
})
afterAll(async () => {
  child?.kill()
  odd?.close()
  await site?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

async function send(path: string, headers: Record<string, string> = {}, method = 'GET', body = '') {
  const outgoing = request({ host: '127.0.0.1', port, method, path, headers })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode, text, headers: response.headers }
}

describe('examples/login-proxy', () => {
  test('logs in for who cannot', async () => {
    expect(await send(`${site.url}/page`)).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST GET ' })
    expect(await send(site.url, {}, 'POST', 'a=b')).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST POST a=b' })
    expect(new Set(site.tokens).size).toBe(site.tokens.length)
  })

  test('hands no field of the connection on, nor those that the connection names', async () => {
    const { headers } = await send(site.url, {
      connection: 'keep-alive, x-own',
      'x-own': '1',
      te: 'trailers',
      'x-kept': '1',
    })
    const seen = String(headers['x-seen']).split(',')
    expect(seen).toContain('x-kept')
    for (const name of ['x-own', 'te', 'proxy-connection']) expect(seen).not.toContain(name)
  })

  test('refuses servers that were not named, requests that are none of a proxy’s, and pages of other sites', async () => {
    const from = site.seen.length
    expect(await send('http://other.example/')).toMatchObject({ status: 403, text: expect.stringContaining('--allow') })
    expect(await send(`http://127.0.0.1:${site.port}/`)).toMatchObject({ status: 403 })
    expect(await send('/')).toMatchObject({ status: 400 })
    for (const where of ['cross-site', 'same-site']) {
      expect(await send(site.url, { 'sec-fetch-site': where })).toMatchObject({ status: 403 })
    }
    expect(site.seen.length).toBe(from)
  })

  /** What comes back for a request as it stands on the wire, until the connection ends. */
  async function raw(text: string): Promise<string> {
    const socket = connect(port, '127.0.0.1')
    socket.write(text)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    return answer
  }

  const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
  const length = SMUGGLED.length

  describe.each(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'POST', 'PUT', 'PROPFIND'])('P52 %s', (method) => {
    test.each([
      ['chunks', 'close', `Transfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`],
      ['a length', 'close', `Content-Length: ${length}\r\n\r\n${SMUGGLED}`],
      ['a length that Connection names', 'close, content-length', `Content-Length: ${length}\r\n\r\n${SMUGGLED}`],
      [
        'chunks that Connection names',
        'close, transfer-encoding',
        `Transfer-Encoding: Chunked\r\n\r\n${length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
      ],
    ])('a body stays one, given by %s (RFC 9112 §6)', async (_, connection, rest) => {
      const from = site.seen.length
      const answer = await raw(
        `${method} ${site.url}/first HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\n${rest}`,
      )
      expect(answer).toMatch(/^HTTP\/1\.1 200 /)
      await send(`${site.url}/next`)
      expect(site.seen.slice(from).map(({ url, body }) => [url, body])).toEqual([
        ['/first', SMUGGLED],
        ['/next', ''],
      ])
    })
  })

  test.each([
    'gzip, chunked',
    'chunked, chunked',
    'xchunked',
    'identity, chunked',
    'chunked\r\nTransfer-Encoding: chunked',
  ])('P52 a coding that is not known is refused: %s', async (coding) => {
    const from = site.seen.length
    const head = `GET ${site.url}/first HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: ${coding}\r\n\r\n`
    expect(await raw(`${head}0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 (400|501) /)
    expect(site.seen.length).toBe(from)
  })

  test.each([
    ['a control character in its reason', 'HTTP/1.1 200 O\x01K\r\nConnection: close\r\n\r\n'],
    ['an escape sequence in its reason', 'HTTP/1.1 200 \x1b]0;x\x07\r\nConnection: close\r\n\r\n'],
    ['octets above ASCII in its reason', 'HTTP/1.1 200 \xe9\xff\r\nConnection: close\r\n\r\n'],
    ['a status that is none', 'HTTP/1.1 099 No\r\nConnection: close\r\n\r\n'],
    ['a status above all', 'HTTP/1.1 999 No\r\nConnection: close\r\n\r\n'],
    ['an upgrade nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'],
    ['a login that is none', 'HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate !\r\nConnection: close\r\n\r\n'],
    ['nothing', ''],
  ])('C85 outlives a server that answers with %s', async (_what, answer) => {
    oddAnswer = answer
    await raw(`GET ${oddUrl()}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    expect(child.exitCode).toBeNull()
    expect((await send(site.url)).status).toBe(200)
  })

  test('opens no tunnel, and outlives who asks for one', async () => {
    for (let i = 0; i < 3; i++) {
      const outgoing = request({ host: '127.0.0.1', port, method: 'CONNECT', path: 'localhost:443' })
      outgoing.end()
      const [response, socket] = (await once(outgoing, 'connect')) as [IncomingMessage, { destroy(): void }]
      expect(response.statusCode).toBe(405)
      socket.destroy()
    }
    expect((await send(site.url)).status).toBe(200)
  })

  test('says what is missing when it starts', () => {
    for (const args of [[], ['--allow', 'everything'], ['--all']]) {
      const { status, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' })
      expect(status).toBe(2)
      expect(stderr).toContain('usage: login-proxy --allow ORIGIN')
    }
  })

  test('is reached from this machine alone', async () => {
    const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
    for (const { internal, family, address } of addresses) {
      if (internal || family !== 'IPv4') continue
      const socket = connect(port, address)
      const [error] = (await once(socket, 'error')) as [{ code?: string }]
      expect(error.code).toBe('ECONNREFUSED')
    }
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
  })
})
