import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CredentialCache,
  Credentials,
  createAcceptor,
  createInitiator,
  KerberosClient,
} from '../../src/entries/index.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, run, withEnvironment } from './lab.ts'
import { expectRenewalKeeps } from './renewal.ts'

/** Heimdal's KDC, password service and clients, beside MIT's. */

let base: string
let kdc: Peer
let restore: () => void
let environment: Environment

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('heimdal-kdc', base)
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG') }
  restore = withEnvironment(environment)
})

afterAll(() => {
  restore?.()
  kdc?.stop()
  removeFolder(base)
})

const freshCache = () => `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
const as = (user: string, password: string) => Credentials.fromPassword(`${user}@HEIM.TEST`, password)
const heimdal = (command: string, ...args: string[]) => {
  const [program = '', ...first] = kdc.get(command).split(' ')
  return run(program, [...first, ...args], environment)
}

describe('[Heimdal KDC] login by us', () => {
  for (const [user, password, what] of [
    ['hanna', 'hanna-pw', 'preauthentication'],
    ['henry', 'henry-pw', 'none'],
    ['u-aes128', 'aes128-pw', 'enctype 17'],
    ['u-aes256', 'aes256-pw', 'enctype 18'],
    ['u-aes128sha2', 'aes128sha2-pw', 'enctype 19'],
    ['u-aes256sha2', 'aes256sha2-pw', 'enctype 20'],
  ] as const) {
    test(`${user}: ${what}`, async () => {
      const { principal, expiresAt } = await as(user, password).login()
      expect(principal).toBe(`${user}@HEIM.TEST`)
      expect(expiresAt.getTime()).toBeGreaterThan(Date.now() + 3_600_000)
    })
  }

  for (const [host, enctype] of [
    ['aes128', 17],
    ['aes256', 18],
    ['aes128sha2', 19],
    ['aes256sha2', 20],
  ] as const) {
    test(`a ticket of enctype ${enctype}, which our acceptor opens with its keytab`, async () => {
      const credentials = as('hanna', 'hanna-pw')
      const ticket = await new KerberosClient({ credentials }).getTicket(`HTTP/${host}.heim.test`)
      expect([ticket.ticketEnctype, ticket.enctype]).toEqual([enctype, enctype])
      const initiator = await createInitiator({ target: `HTTP/${host}.heim.test`, credentials })
      const context = (await createAcceptor({ keytab: join(kdc.get('HEIM_KEYTABS'), 'http.keytab') })).createContext()
      await initiator.step((await context.step((await initiator.step()).token)).token)
      expect([`${context.peer}`, `${initiator.peer}`]).toEqual(['hanna@HEIM.TEST', `HTTP/${host}.heim.test@HEIM.TEST`])
    })
  }

  test('a service by its keytab, of every enctype; who is not in it is not logged in', async () => {
    const keytab = join(kdc.get('HEIM_KEYTABS'), 'http.keytab')
    for (const host of ['www', 'aes128', 'aes256', 'aes128sha2', 'aes256sha2']) {
      const principal = `HTTP/${host}.heim.test@HEIM.TEST`
      expect((await Credentials.fromKeytab(principal, keytab).login()).principal).toBe(principal)
    }
    const credentials = Credentials.fromKeytab('hanna@HEIM.TEST', keytab)
    await expect(credentials.login()).rejects.toMatchObject({ code: 'KEYTAB_NO_ENTRY' })
  })

  test('refusals have their codes', async () => {
    await expect(as('hanna', 'wrong').login()).rejects.toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
    await expect(as('nobody', 'x').login()).rejects.toMatchObject({ code: 'KDC_ERR_C_PRINCIPAL_UNKNOWN' })
    await expect(as('henry', 'wrong').login()).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' })
    await expect(as('u-rc4', 'rc4-pw').login()).rejects.toMatchObject({
      code: 'KDC_ERR_ETYPE_NOSUPP',
    })
    const client = new KerberosClient({ credentials: as('hanna', 'hanna-pw') })
    await expect(client.getTicket('HTTP/nonesuch.heim.test')).rejects.toMatchObject({
      code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN',
    })
  })

  test('renewing and forwarding (RFC 4120 §3.3.3), ok-as-delegate', async () => {
    const cache = freshCache()
    expect(kinit({ ...environment, KRB5CCNAME: cache }, 'hanna', 'hanna-pw', '-f', '-r', '1d').status).toBe(0)
    const store = Credentials.storeOf(Credentials.fromCache(cache))
    const client = new KerberosClient({ credentials: Credentials.fromCache(cache) })
    expect((await client.getTicket('HTTP/deleg.heim.test')).flags.has('ok-as-delegate')).toBe(true)
    expect((await client.getTicket('HTTP/www.heim.test')).flags.has('ok-as-delegate')).toBe(false)
    const tgt = await store.getTicketGrantingTicket()
    const forwarded = await store.getForwardedTicket(tgt.server)
    expect(forwarded.sessionKey.toBytes()).not.toEqual(tgt.sessionKey.toBytes())

    const short = freshCache()
    kinit({ ...environment, KRB5CCNAME: short }, 'hanna', 'hanna-pw', '-l', '6s', '-r', '1h')
    const before = (await CredentialCache.load(short)).tickets[0]?.expiresAt.getTime() ?? 0
    await new Promise((resolve) => setTimeout(resolve, 3500))
    await Credentials.fromCache(short).login()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await CredentialCache.load(short)).tickets[0]?.expiresAt.getTime()).toBeGreaterThan(before)
  })

  test('K80: a renewal by us keeps what kinit asked for, and kinit -R works afterwards', async () => {
    await expectRenewalKeeps(environment, freshCache(), 'hanna', 'hanna-pw')
  })

  test('changing a password (RFC 3244) at kpasswdd, over UDP; the rules are told', async () => {
    const credentials = as('u-aes256sha2', 'aes256sha2-pw')
    await credentials.changePassword('quite another secret')
    expect((await as('u-aes256sha2', 'quite another secret').login()).principal).toBe('u-aes256sha2@HEIM.TEST')
    await expect(as('u-aes256sha2', 'aes256sha2-pw').login()).rejects.toMatchObject({
      code: 'KDC_ERR_PREAUTH_FAILED',
    })
    await expect(as('hanna', 'hanna-pw').changePassword('hanna-pw')).rejects.toMatchObject({ code: 'PASSWORD_REFUSED' })
    await expect(as('hanna', 'wrong').changePassword('x')).rejects.toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
  })
})

describe('[Heimdal clients] and our caches', () => {
  test('klist reads what we save, kgetcred adds to it, and we use what it added', async () => {
    const cache = freshCache()
    await as('hanna', 'hanna-pw').save(cache)
    expect(heimdal('HEIM_KLIST', '-c', cache).stdout).toContain('Principal: hanna@HEIM.TEST')
    expect(heimdal('HEIM_KGETCRED', '-c', cache, 'HTTP/aes128sha2.heim.test@HEIM.TEST').status).toBe(0)
    const { principal, tickets } = await CredentialCache.load(cache)
    expect(`${principal}`).toBe('hanna@HEIM.TEST')
    expect(tickets.map(({ server }) => `${server}`)).toContain('HTTP/aes128sha2.heim.test@HEIM.TEST')
    await new KerberosClient({ credentials: Credentials.fromCache(cache) }).getTicket('HTTP/www.heim.test')
    expect(heimdal('HEIM_KLIST', '-c', cache).stdout).toContain('HTTP/www.heim.test@HEIM.TEST')
  })

  test('what kinit.heimdal writes is ours to use', async () => {
    const cache = freshCache()
    const args = ['-c', `echo hanna-pw | ${kdc.get('HEIM_KINIT')} --password-file=STDIN -c ${cache} hanna`]
    expect(run('sh', args, environment).status).toBe(0)
    const client = new KerberosClient({ credentials: Credentials.fromCache(cache) })
    expect(`${(await client.getTicket('HTTP/www.heim.test')).client}`).toBe('hanna@HEIM.TEST')
  })
})
