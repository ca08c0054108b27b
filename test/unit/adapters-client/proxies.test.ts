import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { createServer, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { syncBuiltinESMExports } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import axios from 'axios'
import got from 'got'
import { Agent as Agent7, ProxyAgent as ProxyAgent7, request as request7 } from 'undici7'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { NegotiateAgent, NegotiateHttpsAgent } from '../../../src/entries/agent.ts'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateFetch } from '../../../src/entries/fetch.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import type { ProxyLoginOptions } from '../../../src/entries/wiring/proxy.ts'
import { CHALLENGE, errorOf, eventually, Site, World } from '../http-client/site.ts'
import { certificate, type TlsSite, tlsSite } from '../http-client/tls-site.ts'
import { CLIENTS, causes, RUNTIME } from './clients.ts'
import { guard, KEEPS_APART, PASS, PROXY_CHALLENGE, type ProxyScript, ProxySite } from './proxy-site.ts'

/** Every client through a proxy that wants a login (RFC 9110 §11.7): http in absolute form, https and, when asked, http through CONNECT. */

let world: World
beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed; Squid's tests have a certificate that is verified
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const PROXIED = CLIENTS.filter(({ proxies }) => proxies)

function through(
  proxy: ProxySite,
  more: Partial<ProxyLoginOptions> = {},
  rest: NegotiateClientOptions = {},
): NegotiateClientOptions {
  return { credentials: world.alice, config: world.realm.config, proxy: { url: proxy.url, ...more }, ...rest }
}

async function secure(): Promise<TlsSite & AsyncDisposable> {
  const site = await tlsSite(world.acceptor, 'rsa-sha256')
  const end = async () => {
    site.server.closeAllConnections()
    await new Promise((resolve) => site.server.close(resolve))
  }
  return Object.assign(site, { [Symbol.asyncDispose]: end })
}

/** What the other runtimes do by themselves is not there to be tested. */
const onNode = (name: string, run: () => Promise<void>, timeoutMs?: number): void => {
  if (RUNTIME === 'Node') test(name, run, timeoutMs)
}

const OTHER_NAME = { targetName: 'HTTP@proxy.corp.example' } as const
const ALICE = 'alice@EXAMPLE.TEST'

/** Tokens are used once, and for one party. */
function allDiffer(...lists: readonly (readonly string[])[]): void {
  const all = lists.flat()
  expect(new Set(all).size).toBe(all.length)
}

/** The innermost hint. */
function hintOf(error: unknown): unknown {
  let found: unknown
  for (let one = error; one instanceof Error; one = one.cause) found = (one as { hint?: unknown }).hint ?? found
  return found
}

describe.each(PROXIED)('https: $name', (client) => {
  test.each([false, true])('a tunnel with a login, and the server’s own inside; preemptive: %s', async (preemptive) => {
    await using site = await secure()
    await using proxy = await ProxySite.start(guard(world))
    const call = client.open(through(proxy, { ...OTHER_NAME, preemptive }))
    for (let i = 0; i < 3; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.served.map(({ bound }) => bound)).toEqual(Array(3).fill(client.owns))
    for (const { method, target, headers } of proxy.seen) {
      expect([method, target]).toEqual(['CONNECT', new URL(site.url).host])
      expect(headers['authorization']).toBeUndefined()
    }
    const asked = proxy.seen.filter(({ token }) => token === undefined)
    if (preemptive) expect(asked).toEqual([])
    else expect(asked.length).toBeGreaterThan(0)
    allDiffer(proxy.tokens)
  })
})

describe.each(PROXIED)('http in absolute form: $name', (client) => {
  test.each([false, true])('both logins in one request; preemptive: %s', async (preemptive) => {
    await using site = await Site.start(world.honest())
    await using proxy = await ProxySite.start(guard(world))
    const call = client.open(through(proxy, { ...OTHER_NAME, preemptive }))
    for (let i = 0; i < 2; i++) {
      const answer = await call(`${site.url}/page?q=1`)
      if (!client.answers) {
        // The server's token goes with a second request, and this one is sent once.
        expect(answer.status).toBe(401)
        if (client.reports) expect(answer.report?.error?.code).toBe('CONTINUE_NEEDED')
        continue
      }
      expect(answer).toMatchObject({ status: 200, text: ALICE })
      const proxyReport = { attempted: true, principal: ALICE, target: 'HTTP/proxy.corp.example@EXAMPLE.TEST' }
      if (client.reports) expect(answer.report).toMatchObject({ serverAuthenticated: true, proxy: proxyReport })
    }
    expect(proxy.seen.every(({ target }) => target === `${site.url}/page?q=1`)).toBe(true)
    expect(site.seen.every(({ headers }) => headers['proxy-authorization'] === undefined)).toBe(true)
    expect(site.seen.every(({ url }) => url === '/page?q=1')).toBe(true)
    allDiffer(proxy.tokens, site.tokens)
    const both = proxy.seen.filter(
      ({ token, headers }) => token !== undefined && headers['authorization'] !== undefined,
    )
    if (client.answers) expect(both.length).toBe(2)
  })
})

/** The ways to a server of this test, with what is reached there. */
const WAYS = [
  ['https', 'CONNECT', {}],
  ['http', 'GET', {}],
  ['http', 'CONNECT', { tunnel: true }],
] as const

/** A server behind the proxy that wants alice. */
async function behind(scheme: 'http' | 'https'): Promise<{ readonly url: string } & AsyncDisposable> {
  return scheme === 'https' ? secure() : Site.start(world.honest())
}

describe.each(PROXIED.flatMap((client) => WAYS.map((way) => ({ client, way, name: client.name }))))(
  '$name, $way',
  ({ client, way: [scheme, method, more] }) => {
    /** An agent behind a proxy in absolute form has no token for the server. */
    const logsIn = client.answers || method === 'CONNECT'
    /** node-fetch keeps no causes. */
    const because = (code: string) => ['PROXY_LOGIN_FAILED', ...(client.reports ? [code] : [])]
    const MUTUAL = expect.stringMatching(client.reports ? 'MUTUAL_AUTHENTICATION_FAILED' : /MUTUAL|PROXY_LOGIN/)

    test('a user of its own at the proxy', async () => {
      await using site = await behind(scheme)
      const users: string[] = []
      await using proxy = await ProxySite.start(guard(world, { users }))
      const answer = await client.open(through(proxy, { ...more, ...OTHER_NAME, credentials: world.bob }))(site.url)
      if (logsIn) expect(answer).toMatchObject({ status: 200, text: ALICE })
      expect(new Set(users)).toEqual(new Set(['bob@EXAMPLE.TEST']))
      expect(new Set(proxy.seen.map((seen) => seen.method))).toEqual(new Set([method]))
    })

    test('a proxy whose 407 ends the connection', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(guard(world, { closes: true }))
      const answer = await client.open(through(proxy, more))(site.url)
      if (logsIn) expect(answer).toMatchObject({ status: 200, text: ALICE })
      else expect(answer.status).toBe(401)
    })

    test('a proxy that asks for nothing gets nothing', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(async () => ({ pass: KEEPS_APART }))
      const answer = await client.open(through(proxy, more))(site.url)
      if (logsIn) expect(answer).toMatchObject({ status: 200, text: ALICE })
      // An agent cannot answer, so it asks nobody.
      if (logsIn) expect(proxy.tokens).toEqual([])
    })

    test('a proxy that drops everything goes on being used', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(guard(world))
      const call = client.open(through(proxy, more))
      const first = await call(site.url)
      proxy.dropAll()
      await new Promise((resolve) => setTimeout(resolve, 30)) // until the client has seen it
      expect((await call(site.url)).status).toBe(first.status)
    })

    test('a refused token: one try, an error with a reason, nothing at the server', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(async () => PROXY_CHALLENGE)
      const error = await errorOf(client.open(through(proxy, more))(site.url))
      expect(causes(error)).toEqual(expect.arrayContaining(because('REJECTED')))
      expect(proxy.tokens.length).toBe(1)
      if (client.reports) expect(String(hintOf(error))).toContain('clock')
    })

    test('another kind of login is not done', async () => {
      const basic = { status: 407, headers: { 'proxy-authenticate': 'Basic realm="x"' } }
      await using proxy = await ProxySite.start(async () => basic)
      const error = await errorOf(
        client.open(through(proxy, { ...more, preemptive: false }))(`${scheme}://localhost:65000/`),
      )
      expect(causes(error)).toContain('PROXY_LOGIN_FAILED')
      if (logsIn) expect(proxy.tokens).toEqual([])
    })

    test('no ticket: the error says why', async () => {
      await using proxy = await ProxySite.start(guard(world))
      const options = through(proxy, { ...more, targetName: 'HTTP@unknown.corp.example' })
      const error = await errorOf(client.open(options)(`${scheme}://localhost:65000/`))
      expect(causes(error)).toEqual(expect.arrayContaining(because('KDC_ERR_S_PRINCIPAL_UNKNOWN')))
      expect(proxy.tokens).toEqual([])
    })

    test('a proof is verified, and one that is wrong is an error', async () => {
      await using site = await behind(scheme)
      await using honest = await ProxySite.start(guard(world, { proves: true }))
      const required = { ...more, mutualAuthentication: 'required' } as const
      const answer = await client.open(through(honest, required))(site.url)
      if (logsIn) expect(answer).toMatchObject({ status: 200, text: ALICE })
      await using silent = await ProxySite.start(guard(world))
      expect(causes(await errorOf(client.open(through(silent, required))(site.url)))).toContainEqual(MUTUAL)
      await using liar = await ProxySite.start(async ({ token }) =>
        token === undefined
          ? PROXY_CHALLENGE
          : { pass: { 'proxy-authenticate': 'Negotiate oRQwEqADCgEAoQsGCSqGSIb3EgECAg==' } },
      )
      expect(causes(await errorOf(client.open(through(liar, required))(site.url)))).toContainEqual(MUTUAL)
    })

    // Bun's https server hears one CONNECT on a connection.
    test('a proxy that speaks TLS itself', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(
        guard(world, { closes: RUNTIME === 'Bun' }),
        certificate('ecdsa-sha384'),
      )
      const answer = await client.open(through(proxy, more))(site.url)
      if (logsIn) expect(answer).toMatchObject({ status: 200, text: ALICE })
      else expect(answer.status).toBe(401)
      expect(proxy.url).toMatch(/^https:/)
    })

    test('C16 the caller’s own credentials go to the server, ours to the proxy', async () => {
      await using site = await Site.start(async ({ headers }) => ({ body: headers['authorization'] ?? '' }))
      await using proxy = await ProxySite.start(guard(world))
      if (scheme === 'https') return
      const answer = await client.open(through(proxy, more))(site.url, { headers: { authorization: 'Bearer x' } })
      expect(answer).toMatchObject({ status: 200, text: 'Bearer x' })
      expect(proxy.tokens.length).toBeGreaterThan(0)
    })

    test('hosts that need none are reached without it', async () => {
      await using site = await behind(scheme)
      await using proxy = await ProxySite.start(guard(world))
      const answer = await client.open(through(proxy, { ...more, bypass: ['localhost'] }))(site.url)
      expect(answer).toMatchObject({ status: 200, text: ALICE })
      expect(proxy.seen).toEqual([])
    })
  },
)

describe.each(PROXIED)('$name', (client) => {
  test('C09 a proxy’s 401 to CONNECT gets no token, nor does a server’s 407 in the tunnel', async () => {
    const headers = { 'www-authenticate': 'Negotiate', 'proxy-authenticate': 'Negotiate' }
    await using asks401 = await ProxySite.start(async () => ({ status: 401, headers }))
    const error = await errorOf(client.open(through(asks401))('https://localhost:65000/'))
    expect(causes(error)).toContain('PROXY_REFUSED')
    expect(asks401.seen.every(({ headers }) => headers['authorization'] === undefined)).toBe(true)
    expect(asks401.tokens).toEqual([])

    await using site = await Site.start(async () => ({ status: 407, headers }))
    await using open = await ProxySite.start(async () => PASS)
    const outcome = await client
      .open(through(open, { tunnel: true }, { preemptive: client.answers ? false : undefined }))(site.url)
      .catch((failure: unknown) => failure)
    if (!(outcome instanceof Error)) expect(outcome).toMatchObject({ status: 407 }) // fetch has no such response
    expect(site.seen.every((seen) => seen.headers['proxy-authorization'] === undefined)).toBe(true)
    expect(site.seen.length).toBe(1)
  })

  test('C09 a server’s 407 gets nothing without a proxy', async () => {
    const headers = { 'proxy-authenticate': 'Negotiate' }
    await using site = await Site.start(async () => ({ status: 407, headers }))
    const options = { credentials: world.alice, config: world.realm.config }
    await client
      .open(options)(site.url)
      .catch(() => {})
    expect(site.seen.length).toBe(1)
    expect(site.seen[0]?.headers['proxy-authorization']).toBeUndefined()
  })

  test('C54 a server behind a proxy that does not keep connections apart gets no token', async () => {
    await using site = await Site.start(world.honest())
    await using proxy = await ProxySite.start(guard(world, { keepsApart: false }))
    const answer = await client.open(through(proxy, {}, client.answers ? { preemptive: true } : {}))(site.url)
    expect(answer.status).toBe(401)
    if (client.reports) {
      const error = { code: 'PROXY_SUPPORT_MISSING' }
      expect(answer.report).toMatchObject({ attempted: false, error, proxy: { attempted: true } })
    }
    expect(site.tokens).toEqual([])
  })

  test('C54 nor does a proxy that asks with a 401 of its own', async () => {
    await using proxy = await ProxySite.start(async () => ({
      status: 401,
      headers: { 'www-authenticate': 'Negotiate' },
    }))
    const answer = await client.open(through(proxy))('http://localhost:65000/')
    expect(answer.status).toBe(401)
    expect(proxy.seen.every(({ headers }) => headers['authorization'] === undefined)).toBe(true)
  })

  test('C12 a proxy that wants more and more gets three tokens', async () => {
    for (const scheme of ['http', 'https']) {
      await using proxy = await ProxySite.start(async ({ token }) => {
        const more = token === undefined ? '' : ' oRQwEqADCgEBoQsGCSqGSIb3EgECAg==' // accept-incomplete
        return { ...PROXY_CHALLENGE, headers: { 'proxy-authenticate': `Negotiate${more}` } }
      })
      const error = await errorOf(client.open(through(proxy))(`${scheme}://localhost:65000/`))
      expect(causes(error)).toContain('PROXY_LOGIN_FAILED')
      expect(proxy.tokens.length).toBeLessThanOrEqual(3)
      allDiffer(proxy.tokens)
    }
  })

  test('A12 neither party sees the token for the other', async () => {
    await using site = await Site.start(world.honest())
    await using proxy = await ProxySite.start(guard(world))
    for (const tunnel of [false, true]) {
      const call = client.open(through(proxy, { tunnel, preemptive: true }, client.answers ? { preemptive: true } : {}))
      expect((await call(site.url)).status).toBe(client.answers || tunnel ? 200 : 401)
    }
    expect(proxy.tokens.length).toBeGreaterThan(0)
    expect(site.seen.every(({ headers }) => headers['proxy-authorization'] === undefined)).toBe(true)
    for (const { method, headers } of proxy.seen)
      if (method === 'CONNECT') expect(headers['authorization']).toBeUndefined()
    allDiffer(proxy.tokens, site.tokens)
  })

  test('bodies go through whole', async () => {
    await using site = await Site.start(world.honest(({ body }, user) => ({ body: `${user} ${body}` })))
    await using proxy = await ProxySite.start(guard(world))
    for (const more of client.answers ? [{}, { tunnel: true }] : [{ tunnel: true }]) {
      const call = client.open(through(proxy, more))
      for (const body of ['one two three', Buffer.from('one two three')]) {
        const answer = await call(site.url, { method: 'POST', body })
        expect(answer).toMatchObject({ status: 200, text: `${ALICE} one two three` })
      }
    }
  })

  test('a body that can be sent once goes through a tunnel that is the first to be asked for a login', async () => {
    if (!client.streams) return
    await using site = await Site.start(async ({ body }) => ({ body: String(body.length) }))
    await using proxy = await ProxySite.start(guard(world))
    async function* body() {
      for (let i = 0; i < 40; i++) yield new Uint8Array(65_536)
    }
    const call = client.open(through(proxy, { tunnel: true }))
    for (let i = 0; i < 2; i++) {
      expect(await call(site.url, { method: 'POST', body })).toMatchObject({ status: 200, text: String(40 * 65_536) })
    }
  })

  test('a proxy without a name, which asks for nothing, takes a body that can be sent once', async () => {
    if (!client.streams) return
    await using site = await Site.start(async ({ body }) => ({ body: String(body.length) }))
    await using proxy = await ProxySite.start(async () => PASS)
    async function* body() {
      for (let i = 0; i < 40; i++) yield new Uint8Array(65_536)
    }
    const call = client.open(through(proxy, { url: proxy.url.replace('localhost', '127.0.0.1'), tunnel: true }))
    expect(await call(site.url, { method: 'POST', body })).toMatchObject({ status: 200, text: String(40 * 65_536) })
  })

  test('a request has one Proxy-Authorization, whoever made it', async () => {
    const seen: string[][] = []
    const asks = createServer(({ rawHeaders }, response) => {
      seen.push(rawHeaders.filter((_, i, all) => i % 2 === 1 && /^proxy-authorization$/i.test(all[i - 1] ?? '')))
      response.writeHead(407, { 'proxy-authenticate': 'Negotiate' }).end()
    })
    await once(asks.listen(0), 'listening')
    const proxy = { url: `http://localhost:${(asks.address() as AddressInfo).port}` } as ProxySite
    const headers = { 'Proxy-Authorization': 'Basic secret' }
    for (const body of [undefined, 'text']) {
      const outgoing = { headers, ...(body && { method: 'POST', body }) }
      await errorOf(client.open(through(proxy))('http://localhost:65000', outgoing))
    }
    expect(seen.length).toBeGreaterThanOrEqual(2)
    expect(seen.filter((values) => values.length > 1)).toEqual([])
    asks.closeAllConnections()
    asks.close()
  })

  test('a proxy of an address, which has no name in Kerberos, is an error when it asks and not before', async () => {
    await using site = await Site.start(async () => ({ body: 'there' }))
    for (const tunnel of [false, true]) {
      let asks = false
      await using proxy = await ProxySite.start(async () => (asks ? PROXY_CHALLENGE : PASS))
      const call = client.open(through(proxy, { url: proxy.url.replace('localhost', '127.0.0.1'), tunnel }))
      for (let i = 0; i < 2; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: 'there' })
      asks = true
      proxy.dropAll()
      await new Promise((resolve) => setTimeout(resolve, 30)) // until the client has seen it
      const error = await errorOf(call(site.url))
      if (client.reports) expect(causes(error)).toContain('TARGET_IS_ADDRESS')
      else expect(error).toBeInstanceOf(Error)
    }
  })

  test('a redirect behind the proxy', async () => {
    if (!client.follows) return
    await using site = await Site.start(world.honest())
    await using door = await Site.start(async () => ({ status: 302, headers: { location: `${site.url}/in` } }))
    await using proxy = await ProxySite.start(guard(world))
    const options = through(proxy, { tunnel: !client.answers }, { origins: [site.url] })
    expect(await client.open(options)(door.url)).toMatchObject({ status: 200, text: ALICE })
    expect(door.tokens).toEqual([])
  })

  test('many at once', async () => {
    await using site = await secure()
    await using proxy = await ProxySite.start(guard(world))
    const call = client.open(through(proxy))
    const answers = await Promise.all(Array.from({ length: 30 }, () => call(site.url)))
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([ALICE]))
    allDiffer(proxy.tokens)
  })
})

test('A12 undici’s own ProxyAgent, composed with a login: its header stays at the proxy, the token at the server', async () => {
  await using site = await Site.start(world.honest())
  await using proxy = await ProxySite.start(async () => PASS)
  const login = negotiateInterceptor({ credentials: world.alice, config: world.realm.config })
  const dispatcher = new ProxyAgent7({ uri: proxy.url, token: 'Basic secret' }).compose(login as never)
  const response = await request7(site.url, { dispatcher })
  expect(await response.body.text()).toBe(ALICE)
  expect(proxy.seen.map(({ method }) => method)).toContain('CONNECT')
  expect(proxy.seen.every(({ headers }) => headers['proxy-authorization'] === 'Basic secret')).toBe(true)
  expect(proxy.seen.every(({ headers }) => headers['authorization'] === undefined)).toBe(true)
  expect(site.seen.every(({ headers }) => headers['proxy-authorization'] === undefined)).toBe(true)
  await dispatcher.destroy()
})

describe('what would go past the proxy is refused', () => {
  const options = { proxy: 'http://localhost:65000' }
  const unsupported = expect.objectContaining({ code: 'OPTION_UNSUPPORTED' })
  const agent = new HttpAgent()

  test('a fetch whose connections are not its own: at once, or when it is given a dispatcher', async () => {
    for (const { open } of CLIENTS.filter(({ proxies }) => !proxies)) expect(() => open(options)).toThrow(unsupported)
    if (RUNTIME !== 'Node') return
    const fetch = negotiateFetch(options)
    const dispatcher = new Agent7()
    await expect(fetch('http://localhost:65000', { dispatcher } as object)).rejects.toEqual(unsupported)
  })

  test('axios with agents, a socket or a proxy of its own', async () => {
    for (const own of [{ httpAgent: agent }, { socketPath: '/x' }, { proxy: { host: 'localhost', port: 65000 } }]) {
      const instance = negotiateAxios(axios.create(), options)
      await expect(instance.get('http://localhost:65000', own)).rejects.toEqual(unsupported)
    }
  })

  test('got with agents of its own', async () => {
    const instance = negotiateGot(got, options)
    const calling = async () => instance('http://localhost:65000', { agent: { http: agent } })
    await expect(calling()).rejects.toEqual(unsupported)
  })

  test.each([{ method: 'OPTIONS', path: '*' }, { path: 'http://other.example/' }])(
    'of an agent, what names no URL on its host: $path',
    async (what) => {
      await using site = await Site.start(async () => ({}))
      const request = httpRequest({ host: 'localhost', port: site.port, agent: new NegotiateAgent(options), ...what })
      const failed = once(request.end(), 'response').catch((error: unknown) => error)
      expect(await failed).toEqual(unsupported)
      expect(site.seen).toEqual([])
    },
  )

  test('undici’s CONNECT, and a whole URL for a path', async () => {
    const login = negotiateInterceptor(options)
    const dispatcher = new Agent7({ connect: login.connector() as never }).compose(login as never)
    const origin = 'http://localhost:65000'
    await expect(dispatcher.connect({ origin, path: 'localhost:1' } as never)).rejects.toEqual(unsupported)
    const path = 'http://localhost:1/'
    await expect(dispatcher.request({ origin, method: 'GET', path })).rejects.toEqual(unsupported)
  })

  test('undici for https, without the connector', async () => {
    const dispatcher = new Agent7().compose(negotiateInterceptor(options) as never)
    const invalid = expect.objectContaining({ code: 'OPTION_INVALID', hint: expect.stringContaining('connector()') })
    await expect(request7('https://localhost:65000', { dispatcher })).rejects.toEqual(invalid)
  })
})

test('axios, whose environment names a proxy, goes through ours alone', async () => {
  await using site = await Site.start(world.honest())
  await using proxy = await ProxySite.start(guard(world))
  process.env['http_proxy'] = 'http://localhost:65000'
  try {
    const { data } = await negotiateAxios(axios.create(), through(proxy)).get(site.url)
    expect(data).toBe(ALICE)
  } finally {
    delete process.env['http_proxy']
  }
})

test('the environment’s proxy, for who asks', async () => {
  await using site = await Site.start(world.honest())
  await using proxy = await ProxySite.start(guard(world))
  process.env['HTTP_PROXY'] = proxy.url
  try {
    for (const { open } of PROXIED.filter(({ answers }) => answers)) {
      const own = { credentials: world.alice, config: world.realm.config }
      expect(await open({ ...own, proxy: 'environment' })(site.url)).toMatchObject({ status: 200, text: ALICE })
    }
  } finally {
    delete process.env['HTTP_PROXY']
  }
  expect(proxy.tokens.length).toBeGreaterThan(3)
})

onNode('a proxy’s certificate vouches for no http server behind it', async () => {
  await using site = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : { body: 'no proof' }))
  await using proxy = await ProxySite.start(async () => ({ pass: KEEPS_APART }), certificate('rsa-sha256'))
  const { connect } = tls
  const ca = certificate('rsa-sha256').cert
  tls.connect = ((options: tls.ConnectionOptions) => connect({ ...options, ca, rejectUnauthorized: true })) as never
  syncBuiltinESMExports()
  try {
    for (const { open, name } of PROXIED.filter(({ answers }) => answers)) {
      expect([name, ...causes(await errorOf(open(through(proxy))(site.url)))]).toContain('MUTUAL_AUTHENTICATION_FAILED')
    }
  } finally {
    tls.connect = connect
    syncBuiltinESMExports()
  }
})

describe('a proxy that does not answer CONNECT', () => {
  const SILENT: ProxyScript = () => new Promise(() => {})

  test.each([0, 50])('a request that is destroyed after %i ms is told at once, as by any agent', async (ms) => {
    await using proxy = await ProxySite.start(SILENT)
    const request = httpRequest('http://localhost:65000', {
      agent: new NegotiateAgent(through(proxy, { tunnel: true })),
    })
    const heard: unknown[] = []
    request.on('error', ({ message }) => heard.push(message)).on('close', () => heard.push('close'))
    request.end()
    await new Promise((resolve) => setTimeout(resolve, ms))
    request.destroy(new Error('mine'))
    await eventually(() => heard.length === 2)
    expect(heard).toEqual(['mine', 'close'])
  })

  test.each(['http', 'https'])(
    'the timeout of a request to %s begins with it',
    async (scheme) => {
      await using proxy = await ProxySite.start(SILENT)
      const url = `${scheme}://localhost:65000`
      const options = through(proxy, { tunnel: true })
      const timedOut = new Promise((resolve) => {
        const [send, agent] =
          scheme === 'http'
            ? [httpRequest, new NegotiateAgent(options)]
            : [httpsRequest, new NegotiateHttpsAgent(options)]
        const request = send(url, { agent, timeout: 100 }).on('error', () => {})
        request.on('timeout', () => resolve(request.destroy())).end()
      })
      const axiosTimedOut = errorOf(negotiateAxios(axios.create(), options).get(url, { timeout: 100 }))
      await timedOut
      expect(await axiosTimedOut).toMatchObject({ code: 'ECONNABORTED' })
    },
    5000,
  )
})

test('a socket of this machine is reached without a proxy, and gets no token of one', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'socket-')), 'http')
  const seen: string[] = []
  const server = createServer(({ url = '', headers }, response) => {
    seen.push(`${url} ${headers['proxy-authorization'] ?? ''}`)
    response.end()
  })
  await once(server.listen(path), 'listening')
  await using proxy = await ProxySite.start(guard(world))
  for (const tunnel of [false, true]) {
    const agent = new NegotiateAgent(through(proxy, { preemptive: true, tunnel }), { keepAlive: false })
    const request = httpRequest({ socketPath: path, path: '/version', agent }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.resume()
  }
  expect(seen).toEqual(['/version ', '/version '])
  expect(proxy.seen).toEqual([])
  server.close()
})

test('a host that is none is in no CONNECT', async () => {
  await using proxy = await ProxySite.start(guard(world))
  for (const host of ['localhost/ HTTP/1.1\r\nX-Injected: yes\r\nA: ', 'local\r\nhost', 'evil@localhost']) {
    const agent = new NegotiateAgent(through(proxy, { tunnel: true }))
    const request = httpRequest({ host, port: 1, headers: { host: 'localhost' }, agent }).end()
    await once(request, 'response').catch(() => {})
  }
  expect(proxy.seen).toEqual([])
})

onNode(
  'TLS that cannot be begun in a tunnel: an error of the request, and the tunnel ends',
  async () => {
    await using site = await secure()
    await using proxy = await ProxySite.start(async () => PASS)
    const tunnels = new Set<unknown>()
    site.server.on('connection', (socket) => void tunnels.add(socket.on('close', () => tunnels.delete(socket))))
    const bad = { cert: 'no PEM', key: 'no PEM' }
    const login = negotiateInterceptor(through(proxy))
    const dispatcher = new Agent7({ connect: login.connector(bad) as never }).compose(login as never)
    const agent = new NegotiateHttpsAgent(through(proxy), bad)
    const pem = { code: 'ERR_OSSL_PEM_NO_START_LINE' }
    expect(await errorOf(once(httpsRequest(site.url, { agent }).end(), 'response'))).toMatchObject(pem)
    expect(await errorOf(request7(site.url, { dispatcher }))).toMatchObject(pem)
    await eventually(() => proxy.seen.length === 2 && tunnels.size === 0)
    expect([proxy.seen.length, tunnels.size]).toEqual([2, 0])
  },
  5000,
)

describe('an agent with one socket, through tunnels', () => {
  const call = (url: string, agent: HttpAgent): Promise<unknown> =>
    once(httpRequest(url, { agent }).end(), 'response').then(
      ([response]) => (response as IncomingMessage).resume().statusCode,
      (error: unknown) => causes(error),
    )

  test('has one', async () => {
    await using site = await Site.start(async () => ({}))
    await using proxy = await ProxySite.start(async () => PASS)
    const agent = new NegotiateAgent(through(proxy, { tunnel: true }), { maxSockets: 1 })
    const all = Array.from({ length: 5 }, () => call(site.url, agent))
    expect(await Promise.all(all)).toEqual(Array(5).fill(200))
    expect(site.connections).toBe(1)
  })

  test('whose requests wait is told of each that a tunnel cannot be opened', async () => {
    let isDown = false
    await using site = await Site.start(() => new Promise(() => {}))
    await using proxy = await ProxySite.start(async () => (isDown ? { status: 503, closes: true } : PASS))
    const agent = new NegotiateAgent(through(proxy, { tunnel: true }), { maxSockets: 1 })
    const first = call(site.url, agent)
    await eventually(() => site.seen.length === 1)
    const waiting = [1, 2, 3].map(() => call(site.url, agent))
    await new Promise(setImmediate)
    isDown = true
    proxy.dropAll()
    expect(await first).toEqual(['ECONNRESET'])
    expect(await Promise.all(waiting)).toEqual(Array(3).fill(['PROXY_REFUSED']))
  }, 5000)
})

test('the page of a 407 that does not end keeps nobody', async () => {
  await using site = await Site.start(world.honest())
  const asks = createServer(({ headers }, response) => {
    if (headers['proxy-authorization'] !== undefined) return void response.end('let in')
    response.writeHead(407, { 'proxy-authenticate': 'Negotiate', 'content-length': '1000' }).write('who')
  })
  await once(asks.listen(0), 'listening')
  const proxy = { url: `http://localhost:${(asks.address() as AddressInfo).port}` } as ProxySite
  const open = PROXIED.filter(({ answers }) => answers)
  const answers = await Promise.all(open.map((client) => client.open(through(proxy))(site.url)))
  expect(answers.map(({ text }) => text)).toEqual(open.map(() => 'let in'))
  asks.closeAllConnections()
  asks.close()
}, 8000)
