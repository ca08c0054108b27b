import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { KerberosTicket } from '../../../src/entries/index.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { errorOf, Site, World } from '../http-client/site.ts'
import { CLIENTS, type Client } from './clients.ts'
import { guard, ProxySite } from './proxy-site.ts'

/** Challenges of servers and proxies that break the grammar of RFC 9110 §11.3, with a good Negotiate beside them. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const ALICE = 'alice@EXAMPLE.TEST'
const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

/** Field values of one response, where Negotiate stands as `%`. */
const BESIDE: readonly (readonly string[])[] = [
  ['%', 'Basic realm=Secure Area'],
  ['Basic realm=Secure Area', '%'],
  ['Basic realm=Secure Area, %'],
  ['%, Basic realm=Secure Area'],
  ['Bearer authorization_uri=https://login.corp.example/oauth?a=b, %'],
  ['Digest realm="a" nonce="b" qop="auth"', '%'],
  ['Digest realm="a, b" nonce="c", %'],
  ['NTLM, %, Basic realm=Secure Area'],
]

/** What is no challenge, though it looks like one. */
const WITHIN = [
  'Basic realm="Negotiate"',
  'Basic realm="a, Negotiate, b" x y',
  'Basic realm="a\\", Negotiate, \\"b" x y',
  'Digest realm=Negotiate Area',
  'Basic realm="never ends, Negotiate',
  'Basic realm=Secure Area Negotiate',
]

const filled = (fields: readonly string[], negotiate: string): readonly string[] =>
  fields.map((field) => field.replace('%', negotiate))
/** As `fetch` shows several. */
const joined = (fields: readonly string[], negotiate: string): string => filled(fields, negotiate).join(', ')

/** An honest server, whose challenges and proofs stand beside broken ones. */
const beside = (fields: readonly string[]): Promise<Site> =>
  Site.start(async ({ token }) => {
    if (token === undefined) return { status: 401, headers: { 'www-authenticate': filled(fields, 'Negotiate') } }
    const { answer, user } = await world.accept(token)
    return { body: user, headers: { 'www-authenticate': filled(fields, `Negotiate ${answer}`) } }
  })

const ANSWERING = CLIENTS.filter(({ answers }) => answers)
const reportOf = (client: Client, report: object): object => (client.reports ? { report } : {})

describe.each(CLIENTS)('$name', (client) => {
  test.each(BESIDE.map((fields) => ({ fields })))('P44: a 401 with $fields hides no Negotiate', async ({ fields }) => {
    await using site = await beside(fields)
    const answer = await client.open(alice({ mutualAuthentication: 'optional' }))(site.url)
    const report = { serverAuthenticated: true, error: undefined }
    expect(answer).toMatchObject({ status: 200, text: ALICE, ...reportOf(client, report) })
  })

  test.each(BESIDE.map((fields) => ({ fields })))('P44: a 407 with $fields hides no Negotiate', async ({ fields }) => {
    if (!client.proxies) return
    await using site = await Site.start(async () => ({ body: 'page' }))
    const passes = guard(world)
    await using proxy = await ProxySite.start(async (seen, nth) =>
      seen.token === undefined
        ? { status: 407, headers: { 'proxy-authenticate': joined(fields, 'Negotiate') } }
        : passes(seen, nth),
    )
    const options = alice({ proxy: { url: proxy.url, preemptive: false, tunnel: true } })
    expect(await client.open(options)(site.url)).toMatchObject({ status: 200, text: 'page' })
    const absolute = alice({ proxy: { url: proxy.url, preemptive: false } })
    expect(await client.open(absolute)(site.url)).toMatchObject({ status: 200, text: 'page' })
  })
})

describe.each(ANSWERING)('$name', (client) => {
  test.each(WITHIN)('P45: a 401 with %j asks for no login', async (field) => {
    await using site = await Site.start(async () => ({
      status: 401,
      headers: { 'www-authenticate': field },
      body: 'who?',
    }))
    expect(await client.open(alice())(site.url)).toMatchObject({ status: 401, text: 'who?' })
    expect(site.tokens).toEqual([])
  })

  test.each(WITHIN)('P45: a 407 with %j asks for no login', async (field) => {
    if (!client.proxies) return
    await using proxy = await ProxySite.start(async () => ({ status: 407, headers: { 'proxy-authenticate': field } }))
    const options = alice({ proxy: { url: proxy.url, preemptive: false } })
    expect(await errorOf(client.open(options)('http://localhost:65000'))).toBeInstanceOf(Error)
    expect(proxy.tokens).toEqual([])
  })
})

describe('KerberosTicket', () => {
  const ticket = () => KerberosTicket.for('HTTP@localhost', { credentials: world.alice, config: world.realm.config })
  const proofOf = async ({ authorization }: KerberosTicket) => (await world.accept(authorization.slice(10))).answer

  test.each(BESIDE.map((fields) => ({ fields })))('P44: finds its proof beside $fields', async ({ fields }) => {
    const one = await ticket()
    await one.verify(joined(fields, `Negotiate ${await proofOf(one)}`))
  })

  test.each(WITHIN)('P45: finds none in %j', async (field) => {
    const one = await ticket()
    const text = field.replace('Negotiate', `Negotiate ${await proofOf(one)}`)
    expect(await errorOf(one.verify(text))).toMatchObject({ code: 'MUTUAL_AUTHENTICATION_FAILED' })
  })
})
