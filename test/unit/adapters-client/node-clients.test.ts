import { Agent as HttpsAgent } from 'node:https'
import { type AddressInfo, connect, createServer as createStream, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import axios from 'axios'
import FormData from 'form-data'
import got from 'got'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiated } from '../../../src/entries/fetch.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { vectors } from '../../vectors.ts'
import { wantsMic } from '../http-client/mic-site.ts'
import { CHALLENGE, errorOf, eventually, type Reply, type Seen, Site, type Tls, World } from '../http-client/site.ts'
import { CLIENTS, causes } from './clients.ts'

/** Clients on node:http beside proxies, agents, hooks and time-outs of the caller. */

const tunnelThrough = (proxy: string) => new HttpsProxyAgent(proxy) as never

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

const to = (location: string, status = 302): Reply => ({ status, headers: { location }, body: 'elsewhere' })

const trail = (site: Site): readonly string[] =>
  site.seen.map(({ url, token }) => (token === undefined ? url : `${url}*`))

const answering = CLIENTS.filter(({ name }) => name === 'spnego/axios' || name === 'spnego/got')

describe('the origin that the caller gave', () => {
  test.each(answering)(
    'C01 C03 $name: is the first one also when that had credentials of his own',
    async ({ open }) => {
      await using other = await Site.start(async () => CHALLENGE)
      await using site = await Site.start(async () => to(`${other.url}/b`))
      const call = open(alice({ targetName: 'HTTP@web1.corp.example' }))
      const answer = await call(`${site.url}/a`, { headers: { authorization: 'Bearer mine' } })
      expect([answer.status, trail(other)]).toEqual([401, ['/b']])
      expect(answer.report).toMatchObject({ attempted: false, error: { code: 'ORIGIN_NOT_ALLOWED' } })
    },
  )

  test('C01 C03 axios: is the first one also when that was asked through a proxy', async () => {
    await using other = await Site.start(async () => CHALLENGE)
    await using proxy = await Site.start(async () => to(`${other.url}/b`))
    const api = negotiateAxios(axios.create({ validateStatus: null }), alice({ targetName: 'HTTP@web1.corp.example' }))
    vi.stubEnv('http_proxy', proxy.url)
    vi.stubEnv('no_proxy', 'localhost')
    const { status } = await api.get('http://web1.corp.example/a')
    vi.unstubAllEnvs()
    expect([status, trail(proxy), trail(other)]).toEqual([401, ['http://web1.corp.example/a'], ['/b']])
  })

  test.each(answering)(
    '$name: what led to a redirect that asks is not done again, whoever’s credentials it had',
    async ({ open }) => {
      await using other = await Site.start(world.honest())
      await using site = await Site.start(async () => to(`${other.url}/b`, 303))
      const call = open(alice({ origins: [site.url, other.url] }))
      const headers = { authorization: 'Bearer mine' }
      const answer = await call(`${site.url}/a`, { method: 'POST', body: 'one', headers })
      expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
      expect([trail(site), trail(other)]).toEqual([['/a'], ['/b', '/b*']])
    },
  )
})

function certificate(): Tls {
  const certificates = vectors<{ id: string; certificate_b64: string; key_pem?: string }>('certificates')
  const { certificate_b64: body, key_pem: key = '' } = certificates.find(({ id }) => id === 'rsa-sha256') ?? {}
  return { key, cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----` }
}

/** A relay in front of a server; what it does with a connection is its own affair. */
class Relay implements AsyncDisposable {
  /** What was sent through it. */
  readonly sent: Buffer[] = []
  readonly #sockets = new Set<Socket>()
  readonly #server = createStream((socket) => this.#serve(socket))
  readonly #serve: (socket: Socket) => void

  private constructor(serve: (relay: Relay, socket: Socket, nth: number) => void) {
    let nth = 0
    this.#serve = (socket) => {
      this.keep(socket)
      serve(this, socket, ++nth)
    }
  }

  static async start(serve: (relay: Relay, socket: Socket, nth: number) => void): Promise<Relay> {
    const relay = new Relay(serve)
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve))
    return relay
  }

  /** A proxy for CONNECT. */
  static proxy(): Promise<Relay> {
    return Relay.start((relay, socket) =>
      socket.once('data', (head) => {
        relay.join(socket, Number(/^CONNECT [^:]+:(\d+)/.exec(head.toString())?.[1]))
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
      }),
    )
  }

  keep(socket: Socket): Socket {
    this.#sockets.add(socket)
    return socket.on('error', () => {})
  }

  join(socket: Socket, port: number): void {
    const other = this.keep(connect(port, '127.0.0.1'))
    socket.on('data', (chunk) => this.sent.push(chunk))
    socket.pipe(other).pipe(socket)
    socket.on('close', () => other.destroy())
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

describe('an agent for proxies that the caller brings', () => {
  const ways = [
    ['axios, bindings auto', 'auto', false],
    ['axios, bindings off', 'off', false],
    ['axios, preemptive', 'auto', true],
    ['got, bindings auto', 'auto', false],
    ['got, bindings off', 'off', false],
    ['got, preemptive', 'auto', true],
  ] as const
  test.each(ways)(
    '%s: the tunnel is TLS, and no token goes through it in the clear',
    async (name, channelBindings, preemptive) => {
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
      await using site = await Site.start(world.honest(), certificate())
      await using proxy = await Relay.proxy()
      const https = tunnelThrough(`http://127.0.0.1:${proxy.port}`)
      const options = alice({ channelBindings, preemptive })
      const get = async (): Promise<unknown> => {
        if (name.startsWith('axios')) {
          return (await negotiateAxios(axios.create({ httpsAgent: https, proxy: false }), options).get(site.url)).data
        }
        const api = negotiateGot(got, options).extend({ agent: { https }, https: { rejectUnauthorized: false } })
        return (await api(site.url, { retry: { limit: 0 } })).body
      }
      const answer = await get().catch(String)
      vi.unstubAllEnvs()
      expect(Buffer.concat(proxy.sent).toString('latin1')).not.toMatch(/Negotiate/)
      expect([answer, site.tokens.length]).toEqual(['alice@EXAMPLE.TEST', 1])
    },
  )
})

/** Both clients that send again, over agents of the caller's own. */
const OVER = {
  axios: (https: HttpsAgent, options: NegotiateClientOptions) => {
    const api = negotiateAxios(axios.create({ httpsAgent: https }), options)
    return (url: string, timeoutMs = 5000): Promise<unknown> =>
      api.get(url, { timeout: timeoutMs }).then(({ data }) => data)
  },
  got: (https: HttpsAgent, options: NegotiateClientOptions) => {
    const lax = { rejectUnauthorized: false }
    const api = negotiateGot(got, options).extend({ agent: { https }, https: lax, retry: { limit: 0 } })
    return (url: string, timeoutMs = 5000): Promise<unknown> => api(url, { timeout: { request: timeoutMs } }).text()
  },
}
const NAMES = ['axios', 'got'] as const
const LAX = { rejectUnauthorized: false }

describe.each(NAMES)('%s over an agent of the caller’s own', (name) => {
  test.each([{ maxSockets: 2, keepAlive: true }, { maxSockets: 2 }, { maxTotalSockets: 2, keepAlive: true }])(
    '%j: more requests than connections do not wait for each other for ever',
    async (limits) => {
      await using site = await Site.start(world.honest(), certificate())
      const get = OVER[name](new HttpsAgent({ ...limits, ...LAX }), alice())
      const answers = await Promise.all(Array.from({ length: 6 }, () => get(site.url)))
      expect(answers).toEqual(Array(6).fill('alice@EXAMPLE.TEST'))
    },
  )
})

describe.each(NAMES)('%s, and a second connection that never opens', (name) => {
  /** Two requests of which the second waits for the server's certificate. */
  async function halfOpen(agent: HttpsAgent, timeoutMs: number): Promise<unknown> {
    await using site = await Site.start(
      world.honest(() => ({ headers: { connection: 'close' } })),
      certificate(),
    )
    await using relay = await Relay.start((own, socket, nth) => nth === 1 && own.join(socket, site.port))
    const started = performance.now()
    const error = await errorOf(OVER[name](agent, alice())(`https://localhost:${relay.port}/`, timeoutMs))
    expect(performance.now() - started).toBeLessThan(timeoutMs + 1000)
    await eventually(() => Object.keys(agent.sockets).length === 0)
    expect(Object.keys(agent.sockets)).toEqual([])
    return error
  }

  test('the caller’s timeout is kept, and nothing stays open', async () => {
    const error = await halfOpen(new HttpsAgent(LAX), 400)
    expect(error).toMatchObject({ code: name === 'axios' ? 'ECONNABORTED' : 'ETIMEDOUT' })
  })

  test('that its agent has a timeout, too, does not end the process', async () => {
    expect(await halfOpen(new HttpsAgent({ ...LAX, timeout: 100 }), 400)).toBeInstanceOf(Error)
  })
})

describe('C20 auto, where the caller’s agent verifies certificates by a rule of its own', () => {
  const own = { ca: certificate().cert, checkServerIdentity: () => undefined }
  const script = async ({ token }: Seen): Promise<Reply> => (token === undefined ? CHALLENGE : { body: 'trust me' })

  test.each(NAMES)('%s: nobody vouches for the server but its proof', async (name) => {
    await using site = await Site.start(script, certificate())
    const error = await errorOf(OVER[name](new HttpsAgent(own), alice())(site.url))
    expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
  })
})

describe('C12 a URL that is another one each time', () => {
  test('got: a hook changes it, and the login goes on', async () => {
    await using site = await Site.start(world.honest())
    let nonce = 0
    const change = ({ url }: { url?: string | URL | undefined }) =>
      void (url as URL).searchParams.set('nonce', String(++nonce))
    const api = negotiateGot(got, alice()).extend({ hooks: { beforeRequest: [change] } })
    expect(await api(site.url).text()).toBe('alice@EXAMPLE.TEST')
    expect(trail(site)).toEqual(['/?nonce=1', '/?nonce=2*'])
  })

  test('got: nor is a server asked for ever that wants several tokens', async () => {
    await using site = await Site.start(wantsMic(world.acceptor))
    let nonce = 0
    const change = ({ url }: { url?: string | URL | undefined }) => {
      if (++nonce > 20) throw new Error('for ever')
      ;(url as URL).searchParams.set('nonce', String(nonce))
    }
    const api = negotiateGot(got, alice()).extend({ hooks: { beforeRequest: [change] } })
    const response = await api(site.url, { throwHttpErrors: false })
    expect([response.statusCode, trail(site)]).toEqual([401, ['/?nonce=1', '/?nonce=2*']])
    expect(negotiated(response)).toMatchObject({ attempted: true, error: { code: 'CONTINUE_NEEDED' } })
  })

  test('axios: parameters are, and the login goes on', async () => {
    await using site = await Site.start(world.honest())
    let nonce = 0
    const api = negotiateAxios(axios.create({ paramsSerializer: () => `nonce=${++nonce}` }), alice())
    expect((await api.get(site.url, { params: {} })).data).toBe('alice@EXAMPLE.TEST')
    expect(trail(site)).toEqual(['/?nonce=1', '/?nonce=2*'])
  })
})

describe('axios', () => {
  test('parameters of the instance are not added once more to a redirect that asks', async () => {
    await using site = await Site.start(async (seen, nth, response) =>
      seen.url.startsWith('/a') ? to('/b') : world.honest()(seen, nth, response),
    )
    const api = negotiateAxios(axios.create({ params: { key: 'x' }, baseURL: site.url }), alice())
    expect((await api.get('/a')).data).toBe('alice@EXAMPLE.TEST')
    expect(trail(site)).toEqual(['/a?key=x', '/b', '/b*'])
  })

  test('what an interceptor took away of the instance’s defaults stays away', async () => {
    await using site = await Site.start(world.honest())
    const api = negotiateAxios(axios.create({ params: { key: 'x' } }), alice())
    api.interceptors.request.use((config) => ({ ...config, params: undefined }))
    expect((await api.get(site.url)).data).toBe('alice@EXAMPLE.TEST')
    expect(trail(site)).toEqual(['/', '/*'])
  })

  test('httpAgent: false is no agent of the caller’s', async () => {
    await using site = await Site.start(world.honest())
    const api = negotiateAxios(axios.create({ httpAgent: false }), alice())
    expect((await api.get(site.url)).data).toBe('alice@EXAMPLE.TEST')
  })
})

describe('got', () => {
  test('its retries are no redirects', async () => {
    let asked = 0
    await using site = await Site.start(async (seen, nth, response) => {
      if (seen.url === '/b') return world.honest()(seen, nth, response)
      return ++asked < 4 ? { status: 503 } : world.honest(() => to('/b'))(seen, nth, response)
    })
    const api = negotiateGot(got, alice())
    const retry = { limit: 5, calculateDelay: ({ computedValue }: { computedValue: number }) => computedValue && 1 }
    expect(await api(`${site.url}/a`, { maxRedirects: 1, retry }).text()).toBe('alice@EXAMPLE.TEST')
    expect(trail(site)).toEqual(['/a', '/a', '/a', '/a', '/a*', '/b', '/b*'])
  })

  test('a stream says why a server that wants several tokens got none', async () => {
    await using site = await Site.start(wantsMic(world.acceptor))
    const stream = negotiateGot(got, alice()).stream(site.url, { throwHttpErrors: false })
    const response = await new Promise<object>((resolve, reject) =>
      stream.on('response', resolve).on('error', reject).resume(),
    )
    expect(negotiated(response)).toMatchObject({ attempted: true, error: { code: 'CONTINUE_NEEDED' } })
  })
})

describe('a form of the package form-data', () => {
  const form = (): FormData => {
    const made = new FormData()
    made.append('name', 'value')
    made.append('file', Readable.from([Buffer.from('one '), Buffer.from('two')]), { filename: 'f', knownLength: 7 })
    return made
  }
  const posts = {
    axios: async (url: string, options: NegotiateClientOptions) =>
      (await negotiateAxios(axios.create(), options).post(url, form())).data,
    got: (url: string, options: NegotiateClientOptions) =>
      negotiateGot(got, options).post(url, { body: form() }).text(),
  }
  test.each(NAMES)('%s: is sent whole, and again', async (name) => {
    await using site = await Site.start(world.honest())
    expect(await posts[name](site.url, alice())).toBe('alice@EXAMPLE.TEST')
    const [first, second] = site.seen
    expect(first?.body).toMatch(
      /^--(-+\w+)\r\n[\s\S]*name="name"\r\n\r\nvalue\r\n[\s\S]*\r\n\r\none two\r\n--\1--\r\n$/,
    )
    expect(second?.body).toBe(first?.body)
    expect([first, second].map((seen) => seen?.headers['content-length'])).toEqual(
      [first, second].map((seen) => String(seen?.body.length)),
    )
  })

  test.each(NAMES)('%s: and where it is too long to be kept, goes with a token, whole and once', async (name) => {
    await using site = await Site.start(world.honest())
    expect(await posts[name](site.url, alice({ maxReplayBodyBytes: 10 }))).toBe('alice@EXAMPLE.TEST')
    expect(site.seen.map(({ body }) => body)).toEqual([expect.stringMatching(/one two\r\n--[\s\S]*--\r\n$/)])
  })
})
