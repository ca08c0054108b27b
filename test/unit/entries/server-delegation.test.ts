import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { negotiateFetch } from '../../../src/entries/fetch.ts'
import { negotiate as forHono, type KerberosVariables } from '../../../src/entries/hono.ts'
import { CredentialCache, Credentials, createInitiator } from '../../../src/entries/index.ts'
import {
  createNegotiateServer,
  type Identity,
  identityOf,
  type NegotiateServerOptions,
} from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { negotiate } from '../../../src/entries/web.ts'
import { negotiate as forWs } from '../../../src/entries/ws.ts'
import { eventually } from '../http-client/site.ts'

/** A login that a client forwards to a server, and what becomes of it. */

let realm: TestRealm
const closing: (() => unknown)[] = []

beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/localhost'] })
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await realm.stop()
})

const options = (more: NegotiateServerOptions = {}): NegotiateServerOptions => ({
  keytab: realm.keytab('HTTP/localhost'),
  delegation: true,
  ...more,
})

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

/** A server whose handler says what `use` makes of the identity. */
async function serving(use: (identity: Identity) => Promise<string>, more?: NegotiateServerOptions): Promise<string> {
  const negotiate = createNegotiateServer(options(more))
  return listening(
    createServer(async (req, res) => {
      const identity = await negotiate.handle(req, res)
      if (identity === undefined) return
      res.end(await use(identity).catch((error) => String((error as { code?: string }).code)))
    }),
  )
}

async function get(url: string, delegate = true): Promise<{ status: number; text: string }> {
  const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
  const more = delegate ? { delegate: true, delegateTo: [url] } : {}
  const response = await negotiateFetch({ credentials, config: realm.config, ...more })(url)
  return { status: response.status, text: await response.text() }
}

/** As the user, at another server. */
function actAs(credentials: Credentials | undefined, url: string): Promise<string> {
  if (credentials === undefined) return Promise.resolve('nobody')
  const fetch = negotiateFetch({ credentials, config: realm.config, onLoginError: 'throw' })
  return fetch(url).then((response) => response.text())
}

describe('a forwarded login', () => {
  test('is usable at once, in negotiateFetch', async () => {
    const behind = await serving(async ({ principal }) => `behind: ${principal}`)
    const front = await serving(({ delegated }) => actAs(delegated, behind))
    expect(await get(front)).toEqual({ status: 200, text: 'behind: alice@EXAMPLE.TEST' })
  })

  test('is undefined where none was forwarded', async () => {
    const front = await serving(async ({ delegated }) => String(delegated))
    expect(await get(front, false)).toEqual({ status: 200, text: 'undefined' })
  })

  test('S70 is undefined where it is not wanted', async () => {
    const front = await serving(async ({ delegated }) => String(delegated), { delegation: false })
    expect(await get(front)).toEqual({ status: 200, text: 'undefined' })
    const byDefault = await serving(async ({ delegated }) => String(delegated), { delegation: undefined })
    expect(await get(byDefault)).toEqual({ status: 200, text: 'undefined' })
  })

  test('FK MAG: is saved as a credential cache, for this user alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'delegated-'))
    closing.push(() => rmSync(folder, { recursive: true }))
    const cache = join(folder, 'cc')
    const front = await serving(async ({ delegated }) => {
      await delegated?.save(cache)
      return 'saved'
    })
    expect((await get(front)).text).toBe('saved')
    expect(statSync(cache).mode & 0o777).toBe(0o600)
    expect(String((await CredentialCache.load(cache)).principal)).toBe('alice@EXAMPLE.TEST')
    const behind = await serving(async ({ principal }) => principal)
    expect(await actAs(Credentials.fromCache(cache), behind)).toBe('alice@EXAMPLE.TEST')
  })

  test('S71 ends with its request', async () => {
    let delegated: Credentials | undefined
    const behind = await serving(async ({ principal }) => principal)
    const front = await serving(async (identity) => {
      delegated = identity.delegated
      return actAs(delegated, behind)
    })
    expect((await get(front)).text).toBe('alice@EXAMPLE.TEST')
    await eventually(() => false, 50)
    await expect(actAs(delegated, behind)).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
    await expect((delegated as Credentials).save('MEMORY:none')).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })

  test('S71 unless it is kept, until who kept it ends it', async () => {
    let kept: Credentials | undefined
    const front = await serving(async ({ delegated }) => {
      kept = delegated?.keep()
      return 'kept'
    })
    await get(front)
    const behind = await serving(async ({ principal }) => principal)
    await eventually(() => false, 50)
    expect(await actAs(kept, behind)).toBe('alice@EXAMPLE.TEST')
    kept?.dispose()
    await expect(actAs(kept, behind)).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })

  test('S71 ends at once when authorize says no', async () => {
    let delegated: Credentials | undefined
    const front = await serving(async () => 'in', {
      authorize: (identity) => {
        delegated = identity.delegated
        return false
      },
    })
    expect((await get(front)).status).toBe(403)
    expect(delegated).toBeInstanceOf(Credentials)
    await expect((delegated as Credentials).login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })

  test('S71 ends at once when authorize throws', async () => {
    let delegated: Credentials | undefined
    const handler = negotiate(
      options({
        authorize: (identity) => {
          delegated = identity.delegated
          throw new RangeError('theirs')
        },
      }),
    )(() => expect.unreachable())
    const answer = (request: Request) => handler(request).catch(() => new Response('caught', { status: 500 }))
    const front = await listening(createServer(getRequestListener(answer) as never))
    await get(front)
    expect(delegated).toBeInstanceOf(Credentials)
    await expect((delegated as Credentials).login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })

  test('S71 ends when a handler of Request → Response has answered', async () => {
    let delegated: Credentials | undefined
    const handler = negotiate(options())(async (_request, identity) => {
      delegated = identity?.delegated
      return new Response(String((await delegated?.login())?.principal))
    })
    const front = await listening(createServer(getRequestListener(handler) as never))
    expect((await get(front)).text).toBe('alice@EXAMPLE.TEST')
    await expect((delegated as Credentials).login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })
})

describe('S71 where a response ends elsewhere', () => {
  /** The Authorization of a request that forwards alice's login. */
  async function forwarding(): Promise<string> {
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
    const flags = ['mutual', 'delegate'] as const
    const context = await createInitiator({ target: 'HTTP@localhost', credentials, config: realm.config, flags })
    return `Negotiate ${Buffer.from((await context.step()).token as Uint8Array).toString('base64')}`
  }

  const isOver = (delegated: Credentials | undefined) =>
    expect((delegated as Credentials).login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })

  test('Hono: when the handler has answered', async () => {
    let delegated: Credentials | undefined
    const app = new Hono<{ Variables: KerberosVariables }>()
    app.use(forHono(options()))
    app.get('/', async (c) => {
      delegated = c.get('kerberos')?.delegated
      return c.text(String((await delegated?.login())?.principal))
    })
    const front = await listening(createServer(getRequestListener(app.fetch) as never))
    expect((await get(front)).text).toBe('alice@EXAMPLE.TEST')
    await isOver(delegated)
  })

  test('a WebSocket: when it is closed', async () => {
    const server = createServer()
    let delegated: Credentials | undefined
    const wss = forWs(new WebSocketServer({ server }), options())
    wss.on('connection', (socket, req) => {
      delegated = identityOf(req).delegated
      socket.send('open')
    })
    closing.push(() => wss.close())
    const url = await listening(server)
    const socket = new WebSocket(url.replace('http:', 'ws:'), { headers: { authorization: await forwarding() } })
    await once(socket, 'message')
    expect((await (delegated as unknown as Credentials).login()).principal).toBe('alice@EXAMPLE.TEST')
    socket.close()
    await once(socket, 'close')
    await eventually(() => false, 50)
    await isOver(delegated)
  })

  test('an upgrade of node:http: when its socket is closed', async () => {
    const negotiate = createNegotiateServer(options())
    const server = createServer()
    let delegated: Credentials | undefined
    server.on('upgrade', (req, socket) => {
      socket.on('end', () => socket.end()).resume()
      delegated = identityOf(req).delegated
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')
    })
    negotiate.attach(server)
    const url = await listening(server)
    const headers = { authorization: await forwarding(), connection: 'Upgrade', upgrade: 'x' }
    const asked = request(url, { headers }).end()
    const [, socket] = (await once(asked, 'upgrade')) as [unknown, Socket]
    expect((await (delegated as unknown as Credentials).login()).principal).toBe('alice@EXAMPLE.TEST')
    socket.destroy()
    await eventually(() => false, 50)
    await isOver(delegated)
  })
})

test('credentials that are disposed of forget their password', async () => {
  const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
  await credentials.login()
  credentials.dispose()
  await expect(credentials.login()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
})

test('credentials of a cache that are disposed of take no ticket from it any more', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'disposed-'))
  const cache = `FILE:${join(folder, 'cc')}`
  const logIn = async (credentials: Credentials) => {
    const context = await createInitiator({ target: 'HTTP@localhost', credentials, config: realm.config })
    await context.step()
  }
  const alice = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
  await logIn(alice)
  await alice.save(cache)
  const credentials = Credentials.fromCache(cache)
  credentials.dispose()
  await expect(logIn(credentials)).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  rmSync(folder, { recursive: true })
})
