import { once } from 'node:events'
import express, { type Express, type Request, type RequestHandler } from 'express'
import { afterEach, describe, expect, test } from 'vitest'
import { identityOf, negotiateWith } from '../../../src/adapters/server/express.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { fields, type Running, Scripted, serve } from './wire.ts'

const TOKEN = 'Negotiate U1RPS0VO'
let running: Running | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(app: Express): Promise<(path?: string, token?: string, init?: RequestInit) => Promise<Response>> {
  app.use((error: Error, _req: unknown, res: { status(n: number): { send(text: string): void } }, _next: unknown) => {
    res.status(500).send(`caught ${error.name}`)
  })
  running = await serve(app)
  const { port } = running
  return (path = '/', token, init = {}) => {
    const headers = { ...(token && { authorization: negotiateField(token) }), ...(init.headers as object) }
    return fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers })
  }
}

type Use = [string, RequestHandler] | [RequestHandler]

function app(...uses: Use[]): Express & { ran: number } {
  const made = Object.assign(express(), { ran: 0 })
  for (const use of uses) {
    if (use.length === 1) made.use(use[0])
    else made.use(use[0], use[1])
  }
  made.use('/', (req, res) => {
    made.ran++
    res.send(`Hello ${req.kerberos?.principal ?? 'ANONYMOUS'}`)
  })
  return made
}

describe('negotiate for Express', () => {
  test('WK-03, S12: an accepted request runs, and its response carries the token', async () => {
    const ask = await start(app([negotiateWith(fakeServer().core)]))
    const response = await ask('/', 'user')
    expect([response.status, await response.text()]).toEqual([200, 'Hello user@EXAMPLE.ORG'])
    expect(response.headers.get('www-authenticate')).toBe(TOKEN)
  })

  test.each(['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE'])(
    'A01–A03: %s without a header, with rubbish, with another key',
    async (method) => {
      const made = app([negotiateWith(fakeServer().core)])
      const ask = await start(made)
      const refused = [
        await ask('/', undefined, { method }),
        await ask('/', undefined, { method, headers: { authorization: 'Negotiate x' } }),
        await ask('/', 'otherkey', { method }),
      ]
      for (const response of refused) {
        expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
        expect(response.headers.get('content-length')).toBe('12')
        // Node's fetch closes after HEAD by its own wish.
        if (method !== 'HEAD') expect(response.headers.get('connection')).toBe('keep-alive')
        expect(await response.text()).toBe(method === 'HEAD' ? '' : 'Unauthorized')
      }
      expect(made.ran).toBe(0)
    },
  )

  test('WK-01: anonymous only when required said no', async () => {
    const ask = await start(app([negotiateWith(fakeServer({ required: ({ url }) => !url.startsWith('/open') }).core)]))
    const open = await ask('/open')
    expect([await open.text(), open.headers.get('www-authenticate')]).toEqual(['Hello ANONYMOUS', null])
    expect((await ask('/closed')).status).toBe(401)
  })

  test('S10: a second Authorization is seen', async () => {
    await start(app([negotiateWith(fakeServer().core)]))
    const line = `Authorization: ${negotiateField('alice')}\r\n`
    const text = `GET / HTTP/1.1\r\nHost: x\r\n${line}${line}Connection: close\r\n\r\n`
    expect(await running?.exchange(text)).toMatch(/^HTTP\/1.1 401 /)
  })

  test('S12: the token also on what a handler throws, beside its own challenge', async () => {
    const made = express()
    made.use(negotiateWith(fakeServer().core))
    made.get('/throws', () => {
      throw new RangeError('theirs')
    })
    made.get('/rejects', async () => {
      throw new RangeError('theirs')
    })
    made.get('/own', (_req, res) => void res.set('WWW-Authenticate', 'Bearer').status(401).end())
    const ask = await start(made)
    for (const path of ['/throws', '/rejects']) {
      const response = await ask(path, 'user')
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([500, TOKEN])
    }
    expect((await ask('/own', 'user')).headers.get('www-authenticate')).toBe(`Bearer, ${TOKEN}`)
  })

  test('S12: the token also when Express’ own error handler removed every field', async () => {
    const made = express()
    made.set('env', 'test')
    made.use(negotiateWith(fakeServer().core))
    made.get('/throws', () => {
      throw new RangeError('theirs')
    })
    running = await serve(made)
    const response = await fetch(`http://127.0.0.1:${running.port}/throws`, {
      headers: { authorization: negotiateField('user') },
    })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([500, TOKEN])
  })

  test('A04: what authorize throws goes to the error handler, never to the route', async () => {
    const authorize = () => Promise.reject(new RangeError('theirs'))
    const made = app([negotiateWith(fakeServer({ authorize }).core)])
    const ask = await start(made)
    const response = await ask('/', 'user')
    expect([response.status, await response.text(), made.ran]).toEqual([500, 'caught RangeError', 0])
  })

  test('A04: authorize says no: 403, and the route does not run', async () => {
    const made = app([negotiateWith(fakeServer({ authorize: () => false }).core)])
    const response = await (await start(made))('/', 'user')
    expect([response.status, response.headers.get('www-authenticate'), made.ran]).toEqual([403, TOKEN, 0])
  })

  test.each<[string, unknown]>([
    ['an unknown kind', { kind: 'granted', identity: {}, headers: [] }],
    ['an inherited kind', { kind: 'toString' }],
    ['no kind', {}],
  ])('A05: %s is a 401', async (_what, decision) => {
    const made = app([negotiateWith(new Scripted(() => decision))])
    const response = await (await start(made))()
    expect([response.status, response.headers.get('www-authenticate'), made.ran]).toEqual([401, 'Negotiate', 0])
  })

  test('A05: no decision at all is an error', async () => {
    const made = app([negotiateWith(new Scripted(() => undefined))])
    expect([(await (await start(made))()).status, made.ran]).toEqual([500, 0])
  })

  test('A06: a sub-app, a nested router and a guard take the identity they find, and apply their own authorize', async () => {
    const inner = fakeServer({ authorize: ({ name }) => name === 'alice' })
    const sub = express()
    sub.use(negotiateWith(inner.core))
    sub.get('/', (req, res) => void res.send(`Sub ${identityOf(req).principal}`))
    const ask = await start(app([negotiateWith(fakeServer().core)], ['/sub', sub]))
    const alice = await ask('/sub', 'alice')
    expect([await alice.text(), alice.headers.get('www-authenticate')]).toEqual(['Sub alice@EXAMPLE.ORG', TOKEN])
    const bob = await ask('/sub', 'bob')
    expect([bob.status, bob.headers.get('www-authenticate')]).toEqual([403, TOKEN])
    expect(inner.contexts.made).toEqual([])
  })

  test('A06: concurrent requests never mix', async () => {
    const made = express()
    made.use(negotiateWith(fakeServer().core))
    made.get('/', async (req, res) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
      res.send(identityOf(req).name)
    })
    const ask = await start(made)
    const names = Array.from({ length: 40 }, (_, i) => `user${i}`)
    const answers = await Promise.all(names.map(async (name) => (await ask('/', name)).text()))
    expect(answers).toEqual(names)
  })

  test('A07: what an earlier middleware wrote is replaced, and removed for nobody', async () => {
    const forged: RequestHandler = (req, _res, next) => {
      req.kerberos = { principal: 'root@EXAMPLE.ORG' } as Request['kerberos']
      next()
    }
    const ask = await start(app([forged], [negotiateWith(fakeServer({ required: false }).core)]))
    expect(await (await ask('/', 'user')).text()).toBe('Hello user@EXAMPLE.ORG')
    expect(await (await ask()).text()).toBe('Hello ANONYMOUS')
  })

  test('A07: identityOf does not believe what was written on the request', async () => {
    const made = express()
    made.use((req, _res, next) => {
      req.kerberos = { principal: 'root@EXAMPLE.ORG' } as Request['kerberos']
      next()
    })
    made.get('/', (req, res) => {
      try {
        res.send(identityOf(req).principal)
      } catch (error) {
        res.send((error as { code: string }).code)
      }
    })
    expect(await (await (await start(made))()).text()).toBe('NOT_AUTHENTICATED')
  })

  test('fields of earlier middleware stay', async () => {
    const cors: RequestHandler = (_req, res, next) => {
      res.vary('Origin')
      res.set('Access-Control-Allow-Origin', '*')
      next()
    }
    const ask = await start(app([cors], [negotiateWith(fakeServer().core)]))
    const response = await ask()
    expect(response.headers.get('vary')).toBe('Origin, Authorization')
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
  })

  test('S82: the first request warns of a low limit, once', async () => {
    const made = express()
    made.use(negotiateWith(fakeServer().core))
    running = await serve(made, { maxHeaderSize: 16_384 })
    const warned = once(process, 'warning')
    for (let i = 0; i < 2; i++) await running.exchange('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect((await warned)[0]).toMatchObject({ code: 'SPNEGO_HEADER_SIZE' })
    expect(fields(await running.exchange('GET / HTTP/1.0\r\n\r\n'), 'www-authenticate')).toEqual(['Negotiate'])
  })
})
