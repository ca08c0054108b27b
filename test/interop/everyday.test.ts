import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createSilentServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  type AcceptorContext,
  CredentialCache,
  Credentials,
  createAcceptor,
  KerberosClient,
  KerberosTicket,
  Krb5Config,
} from '../../src/entries/index.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, run, runBeside, withEnvironment } from './lab.ts'

/** The everyday Kerberos of one realm: renewing, forwarding, collections of caches, passwords; at MIT's KDC, Apache and curl, both directions. */

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

const folder = () => mkdtempSync(join(base, 'cc-'))
const freshCache = () => `FILE:${join(folder(), 'cache')}`
const inCache = (cache: string) => ({ ...environment, KRB5CCNAME: cache })
const alice = () => Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')

/** The lab's krb5.conf with more in [libdefaults]. */
function configWith(lines: string): Krb5Config {
  const text = readFileSync(kdc.get('KRB5_CONFIG'), 'utf8')
  return Krb5Config.parse(text.replace('[libdefaults]', `[libdefaults]\n${lines}\n`))
}

describe('[MIT KDC] another KDC when one is away (RFC 4120 §7.2.3)', () => {
  test('K24 silence, and nobody there, before the KDC: it is reached, and from then on first', async () => {
    const silent = createSilentServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    const { port } = silent.address() as AddressInfo
    const text = readFileSync(kdc.get('KRB5_CONFIG'), 'utf8')
    const away = `MIT.TEST = {\n kdc = tcp/127.0.0.1:${port}\n kdc = tcp/127.0.0.1:1\n`
    const config = Krb5Config.parse(text.replace(/\bMIT\.TEST = \{\n/, away))
    const asked: number[] = []
    const listen = (event: unknown) => void asked.push((event as { port: number }).port)
    subscribe('spnego:kdc', listen)
    try {
      const client = new KerberosClient({ credentials: alice(), config })
      await client.getTicket('HTTP@www.mit.test')
      await client.getTicket('HTTP@web.mit.test').catch(() => {}) // whether there is one or not, the KDC says so
    } finally {
      unsubscribe('spnego:kdc', listen)
      silent.close()
    }
    const [first, second, good, ...rest] = asked
    expect([first, second]).toEqual([port, 1])
    expect([port, 1]).not.toContain(good)
    expect(rest).toEqual([good, good, good])
  })
})

describe('[MIT KDC] renewing (RFC 4120 §2.3)', () => {
  test('kinit -R renews the login that we saved', async () => {
    const cache = freshCache()
    const config = configWith(' ticket_lifetime = 1h\n renew_lifetime = 2d')
    const credentials = alice()
    await credentials.login({ config })
    await credentials.save(cache)
    const before = await CredentialCache.load(cache)
    expect(before.tickets[0]?.renewableUntil?.getTime()).toBeGreaterThan(Date.now() + 86_400_000)
    expect(run('kinit', ['-R'], inCache(cache))).toMatchObject({ status: 0 })
  })

  test('we renew the login of kinit when half of it is over, and klist sees it', async () => {
    const cache = freshCache()
    expect(kinit(inCache(cache), 'alice', 'alice-pw', '-l', '6s', '-r', '1h').status).toBe(0)
    const end = async () => (await CredentialCache.load(cache)).tickets[0]?.expiresAt.getTime() ?? 0
    const first = await end()
    await new Promise((resolve) => setTimeout(resolve, 3200))
    await new KerberosClient({ credentials: Credentials.fromCache(cache) }).login()
    await vi.waitFor(async () => expect(await end()).toBeGreaterThan(first + 2000))
    expect(run('klist', ['-s', cache], environment).status).toBe(0)
    expect(run('kvno', ['HTTP/www.mit.test'], inCache(cache)).status).toBe(0)
  })
})

describe('[MIT KDC] collections of caches (DIR:)', () => {
  test('kinit, klist -A and kswitch see what we save and switch, and we what they do', async () => {
    const name = `DIR:${join(folder(), 'collection')}`
    await alice().save(name)
    expect(kinit(inCache(name), 'bob', 'bob-pw').status).toBe(0)
    const listed = run('klist', ['-A'], inCache(name)).stdout
    expect(listed).toContain('Default principal: alice@MIT.TEST')
    expect(listed).toContain('Default principal: bob@MIT.TEST')
    expect(`${(await CredentialCache.load(name)).principal}`).toBe('bob@MIT.TEST') // kinit made it the one in use
    expect(CredentialCache.names(name)).toHaveLength(2)

    await CredentialCache.switch('alice@MIT.TEST', name)
    expect(run('klist', [], inCache(name)).stdout).toContain('Default principal: alice@MIT.TEST')
    expect(run('kswitch', ['-p', 'bob@MIT.TEST'], inCache(name)).status).toBe(0)
    expect(`${(await CredentialCache.load(name)).principal}`).toBe('bob@MIT.TEST')

    const client = new KerberosClient({ credentials: Credentials.fromCache(name, 'alice@MIT.TEST') })
    expect(`${(await client.getTicket('HTTP/www.mit.test')).client}`).toBe('alice@MIT.TEST')
    expect(run('klist', ['-A'], inCache(name)).stdout).toContain('HTTP/www.mit.test@MIT.TEST')
    expect(run('kinit', ['alice'], inCache(name), 'alice-pw\n').status).toBe(0)
    await expect(CredentialCache.switch('zoë@MIT.TEST', name)).rejects.toMatchObject({ code: 'NO_CREDENTIALS' })
  })

  test('the client follows kswitch', async () => {
    const name = `DIR:${join(folder(), 'collection')}`
    for (const user of ['alice', 'bob']) expect(kinit(inCache(name), user, `${user}-pw`).status).toBe(0)
    const client = new KerberosClient({ credentials: Credentials.fromCache(name) })
    expect(`${(await client.getTicket('HTTP/www.mit.test')).client}`).toBe('bob@MIT.TEST')
    run('kswitch', ['-p', 'alice@MIT.TEST'], inCache(name))
    expect(`${(await client.getTicket('HTTP/www.mit.test')).client}`).toBe('alice@MIT.TEST')
  })
})

describe('[MIT KDC] changing passwords (RFC 3244)', () => {
  const logIn = (user: string, password: string) =>
    Credentials.fromPassword(`${user}@MIT.TEST`, password)
      .login()
      .then(({ principal }) => principal)

  test('ours at kadmind, then kpasswd there: each counts at once', async () => {
    await Credentials.fromPassword('bob@MIT.TEST', 'bob-pw').changePassword('ein neues Paßwort')
    expect(kinit(inCache(freshCache()), 'bob', 'ein neues Paßwort').status).toBe(0)
    expect(kinit(inCache(freshCache()), 'bob', 'bob-pw').status).not.toBe(0)
    expect(await logIn('bob', 'ein neues Paßwort')).toBe('bob@MIT.TEST')
    const input = 'ein neues Paßwort\nbob-pw-2\nbob-pw-2\n'
    expect(run('kpasswd', ['bob'], inCache(freshCache()), input).status).toBe(0)
    expect(await logIn('bob', 'bob-pw-2')).toBe('bob@MIT.TEST')
    // His account needs no pre-authentication: the reply does not open.
    await expect(logIn('bob', 'ein neues Paßwort')).rejects.toMatchObject({
      code: 'INTEGRITY_FAILED',
      hint: expect.stringContaining('Wrong password'),
    })
  })

  test('an expired one', async () => {
    await expect(logIn('u-pwexpired', 'expired-pw')).rejects.toMatchObject({ code: 'KDC_ERR_KEY_EXPIRED' })
    await Credentials.fromPassword('u-pwexpired@MIT.TEST', 'expired-pw').changePassword('a fresh one')
    expect(await logIn('u-pwexpired', 'a fresh one')).toBe('u-pwexpired@MIT.TEST')
  })

  for (const [user, password] of [
    ['u-aes128', 'aes128-pw'],
    ['u-aes256', 'aes256-pw'],
    ['u-aes128sha2', 'sha256-pw'],
    ['u-aes256sha2', 'sha384-pw'],
  ] as const) {
    test(`of ${user}, whose login has that enctype`, async () => {
      await Credentials.fromPassword(`${user}@MIT.TEST`, password).changePassword(`${password} again`)
      expect(await logIn(user, `${password} again`)).toBe(`${user}@MIT.TEST`)
    })
  }

  test('a wrong old one', async () => {
    const change = Credentials.fromPassword('zoë@MIT.TEST', 'wrong').changePassword('new password')
    await expect(change).rejects.toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
    expect(await logIn('zoë', 'zoe-pw')).toBe('zoë@MIT.TEST')
  })
})

/** Where /deleg/ says that Apache stored the forwarded login. */
function storedCache(page: string): string {
  const [, path] = /ccache=(?:FILE:)?([^\s<]+)/.exec(page) ?? []
  if (path === undefined || path === '') throw new Error(`no cache in ${page}`)
  return path
}

describe('[Apache mod_auth_gssapi] forwarded logins (RFC 4121 §4.1.1)', () => {
  const forwardable = () => configWith(' forwardable = true')

  test('of our initiator: Apache stores a ticket of the user, which fetches others', async () => {
    const ticket = await KerberosTicket.for('HTTP@localhost', {
      credentials: alice(),
      flags: ['mutual', 'delegate'],
      config: forwardable(),
    })
    const url = `${apache.get('APACHE_URL')}/deleg/`
    const response = await fetch(url, { headers: { authorization: ticket.authorization } })
    expect(response.status).toBe(200)
    await ticket.verify(response.headers.get('www-authenticate') ?? '')
    const cache = storedCache(await response.text())
    const listed = run('klist', ['-f', cache], environment).stdout
    expect(listed).toContain('Default principal: alice@MIT.TEST')
    expect(listed).toMatch(/krbtgt\/MIT.TEST@MIT.TEST[\s\S]*Flags: [A-Z]*F[A-Za-z]*f/)
    expect(run('kvno', ['HTTP/www.mit.test'], inCache(cache)).status).toBe(0)
  })

  test('without the flag it stores none', async () => {
    const ticket = await KerberosTicket.for('HTTP@localhost', { credentials: alice(), config: forwardable() })
    const url = `${apache.get('APACHE_URL')}/deleg/`
    const response = await fetch(url, { headers: { authorization: ticket.authorization } })
    expect(storedCache(await response.text())).toBe('(none)')
  })

  test('curl --delegation always with the cache that we saved', async () => {
    const cache = freshCache()
    const credentials = alice()
    await credentials.login({ config: forwardable() })
    await credentials.save(cache)
    const options = ['-sS', '--negotiate', '-u', ':', '--delegation', 'always', `${apache.get('APACHE_URL')}/deleg/`]
    const page = run('curl', options, inCache(cache)).stdout
    expect(run('klist', [storedCache(page)], environment).stdout).toContain('Default principal: alice@MIT.TEST')
  })
})

describe('[curl] forwards its login to us', () => {
  /** A server over `createAcceptor` alone. */
  async function serve(
    delegation: boolean,
    show: (context: AcceptorContext) => Promise<string>,
  ): Promise<{ url: string; stop(): void }> {
    const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
    const acceptor = await createAcceptor({ keytab, delegation })
    const server = createServer(async (req, res) => {
      const token = /^Negotiate (.+)$/.exec(req.headers.authorization ?? '')?.[1]
      if (token === undefined) return res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
      const context = acceptor.createContext()
      try {
        await context.step(Buffer.from(token, 'base64'))
        return res.end(await show(context))
      } catch (error) {
        return res.writeHead(500).end(String(error))
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { url: `http://localhost:${(server.address() as AddressInfo).port}/`, stop: () => void server.close() }
  }
  const curl = (url: string, cache: string, ...more: string[]) =>
    runBeside('curl', ['-sS', '--negotiate', '-u', ':', ...more, url], inCache(cache))

  async function forwardableCache(): Promise<string> {
    const cache = freshCache()
    expect(kinit(inCache(cache), 'alice', 'alice-pw', '-f').status).toBe(0)
    return cache
  }

  test('--delegation always: the login is saved, klist reads it, kvno uses it, and so do we', async () => {
    const saved = freshCache()
    const { url, stop } = await serve(true, async (context) => {
      await context.delegated?.save(saved)
      return `${context.peer} ${context.flags.has('delegate')}`
    })
    expect((await curl(url, await forwardableCache(), '--delegation', 'always')).stdout).toBe('alice@MIT.TEST true')
    expect(run('klist', ['-f', saved], environment).stdout).toMatch(/Flags: [A-Z]*F[A-Za-z]*f/)
    expect(run('kvno', ['HTTP/www.mit.test'], inCache(saved)).status).toBe(0)
    const client = new KerberosClient({ credentials: Credentials.fromCache(saved) })
    expect(`${(await client.getTicket('HTTP/aes128sha2.mit.test')).client}`).toBe('alice@MIT.TEST')
    stop()
  })

  test('C41 --delegation policy: only where the KDC says ok-as-delegate', async () => {
    const { url, stop } = await serve(true, async (context) => `${context.delegated !== undefined}`)
    const { port } = new URL(url)
    const cache = await forwardableCache()
    const resolve = ['--resolve', `deleg.mit.test:${port}:127.0.0.1`]
    expect((await curl(url, cache, '--delegation', 'policy')).stdout).toBe('false')
    const trusted = `http://deleg.mit.test:${port}/`
    expect((await curl(trusted, cache, '--delegation', 'policy', ...resolve)).stdout).toBe('true')
    const ticket = await new KerberosClient({ credentials: Credentials.fromCache(cache) }).getTicket(
      'HTTP/deleg.mit.test',
    )
    expect(ticket.flags.has('ok-as-delegate')).toBe(true)
    stop()
  })

  test('S70 where it is not wanted it is dropped', async () => {
    const { url, stop } = await serve(false, async (context) => `${context.peer} ${context.flags.has('delegate')}`)
    expect((await curl(url, await forwardableCache(), '--delegation', 'always')).stdout).toBe('alice@MIT.TEST false')
    stop()
  })
})
