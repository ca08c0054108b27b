import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { wantsMic } from '../http-client/mic-site.ts'
import { CHALLENGE, errorOf, type Reply, type Seen, Site, World } from '../http-client/site.ts'
import { CLIENTS, causes } from './clients.ts'

/** Calls of several requests: redirects, and what is sent again. */

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

/** The paths that were asked for, those with a token marked. */
const trail = (site: Site): readonly string[] =>
  site.seen.map(({ url, token }) => (token === undefined ? url : `${url}*`))

const answering = CLIENTS.filter(({ answers, follows }) => answers && follows)
const following = CLIENTS.filter(({ follows }) => follows)

describe.each(following)('$name follows redirects', ({ open, answers }) => {
  test('each hop has a token of its own', async () => {
    await using site = await Site.start(async (seen, nth) =>
      seen.token !== undefined && seen.url === '/a'
        ? { ...(await world.honest(() => to('/b'))(seen, nth, {} as never)) }
        : world.honest()(seen, nth, {} as never),
    )
    const answer = await open(alice())(`${site.url}/a`)
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(trail(site)).toEqual(answers ? ['/a', '/a*', '/b', '/b*'] : ['/a*', '/b*'])
    expect(new Set(site.tokens).size).toBe(2) // C04
  })

  test('C01 C02: an origin that was not named gets none, not even on another port', async () => {
    await using other = await Site.start(async () => CHALLENGE)
    await using site = await Site.start(world.honest(() => to(`${other.url}/b`)))
    const answer = await open(alice({ origins: [site.url] }))(`${site.url}/a`)
    expect(answer).toMatchObject({ status: 401, text: 'who are you?' })
    expect(trail(other)).toEqual(['/b'])
    expect(site.tokens).toHaveLength(1)
  })

  test('C03: an explicit name is for the origins it was given for', async () => {
    await using other = await Site.start(async () => CHALLENGE)
    await using site = await Site.start(world.honest(() => to(`${other.url}/b`)))
    const options = { targetName: 'HTTP@localhost', origins: [site.url], preemptive: true }
    await open(alice(options))(`${site.url}/a`)
    expect(trail(other)).toEqual(['/b'])
  })

  test('C04: a redirect that comes back gets another token', async () => {
    let site: Site | undefined
    await using other = await Site.start(async () => to(`${site?.url}/c`))
    await using own = await Site.start(async (seen, nth, response) =>
      world.honest((_, user) => (seen.url === '/a' ? to(`${other.url}/b`) : { body: user }))(seen, nth, response),
    )
    site = own
    const answer = await open(alice({ origins: [own.url] }))(`${own.url}/a`)
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect([trail(other), new Set(own.tokens).size]).toEqual([['/b'], 2])
  })

  test('C25: a redirect with a wrong proof is not followed', async () => {
    await using site = await Site.start(async ({ token, url }) => {
      if (token === undefined) return CHALLENGE
      const { answer } = await world.accept(token)
      const bytes = Buffer.from(answer, 'base64')
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
      const proof = { 'www-authenticate': `Negotiate ${bytes.toString('base64')}` }
      return url === '/a' ? { status: 302, headers: { ...proof, location: '/b' } } : { headers: proof }
    })
    const error = await errorOf(open(alice())(`${site.url}/a`))
    expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
    expect(trail(site).map((path) => path.slice(0, 2))).not.toContain('/b')
  })
})

describe.each(answering)('$name goes on', ({ open }) => {
  test('from the redirect that asked, without doing again what led there', async () => {
    const script = async (seen: Seen, nth: number): Promise<Reply> =>
      seen.url === '/order' ? to('/receipt?n=1', 303) : ((await world.honest()(seen, nth, {} as never)) as Reply)
    await using site = await Site.start(script)
    const headers = { 'x-kept': 'yes' }
    const answer = await open(alice())(`${site.url}/order`, { method: 'POST', body: 'one', headers })
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(trail(site)).toEqual(['/order', '/receipt?n=1', '/receipt?n=1*'])
    expect(site.seen.map(({ method }) => method)).toEqual(['POST', 'GET', 'GET'])
    expect(site.seen.map((seen) => seen.body)).toEqual(['one', '', ''])
    expect(site.seen[2]?.headers).toMatchObject({ 'x-kept': 'yes' })
    expect(site.seen[2]?.headers['content-length']).toBeUndefined()
  })

  test('with method and body where a redirect keeps them', async () => {
    const script = async (seen: Seen, nth: number): Promise<Reply> =>
      seen.url === '/a' ? to('/b', 307) : ((await world.honest()(seen, nth, {} as never)) as Reply)
    await using site = await Site.start(script)
    const answer = await open(alice())(`${site.url}/a`, { method: 'PUT', body: 'one' })
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(site.seen.map(({ method, body }) => `${method} ${body}`)).toEqual(['PUT one', 'PUT one', 'PUT one'])
  })

  test('not for ever: a server that redirects and asks without an end', async () => {
    let n = 0
    await using site = await Site.start(async (seen, nth, response) => {
      if (seen.token === undefined) return CHALLENGE
      return world.honest(() => to(`/${++n}`))(seen, nth, response)
    })
    await errorOf(open(alice())(`${site.url}/0`))
    expect(site.seen.length).toBeLessThan(60)
  })

  test('C11: a one-shot body that is too long goes with a token at once, whole and once', async () => {
    await using site = await Site.start(world.honest())
    const body = async function* () {
      for (let i = 0; i < 8; i++) yield new Uint8Array(1000).fill(65 + i)
    }
    const answer = await open(alice({ maxReplayBodyBytes: 2000 }))(site.url, { method: 'POST', body })
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(site.seen.map((seen) => seen.body.length)).toEqual([8000])
    expect(site.seen[0]?.body).toMatch(/^A{1000}B{1000}C{1000}D{1000}E{1000}F{1000}G{1000}H{1000}$/)
  })

  test('C11: and is an error when the server asks all the same', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const body = async function* () {
      for (let i = 0; i < 8; i++) yield new Uint8Array(1000).fill(65 + i)
    }
    const options = alice({ maxReplayBodyBytes: 2000, targetName: 'HTTP@nobody.example' })
    const answer = await open(options)(site.url, { method: 'POST', body }).catch((error: unknown) => error)
    // Without a ticket there is nothing to send a second time.
    expect(answer).toMatchObject({ status: 401 })
    await using again = await Site.start(wantsMic(world.acceptor))
    const error = await errorOf(open(alice({ maxReplayBodyBytes: 2000 }))(again.url, { method: 'POST', body }))
    expect(causes(error)).toContain('BODY_NOT_REPLAYABLE')
    expect(again.seen.map((seen) => seen.body.length)).toEqual([8000])
  })

  test('and when the body itself fails, so does the call', async () => {
    await using site = await Site.start(world.honest())
    const body = async function* () {
      yield new Uint8Array(10)
      throw new Error('the disk is gone')
    }
    const error = await errorOf(open(alice())(site.url, { method: 'POST', body }))
    expect(String((error as Error).message) + String((error as Error).cause)).toMatch(/the disk is gone/)
    expect(site.seen).toEqual([])
  })
})

describe.each(CLIENTS.filter(({ legs }) => legs))('$name', ({ open }) => {
  test('on one connection where the server keeps its half there (RFC 4559 §6)', async () => {
    await using site = await Site.start(wantsMic(world.acceptor))
    const call = open(alice())
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => call(site.url)))
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
        expect(answer.report).toMatchObject({ serverAuthenticated: true, error: undefined })
      }
    }
  })
})

describe.each(CLIENTS.filter(({ legs }) => !legs))('$name', ({ open, reports }) => {
  test('cannot stay on one connection: then a second token has no answer, or a refusal, and never an end of its own', async () => {
    await using site = await Site.start(wantsMic(world.acceptor))
    const { status, report } = await open(alice())(site.url)
    expect([200, 400, 401]).toContain(status)
    if (reports && status === 401) expect(report?.error).toBeDefined()
    expect(site.tokens.length).toBeLessThanOrEqual(3)
  })
})
