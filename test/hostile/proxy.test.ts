import { mkdtemp } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NegotiateClientOptions } from '../../src/entries/wiring/client.ts'
import { CLIENTS, causes } from '../unit/adapters-client/clients.ts'
import { guard, ProxySite } from '../unit/adapters-client/proxy-site.ts'
import { errorOf, eventually, Site, secretsIn, World } from '../unit/http-client/site.ts'

/** Proxies that send what no proxy should, and a user who changes behind an honest one. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

/** Speaks octets: what each request is answered with, by its number. */
class RawProxy implements AsyncDisposable {
  readonly requests: string[] = []
  readonly sockets = new Set<Socket>()
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #answer: (nth: number, socket: Socket) => string | undefined

  constructor(answer: (nth: number, socket: Socket) => string | undefined) {
    this.#answer = answer
  }

  static async start(answer: (nth: number, socket: Socket) => string | undefined): Promise<RawProxy> {
    const proxy = new RawProxy(answer)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  #serve(socket: Socket): void {
    this.sockets.add(socket)
    let head = ''
    socket.on('error', () => {}).on('close', () => this.sockets.delete(socket))
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      const text = this.#answer(this.requests.push(head), socket)
      head = ''
      if (text !== undefined) socket.write(text, 'latin1')
    })
  }

  get url(): string {
    return `http://localhost:${(this.#server.address() as { port: number }).port}`
  }

  get tokens(): readonly string[] {
    return this.requests.flatMap((head) => /proxy-authorization: negotiate (\S+)/i.exec(head)?.[1] ?? [])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const ASKS = 'HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n'

function through(url: string, more: NegotiateClientOptions = {}): NegotiateClientOptions {
  return { credentials: world.alice, config: world.realm.config, proxy: url, ...more }
}

describe.each(CLIENTS.filter(({ proxies }) => proxies))('an answer to CONNECT, to $name', ({ open }) => {
  const target = 'https://localhost:65000/'

  test.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'MALFORMED'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nA: b\r\n\r\n', 'MALFORMED'],
    ['a head of 1 MiB', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(2 ** 20)}\r\n\r\n`, 'MALFORMED'],
    ['interim answers only', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(50), 'PROXY_UNREACHABLE'],
    ['a refusal', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', 'PROXY_REFUSED'],
    [
      'a redirect',
      'HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n',
      'PROXY_REFUSED',
    ],
    [
      'a token that is none',
      `${ASKS.replace('Negotiate', 'Negotiate ====')}Content-Length: 0\r\n\r\n`,
      'PROXY_LOGIN_FAILED',
    ],
    [
      'two tokens',
      `${ASKS}Proxy-Authenticate: Negotiate YII=, Negotiate YII=\r\nContent-Length: 0\r\n\r\n`,
      'PROXY_LOGIN_FAILED',
    ],
  ])('%s is an error, and nothing is sent', async (_, text, code) => {
    await using proxy = await RawProxy.start(() => text)
    const error = await errorOf(open(through(proxy.url))(target))
    expect(causes(error)).toContain(code)
    expect(proxy.tokens.length).toBeLessThanOrEqual(1)
    expect(proxy.requests.every((head) => head.startsWith('CONNECT localhost:65000 HTTP/1.1\r\n'))).toBe(true)
    expect(secretsIn(JSON.stringify(error) + String(error), proxy.tokens)).toEqual([])
    await eventually(() => proxy.sockets.size === 0)
    expect(proxy.sockets.size).toBe(0)
  })

  test.each([
    ['chunked', 'Transfer-Encoding: chunked\r\n\r\n4\r\nwho?\r\n0\r\n\r\n'],
    ['until the connection ends', '\r\nwho?'],
    ['of two lengths', 'Content-Length: 4\r\nContent-Length: 5\r\n\r\nwho?'],
    ['of a length that is none', 'Content-Length: -1\r\n\r\n'],
    ['too long to be read', 'Content-Length: 999999\r\n\r\nwho?'],
  ])('a 407 with a page %s: the token goes over another connection', async (_, rest) => {
    const seen: Socket[] = []
    await using proxy = await RawProxy.start((nth, socket) => {
      seen.push(socket)
      return nth === 1 ? `${ASKS}${rest}` : `${ASKS}Content-Length: 0\r\n\r\n`
    })
    expect(causes(await errorOf(open(through(proxy.url))(target)))).toContain('PROXY_LOGIN_FAILED')
    expect(proxy.tokens.length).toBe(1)
    expect(seen[0]).not.toBe(seen.at(-1))
  })

  test('closed within its head: an error each time, and the tokens differ', async () => {
    const whole = `${ASKS}Content-Length: 4\r\n\r\nwho?`
    for (let length = 0; length < whole.indexOf('who?'); length += 7) {
      await using proxy = await RawProxy.start((nth, socket) => {
        if (nth === 1) return whole
        socket.end(whole.slice(0, length))
        return undefined
      })
      expect(causes(await errorOf(open(through(proxy.url))(target)))).toContain('PROXY_UNREACHABLE')
      expect(new Set(proxy.tokens).size).toBe(proxy.tokens.length)
    }
  })

  test('what is not the server’s TLS behind a tunnel is an error', async () => {
    await using proxy = await RawProxy.start(
      () => 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
    )
    expect(await errorOf(open(through(proxy.url))(target))).toBeInstanceOf(Error)
  })

  test('silence ends with the caller’s patience', async () => {
    await using proxy = await RawProxy.start(() => undefined)
    const aborter = new AbortController()
    const calling = errorOf(open(through(proxy.url))(target, { signal: aborter.signal }))
    await eventually(() => proxy.requests.length > 0)
    aborter.abort()
    expect(await calling).toBeInstanceOf(Error)
  })

  test('nobody listens there', async () => {
    const gone = await RawProxy.start(() => undefined)
    const { url } = gone
    await gone[Symbol.asyncDispose]()
    expect(causes(await errorOf(open(through(url))(target)))).toContain('PROXY_UNREACHABLE')
  })
})

describe('the user’s default cache, behind a proxy', () => {
  let before: string | undefined
  let cache: string
  beforeAll(async () => {
    before = process.env['KRB5CCNAME']
    cache = `FILE:${join(await mkdtemp(join(tmpdir(), 'cache-')), 'cc')}`
    process.env['KRB5CCNAME'] = cache
  })
  afterAll(() => {
    if (before === undefined) delete process.env['KRB5CCNAME']
    else process.env['KRB5CCNAME'] = before
  })

  const rows = CLIENTS.filter(({ proxies, owns }) => proxies && owns).flatMap((client) =>
    [false, true].map((tunnel) => ({ ...client, tunnel })),
  )
  test.each(rows)('C52 $name, tunnel $tunnel: it changes hands, and no connection does', async ({ open, tunnel }) => {
    await using site = await Site.start(world.honest())
    const users: string[] = []
    const honest = guard(world, { users })
    const byConnection = new Map<number, Set<string>>()
    await using proxy = await ProxySite.start(async (seen, nth) => {
      const count = users.length
      const reply = await honest(seen, nth)
      const known = byConnection.get(seen.connection) ?? new Set()
      byConnection.set(seen.connection, known)
      for (const user of users.slice(count)) known.add(user)
      return reply
    })
    const call = open({ config: world.realm.config, proxy: { url: proxy.url, tunnel } })
    for (const [credentials, user] of [
      [world.alice, 'alice@EXAMPLE.TEST'],
      [world.bob, 'bob@EXAMPLE.TEST'],
      [world.alice, 'alice@EXAMPLE.TEST'],
    ] as const) {
      await credentials.save(cache)
      const from = users.length
      for (let i = 0; i < 3; i++) {
        const { status, text } = await call(site.url)
        if (status === 200) expect(text).toBe(user)
        else expect(tunnel).toBe(false) // an agent behind a proxy in absolute form
      }
      expect(new Set(users.slice(from)).size).toBeLessThanOrEqual(1)
      expect(users.slice(from).every((one) => one === user)).toBe(true)
    }
    expect(new Set(users)).toEqual(new Set(['alice@EXAMPLE.TEST', 'bob@EXAMPLE.TEST']))
    for (const known of byConnection.values()) expect(known.size).toBeLessThanOrEqual(1)
  })
})
