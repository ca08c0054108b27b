import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials } from '../../../src/entries/index.ts'
import { PASSWORD, Site, World } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'

/** One configured client, a thousand requests to fifty hosts at once. */

const HOSTS = 50
const REQUESTS = 1000

let world: World
const sites: Site[] = []
beforeAll(async () => {
  world = await World.start()
  for (let i = 0; i < HOSTS; i++) {
    sites.push(await Site.start(world.honest((seen, user) => ({ body: `${i} ${user} ${seen.url}` }))))
  }
})
afterAll(async () => {
  for (const site of sites) await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

describe.each(CLIENTS)('$name', ({ open }) => {
  test('C18 C19: each of a thousand requests has its own answer, and its own token', async () => {
    const { config } = world.realm
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', PASSWORD, config)
    const call = open({ credentials, config, mutualAuthentication: 'auto' })
    for (const { seen } of sites) seen.length = 0
    const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, i) => call(`${sites[i % HOSTS]?.url}/${i}`)))
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, i) => `${i % HOSTS} alice@EXAMPLE.TEST /${i}`))
    expect(new Set(sites.flatMap(({ tokens }) => tokens)).size).toBe(REQUESTS)
  }, 60_000)
})
