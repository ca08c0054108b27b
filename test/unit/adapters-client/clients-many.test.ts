import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Credentials } from '../../../src/entries/index.ts'
import { PASSWORD, Site, World } from '../http-client/site.ts'
import { type Answer, CLIENTS } from './clients.ts'

/** One configured client, a thousand requests to fifty hosts, many of them at once. */

const HOSTS = 50
const REQUESTS = 1000
/**
 * Most requests that are under way. Each has a connection without a token and one with, both ends of which are this process's: 400 descriptors,
 * and as many that are kept, where 1024 are a common limit.
 */
const AT_ONCE = 100

let world: World
const sites: Site[] = []
beforeAll(async () => {
  world = await World.start()
  for (let i = 0; i < HOSTS; i++) {
    sites.push(await Site.start(world.honest((seen, user) => ({ body: `${i} ${user} ${seen.url}` }))))
  }
})
// The next client's count of descriptors and of tokens is its own.
afterEach(async () => {
  for (const site of sites) {
    await site.endConnections()
    site.seen.length = 0
  }
})
afterAll(async () => {
  for (const site of sites) await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

/** All of them, also when one fails: none is left for the next client's case. */
async function callAll(call: (url: string) => Promise<Answer>): Promise<readonly unknown[]> {
  const outcomes: unknown[] = []
  let next = 0
  const takeTurns = async () => {
    while (next < REQUESTS) {
      const i = next++
      outcomes[i] = await call(`${sites[i % HOSTS]?.url}/${i}`).then(
        ({ text }) => text,
        (error: unknown) => error,
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, takeTurns))
  return outcomes
}

describe.each(CLIENTS)('$name', ({ open }) => {
  test('C18 C19: each of a thousand requests has its own answer, and its own token', async () => {
    const { config } = world.realm
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', PASSWORD, config)
    const outcomes = await callAll(open({ credentials, config, mutualAuthentication: 'auto' }))
    const errors = outcomes.filter((outcome) => outcome instanceof Error)
    expect(errors, 'requests that failed').toEqual([])
    expect(outcomes).toEqual(outcomes.map((_, i) => `${i % HOSTS} alice@EXAMPLE.TEST /${i}`))
    const sent = sites.flatMap(({ seen }) => seen).filter(({ token }) => token !== undefined)
    const urls = sent.map(({ url }) => url)
    const twice = urls.filter((url, i) => urls.indexOf(url) !== i)
    expect(twice, 'requests that were sent with a token more than once').toEqual([])
    expect(sent.length, 'requests that carried a token').toBe(REQUESTS)
    expect(new Set(sent.map(({ token }) => token)).size, 'different tokens').toBe(REQUESTS)
  }, 60_000)
})
