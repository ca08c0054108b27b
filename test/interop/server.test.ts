import { mkdtempSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Keytab, type ReplayStore } from '../../src/entries/index.ts'
import type { NegotiateServerOptions } from '../../src/entries/server.ts'
import { KeytabEntry } from '../../src/krb5/formats/index.ts'
import { SERVER_ENTRIES, type ServerEntry } from '../unit/entries/server-entries.ts'
import { kinit, LAB_SCRIPTS, labFolder, type Outcome, Peer, removeFolder, run, runBeside } from './lab.ts'

let base: string
let kdc: Peer
let keytab: string
let environment: Record<string, string>

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  expect(kinit(environment, 'alice', 'alice-pw', '-f').status).toBe(0)
})

afterAll(() => {
  kdc?.stop()
  removeFolder(base)
})

interface Served {
  readonly url: string
  readonly port: number
  readonly reasons: string[]
  /** The Authorization headers that came. */
  readonly authorizations: string[]
  close(): Promise<void>
}

async function serve(framework: string, options: NegotiateServerOptions = {}): Promise<Served> {
  const reasons: string[] = []
  const authorizations: string[] = []
  const settings = { keytab, ...options, onFailure: ({ reason }: { reason: string }) => void reasons.push(reason) }
  const entry = SERVER_ENTRIES.find(({ name }) => name === framework) as ServerEntry
  const server = await entry.make(settings)
  server.prependListener(
    'request',
    ({ headers }) => headers.authorization && authorizations.push(headers.authorization),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return { url: `http://localhost:${port}/`, port, reasons, authorizations, close }
}

const CURL = ['-sS', '--max-time', '20', '--negotiate', '-u', ':', '-w', ' %{http_code}']

function curl(url: string, ...options: string[]): Promise<Outcome> {
  return runBeside('curl', [...CURL, ...options, url], environment)
}

async function requestsKerberos(url: string, ...options: string[]): Promise<{ status: number; body: string }> {
  const client = join(LAB_SCRIPTS, 'py-client.py')
  const { stdout, stderr } = await runBeside(client, ['requests-kerberos', url, '--mutual', ...options], environment)
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as { status: number; body: string }
}

describe('[MIT clients] anonymous PKINIT (RFC 8062)', () => {
  test.each([
    ['its own realm', '@MIT.TEST'],
    ['the wellknown realm', '-n'],
  ])('S101 kinit -n gives a service ticket without any account, %s: refused at each entry', async (_what, name) => {
    const anonymous = { ...environment, KRB5CCNAME: `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}` }
    const options = name === '-n' ? ['-n'] : ['-n', name]
    expect(run('kinit', options, anonymous)).toMatchObject({ status: 0 })
    expect(run('klist', [], anonymous).stdout).toContain('WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS')
    expect(run('kvno', ['HTTP/localhost@MIT.TEST'], anonymous)).toMatchObject({ status: 0 }) // MIT's KDC gives the ticket
    for (const { name: framework } of SERVER_ENTRIES) {
      const server = await serve(framework, { trustedRealms: ['MIT.TEST', 'WELLKNOWN:ANONYMOUS'] })
      const { stdout } = await runBeside('curl', [...CURL, '-o', '/dev/null', server.url], anonymous)
      expect([framework, stdout.trim()]).toEqual([framework, '401'])
      expect(server.reasons).toContain('ANONYMOUS_TICKET')
      await server.close()
    }
  })
})

for (const { name: framework } of SERVER_ENTRIES) {
  describe(`[curl] ${framework}`, () => {
    test('--negotiate: 200, and the page knows who', async () => {
      const server = await serve(framework)
      expect((await curl(server.url)).stdout).toBe('Hello alice@MIT.TEST 200')
      expect(server.reasons).toEqual([])
      await server.close()
    })

    test('the answer carries our token', async () => {
      const server = await serve(framework)
      const { stdout } = await curl(server.url, '-i')
      expect(stdout).toMatch(/^WWW-Authenticate: Negotiate oYG[A-Za-z0-9+/]+=*\r$/im)
      await server.close()
    })

    for (const host of ['www', 'aes128', 'aes256', 'aes128sha2', 'aes256sha2']) {
      test(`a ticket for ${host}.mit.test`, async () => {
        const server = await serve(framework)
        const name = `${host}.mit.test:${server.port}`
        const { stdout } = await curl(`http://${name}/`, '--resolve', `${name}:127.0.0.1`)
        expect(stdout).toBe('Hello alice@MIT.TEST 200')
        await server.close()
      })
    }

    test('a delegated ticket is accepted and dropped', async () => {
      const server = await serve(framework)
      expect((await curl(server.url, '--delegation', 'always')).stdout).toBe('Hello alice@MIT.TEST 200')
      await server.close()
    })

    test('a POST', async () => {
      const server = await serve(framework)
      expect((await curl(server.url, '-d', 'x'.repeat(100_000))).stdout).toBe('Hello alice@MIT.TEST 200')
      await server.close()
    })

    test('MAG-03 without a login: 401 and the challenge', async () => {
      const server = await serve(framework)
      const { stdout } = await runBeside('curl', ['-sSi', server.url], environment)
      expect(stdout).toMatch(/^HTTP\/1\.1 401 /)
      expect(stdout).toMatch(/^WWW-Authenticate: Negotiate\r$/im)
      expect(server.reasons).toEqual(['NO_CREDENTIALS'])
      await server.close()
    })

    test('S01 a wrong service key: KEY_NOT_FOUND', async () => {
      const entries = Keytab.parse((await Keytab.load(keytab)).toBytes()).entries.map(
        ({ principal, kvno, enctype }) =>
          new KeytabEntry({
            principal,
            kvno,
            enctype,
            key: new Uint8Array(enctype === 17 || enctype === 19 ? 16 : 32),
          }),
      )
      const ours = entries.filter(({ enctype }) => enctype >= 17 && enctype <= 20)
      const server = await serve(framework, { keytab: Keytab.of(ours) })
      expect((await curl(server.url)).stdout).toMatch(/ 401$/)
      expect(server.reasons).toContain('KEY_NOT_FOUND')
      await server.close()
    })

    test('S40 a replayed token: REPLAY', async () => {
      const server = await serve(framework)
      await curl(server.url)
      const [authorization = ''] = server.authorizations
      const response = await fetch(server.url, { headers: { authorization } })
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
      expect(server.reasons).toEqual(['REPLAY'])
      await server.close()
    })

    test('S22 a ticket for another service of the same keytab: WRONG_PRINCIPAL', async () => {
      const server = await serve(framework, { principal: 'HTTP/www.mit.test' })
      expect((await curl(server.url)).stdout).toMatch(/ 401$/)
      expect(server.reasons).toContain('WRONG_PRINCIPAL')
      await server.close()
    })

    test('S47 a replay store that is down: 503 with Retry-After', async () => {
      const replayStore: ReplayStore = { checkAndStore: () => Promise.reject(new Error('down')) }
      const server = await serve(framework, { replayStore })
      const { stdout } = await curl(server.url, '-i')
      expect(stdout).toMatch(/^HTTP\/1\.1 503 /m)
      expect(stdout).toMatch(/^Retry-After: /im)
      await server.close()
    })
  })

  describe(`[requests-kerberos] ${framework}`, () => {
    test('REQUIRED mutual authentication: 200', async () => {
      const server = await serve(framework)
      expect(await requestsKerberos(server.url)).toMatchObject({ status: 200, body: 'Hello alice@MIT.TEST' })
      expect(server.reasons).toEqual(['NO_CREDENTIALS'])
      await server.close()
    })

    test('REQUIRED and preemptive: 200 in one request', async () => {
      const server = await serve(framework)
      expect(await requestsKerberos(server.url, '--preemptive')).toMatchObject({ status: 200 })
      expect(server.reasons).toEqual([])
      await server.close()
    })
  })
}

describe('[python3-gssapi] clients of other shapes', () => {
  const client = join(LAB_SCRIPTS, 'py-client.py')
  for (const mechanism of ['spnego', 'krb5']) {
    test(`mechanism ${mechanism}`, async () => {
      const server = await serve('node:http')
      const { stdout } = await runBeside(client, ['gssapi', server.url, '--mech', mechanism], environment)
      expect(JSON.parse(stdout)).toMatchObject({ status: 200 })
      await server.close()
    })
  }
})

describe('[MIT KDC] what the server is asked for', () => {
  test('klist shows the ticket that curl used', async () => {
    const server = await serve('node:http')
    await curl(server.url)
    expect(run('klist', [], environment).stdout).toContain('HTTP/localhost@MIT.TEST')
    await server.close()
  })
})
