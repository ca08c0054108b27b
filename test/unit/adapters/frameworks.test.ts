import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { NegotiateServerOptions, PasswordVerifier } from '../../../src/http/index.ts'
import { Principal } from '../../../src/krb5/messages/principal.ts'
import { sessionSealer } from '../../../src/sessions/index.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { FRAMEWORKS, type Framework, type Running, run, type Site } from './frameworks.ts'
import { fields, get, Scripted } from './wire.ts'

/** What every adapter does alike. */

const TOKEN = 'Negotiate U1RPS0VO'
let running: Running | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

type Ask = (path?: string, token?: string, init?: RequestInit) => Promise<Response>

async function start(framework: Framework, site: Partial<Site> & Pick<Site, 'outer'>): Promise<Ask> {
  running = await run(framework, site)
  const { port } = running
  return (path = '/', token, init = {}) => {
    const headers = { ...(token && { authorization: negotiateField(token) }), ...(init.headers as object) }
    return fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init, headers })
  }
}

/** Texts on one connection, each after the answer to the one before. */
function exchange(texts: readonly string[]): Promise<string[]> {
  const { port } = running as Running
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const answers: string[] = []
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      const [head = '', body = ''] = received.split('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      const isWhole = /transfer-encoding: chunked/i.test(head)
        ? received.endsWith('0\r\n\r\n')
        : received.includes('\r\n\r\n') && body.length >= length
      if (!isWhole) return
      answers.push(received)
      received = ''
      const next = texts[answers.length]
      if (next === undefined) socket.destroy()
      else socket.write(next)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve([...answers, ...(received === '' ? [] : [received])]))
    socket.write(texts[0] ?? '')
  })
}

/** Values that are no errors: Express reads the texts and what is false as "go on", Koa and Passport some of them. */
const ODD_CAUSES: [string, unknown][] = [
  ['nothing', undefined],
  ['null', null],
  ['false', false],
  ['0', 0],
  ['an empty text', ''],
  ['"route"', 'route'],
  ['"router"', 'router'],
  ['a text', 'text'],
  ['an object without a prototype', Object.create(null)],
  ['a symbol', Symbol('odd')],
]

function throwing(): never {
  throw new RangeError('theirs')
}

async function later(): Promise<never> {
  return throwing()
}

const listOf = (response: Response, name: string) =>
  (response.headers.get(name) ?? '')
    .split(',')
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== '')

const hello = (name: string) => `${name}@EXAMPLE.ORG ${name}@EXAMPLE.ORG`

describe.each(FRAMEWORKS)('$name', (framework) => {
  const { multiLeg, ownPage, seesErrors } = framework

  test('WK-03, AG-03, S12: an accepted request runs, and its response carries the token', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const response = await ask('/', 'user')
    expect([response.status, await response.text()]).toEqual([200, hello('user')])
    expect(response.headers.get('www-authenticate')).toBe(TOKEN)
  })

  test.each(['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE'])(
    'A01–A03: %s without a header, with rubbish, with another key',
    async (method) => {
      const ask = await start(framework, { outer: fakeServer().core })
      const refused = [
        await ask('/', undefined, { method }),
        await ask('/', undefined, { method, headers: { authorization: 'Negotiate x' } }),
        await ask('/', undefined, { method, headers: { authorization: 'Basic YTpi' } }),
        await ask('/', 'otherkey', { method }),
      ]
      for (const response of refused) {
        expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
        const text = await response.text()
        if (ownPage) expect(text).toBe(method === 'HEAD' ? '' : 'Unauthorized')
        if (ownPage) expect(response.headers.get('cache-control')).toBe('no-store')
      }
      expect(running?.ran).toEqual([])
    },
  )

  test('WK-01, AG-01: anonymous only when required said no', async () => {
    const required = ({ url }: { url: string }) => !new URL(url, 'http://x').pathname.startsWith('/open')
    const ask = await start(framework, { outer: fakeServer({ required }).core })
    const open = await ask('/open')
    expect([await open.text(), open.headers.get('www-authenticate')]).toEqual(['ANONYMOUS NOT_AUTHENTICATED', null])
    expect((await ask('/closed')).status).toBe(401)
  })

  test.each([
    'http://localhost/admin',
    'HTTP://localhost/admin',
    'http://elsewhere.example:81/admin?x=/open',
    'https://localhost/admin',
  ])('S106: a rule by path sees %s as the framework routes it', async (target) => {
    const paths: string[] = []
    const outer = fakeServer({
      required: ({ url }) => url.startsWith('/admin'),
      onFailure: ({ path }) => void paths.push(path),
    })
    await start(framework, { outer: outer.core })
    const [answer] = await exchange([get(target, { Connection: 'close' })])
    const isUnknown = answer?.startsWith('HTTP/1.1 400 ') // what Hono's server says of a scheme in capitals
    if (!isUnknown) expect(answer).toMatch(/^HTTP\/1.1 401 /)
    expect([running?.ran, paths]).toEqual([[], isUnknown ? [] : ['/admin']])
  })

  test.each([
    '/\\admin',
    '\\admin',
    '/open#/../admin',
    '/open#',
    'http://localhost#/admin',
    'http://user@localhost/admin',
    'http://localhost\\admin',
    'ftp://localhost/admin',
    'http:/admin',
    'http:admin',
    'javascript:/admin',
    'admin',
    '*',
    '?/admin',
    'localhost:80',
  ])('S111: %s, which rules and routes may read differently, is refused before any rule', async (target) => {
    const isWeb = framework.name.startsWith('Hono') || framework.name.startsWith('Request')
    const rules: string[] = []
    const seen = ({ url }: { url: string }) => rules.push(url) < 0
    const { core } = fakeServer({ required: seen, authorize: (_identity, { url }) => rules.push(url) > 0 })
    await start(framework, { outer: core })
    for (const headers of [{}, { Authorization: negotiateField('alice') }]) {
      const [answer = ''] = await exchange([get(target, { ...headers, Connection: 'close' })])
      if (isWeb && answer.startsWith('HTTP/1.1 200 ')) continue // it was parsed before anybody has seen it
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d /)
      expect(answer).not.toMatch(/^www-authenticate/im)
    }
    const paths = (urls: readonly string[] = []) => new Set(urls.map((url) => new URL(url, 'http://x').pathname))
    if (isWeb) expect(paths(rules)).toEqual(paths(running?.ran))
    else expect([running?.ran, rules]).toEqual([[], []])
  })

  test('S106: authorize sees the origin form too', async () => {
    const authorize = ({ name }: { name: string }, { url }: { url: string }) =>
      name === 'root' || !url.startsWith('/admin')
    await start(framework, { outer: fakeServer({ authorize }).core })
    const ask = async (target: string, name: string) => {
      const [answer = ''] = await exchange([get(target, { Authorization: negotiateField(name), Connection: 'close' })])
      return answer.slice(9, 12)
    }
    expect(await ask('/admin', 'alice')).toBe('403')
    expect(await ask('http://localhost/admin', 'alice')).toBe('403')
    expect(await ask('http://localhost/admin', 'root')).toBe('200')
    expect(await ask('http://localhost/open', 'alice')).toBe('200')
  })

  test.each(['//admin', '/a%2Fb', '/%61dmin', '/ADMIN', '/a//b', '/open/../admin', '/open/%2e%2e/admin', '/a;b=c/d'])(
    'S106: %s is the same path for a rule and for the routes',
    async (target) => {
      const seen: string[] = []
      const required = ({ url }: { url: string }) => seen.push(url) < 0
      await start(framework, { outer: fakeServer({ required }).core })
      for (const form of [target, `http://localhost${target}`]) {
        const [answer] = await exchange([get(form, { Connection: 'close' })])
        expect(answer).toMatch(/^HTTP\/1.1 200 /)
      }
      const routed = (running?.ran ?? []).map((path) => decodeURIComponent(new URL(`http://x${path}`).pathname))
      expect(seen.map((url) => decodeURIComponent(new URL(`http://x${url}`).pathname))).toEqual(routed)
      expect(new Set(seen).size).toBe(1)
      expect(seen[0]).toMatch(/^\//)
    },
  )

  test.each<[string, NegotiateServerOptions]>([
    ['required', { required: throwing }],
    ['authorize', { authorize: throwing }],
    ['unauthorized', { unauthorized: throwing }],
    ['challengeOnce', { challengeOnce: throwing }],
    ['challengeOnce, later', { challengeOnce: later as never }],
    ['required, later', { required: async () => throwing() }],
    ['authorize, later', { authorize: async () => throwing() }],
    ['unauthorized, later', { unauthorized: async () => throwing() }],
    ['forbidden', { authorize: () => false, forbidden: throwing }],
  ])('A04: %s throws: 500, no end of the process, and the next request is answered', async (what, options) => {
    const { core, warnings } = fakeServer(options)
    const ask = await start(framework, { outer: core })
    const token = /^(authorize|forbidden)/.test(what) ? 'user' : undefined
    for (let i = 0; i < 2; i++) {
      const response = await ask('/', token)
      expect(response.status).toBe(500)
      await response.text()
    }
    expect(running?.ran).toEqual([])
    expect(warnings.filter((text) => text.startsWith('CALLBACK_FAILED')).length).toBe(1)
  })

  test.each(ODD_CAUSES)(
    'A04: authorize and required throw %s, which frameworks read as “go on”: 500, and no handler runs',
    async (_what, thrown) => {
      for (const options of [{ authorize: () => Promise.reject(thrown) }, { required: () => Promise.reject(thrown) }]) {
        const { core } = fakeServer(options)
        const ask = await start(framework, { outer: core })
        for (const path of ['/', '/sub']) {
          const response = await ask(path, 'authorize' in options ? 'user' : undefined)
          expect(response.status).toBe(500)
          await response.text()
        }
        expect(running?.ran).toEqual([])
        await running?.close()
      }
      const ask = await start(framework, { outer: new Scripted(() => Promise.reject(thrown)) })
      expect((await ask('/')).status).toBe(500)
      expect(running?.ran).toEqual([])
    },
  )

  test.each<[string, NegotiateServerOptions]>([
    ['onFailure', { onFailure: throwing }],
    ['onFailure, later', { onFailure: async () => throwing() }],
    ['logger', { logger: { debug: throwing, info: throwing, warn: throwing, error: throwing } }],
    ['logger, later', { logger: { debug: later, info: later, warn: later, error: later } }],
  ])('A04: %s throws: the decision stands', async (_what, options) => {
    const { core, warnings } = fakeServer(options)
    const ask = await start(framework, { outer: core })
    expect((await ask()).status).toBe(401)
    expect((await ask('/', 'replay')).status).toBe(401)
    expect((await ask('/', 'user')).status).toBe(200)
    expect(warnings.length).toBe(1)
  })

  test('S108: what a user sees is kept by no shared cache, nor given to others', async () => {
    const { core } = fakeServer({ required: false })
    const ask = await start(framework, { outer: core })
    const [known, anonymous] = [await ask('/', 'user'), await ask()]
    expect(known.headers.get('cache-control')).toBe('private')
    expect(listOf(known, 'vary')).toEqual(['authorization'])
    expect([anonymous.headers.get('cache-control'), listOf(anonymous, 'vary')]).toEqual([null, ['authorization']])
  })

  test.each([
    ['max-age=60', 'max-age=60, private'],
    ['no-cache, max-age=0', 'no-cache, max-age=0, private'],
    ['public, max-age=60', 'public, max-age=60'],
    ['Private', 'Private'],
    ['no-store', 'no-store'],
    ['max-age=1, s-maxage=5', 'max-age=1, s-maxage=5'],
    ['private="set-cookie"', 'private="set-cookie", private'],
    ['private = "x-a, public"', 'private = "x-a, public", private'],
    ['no-cache="x, no-store"', 'no-cache="x, no-store", private'],
    ['x="a\\"b", public', 'x="a\\"b", public'],
    ['my-private, no-storeish', 'my-private, no-storeish, private'],
  ])('S108: the application says %s of caches', async (own, expected) => {
    const { core } = fakeServer()
    const ask = await start(framework, { outer: core })
    const response = await ask(`/cache?${encodeURIComponent(own)}`, 'user')
    expect(response.headers.get('cache-control')).toBe(expected)
    expect(listOf(response, 'vary').sort()).toEqual(['accept-language', 'authorization'])
  })

  test('S10: a second Authorization is seen', async () => {
    await start(framework, { outer: fakeServer().core })
    const line = `Authorization: ${negotiateField('alice')}\r\n`
    const [answer] = await exchange([`GET / HTTP/1.1\r\nHost: x\r\n${line}${line}Connection: close\r\n\r\n`])
    expect(answer).toMatch(/^HTTP\/1.1 401 /)
    expect(running?.ran).toEqual([])
  })

  test('S12: the token beside the handler’s own challenge, and on what a handler throws', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const own = await ask('/own', 'user')
    expect(own.headers.get('www-authenticate')?.split(', ').sort()).toEqual(['Bearer', TOKEN])
    if (!seesErrors) return
    const thrown = await ask('/throws', 'user')
    expect([thrown.status, thrown.headers.get('www-authenticate')]).toEqual([500, TOKEN])
  })

  test('A04: what authorize throws is an error, and the handler does not run', async () => {
    const authorize = () => Promise.reject(new RangeError('theirs'))
    const ask = await start(framework, { outer: fakeServer({ authorize }).core })
    expect((await ask('/', 'user')).status).toBe(500)
    expect(running?.ran).toEqual([])
  })

  test('A04: authorize says no: 403, and the handler does not run', async () => {
    const ask = await start(framework, { outer: fakeServer({ authorize: () => false }).core })
    expect((await ask('/', 'user')).status).toBe(403)
    expect(running?.ran).toEqual([])
  })

  test.each<[string, unknown]>([
    ['an unknown kind', { kind: 'granted', identity: {}, headers: [] }],
    ['an inherited kind', { kind: 'toString' }],
    ['no kind', {}],
  ])('A05: %s is a 401', async (_what, decision) => {
    const ask = await start(framework, { outer: new Scripted(() => decision) })
    const response = await ask()
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
    expect(running?.ran).toEqual([])
  })

  test('A05: no decision at all is an error', async () => {
    const ask = await start(framework, { outer: new Scripted(() => undefined) })
    expect((await ask()).status).toBe(500)
    expect(running?.ran).toEqual([])
  })

  test('A06, MAG-04: a second guard takes the identity it finds, and applies its own authorize', async () => {
    const inner = fakeServer({ authorize: ({ name }) => name === 'alice' })
    const ask = await start(framework, { outer: fakeServer().core, inner: inner.core })
    const alice = await ask('/sub', 'alice')
    expect([await alice.text(), alice.headers.get('www-authenticate')]).toEqual([hello('alice'), TOKEN])
    expect((await ask('/sub', 'bob')).status).toBe(403)
    expect(inner.contexts.made).toEqual([])
  })

  test('a login’s session: its cookie beside the token, then instead of it, until it is ended', async () => {
    const key = new Uint8Array(32).fill(7)
    const sealer = await sessionSealer([key], (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)))
    const ask = await start(framework, {
      outer: fakeServer({ sessions: true }, { loadSealer: async () => sealer }).core,
    })
    const login = await ask('/', 'user')
    const [line = ''] = login.headers.getSetCookie()
    expect(line).toMatch(/^spnego=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax$/)
    expect(login.headers.get('www-authenticate')).toBe(TOKEN)
    const headers = { cookie: line.split(';')[0] as string }
    const session = await ask('/', undefined, { headers })
    expect([session.status, await session.text()]).toEqual([200, hello('user')])
    expect([session.headers.get('www-authenticate'), session.headers.getSetCookie()]).toEqual([null, []])
    const gone = await ask('/logout', undefined, { headers })
    expect([gone.status, gone.headers.getSetCookie()]).toEqual([
      200,
      ['spnego=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax'],
    ])
    expect((await ask('/', undefined, { headers })).status).toBe(401)
  })

  test('a session that begins and ends with one request: the browser is told last that it is over', async () => {
    const key = new Uint8Array(32).fill(7)
    const sealer = await sessionSealer([key], () => new Uint8Array(16))
    const ask = await start(framework, {
      outer: fakeServer({ sessions: true }, { loadSealer: async () => sealer }).core,
    })
    const response = await ask('/logout', 'user')
    expect(response.headers.getSetCookie().at(-1)).toContain('Max-Age=0')
    expect(response.headers.get('www-authenticate')).toBe(TOKEN)
  })

  test('MAG-10: two challenges, and a password', async () => {
    const passwords: PasswordVerifier = {
      verify: async ({ user }) => ({ peer: new Principal([user], 'EXAMPLE.ORG'), expiresAt: new Date(2e12) }),
      isKnown: () => false,
      nameOf: ({ user }) => user,
    }
    const ask = await start(framework, { outer: fakeServer({ basic: true }, { passwords }).core })
    const asked = await ask()
    expect([asked.status, asked.headers.get('www-authenticate')]).toEqual([
      401,
      'Negotiate, Basic realm="Kerberos", charset="UTF-8"',
    ])
    const response = await ask('/', undefined, { headers: { authorization: `Basic ${btoa('alice:x')}` } })
    expect([response.status, await response.text()]).toEqual([200, hello('alice')])
  })

  test('A06: concurrent requests never mix', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const names = Array.from({ length: 40 }, (_, i) => `user${i}`)
    const answers = await Promise.all(names.map(async (name) => (await ask('/', name)).text()))
    expect(answers).toEqual(names.map(hello))
  })

  test('A07: what stood on the request is replaced, and removed for nobody', async () => {
    const ask = await start(framework, { outer: fakeServer({ required: false }).core, forges: true })
    expect(await (await ask('/', 'user')).text()).toBe(hello('user'))
    expect(await (await ask()).text()).toBe('ANONYMOUS NOT_AUTHENTICATED')
  })

  test('S60 S61 S63: one connection: alice, a bad token, nobody, bob', async () => {
    await start(framework, { outer: fakeServer().core })
    const as = (token: string) => get('/', { Authorization: negotiateField(token) })
    const answers = await exchange([as('alice'), as('otherkey'), as('alice'), get('/'), as('bob')])
    expect(answers.map((answer) => /^HTTP\/1.1 (\d+)/.exec(answer)?.[1])).toEqual(['200', '401', '200', '401', '200'])
    expect(answers[2]).toContain(hello('alice'))
    expect(answers[4]).toContain(hello('bob'))
    expect(answers[4]).not.toContain('alice')
  })

  test('S02 S03: a negotiation of two tokens goes on over its connection, where one is visible', async () => {
    await start(framework, { outer: fakeServer().core })
    const first = get('/', { Authorization: negotiateField('leg') })
    const second = get('/', { Authorization: negotiateField('\xa1alice') })
    const [asked, answer] = await exchange([first, second])
    expect(asked).toMatch(/^HTTP\/1.1 401 /)
    expect(fields(asked ?? '', 'www-authenticate')).toEqual([multiLeg ? 'Negotiate TU9SRQ==' : 'Negotiate'])
    if (multiLeg) expect(answer).toContain(hello('alice'))
    const [strange] = await exchange([second])
    if (multiLeg) expect(strange).toMatch(/^HTTP\/1.1 (401|200) /) // a fake token that continues nothing begins one
  })

  test('S47: a store that does not answer is a 503 with Retry-After', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const response = await ask('/', 'full')
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
    expect(running?.ran).toEqual([])
  })

  test('S84: a page of another site changes nothing', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const headers = { 'sec-fetch-site': 'cross-site' }
    expect((await ask('/', 'user', { method: 'POST', headers })).status).toBe(403)
    expect(running?.ran).toEqual([])
  })

  test('S14: a refused upload leaves the connection in order', async () => {
    await start(framework, { outer: fakeServer().core })
    const body = 'x'.repeat(1000)
    const upload = `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n${body}`
    const answers = await exchange([upload, get('/', { Authorization: negotiateField('alice') })])
    expect(answers[0]).toMatch(/^HTTP\/1.1 401 /)
    expect(answers[1]).toContain(hello('alice'))
  })
})

describe.each(FRAMEWORKS.filter(({ name }) => name.startsWith('Nest')))('$name', (framework) => {
  test('the message of a refusal is one line, also for a browser', async () => {
    const ask = await start(framework, { outer: fakeServer().core })
    const response = await ask('/', undefined, { headers: { accept: 'text/html' } })
    expect(await response.json()).toEqual({ statusCode: 401, message: 'Unauthorized' })
  })
})
