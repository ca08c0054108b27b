import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { negotiated, negotiateFetch } from '../../src/entries/fetch.ts'
import { CredentialCache, Credentials, KerberosClient, Krb5Config } from '../../src/entries/index.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, run, withEnvironment } from './lab.ts'
import { expectRenewalKeeps } from './renewal.ts'

let base: string
let kdc: Peer
let apache: Peer
let restore: () => void
let environment: Environment

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  apache = Peer.start('apache', base, '--keytab', keytab, '--krb5-conf', kdc.get('KRB5_CONFIG'))
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG') }
  restore = withEnvironment(environment)
})

afterAll(() => {
  restore?.()
  apache?.stop()
  kdc?.stop()
  removeFolder(base)
})

/** A cache name of its own for each test. */
function freshCache(): string {
  return `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
}

function configVariant(name: string): Promise<Krb5Config> {
  return Krb5Config.load(kdc.get('KRB5_CONFIG').replace('krb5.conf', name))
}

describe('[MIT KDC] login by us', () => {
  const users = [
    ['alice', 'alice-pw', 'preauthentication, all enctypes'],
    ['bob', 'bob-pw', 'no preauthentication'],
    ['unipw', 'pä ss wörd ☃', 'a UTF-8 password with spaces'],
    ['zoë', 'zoe-pw', 'a UTF-8 name'],
    ['u-oddsalt', 'salt-pw', 'an odd salt'],
    ['u-aes128', 'aes128-pw', 'enctype 17 alone'],
    ['u-aes256', 'aes256-pw', 'enctype 18 alone'],
    ['u-aes128sha2', 'sha256-pw', 'enctype 19 alone'],
    ['u-aes256sha2', 'sha384-pw', 'enctype 20 alone'],
  ] as const
  for (const [user, password, what] of users) {
    test(`password of ${user}: ${what}`, async () => {
      const credentials = Credentials.fromPassword(`${user}@MIT.TEST`, password)
      const { principal, expiresAt } = await credentials.login()
      expect(principal).toBe(`${user}@MIT.TEST`)
      expect(expiresAt.getTime()).toBeGreaterThan(Date.now() + 3_600_000)
    })
  }

  test('K80: a renewal by us keeps what kinit asked for, and kinit -R works afterwards', async () => {
    await expectRenewalKeeps(environment, freshCache(), 'alice', 'alice-pw')
  })

  test('keytab of a user', async () => {
    const credentials = Credentials.fromKeytab('alice@MIT.TEST', join(kdc.get('MIT_KEYTABS'), 'alice.keytab'))
    expect((await credentials.login()).principal).toBe('alice@MIT.TEST')
  })

  for (const protocol of ['tcp', 'udp']) {
    test(`over ${protocol}, and nothing else`, async () => {
      const used: unknown[] = []
      const listen = (event: unknown) => void used.push((event as { protocol: string }).protocol)
      subscribe('spnego:kdc', listen)
      const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
      const client = new KerberosClient({ credentials, config: await configVariant(`krb5-${protocol}.conf`) })
      const ticket = await client.getTicket('HTTP@www.mit.test')
      unsubscribe('spnego:kdc', listen)
      expect(`${ticket.server}`).toBe('HTTP/www.mit.test@MIT.TEST')
      expect(used).toEqual([protocol, protocol, protocol]) // AS twice, TGS once
    })
  }

  const services = [
    ['aes128', 17],
    ['aes256', 18],
    ['aes128sha2', 19],
    ['aes256sha2', 20],
  ] as const
  for (const [host, enctype] of services) {
    test(`enctype ${enctype} as ticket and session key`, async () => {
      const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
      const ticket = await new KerberosClient({ credentials }).getTicket(`HTTP@${host}.mit.test`)
      expect([ticket.ticketEnctype, ticket.enctype]).toEqual([enctype, enctype])
    })
    test(`a TGS exchange whose session key has enctype ${enctype}`, async () => {
      const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
      const client = new KerberosClient({ credentials, enctypes: [enctype] })
      expect((await client.login()).enctype).toBe(enctype)
      expect((await client.getTicket(`HTTP@${host}.mit.test`)).enctype).toBe(enctype)
    })
  }
})

describe('[MIT KDC] refusals have a code and a hint of their own', () => {
  const refusals = [
    ['u-pwexpired', 'expired-pw', 'KDC_ERR_KEY_EXPIRED', /password has expired/],
    ['u-expired', 'expired-pw', 'KDC_ERR_NAME_EXP', /account has expired/],
    ['u-locked', 'locked-pw', 'KDC_ERR_CLIENT_REVOKED', /locked/],
    ['nobody', 'x', 'KDC_ERR_C_PRINCIPAL_UNKNOWN', /no such user/],
    ['alice', 'wrong', 'KDC_ERR_PREAUTH_FAILED', /Wrong password/],
  ] as const
  for (const [user, password, code, hint] of refusals) {
    test(`${user}: ${code}`, async () => {
      const failure = await Credentials.fromPassword(`${user}@MIT.TEST`, password)
        .login()
        .catch((error: unknown) => error)
      expect(failure).toMatchObject({ code, hint: expect.stringMatching(hint) })
      expect(String(failure)).not.toContain(password === 'x' ? 'never' : password)
    })
  }

  test('K81: names with a port or an address are asked for as they are written, and krbtgt with its realm', async () => {
    const client = new KerberosClient({ credentials: Credentials.fromPassword('alice@MIT.TEST', 'alice-pw') })
    // K82: the last one is known to the KDC in these letters alone.
    for (const name of ['HTTP/www.mit.test:8080', 'HTTP/10.1.2.3', 'HTTP/Mixed.mit.test']) {
      expect(`${(await client.getTicket(name)).server}`).toBe(`${name}@MIT.TEST`)
    }
    expect(`${(await client.getTicket('krbtgt/MIT.TEST')).server}`).toBe('krbtgt/MIT.TEST@MIT.TEST')
    expect(`${(await client.getTicket('HTTP/WWW.mit.test')).server}`).toBe('HTTP/www.mit.test@MIT.TEST')
  })

  test('a service that the KDC does not have: the hint names it', async () => {
    const client = new KerberosClient({ credentials: Credentials.fromPassword('alice@MIT.TEST', 'alice-pw') })
    await expect(client.getTicket('HTTP@nonesuch.mit.test')).rejects.toMatchObject({
      code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN',
      hint: expect.stringContaining('HTTP/nonesuch.mit.test'),
    })
  })
})

describe('[MIT KDC] our cache in their hands', () => {
  test('klist reads it, 0600, tickets and enctypes', async () => {
    const cache = freshCache()
    const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
    await new KerberosClient({ credentials }).getTicket('HTTP@aes128sha2.mit.test')
    await credentials.save(cache)
    expect(statSync(cache.slice(5)).mode & 0o777).toBe(0o600)
    const { status, stdout } = run('klist', ['-e', '-f', cache], environment)
    expect(status).toBe(0)
    expect(stdout).toContain('Default principal: alice@MIT.TEST')
    expect(stdout).toContain('krbtgt/MIT.TEST@MIT.TEST')
    expect(stdout).toMatch(/HTTP\/aes128sha2\.mit\.test@MIT\.TEST\n.*aes128-cts-hmac-sha256-128/)
  })

  test('curl --negotiate logs in to Apache with it', async () => {
    const cache = freshCache()
    await Credentials.fromPassword('alice@MIT.TEST', 'alice-pw').save(cache)
    const options = ['-sS', '--negotiate', '-u', ':', `${apache.get('APACHE_URL')}/spnego/`]
    expect(run('curl', options, { ...environment, KRB5CCNAME: cache }).stdout).toContain('user=alice@MIT.TEST')
  })

  test('kvno fetches a ticket with it', async () => {
    const cache = freshCache()
    await Credentials.fromPassword('u-aes256sha2@MIT.TEST', 'sha384-pw').save(cache)
    const { stdout } = run('kvno', ['HTTP/www.mit.test'], { ...environment, KRB5CCNAME: cache })
    expect(stdout).toContain('HTTP/www.mit.test@MIT.TEST: kvno = ')
  })
})

describe('[MIT KDC] their cache in our hands', () => {
  test('the ticket of kinit fetches service tickets, and klist shows them afterwards', async () => {
    const cache = freshCache()
    expect(kinit({ ...environment, KRB5CCNAME: cache }, 'alice', 'alice-pw').status).toBe(0)
    const client = new KerberosClient({ credentials: Credentials.fromCache(cache) })
    const ticket = await client.getTicket('HTTP@www.mit.test')
    expect(`${ticket.client}`).toBe('alice@MIT.TEST')
    const { stdout } = run('klist', [cache], environment)
    expect(stdout).toContain('HTTP/www.mit.test@MIT.TEST')
    expect(stdout).toContain('krbtgt/MIT.TEST@MIT.TEST')
    const seen = await CredentialCache.load(cache)
    expect(seen.tickets.map((one) => `${one.server}`)).toContain('HTTP/www.mit.test@MIT.TEST')
  })

  test('a service ticket of kvno is used as it is', async () => {
    const cache = freshCache()
    kinit({ ...environment, KRB5CCNAME: cache }, 'alice', 'alice-pw')
    run('kvno', ['HTTP/www.mit.test'], { ...environment, KRB5CCNAME: cache })
    const before = readFileSync(cache.slice(5))
    await new KerberosClient({ credentials: Credentials.fromCache(cache) }).getTicket('HTTP@www.mit.test')
    expect(readFileSync(cache.slice(5)).equals(before)).toBe(true)
  })

  test('after kinit of another user nothing of the first one is used', async () => {
    const cache = freshCache()
    kinit({ ...environment, KRB5CCNAME: cache }, 'alice', 'alice-pw')
    const client = new KerberosClient({ credentials: Credentials.fromCache(cache) })
    expect(`${(await client.getTicket('HTTP@www.mit.test')).client}`).toBe('alice@MIT.TEST')
    kinit({ ...environment, KRB5CCNAME: cache }, 'bob', 'bob-pw')
    expect(`${(await client.getTicket('HTTP@www.mit.test')).client}`).toBe('bob@MIT.TEST')
  })

  test('an expired ticket says so', async () => {
    const cache = freshCache()
    kinit({ ...environment, KRB5CCNAME: cache }, 'alice', 'alice-pw', '-l', '1s')
    await new Promise((resolve) => setTimeout(resolve, 2100))
    const client = new KerberosClient({ credentials: Credentials.fromCache(cache) })
    await expect(client.getTicket('HTTP@www.mit.test')).rejects.toMatchObject({
      code: 'TICKET_EXPIRED',
      hint: expect.stringContaining('kinit'),
    })
  })
})

describe('[Apache mod_auth_gssapi] negotiateFetch', () => {
  const alice = () => Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')

  test('200 and the server verified, over http', async () => {
    const response = await negotiateFetch({ credentials: alice() })(`${apache.get('APACHE_URL')}/spnego/`)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('user=alice@MIT.TEST')
    expect(negotiated(response)).toMatchObject({
      attempted: true,
      serverAuthenticated: true,
      principal: 'alice@MIT.TEST',
      target: 'HTTP/localhost@MIT.TEST',
      error: undefined,
    })
  })

  for (const mutualAuthentication of ['required', 'auto', 'optional', 'disabled'] as const) {
    test(`RK-38 mutualAuthentication: ${mutualAuthentication}`, async () => {
      const fetch = negotiateFetch({ credentials: alice(), mutualAuthentication })
      const response = await fetch(`${apache.get('APACHE_URL')}/spnego/`)
      expect(response.status).toBe(200)
      expect(negotiated(response)?.serverAuthenticated).toBe(mutualAuthentication !== 'disabled')
    })
  }

  test('raw Kerberos tokens', async () => {
    const fetch = negotiateFetch({ credentials: alice(), mechanism: 'krb5', mutualAuthentication: 'required' })
    expect((await fetch(`${apache.get('APACHE_URL')}/krb5only/`)).status).toBe(200)
  })

  test('a POST with a stream, sent again after the 401', async () => {
    const body = new Blob(['x'.repeat(100_000)]).stream()
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    const response = await negotiateFetch({ credentials: alice() })(`${apache.get('APACHE_URL')}/spnego/`, init)
    expect(response.status).toBe(200)
  })

  test('50 requests at once', async () => {
    const fetch = negotiateFetch({ credentials: alice() })
    const all = Array.from({ length: 50 }, () => fetch(`${apache.get('APACHE_URL')}/spnego/`))
    for (const response of await Promise.all(all)) {
      expect(response.status).toBe(200)
      expect(negotiated(response)?.serverAuthenticated).toBe(true)
      await response.arrayBuffer()
    }
  })

  test('an open page is fetched without a login', async () => {
    const response = await negotiateFetch({ credentials: alice() })(`${apache.get('APACHE_URL')}/open/`)
    expect([response.status, negotiated(response)]).toEqual([200, undefined])
  })

  test('no ticket: the 401 comes back with the reason', async () => {
    const credentials = Credentials.fromCache(freshCache())
    const response = await negotiateFetch({ credentials })(`${apache.get('APACHE_URL')}/spnego/`)
    expect(response.status).toBe(401)
    expect(negotiated(response)).toMatchObject({ attempted: false, error: { code: 'CACHE_NOT_FOUND' } })
  })

  test('a wrong target name: the KDC has no such service', async () => {
    const fetch = negotiateFetch({ credentials: alice(), targetName: 'HTTP@nonesuch.mit.test' })
    const response = await fetch(`${apache.get('APACHE_URL')}/spnego/`)
    expect([response.status, negotiated(response)?.error?.code]).toEqual([401, 'KDC_ERR_S_PRINCIPAL_UNKNOWN'])
  })

  test('a ticket that the server has no key for: 401, nothing verified', async () => {
    const fetch = negotiateFetch({ credentials: alice(), targetName: 'HTTP@nokeytab.mit.test' })
    const response = await fetch(`${apache.get('APACHE_URL')}/spnego/`)
    expect([response.status, negotiated(response)?.serverAuthenticated]).toEqual([401, false])
    expect(negotiated(response)?.error?.code).toBe('REJECTED')
  })
})
