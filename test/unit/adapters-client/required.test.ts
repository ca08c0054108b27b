import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { createServer, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createStream } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import axios, { type AxiosRequestConfig } from 'axios'
import got from 'got'
import { Agent as Agent7 } from 'undici7'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { NegotiateAgent } from '../../../src/entries/agent.ts'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { errorOf, Site, World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'
import { CLIENTS, causes } from './clients.ts'
import { ProxySite } from './proxy-site.ts'

/** Mutual authentication required: what goes another way than the login sees is refused, since nothing can prove who answers. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterEach(() => {
  vi.unstubAllEnvs()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

type Mode = 'required' | 'auto'
const alice = (mutualAuthentication: Mode): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  mutualAuthentication,
})

/** A server that proves nothing. */
const impostor = (): Promise<Site> => Site.start(async () => ({ body: 'trust me' }))
const api = (mode: Mode, defaults: AxiosRequestConfig = {}) => negotiateAxios(axios.create(defaults), alice(mode))

/** Ways past the login, and whether the request is stopped before it is sent. */
interface Past {
  readonly way: string
  readonly isSent?: boolean
  send(mode: Mode, url: string): Promise<unknown>
}

async function onAgent(mode: Mode, url: string, what: object): Promise<string> {
  const { port } = new URL(url)
  const request = httpRequest({ host: 'localhost', port, agent: new NegotiateAgent(alice(mode)), ...what }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return (await response.setEncoding('latin1').toArray()).join('')
}

async function onUndici(mode: Mode, url: string, what: object): Promise<string> {
  const dispatcher = new Agent7().compose(negotiateInterceptor(alice(mode)) as never)
  const response = await dispatcher.request({ origin: url, method: 'GET', path: '/', ...what })
  return response.body.text()
}

const dataOf = async (response: Promise<{ data: unknown }>): Promise<unknown> => (await response).data

const PAST: readonly Past[] = [
  {
    way: 'axios, HTTP_PROXY',
    send(mode, url) {
      vi.stubEnv('http_proxy', url)
      return dataOf(api(mode).get('http://web1.corp.example/'))
    },
  },
  {
    way: 'axios, a proxy of the request',
    send: (mode, url) =>
      dataOf(
        api(mode).get('http://web1.corp.example/', { proxy: { host: 'localhost', port: Number(new URL(url).port) } }),
      ),
  },
  {
    way: 'axios, a request with the adapter fetch',
    send: (mode, url) => dataOf(api(mode).get(url, { adapter: 'fetch' })),
  },
  {
    way: 'axios, a request with an adapter of the program',
    send: (mode, url) =>
      dataOf(
        api(mode).get(url, {
          adapter: async (config) => ({ data: 'trust me', status: 200, statusText: '', headers: {}, config }),
        }),
      ),
  },
  {
    way: 'axios, an adapter set by an interceptor',
    send(mode, url) {
      const instance = api(mode)
      instance.interceptors.request.use((config) => ({ ...config, adapter: 'fetch' }))
      return dataOf(instance.get(url))
    },
  },
  {
    way: 'axios, an adapter set by an interceptor that was there before',
    isSent: true,
    send(mode, url) {
      const instance = axios.create()
      instance.interceptors.request.use((config) => ({ ...config, adapter: 'fetch' }))
      return dataOf(negotiateAxios(instance, alice(mode)).get(url))
    },
  },
  {
    way: 'axios, an instance made of it, with an adapter',
    send: (mode, url) => dataOf(api(mode).create({ adapter: 'fetch' }).get(url)),
  },
  {
    way: 'got, a function for its requests',
    send: (mode, url) =>
      negotiateGot(got, alice(mode))(url, {
        request: (to, options, callback) => httpRequest(to, { ...options, agent: undefined } as object, callback),
        retry: { limit: 0 },
      }).text(),
  },
  {
    way: 'got, agents set by a hook',
    isSent: true,
    send: (mode, url) =>
      negotiateGot(got, alice(mode))(url, {
        hooks: { beforeRequest: [(options) => void Object.assign(options, { agent: {} })] },
        retry: { limit: 0 },
      }).text(),
  },
  { way: 'agent, OPTIONS *', send: (mode, url) => onAgent(mode, url, { method: 'OPTIONS', path: '*' }) },
  { way: 'agent, absolute form', send: (mode, url) => onAgent(mode, url, { path: 'http://web1.corp.example/' }) },
  { way: 'agent, a host that is none of a URL', send: (mode, url) => onAgent(mode, url, { host: '::1%lo' }) },
  { way: 'undici, OPTIONS *', send: (mode, url) => onUndici(mode, url, { method: 'OPTIONS', path: '*' }) },
  { way: 'undici, absolute form', send: (mode, url) => onUndici(mode, url, { path: 'http://web1.corp.example/' }) },
]

describe('C71: required, and a way that the login does not see', () => {
  test.each(PAST)('$way: an error, and nothing of the answer', async ({ send, isSent = false }) => {
    await using site = await impostor()
    const error = await errorOf((async () => expect(await send('required', site.url)).toBeUndefined())())
    expect(causes(error)).toContain('OPTION_UNSUPPORTED')
    if (!isSent) expect(site.seen).toEqual([])
  })

  test.each(PAST.filter(({ way }) => !way.includes('none of a URL') && way !== 'undici, OPTIONS *'))(
    '$way: auto is no refusal',
    async ({ send }) => {
      await using site = await impostor()
      expect(await send('auto', site.url)).toBe('trust me')
    },
  )

  test('axios, HTTPS_PROXY: an error, and nothing of the answer', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    await using site = await Site.start(async () => ({ body: 'trust me' }), certificate('rsa-sha256'))
    await using proxy = await ProxySite.start(async () => ({ pass: {} }))
    vi.stubEnv('https_proxy', proxy.url)
    expect(causes(await errorOf(api('required').get(site.url)))).toContain('OPTION_UNSUPPORTED')
  })

  test('undici’s CONNECT', async () => {
    await using site = await impostor()
    const dispatcher = new Agent7().compose(negotiateInterceptor(alice('required')) as never)
    const connecting = dispatcher.connect({ origin: site.url, path: 'localhost:1' } as never)
    expect(await errorOf(connecting)).toMatchObject({ code: 'OPTION_UNSUPPORTED' })
    expect(site.seen).toEqual([])
  })
})

describe('C71: required, over a socket of this machine', () => {
  const SENDS: readonly [string, (path: string) => Promise<unknown>][] = [
    ['axios', (socketPath) => api('required').get('http://localhost/', { socketPath })],
    [
      'got',
      (path) => negotiateGot(got, alice('required')).extend({ enableUnixSockets: true })(`http://unix:${path}:/`),
    ],
    [
      'agent',
      (socketPath) => once(httpRequest({ socketPath, agent: new NegotiateAgent(alice('required')) }).end(), 'response'),
    ],
  ]
  test.each(SENDS)('%s: a page without a proof is an error', async (name, send) => {
    const path = join(await mkdtemp(join(tmpdir(), 'socket-')), 'http')
    const server = createServer((_request, response) => void response.end('trust me'))
    await once(server.listen(path), 'listening')
    const codes = causes(await errorOf(send(path)))
    expect(codes).toContain(name === 'axios' ? 'TARGET_IS_ADDRESS' : 'MUTUAL_AUTHENTICATION_FAILED')
    server.closeAllConnections()
    server.close()
  })
})

describe('C72: interim responses of a server that has proved nothing', () => {
  const MODES = [
    ['required', []],
    ['auto', []],
    ['optional', [103]],
    ['disabled', [103]],
  ] as const
  test.each(MODES)('%s: tells of %j', async (mutualAuthentication, told) => {
    const server = createStream((socket) =>
      socket
        .on('error', () => {})
        .once('data', () => {
          socket.write('HTTP/1.1 103 Early Hints\r\nLink: <https://evil.example/x.js>; rel=preload\r\n\r\n')
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi')
        }),
    )
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const agent = new NegotiateAgent({ ...alice('auto'), mutualAuthentication })
    const request = httpRequest({ host: 'localhost', port, agent })
    const heard: unknown[] = []
    request.on('information', ({ statusCode }) => heard.push(statusCode))
    await errorOf(once(request.end(), 'response'))
    expect(heard).toEqual(told)
    server.close()
  })

  test('100 Continue is told under any mode: it says nothing but go on', async () => {
    await using site = await Site.start(world.honest())
    const request = httpRequest(site.url, {
      agent: new NegotiateAgent(alice('required')),
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': '3' },
    })
    request.once('continue', () => request.end('one'))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(200)
    response.resume()
  })
})

describe.each(CLIENTS)('$name', ({ open }) => {
  test.each(['Bearer mine', 'Basic YTpi', 'Negotiate AAAA'])(
    'C71: with the caller’s own Authorization (%s) nothing proves who answers: refused before anything is sent',
    async (authorization) => {
      await using site = await impostor()
      const error = await errorOf(open(alice('required'))(site.url, { headers: { authorization } }))
      expect(causes(error)).toContain('OPTION_UNSUPPORTED')
      expect(site.seen).toEqual([])
      const answer = await open(alice('auto'))(site.url, { headers: { authorization } })
      expect(answer).toMatchObject({ status: 200, text: 'trust me' })
    },
  )
})

test.each<[string, (url: string) => Promise<unknown>]>([
  ['auth of axios', (url) => api('required').get(url, { auth: { username: 'a', password: 'b' } })],
  ['a password in the URL, axios', (url) => api('required').get(url.replace('//', '//a:b@'))],
  ['a password in the URL, got', (url) => negotiateGot(got, alice('required'))(url.replace('//', '//a:b@'))],
  [
    'username and password of got',
    (url) => negotiateGot(got, alice('required'))(url, { username: 'a', password: 'b' }),
  ],
])('C71: %s: refused before anything is sent', async (_what, send) => {
  await using site = await impostor()
  expect(causes(await errorOf(send(site.url)))).toContain('OPTION_UNSUPPORTED')
  expect(site.seen).toEqual([])
})

test('C71: a stream of got whose agents a hook has set: nothing of the answer is delivered', async () => {
  await using site = await impostor()
  const hooked = negotiateGot(got, alice('required')).extend({
    hooks: { beforeRequest: [(options) => Object.assign(options, { agent: { http: new HttpAgent() } }) && undefined] },
  })
  const stream = hooked.stream(site.url)
  const error = await errorOf(stream.toArray())
  expect(causes(error)).toContain('OPTION_UNSUPPORTED')
})
