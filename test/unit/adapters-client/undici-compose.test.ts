import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Duplex, PassThrough } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import * as undici6 from 'undici6'
import * as undici7 from 'undici7'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { MutualAuthenticationError } from '../../../src/entries/index.ts'
import { type NegotiateInterceptorOptions, negotiated, negotiateInterceptor } from '../../../src/entries/undici.ts'
import { CHALLENGE, errorOf, eventually, type Script, Site, World } from '../http-client/site.ts'

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (options: Partial<NegotiateInterceptorOptions> = {}) =>
  negotiateInterceptor({ credentials: world.alice, ...options })

/** The two have the same functions; their types differ in what is of no account here. */
type Undici = typeof undici7
const UNDICIS: readonly (readonly [version: number, undici: Undici])[] = [
  [6, undici6 as unknown as Undici],
  [7, undici7],
]

test('the types of both take it', async () => {
  const composed: readonly [undici6.Dispatcher, undici7.Dispatcher] = [
    new undici6.Agent().compose(alice()),
    new undici7.Agent().compose(alice(), undici7.interceptors.dump()),
  ]
  for (const one of composed) await one.destroy()
})

describe.each(UNDICIS)('undici %d', (version, undici) => {
  const { Agent, Client, MockAgent, Pool, interceptors, request } = undici

  describe('beside its own interceptors', () => {
    test('C01 C19: a redirect after the login: a fresh token on each hop, none for another plain origin', async () => {
      await using evil = await Site.start(async () => CHALLENGE)
      const away = `http://127.0.0.1:${evil.port}/`
      const targets: Record<string, string> = { '/1': '/2', '/3': away }
      await using site = await Site.start(
        world.honest(({ url }, user) => {
          const location = targets[url]
          return location === undefined ? { body: user } : { status: 302, headers: { location } }
        }),
      )
      const redirect = interceptors.redirect({ maxRedirections: 3 })
      const dispatcher = new Agent().compose(alice({ origins: [site.url] }), redirect)
      const answer = await request(`${site.url}/1`, { dispatcher })
      expect(await answer.body.text()).toBe('alice@EXAMPLE.TEST')
      expect(site.seen.map(({ url }) => url)).toEqual(['/1', '/1', '/2', '/2'])
      expect(new Set(site.tokens).size).toBe(2)
      expect(negotiated(answer)?.serverAuthenticated).toBe(version === 6 ? undefined : true)
      const refused = await request(`${site.url}/3`, { dispatcher })
      expect([refused.statusCode, evil.seen.length, evil.tokens.length]).toEqual([401, 1, 0])
      await dispatcher.destroy()
    })

    test('C19: a redirect before the login sends no token twice: it is an error', async () => {
      await using site = await Site.start(
        world.honest(({ url }, user) => (url === '/1' ? { status: 302, headers: { location: '/2' } } : { body: user })),
      )
      const dispatcher = new Agent().compose(interceptors.redirect({ maxRedirections: 3 }), alice())
      const error = await errorOf(request(`${site.url}/1`, { dispatcher }))
      expect(String(error)).toContain('a token is not sent twice')
      expect(site.tokens.length).toBe(1)
      await dispatcher.destroy()
    })

    test('C19: retries after the login: a fresh token each', async () => {
      let nth = 0
      await using site = await Site.start(
        world.honest((_, user) => (++nth < 3 ? { status: 503, body: 'later' } : { body: user })),
      )
      const retry = interceptors.retry({ minTimeout: 1, maxTimeout: 1 })
      const dispatcher = new Agent().compose(alice(), retry)
      const answer = await request(site.url, { dispatcher })
      expect([answer.statusCode, await answer.body.text()]).toEqual([200, 'alice@EXAMPLE.TEST'])
      expect(site.tokens.length).toBe(3)
      expect(new Set(site.tokens).size).toBe(3)
      await dispatcher.destroy()
    })

    test('C19: retries before the login are an error, with undici 6 after the first', async () => {
      await using site = await Site.start(world.honest(() => ({ status: 503, body: 'later' })))
      const dispatcher = new Agent().compose(interceptors.retry({ minTimeout: 1, maxTimeout: 1 }), alice())
      const error = await errorOf(request(site.url, { dispatcher }))
      expect(String(error)).toContain('a token is not sent twice')
      await setTimeout(50)
      expect(site.tokens.length).toBe(version === 6 ? 2 : 1)
      await dispatcher.destroy()
    })

    test('a handler of its own that drops the page', async () => {
      await using site = await Site.start(world.honest(() => ({ status: 404, body: 'not here' })))
      const dispatcher = new Agent().compose(alice(), interceptors.dump({ maxSize: 10 }))
      const answer = await request(site.url, { dispatcher })
      expect([answer.statusCode, await answer.body.text()]).toEqual([404, ''])
      await dispatcher.destroy()
    })

    test('C20: a MockAgent, which heeds no pause: nothing of the page before the verdict', async () => {
      const mock = new MockAgent()
      mock.disableNetConnect()
      const pool = mock.get('http://localhost:1')
      const page = { headers: { 'www-authenticate': 'Negotiate' } }
      pool.intercept({ path: '/' }).reply(401, 'who are you?', page)
      pool.intercept({ path: '/' }).reply(200, 'secret page')
      const dispatcher = mock.compose(alice())
      expect(await errorOf(request('http://localhost:1/', { dispatcher }))).toBeInstanceOf(MutualAuthenticationError)
      pool.intercept({ path: '/' }).reply(200, 'page', { trailers: { sum: '1' } })
      const answer = await request('http://localhost:1/', { dispatcher })
      expect([await answer.body.text(), answer.trailers]).toEqual(['page', { sum: '1' }])
      await mock.close()
    })
  })

  describe('negotiated', () => {
    test('finds the report of stream and pipeline; a fetch is told of on the channel', async () => {
      await using site = await Site.start(world.honest())
      const dispatcher = new Agent().compose(alice())
      const found: unknown[] = []
      await undici.stream(site.url, { dispatcher, method: 'GET' }, (data) => {
        found.push(negotiated(data)?.principal)
        return new PassThrough().resume()
      })
      const piped = undici.pipeline(site.url, { dispatcher, method: 'POST' }, (data) => {
        found.push(negotiated(data)?.principal)
        return data.body
      })
      piped.end('body')
      let text = ''
      for await (const chunk of piped) text += chunk
      expect(text).toBe('alice@EXAMPLE.TEST')
      expect(found).toEqual(['alice@EXAMPLE.TEST', 'alice@EXAMPLE.TEST'])

      const heard: unknown[] = []
      const listener = (message: unknown) => heard.push(message)
      subscribe('spnego:client', listener)
      const response = await undici.fetch(site.url, { dispatcher })
      unsubscribe('spnego:client', listener)
      expect(negotiated(response)).toBeUndefined()
      expect(heard).toEqual([expect.objectContaining({ origin: site.url, status: 200, serverAuthenticated: true })])
      await dispatcher.destroy()
    })

    test('is undefined where no challenge came', async () => {
      await using site = await Site.start(async () => ({ body: 'free' }))
      const dispatcher = new Agent().compose(alice())
      expect(negotiated(await request(site.url, { dispatcher }))).toBeUndefined()
      expect(negotiated(await request(site.url))).toBeUndefined()
      await dispatcher.destroy()
    })
  })

  test('a server that closes the connection after each answer', async () => {
    await using site = await Site.start(world.honest((_, user) => ({ body: user, headers: { connection: 'close' } })))
    const dispatcher = new Agent().compose(alice())
    for (let i = 0; i < 3; i++) expect(await (await request(site.url, { dispatcher })).body.text()).toContain('alice')
    expect(new Set(site.tokens).size).toBe(3)
    await dispatcher.destroy()
  })

  describe('upgrades', () => {
    /** Greets whoever has logged in; `proves` says whether it proves itself. */
    async function greeter(proves: boolean) {
      const sockets = new Set<Duplex>()
      const server = createServer()
      server.on('upgrade', async (request: IncomingMessage, socket: Duplex) => {
        sockets.add(
          socket
            .resume()
            .on('error', () => {})
            .on('end', () => sockets.delete(socket)),
        )
        const token = /^Negotiate (.*)$/.exec(request.headers.authorization ?? '')?.[1]
        if (token === undefined) return void socket.end('HTTP/1.1 401 Who\r\nWWW-Authenticate: Negotiate\r\n\r\n')
        const { answer, user } = await world.accept(token)
        const proof = proves ? `WWW-Authenticate: Negotiate ${answer}\r\n` : ''
        socket.write(`HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: greeting\r\n${proof}\r\nhello ${user}`)
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const url = `http://localhost:${(server.address() as AddressInfo).port}/`
      return { url, sockets, [Symbol.asyncDispose]: async () => void server.close() }
    }

    test('C25: log in, and the caller gets the connection of a server that is verified', async () => {
      await using site = await greeter(true)
      const dispatcher = new Agent().compose(alice({ mutualAuthentication: 'required', preemptive: false }))
      const { headers, socket } = await undici.upgrade(site.url, { dispatcher, protocol: 'greeting' })
      expect(headers['upgrade']).toBe('greeting')
      const [hello] = await once(socket, 'data')
      expect(String(hello)).toBe('hello alice@EXAMPLE.TEST')
      expect(socket.listenerCount('error')).toBe(1) // undici's own
      socket.destroy()
      await dispatcher.destroy()
    })

    test('C20: without a proof it is closed, and an error', async () => {
      await using site = await greeter(false)
      const dispatcher = new Agent().compose(alice())
      const error = await errorOf(undici.upgrade(site.url, { dispatcher, protocol: 'greeting' }))
      expect(error).toBeInstanceOf(MutualAuthenticationError)
      await eventually(() => site.sockets.size === 0)
      expect(site.sockets.size).toBe(0)
      await dispatcher.destroy()
    })
  })

  describe('what passes untouched, and what is refused', () => {
    const MINE = 'Bearer mine'
    test.each([
      ['an object', () => ({ 'X-One': ['1', '2'], AUTHORIZATION: MINE }), () => ({ 'X-One': ['1', '2'] })],
      ['a list', () => ['X-One', '1', 'X-One', '2', 'Authorization', MINE], () => ['X-One', '1', 'X-One', '2']],
      [
        'a Headers',
        () => new Headers({ 'x-one': '1, 2', authorization: MINE }),
        () => new Headers({ 'x-one': '1, 2' }),
      ],
      [
        'an iterator, which can be read once',
        () => new Map([['x-one', '1, 2'], ['authorization', MINE]]).entries(), // biome-ignore format: short
        () => new Map([['x-one', '1, 2']]).entries(),
      ],
    ] as [
      string,
      () => undici7.Dispatcher.DispatchOptions['headers'],
      () => undici7.Dispatcher.DispatchOptions['headers'],
    ][])('C16: headers in %s: an Authorization of the caller, or a login', async (_, mine, others) => {
      await using site = await Site.start(world.honest())
      const dispatcher = new Agent().compose(alice())
      const first = await request(site.url, { dispatcher, headers: mine() as never })
      expect(first.statusCode).toBe(401)
      expect(site.seen.map(({ headers }) => headers['authorization'])).toEqual([MINE])
      expect((await request(site.url, { dispatcher, headers: others() as never })).statusCode).toBe(200)
      expect(site.seen.map(({ headers }) => headers['x-one'])).toEqual(['1, 2', '1, 2', '1, 2'])
      await dispatcher.destroy()
    })

    test('an Authorization without a value is none', async () => {
      await using site = await Site.start(world.honest())
      const dispatcher = new Agent().compose(alice())
      const headers = { Authorization: undefined }
      expect((await request(site.url, { dispatcher, headers: headers as never })).statusCode).toBe(200)
      await dispatcher.destroy()
    })

    test.each([['text'], [['odd']], [new Set(['no pair'])]])(
      'headers that undici refuses are refused: %j',
      async (headers) => {
        const dispatcher = new Agent().compose(alice())
        const error = await errorOf(request('http://localhost:1', { dispatcher, headers: headers as never }))
        expect(String(error)).toMatch(/headers (array )?must be/)
        await dispatcher.destroy()
      },
    )

    test('CONNECT', async () => {
      const server = createServer().on('connect', (request, socket) => {
        socket.end(`HTTP/1.1 200 Yes\r\n\r\n${request.headers.authorization}`)
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const agent = new Agent()
      const dispatcher = agent.compose(alice({ preemptive: true }))
      const { port } = server.address() as AddressInfo
      const { socket } = await undici.connect(`http://localhost:${port}`, { dispatcher })
      let text = ''
      for await (const chunk of socket) text += chunk
      expect(text).toBe('undefined')
      server.close()
      await agent.destroy()
    })

    test('C61: a path names no host; a name may depend on it', async () => {
      await using site = await Site.start(world.honest())
      const asked: string[] = []
      const targetName = (url: URL) => {
        asked.push(url.href)
        return url.hostname
      }
      const dispatcher = new Agent().compose(alice({ targetName, origins: [site.url] }))
      const answer = await dispatcher.request({ origin: site.url, path: '//web1.corp.example/x', method: 'GET' })
      expect(answer.statusCode).toBe(200)
      expect(asked).toEqual([`${site.url}//web1.corp.example/x`])
      await dispatcher.destroy()
    })

    test('a Client or Pool must be told the origin', async () => {
      await using site = await Site.start(world.honest())
      for (const one of [new Client(site.url), new Pool(site.url)]) {
        const dispatcher = one.compose(alice())
        const asked = { path: '/', method: 'GET' } as const
        expect(await errorOf(dispatcher.request(asked as never))).toMatchObject({ code: 'OPTION_INVALID' })
        const answer = await dispatcher.request({ ...asked, origin: site.url })
        expect(await answer.body.text()).toBe('alice@EXAMPLE.TEST')
        await one.destroy()
      }
    })
  })

  test('reason, octets of fields and trailers are as without a login', async () => {
    const script: Script = async ({ token }, _, out) => {
      if (token === undefined) return CHALLENGE
      const { answer } = await world.accept(token)
      out.writeHead(200, 'Fine', ['X-Odd', Buffer.from('grüß').toString('latin1'), 'Trailer', 'Sum', 'WWW-Authenticate', `Negotiate ${answer}`, 'Transfer-Encoding', 'chunked']) // biome-ignore format: pairs
      out.write('page')
      out.addTrailers({ Sum: 'ü' })
      out.end()
      return undefined
    }
    await using site = await Site.start(script)
    const agent = new Agent()
    const dispatcher = agent.compose(alice())
    const response = await undici.fetch(site.url, { dispatcher })
    expect([response.statusText, response.headers.get('x-odd')]).toEqual([
      'Fine',
      Buffer.from('grüß').toString('latin1'),
    ])
    const answer = await request(site.url, { dispatcher, responseHeaders: 'raw' })
    expect(answer.headers).toContain('X-Odd')
    await answer.body.text()
    const plain = await request(site.url, {
      dispatcher: agent,
      headers: { authorization: `Negotiate ${await token(site)}` },
    })
    await plain.body.text()
    expect(answer.trailers).toEqual(plain.trailers)
    await agent.destroy()
  })

  /** One that no server has seen. */
  async function token(site: Site): Promise<string> {
    const { KerberosTicket } = await import('../../../src/entries/index.ts')
    const ticket = await KerberosTicket.for(`HTTP@${new URL(site.url).hostname}`, { credentials: world.alice })
    return ticket.authorization.replace('Negotiate ', '')
  }

  describe('a handler of the other version', () => {
    /** What a handler of version 7 and later is told, whatever the dispatcher. */
    function told(pausesAt?: 'head' | 'page') {
      const events: unknown[] = []
      let done: () => void = () => {}
      const finished = new Promise<void>((resolve) => {
        done = resolve
      })
      let controller: undici7.Dispatcher.DispatchController | undefined
      const handler = {
        onRequestStart(given: undici7.Dispatcher.DispatchController) {
          controller = given
          events.push('start')
        },
        onResponseStart(
          given: undici7.Dispatcher.DispatchController,
          status: number,
          headers: Record<string, unknown>,
          reason: string,
        ) {
          events.push([status, headers['x-two'], reason])
          expect(given).toBe(controller)
          if (pausesAt === 'head') given.pause()
        },
        onResponseData(given: undici7.Dispatcher.DispatchController, chunk: Buffer) {
          events.push(String(chunk))
          if (pausesAt === 'page') given.pause()
        },
        onResponseEnd(_: unknown, trailers: object) {
          events.push(trailers)
          done()
        },
        onResponseError(_: unknown, error: Error) {
          events.push(error)
          done()
        },
      }
      return { events, finished, handler: handler as never, controller: () => controller }
    }
    const asked = (site: Site) => ({ origin: site.url, path: '/', method: 'GET' }) as const

    test('is told in its own words', async () => {
      await using site = await Site.start(
        world.honest((_, user) => ({ reason: 'Fine', headers: { 'x-two': ['1', '2'] }, body: user })),
      )
      const dispatcher = new Agent().compose(alice())
      const { events, finished, handler } = told()
      dispatcher.dispatch(asked(site), handler)
      await finished
      expect(events).toEqual(['start', [200, ['1', '2'], 'Fine'], 'alice@EXAMPLE.TEST', {}])
      await dispatcher.destroy()
    })

    test('pauses and resumes, and gives up, through the controller that it got', async () => {
      await using site = await Site.start(world.honest())
      const dispatcher = new Agent().compose(alice())
      const { events, finished, handler, controller } = told('head')
      dispatcher.dispatch(asked(site), handler)
      await eventually(() => events.length === 2)
      await setTimeout(20)
      expect([events.length, controller()?.paused]).toEqual([2, true])
      controller()?.resume()
      await finished
      expect(events.slice(2)).toEqual(['alice@EXAMPLE.TEST', {}])

      const second = told('head')
      dispatcher.dispatch(asked(site), second.handler)
      await eventually(() => second.events.length === 2)
      const reason = new Error('enough')
      second.controller()?.abort(reason)
      second.controller()?.abort(new Error('again'))
      second.controller()?.resume()
      await second.finished
      await setTimeout(20)
      expect(second.events.slice(2)).toEqual([reason])
      expect(second.controller()).toMatchObject({ aborted: true, reason })
      await dispatcher.destroy()
    })

    test('is not hurried by a dispatcher that heeds no pause', async () => {
      const mock = new MockAgent()
      mock.disableNetConnect()
      mock.get('http://localhost:1').intercept({ path: '/' }).reply(200, 'page')
      const { events, finished, handler, controller } = told('page')
      mock.compose(alice()).dispatch({ origin: 'http://localhost:1', path: '/', method: 'GET' }, handler)
      await eventually(() => events.length === 3)
      await setTimeout(20)
      expect(events.length).toBe(3)
      controller()?.resume()
      await finished
      expect(events.slice(2)).toEqual(['page', {}])
      await mock.close()
    })

    test('of version 6: one that throws has given up', async () => {
      await using site = await Site.start(world.honest())
      const dispatcher = new Agent().compose(alice())
      for (const where of ['onConnect', 'onHeaders', 'onData', 'onComplete']) {
        const thrown = new Error(where)
        const errors: unknown[] = []
        const handler = {
          ...Object.fromEntries(['onConnect', 'onHeaders', 'onData', 'onComplete'].map((name) => [name, () => true])),
          [where]: () => {
            throw thrown
          },
          onError: (error: unknown) => void errors.push(error),
        }
        dispatcher.dispatch(asked(site), handler as never)
        await eventually(() => errors.length > 0)
        expect(errors).toEqual([thrown])
      }
      await dispatcher.destroy()
    })
  })

  test('the dispatcher’s word on whether it takes more is handed on', async () => {
    const answers = [true, false]
    for (const answer of answers) {
      const dispatch = alice()((() => answer) as never)
      const handler = { onConnect() {}, onError() {} }
      expect(dispatch({ origin: 'http://localhost', path: '/', method: 'GET' }, handler)).toBe(answer)
    }
  })
})
