import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createProxyAuth } from '../../src/entries/agent.ts'
import { Credentials, Krb5Config } from '../../src/entries/index.ts'
import type { NegotiateClientOptions } from '../../src/entries/wiring/client.ts'
import type { ProxyLoginOptions } from '../../src/entries/wiring/proxy.ts'
import { CLIENTS, causes } from '../unit/adapters-client/clients.ts'
import { errorOf } from '../unit/http-client/site.ts'
import { labFolder, Peer, removeFolder, trust, withEnvironment } from './lab.ts'

/** Every client of this package through Squid, which wants a login for each tunnel and each request; behind it Apache, which wants one too. */

let base: string
let kdc: Peer
let apache: Peer
let squid: Peer
let config: Krb5Config
let restore: () => void
let distrust: () => void

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const file = kdc.get('KRB5_CONFIG')
  const keytabs = kdc.get('MIT_KEYTABS')
  apache = Peer.start('apache', base, '--keytab', join(keytabs, 'http.keytab'), '--krb5-conf', file)
  squid = Peer.start('squid', base, '--keytab', join(keytabs, 'proxy.keytab'), '--krb5-conf', file)
  restore = withEnvironment({ KRB5_CONFIG: file })
  distrust = trust(readFileSync(apache.get('APACHE_CA'), 'utf8'))
  config = Krb5Config.parse(readFileSync(file, 'utf8'))
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})

afterAll(() => {
  vi.restoreAllMocks()
  distrust?.()
  restore?.()
  for (const peer of [squid, apache, kdc]) peer?.stop()
  removeFolder(base)
})

const login = (user: string, password: string) => Credentials.forRealm(`${user}@MIT.TEST`, password, config)

function through(more: Partial<ProxyLoginOptions> = {}, rest: NegotiateClientOptions = {}): NegotiateClientOptions {
  const proxy = { url: squid.get('SQUID_URL'), ...more }
  return { credentials: login('alice', 'alice-pw'), config, proxy, ...rest }
}

/** Lines of Squid's log since then, when no more come: who came, for what, and what became of it. A tunnel has its line when it ends. */
async function log(from = 0): Promise<readonly string[]> {
  const read = () => readFileSync(squid.get('SQUID_ACCESS_LOG'), 'utf8').split('\n').slice(0, -1)
  let lines = read()
  for (let before = -1; before !== lines.length; lines = read()) {
    before = lines.length
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return lines.slice(from)
}

const isTunnel = (line: string) => line.includes('TCP_TUNNEL')

const PAGE = { status: 200, text: expect.stringContaining('user=alice@MIT.TEST') }

describe.each(CLIENTS)('[Squid] $name', ({ open, answers, reports, owns }) => {
  const modes = [{ preemptive: false }, { preemptive: true }]

  test.each(modes)('CONNECT, and Apache’s login inside: %j', async (mode) => {
    const call = open(through(mode))
    for (let i = 0; i < 2; i++) {
      const answer = await call(`${apache.get('APACHE_TLS_URL')}/spnego/`)
      expect(answer).toMatchObject(PAGE)
      if (reports) expect(answer.report).toMatchObject({ serverAuthenticated: true, channelBound: owns })
    }
  })

  test.each(modes)('http in absolute form, both Negotiate in one request: %j', async (mode) => {
    const from = (await log()).length
    const answer = await open(through(mode))(`${apache.get('APACHE_URL')}/spnego/`)
    // An agent sends once, and Squid has to say first that it keeps connections apart.
    expect(answer).toMatchObject(answers ? PAGE : { status: 401 })
    const proxy = { attempted: true, principal: 'alice@MIT.TEST', target: 'HTTP/localhost@MIT.TEST', error: undefined }
    if (reports) expect(answer.report).toMatchObject({ serverAuthenticated: answers, proxy })
    const lines = (await log(from)).filter((line) => !isTunnel(line))
    expect(lines.every((line) => / GET http:/.test(line))).toBe(true)
    expect(lines.at(-1)).toContain('alice@MIT.TEST')
  })

  test('http through CONNECT', async () => {
    const answer = await open(through({ tunnel: true }))(`${apache.get('APACHE_URL')}/spnego/`)
    expect(answer).toMatchObject(PAGE)
    if (reports) expect(answer.report).toMatchObject({ serverAuthenticated: true })
  })

  test('another user at the proxy, and another name of it', async () => {
    const proxy = { credentials: login('bob', 'bob-pw'), targetName: 'HTTP@proxy.mit.test', preemptive: true }
    const from = (await log()).length
    const answer = await open(through({ ...proxy, tunnel: true }))(`${apache.get('APACHE_URL')}/spnego/`)
    expect(answer).toMatchObject(PAGE)
    const plain = await open(through(proxy))(`${apache.get('APACHE_URL')}/spnego/`)
    expect(plain).toMatchObject(answers ? PAGE : { status: 401 })
    const others = (await log(from)).filter((line) => !isTunnel(line) && !line.includes('bob@MIT.TEST'))
    expect(others).toEqual([])
  })

  test.each(['APACHE_URL', 'APACHE_TLS_URL'])(
    'a key that Squid does not have, to %s: an error with its reason',
    async (where) => {
      const from = (await log()).length
      const error = await errorOf(
        open(through({ targetName: 'HTTP@nokeytab.mit.test' }))(`${apache.get(where)}/spnego/`),
      )
      expect(causes(error)).toContain('PROXY_LOGIN_FAILED')
      if (reports) expect(causes(error)).toContain('REJECTED')
      const lines = (await log(from)).filter((line) => !isTunnel(line))
      expect(lines.length).toBeLessThanOrEqual(3)
      expect(lines.every((line) => line.includes('TCP_DENIED/407'))).toBe(true)
    },
  )

  test('a wrong password: Squid sees no token, and the error names the reason', async () => {
    const credentials = login('alice', 'no')
    const error = await errorOf(open(through({ credentials }))(`${apache.get('APACHE_TLS_URL')}/spnego/`))
    expect(causes(error)).toContain('PROXY_LOGIN_FAILED')
    if (reports) expect(causes(error)).toContain('KDC_ERR_PREAUTH_FAILED')
  })

  test('a host that Squid lets nobody reach', async () => {
    const named = { targetName: 'HTTP@localhost', origins: ['https://192.0.2.1'] }
    const error = await errorOf(open(through({}, named))('https://192.0.2.1/'))
    expect(causes(error)).toContain('PROXY_REFUSED')
  })

  test('Squid started anew between two requests', async () => {
    const call = open(through())
    const url = `${apache.get('APACHE_TLS_URL')}/spnego/`
    expect(await call(url)).toMatchObject(PAGE)
    const port = squid.get('SQUID_PORT')
    const keytab = join(kdc.get('MIT_KEYTABS'), 'proxy.keytab')
    squid.stop()
    // Whoever has not seen yet that his connection ended hears it first.
    const errors = [await errorOf(call(url)), await errorOf(call(url))]
    expect(errors.every((error) => error instanceof Error)).toBe(true)
    expect(causes(errors.at(-1))).toContain('PROXY_UNREACHABLE')
    squid = Peer.start('squid', base, '--keytab', keytab, '--krb5-conf', kdc.get('KRB5_CONFIG'), '--port', port)
    expect(await call(url)).toMatchObject(PAGE)
  })
})

test('[Squid] createProxyAuth under https-proxy-agent', async () => {
  const url = squid.get('SQUID_URL')
  const onProxyAuth = createProxyAuth({ proxy: url, credentials: login('alice', 'alice-pw'), config })
  const from = (await log()).length
  const status = await new Promise((resolve, reject) => {
    const agent = new HttpsProxyAgent(url, { onProxyAuth })
    get(`${apache.get('APACHE_TLS_URL')}/spnego/`, { agent }, (response) => resolve(response.resume().statusCode)).on(
      'error',
      reject,
    )
  })
  expect(status).toBe(401)
  expect((await log(from)).some((line) => /TCP_TUNNEL\/200 .* alice@MIT.TEST/.test(line))).toBe(true)
})
