import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Credentials, KerberosError } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import type { MutualAuthentication } from '../../../src/http/client-options.ts'
import { mutualVerdict, type Proof } from '../../../src/http/mutual.ts'
import { CHALLENGE, errorOf, PASSWORD, type Script, Site, World } from '../http-client/site.ts'
import { CLIENTS, type Client, causes } from './clients.ts'

/** What the options of a client come to, through every client; what one answers otherwise by design stands in docs/options.md. */

let world: World
let site: Site
/** A proof of another exchange: well-formed, and worth nothing here. */
let wrong = ''
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
  site = await Site.start(world.honest())
  await CLIENTS[0]?.open(alice())(site.url)
  const [token = ''] = site.tokens
  await using other = await Site.start(async ({ token: own }) => {
    if (own === undefined) return CHALLENGE
    wrong = (await world.accept(own)).answer
    return { body: token }
  })
  await CLIENTS[0]?.open(alice({ mutualAuthentication: 'optional' }))(other.url)
})
afterAll(async () => {
  vi.restoreAllMocks()
  await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})
const nobody = (): Credentials => Credentials.fromCache('FILE:/nonexistent/cc')

/** Of this package's own entries: those that only bring an agent wrap what an agent tells. */
const isOwn = ({ name }: Client): boolean => name.split(',').length === 1 || name.endsWith('node:http')

const MODES: readonly MutualAuthentication[] = ['required', 'auto', 'optional', 'disabled']
/** What comes in the last answer, after a challenge or without one. */
const ANSWERS: readonly (readonly [name: string, proof: Proof, status: number])[] = [
  ['a token that verifies', 'verified', 200],
  ['a token that fails', 'failed', 200],
  ['a token that fails, on an error page', 'failed', 500],
  ['a challenge, then no token', 'none', 200],
  ['a challenge, then an error page', 'none', 500],
  ['no challenge', 'never-challenged', 200],
  ['no challenge, and an error page', 'never-challenged', 404],
]

/** What a client makes of a user and a password in a URL. Default: a Basic Authorization, which is the caller's own and goes untouched. */
const BY_URL: Readonly<Record<string, 'refused' | 'ignored'>> = {
  'spnego/fetch': 'refused',
  'node-fetch': 'refused',
  'spnego/undici': 'ignored',
}
const BASIC = `Basic ${Buffer.from('bob:hunter2').toString('base64')}`

describe.each(CLIENTS)('$name', (client) => {
  const { open, name, answers, reports, follows } = client

  describe.each(MODES)('mutualAuthentication %s', (mode) => {
    test.each(ANSWERS)('%s', async (_, kind, status) => {
      const script: Script = async ({ token }) => {
        if (token === undefined && kind !== 'never-challenged') return CHALLENGE
        const right = token !== undefined && kind === 'verified' ? (await world.accept(token)).answer : undefined
        const proof = kind === 'failed' ? wrong : right
        return {
          status,
          headers: { 'x-other': 'x', ...(proof && { 'www-authenticate': `Negotiate ${proof}` }) },
          body: 'a page',
        }
      }
      await using scripted = await Site.start(script)
      // Who sends a token with the first request is never seen to be asked.
      const unasked = !answers || mode === 'required'
      const proof = kind === 'none' && unasked ? 'never-challenged' : kind
      const verdict = mutualVerdict(mode, false, proof, status)
      const call = open(alice({ mutualAuthentication: mode }))(scripted.url)
      if (verdict === 'error') {
        const error = await errorOf(call)
        expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
        if (isOwn(client)) expect(error).toBeInstanceOf(KerberosError)
        expect(String(error)).not.toContain('a page')
        return
      }
      const answer = await call
      const page = verdict === 'sanitize' ? ['', undefined] : ['a page', 'x']
      expect([answer.status, answer.text, answer.headers['x-other']]).toEqual([status, ...page])
      const attempted = unasked || kind !== 'never-challenged'
      const proved = attempted ? kind === 'verified' && mode !== 'disabled' : undefined
      if (reports) expect(answer.report?.serverAuthenticated).toBe(proved)
    })
  })

  test.each<[string, () => NegotiateClientOptions, string | undefined]>([
    ['service', () => ({ service: 'nosuch' }), 'KDC_ERR_S_PRINCIPAL_UNKNOWN'],
    ['principal of somebody else', () => ({ principal: 'bob@EXAMPLE.TEST' }), 'NO_CREDENTIALS'],
    ['principal', () => ({ principal: 'alice' }), undefined],
    ['credentials that are not there', () => ({ credentials: nobody() }), 'CACHE_NOT_FOUND'],
    [
      'a targetName that no KDC knows',
      () => ({ targetName: 'HTTP@nobody.example', origins: [site.url] }),
      'KDC_ERR_S_PRINCIPAL_UNKNOWN',
    ],
    ['other origins', () => ({ origins: ['https://elsewhere.example'] }), 'ORIGIN_NOT_ALLOWED'],
    ['mechanism krb5', () => ({ mechanism: 'krb5' }), undefined],
  ])('%s: the page, or the 401 with the reason', async (_, more, code) => {
    const answer = await open(alice(more()))(site.url)
    expect(answer).toMatchObject(
      code === undefined ? { status: 200, text: 'alice@EXAMPLE.TEST' } : { status: 401, text: 'who are you?' },
    )
    if (reports) expect(answer.report?.error?.code).toBe(code)
  })

  test('onLoginError throw: what failed on this side is thrown, a refusal of the server is not', async () => {
    const failed = (more: NegotiateClientOptions) => errorOf(open(alice({ ...more, onLoginError: 'throw' }))(site.url))
    expect(causes(await failed({ credentials: nobody() }))).toContain('CACHE_NOT_FOUND')
    expect(causes(await failed({ origins: ['https://elsewhere.example'] }))).toContain('ORIGIN_NOT_ALLOWED')
    await using refusing = await Site.start(async () => CHALLENGE)
    expect(await open(alice({ onLoginError: 'throw' }))(refusing.url)).toMatchObject({ status: 401 })
  })

  test.each([undefined, true])('a silent KDC: the 401 within the deadline (preemptive %s)', async (preemptive) => {
    const services = ['HTTP/localhost']
    const silent = await TestRealm.start({
      realm: 'SILENT.TEST',
      users: { alice: PASSWORD },
      services,
      faults: ['silent'],
    })
    try {
      const credentials = Credentials.fromPassword('alice@SILENT.TEST', PASSWORD)
      const start = performance.now()
      const answer = await open({ credentials, config: silent.config, loginTimeoutMs: 150, preemptive })(site.url)
      expect(answer.status).toBe(401)
      if (reports) expect(answer.report?.error?.code).toBe('KDC_TIMEOUT')
      expect(performance.now() - start).toBeLessThan(20 * 150)
    } finally {
      await silent.stop()
    }
  })

  test('without a ticket, and where nobody asks, the page', async () => {
    await using open_ = await Site.start(async () => ({ body: 'for all' }))
    expect(await open(alice({ credentials: nobody(), preemptive: true }))(open_.url)).toMatchObject({
      status: 200,
      text: 'for all',
    })
    expect(open_.tokens).toEqual([])
  })

  test.each(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'PUT', 'PATCH'])(
    '%s, its fields and its target arrive as they were given',
    async (method) => {
      const from = site.seen.length
      const body = method === 'PUT' || method === 'PATCH' ? { body: 'one' } : {}
      const answer = await open(alice())(`${site.url}/path?q=a%20b#here`, {
        method,
        headers: { 'x-one': '1', accept: 'a/b' },
        ...body,
      })
      expect([answer.status, answer.text]).toEqual([200, method === 'HEAD' ? '' : 'alice@EXAMPLE.TEST'])
      for (const seen of site.seen.slice(from))
        expect([seen.method, seen.url, seen.headers['x-one'], seen.headers['accept'], seen.body]).toEqual([
          method,
          '/path?q=a%20b',
          '1',
          'a/b',
          body.body ?? '',
        ])
    },
  )

  test('a connection that is refused is the client’s own error', async () => {
    const closed = await Site.start(async () => CHALLENGE)
    const { url } = closed
    await closed[Symbol.asyncDispose]()
    expect(causes(await errorOf(open(alice())(url)))).toContain('ECONNREFUSED')
  })

  test.each([
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'POST', 'GET'],
    [303, 'PUT', 'GET'],
    [307, 'POST', 'POST'],
    [308, 'PUT', 'PUT'],
  ])('%d makes %s a %s, with a token of its own', async (status, method, usual) => {
    if (!follows) return
    const then = name.endsWith('got') && status < 303 ? method : usual // got keeps the method but for 303
    await using moving = await Site.start(
      world.honest(({ url }, user) => (url === '/a' ? { status, headers: { location: '/b' } } : { body: user })),
    )
    const answer = await open(alice())(`${moving.url}/a`, { method, body: 'one', headers: { 'x-kept': '1' } })
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    const last = moving.seen.at(-1)
    expect([last?.url, last?.method, last?.body, last?.headers['x-kept']]).toEqual([
      '/b',
      then,
      then === 'GET' ? '' : 'one',
      '1',
    ])
    expect(new Set(moving.tokens).size).toBe(moving.tokens.length)
  })

  test('a redirect without end ends, and each hop has a token of its own', async () => {
    if (!follows) return
    await using moving = await Site.start(
      world.honest(({ url }) => ({ status: 302, headers: { location: `/${Number(url.slice(1)) + 1}` } })),
    )
    const outcome = await open(alice({ preemptive: true }))(`${moving.url}/0`).catch((error: unknown) => error)
    if (!(outcome instanceof Error)) expect(outcome).toMatchObject({ status: 302 })
    expect(moving.seen.length).toBeLessThanOrEqual(22)
    expect(new Set(moving.tokens).size).toBe(moving.seen.length)
  })

  test('304, and a redirect without a location, are answers', async () => {
    for (const status of [302, 304]) {
      await using plain = await Site.start(world.honest(() => ({ status })))
      const answer = await open(alice())(plain.url).catch((error: Error) => error.message)
      if (name.endsWith('superagent') && status === 302) expect(answer).toBe('No location header for redirect')
      else expect(answer).toMatchObject({ status })
    }
  })

  const own = BY_URL[name.replace(/^.*, /, '')] ?? 'Basic'

  test(`C95 a user and a password in the URL: ${own}`, async () => {
    const from = site.seen.length
    const outcome = await open(alice())(site.url.replace('//', '//bob:hunter2@')).catch((error: unknown) => error)
    const sent = site.seen.slice(from).map(({ headers }) => headers['authorization']?.slice(0, 20) ?? 'none')
    if (own === 'refused') {
      expect(outcome).toBeInstanceOf(TypeError)
      expect(sent).toEqual([])
    } else if (own === 'Basic') {
      expect(outcome).toMatchObject({ status: 401, report: undefined })
      expect(sent).toEqual([BASIC.slice(0, 20)])
    } else expect([sent[0], outcome]).toMatchObject(['none', { text: 'alice@EXAMPLE.TEST' }])
  })

  test('C95 and in a redirect: none of it goes beside a token', async () => {
    if (!follows) return
    await using other = await Site.start(world.honest())
    const location = other.url.replace('//', '//bob:hunter2@')
    await using first = await Site.start(world.honest(() => ({ status: 302, headers: { location } })))
    const outcome = await open(alice({ origins: [first.url, other.url] }))(first.url).catch((error: unknown) => error)
    const sent = other.seen.map(({ headers }) => headers['authorization']?.slice(0, 20) ?? 'none')
    if (name.endsWith('fetch')) {
      expect(outcome).toBeInstanceOf(Error)
      expect(sent).toEqual([])
    } else if (name.endsWith('axios')) {
      expect(outcome).toMatchObject({ text: 'alice@EXAMPLE.TEST' })
      expect(sent).not.toContain(BASIC.slice(0, 20))
    } else {
      expect(outcome).toMatchObject({ status: 401 })
      expect(sent).toEqual([BASIC.slice(0, 20)])
    }
  })
})
