import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { negotiated, negotiateFetch } from '../src/entries/fetch.ts'
import { Credentials, createAcceptor, KerberosClient, KerberosError, Keytab, Krb5Config } from '../src/entries/index.ts'
import { createNegotiateServer } from '../src/entries/server.ts'
import { TestRealm, testClock } from '../src/entries/testing.ts'

/** What goes wrong on the first day: each gives a typed error with a code and a hint, within its deadline, and leaves nothing behind. */

let folder: string
let realm: TestRealm
let server: Server
let url: string
const reasons: string[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-bad-'))
  realm = await TestRealm.start({ users: { alice: 'secret' } })
  const onFailure = ({ reason }: { reason: string }) => void reasons.push(reason)
  const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost'), onFailure })
  server = createServer({ maxHeaderSize: 98_304 }, (req, res) => {
    void guard.handle(req, res).then((identity) => identity && res.end(identity.principal))
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

async function failureOf(action: () => unknown): Promise<KerberosError> {
  try {
    await action()
  } catch (error) {
    expect(error).toBeInstanceOf(KerberosError)
    return error as KerberosError
  }
  throw new Error('nothing was thrown')
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

function configFor(address: string): Krb5Config {
  return Krb5Config.parse(`[libdefaults]\n default_realm = R\n[realms]\n R = {\n  kdc = ${address}\n }\n`, 'test.conf')
}

describe('tickets', () => {
  test('no ticket: the 401 of the server, and why', async () => {
    const fetch = negotiateFetch({ credentials: Credentials.fromCache(join(folder, 'none')), config: realm.config })
    const response = await fetch(url)
    expect(response.status).toBe(401)
    expect(negotiated(response)?.error).toMatchObject({
      code: 'CACHE_NOT_FOUND',
      hint: expect.stringContaining('kinit'),
    })
  })

  test('an expired ticket in the cache: TICKET_EXPIRED', async () => {
    const clock = testClock(Date.now() - 48 * 3_600_000)
    const past = await TestRealm.start({ users: { alice: 'secret' }, clock })
    const cache = join(folder, 'expired')
    await (await past.login('alice')).save(cache)
    await past.stop()
    const fetch = negotiateFetch({ credentials: Credentials.fromCache(cache), config: realm.config })
    const error = negotiated(await fetch(url))?.error
    expect(error).toMatchObject({ code: 'TICKET_EXPIRED', hint: expect.stringContaining('kinit') })
  })

  test('an expired ticket shown to a server: TICKET_EXPIRED', async () => {
    const clock = testClock(Date.now() - 25 * 3_600_000)
    const past = await TestRealm.start({ users: { alice: 'secret' }, clock })
    const credentials = await past.login('alice')
    const { createInitiator } = await import('../src/entries/index.ts')
    const { token } = await (await createInitiator({ target: 'HTTP@localhost', credentials })).step()
    const acceptor = await createAcceptor({ keytab: past.keytab('HTTP/localhost') })
    const error = await failureOf(() => acceptor.createContext().step(token))
    expect(error.code).toBe('TICKET_EXPIRED')
    await past.stop()
  })

  test('a service that the realm does not have: the hint names it', async () => {
    const credentials = await realm.login('alice')
    const client = new KerberosClient({ credentials })
    const error = await failureOf(() => client.getTicket('HTTP@nowhere.test'))
    expect(error.code).toBe('KDC_ERR_S_PRINCIPAL_UNKNOWN')
    expect(error.hint).toContain('HTTP/nowhere.test')
  })

  test('a host that is an address: TARGET_IS_ADDRESS', async () => {
    const fetch = negotiateFetch({ credentials: await realm.login('alice'), onLoginError: 'throw' })
    const error = await failureOf(() => fetch(url.replace('localhost', '127.0.0.1')))
    expect(error).toMatchObject({ code: 'TARGET_IS_ADDRESS', hint: expect.stringContaining('targetName') })
  })

  test('an unknown host: the error of fetch, as without a login', async () => {
    const fetch = negotiateFetch({ credentials: await realm.login('alice') })
    await expect(fetch('http://nowhere.invalid/')).rejects.toThrow(TypeError)
  })
})

describe('keytabs', () => {
  const cases = [
    ['an empty file', () => file('empty.keytab', ''), 'KEYTAB_EMPTY'],
    ['a file without entries', () => file('bare.keytab', Uint8Array.of(5, 2)), 'KEYTAB_EMPTY'],
    ['a file that is none', () => file('text.keytab', 'no keytab at all'), 'KEYTAB_MALFORMED'],
    ['no file', () => join(folder, 'missing.keytab'), 'KEYTAB_NOT_FOUND'],
    ['a folder', () => folder, 'KEYTAB_UNREADABLE'],
  ] as const
  for (const [what, path, code] of cases) {
    test(`${what}: ${code}, at the start of a server and in every other place`, async () => {
      const keytab = path()
      for (const open of [
        () => createNegotiateServer({ keytab }),
        () => createAcceptor({ keytab }),
        () => Keytab.load(keytab),
        () => Credentials.fromKeytab('alice@EXAMPLE.TEST', keytab).login({ config: realm.config }),
      ]) {
        const error = await failureOf(open)
        expect(error.code).toBe(code)
        expect(error.hint).toBeTruthy()
        expect(error.message).toContain(keytab)
      }
    })
  }

  test('a file of another user: KEYTAB_UNREADABLE', async () => {
    const keytab = file('closed.keytab', realm.keytab('HTTP/localhost').toBytes())
    chmodSync(keytab, 0)
    if (process.getuid?.() === 0) return expect(() => createNegotiateServer({ keytab })).not.toThrow() // root reads all
    expect((await failureOf(() => createNegotiateServer({ keytab }))).code).toBe('KEYTAB_UNREADABLE')
  })

  test('no entry for the name: the message lists what is there', async () => {
    const keytab = realm.keytab('HTTP/localhost')
    const error = await failureOf(() => createNegotiateServer({ keytab, principal: 'HTTP/other.test' }))
    expect(error.code).toBe('KEYTAB_NO_ENTRY')
    expect(error.message).toContain('HTTP/localhost@EXAMPLE.TEST')
  })
})

describe('KDCs', () => {
  const open: TcpServer[] = []
  afterAll(() => {
    for (const one of open) one.close()
  })

  async function listener(onConnect: (socket: import('node:net').Socket) => void): Promise<string> {
    const tcp = createTcpServer(onConnect).unref()
    open.push(tcp)
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
    return `127.0.0.1:${(tcp.address() as AddressInfo).port}`
  }

  test('silent: KDC_TIMEOUT within the deadline, naming the KDC', async () => {
    const address = await listener((socket) => void socket.on('error', () => {}))
    const started = performance.now()
    const credentials = Credentials.fromPassword('alice@R', 'secret')
    const error = await failureOf(() => credentials.login({ config: configFor(`tcp/${address}`), timeoutMs: 300 }))
    expect(error).toMatchObject({ code: 'KDC_TIMEOUT', hint: expect.any(String) })
    expect(error.message).toContain(address)
    expect(performance.now() - started).toBeLessThan(20 * 300)
  })

  test('refused connection: KDC_UNREACHABLE', async () => {
    const credentials = Credentials.fromPassword('alice@R', 'secret')
    const error = await failureOf(() => credentials.login({ config: configFor('127.0.0.1:1'), timeoutMs: 2000 }))
    expect(error).toMatchObject({ code: 'KDC_UNREACHABLE', message: expect.stringContaining('ECONNREFUSED') })
  })

  test('an unknown host name: KDC_UNREACHABLE', async () => {
    const credentials = Credentials.fromPassword('alice@R', 'secret')
    const error = await failureOf(() => credentials.login({ config: configFor('tcp/kdc.invalid'), timeoutMs: 5000 }))
    expect(error.code).toMatch(/^KDC_(UNREACHABLE|TIMEOUT)$/)
  })

  test('none configured: KDC_UNKNOWN', async () => {
    const credentials = Credentials.fromPassword('alice@ELSEWHERE', 'secret')
    const error = await failureOf(() => credentials.login({ config: configFor('127.0.0.1:1') }))
    expect(error).toMatchObject({ code: 'KDC_UNKNOWN', hint: expect.stringContaining('[realms]') })
  })

  test('a KDC that hangs up: KDC_UNREACHABLE', async () => {
    const address = await listener((socket) => socket.destroy())
    const credentials = Credentials.fromPassword('alice@R', 'secret')
    const error = await failureOf(() => credentials.login({ config: configFor(`tcp/${address}`), timeoutMs: 2000 }))
    expect(error.code).toBe('KDC_UNREACHABLE')
  })

  test('a wrong password: KDC_ERR_PREAUTH_FAILED, and no cache is written', async () => {
    const cache = join(folder, 'never')
    const error = await failureOf(async () => {
      const credentials = Credentials.fromPassword('alice@EXAMPLE.TEST', 'not the secret')
      await credentials.login({ config: realm.config })
      await credentials.save(cache)
    })
    expect(error).toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED', hint: expect.stringContaining('password') })
    expect(existsSync(cache)).toBe(false)
  })
})

describe('requests', () => {
  test('garbage tokens: 401 and TOKEN_MALFORMED, never a 500', async () => {
    const garbage = [
      'x',
      'YII=',
      '====',
      'TlRMTVNTUAAB',
      Buffer.alloc(3000, 0x60).toString('base64'),
      `${'A'.repeat(60_000)}`,
    ]
    for (const token of garbage) {
      reasons.length = 0
      const response = await fetch(url, { headers: { authorization: `Negotiate ${token}` } })
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe('Negotiate')
      expect(['TOKEN_MALFORMED', 'NTLM_OFFERED']).toContain(reasons[0])
    }
  })

  test('a header of 1 MiB: Node answers 431, and the server goes on', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { authorization: `Negotiate ${'A'.repeat(1024 * 1024)}` }
      const sent = request(url, { headers }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      sent.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? resolve(431) : reject(error)))
      sent.end()
    })
    expect(status).toBe(431)
    const response = await negotiateFetch({ credentials: await realm.login('alice') })(url)
    expect(await response.text()).toBe('alice@EXAMPLE.TEST')
  })
})

describe('krb5.conf', () => {
  test('a syntax error: CONFIG_SYNTAX with file and line', async () => {
    const path = file('broken.conf', '[libdefaults]\n default_realm = R\n this is wrong\n')
    const error = await failureOf(() => Krb5Config.load(path))
    expect(error).toMatchObject({ code: 'CONFIG_SYNTAX', hint: expect.any(String) })
    expect(error.message).toContain(`${path}:3`)
  })

  test('a value of the wrong form: CONFIG_INVALID with file and line', async () => {
    const path = file('odd.conf', '[libdefaults]\n clockskew = soon\n')
    const config = await Krb5Config.load(path)
    const error = await failureOf(() => config.clockSkewSeconds)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(error.message).toContain(`${path}:2`)
  })

  test('a missing file: CONFIG_UNREADABLE', async () => {
    const error = await failureOf(() => Krb5Config.load(join(folder, 'no.conf')))
    expect(error).toMatchObject({ code: 'CONFIG_UNREADABLE', hint: expect.any(String) })
  })
})

test('nothing half-written is left', () => {
  expect(readdirSync(folder).filter((name) => name.endsWith('.krb5cc'))).toEqual([])
  expect(readFileSync(join(folder, 'text.keytab'), 'utf8')).toBe('no keytab at all')
})
