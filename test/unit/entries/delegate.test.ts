import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { Credentials, createAcceptor, KerberosClient, Krb5Config } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { type InitiatorContexts, RequestLogin } from '../../../src/http/client.ts'
import { type ClientHttpOptions, clientSettings } from '../../../src/http/client-options.ts'

/** The options `delegate` and `delegateTo` of a client: a forwarded login *is* the user, so it goes nowhere by accident. */

let realm: TestRealm
let server: Server
let url: string
/** What the server made of the last login: whom it can act as. */
let actsAs: string | undefined

beforeAll(async () => {
  realm = await TestRealm.start({
    users: { alice: 'secret', bob: 'builder' },
    services: ['HTTP/localhost', 'HTTP/trusted.test'],
    okAsDelegate: ['HTTP/trusted.test'],
  })
  const principal = ['HTTP/localhost', 'HTTP/trusted.test']
  const { KRB5_KTNAME: keytab } = realm.environment
  const acceptor = await createAcceptor({ keytab, principal: principal as never, delegation: true })
  server = createServer(async (req, res) => {
    const token = /^Negotiate (.+)$/.exec(req.headers.authorization ?? '')?.[1]
    if (token === undefined) return res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
    const context = acceptor.createContext()
    const step = await context.step(Buffer.from(token, 'base64')).catch(() => undefined)
    if (step === undefined) return res.writeHead(401).end()
    const { delegated } = context
    const tgt = delegated && (await new KerberosClient({ credentials: delegated, config: realm.config }).login())
    actsAs = tgt && `${tgt.client}`
    const proof = Buffer.from(step.token ?? []).toString('base64')
    return res.writeHead(200, { 'www-authenticate': `Negotiate ${proof}` }).end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://localhost:${(server.address() as AddressInfo).port}/`
})

afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await realm.stop()
})

async function get(options: NegotiateFetchOptions, config = realm.config) {
  actsAs = undefined
  const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', config)
  const response = await negotiateFetch({ credentials, config, ...options })(url)
  await response.arrayBuffer()
  const { delegated, error, serverAuthenticated } = negotiated(response) ?? {}
  return { status: response.status, delegated, error: error?.code, serverAuthenticated, actsAs }
}

const plain = { status: 200, delegated: false, error: undefined, serverAuthenticated: true, actsAs: undefined }
const forwarded = { ...plain, delegated: true, actsAs: 'alice@EXAMPLE.TEST' }

describe('negotiateFetch', () => {
  test('C40 nothing is forwarded unasked, whatever delegateTo says', async () => {
    expect(await get({})).toEqual(plain)
    expect(await get({ targetName: 'HTTP@trusted.test' })).toEqual(plain)
    expect(await get({ delegate: false, delegateTo: [new URL(url).origin] })).toEqual(plain)
  })

  test('RG-22 HG-20 delegate: true to a listed origin: the server can act as the user', async () => {
    expect(await get({ delegate: true, delegateTo: [new URL(url).origin] })).toEqual(forwarded)
  })

  test('C43 not to one that is not listed', async () => {
    expect(await get({ delegate: true, delegateTo: ['https://other.example'] })).toEqual(plain)
  })

  test('C41 by policy: only to a service that the KDC marks', async () => {
    expect(await get({ delegate: 'policy' })).toEqual(plain)
    expect(await get({ delegate: 'policy', targetName: 'HTTP@trusted.test' })).toEqual(forwarded)
    const elsewhere = { delegateTo: ['https://other.example'] }
    expect(await get({ delegate: 'policy', targetName: 'HTTP@trusted.test', ...elsewhere })).toEqual(plain)
  })

  test('K88 enforce_ok_as_delegate in krb5.conf makes a policy of it, whatever the client wants', async () => {
    const text = readFileSync(realm.environment['KRB5_CONFIG'] ?? '', 'utf8')
    const config = (value: string) =>
      Krb5Config.parse(text.replace('[libdefaults]', `[libdefaults]\n enforce_ok_as_delegate = ${value}`))
    const always = { delegate: true, delegateTo: [new URL(url).origin] }
    expect(await get(always, config('true'))).toEqual(plain)
    expect(await get({ ...always, targetName: 'HTTP@trusted.test' }, config('true'))).toEqual(forwarded)
    expect(await get(always, config('false'))).toEqual(forwarded)
  })

  test('C44 a login that may not be forwarded: the 401 with the reason; by policy the login goes without', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const text = readFileSync(realm.environment.KRB5_CONFIG, 'utf8').replace(
      'forwardable = true',
      'forwardable = false',
    )
    const config = Krb5Config.parse(text)
    expect(await get({ delegate: true, delegateTo: [new URL(url).origin] }, config)).toMatchObject({
      status: 401,
      error: 'TICKET_NOT_FORWARDABLE',
    })
    expect(await get({ delegate: 'policy', targetName: 'HTTP@trusted.test' }, config)).toEqual(plain)
    // Whose login it is comes first: another user's is not even asked for.
    const others = { principal: 'bob', delegate: true, delegateTo: [new URL(url).origin] } as const
    expect(await get(others, config)).toMatchObject({ status: 401, error: 'NO_CREDENTIALS' })
  })
})

test('C52 a cache that becomes another user’s between a ticket and the login that goes along: both are one user’s', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cache-'))
  const [cache, bobs] = [join(folder, 'cc'), join(folder, 'bob')]
  const options = { config: realm.config }
  await (await realm.login('alice')).save(cache)
  const bob = await realm.login('bob')
  await bob.login(options)
  await bob.save(bobs)
  let exchanges = 0
  const listener = () => {
    if (++exchanges === 1) renameSync(bobs, cache) // as kinit does, at the worst moment
  }
  subscribe('spnego:kdc', listener)
  try {
    const credentials = Credentials.fromCache(cache)
    const delegateTo = [new URL(url).origin]
    expect(await get({ ...options, credentials, delegate: true, delegateTo })).toEqual({
      ...forwarded,
      actsAs: 'bob@EXAMPLE.TEST',
    })
    expect(exchanges).toBeGreaterThan(2)
  } finally {
    unsubscribe('spnego:kdc', listener)
    rmSync(folder, { recursive: true })
  }
})

/** What the login of one request asks of GSS. */
async function askedFor(at: string, options: ClientHttpOptions): Promise<string | undefined> {
  let asked: string | undefined
  const contexts: InitiatorContexts = {
    open: async (_target, { delegation }) => {
      asked = delegation
      throw new Error('enough')
    },
  }
  const hop = { url: new URL(at), first: new URL(at), cameFromHttps: false, certified: true, signal: undefined }
  await new RequestLogin(hop, clientSettings('test', options), contexts).first(true).catch(() => {})
  return asked
}

describe('C43 where a login may go', () => {
  const rows: readonly [string, ClientHttpOptions, string][] = [
    ['https://web.corp/', { delegate: true, delegateTo: ['https://web.corp'] }, 'always'],
    ['https://web.corp:8443/', { delegate: true, delegateTo: ['https://web.corp'] }, 'never'],
    ['https://a.web.corp/', { delegate: true, delegateTo: ['https://*.web.corp'] }, 'always'],
    ['https://evilweb.corp/', { delegate: true, delegateTo: ['https://*.web.corp'] }, 'never'],
    ['https://web.corp/', { delegate: 'policy' }, 'policy'],
    ['https://web.corp/', { delegate: 'policy', delegateTo: ['https://other.corp'] }, 'never'],
    ['http://web.corp/', { delegate: 'policy', insecureOrigins: ['http://web.corp'] }, 'never'],
    ['http://localhost:9/', { delegate: true, delegateTo: ['http://localhost:9'] }, 'always'],
    ['https://web.corp/', {}, 'never'],
  ]
  for (const [at, options, expected] of rows) {
    test(`${at} with ${JSON.stringify(options)}: ${expected}`, async () => {
      expect(await askedFor(at, options)).toBe(expected)
    })
  }

  test('what can be seen at construction is refused there', () => {
    const code = (value: string) => expect.objectContaining({ code: value })
    expect(() => negotiateFetch({ delegate: true })).toThrow(code('OPTION_INVALID'))
    for (const origin of ['http://web.corp', 'http://*.corp']) {
      expect(() => negotiateFetch({ delegate: 'policy', delegateTo: [origin] })).toThrow(code('DELEGATION_INSECURE'))
    }
    for (const delegate of ['always', 1, null, {}]) {
      expect(() => negotiateFetch({ delegate: delegate as never })).toThrow(code('OPTION_INVALID'))
    }
    expect(() => negotiateFetch({ delegateTo: 'https://web.corp' as never })).toThrow(code('OPTION_INVALID'))
  })
})
