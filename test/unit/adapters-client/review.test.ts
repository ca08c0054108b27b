import axios from 'axios'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { CHALLENGE, type Reply, Site, World } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'

/** What a reviewer found in the clients on node:http. */

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

const to = (location: string, status = 302): Reply => ({ status, headers: { location }, body: 'elsewhere' })

const trail = (site: Site): readonly string[] =>
  site.seen.map(({ url, token }) => (token === undefined ? url : `${url}*`))

const answering = CLIENTS.filter(({ name }) => name === 'spnego/axios' || name === 'spnego/got')

describe('the origin that the caller gave', () => {
  test.each(answering)(
    'C01 C03 $name: is the first one also when that had credentials of his own',
    async ({ open }) => {
      await using other = await Site.start(async () => CHALLENGE)
      await using site = await Site.start(async () => to(`${other.url}/b`))
      const call = open(alice({ targetName: 'HTTP@web1.corp.example' }))
      const answer = await call(`${site.url}/a`, { headers: { authorization: 'Bearer mine' } })
      expect([answer.status, trail(other)]).toEqual([401, ['/b']])
      expect(answer.report).toMatchObject({ attempted: false, error: { code: 'ORIGIN_NOT_ALLOWED' } })
    },
  )

  test('C01 C03 axios: is the first one also when that was asked through a proxy', async () => {
    await using other = await Site.start(async () => CHALLENGE)
    await using proxy = await Site.start(async () => to(`${other.url}/b`))
    const api = negotiateAxios(axios.create({ validateStatus: null }), alice({ targetName: 'HTTP@web1.corp.example' }))
    vi.stubEnv('http_proxy', proxy.url)
    vi.stubEnv('no_proxy', 'localhost')
    const { status } = await api.get('http://web1.corp.example/a')
    vi.unstubAllEnvs()
    expect([status, trail(proxy), trail(other)]).toEqual([401, ['http://web1.corp.example/a'], ['/b']])
  })

  test.each(answering)(
    '$name: what led to a redirect that asks is not done again, whoever’s credentials it had',
    async ({ open }) => {
      await using other = await Site.start(world.honest())
      await using site = await Site.start(async () => to(`${other.url}/b`, 303))
      const call = open(alice({ origins: [site.url, other.url] }))
      const headers = { authorization: 'Bearer mine' }
      const answer = await call(`${site.url}/a`, { method: 'POST', body: 'one', headers })
      expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
      expect([trail(site), trail(other)]).toEqual([['/a'], ['/b', '/b*']])
    },
  )
})
