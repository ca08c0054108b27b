import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { redisReplayStore } from '../../src/entries/redis.ts'
import {
  createNegotiateServer,
  endSession,
  type NegotiateServerOptions,
  recommendedMaxHeaderSize,
} from '../../src/entries/server.ts'
import { kinit, LAB_SCRIPTS, labFolder, Peer, removeFolder, runBeside, withEnvironment } from './lab.ts'

/** Sessions and passwords of our server, with clients that others wrote and tickets of MIT's KDC. */

let base: string
let kdc: Peer
let environment: Record<string, string>
let restore: () => void
const servers: Server[] = []

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  restore = withEnvironment({ KRB5_CONFIG: kdc.get('KRB5_CONFIG') })
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
})
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
afterAll(() => {
  restore()
  kdc?.stop()
  removeFolder(base)
})

const KEY = new Uint8Array(32).fill(7)

interface Site {
  readonly url: string
  /** How each request was known. */
  readonly ways: string[]
  readonly reasons: string[]
}

/** `/` says who it is, `/logout` ends it, `/twice` asks once more by script, `/away` leads elsewhere. */
async function start(options: NegotiateServerOptions, host = 'localhost'): Promise<Site> {
  const ways: string[] = []
  const reasons: string[] = []
  const guard = createNegotiateServer({
    keytab: join(kdc.get('MIT_KEYTABS'), 'http.keytab'),
    onFailure: ({ reason }) => void reasons.push(reason),
    ...options,
  })
  const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
    if (req.url === '/favicon.ico') return void res.writeHead(404).end() // browsers ask for it when they like
    const identity = await guard.handle(req, res)
    if (identity === undefined) return
    ways.push(identity.mechanism)
    if (req.url === '/logout') await endSession(req, res)
    await identity.delegated?.save(`FILE:${join(base, 'delegated')}`)
    if (req.url === '/away') return void res.writeHead(302, { location: away }).end()
    const page = req.url === '/twice' ? TWICE : `${req.method} ${identity.principal} ${identity.mechanism}`
    res.writeHead(200, { 'content-type': 'text/html' }).end(page)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return { url: `http://${host}:${(server.address() as AddressInfo).port}`, ways, reasons }
}

/** Where `/away` leads. */
let away = ''

const TWICE = `<!DOCTYPE html><body><script>
  const ask = new XMLHttpRequest(); ask.open('GET', '/', false); ask.send(); document.body.append(ask.responseText)
</script>`

const curl = async (...args: string[]) => (await runBeside('curl', ['-s', ...args], environment)).stdout
const ALICE = ['--user', 'alice:alice-pw']

describe('[curl] sessions', () => {
  test('MAG-01: one ticket, then the cookie; it opens on another node, and after a restart', async () => {
    const jar = join(base, 'jar1')
    const one = await start({ sessions: { keys: KEY } })
    const login = ['--negotiate', '-u', ':', '-c', jar, '-b', jar]
    expect(await curl(...login, `${one.url}/`)).toBe('GET alice@MIT.TEST negotiate')
    expect(await curl('-b', jar, `${one.url}/`)).toBe('GET alice@MIT.TEST session')
    const other = await start({ sessions: { keys: [new Uint8Array(32), KEY] } })
    expect(await curl('-b', jar, '-c', jar, `${other.url}/`)).toBe('GET alice@MIT.TEST session')
    const later = await start({ sessions: { keys: new Uint8Array(32) } })
    expect(await curl('-b', jar, `${later.url}/`)).toBe('GET alice@MIT.TEST session') // sealed anew by the node before
    const stranger = await start({ sessions: true })
    expect(await curl('-o', '/dev/null', '-w', '%{http_code}', '-b', jar, `${stranger.url}/`)).toBe('401')
    expect(stranger.reasons).toEqual(['SESSION_REFUSED'])
  })

  test('S91: logout: the jar is empty, and a copy of the cookie is nobody', async () => {
    const [jar, copy] = [join(base, 'jar2'), join(base, 'jar2b')]
    const { url } = await start({ sessions: { keys: KEY } })
    await curl('--negotiate', '-u', ':', '-c', jar, `${url}/`)
    await curl('-b', jar, '-c', copy, `${url}/`)
    expect(await curl('-b', jar, '-c', jar, `${url}/logout`)).toBe('GET alice@MIT.TEST session')
    for (const one of [jar, copy]) {
      expect(await curl('-o', '/dev/null', '-w', '%{http_code}', '-b', one, `${url}/`)).toBe('401')
    }
  })

  test('S84: a cross-site post is refused, also with a session', async () => {
    const jar = join(base, 'jar3')
    const { url } = await start({ sessions: { keys: KEY } })
    await curl('--negotiate', '-u', ':', '-c', jar, `${url}/`)
    const post = ['-b', jar, '-d', 'a=b', '-o', '/dev/null', '-w', '%{http_code}']
    expect(await curl(...post, '-H', 'Sec-Fetch-Site: cross-site', `${url}/`)).toBe('403')
    expect(await curl(...post, '-H', 'Origin: http://evil.test', `${url}/`)).toBe('403')
    expect(await curl(...post, '-H', 'Sec-Fetch-Site: same-origin', `${url}/`)).toBe('200')
  })

  test('S90: it ends with the ticket: one of a few seconds', async () => {
    const short = { ...environment, KRB5CCNAME: `FILE:${join(base, 'short')}` }
    expect(kinit(short, 'alice', 'alice-pw', '-l', '6s').status).toBe(0)
    const jar = join(base, 'jar4')
    const { url, reasons } = await start({ sessions: { keys: KEY }, clockSkewSeconds: 60 })
    const { stdout } = await runBeside('curl', ['-s', '--negotiate', '-u', ':', '-c', jar, `${url}/`], short)
    expect(stdout).toBe('GET alice@MIT.TEST negotiate')
    expect(await curl('-b', jar, `${url}/`)).toBe('GET alice@MIT.TEST session')
    await new Promise((resolve) => setTimeout(resolve, 7000))
    expect(await curl('-o', '/dev/null', '-w', '%{http_code}', '-b', jar, `${url}/`)).toBe('401')
    expect(reasons.at(-1)).toBe('SESSION_EXPIRED')
  })

  test('S61: two users on one connection, each with a session of his own', async () => {
    const { url, ways } = await start({ sessions: { keys: KEY }, basic: true })
    const both = ['--next', '-s', '--user', 'bob:bob-pw', `${url}/`]
    const text = await curl('--basic', ...ALICE, `${url}/`, ...both)
    expect(text).toBe('GET alice@MIT.TEST basicGET bob@MIT.TEST basic')
    expect(ways).toEqual(['basic', 'basic'])
  })
})

describe('[curl] a forwarded login and a session', () => {
  test('MAG-01: the request that brings it saves it, for its owner alone; the session goes on without', async () => {
    const forwardable = { ...environment, KRB5CCNAME: `FILE:${join(base, 'forwardable')}` }
    expect(kinit(forwardable, 'alice', 'alice-pw', '-f').status).toBe(0)
    const jar = join(base, 'jar6')
    const { url } = await start({ sessions: { keys: KEY }, delegation: true })
    const login = ['-s', '--negotiate', '-u', ':', '--delegation', 'always', '-c', jar, `${url}/`]
    expect((await runBeside('curl', login, forwardable)).stdout).toBe('GET alice@MIT.TEST negotiate')
    const saved = join(base, 'delegated')
    expect(statSync(saved).mode & 0o777).toBe(0o600)
    const { stdout } = await runBeside('klist', ['-c', saved], environment)
    expect(stdout).toMatch(/Default principal: alice@MIT\.TEST/)
    rmSync(saved)
    expect(await curl('-b', jar, `${url}/`)).toBe('GET alice@MIT.TEST session')
    expect(existsSync(saved)).toBe(false)
  })
})

describe('[curl] passwords', () => {
  test('MAG-10: right, wrong, unknown', async () => {
    const { url, reasons } = await start({ basic: true })
    expect(await curl('--basic', ...ALICE, `${url}/`)).toBe('GET alice@MIT.TEST basic')
    const status = ['-o', '/dev/null', '-w', '%{http_code} %{size_download}']
    const wrong = await curl(...status, '--basic', '--user', 'alice:wrong', `${url}/`)
    expect(wrong).toMatch(/^401 /)
    expect(await curl(...status, '--basic', '--user', 'nobody:wrong', `${url}/`)).toBe(wrong)
    expect(reasons).toEqual(['PASSWORD_WRONG', 'PASSWORD_WRONG'])
  })

  test('--anyauth: who has a ticket uses it, who has none his password', async () => {
    const { url } = await start({ basic: true })
    expect(await curl('--anyauth', '-u', ':', `${url}/`)).toBe('GET alice@MIT.TEST negotiate')
    const { stdout } = await runBeside('curl', ['-s', '--basic', ...ALICE, `${url}/`], { KRB5CCNAME: 'FILE:/nowhere' })
    expect(stdout).toBe('GET alice@MIT.TEST basic')
  })

  test('MAG-13: to the proxy as one user, to the origin as another, in one request', async () => {
    const origin = await start({ basic: true })
    const users: string[] = []
    const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
    const guard = createNegotiateServer({ keytab, proxy: true, basic: true })
    const proxy = createServer(async (req, res) => {
      const identity = await guard.handle(req, res)
      if (identity === undefined) return
      users.push(identity.principal)
      const authorization = req.headers.authorization ?? ''
      const answer = await fetch(req.url ?? '', { headers: { authorization } })
      res.writeHead(answer.status).end(await answer.text())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    servers.push(proxy)
    const way = ['-x', `http://localhost:${(proxy.address() as AddressInfo).port}`, '--proxy-basic']
    const both = [...way, '--proxy-user', 'alice:alice-pw', '--basic', '--user', 'bob:bob-pw', `${origin.url}/`]
    expect(await curl(...both)).toBe('GET bob@MIT.TEST basic')
    expect(users).toEqual(['alice@MIT.TEST'])
  })

  test('MAG-14: a client that cannot negotiate is not asked to', async () => {
    const challengeOnce = ({ headers }: { headers: object }) =>
      /NONEGO/.test(String(Reflect.get(headers, 'user-agent')))
    const { url } = await start({ basic: true, challengeOnce })
    const head = ['-i', '-o', '-']
    expect(await curl(...head, `${url}/`)).toMatch(/^WWW-Authenticate: Negotiate\r$/m)
    const other = await curl(...head, '-A', 'NONEGO', `${url}/`)
    expect(other).toMatch(/^HTTP\/1\.1 401/)
    expect(other).not.toMatch(/Negotiate/)
    expect(other).toMatch(/^WWW-Authenticate: Basic realm="Kerberos", charset="UTF-8"\r$/m)
  })

  test('MAG-17: the session of a password', async () => {
    const jar = join(base, 'jar5')
    const { url } = await start({ basic: true, sessions: { keys: KEY } })
    expect(await curl('--basic', ...ALICE, '-c', jar, `${url}/`)).toBe('GET alice@MIT.TEST basic')
    expect(await curl('-b', jar, `${url}/`)).toBe('GET alice@MIT.TEST session')
  })
})

describe('[redis-server] ended sessions', () => {
  test('S91: what one node has ended is over on the other, also after Redis was away; 503 while it is', async () => {
    const redis = Peer.start('redis', base)
    await new Promise((resolve) => setTimeout(resolve, 2000)) // it tells its age in whole seconds, and counts from its start
    const client = new Redis(Number(redis.get('REDIS_PORT')), { maxRetriesPerRequest: 1 })
    client.on('error', () => {}) // it is stopped on purpose
    try {
      const revocations = redisReplayStore(client)
      // A session that began before the store had met Redis might have been ended unseen: it counts as ended.
      await expect.poll(() => revocations.rememberedSince(), { timeout: 10_000 }).toBeDefined()
      await new Promise((resolve) => setTimeout(resolve, 50))
      const sessions = { keys: KEY, revocations }
      const [one, other] = [await start({ sessions }), await start({ sessions, replayStore: revocations })]
      const [jar, copy, second] = [join(base, 'jar7'), join(base, 'jar7b'), join(base, 'jar7c')]
      const status = (site: Site, cookies: string) =>
        curl('-o', '/dev/null', '-w', '%{http_code}', '-b', cookies, site.url)
      for (const each of [jar, second]) await curl('--negotiate', '-u', ':', '-c', each, `${one.url}/`)
      copyFileSync(jar, copy)
      expect(await status(other, copy)).toBe('200')
      await curl('-b', jar, '-c', jar, `${one.url}/logout`)
      expect([await status(one, copy), await status(other, copy), await status(other, second)]).toEqual([
        '401',
        '401',
        '200',
      ])
      redis.stop()
      expect([await status(other, copy), await status(other, second)]).toEqual(['401', '503']) // what is known needs nobody
      Peer.start('redis', base) // empty, at the same port
      await expect.poll(() => status(other, second), { timeout: 10_000, interval: 200 }).toBe('401')
      expect(other.reasons.at(-1)).toBe('SESSION_REFUSED') // it may have been ended, and forgotten
    } finally {
      client.disconnect()
      redis.stop()
    }
  })
})

describe('[requests-kerberos] sessions', () => {
  /** A session of requests with one login object, as its users write it. */
  const program = (mutual: string) => `
import sys, json, requests
from requests_kerberos import HTTPKerberosAuth, REQUIRED, OPTIONAL, DISABLED
s = requests.Session(); s.auth = HTTPKerberosAuth(mutual_authentication=${mutual})
out = []
for method in ('GET', 'GET', 'POST', 'GET'):
    r = s.request(method, sys.argv[1], data='a=b' if method == 'POST' else None, timeout=30)
    out.append([r.status_code, r.text])
print(json.dumps(out))`

  test.each(['OPTIONAL', 'DISABLED', 'REQUIRED'])('%s: one login, then the cookie', async (mutual) => {
    const { url, ways } = await start({ sessions: { keys: KEY } })
    const { stdout, stderr } = await runBeside('/usr/bin/python3', ['-c', program(mutual), `${url}/`], environment)
    expect(stderr).toBe('')
    const methods = ['GET', 'GET', 'POST', 'GET']
    expect(JSON.parse(stdout)).toEqual(
      methods.map((method, i) => [200, `${method} alice@MIT.TEST ${i === 0 ? 'negotiate' : 'session'}`]),
    )
    expect(ways).toEqual(['negotiate', 'session', 'session', 'session'])
  })
})

describe('[Chromium] sessions', () => {
  const visit = async (url: string, name: string): Promise<string> => {
    const script = [join(LAB_SCRIPTS, 'chromium.sh'), 'visit', join(base, `chromium-${name}`), url]
    const options = ['--krb5-conf', environment['KRB5_CONFIG'] ?? '', '--ccache', environment['KRB5CCNAME'] ?? '']
    const { stdout, stderr, status } = await runBeside('bash', [...script, ...options], environment)
    expect(status, stderr).toBe(0)
    return stdout
  }

  test('one ticket for a page and what it asks for', async () => {
    const { url, ways } = await start({ sessions: { keys: KEY } })
    expect(await visit(`${url}/twice`, 'twice')).toContain('GET alice@MIT.TEST session')
    expect(ways.filter((way) => way === 'negotiate').length).toBe(1)
  })

  // Cookies know no ports: what another port of the same host posts comes with the session, SameSite or not.
  test('S84: a form of another origin is refused, also when the session comes with it', async () => {
    const reached: string[] = []
    const site = await start({ sessions: { keys: KEY }, crossSite: 'refuse' }, 'www.mit.test')
    const page = `<!DOCTYPE html><body><form method="post" action="${site.url}/"><input name="amount" value="1000"></form>
      <script>document.forms[0].submit()</script>`
    const evil = createServer((req, res) => {
      reached.push(String(req.headers.cookie))
      res.writeHead(200, { 'content-type': 'text/html' }).end(page)
    })
    await new Promise<void>((resolve) => evil.listen(0, '127.0.0.1', resolve))
    servers.push(evil)
    away = `http://www.mit.test:${(evil.address() as AddressInfo).port}/`
    expect(await visit(`${site.url}/away`, 'cross-origin')).toContain('Forbidden')
    expect(reached[0]).toMatch(/^spnego=/) // so the browser has one, and sends it
    expect([site.ways, site.reasons.filter((reason) => reason !== 'NO_CREDENTIALS')]).toEqual([
      ['negotiate'],
      ['CROSS_SITE'],
    ])
  })
})
