import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { toBase64 } from '../../src/bytes/base64.ts'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../src/entries/fetch.ts'
import { CredentialCache, Credentials, createInitiator, MutualAuthenticationError } from '../../src/entries/index.ts'
import { type Environment, kinit, labFolder, type Outcome, Peer, removeFolder, run, withEnvironment } from './lab.ts'

/**
 * lighttpd takes the token, throws its own answer away, and so never proves who it is: over plain http nobody vouches for its pages. Each request
 * logs in anew.
 */

let base: string
let kdc: Peer
let lighttpd: Peer
let wrongKey: Peer
/** Allows the clocks one second. */
let strict: Peer
let environment: Environment
let restore: () => void
let hurried: { readonly cache: string; readonly expiresMs: number }

beforeAll(async () => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const config = kdc.get('KRB5_CONFIG')
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  lighttpd = Peer.start('lighttpd', base, '--keytab', keytab, '--krb5-conf', config)
  const other = otherKey()
  wrongKey = Peer.start('lighttpd', join(base, 'wrong'), '--keytab', other, '--krb5-conf', config)
  const exact = join(base, 'exact.conf')
  writeFileSync(exact, '[libdefaults]\n clockskew = 1\n')
  strict = Peer.start('lighttpd', join(base, 'strict'), '--keytab', keytab, '--krb5-conf', `${exact}:${config}`)
  environment = { KRB5_CONFIG: config, KRB5CCNAME: `FILE:${join(base, 'cc')}` }
  restore = withEnvironment(environment)
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
  hurried = await ticketThatLies()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})

afterAll(() => {
  vi.restoreAllMocks()
  restore?.()
  for (const peer of [strict, wrongKey, lighttpd, kdc]) peer?.stop()
  removeFolder(base)
})

/** A keytab with the right name and number, and the key of a password. */
function otherKey(): string {
  const file = join(base, 'other.keytab')
  const lines = ['addent -password -p HTTP/localhost@MIT.TEST -k 1 -e aes256-cts', 'wrong', `wkt ${file}`, 'quit', '']
  expect(run('ktutil', [], {}, lines.join('\n')).status).toBe(0)
  return file
}

/** A cache whose ticket ends in two seconds, while the cache says in an hour: so this client uses it, and only the server can tell. */
async function ticketThatLies(): Promise<{ cache: string; expiresMs: number }> {
  const file = join(base, 'hurried')
  const own = { ...environment, KRB5CCNAME: `FILE:${file}` }
  expect(kinit(own, 'alice', 'alice-pw', '-l', '2s').status).toBe(0)
  expect(run('kvno', ['-q', 'HTTP/localhost'], own).status).toBe(0)
  const { tickets } = await CredentialCache.load(`FILE:${file}`)
  const ends = tickets.map(({ expiresAt }) => expiresAt.getTime() / 1000)
  const bytes = readFileSync(file)
  for (const end of new Set(ends)) {
    const mark = Buffer.alloc(4)
    mark.writeUInt32BE(end)
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 4)) bytes.writeUInt32BE(end + 3600, at)
  }
  writeFileSync(file, bytes)
  return { cache: `FILE:${file}`, expiresMs: Math.max(...ends) * 1000 }
}

const client = (options: NegotiateFetchOptions = {}) => negotiateFetch(options)
const page = (path: string) => `${lighttpd.get('LIGHTTPD_URL')}${path}`
const logOf = (peer: Peer) => readFileSync(peer.get('LIGHTTPD_ERROR_LOG'), 'utf8')
const ALICE = 'user=alice@MIT.TEST\nauth=GSSAPI\n'

/** The control: a client that never verifies the server. */
function curl(url: string, ...options: string[]): Outcome {
  return run('curl', ['-sS', '--negotiate', '-u', ':', '-w', '\n%{http_code}', ...options, url], environment)
}

describe('[lighttpd mod_authn_gssapi] a page that nobody vouches for, over plain http', () => {
  test('curl gets it, and no answer to its token', () => {
    const { stdout } = curl(page('/spnego/who.sh'), '-i')
    expect(stdout).toContain(ALICE)
    expect(stdout).toMatch(/^HTTP\/1\.1 200/)
    expect(stdout).not.toMatch(/www-authenticate/i)
    expect(curl(page('/spnego/nothing')).stdout).toMatch(/404 Not Found[\s\S]*\n404$/)
  })

  test.each<NegotiateFetchOptions>([
    {},
    { mutualAuthentication: 'auto' },
    { mutualAuthentication: 'required' },
    { mutualAuthentication: 'required', preemptive: false },
  ])('%j: C20 below 400 an error', async (options) => {
    const sent = client(options)(page('/spnego/who.sh'))
    await expect(sent).rejects.toBeInstanceOf(MutualAuthenticationError)
    await expect(sent).rejects.toMatchObject({ code: 'MUTUAL_AUTHENTICATION_FAILED' })
  })

  test.each<NegotiateFetchOptions>([{}, { mutualAuthentication: 'required' }])(
    '%j: an error page is withheld',
    async (options) => {
      for (const [path, status] of [
        ['/spnego/nothing', 404],
        ['/spnego/', 403],
      ] as const) {
        const response = await client(options)(page(path))
        expect([response.status, await response.text()]).toEqual([status, ''])
        expect([...response.headers.keys()]).toEqual(['content-length', 'date', 'server'])
        expect(negotiated(response)).toMatchObject({ attempted: true, serverAuthenticated: false, error: undefined })
      }
    },
  )

  test('the error page as it came with sanitizeErrors: false', async () => {
    const response = await client({ sanitizeErrors: false })(page('/spnego/nothing'))
    expect([response.status, await response.text()]).toEqual([404, expect.stringContaining('404 Not Found')])
  })

  test.each(['optional', 'disabled'] as const)('%s: delivered, and not taken for verified', async (mutual) => {
    for (const preemptive of [false, true]) {
      const fetch = client({ mutualAuthentication: mutual, preemptive })
      const response = await fetch(page('/spnego/who.sh'))
      expect([response.status, await response.text()]).toEqual([200, expect.stringContaining(ALICE)])
      expect(negotiated(response)).toMatchObject({
        attempted: true,
        serverAuthenticated: false,
        principal: 'alice@MIT.TEST',
        target: 'HTTP/localhost@MIT.TEST',
        error: undefined,
      })
      const missing = await fetch(page('/spnego/nothing'))
      expect([missing.status, await missing.text()]).toEqual([404, expect.stringContaining('404 Not Found')])
    }
  })

  test('a page without a login is delivered, and needs none', async () => {
    const response = await client()(page('/open.sh'))
    expect([response.status, await response.text()]).toEqual([200, expect.stringContaining('user=\n')])
    expect(negotiated(response)).toBeUndefined()
  })
})

describe('[lighttpd mod_authn_gssapi] what it takes', () => {
  const fetch = (options: NegotiateFetchOptions = {}) => client({ mutualAuthentication: 'optional', ...options })

  test.each([
    ['text', () => 'a=b&c=ä'],
    ['a megabyte', () => 'x'.repeat(2 ** 20)],
    ['a stream', () => new Blob(['a=b&', 'c=ä']).stream()],
  ])('the body of a POST, after the 401 once more: %s', async (_, make) => {
    const whole = await new Response(make()).text()
    const init = () => ({ method: 'POST', body: make(), duplex: 'half' }) as RequestInit
    for (const preemptive of [false, true]) {
      const response = await fetch({ preemptive })(page('/spnego/echo.sh'), init())
      expect(response.status).toBe(200)
      expect(await response.text()).toBe(`${ALICE}ccache=\nbody=${whole}`)
    }
  })

  test('raw Kerberos tokens', async () => {
    const response = await fetch({ mechanism: 'krb5' })(page('/spnego/who.sh'))
    expect([response.status, negotiated(response)?.mechanism]).toEqual([200, 'krb5'])
  })

  test('C19 twenty at once, a token each', async () => {
    const login = fetch()
    const texts = await Promise.all(
      Array.from({ length: 20 }, async () => (await login(page('/spnego/who.sh'))).text()),
    )
    expect(texts.filter((text) => text.startsWith(ALICE))).toHaveLength(20)
  })

  test('nobody stays logged in on a connection, and no token is taken twice', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const context = await createInitiator({ target: 'HTTP@localhost', credentials: Credentials.fromCache() })
    const authorization = `Negotiate ${toBase64((await context.step()).token ?? new Uint8Array())}`
    const ports = new Set<number | undefined>()
    const status = (headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const sent = request(page('/spnego/who.sh'), { agent, headers }, (response) => {
          ports.add(response.socket.localPort)
          response.resume().once('end', () => resolve(response.statusCode))
        })
        sent.once('error', reject).end()
      })
    expect(await status({ authorization })).toBe(200)
    expect(await status({})).toBe(401)
    expect(await status({ authorization })).toBe(401)
    expect(ports.size).toBe(1)
    agent.destroy()
    expect(logOf(lighttpd)).toContain('Request is a replay')
  })
})

describe('[lighttpd mod_authn_gssapi] what it refuses is a 401 that says why', () => {
  const modes = ['auto', 'optional', 'disabled', 'required'] as const

  test.each(modes)('a ticket for another name (%s)', async (mutualAuthentication) => {
    const response = await client({ mutualAuthentication, targetName: 'HTTP@www.mit.test' })(page('/spnego/who.sh'))
    expect([response.status, await response.text()]).toEqual([401, expect.stringContaining('401 Unauthorized')])
    expect(negotiated(response)).toMatchObject({
      attempted: true,
      serverAuthenticated: false,
      target: 'HTTP/www.mit.test@MIT.TEST',
      error: { code: 'REJECTED' },
    })
    expect(logOf(lighttpd)).toContain('Cannot decrypt ticket for HTTP/www.mit.test')
  })

  test('a name that the KDC does not know: nothing is sent', async () => {
    const response = await client({ targetName: 'HTTP@nobody.mit.test' })(page('/spnego/who.sh'))
    expect(response.status).toBe(401)
    const { attempted, error } = negotiated(response) ?? {}
    expect([attempted, error?.code]).toEqual([false, 'KDC_ERR_S_PRINCIPAL_UNKNOWN'])
  })

  test('a server with another key; curl likewise', async () => {
    const url = `${wrongKey.get('LIGHTTPD_URL')}/spnego/who.sh`
    const response = await client()(url)
    expect([response.status, negotiated(response)?.error?.code]).toEqual([401, 'REJECTED'])
    expect(curl(url).stdout).toMatch(/\n401$/)
    expect(logOf(wrongKey)).toMatch(/Cannot decrypt ticket for HTTP\/localhost@MIT\.TEST/)
  })

  test('a ticket that has expired, by a server that allows the clocks one second', async () => {
    const url = `${strict.get('LIGHTTPD_URL')}/spnego/who.sh`
    const credentials = Credentials.fromCache(hurried.cache)
    await setTimeout(Math.max(hurried.expiresMs + 2500 - Date.now(), 0))
    const response = await client({ credentials })(url)
    expect([response.status, negotiated(response)?.error?.code]).toEqual([401, 'REJECTED'])
    expect(logOf(strict)).toContain('Ticket expired')
    expect((await client({ mutualAuthentication: 'optional' })(url)).status).toBe(200)
  })
})

/** Node reads NODE_EXTRA_CA_CERTS once, at its start: so the client is a process of its own, from the built package. */
const SCRIPT = `
  import { negotiated, negotiateFetch } from 'spnego/fetch'
  const [url, options] = process.argv.slice(1)
  try {
    const response = await negotiateFetch(JSON.parse(options))(url)
    const { attempted, serverAuthenticated } = negotiated(response) ?? {}
    console.log(JSON.stringify({ status: response.status, attempted, serverAuthenticated, text: await response.text() }))
  } catch ({ name, code }) {
    console.log(JSON.stringify({ name, code }))
  }
`

describe('[lighttpd mod_authn_gssapi] over TLS the certificate vouches for it', () => {
  function visit(path: string, options: NegotiateFetchOptions): Record<string, unknown> {
    const url = `${lighttpd.get('LIGHTTPD_TLS_URL')}${path}`
    const args = ['--input-type=module', '-e', SCRIPT, url, JSON.stringify(options)]
    const { stdout, stderr } = run(process.execPath, args, {
      ...environment,
      NODE_EXTRA_CA_CERTS: lighttpd.get('LIGHTTPD_CA'),
    })
    expect(stderr).toBe('')
    return JSON.parse(stdout) as Record<string, unknown>
  }

  test('auto: page and error page are delivered, the server not verified by Kerberos', () => {
    const facts = { attempted: true, serverAuthenticated: false }
    const text = expect.stringContaining(ALICE)
    expect(visit('/spnego/who.sh', {})).toEqual({ ...facts, status: 200, text })
    expect(visit('/spnego/nothing', {})).toEqual({ ...facts, status: 404, text: expect.stringContaining('404') })
  })

  test('required: an error all the same', () => {
    const error = { name: 'MutualAuthenticationError', code: 'MUTUAL_AUTHENTICATION_FAILED' }
    expect(visit('/spnego/who.sh', { mutualAuthentication: 'required' })).toEqual(error)
  })

  test('channel bindings that it does not look at do no harm', () => {
    expect(visit('/spnego/who.sh', { channelBindings: 'required' })).toMatchObject({ status: 200 })
  })
})
