import axios from 'axios'
import got from 'got'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { NegotiateAgent } from '../../../src/entries/agent.ts'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { CHALLENGE, errorOf, type Reply, Site, World } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'
import { PROXY_CHALLENGE, ProxySite } from './proxy-site.ts'

/** Credentials of the caller's own over redirects, where the login has a request sent again: they go where the client alone sends them. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const BASIC = `Basic ${Buffer.from('alice:hunter2').toString('base64')}`
const BEARER = 'Bearer mine'
const auth = { username: 'alice', password: 'hunter2' }

interface Sender {
  readonly name: string
  /** What the caller's credentials look like on the wire. */
  readonly sent: string
  readonly proxies: boolean
  /** Whether the client takes every port of a host for one. */
  readonly ignoresPorts?: boolean
  open(options: NegotiateClientOptions): (url: string) => Promise<unknown>
}

const SENDERS: readonly Sender[] = [
  {
    name: 'spnego/axios with auth',
    sent: BASIC,
    proxies: true,
    open: (options) => (url) => negotiateAxios(axios.create(), options).get(url, { auth, validateStatus: null }),
  },
  {
    name: 'spnego/axios with auth in its defaults',
    sent: BASIC,
    proxies: true,
    open: (options) => (url) => negotiateAxios(axios.create({ auth }), options).get(url, { validateStatus: null }),
  },
  {
    name: 'spnego/axios with user and password in the URL',
    sent: BASIC,
    proxies: true,
    open: (options) => (url) =>
      negotiateAxios(axios.create({ validateStatus: null }), options).get(url.replace('//', '//alice:hunter2@')),
  },
  {
    name: 'spnego/got with user and password',
    sent: BASIC,
    proxies: true,
    open: (options) => (url) =>
      negotiateGot(got, options)(url, { ...auth, throwHttpErrors: false, retry: { limit: 0 } }),
  },
  {
    name: 'spnego/agent, axios with auth',
    sent: BASIC,
    proxies: true,
    open: (options) => (url) =>
      axios.get(url, { auth, httpAgent: new NegotiateAgent(options), validateStatus: null, proxy: false }),
  },
  ...CLIENTS.filter(({ follows }) => follows).map(({ name, proxies, open }) => ({
    name: `${name} with an Authorization`,
    sent: BEARER,
    proxies,
    ignoresPorts: name.endsWith('node-fetch'),
    open: (options: NegotiateClientOptions) => (url: string) =>
      open(options)(url, { headers: { authorization: BEARER } }),
  })),
]

const alice = (more: NegotiateClientOptions): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

const callers = (values: readonly (string | undefined)[]): readonly string[] =>
  values.flatMap((value) => (value === undefined || value.startsWith('Negotiate ') ? [] : value))

/** Where a redirect leads, from the first server's origin. */
const TARGETS = ['the same host', 'another port', 'another host'] as const

describe.each(SENDERS)('$name', ({ open, sent, proxies, ignoresPorts = false }) => {
  const keeps = (target: string): boolean => target === 'the same host' || (ignoresPorts && target === 'another port')

  test.each(TARGETS)('C70: a redirect to %s that asks for a login', async (target) => {
    const isLetIn = (value: string | undefined): boolean => value === sent
    await using other = await Site.start(async () => CHALLENGE)
    await using site = await Site.start(async ({ url, headers }): Promise<Reply> => {
      if (url === '/b') return isLetIn(headers['authorization']) ? { body: 'in' } : CHALLENGE
      return { status: 302, headers: { location: locations[target] } }
    })
    const locations = {
      'the same host': '/b',
      'another port': `${other.url}/b`,
      'another host': `${other.url.replace('localhost', '127.0.0.1')}/b`,
    }
    const origins = [site.url, other.url]
    await errorOf(open(alice({ origins }))(`${site.url}/a`))
    const isSame = target === 'the same host'
    const reached = (isSame ? site : other).seen.filter(({ url }) => url === '/b')
    expect(reached.length).toBeGreaterThan(0)
    expect(callers(reached.map(({ headers }) => headers['authorization']))).toEqual(
      keeps(target) ? reached.map(() => sent) : [],
    )
  })

  test.each(TARGETS)('C70: behind a proxy that asks at each hop, a redirect to %s', async (target) => {
    if (!proxies) return
    const locations = {
      'the same host': 'http://one.example/b',
      'another port': 'http://one.example:8080/b',
      'another host': 'http://two.example/b',
    }
    await using proxy = await ProxySite.start(async (seen) => {
      if (seen.token === undefined) return PROXY_CHALLENGE
      const isFirst = seen.target.endsWith('/a')
      return isFirst ? { status: 302, headers: { location: locations[target] } } : { status: 200, body: 'page' }
    })
    const options = alice({ proxy: { url: proxy.url, preemptive: false }, origins: ['http://one.example'] })
    await errorOf(open(options)('http://one.example/a'))
    const at = (path: string) => proxy.seen.filter((seen) => seen.target.endsWith(path))
    const own = (path: string) => callers(at(path).map(({ headers }) => headers['authorization']))
    expect(own('/a')).toEqual(at('/a').map(() => sent))
    expect(at('/b').length).toBeGreaterThan(0)
    expect(own('/b')).toEqual(keeps(target) ? at('/b').map(() => sent) : [])
  })
})
