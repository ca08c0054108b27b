import { describe, expect, test } from 'vitest'
import { CredentialError } from '../../../src/errors.ts'
import type { SecurityContext } from '../../../src/gss/context.ts'
import type { InitiatorContexts, Next } from '../../../src/http/client.ts'
import { clientSettings } from '../../../src/http/client-options.ts'
import { loginOf } from '../../../src/http/proxied-login.ts'
import { HttpProxy, ProxyOwnerChanged } from '../../../src/http/proxy.ts'

const PROXY_URL = new URL('http://proxy.corp.example:3128')
const SECURE = new URL('https://web.corp.example/')
const PLAIN = new URL('http://web.corp.example/')
const CAN = { signal: undefined, canPin: undefined, canResend: undefined }

/** Whose credentials they are, now; undefined: nobody's. */
class Login implements InitiatorContexts {
  user: string | undefined = 'alice@X'
  readonly asked: unknown[] = []

  async open(target: unknown, options: { delegation: string }) {
    this.asked.push([target, options.delegation])
    if (this.user === undefined) throw new CredentialError('NO_CREDENTIALS', 'none')
    const context = { step: async () => ({ token: Uint8Array.of(1) }), complete: false, dispose() {} }
    return {
      principal: this.user,
      target: `${String(target)}@X`,
      mechanism: 'spnego' as const,
      delegated: false,
      begin: () => context as unknown as SecurityContext,
    }
  }
}

function proxyOf(login: Login, options = {}, how = {}): HttpProxy {
  const settings = clientSettings('test', { mutualAuthentication: 'optional', ...options })
  return new HttpProxy(PROXY_URL, settings, login, { tunnelsAll: false, keepsApart: true, ...how })
}

const asks = () => ['Negotiate']

describe('who is logged in at a proxy', () => {
  test('nobody is asked for as long as the proxy asks nobody', async () => {
    const login = new Login()
    const proxy = proxyOf(login)
    for (const url of [SECURE, PLAIN]) {
      expect(await proxy.wayTo(url, false, undefined)).toMatchObject({ owner: undefined, isTunnel: url === SECURE })
    }
    expect(login.asked).toEqual([])
  })

  test('when it asks, the connection is given up, and the next one is its owner’s', async () => {
    const login = new Login()
    const proxy = proxyOf(login)
    await expect(proxy.login(undefined, CAN).next(407, asks)).rejects.toBeInstanceOf(ProxyOwnerChanged)
    const { owner } = await proxy.wayTo(SECURE, false, undefined)
    expect(owner).toBe('alice@X HTTP@proxy.corp.example@X')
    const next = await proxy.login(owner, CAN).next(407, asks)
    expect(next).toEqual({ kind: 'resend', tokens: { 'proxy-authorization': 'Negotiate AQ==' } })
    expect(login.asked.every((one) => JSON.stringify(one) === '["HTTP@proxy.corp.example","never"]')).toBe(true)
  })

  test('C52 a connection of one user never gets the token of another', async () => {
    const login = new Login()
    const proxy = proxyOf(login, { preemptive: true })
    const { owner } = await proxy.wayTo(SECURE, false, undefined)
    login.user = 'bob@X'
    await expect(proxy.login(owner, CAN).first(true)).rejects.toBeInstanceOf(ProxyOwnerChanged)
    await expect(proxy.login(owner, CAN).next(407, asks)).rejects.toBeInstanceOf(ProxyOwnerChanged)
    expect((await proxy.wayTo(SECURE, false, undefined)).owner).not.toBe(owner)
  })

  test('without a ticket the connections are nobody’s, and become nobody else’s', async () => {
    const login = new Login()
    login.user = undefined
    const proxy = proxyOf(login, { preemptive: true })
    const { owner } = await proxy.wayTo(SECURE, false, undefined)
    expect(owner).toBe('nobody')
    expect(await proxy.login(owner, CAN).next(407, asks)).toEqual({ kind: 'deliver' })
    login.user = 'alice@X'
    await expect(proxy.login(owner, CAN).next(407, asks)).rejects.toBeInstanceOf(ProxyOwnerChanged)
  })

  test('where connections are somebody else’s to keep apart, whoever is there logs in', async () => {
    const login = new Login()
    const proxy = proxyOf(login, {}, { keepsApart: false })
    const { owner } = await proxy.wayTo(SECURE, false, undefined)
    expect(await proxy.login(owner, CAN).next(407, asks)).toMatchObject({ kind: 'resend' })
    login.user = 'bob@X'
    expect(await proxy.login(owner, CAN).next(407, asks)).toMatchObject({ kind: 'resend' })
  })

  test('a 401 is not its to ask with', async () => {
    const proxy = proxyOf(new Login())
    expect(await proxy.login(undefined, CAN).next(401, asks)).toEqual({ kind: 'deliver' })
  })
})

describe('C12 tokens for both count together', () => {
  const settings = clientSettings('test', {
    mutualAuthentication: 'optional',
    insecureOrigins: ['http://web.corp.example'],
  })
  const hop = { url: PLAIN, first: PLAIN, cameFromHttps: false, certified: false, canPin: false, signal: undefined }
  const KEEPS_APART = { 'proxy-support': ['Session-Based-Authentication'] }
  const bare = { ...KEEPS_APART, 'www-authenticate': ['Negotiate'], 'proxy-authenticate': ['Negotiate'] }
  const more = { ...KEEPS_APART, 'www-authenticate': ['Negotiate YII='], 'proxy-authenticate': ['Negotiate YII='] }

  function forwarded() {
    const login = new Login()
    const one = loginOf(hop, { settings, contexts: login }, proxyOf(login), false)
    const next = (status: number, fields: Readonly<Record<string, readonly string[]>>) =>
      one.next(status, (name) => fields[name] ?? [])
    return { one, next }
  }

  test('three sends with a token, whichever', async () => {
    const { one, next } = forwarded()
    expect(await one.first(false)).toEqual({})
    expect(Object.keys(await tokensOf(next(407, bare)))).toEqual(['proxy-authorization'])
    expect(Object.keys(await tokensOf(next(407, more)))).toEqual(['proxy-authorization'])
    expect(Object.keys(await tokensOf(next(401, bare))).sort()).toEqual(['authorization', 'proxy-authorization'])
    expect(await next(401, more)).toEqual({ kind: 'deliver' })
    expect(one.report()).toMatchObject({ error: { code: 'TOO_MANY_LEGS' } })
  })

  test('nor does the proxy get a fourth', async () => {
    const { one, next } = forwarded()
    await one.first(false)
    for (const fields of [bare, more, more])
      expect(Object.keys(await tokensOf(next(401, fields)))).toEqual(['authorization'])
    await expect(next(407, bare)).rejects.toMatchObject({
      code: 'PROXY_LOGIN_FAILED',
      cause: { code: 'TOO_MANY_LEGS' },
    })
  })
})

async function tokensOf(next: Promise<Next>): Promise<object> {
  const found = await next
  return found.kind === 'resend' ? found.tokens : {}
}
