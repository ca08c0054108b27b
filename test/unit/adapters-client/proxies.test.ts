import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import type { ProxyLoginOptions } from '../../../src/entries/wiring/proxy.ts'
import { Site, World } from '../http-client/site.ts'
import { type TlsSite, tlsSite } from '../http-client/tls-site.ts'
import { CLIENTS } from './clients.ts'
import { guard, ProxySite } from './proxy-site.ts'

/** Every client through a proxy that wants a login (RFC 9110 §11.7): http in absolute form, https and, when asked, http through CONNECT. */

let world: World
beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed; Squid's tests have a certificate that is verified
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const PROXIED = CLIENTS.filter(({ proxies }) => proxies)

function through(
  proxy: ProxySite,
  more: Partial<ProxyLoginOptions> = {},
  rest: NegotiateClientOptions = {},
): NegotiateClientOptions {
  return { credentials: world.alice, config: world.realm.config, proxy: { url: proxy.url, ...more }, ...rest }
}

async function secure(): Promise<TlsSite & AsyncDisposable> {
  const site = await tlsSite(world.acceptor, 'rsa-sha256')
  const end = async () => {
    site.server.closeAllConnections()
    await new Promise((resolve) => site.server.close(resolve))
  }
  return Object.assign(site, { [Symbol.asyncDispose]: end })
}

const OTHER_NAME = { targetName: 'HTTP@proxy.corp.example' } as const
const ALICE = 'alice@EXAMPLE.TEST'

/** Tokens are used once, and for one party. */
function allDiffer(...lists: readonly (readonly string[])[]): void {
  const all = lists.flat()
  expect(new Set(all).size).toBe(all.length)
}

describe.each(PROXIED)('https: $name', (client) => {
  test.each([false, true])('a tunnel with a login, and the server’s own inside; preemptive: %s', async (preemptive) => {
    await using site = await secure()
    await using proxy = await ProxySite.start(guard(world))
    const call = client.open(through(proxy, { ...OTHER_NAME, preemptive }))
    for (let i = 0; i < 3; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: ALICE })
    expect(site.served.map(({ bound }) => bound)).toEqual(Array(3).fill(client.owns))
    for (const { method, target, headers } of proxy.seen) {
      expect([method, target]).toEqual(['CONNECT', new URL(site.url).host])
      expect(headers['authorization']).toBeUndefined()
    }
    const asked = proxy.seen.filter(({ token }) => token === undefined)
    if (preemptive) expect(asked).toEqual([])
    else expect(asked.length).toBeGreaterThan(0)
    allDiffer(proxy.tokens)
  })
})

describe.each(PROXIED)('http in absolute form: $name', (client) => {
  test.each([false, true])('both logins in one request; preemptive: %s', async (preemptive) => {
    await using site = await Site.start(world.honest())
    await using proxy = await ProxySite.start(guard(world))
    const call = client.open(through(proxy, { ...OTHER_NAME, preemptive }))
    for (let i = 0; i < 2; i++) {
      const answer = await call(`${site.url}/page?q=1`)
      if (!client.answers) {
        // The server's token goes with a second request, and this one is sent once.
        expect(answer.status).toBe(401)
        if (client.reports) expect(answer.report?.error?.code).toBe('CONTINUE_NEEDED')
        continue
      }
      expect(answer).toMatchObject({ status: 200, text: ALICE })
      const proxyReport = { attempted: true, principal: ALICE, target: 'HTTP/proxy.corp.example@EXAMPLE.TEST' }
      if (client.reports) expect(answer.report).toMatchObject({ serverAuthenticated: true, proxy: proxyReport })
    }
    expect(proxy.seen.every(({ target }) => target === `${site.url}/page?q=1`)).toBe(true)
    expect(site.seen.every(({ headers }) => headers['proxy-authorization'] === undefined)).toBe(true)
    expect(site.seen.every(({ url }) => url === '/page?q=1')).toBe(true)
    allDiffer(proxy.tokens, site.tokens)
    const both = proxy.seen.filter(
      ({ token, headers }) => token !== undefined && headers['authorization'] !== undefined,
    )
    if (client.answers) expect(both.length).toBe(2)
  })
})
