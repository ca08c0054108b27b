import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createNegotiateServer } from '../src/entries/server.ts'
import { TestRealm } from '../src/entries/testing.ts'
import { KEEPS_APART, PROXY_CHALLENGE, ProxySite } from './unit/adapters-client/proxy-site.ts'

/** The built command, as a user runs it. `npm test` builds first. */

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

let folder: string
let realm: TestRealm
let server: Server
let url: string
let cache: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-cli-'))
  realm = await TestRealm.start({ users: { alice: 'se cret ☃' } })
  cache = join(folder, 'cache')
  const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
  server = createServer({ maxHeaderSize: 98_304 }, async (req, res) => {
    const identity = await guard.handle(req, res)
    if (identity !== undefined) res.end(`${req.method} by ${identity.principal}`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://localhost:${(server.address() as AddressInfo).port}/`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function spnego(args: readonly string[], input = '', until?: RegExp, signal: NodeJS.Signals = 'SIGINT'): Promise<Ran> {
  const environment = { ...process.env, ...realm.environment, KRB5CCNAME: cache }
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: environment })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk) => {
      stdout += chunk
      if (until?.test(stdout) === true) child.kill(signal)
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    child.on('close', (status) => resolve({ status, stdout, stderr }))
    child.stdin.end(input)
  })
}

describe('login, list, fetch, logout', () => {
  test('a login writes a cache of mode 0600', async () => {
    const { status, stdout, stderr } = await spnego(['login', 'alice', '--password-stdin'], 'se cret ☃\n')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^alice@EXAMPLE\.TEST is logged in until .*; tickets in FILE:/)
    expect(statSync(cache).mode & 0o777).toBe(0o600)
  })

  test('list shows it within 80 columns', async () => {
    const { status, stdout } = await spnego(['list'])
    expect(status).toBe(0)
    expect(stdout).toContain('Principal  alice@EXAMPLE.TEST')
    expect(stdout).toMatch(/krbtgt\/EXAMPLE\.TEST@EXAMPLE\.TEST +\d\d \w{3}.* aes256-sha1/)
    expect(stdout.split('\n').filter((line) => line.length > 80 && !line.startsWith('Cache'))).toEqual([])
  })

  test('fetch logs in with it, and the service ticket is in the cache afterwards', async () => {
    const { status, stdout, stderr } = await spnego(['fetch', '-v', url])
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'GET by alice@EXAMPLE.TEST' })
    expect(stderr).toContain('server   HTTP/localhost@EXAMPLE.TEST, verified')
    const listed = JSON.parse((await spnego(['list', '--json'])).stdout) as { tickets: { server: string }[] }
    expect(listed.tickets.map((ticket) => ticket.server)).toContain('HTTP/localhost@EXAMPLE.TEST')
    expect(JSON.stringify(listed)).not.toMatch(/key|[A-Za-z0-9+/]{60}/)
  })

  test('fetch posts, and writes into a file', async () => {
    const output = join(folder, 'page')
    expect(await spnego(['fetch', '-d', 'a=b', '-H', 'X-One: 1', '-o', output, url])).toMatchObject({ status: 0 })
    expect(readFileSync(output, 'utf8')).toBe('POST by alice@EXAMPLE.TEST')
  })

  test('fetch goes through a proxy, with a login there', async () => {
    await using proxy = await ProxySite.start(async ({ token }) =>
      token === undefined ? PROXY_CHALLENGE : { pass: KEEPS_APART },
    )
    expect(await spnego(['fetch', '-x', proxy.url, url])).toMatchObject({
      status: 0,
      stdout: 'GET by alice@EXAMPLE.TEST',
    })
    expect(proxy.tokens.length).toBeGreaterThan(0)
  })

  test('logout removes it, and says so when there is nothing', async () => {
    expect((await spnego(['logout'])).stdout).toContain('is removed')
    expect(existsSync(cache)).toBe(false)
    expect(await spnego(['logout'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('nobody was logged in'),
    })
  })

  test('a keytab logs in too', async () => {
    const { status, stdout } = await spnego(['login', 'HTTP/localhost', '-k', realm.environment.KRB5_KTNAME])
    expect({ status, stdout: stdout.slice(0, 40) }).toEqual({
      status: 0,
      stdout: 'HTTP/localhost@EXAMPLE.TEST is logged in',
    })
    await spnego(['logout'])
  })
})

describe('collections of caches, and passwords', () => {
  test('login into DIR:, list -A, switch', async () => {
    const collection = `DIR:${join(folder, 'collection')}`
    realm.addUser('bob', 'bob’s')
    expect((await spnego(['login', 'alice', '--password-stdin', '-c', collection], 'se cret ☃\n')).status).toBe(0)
    const second = await spnego(['login', 'bob', '--password-stdin', '-c', collection], 'bob’s\n')
    expect(second.stdout).toMatch(/^bob@EXAMPLE\.TEST is logged in .*; tickets in DIR::.*\/collection\/tkt[0-9a-f]+/)
    expect((await spnego(['list', collection])).stdout).toContain('Principal  bob@EXAMPLE.TEST')
    const all = (await spnego(['list', '-A', collection])).stdout
    expect(all.match(/^Principal .*/gm)).toEqual(['Principal  bob@EXAMPLE.TEST', 'Principal  alice@EXAMPLE.TEST'])
    expect(
      Math.max(
        ...all
          .split('\n')
          .filter((line) => !line.startsWith('Cache'))
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(80)
    const switched = await spnego(['switch', 'alice', collection])
    expect(switched).toMatchObject({ status: 0, stdout: expect.stringMatching(/^DIR::.*tkt is in use now/) })
    const shown = JSON.parse((await spnego(['list', '-A', '--json', collection])).stdout) as {
      principal: string
    }[]
    expect(shown.map(({ principal }) => principal)).toEqual(['alice@EXAMPLE.TEST', 'bob@EXAMPLE.TEST'])
    expect(await spnego(['switch', 'carol', collection])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('NO_CREDENTIALS'),
    })
    expect(await spnego(['switch', 'alice', join(folder, 'cache')])).toMatchObject({ status: 1 })
  })

  test('passwd changes a password; what goes wrong leaves it', async () => {
    realm.addUser('carol', 'old secret')
    const failed = await spnego(['passwd', 'carol', '--password-stdin'], 'old secret\nabc\n')
    expect(failed).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('PASSWORD_REFUSED') })
    expect((await spnego(['passwd', 'carol', '--password-stdin'], 'wrong\nnew secret\n')).stderr).toContain(
      'Wrong password',
    )
    expect((await spnego(['passwd', 'carol', '--password-stdin'], 'old secret\n')).stderr).toContain(
      'no new password was given',
    )
    const changed = await spnego(['passwd', 'carol', '--password-stdin'], 'old secret\nnew secret ☃\n')
    expect(changed).toEqual({ status: 0, stdout: 'The password of carol@EXAMPLE.TEST is changed.\n', stderr: '' })
    expect((await spnego(['login', 'carol', '--password-stdin', '-c', 'MEMORY:x'], 'new secret ☃\n')).status).toBe(0)
  })
})

describe('what goes wrong is said in two lines, with exit status 1', () => {
  const cases = [
    ['a wrong password', ['login', 'alice', '--password-stdin'], 'KDC_ERR_PREAUTH_FAILED', 'Wrong password'],
    ['an unknown user', ['login', 'nobody', '--password-stdin'], 'KDC_ERR_C_PRINCIPAL_UNKNOWN', 'no such user'],
    ['no cache', ['list'], 'CACHE_NOT_FOUND', 'spnego login'],
    ['another kind of cache', ['list', 'KCM:'], 'CACHE_TYPE_UNSUPPORTED', 'FILE:'],
    ['a bad name', ['login', 'a@b@c'], 'NAME_INVALID', 'name@REALM'],
    ['a bad port', ['kdc', '--port', 'x'], 'OPTION_INVALID', ''],
    ['a bad mode', ['fetch', '--mutual', 'perhaps', 'http://localhost:1/'], 'OPTION_INVALID', ''],
  ] as const
  for (const [what, args, code, hint] of cases) {
    test(`${what}: ${code}`, async () => {
      const { status, stdout, stderr } = await spnego(args, 'wrong\n')
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(stderr).toContain(code)
      expect(stderr).toContain(hint)
      expect(stderr).not.toMatch(/ {4}at |wrong\n/)
    })
  }

  test('a server that cannot be reached', async () => {
    const closed = createServer()
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
    const { port } = closed.address() as AddressInfo
    await new Promise((resolve) => closed.close(resolve))
    const { status, stderr } = await spnego(['fetch', `http://127.0.0.1:${port}/`])
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('ECONNREFUSED') })
  })

  test('a proxy that lets nobody through says why', async () => {
    const proxy = await ProxySite.start(async () => PROXY_CHALLENGE)
    const { status, stdout, stderr } = await spnego(['fetch', '-x', proxy.url, 'https://web.example/'])
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain('PROXY_LOGIN_FAILED')
    expect(stderr).toContain('spnego login')
    const { url: gone } = proxy
    await proxy[Symbol.asyncDispose]()
    for (const target of ['https://web.example/', 'http://web.example/']) {
      expect((await spnego(['fetch', '-x', gone, target])).stderr).toContain('PROXY_UNREACHABLE')
    }
  })

  test('a 401 says why', async () => {
    const { status, stdout, stderr } = await spnego(['fetch', url])
    expect({ status, stdout }).toEqual({ status: 1, stdout: 'Unauthorized' })
    expect(stderr).toContain('answered 401')
    expect(stderr).toContain('CACHE_NOT_FOUND')
  })

  test('a cache that is damaged', async () => {
    const damaged = join(folder, 'damaged')
    writeFileSync(damaged, 'no cache')
    expect(await spnego(['list', damaged])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('CACHE_MALFORMED'),
    })
  })
})

test('-o writes to what is open already', async () => {
  await spnego(['login', 'alice', '--password-stdin'], 'se cret ☃\n')
  for (const name of ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1']) {
    const { status, stdout } = await spnego(['fetch', '-o', name, url])
    expect([status, stdout], name).toEqual([0, 'GET by alice@EXAMPLE.TEST'])
  }
  expect(await spnego(['fetch', '-o', '/dev/null', url])).toMatchObject({ status: 0, stdout: '' })
})

// Only root can make links of others; the suite of `.ci/run` is root's.
test.runIf(process.getuid?.() === 0)('F20 -o does not follow a link of another user', async () => {
  chmodSync(folder, 0o1777)
  const victim = join(folder, 'victim')
  const link = join(folder, 'out')
  writeFileSync(victim, 'precious')
  symlinkSync(victim, link)
  lchownSync(link, 4712, 4712)
  const { status, stderr } = await spnego(['fetch', '-o', link, url])
  expect(status).toBe(1)
  expect(stderr).toMatch(/symbolic link of the user 4712.*\[OPTION_INVALID\]\n {2}hint: Remove/)
  expect(readFileSync(victim, 'utf8')).toBe('precious')
})

test('the reason phrase of a server is quoted: no terminal obeys it', async () => {
  const hostile = createSocketServer((socket) => {
    socket.on('error', () => {})
    socket.end('HTTP/1.1 404 \x1b]0;owned\x07\x1b[2J\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })
  await new Promise<void>((resolve) => hostile.listen(0, '127.0.0.1', resolve))
  try {
    const at = `http://localhost:${(hostile.address() as AddressInfo).port}/`
    const { status, stdout, stderr } = await spnego(['fetch', '-v', at])
    expect(status).toBe(1)
    expect(stderr).toContain('404 "\\u001b]0;owned\\u0007\\u001b[2J" from')
    expect(stderr).toContain('answered 404 "')
    expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
  } finally {
    hostile.close()
  }
})

describe('kdc and demo', () => {
  test('kdc runs until it is interrupted, prints what others need, and removes its files', async () => {
    const { status, stdout } = await spnego(
      ['kdc', '-u', 'bob:pw', '-s', 'HTTP/web.test', '--realm', 'X.TEST'],
      '',
      /Ctrl-C/,
    )
    expect(status).toBe(0)
    expect(stdout).toMatch(/The realm X\.TEST is up, for tests only: 127\.0\.0\.1:\d+/)
    const config = /export KRB5_CONFIG=(\S+)/.exec(stdout)?.[1] ?? ''
    expect(existsSync(config)).toBe(false)
  })

  test('kdc removes its files also when its terminal is closed', async () => {
    const { status, stdout } = await spnego(['kdc'], '', /Ctrl-C/, 'SIGHUP')
    expect(status).toBe(0)
    const config = /export KRB5_CONFIG=(\S+)/.exec(stdout)?.[1] ?? ''
    expect([config === '', existsSync(config)]).toEqual([false, false])
  })

  test('demo tells a whole login and ends with 0', async () => {
    const { status, stdout, stderr } = await spnego(['demo'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const word of [
      '401 WWW-Authenticate: Negotiate',
      '200 Hello alice@EXAMPLE.TEST',
      'verified by',
      '401, REPLAY',
    ]) {
      expect(stdout).toContain(word)
    }
  })

  test('a port in use is PORT_IN_USE', async () => {
    const { status, stderr } = await spnego(['kdc', '--port', String(realm.port)])
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('PORT_IN_USE') })
  })
})
