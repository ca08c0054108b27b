import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { Credentials, KerberosClient, Krb5Config } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'

/** RFC 3244 from password to password, at the embedded realm. `test/recorded/kpasswd.test.ts` has MIT's side, `test/interop` the living ones. */

let realm: TestRealm | undefined
afterEach(async () => {
  await realm?.stop()
})

async function start(options: Parameters<typeof TestRealm.start>[0] = {}): Promise<TestRealm> {
  realm = await TestRealm.start({ users: { alice: 'old password' }, ...options })
  return realm
}

/** Credentials that know the realm. */
async function alice(password = 'old password', at = realm as TestRealm): Promise<Credentials> {
  return Credentials.forRealm('alice@EXAMPLE.TEST', password, at.config)
}

describe('credentials.changePassword', () => {
  test('the new password counts, the old one does not, and these credentials go on with the new one', async () => {
    const { config } = await start()
    const credentials = await alice()
    await credentials.login()
    await credentials.changePassword('nouveau mot de passe: é')
    await expect((await alice()).login()).rejects.toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
    expect((await (await alice('nouveau mot de passe: é')).login()).principal).toBe('alice@EXAMPLE.TEST')
    await credentials.changePassword(new TextEncoder().encode('third'))
    const client = new KerberosClient({ credentials, config })
    expect(`${(await client.getTicket('HTTP/localhost')).server}`).toBe('HTTP/localhost@EXAMPLE.TEST')
    expect((await realm?.login('alice')) instanceof Credentials).toBe(true) // the realm follows
  })

  test('an expired password: the login says how to change it, and it can be changed', async () => {
    await start({ users: { alice: { password: 'old password', passwordExpired: true } } })
    const credentials = await alice()
    const failure = await credentials.login().catch((error: unknown) => error)
    expect(failure).toMatchObject({
      code: 'KDC_ERR_KEY_EXPIRED',
      hint: expect.stringMatching(/spnego passwd.*changePassword/),
    })
    await credentials.changePassword('new password')
    expect((await credentials.login()).principal).toBe('alice@EXAMPLE.TEST')
  })

  test('over UDP where TCP is closed', async () => {
    const { config } = await start()
    const [server] = config.kpasswdServers('EXAMPLE.TEST')
    const text = `[libdefaults]\n default_realm = EXAMPLE.TEST\n[realms]\n EXAMPLE.TEST = {\n kdc = 127.0.0.1:${realm?.port}\n kpasswd_server = udp/127.0.0.1:${server?.port}\n }`
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'old password', Krb5Config.parse(text))
    await credentials.changePassword('over udp')
    expect((await (await alice('over udp')).login()).principal).toBe('alice@EXAMPLE.TEST')
  })

  const refusals: readonly [string, Parameters<typeof TestRealm.start>[0], string, string, string, RegExp][] = [
    ['a wrong old password', {}, 'wrong', 'new password', 'KDC_ERR_PREAUTH_FAILED', /./],
    ['a new one that is too short', {}, 'old password', 'abc', 'PASSWORD_REFUSED', /fewer than 4/],
    ['the same again', {}, 'old password', 'old password', 'PASSWORD_REFUSED', /used before/],
    [
      'a realm that takes none',
      { faults: ['password-refused'] },
      'old password',
      'x'.repeat(20),
      'PASSWORD_REFUSED',
      /good enough/,
    ],
  ]
  for (const [what, options, old, fresh, code, message] of refusals) {
    test(`${what}: ${code}, and nothing has changed; S80 no password in the error`, async () => {
      await start(options)
      const credentials = await alice(old)
      const failure = await credentials.changePassword(fresh).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code, message: expect.stringMatching(message) })
      expect(inspect(failure, { depth: 9 })).not.toContain(fresh)
      if (options?.faults === undefined) expect((await (await alice()).login()).principal).toBe('alice@EXAMPLE.TEST')
    })
  }

  for (const fault of ['silent', 'garbage']) {
    test(`a realm that is ${fault}: an error in time`, async () => {
      await start({ faults: [fault] })
      const store = Credentials.storeOf(await alice())
      const failure = await store.changePassword(new Uint8Array(9), { timeoutMs: 300 }).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: fault === 'silent' ? 'KDC_TIMEOUT' : 'MALFORMED' })
    })
  }

  test('credentials without a password cannot change it', async () => {
    await start({ services: ['HTTP/localhost'] })
    for (const credentials of [
      Credentials.fromKeytab('HTTP/localhost@EXAMPLE.TEST', (realm as TestRealm).keytab('HTTP/localhost')),
      Credentials.fromCache('MEMORY:none'),
    ]) {
      await expect(credentials.changePassword('new password')).rejects.toMatchObject({ code: 'PASSWORD_NEEDED' })
    }
  })

  test('a new password of a wrong type is refused before anything is sent', async () => {
    await start()
    for (const wrong of [undefined, 5, null, {}, '\ud800']) {
      await expect((await alice()).changePassword(wrong as string)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    }
    await (await alice()).login()
  })
})
