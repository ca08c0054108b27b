import { Agent, type ClientRequest, get, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { createServer as createStream, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NegotiateAgent, type NegotiateAgentOptions, negotiated } from '../../../src/entries/agent.ts'
import { CHALLENGE, errorOf, eventually, Site, World } from '../http-client/site.ts'

/** What is peculiar to an agent of node:http: what all clients do alike is in clients.test.ts. */

let world: World
beforeAll(async () => {
  world = await World.start()
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
})

const agentOf = (options: NegotiateAgentOptions = {}, more = {}): NegotiateAgent =>
  new NegotiateAgent({ credentials: world.alice, config: world.realm.config, ...options }, more)

interface Answered {
  readonly response: IncomingMessage
  readonly text: string
}

function answered(asked: ClientRequest): Promise<Answered> {
  return new Promise((resolve, reject) => {
    asked.once('error', reject)
    asked.once('response', (response) => {
      let text = ''
      response.setEncoding('latin1')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () => resolve({ response, text }))
    })
    asked.end()
  })
}

test('a page that is withheld is nowhere: not at the request either', async () => {
  await using site = await Site.start(async () => ({ status: 500, headers: { 'x-other': 'x' }, body: 'unproved' }))
  const asked = request(site.url, { agent: agentOf({ mutualAuthentication: 'required' }) })
  const { response, text } = await answered(asked)
  expect([response.statusCode, text, response.headers['x-other']]).toEqual([500, '', undefined])
  expect((asked as unknown as { res: unknown }).res).toBe(response)
})

describe('the head of a request', () => {
  const heads: readonly [string, RequestOptions, ((asked: ClientRequest) => void)?][] = [
    ['that is made by end()', {}],
    ['that is made by write()', { method: 'POST' }, (asked) => void asked.write('a body')],
    ['with a length', { method: 'PUT', headers: { 'Content-Length': '6' } }, (asked) => void asked.write('a body')],
    ['given as a list', { headers: ['X-One', '1', 'X-Two', '2', 'Host', 'localhost'] as never }],
    ['that is made before the body comes', { method: 'POST' }, (asked) => asked.flushHeaders()],
    ['of which nothing is written for a while', {}, (asked) => asked.setHeader('x-later', 'yes')],
  ]
  test.each(heads)('%s carries the token, and its body is whole', async (_, options, write) => {
    await using site = await Site.start(world.honest())
    const asked = request(site.url, { ...options, agent: agentOf() })
    write?.(asked)
    const { response, text } = await answered(asked)
    expect([response.statusCode, text]).toEqual([200, 'alice@EXAMPLE.TEST'])
    expect(site.seen).toHaveLength(1)
    const { authorization = '', ...headers } = site.seen[0]?.headers ?? {}
    expect(authorization).toMatch(/^Negotiate [A-Za-z0-9+/=]+$/)
    expect(site.seen[0]?.body).toBe(options.method === undefined || _.includes('before') ? '' : 'a body')
    if (_.includes('list')) expect(headers).toMatchObject({ 'x-one': '1', 'x-two': '2' })
    if (_.includes('while')) expect(headers).toMatchObject({ 'x-later': 'yes' })
  })

  test('C16: credentials that are set while the token is being made win', async () => {
    await using site = await Site.start(async ({ headers }) => ({ body: headers['authorization'] ?? '' }))
    const asked = request(site.url, { agent: agentOf(), timeout: 3000 })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.setHeader('authorization', 'Bearer late')
    expect((await answered(asked)).text).toBe('Bearer late')
  })

  test('Basic credentials of the URL win too', async () => {
    await using site = await Site.start(async ({ headers }) => ({ body: headers['authorization'] ?? '' }))
    const { text, response } = await answered(get(`http://me:mine@localhost:${site.port}/`, { agent: agentOf() }))
    expect([text, negotiated(response)]).toEqual([`Basic ${btoa('me:mine')}`, undefined])
  })

  test('C08: one for a proxy, whose URL names another host, carries none', async () => {
    await using site = await Site.start(async ({ url }) => ({ body: url }))
    const { text } = await answered(get(site.url, { agent: agentOf(), path: 'http://localhost/page' }))
    expect([text, site.tokens]).toEqual(['http://localhost/page', []])
  })
})

describe('the answer', () => {
  test('of an upgrade is verified before the connection is handed out', async () => {
    const seen: string[] = []
    const server = createStream((socket) => {
      socket.once('data', async (head: Buffer) => {
        const token = /^authorization: Negotiate (\S+)/im.exec(head.toString())?.[1] ?? ''
        const { answer } = await world.accept(token)
        seen.push(token)
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nWWW-Authenticate: Negotiate ${answer}\r\n\r\nhello`,
        )
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const asked = request({ port, agent: agentOf(), headers: { connection: 'Upgrade', upgrade: 'x' } }).end()
    const { socket, text, response } = await new Promise<{ response: IncomingMessage; socket: Socket; text: string }>(
      (resolve, reject) => {
        asked.on('upgrade', (found, stream, first) =>
          resolve({ response: found, socket: stream as Socket, text: `${first}` }),
        )
        asked.on('error', reject)
      },
    )
    expect([text, seen.length]).toEqual(['hello', 1])
    expect(negotiated(response)).toMatchObject({ serverAuthenticated: true })
    socket.destroy()
    server.close()
  })

  test('that nobody listens for is read away, and the connection serves again', async () => {
    await using site = await Site.start(world.honest(() => ({ body: 'x'.repeat(200_000) })))
    const agent = agentOf()
    const asked = request(site.url, { agent }).end()
    await new Promise((resolve) => asked.once('close', resolve))
    await answered(get(site.url, { agent }))
    expect(site.connections).toBe(1)
  })

  test('of a server that closes at once is not overtaken by the end of the connection', async () => {
    const script = world.honest(() => ({ headers: { connection: 'close' }, body: 'bye' }))
    await using site = await Site.start(script)
    const events: string[] = []
    const asked = request(site.url, { agent: agentOf() })
    for (const event of ['response', 'close', 'error']) asked.on(event, () => void events.push(event))
    expect((await answered(asked)).text).toBe('bye')
    await eventually(() => events.includes('close'))
    expect(events).toEqual(['response', 'close'])
  })

  test('several legs: none, and the reason', async () => {
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      return { status: 401, headers: { 'www-authenticate': 'Negotiate oQcwBaADCgEB' } }
    })
    const { response } = await answered(get(site.url, { agent: agentOf() }))
    expect(response.statusCode).toBe(401)
    expect(negotiated(response)).toMatchObject({ attempted: true, serverAuthenticated: false })
    expect(negotiated(response)?.error).toBeDefined()
    expect(site.seen).toHaveLength(1)
  })
})

describe('connections', () => {
  test('maxSockets is kept: requests wait for each other, each with a token of its own', async () => {
    await using site = await Site.start(world.honest())
    const agent = agentOf({}, { maxSockets: 2 })
    const answers = await Promise.all(Array.from({ length: 20 }, () => answered(get(site.url, { agent }))))
    expect(answers.every(({ text }) => text === 'alice@EXAMPLE.TEST')).toBe(true)
    expect([site.connections, new Set(site.tokens).size]).toEqual([2, 20])
  })

  test('C51: without a ticket a request goes over another connection than those with one', async () => {
    await using site = await Site.start(world.honest())
    const origins = [site.url]
    let name = 'HTTP@localhost'
    const agent = agentOf({ targetName: () => name, origins })
    await answered(get(site.url, { agent }))
    name = 'HTTP@nobody.example'
    const { response } = await answered(get(site.url, { agent }))
    expect([response.statusCode, site.connections]).toEqual([401, 2])
    expect(negotiated(response)).toMatchObject({ attempted: false, error: { code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' } })
  })

  test('a request that is destroyed while its login waits ends at once', async () => {
    const deaf = createStream(() => {})
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve))
    await using site = await Site.start(world.honest())
    const { port } = deaf.address() as { port: number }
    const { Credentials, Krb5Config } = await import('../../../src/entries/index.ts')
    const config = Krb5Config.parse(
      `[libdefaults]\ndefault_realm = X.TEST\n[realms]\nX.TEST = {\nkdc = tcp/127.0.0.1:${port}\n}`,
    )
    const agent = new NegotiateAgent({ credentials: Credentials.forRealm('a@X.TEST', 'b', config), config })
    const asked = get(site.url, { agent })
    const started = performance.now()
    setTimeout(() => asked.destroy(new Error('enough')), 50)
    expect(await errorOf(answered(asked))).toMatchObject({ message: 'enough' })
    expect(performance.now() - started).toBeLessThan(3000)
    expect(site.seen).toEqual([])
    deaf.close()
  })

  test('Node’s own options are heard', async () => {
    await using site = await Site.start(world.honest())
    const agent = agentOf({}, { keepAlive: false })
    for (let i = 0; i < 2; i++) await answered(get(site.url, { agent }))
    expect(site.connections).toBe(2)
    expect(agent).toBeInstanceOf(Agent)
  })
})
