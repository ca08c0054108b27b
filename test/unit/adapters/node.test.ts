import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connect2, createServer as createServer2, type Http2ServerRequest } from 'node:http2'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  endSession,
  identityOf,
  NodeAdapter,
  nodeEffects,
  recommendedMaxHeaderSize,
} from '../../../src/adapters/server/node.ts'
import { attemptCounts } from '../../../src/http/attempts.ts'
import { type Identity, NegotiateCore, serverSettings } from '../../../src/http/index.ts'
import { sessionSealer } from '../../../src/sessions/index.ts'
import { FakeContexts, fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { fields, get, type Running, Scripted, serve } from './wire.ts'

const TOKEN = 'Negotiate U1RPS0VO'
const CLOSE = { Connection: 'close' }
let running: Running | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

type Handler = (req: IncomingMessage, res: ServerResponse) => void

async function start(
  handler: Handler,
  core: ConstructorParameters<typeof NodeAdapter>[0] = fakeServer().core,
): Promise<Running> {
  const adapter = new NodeAdapter(core)
  running = await serve(async (req, res) => {
    try {
      const identity = await adapter.handle(req, res)
      if (!res.writableEnded) handler(req, res)
      else expect(identity).toBe(undefined)
    } catch (error) {
      res.writeHead(500).end((error as Error).name)
    }
  })
  return running
}

function flushed(res: ServerResponse): ServerResponse {
  res.flushHeaders()
  return res
}

function emptied(res: ServerResponse): ServerResponse {
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  return res
}

describe('S12: the token on every head', () => {
  test.each<[string, Handler, string[]]>([
    ['implicit head', (_q, res) => res.end('x'), [TOKEN]],
    ['write', (_q, res) => void res.write('x', () => res.end()), [TOKEN]],
    ['flushHeaders', (_q, res) => flushed(res).end(), [TOKEN]],
    ['setHeader', (_q, res) => void res.setHeader('WWW-Authenticate', 'Bearer').end(), ['Bearer', TOKEN]],
    ['setHeader with a list', (_q, res) => void res.setHeader('www-authenticate', ['A', 'B']).end(), ['A', 'B', TOKEN]],
    ['appendHeader', (_q, res) => void res.appendHeader('www-authenticate', 'A').end(), ['A', TOKEN]],
    ['removeHeader', (_q, res) => emptied(res).end(), [TOKEN]],
    ['writeHead', (_q, res) => void res.writeHead(200).end(), [TOKEN]],
    ['writeHead with a reason', (_q, res) => void res.writeHead(200, 'Fine').end(), [TOKEN]],
    [
      'writeHead with fields',
      (_q, res) => void res.writeHead(401, { 'WWW-Authenticate': 'Bearer', 'X-A': '1' }).end(),
      ['Bearer', TOKEN],
    ],
    ['writeHead with a reason and fields', (_q, res) => void res.writeHead(200, 'Fine', { 'x-a': '1' }).end(), [TOKEN]],
    [
      'writeHead with a list',
      (_q, res) => void res.writeHead(401, ['WWW-Authenticate', 'A', 'www-authenticate', 'B', 'X-A', '1']).end(),
      ['A', 'B', TOKEN],
    ],
    [
      'writeHead with pairs',
      (_q, res) => void res.writeHead(200, [['X-A', '1']] as unknown as string[]).end(),
      [TOKEN],
    ],
    [
      'writeHead with a list, one of whose values is a list',
      (_q, res) => void res.writeHead(200, ['Set-Cookie', ['a=1', 'b=2'], 'X-A', '1'] as unknown as string[]).end(),
      [TOKEN],
    ],
    ['304', (_q, res) => void res.writeHead(304).end(), [TOKEN]],
    ['500', (_q, res) => void res.writeHead(500).end(), [TOKEN]],
    [
      'a second try after a bad status',
      (_q, res) => {
        expect(() => res.writeHead(5)).toThrow(RangeError)
        res.writeHead(500).end()
      },
      [TOKEN],
    ],
  ])('%s', async (what, handler, expected) => {
    const { exchange } = await start(handler)
    const response = await exchange(get('/', { ...CLOSE, Authorization: negotiateField('user') }))
    expect(fields(response, 'www-authenticate').sort()).toEqual([...expected].sort())
    if (
      what.includes('fields') ||
      what.includes('pairs') ||
      what.endsWith('is a list') ||
      (what.endsWith('list') && what.startsWith('writeHead'))
    ) {
      expect(fields(response, 'x-a')).toEqual(['1'])
    }
    if (what.endsWith('is a list')) expect(fields(response, 'set-cookie')).toEqual(['a=1', 'b=2'])
    if (what.includes('reason')) expect(response).toMatch(/^HTTP\/1.1 200 Fine/)
  })

  test('HEAD, and a handler that throws', async () => {
    const { exchange } = await start((req) => {
      if (req.method !== 'HEAD') throw new RangeError(identityOf(req).principal)
      throw new TypeError()
    })
    for (const method of ['HEAD', 'GET']) {
      const response = await exchange(get('/', { ...CLOSE, Authorization: negotiateField('user') }, method))
      expect(response).toMatch(/^HTTP\/1.1 500 /)
      expect(fields(response, 'www-authenticate')).toEqual([TOKEN])
    }
  })
})

describe('S14: bodies of refused requests', () => {
  const unused: Handler = () => expect.unreachable()
  const next = get('/next', CLOSE)

  test('a short one is read, and the connection goes on', async () => {
    const { exchange } = await start(unused)
    const post = `${get('/', { 'Content-Length': '60000' }, 'POST')}${'a'.repeat(60_000)}`
    expect((await exchange(post + next)).match(/HTTP\/1.1 401/g)).toHaveLength(2)
    const chunked = `${get('/', { 'Transfer-Encoding': 'chunked' }, 'POST')}5\r\nhello\r\n0\r\n\r\n`
    expect((await exchange(chunked + next)).match(/HTTP\/1.1 401/g)).toHaveLength(2)
  })

  test('a long one is not: 401 at once, and the connection ends', async () => {
    const { exchange } = await start(unused)
    const first = await exchange(get('/', { 'Content-Length': '1073741824' }, 'POST'), 'Unauthorized')
    expect(fields(first, 'connection')).toEqual(['close'])
    const smuggled = get('/next', { Authorization: negotiateField('alice') })
    const post = `${get('/', { 'Content-Length': '200000' }, 'POST')}${'a'.repeat(200_000)}${smuggled}`
    expect((await exchange(post)).match(/HTTP\/1.1/g)).toHaveLength(1)
  })

  test('a chunked one without an end: 401 at once, at most 64 KiB are read, and the connection ends', async () => {
    let read = 0
    const { exchange, server } = await start(unused)
    server.on('request', (req: IncomingMessage) => req.on('data', (chunk: Uint8Array) => (read += chunk.length)))
    const chunk = `8000\r\n${'a'.repeat(0x8000)}\r\n`
    const smuggled = get('/next', { Authorization: negotiateField('alice') })
    const post = `${get('/', { 'Transfer-Encoding': 'chunked' }, 'POST')}${chunk.repeat(40)}0\r\n\r\n${smuggled}`
    const response = await exchange(post)
    expect(response.match(/HTTP\/1.1/g)).toHaveLength(1)
    expect(response).toMatch(/^HTTP\/1.1 401 .*Unauthorized/s)
    expect(read).toBeLessThanOrEqual(65_536 + 65_536) // the bound, and the piece that broke it
  })

  test('one that never comes: the connection ends', async () => {
    const { exchange, server } = await start(unused)
    server.keepAliveTimeout = 60_000 // it would end an idle connection by itself
    expect(await exchange(get('/', { 'Content-Length': '10' }, 'POST'))).toMatch(/^HTTP\/1.1 401 .*Unauthorized$/s)
  })
})

describe('connections', () => {
  const name: Handler = (req, res) => void res.end(`<${identityOf(req).name}>`)

  test('S60, S61, S63: alice, rubbish, bob, nobody on one socket', async () => {
    const { exchange } = await start(name)
    const requests = [negotiateField('alice'), 'Negotiate x', negotiateField('bob')].map((Authorization) =>
      get('/', { Authorization }),
    )
    const response = await exchange(requests.join('') + get('/', CLOSE))
    expect(response.match(/HTTP\/1.1 \d+|<\w+>/g)).toEqual([
      'HTTP/1.1 200',
      '<alice>',
      'HTTP/1.1 401',
      'HTTP/1.1 200',
      '<bob>',
      'HTTP/1.1 401',
    ])
  })

  test('S03: a second leg counts on its own socket alone', async () => {
    const contexts = new FakeContexts()
    const core = new NegotiateCore({ contexts, attempts: attemptCounts(() => 0, 7) }, serverSettings(), nodeEffects())
    const { exchange } = await start(name, core)
    const leg = get('/', { Authorization: negotiateField('leg') })
    const last = get('/', { ...CLOSE, Authorization: negotiateField('\xa1alice') })
    expect(fields(await exchange(leg, 'Unauthorized'), 'www-authenticate')).toEqual(['Negotiate TU9SRQ=='])
    await exchange(last)
    expect(contexts.made.map(({ legs }) => legs)).toEqual([1, 1])
    expect(await exchange([leg, last])).toMatch(/<alice>/)
    expect(contexts.made.map(({ legs }) => legs)).toEqual([1, 1, 2])
    await core.close()
  })

  test('S62: HTTP/2 streams of two users never mix; S10: its second Authorization is seen', async () => {
    const { core, contexts } = fakeServer()
    const adapter = new NodeAdapter(core)
    const server = createServer2()
    server.on('request', (req: Http2ServerRequest, res) => {
      void adapter.handle(req as unknown as IncomingMessage, res as unknown as ServerResponse).then((identity) => {
        if (identity?.name === 'silence') res.end()
        else if (!res.writableEnded) res.end(identity?.name ?? '')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const ask = async (authorization?: string, method = 'GET') => {
      const stream = client.request({ ':path': '/', ':method': method, ...(authorization && { authorization }) })
      if (method === 'POST') stream.write('a'.repeat(100_000))
      else stream.end()
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
      let body = ''
      stream.on('data', (chunk) => {
        body += String(chunk)
      })
      await once(stream, 'end')
      return [headers[':status'], headers['www-authenticate'], body]
    }
    expect(await Promise.all([ask(negotiateField('alice')), ask(negotiateField('bob')), ask()])).toEqual([
      [200, TOKEN, 'alice'],
      [200, TOKEN, 'bob'],
      [401, 'Negotiate', 'Unauthorized'],
    ])
    expect(await ask(negotiateField('silence'))).toEqual([200, TOKEN, ''])
    expect(await ask(`${negotiateField('alice')}, ${negotiateField('bob')}`)).toEqual([
      401,
      'Negotiate',
      'Unauthorized',
    ])
    expect(await ask(undefined, 'POST')).toEqual([401, 'Negotiate', 'Unauthorized'])
    await ask(negotiateField('leg'))
    expect(await ask(negotiateField('\xa1carol'))).toEqual([200, TOKEN, 'carol'])
    expect(contexts.made.at(-1)?.legs).toBe(2)
    client.destroy()
    server.close()
    await once(server, 'close')
  })
})

describe('handle', () => {
  test('A05: an unknown kind is a 401', async () => {
    const { exchange } = await start(() => expect.unreachable(), new Scripted(() => ({ kind: 'granted' })))
    expect(await exchange(get('/', CLOSE))).toMatch(/^HTTP\/1.1 401 /)
  })

  test('A04: a refused request of HTTP/2 whose client has left does not look anonymous', async () => {
    const { core } = fakeServer()
    let left = (): void => {}
    const untilLeft = new Promise<void>((resolve) => {
      left = resolve
    })
    const adapter = new NodeAdapter(
      new Scripted(async () => {
        await untilLeft
        return core.authenticate({ method: 'POST', url: '/', headers: {} })
      }),
    )
    const server = createServer2()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = client.request({ ':path': '/', ':method': 'POST' })
    stream.on('error', () => {})
    stream.write('x')
    const [req, res] = (await once(server, 'request')) as unknown as [IncomingMessage, ServerResponse]
    const handled = adapter.handle(req, res)
    stream.close(8) // CANCEL
    await once(res, 'close')
    left()
    expect(await handled).toBe(undefined)
    expect(res.writableEnded).toBe(true)
    client.destroy()
    server.close()
    await once(server, 'close')
  })

  test('A04: what authorize throws is a 500, and handle resolves', async () => {
    const { core } = fakeServer({ authorize: () => Promise.reject(new RangeError('theirs')) })
    const server = new NodeAdapter(core)
    const { exchange } = await start(async (req, res) => {
      expect(await server.handle(req, res)).toBeUndefined()
      expect(res.writableEnded).toBe(true)
    })
    const response = await exchange(get('/', { ...CLOSE, Authorization: negotiateField('user') }))
    expect(response).toMatch(/^HTTP\/1.1 500 .*Internal Server Error$/s)
    expect(response).not.toContain('theirs')
  })

  test('A04: an authenticator that rejects, and an answer that cannot be written, are a 500 and no rejection', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const headers: [string, string][] = [['X-Page', 'a\r\nb']]
    const refusal = { kind: 'refused', status: 403, reason: 'FORBIDDEN', headers, body: new Uint8Array(0) }
    for (const decide of [() => Promise.reject(new RangeError('theirs')), () => refusal]) {
      const { exchange } = await start(() => expect.unreachable(), new Scripted(decide))
      expect(await exchange(get('/', CLOSE))).toMatch(/^HTTP\/1.1 500 .*Internal Server Error$/s)
    }
    expect(warn).toHaveBeenCalledTimes(2)
    warn.mockRestore()
  })

  test('a second handle on the same request takes the identity it finds', async () => {
    const second = fakeServer({ authorize: ({ name }) => name === 'alice' })
    const other = new NodeAdapter(second.core)
    const { exchange } = await start(
      (req, res) => void other.handle(req, res).then((identity) => identity && res.end(`<${identity.name}>`)),
    )
    const ask = (name: string) => exchange(get('/', { ...CLOSE, Authorization: negotiateField(name) }))
    expect(await ask('alice')).toMatch(/<alice>/)
    expect(await ask('bob')).toMatch(/^HTTP\/1.1 403 /)
    expect(second.contexts.made).toEqual([])
  })
})

describe('S71: a forwarded login whose client leaves while it is decided about ends at once', () => {
  /** Decides when the client has left. */
  function forwarding(): { released: () => number; left: () => void; server: Scripted } {
    let released = 0
    let left = (): void => {}
    const untilLeft = new Promise<void>((resolve) => {
      left = resolve
    })
    const delegated = { release: () => void released++ }
    const identity = { name: 'alice', delegated } as unknown as Identity
    const server = new Scripted(async () => {
      await untilLeft
      return { kind: 'accepted', identity, headers: [] }
    })
    return { released: () => released, left: () => left(), server }
  }

  test('HTTP/1', async () => {
    const { released, left, server } = forwarding()
    const adapter = new NodeAdapter(server)
    running = await serve(undefined)
    const socket = connect(running.port, '127.0.0.1')
    socket.write(get('/'))
    const [req, res] = (await once(running.server, 'request')) as [IncomingMessage, ServerResponse]
    const handled = adapter.handle(req, res)
    socket.destroy()
    await once(res, 'close')
    left()
    await handled
    expect(released()).toBe(1)
  })

  test('HTTP/2', async () => {
    const { released, left, server } = forwarding()
    const adapter = new NodeAdapter(server)
    const http2 = createServer2()
    http2.listen(0, '127.0.0.1')
    await once(http2, 'listening')
    const client = connect2(`http://127.0.0.1:${(http2.address() as AddressInfo).port}`)
    const stream = client.request({ ':path': '/' })
    stream.on('error', () => {})
    const [req, res] = (await once(http2, 'request')) as unknown as [IncomingMessage, ServerResponse]
    const handled = adapter.handle(req, res)
    stream.close(8) // CANCEL
    await once(res, 'close')
    left()
    await handled
    expect(released()).toBe(1)
    client.destroy()
    http2.close()
    await once(http2, 'close')
  })

  test('an upgrade', async () => {
    const { released, left, server } = forwarding()
    running = await serve(undefined)
    running.server.on('upgrade', () => expect.unreachable())
    new NodeAdapter(server).attach(running.server)
    const accepted = once(running.server, 'connection') as Promise<[Socket]>
    const socket = connect(running.port, '127.0.0.1')
    socket.write(get('/', { Connection: 'Upgrade', Upgrade: 'x' }))
    const [theirs] = await accepted
    await vi.waitFor(() => expect(server.asked.length).toBe(1))
    theirs.resume()
    theirs.destroy()
    await once(theirs, 'close')
    left()
    await vi.waitFor(() => expect(released()).toBe(1))
  })
})

describe('attach', () => {
  const UPGRADE = { Connection: 'Upgrade', Upgrade: 'websocket' }

  async function upgrades(
    core: ConstructorParameters<typeof NodeAdapter>[0],
  ): Promise<{ ran: string[]; ask: (headers?: object) => Promise<string> }> {
    const ran: string[] = []
    running = await serve((_req, res) => void res.end('ordinary'))
    const listen = (name: string) => (req: IncomingMessage, socket: NodeJS.WritableStream, head: Uint8Array) => {
      ran.push(name)
      if (name === 'after') return
      let principal = 'ANONYMOUS'
      try {
        ;({ principal } = identityOf(req))
      } catch {}
      socket.end(`HTTP/1.1 101 Switching Protocols\r\n\r\n${principal} ${head.length}`)
    }
    running.server.on('upgrade', listen('before'))
    new NodeAdapter(core).attach(running.server)
    running.server.on('upgrade', listen('after'))
    const { exchange } = running
    return { ran, ask: (headers = {}) => exchange(`${get('/', { ...UPGRADE, ...headers })}early`) }
  }

  test('A03: an upgrade without a token, with rubbish, from another site: no listener sees it', async () => {
    const { ran, ask } = await upgrades(fakeServer().core)
    for (const Authorization of ['', 'Negotiate x', negotiateField('otherkey'), negotiateField('leg')]) {
      const response = await ask(Authorization === '' ? {} : { Authorization })
      expect(response).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n.*\r\n\r\nUnauthorized$/s)
      expect([fields(response, 'www-authenticate'), fields(response, 'connection')]).toEqual([['Negotiate'], ['close']])
    }
    const evil = { Authorization: negotiateField('user'), Origin: 'https://evil.example' }
    expect(await ask(evil)).toMatch(/^HTTP\/1.1 403 /)
    expect(ran).toEqual([])
  })

  test('A03: an accepted one reaches every listener, with what came behind it', async () => {
    const { ran, ask } = await upgrades(fakeServer().core)
    expect(await ask({ Authorization: negotiateField('user') })).toContain('user@EXAMPLE.ORG 5')
    expect(ran).toEqual(['before', 'after'])
  })

  test('A04, A05: an unknown kind, and an authenticator that throws', async () => {
    const { ran, ask } = await upgrades(new Scripted(() => ({ kind: 'granted' })))
    expect(await ask()).toMatch(/^HTTP\/1.1 401 /)
    await running?.close()
    const throwing = await upgrades(new Scripted(() => Promise.reject(new RangeError('theirs'))))
    const warned = once(process, 'warning')
    expect(await throwing.ask()).toBe('')
    expect((await warned)[0]).toMatchObject({ message: 'theirs' })
    expect([ran, throwing.ran]).toEqual([[], []])
  })

  test('a client that leaves while it is decided about is no crash', async () => {
    let decide: (decision: unknown) => void = () => {}
    const { ran, ask } = await upgrades(new Scripted(() => new Promise((resolve) => (decide = resolve))))
    const upgraded = once(running?.server as never, 'connection') as Promise<
      [{ resetAndDestroy(): void; destroy(error: Error): void }]
    >
    const answer = ask()
    const [socket] = await upgraded
    await new Promise((resolve) => setTimeout(resolve, 20))
    socket.destroy(new Error('ECONNRESET'))
    expect(await answer).toBe('')
    decide({ kind: 'anonymous', reason: undefined })
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(ran).toEqual([])
  })

  test('ordinary requests are not its affair', async () => {
    await upgrades(fakeServer().core)
    expect(await running?.exchange(get('/', CLOSE))).toMatch(/ordinary$/)
  })

  test('S82: a low limit is told at start, once; an ample one is not', async () => {
    expect(recommendedMaxHeaderSize).toBe(98_304)
    const warnings: unknown[] = []
    const listen = (warning: { code?: unknown }) => void warnings.push(warning.code)
    process.on('warning', listen)
    for (const maxHeaderSize of [recommendedMaxHeaderSize, 65_536, 65_535, undefined]) {
      const low = await serve(undefined, { maxHeaderSize })
      const adapter = new NodeAdapter(fakeServer().core)
      adapter.attach(low.server)
      adapter.attach(low.server)
      await low.close()
    }
    await new Promise(setImmediate)
    process.off('warning', listen)
    expect(warnings).toEqual(['SPNEGO_HEADER_SIZE', 'SPNEGO_HEADER_SIZE'])
  })
})

test('timers keep no process alive, and can be cancelled', async () => {
  const { after } = nodeEffects()
  let ran = 0
  const cancel = after(1, () => ran++)
  cancel()
  after(2, () => ran++)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(ran).toBe(1)
})

test('MAG-10, RFC 9110 §11.7.1: a proxy’s two challenges, each in a field of its own', async () => {
  const passwords = {
    verify: () => Promise.reject(),
    isKnown: () => false,
    nameOf: ({ user }: { user: string }) => user,
  }
  const { core } = fakeServer({ proxy: true, basic: true }, { passwords })
  const { exchange } = await start((_q, res) => res.end(), core)
  expect(fields(await exchange(get('http://a.example/', CLOSE)), 'Proxy-Authenticate')).toEqual([
    'Negotiate',
    'Basic realm="Kerberos", charset="UTF-8"',
  ])
})

test.each<[string, Handler]>([
  ['setHeader', (_q, res) => void res.setHeader('Set-Cookie', 'a=b').end()],
  ['writeHead', (_q, res) => void res.writeHead(200, { 'set-cookie': 'a=b' }).end()],
  ['removeHeader', (_q, res) => emptied(res).end()],
])('S91: a session that begins and ends with one request is over for the browser, after %s', async (_name, handler) => {
  const sealer = await sessionSealer([new Uint8Array(32)], () => new Uint8Array(16))
  const { core } = fakeServer({ sessions: true }, { loadSealer: async () => sealer })
  const { exchange } = await start((req, res) => void endSession(req, res).then(() => handler(req, res)), core)
  const answer = await exchange(get('/', { ...CLOSE, Authorization: negotiateField('alice') }))
  expect(fields(answer, 'Set-Cookie').at(-1)).toMatch(/^spnego=; Max-Age=0/)
})
