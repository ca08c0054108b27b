import { readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { fromBase64, toBase64 } from '../../../src/bytes/base64.ts'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { stringToKey } from '../../../src/crypto/index.ts'
import { CredentialCache, Credentials, createAcceptor, Keytab } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { KeytabEntry } from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { CHALLENGE, type Script, Site } from '../http-client/site.ts'
import { CLIENTS } from './clients.ts'

/** A service whose key is changed while the client still has a ticket under the old one. */

const SERVICE = 'HTTP/localhost'
const ALICE = 'alice@EXAMPLE.TEST'

let realm: TestRealm
let password: string
beforeEach(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  password = 'first key'
  realm = await TestRealm.start({
    realm: 'EXAMPLE.TEST',
    users: { alice: 'correct horse battery staple', [SERVICE]: password },
    services: ['HTTP/other.example.test'],
  })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await realm.stop()
})

/** The realm and the server go on with another key; tickets that were issued are under the old one. */
function changeKey(): void {
  password = 'second key'
  realm.setPassword(SERVICE, password)
}

async function keytab(): Promise<Keytab> {
  const principal = Principal.parse(`${SERVICE}@EXAMPLE.TEST`)
  const key = await stringToKey(18, password, utf8('EXAMPLE.TESTHTTPlocalhost'))
  const kvno = password === 'first key' ? 1 : 2
  return Keytab.of([new KeytabEntry({ principal, kvno, enctype: 18, key: key.toBytes(), timestamp: new Date() })])
}

/** Accepts tickets under the service's present key, and refuses all others. */
const server: Script = async ({ token }) => {
  if (token === undefined) return CHALLENGE
  const acceptor = await createAcceptor({ keytab: await keytab(), principal: 'any' })
  try {
    const context = acceptor.createContext()
    const { token: answer = new Uint8Array(0) } = await context.step(fromBase64(token, 'token'))
    return { body: String(context.peer), headers: { 'www-authenticate': `Negotiate ${toBase64(answer)}` } }
  } catch {
    return CHALLENGE
  } finally {
    await acceptor.close()
  }
}

const login = () => Credentials.forRealm(ALICE, 'correct horse battery staple', realm.config)
const options = (credentials: Credentials, more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials,
  config: realm.config,
  ...more,
})

async function* longBody(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 4; i++) yield new Uint8Array(1000).fill(65)
}

const ANSWERING = CLIENTS.filter(({ answers }) => answers)

describe.each(ANSWERING)('$name', ({ open }) => {
  test('C75: a ticket under an old key is replaced, and the request sent once more', async () => {
    await using site = await Site.start(server)
    const call = open(options(login(), { preemptive: true }))
    expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    changeKey()
    const answer = await call(site.url, { method: 'POST', body: 'one' })
    expect(answer).toMatchObject({ status: 200, text: ALICE })
    expect(answer.report).toMatchObject({ serverAuthenticated: true, error: undefined })
    expect(site.seen.map(({ body }) => body)).toEqual(['', 'one', 'one'])
    expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.tokens.length).toBe(4) // the accepted ticket is the one that is kept
    expect(new Set(site.tokens).size).toBe(4)
  })

  test('C75: many requests at once share the new ticket', async () => {
    await using site = await Site.start(server)
    const call = open(options(login()))
    await call(site.url)
    changeKey()
    const answers = await Promise.all(Array.from({ length: 10 }, () => call(site.url)))
    expect(answers.map(({ text }) => text)).toEqual(Array(10).fill(ALICE))
  })

  test('C76: a server that refuses all gets one more token a minute; the first error is reported, the ticket kept', async () => {
    let refuses = false
    let reason = 'first'
    await using site = await Site.start(async (seen, nth, response) => {
      if (!refuses) return server(seen, nth, response)
      if (seen.token === undefined) return CHALLENGE
      const reject = reason === 'first' ? 'Negotiate oQcwBaADCgEC' : 'Negotiate' // NegTokenResp, reject (RFC 4178 §4.2.2)
      reason = 'second'
      return { ...CHALLENGE, headers: { 'www-authenticate': reject } }
    })
    const call = open(options(login(), { preemptive: true }))
    await call(site.url)
    refuses = true
    const answer = await call(site.url)
    expect(answer).toMatchObject({ status: 401, text: 'who are you?' })
    expect(answer.report?.error).toMatchObject({
      code: 'REJECTED',
      message: expect.stringContaining('rejected the ticket'),
    })
    expect(site.tokens.length).toBe(3)
    expect(await call(site.url)).toMatchObject({ status: 401 })
    expect(site.tokens.length).toBe(4)
    refuses = false
    expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.tokens.length).toBe(5)
  })

  test('C76: a ticket that was fetched for this request is not stale', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    expect(await open(options(login()))(site.url)).toMatchObject({ status: 401 })
    expect(site.tokens.length).toBe(1)
  })

  test('C76: what cannot be sent again is not', async () => {
    await using site = await Site.start(server)
    const call = open(options(login(), { maxReplayBodyBytes: 1000 }))
    await call(site.url)
    changeKey()
    const sent = site.seen.length
    expect(await call(site.url, { method: 'POST', body: longBody })).toMatchObject({ status: 401 })
    expect(site.seen.length).toBe(sent + 1)
  })

  test('C76: without a KDC the first error is reported', async () => {
    await using site = await Site.start(server)
    const call = open(options(login(), { preemptive: true, loginTimeoutMs: 500 }))
    await call(site.url)
    changeKey()
    await realm.stop()
    const answer = await call(site.url)
    expect([answer.status, answer.report?.error?.code, site.tokens.length]).toEqual([401, 'REJECTED', 2])
  })

  test('C77: a ticket in a cache is replaced there when the server has accepted the new one, and not before', async () => {
    const cache = join(await mkdtemp(join(tmpdir(), 'cache-')), 'cc')
    const credentials = login()
    let refuses = false
    await using site = await Site.start(async (seen, nth, response) =>
      refuses ? CHALLENGE : server(seen, nth, response),
    )
    await open(options(credentials))(site.url)
    await credentials.save(`FILE:${cache}`)
    const before = readFileSync(cache)
    changeKey()
    refuses = true
    const fromCache = () => open(options(Credentials.fromCache(`FILE:${cache}`)))
    expect(await fromCache()(site.url)).toMatchObject({ status: 401 })
    expect(readFileSync(cache).equals(before)).toBe(true)
    refuses = false
    expect(await fromCache()(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(readFileSync(cache).equals(before)).toBe(false)
    const services = (await CredentialCache.load(`FILE:${cache}`)).tickets.map(({ server }) => String(server))
    expect(services.filter((name) => name.startsWith('HTTP/'))).toEqual([`${SERVICE}@EXAMPLE.TEST`])
    const sent = site.tokens.length
    expect(await fromCache()(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.tokens.length).toBe(sent + 1)
  })
})

describe.each(CLIENTS.filter(({ answers }) => !answers))('$name', ({ open }) => {
  test('C76: sends once: the 401 comes back', async () => {
    await using site = await Site.start(server)
    const call = open(options(login()))
    await call(site.url)
    changeKey()
    expect(await call(site.url)).toMatchObject({ status: 401 })
    expect(site.tokens.length).toBe(2)
  })
})
