import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import * as forExpress from '../../../src/entries/express.ts'
import * as forFastify from '../../../src/entries/fastify.ts'
import { negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import * as forHono from '../../../src/entries/hono.ts'
import { createInitiator } from '../../../src/entries/index.ts'
import * as forKoa from '../../../src/entries/koa.ts'
import { NegotiateGuard } from '../../../src/entries/nest.ts'
import { NegotiateStrategy } from '../../../src/entries/passport.ts'
import { createNegotiateServer, type NegotiateServerOptions } from '../../../src/entries/server.ts'
import * as forWeb from '../../../src/entries/web.ts'
import * as forWs from '../../../src/entries/ws.ts'
import { World } from '../http-client/site.ts'
import { SERVER_ENTRIES } from './server-entries.ts'

/** Each entry for a server, with real tickets of the embedded realm, as its documentation shows it. */

let world: World
let options: NegotiateServerOptions
const closing: (() => unknown)[] = []

beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
  options = { keytab: world.realm.environment.KRB5_KTNAME }
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

async function listen(listening: Server): Promise<string> {
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    listening.closeAllConnections()
    return new Promise((resolve) => listening.close(resolve))
  })
  return `http://localhost:${(listening.address() as AddressInfo).port}`
}

describe.each(SERVER_ENTRIES)('$name', ({ make }) => {
  test('greets who logs in, proves itself, and refuses who does not', async () => {
    const url = await listen(await make(options))
    const credentials = { credentials: world.alice, config: world.realm.config }
    const response = await negotiateFetch({ ...credentials, mutualAuthentication: 'required' })(url)
    expect([response.status, await response.text()]).toEqual([200, 'Hello alice@EXAMPLE.TEST'])
    expect(negotiated(response)).toMatchObject({ serverAuthenticated: true })
    const without = await fetch(url)
    expect([without.status, without.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
  })
})

test('where no connection is visible, that is said', async () => {
  expect(forWeb.capabilities).toEqual({ multiLeg: false, ownCertificate: false })
  const app = new Hono()
  app.get('/', (c) => c.json(forHono.capabilitiesOf(c)))
  expect(await (await app.request('/')).json()).toEqual({ multiLeg: false, ownCertificate: false })
  const url = await listen(createServer(getRequestListener(app.fetch) as never))
  expect(await (await fetch(url)).json()).toEqual({ multiLeg: true, ownCertificate: true })
})

test('spnego/fastify guards its scope, and nothing beside it', async () => {
  const app = Fastify()
  app.get('/open', async () => 'open')
  await app.register(
    async (scope) => {
      await scope.register(forFastify.negotiate, { ...options, prefix: '/ignored' })
      scope.get('/in', async (request) => request.kerberos?.name)
    },
    { prefix: '/intranet' },
  )
  closing.push(() => app.close())
  const url = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('127.0.0.1', 'localhost')
  expect((await fetch(`${url}/open`)).status).toBe(200)
  expect((await fetch(`${url}/intranet/in`)).status).toBe(401)
  const get = negotiateFetch({ credentials: world.alice, config: world.realm.config })
  expect(await (await get(`${url}/intranet/in`)).text()).toBe('alice')
})

test('spnego/fastify keeps the fields of others on a refusal', async () => {
  const app = Fastify()
  app.addHook('onRequest', async (_request, reply) => void reply.header('access-control-allow-origin', '*'))
  await app.register(forFastify.negotiate, options)
  app.get('/', async () => 'in')
  closing.push(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await fetch(url)
  expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([401, '*'])
})

test('MAG-07, MAG-16: a name without a key and a keytab that is not there are errors at the start', () => {
  const codeOf = (more: NegotiateServerOptions) => {
    try {
      createNegotiateServer({ ...options, ...more })
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  }
  expect(codeOf({ principal: 'BAD@example.com' })).toBe('KEYTAB_NO_ENTRY')
  expect(codeOf({ principal: 'HTTP/bad.example.com' })).toBe('KEYTAB_NO_ENTRY')
  expect(codeOf({ keytab: '/nonexistent/keytab' })).toBe('KEYTAB_NOT_FOUND')
})

test('each says at once what is wrong with its options', async () => {
  const wrong = { keytab: '/nonexistent/keytab' }
  const code = expect.objectContaining({ code: 'KEYTAB_NOT_FOUND' })
  const makers: readonly (() => unknown)[] = [
    () => forExpress.negotiate(wrong),
    () => forKoa.negotiate(wrong),
    () => forHono.negotiate(wrong),
    () => forWeb.negotiate(wrong),
    () => new NegotiateStrategy(wrong),
    () => new NegotiateGuard(wrong),
    () => forWs.negotiate(new WebSocketServer({ noServer: true }), wrong),
    () => createNegotiateServer(wrong),
  ]
  for (const make of makers) expect(make).toThrow(code)
  await expect(Fastify().register(forFastify.negotiate, wrong)).rejects.toEqual(code)
})

describe('spnego/ws', () => {
  async function sockets(more: Partial<NegotiateServerOptions> = {}, own?: object): Promise<string> {
    const server = createServer({ maxHeaderSize: 98_304 })
    const wss = forWs.negotiate(new WebSocketServer({ server, ...own }), { ...options, ...more })
    wss.on('connection', (socket, req) => {
      try {
        socket.send(`Hello ${forWs.identityOf(req).principal}`)
      } catch (error) {
        socket.send((error as { code: string }).code)
      }
    })
    closing.push(() => wss.close())
    return (await listen(server)).replace('http:', 'ws:')
  }

  async function authorization(): Promise<string> {
    const { alice, realm } = world
    const context = await createInitiator({ target: 'HTTP@localhost', credentials: alice, config: realm.config })
    const { token } = await context.step()
    return `Negotiate ${Buffer.from(token as Uint8Array).toString('base64')}`
  }

  interface Opened {
    readonly text?: string
    readonly proof?: string | undefined
    readonly status?: number | undefined
  }

  function open(url: string, headers: Record<string, string> = {}): Promise<Opened> {
    return new Promise((resolve) => {
      const socket = new WebSocket(url, { headers })
      let proof: string | undefined
      socket.on('upgrade', (response) => {
        proof = response.headers['www-authenticate']
      })
      socket.on('message', (data) => {
        resolve({ text: String(data), proof })
        socket.close()
      })
      socket.on('unexpected-response', (_request, response) => {
        resolve({ status: response.statusCode, proof: response.headers['www-authenticate'] })
        response.resume()
      })
      socket.on('error', () => {})
    })
  }

  test('A03 a socket of who logs in, with the proof; none of anybody else', async () => {
    const url = await sockets()
    const opened = await open(url, { authorization: await authorization() })
    expect(opened).toMatchObject({ text: 'Hello alice@EXAMPLE.TEST', proof: expect.stringMatching(/^Negotiate oY/) })
    expect(await open(url)).toEqual({ status: 401, proof: 'Negotiate' })
    expect(await open(url, { authorization: 'Negotiate x' })).toMatchObject({ status: 401 })
  })

  test('S84 a page of another site opens none, unless that is allowed', async () => {
    const headers = async (origin: string) => ({ authorization: await authorization(), origin })
    const url = await sockets()
    expect(await open(url, await headers('http://evil.example'))).toMatchObject({ status: 403 })
    const trusting = await sockets({ crossSite: ['http://portal.example'] })
    expect(await open(trusting, await headers('http://evil.example'))).toMatchObject({ status: 403 })
    expect(await open(trusting, await headers('http://portal.example'))).toMatchObject({
      text: 'Hello alice@EXAMPLE.TEST',
    })
  })

  test('the program’s own verifyClient has its say after that', async () => {
    const asked: string[] = []
    const verifyClient = ({ req }: { req: object }) => {
      asked.push(forWs.identityOf(req).name)
      return false
    }
    const url = await sockets({}, { verifyClient })
    expect(await open(url)).toMatchObject({ status: 401 })
    expect(asked).toEqual([])
    expect(await open(url, { authorization: await authorization() })).toMatchObject({ status: 401 })
    expect(asked).toEqual(['alice'])
  })

  test('anonymous where required says no', async () => {
    expect(await open(await sockets({ required: false }))).toMatchObject({ text: 'NOT_AUTHENTICATED' })
  })
})
