import axios from 'axios'
import got from 'got'
import { Agent as Agent7, interceptors as interceptors7, request as request7 } from 'undici7'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { Site, World } from '../http-client/site.ts'
import { guard, ProxySite } from './proxy-site.ts'

/** Retries by each library's own means: every try has tokens of its own. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

/** A client that tries again when it gets a 503. */
const RETRYING: readonly [string, (options: NegotiateClientOptions) => (url: string) => Promise<string>][] = [
  [
    'axios, by an interceptor that sends the configuration again',
    (options) => {
      const instance = negotiateAxios(axios.create(), options)
      instance.interceptors.response.use(undefined, (error) => instance.request(error.config))
      return async (url) => (await instance.get<string>(url)).data
    },
  ],
  [
    'got’s own',
    (options) => {
      const instance = negotiateGot(got, options)
      return (url) =>
        instance(url, { retry: { limit: 2, calculateDelay: ({ computedValue }) => Math.min(computedValue, 1) } }).text()
    },
  ],
  [
    'undici’s interceptor, composed after the login',
    (options) => {
      const login = negotiateInterceptor(options)
      const retry = interceptors7.retry({ maxRetries: 2, minTimeout: 1, statusCodes: [503] })
      const dispatcher = new Agent7().compose(login as never, retry)
      return async (url) => (await request7(url, { dispatcher })).body.text()
    },
  ],
]

describe.each(RETRYING)('A11 %s', (_, open) => {
  test('no token is sent twice', async () => {
    let refusals = 2
    await using site = await Site.start(
      world.honest((_seen, user) => (refusals-- > 0 ? { status: 503 } : { body: user })),
    )
    const options = { credentials: world.alice, config: world.realm.config }
    expect(await open(options)(site.url)).toBe('alice@EXAMPLE.TEST')
    expect(site.tokens.length).toBe(3)
    expect(new Set(site.tokens).size).toBe(3)
  })

  test('nor is a proxy’s', async () => {
    let refusals = 2
    await using site = await Site.start(
      world.honest((_seen, user) => (refusals-- > 0 ? { status: 503 } : { body: user })),
    )
    await using proxy = await ProxySite.start(guard(world))
    const options = { credentials: world.alice, config: world.realm.config, proxy: proxy.url }
    expect(await open(options)(site.url)).toBe('alice@EXAMPLE.TEST')
    const all = [...site.tokens, ...proxy.tokens]
    expect(site.tokens.length).toBe(3)
    expect(new Set(all).size).toBe(all.length)
  })
})
