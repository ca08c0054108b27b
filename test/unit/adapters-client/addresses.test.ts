import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { CHALLENGE, errorOf, Site, World } from '../http-client/site.ts'
import { CLIENTS, causes } from './clients.ts'

/** URLs whose host is an address: Kerberos has no name for it, and most servers do not ask for one. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})
const addressOf = ({ url }: Site): string => url.replace('localhost', '127.0.0.1')
const PREEMPTIVE = [undefined, true] as const

describe.each(CLIENTS)('$name', (client) => {
  test.each(PREEMPTIVE)('C73: a server at an address that asks for nothing; preemptive: %s', async (preemptive) => {
    await using site = await Site.start(async () => ({ body: 'page' }))
    const answer = await client.open(alice({ preemptive }))(addressOf(site))
    expect(answer).toMatchObject({ status: 200, text: 'page', report: undefined })
    expect(site.tokens).toEqual([])
  })

  test('C73: a one-shot body goes to it', async () => {
    if (!client.streams) return
    await using site = await Site.start(async ({ body }) => ({ body }))
    const body = async function* () {
      yield new Uint8Array(3000).fill(65)
    }
    const call = client.open(alice({ ...(client.answers && { maxReplayBodyBytes: 1000 }) }))
    expect(await call(addressOf(site), { method: 'POST', body })).toMatchObject({ status: 200, text: 'A'.repeat(3000) })
  })

  test.each(PREEMPTIVE)('C73: the 401 of one that asks comes back; preemptive: %s', async (preemptive) => {
    await using site = await Site.start(async () => CHALLENGE)
    const answer = await client.open(alice({ preemptive }))(addressOf(site))
    expect(answer).toMatchObject({ status: 401, text: 'who are you?' })
    if (client.reports) expect(answer.report).toMatchObject({ attempted: false, error: { code: 'TARGET_IS_ADDRESS' } })
    expect(site.tokens).toEqual([])
  })

  test('C73: onLoginError throw: it is thrown', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const error = await errorOf(client.open(alice({ onLoginError: 'throw' }))(addressOf(site)))
    expect(causes(error)).toContain('TARGET_IS_ADDRESS')
  })

  test('C73: required: thrown before anything is sent, as the answer could not be verified', async () => {
    await using site = await Site.start(async () => ({ body: 'page' }))
    const error = await errorOf(client.open(alice({ mutualAuthentication: 'required' }))(addressOf(site)))
    expect(causes(error)).toContain('TARGET_IS_ADDRESS')
    expect(site.seen).toEqual([])
  })

  test('C73: a targetName that is an address is asked for as written, when it is needed', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const call = client.open(alice({ targetName: 'HTTP@127.0.0.1', origins: [site.url], onLoginError: 'throw' }))
    expect(causes(await errorOf(call(site.url)))).toContain('KDC_ERR_S_PRINCIPAL_UNKNOWN')
    expect(site.tokens).toEqual([])
  })

  test('C73: a targetName that names nothing is an error of the caller, when it is needed', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const call = client.open(alice({ targetName: 'HTTP@a..b', origins: [site.url] }))
    expect(causes(await errorOf(call(site.url)))).toContain('NAME_INVALID')
    expect(site.tokens).toEqual([])
  })

  test('C73: with the service’s name it logs in', async () => {
    await using site = await Site.start(world.honest())
    const call = client.open(alice({ targetName: 'HTTP@localhost', origins: [addressOf(site)] }))
    expect(await call(addressOf(site))).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
  })
})
