import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fromBase64, toBase64 } from '../../../src/bytes/base64.ts'
import { Credentials, type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { createAcceptor, createInitiator, KerberosTicket, Keytab, parseChallenges } from '../../../src/entries/index.ts'
import { tokenKind } from '../../../src/gss/context.ts'
import { CHALLENGE, PASSWORD, type Reply, type Script, Site, World } from './site.ts'

/**
 * What requests-kerberos (RK), requests-gssapi (RG), httpx-gssapi (HG) and the Python module kerberos (PK) are tested for, by number, with real tokens.
 * RK-28 to RK-37 are in `unit/gss/bindings.test.ts` and `unit/entries/channel-bindings.test.ts`, RG-22 and HG-20 in `unit/entries/delegate.test.ts`,
 * RK-38 in `interop/mit-kdc.test.ts`; RK-09 and RK-11 (407) wait for proxies.
 */

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(() => world[Symbol.asyncDispose]())

const client = (options: NegotiateFetchOptions = {}) =>
  negotiateFetch({ credentials: world.alice, config: world.realm.config, ...options })

/** A challenge, then whatever is given; with a token in it that proves nothing. */
const forged = `Negotiate ${toBase64(new TextEncoder().encode('servertoken'))}`
const then =
  (reply: Reply): Script =>
  async ({ token }) =>
    token === undefined ? CHALLENGE : reply

describe('challenges', () => {
  test('RK-01 RG-01 HG-01 the token of a challenge, whatever the case of the scheme', () => {
    for (const scheme of ['negotiate', 'Negotiate', 'NEGOTIATE']) {
      const [challenge] = parseChallenges(`${scheme} dG9rZW4=`)
      expect(new TextDecoder().decode(fromBase64(challenge?.token68 ?? '', 'token'))).toBe('token')
    }
  })

  test('RK-02 RG-02 HG-02 no header, no challenge: the response is as it was', async () => {
    expect(parseChallenges('')).toEqual([])
    await using site = await Site.start(async () => ({ status: 401, body: 'no' }))
    const response = await client()(site.url)
    expect([response.status, await response.text(), negotiated(response)]).toEqual([401, 'no', undefined])
  })

  test('RK-05 RG-05 HG-05 a first challenge that brings a token: nothing was asked yet, so a context begins', async () => {
    await using site = await Site.start(async (seen) => {
      if (seen.token === undefined) return { status: 401, headers: { 'www-authenticate': 'negotiate dG9rZW4=' } }
      const { answer, user } = await world.accept(seen.token)
      return { headers: { 'www-authenticate': `Negotiate ${answer}` }, body: user }
    })
    expect(await (await client()(site.url)).text()).toBe('alice@EXAMPLE.TEST')
  })
})

describe('when a token is sent', () => {
  test('RK-03 RG-03 RG-25 HG-03 HG-21 preemptive: with the first request', async () => {
    await using site = await Site.start(world.honest())
    expect((await client({ preemptive: true })(site.url)).status).toBe(200)
    expect(site.seen.map(({ token }) => token !== undefined)).toEqual([true])
  })

  test('RK-04 RG-04 HG-04 else not', async () => {
    await using site = await Site.start(async () => ({ body: 'open' }))
    expect(await (await client()(site.url)).text()).toBe('open')
    expect(site.tokens).toEqual([])
  })

  test('RK-08 RK-10 RK-21 RG-08 RG-09 RG-19 HG-18 a 401, one more send, and the 200 is the result', async () => {
    await using site = await Site.start(world.honest())
    const response = await client()(site.url)
    expect([response.status, await response.text(), response.redirected]).toEqual([200, 'alice@EXAMPLE.TEST', false])
    expect(site.seen.map(({ token }) => token !== undefined)).toEqual([false, true])
    expect(negotiated(response)).toMatchObject({ attempted: true, serverAuthenticated: true })
  })

  test('RG-20 a 401 to the token, without a challenge: the end, no loop', async () => {
    await using site = await Site.start(then({ status: 401, body: 'still no' }))
    const response = await client()(site.url)
    expect([response.status, await response.text(), site.tokens.length]).toEqual([401, 'still no', 1])
    expect(negotiated(response)?.error?.code).toBe('REJECTED')
  })

  test('HG-26 two requests of one client: each logs in by itself', async () => {
    await using site = await Site.start(world.honest())
    const fetch = client()
    for (let i = 0; i < 2; i++) expect((await fetch(site.url)).status).toBe(200)
    expect(new Set(site.tokens).size).toBe(2)
  })
})

describe('what goes wrong', () => {
  test('RK-06 RG-06 HG-06 no context can be made: the 401 with the reason, thrown when asked for', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const none = { credentials: Credentials.fromCache('MEMORY:nothing') }
    const response = await client(none)(site.url)
    expect([response.status, negotiated(response)?.error?.code]).toEqual([401, 'CACHE_NOT_FOUND'])
    await expect(client({ ...none, onLoginError: 'throw' })(site.url)).rejects.toMatchObject({
      code: 'CACHE_NOT_FOUND',
    })
    expect(site.tokens).toEqual([])
  })

  test('RK-07 RG-07 HG-07 a token that cannot be read, in the answer to ours: the 401 with the reason', async () => {
    await using site = await Site.start(then({ status: 401, headers: { 'www-authenticate': forged } }))
    const response = await client()(site.url)
    expect([response.status, site.tokens.length]).toEqual([401, 1])
    expect(negotiated(response)?.error?.code).toMatch(/MALFORMED/)
  })
})

describe('mutual authentication', () => {
  test('RK-12 RK-13 RK-14 RG-10 RG-11 RG-12 HG-08 HG-09 HG-10 the server’s token is verified, nothing more is sent', async () => {
    await using site = await Site.start(world.honest())
    const response = await client({ mutualAuthentication: 'required' })(site.url)
    expect(negotiated(response)?.serverAuthenticated).toBe(true)
    expect(site.seen).toHaveLength(1)
  })

  const required: readonly [string, Reply][] = [
    ['RK-15 RG-13 HG-11 required, and a 200 without a token', { body: 'trust me' }],
    [
      'RK-16 RG-14 HG-12 required, and one with a wrong token',
      { headers: { 'www-authenticate': forged }, body: 'trust me' },
    ],
  ]
  for (const [what, reply] of required) {
    test(`${what}: MutualAuthenticationError`, async () => {
      await using site = await Site.start(then(reply))
      const sent = client({ mutualAuthentication: 'required' })(site.url)
      await expect(sent).rejects.toMatchObject({ name: 'MutualAuthenticationError' })
    })
  }

  test('HG-13 optional, and a wrong token: an error all the same', async () => {
    await using site = await Site.start(then({ headers: { 'www-authenticate': forged } }))
    const sent = client({ mutualAuthentication: 'optional' })(site.url)
    await expect(sent).rejects.toMatchObject({ name: 'MutualAuthenticationError' })
  })

  const optional: readonly [string, Reply][] = [
    ['RK-18 RG-16 HG-14 optional, and a 200 without a token', { body: 'page', headers: { other: 'x' } }],
    ['RK-20 RG-18 HG-17 optional, and a 500 without a token', { status: 500, body: 'page', headers: { other: 'x' } }],
  ]
  for (const [what, reply] of optional) {
    test(`${what}: delivered as it is`, async () => {
      await using site = await Site.start(then(reply))
      const response = await client({ mutualAuthentication: 'optional' })(site.url)
      expect([response.status, response.headers.get('other'), await response.text()]).toEqual([
        reply.status ?? 200,
        'x',
        'page',
      ])
      expect(negotiated(response)?.serverAuthenticated).toBe(false)
    })
  }

  test('HG-16 an error page whose sender proved nothing: withheld, or delivered with sanitizeErrors: false', async () => {
    const reply = { status: 500, body: 'CONTENT', headers: { other: 'x', server: 'S', 'set-cookie': 'a=b' } }
    await using site = await Site.start(then(reply))
    const strict = await client({ mutualAuthentication: 'required' })(site.url)
    expect([strict.status, await strict.text(), strict.headers.get('other'), strict.headers.get('server')]).toEqual([
      500,
      '',
      null,
      'S',
    ])
    expect([strict.headers.get('content-length'), strict.headers.get('set-cookie')]).toEqual(['0', null])
    const lax = await client({ mutualAuthentication: 'required', sanitizeErrors: false })(site.url)
    expect([lax.status, await lax.text(), lax.headers.get('other')]).toEqual([500, 'CONTENT', 'x'])
  })

  test('HG-26 disabled: a malformed proof is not even looked at', async () => {
    await using site = await Site.start(then({ headers: { 'www-authenticate': "Negotiate b'b3g='" }, body: 'page' }))
    expect(await (await client({ mutualAuthentication: 'disabled' })(site.url)).text()).toBe('page')
  })
})

describe('names and credentials', () => {
  test('RK-23 RG-21 another service', async () => {
    await world.realm.addService('barfoo/localhost')
    await using site = await Site.start(then({ body: 'page' }))
    const response = await client({ service: 'barfoo', mutualAuthentication: 'optional' })(site.url)
    expect(negotiated(response)?.target).toBe('barfoo/localhost@EXAMPLE.TEST')
  })

  for (const targetName of ['web1.corp.example', 'HTTP@web1.corp.example', 'HTTP/web1.corp.example']) {
    test(`RK-27 RG-24 RG-28 HG-24 another host: ${targetName}`, async () => {
      await using site = await Site.start(world.honest())
      expect(negotiated(await client({ targetName })(site.url))?.target).toBe('HTTP/web1.corp.example@EXAMPLE.TEST')
    })
  }

  test('RK-25 RG-23 the principal chooses in a collection, and must be the one of what is given', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'spnego-ancestors-'))
    vi.stubEnv('KRB5CCNAME', `DIR:${join(folder, 'cc')}`)
    try {
      await world.alice.save()
      await world.bob.save()
      await using site = await Site.start(world.honest())
      const fetch = (principal: string) => negotiateFetch({ principal, config: world.realm.config })
      for (const user of ['alice', 'bob'])
        expect(await (await fetch(`${user}@EXAMPLE.TEST`)(site.url)).text()).toBe(`${user}@EXAMPLE.TEST`)
      const other = await client({ principal: 'bob@EXAMPLE.TEST' })(site.url)
      expect([other.status, negotiated(other)?.error?.code]).toEqual([401, 'NO_CREDENTIALS'])
    } finally {
      vi.unstubAllEnvs()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('RK-26 RG-26 HG-22 a password, or credentials made elsewhere', async () => {
    await using site = await Site.start(world.honest())
    const credentials = Credentials.fromPassword('alice@EXAMPLE.TEST', PASSWORD)
    expect(await (await client({ credentials })(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    expect(await (await client({ credentials: world.bob })(site.url)).text()).toBe('bob@EXAMPLE.TEST')
  })

  test('RG-27 HG-23 HG-25 the mechanism: raw Kerberos when asked for; null is no mechanism', async () => {
    await using site = await Site.start(world.honest())
    for (const mechanism of ['krb5', 'spnego'] as const)
      expect((await client({ mechanism })(site.url)).status).toBe(200)
    expect(site.tokens.map((token) => tokenKind(fromBase64(token, 'token')))).toEqual(['krb5', 'spnego-init'])
    expect(() => client({ mechanism: null as never })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})

describe('the Python module kerberos', () => {
  test('PK-01 the names of a keytab', async () => {
    const { entries } = await Keytab.load(world.realm.environment.KRB5_KTNAME)
    expect(entries.map(({ principal }) => `${principal}`)).toContain('HTTP/localhost@EXAMPLE.TEST')
  })

  test('PK-04 by hand, with a raw token: the answer starts with Negotiate, and verifies', async () => {
    await using site = await Site.start(world.honest())
    const bare = await fetch(site.url)
    expect([bare.status, bare.headers.get('www-authenticate')]).toEqual([401, 'Negotiate'])
    const options = { credentials: world.alice, config: world.realm.config, mechanism: 'krb5' } as const
    const ticket = await KerberosTicket.for('HTTP@localhost', options)
    const response = await fetch(site.url, { headers: { authorization: ticket.authorization } })
    expect([response.status, response.headers.get('www-authenticate')?.slice(0, 10)]).toEqual([200, 'Negotiate '])
    await ticket.verify(response.headers.get('www-authenticate') ?? '')
  })

  test('PK-05 PK-06 acceptors leave no file open, initiators no memory', async () => {
    const { KRB5_KTNAME: keytab } = world.realm.environment
    const openFiles = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === keytab
        } catch {
          return false // it was the directory itself
        }
      })
    for (let i = 0; i < 10; i++) await createAcceptor({ keytab })
    expect(openFiles()).toEqual([])
    const make = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const initiator = await createInitiator({
          target: 'HTTP/localhost',
          credentials: world.alice,
          config: world.realm.config,
        })
        await initiator.step()
        initiator.dispose()
      }
      return process.memoryUsage().heapUsed
    }
    const warm = await make(500)
    expect((await make(3000)) - warm).toBeLessThan(64 * 2 ** 20)
  })
})
