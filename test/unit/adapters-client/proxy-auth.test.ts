import { get } from 'node:https'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createProxyAuth, type ProxyAuthOptions } from '../../../src/entries/agent.ts'
import { errorOf, World } from '../http-client/site.ts'
import { tlsSite } from '../http-client/tls-site.ts'
import { guard, PROXY_CHALLENGE, type ProxyScript, ProxySite } from './proxy-site.ts'

/** `createProxyAuth` under `https-proxy-agent`, which asks once for each tunnel. */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const options = (proxy: string): ProxyAuthOptions => ({ proxy, credentials: world.alice, config: world.realm.config })

/** The status that a server behind the proxy answers. */
async function statusThrough(script: ProxyScript, more: Partial<ProxyAuthOptions> = {}): Promise<number | undefined> {
  const site = await tlsSite(world.acceptor, 'rsa-sha256')
  await using proxy = await ProxySite.start(script)
  try {
    const agent = new HttpsProxyAgent(proxy.url, { onProxyAuth: createProxyAuth({ ...options(proxy.url), ...more }) })
    return await new Promise((resolve, reject) => {
      const request = get(site.url, { agent, rejectUnauthorized: false }, (response) => {
        resolve(response.resume().statusCode)
      })
      request.on('error', reject)
    })
  } finally {
    site.server.closeAllConnections()
    site.server.close()
  }
}

describe('createProxyAuth', () => {
  test('logs in, and the server behind it is asked as ever', async () => {
    const users: string[] = []
    expect(await statusThrough(guard(world, { users }))).toBe(401)
    expect(users).toEqual(['alice@EXAMPLE.TEST'])
  })

  test('with a user and a name of its own', async () => {
    const users: string[] = []
    const proxy = { url: 'http://localhost:1', targetName: 'HTTP@proxy.corp.example', credentials: world.bob }
    expect(await statusThrough(guard(world, { users }), { proxy })).toBe(401)
    expect(users).toEqual(['bob@EXAMPLE.TEST'])
  })

  test('each tunnel has a token of its own', async () => {
    const answer = createProxyAuth(options('http://localhost:3128'))
    const challenge = { response: { headers: { 'proxy-authenticate': ['Basic realm="x"', 'Negotiate'] } } }
    const both = await Promise.all([answer(challenge), answer(challenge)])
    expect(new Set(both.map(({ headers }) => headers['Proxy-Authorization'])).size).toBe(2)
    for (const { headers } of both) expect(headers['Proxy-Authorization']).toMatch(/^Negotiate YI/)
  })

  test('another kind of login is not done, and no ticket is an error with its reason', async () => {
    const basic: ProxyScript = async () => ({
      ...PROXY_CHALLENGE,
      headers: { 'proxy-authenticate': 'Basic realm="x"' },
    })
    expect(await errorOf(statusThrough(basic))).toMatchObject({ code: 'PROXY_LOGIN_FAILED' })
    const proxy = { url: 'http://localhost:1', targetName: 'HTTP@unknown.corp.example' }
    expect(await errorOf(statusThrough(guard(world), { proxy }))).toMatchObject({
      code: 'PROXY_LOGIN_FAILED',
      cause: { code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' },
    })
  })

  test('options are checked at once', () => {
    const codeOf = (given: object) => {
      try {
        createProxyAuth(given as ProxyAuthOptions)
        return undefined
      } catch (error) {
        return (error as { code?: string }).code
      }
    }
    expect(codeOf({ proxy: 'http://localhost:3128', origins: [] })).toBe('OPTION_UNKNOWN')
    expect(codeOf({ proxy: 'environment' })).toBe('OPTION_INVALID')
    expect(codeOf({})).toBe('OPTION_INVALID')
  })
})
