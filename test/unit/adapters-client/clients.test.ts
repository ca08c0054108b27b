import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { CHALLENGE, errorOf, Site, World } from '../http-client/site.ts'
import { type Answer, CLIENTS, type Client, causes } from './clients.ts'

/** What every client does alike, at a server of this test with real tokens of the embedded realm. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (): NegotiateClientOptions => ({ credentials: world.alice, config: world.realm.config })

/** How many requests a login takes. */
const sends = ({ answers }: Client): number => (answers ? 2 : 1)

function proved({ report }: Answer, { reports }: Client): void {
  if (!reports) return
  expect(report).toMatchObject({
    attempted: true,
    serverAuthenticated: true,
    principal: 'alice@EXAMPLE.TEST',
    target: 'HTTP/localhost@EXAMPLE.TEST',
    error: undefined,
  })
}

async function* pieces(): AsyncGenerator<Uint8Array> {
  for (const text of ['one ', 'two ', 'three']) {
    yield Buffer.from(text)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe.each(CLIENTS)('$name', (client) => {
  test('logs in and verifies the server', async () => {
    await using site = await Site.start(world.honest())
    const answer = await client.open(alice())(`${site.url}/page?q=1`)
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    proved(answer, client)
    expect(site.seen.map(({ url }) => url)).toEqual(Array(sends(client)).fill('/page?q=1'))
  })

  test.each([
    ['text', 'one two three'],
    ['bytes', Buffer.from('one two three')],
    ['a stream', pieces],
  ])('sends %s whole', async (_, body) => {
    if (typeof body === 'function' && !client.streams) return
    await using site = await Site.start(world.honest())
    const answer = await client.open(alice())(site.url, { method: 'POST', body })
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(site.seen.map((seen) => seen.body)).toEqual(Array(sends(client)).fill('one two three'))
  })

  test('preemptive: one request each, over connections that are kept', async () => {
    await using site = await Site.start(world.honest())
    const call = client.open({ ...alice(), preemptive: true })
    for (let i = 0; i < 3; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(site.connections).toBeLessThan(3) // undici takes one back a turn after its body has ended
    expect(new Set(site.tokens).size).toBe(3) // C19
  })

  test('forty at once, each with a token of its own', async () => {
    await using site = await Site.start(world.honest((seen, user) => ({ body: `${user} ${seen.url}` })))
    const call = client.open(alice())
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => call(`${site.url}/${i}`)))
    expect(answers.map(({ text }) => text)).toEqual(answers.map((_, i) => `alice@EXAMPLE.TEST /${i}`))
    expect(new Set(site.tokens).size).toBe(40) // C19
  })

  test('no ticket: the 401 comes back', async () => {
    await using site = await Site.start(world.honest())
    const answer = await client.open({ ...alice(), targetName: 'HTTP@nobody.example', origins: [site.url] })(site.url)
    expect(answer).toMatchObject({ status: 401, text: 'who are you?' })
    if (client.reports)
      expect(answer.report).toMatchObject({ attempted: false, error: { code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' } })
    expect(site.tokens).toEqual([])
  })

  test('C12: a server that asks for ever gets no more than its tokens', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const answer = await client.open(alice())(site.url)
    expect(answer).toMatchObject({ status: 401, text: 'who are you?' })
    if (client.reports) expect(answer.report).toMatchObject({ attempted: true, error: { code: 'REJECTED' } })
    expect(site.tokens.length).toBeLessThanOrEqual(2)
  })

  test('C16: an Authorization of the caller’s own is left alone', async () => {
    await using site = await Site.start(async ({ headers }) => ({ body: headers['authorization'] ?? '' }))
    const answer = await client.open(alice())(site.url, { headers: { authorization: 'Bearer mine' } })
    expect(answer).toMatchObject({ status: 200, text: 'Bearer mine', report: undefined })
  })

  test('C16: and nobody else’s request goes over its connection', async () => {
    if (!client.owns) return // the caller's pool is the caller's affair
    await using site = await Site.start(world.honest())
    const call = client.open({ ...alice(), mutualAuthentication: 'optional' })
    await call(site.url, { headers: { authorization: 'Bearer mine' } })
    await call(site.url)
    const [own, ...others] = site.seen.map(({ connection }) => connection)
    expect(others).not.toContain(own)
  })

  test('C20: required, and a page without a proof: an error', async () => {
    await using site = await Site.start(async () => ({ body: 'trust me' }))
    const error = await errorOf(client.open({ ...alice(), mutualAuthentication: 'required' })(site.url))
    expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
    if (client.name.split(',').length === 1) expect(error).toMatchObject({ code: 'MUTUAL_AUTHENTICATION_FAILED' })
  })

  test('C20: required, and an error page without a proof: its status alone', async () => {
    const headers = { 'set-cookie': 'session=evil', server: 'evil/1.0', 'x-evil': 'yes' }
    await using site = await Site.start(async () => ({ status: 500, body: 'trust me', headers }))
    const answer = await client.open({ ...alice(), mutualAuthentication: 'required' })(site.url)
    expect(answer).toMatchObject({ status: 500, text: '' })
    const { date, ...rest } = answer.headers
    expect(rest).toEqual({ 'content-length': '0', server: 'evil/1.0' })
    expect(date).toBeDefined()
  })

  test('C23: a wrong proof is an error, whatever the page says', async () => {
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      const { answer } = await world.accept(token)
      const altered = Buffer.from(answer, 'base64')
      altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1
      return { body: 'trust me', headers: { 'www-authenticate': `Negotiate ${altered.toString('base64')}` } }
    })
    expect(causes(await errorOf(client.open(alice())(site.url)))).toContain('MUTUAL_AUTHENTICATION_FAILED')
  })
})
