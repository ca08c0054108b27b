import axios, { AxiosError } from 'axios'
import got, { HTTPError, RequestError } from 'got'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiated } from '../../../src/entries/fetch.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import { KerberosError } from '../../../src/entries/index.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { CHALLENGE, errorOf, Site, World } from '../http-client/site.ts'

/** What a program learns from the error that its client throws for a 401. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const options = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

/** Clients that throw for a status of 400 or more. */
const THROWING = [
  {
    name: 'axios',
    kind: AxiosError,
    get: (url: string, more = {}) => negotiateAxios(axios.create(), options(more)).get(url),
  },
  {
    name: 'got',
    kind: HTTPError,
    get: (url: string, more = {}) => negotiateGot(got, options(more))(url, { retry: { limit: 0 } }),
  },
  {
    name: 'got as a stream',
    kind: HTTPError,
    get: (url: string, more = {}) =>
      negotiateGot(got, options(more))
        .stream(url, { retry: { limit: 0 } })
        .toArray(),
  },
] as const

describe.each(THROWING)('$name', ({ kind, get }) => {
  test('a refused token: its own error, with ours as the cause', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const error = (await errorOf(get(site.url) as Promise<unknown>)) as Error
    expect(error).toBeInstanceOf(kind)
    expect(error.cause).toBeInstanceOf(KerberosError)
    expect(error.cause).toMatchObject({ code: 'REJECTED' })
    expect(negotiated(error)).toMatchObject({ attempted: true, error: { code: 'REJECTED' } })
  })

  test('no ticket: likewise', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const more = { targetName: 'HTTP@nobody.example', origins: [site.url] }
    const error = (await errorOf(get(site.url, more) as Promise<unknown>)) as Error
    expect(error).toBeInstanceOf(kind)
    expect(error.cause).toMatchObject({ code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' })
  })

  test('a 401 that asks for another login, and an error page after a login, have no cause', async () => {
    await using other = await Site.start(async () => ({ status: 401, headers: { 'www-authenticate': 'Basic' } }))
    const basic = (await errorOf(get(other.url, { preemptive: false }) as Promise<unknown>)) as Error
    if (kind === AxiosError) expect(basic.cause).toBeUndefined()
    await using site = await Site.start(world.honest(() => ({ status: 404 })))
    const error = (await errorOf(get(site.url) as Promise<unknown>)) as Error
    expect(error).toBeInstanceOf(kind)
    expect(error.cause instanceof KerberosError).toBe(false)
    expect(negotiated(error)).toMatchObject({ serverAuthenticated: true, error: undefined })
  })
})

describe('negotiated', () => {
  test.each([undefined, null])('%s: nothing happened', (value) => {
    expect(negotiated(value)).toBeUndefined()
  })

  test('an error without a response: nothing is known', async () => {
    const error = await errorOf(negotiateGot(got, options())('http://localhost:1/', { retry: { limit: 0 } }))
    expect(error).toBeInstanceOf(RequestError)
    expect(negotiated(error as Error)).toBeUndefined()
    expect(negotiated(new Error('another'))).toBeUndefined()
  })
})
