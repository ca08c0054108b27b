import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createStream } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import axios from 'axios'
import got from 'got'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { eventually, Site, World } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'

/** Pages of a 401 or 407 that are long, or never end: they are for nobody, and keep nobody. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const ALICE = 'alice@EXAMPLE.TEST'
const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

/** What a page is after its head. */
const PAGES: readonly [string, (response: ServerResponse) => void][] = [
  [
    'that never ends',
    (response) => {
      const more = () => {
        if (!response.destroyed) response.write(Buffer.alloc(65_536), () => setTimeout(more, 1))
      }
      more()
    },
  ],
  ['of which nothing comes', (response) => response.flushHeaders()],
  ['that is cut off', (response) => void response.write('who', () => response.destroy())],
]

interface Asking extends AsyncDisposable {
  readonly url: string
  /** Pages that somebody still gets. */
  readonly open: Set<ServerResponse>
}

async function asking(status: 401 | 407, page: (response: ServerResponse) => void): Promise<Asking> {
  const [challenge, credentials] =
    status === 401
      ? (['www-authenticate', 'authorization'] as const)
      : (['proxy-authenticate', 'proxy-authorization'] as const)
  const open = new Set<ServerResponse>()
  const server: Server = createServer(async ({ headers }, response) => {
    response.on('error', () => {})
    const token = /^Negotiate (\S+)$/.exec(String(headers[credentials] ?? ''))?.[1]
    if (token === undefined) {
      open.add(response)
      response.on('close', () => open.delete(response))
      return page(response.writeHead(status, { [challenge]: 'Negotiate' }))
    }
    const { answer, user } = await world.accept(token)
    response.writeHead(200, { [challenge]: `Negotiate ${answer}` }).end(user)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const end = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { url: `http://localhost:${(server.address() as AddressInfo).port}`, open, [Symbol.asyncDispose]: end }
}

describe.each(CLIENTS.filter(({ answers }) => answers))('$name', ({ open, proxies }) => {
  test.each(PAGES)(
    'C74: the page of a 401 %s does not hold the login up',
    async (_, page) => {
      await using site = await asking(401, page)
      expect(await open(alice())(site.url)).toMatchObject({ status: 200, text: ALICE })
      await eventually(() => site.open.size === 0)
      expect(site.open.size).toBe(0)
    },
    8000,
  )

  test.each(PAGES)(
    'C74: nor does that of a proxy’s 407 %s',
    async (_, page) => {
      if (!proxies) return
      await using proxy = await asking(407, page)
      const call = open(alice({ proxy: { url: proxy.url, preemptive: false } }))
      expect(await call('http://web1.corp.example/')).toMatchObject({ status: 200, text: ALICE })
      await eventually(() => proxy.open.size === 0)
      expect(proxy.open.size).toBe(0)
    },
    8000,
  )

  test('a short page leaves the connection to the next request', async () => {
    await using site = await Site.start(world.honest())
    const call = open(alice())
    for (let i = 0; i < 5; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.connections).toBeLessThan(5)
  })
})

describe('bounds of the client’s own', () => {
  const big = () =>
    Site.start(async (seen, nth, response) => {
      const reply = await world.honest()(seen, nth, response)
      return seen.token === undefined ? { ...reply, body: 'x'.repeat(5000) } : reply
    })

  test('axios: maxContentLength is that of the answer', async () => {
    await using site = await big()
    const api = negotiateAxios(axios.create({ maxContentLength: 100 }), alice())
    expect((await api.get(site.url)).data).toBe(ALICE)
  })

  test('axios: without redirects', async () => {
    await using site = await big()
    expect((await negotiateAxios(axios.create({ maxRedirects: 0 }), alice()).get(site.url)).data).toBe(ALICE)
  })

  test('axios: as a stream', async () => {
    await using site = await big()
    const { data } = await negotiateAxios(axios.create({ responseType: 'stream' }), alice()).get(site.url)
    expect(String(await data.setEncoding('utf8').toArray())).toBe(ALICE)
  })

  test('got: cookies that came with the 401 go to its jar', async () => {
    await using site = await Site.start(async (seen, nth, response) => {
      const reply = await world.honest()(seen, nth, response)
      return seen.token === undefined ? { ...reply, headers: { ...reply?.headers, 'set-cookie': 'lb=1' } } : reply
    })
    const jar: string[] = []
    const cookieJar = { setCookie: async (raw: string) => void jar.push(raw), getCookieString: async () => jar.join() }
    expect(await negotiateGot(got, alice())(site.url, { cookieJar }).text()).toBe(ALICE)
    expect(site.seen.map(({ headers }) => headers['cookie'])).toEqual([undefined, 'lb=1'])
  })
})

describe.each(CLIENTS)('$name', ({ open }) => {
  test.each([
    ['a length', 'Content-Length: 100\r\n\r\nx'],
    ['chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nx'],
  ])(
    'C74: the page of a 401 (%s) is cut off while a ticket is fetched that nobody can get: the call ends',
    async (_what, rest) => {
      const server = createStream((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => socket.end(`HTTP/1.1 401 U\r\nWWW-Authenticate: Negotiate\r\n${rest}`))
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const url = `http://localhost:${(server.address() as AddressInfo).port}/`
      const call = open(alice({ targetName: 'HTTP@nobody.example', origins: [url] }))
      const ended = call(url).then(
        () => 'ended',
        () => 'ended',
      )
      expect(await Promise.race([ended, sleep(5000, 'silence')])).toBe('ended')
      server.close()
    },
  )
})
