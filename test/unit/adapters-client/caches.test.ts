import got from 'got'
import * as undici7 from 'undici7'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { NegotiateAgent } from '../../../src/entries/agent.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { errorOf, Site, World } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'

/** Caches of responses above the login: they see requests without Authorization (RFC 9111 §3.5). */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const of = (user: 'alice' | 'bob'): NegotiateClientOptions => ({
  credentials: world[user],
  config: world.realm.config,
})

/** Pages that every cache keeps. */
const keepable = (value = 'max-age=600') =>
  Site.start(world.honest((_, user) => ({ body: `salary of ${user}`, headers: { 'cache-control': value } })))

const SALARIES = ['salary of alice@EXAMPLE.TEST', 'salary of bob@EXAMPLE.TEST']

describe.each(CLIENTS.filter(({ name }) => name !== 'spnego/fetch'))('C89 $name', ({ open }) => {
  test.each([
    ['max-age=600', 'max-age=600, private'],
    ['private="x-own", max-age=600', 'private="x-own", max-age=600, private'],
    ['public, max-age=600', 'public, max-age=600'],
    ['no-store', 'no-store'],
    ['private', 'private'],
  ])('an answer to a token, with %s, is for its user alone: %s', async (said, shown) => {
    await using site = await keepable(said)
    expect((await open(of('alice'))(site.url)).headers['cache-control']).toBe(shown)
  })

  test('an answer that nobody’s token was sent for stays as it is', async () => {
    await using site = await Site.start(async () => ({ body: 'news', headers: { 'cache-control': 'max-age=600' } }))
    const call = open(of('alice'))
    const answer = await call(site.url, { headers: { authorization: 'Bearer mine' } })
    expect(answer.headers['cache-control']).toBe('max-age=600')
  })
})

describe('C89 two users over one cache', () => {
  test('undici: each has his own page', async () => {
    await using site = await keepable()
    const store = new undici7.cacheStores.MemoryCacheStore()
    const pages: string[] = []
    for (const user of ['alice', 'bob'] as const) {
      const login = negotiateInterceptor(of(user)) as never
      const dispatcher = new undici7.Agent().compose(login, undici7.interceptors.cache({ store }))
      pages.push(await (await undici7.request(site.url, { dispatcher })).body.text())
      await dispatcher.close()
    }
    expect(pages).toEqual(SALARIES)
  })

  test('got over spnego/agent: each has his own page', async () => {
    await using site = await keepable()
    const cache = new Map()
    const pages: string[] = []
    for (const user of ['alice', 'bob'] as const) {
      const agent = { http: new NegotiateAgent(of(user)) }
      pages.push((await got(site.url, { agent, cache, retry: { limit: 0 } })).body)
    }
    expect(pages).toEqual(SALARIES)
  })

  test('spnego/got: refused, wherever the option comes from', async () => {
    await using site = await keepable()
    const cache = new Map()
    const api = negotiateGot(got, of('alice'))
    const failure = (call: () => PromiseLike<unknown>) => errorOf((async () => call())())
    const refused = { code: 'OPTION_UNSUPPORTED' }
    expect(await failure(() => api(site.url, { cache }))).toMatchObject(refused)
    expect(await failure(() => api(site.url, { cache: true } as never))).toMatchObject(refused)
    expect(await failure(() => api.extend({ cache })(site.url))).toMatchObject(refused)
    expect(await failure(() => negotiateGot(got.extend({ cache }), of('alice'))(site.url))).toMatchObject(refused)
    const init = (options: { cache?: unknown }) => {
      options.cache = cache
    }
    expect(await failure(() => api(site.url, { hooks: { init: [init as never] } }))).toMatchObject(refused)
    const beforeRequest = [init as never]
    expect(await failure(() => got.extend({ hooks: { beforeRequest } }, api)(site.url))).toMatchObject(refused)
    expect(site.seen).toEqual([])
    expect((await api(site.url, { cache: false } as never)).body).toBe(SALARIES[0])
  })
})
