import { mkdtempSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials, createAcceptor, createInitiator, KerberosClient } from '../../src/entries/index.ts'
import { SERVER_ENTRIES } from '../unit/entries/server-entries.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, runBeside, withEnvironment } from './lab.ts'
import { expectRenewalKeeps } from './renewal.ts'

/** Samba as an Active Directory domain controller: real PACs, large tickets, its own accounts' states. */

let base: string
let dc: Peer
let restore: () => void
let environment: Environment

beforeAll(() => {
  base = labFolder()
  dc = Peer.start('samba-ad', base)
  environment = { KRB5_CONFIG: dc.get('KRB5_CONFIG') }
  restore = withEnvironment(environment)
})

afterAll(() => {
  restore?.()
  dc?.stop()
  removeFolder(base)
})

const as = (user: string, password: string) => Credentials.fromPassword(`${user}@AD.TEST`, password)

/** A token for the web server, and whom its acceptor sees. */
async function accepted(credentials: Credentials): Promise<{ peer: string; octets: number }> {
  const initiator = await createInitiator({ target: 'HTTP/www.ad.test', credentials })
  const { token = new Uint8Array(0) } = await initiator.step()
  const context = (await createAcceptor({ keytab: join(dc.get('AD_KEYTABS'), 'http.keytab') })).createContext()
  await initiator.step((await context.step(token)).token)
  return { peer: `${context.peer}`, octets: token.length }
}

describe('[Samba KDC] login by us', () => {
  for (const [user, password] of [
    ['ada', 'Ada-pw-1'],
    ['bert', 'Bert-pw-1'],
    ['zoë', 'Zoe-pw-1'],
    ['u-nopreauth', 'Nopre-pw-1'],
    ['u-protected', 'Prot-pw-1'],
  ] as const) {
    test(`${user}, and his token at our acceptor`, async () => {
      expect((await accepted(as(user, password))).peer).toBe(`${user}@AD.TEST`)
    })
  }

  for (const [user, password] of [
    ['ada', 'Ada-pw-1'],
    ['bert', 'Bert-pw-1'],
    ['zoë', 'Zoe-pw-1'],
  ] as const) {
    test(`${user}: service tickets of the enctypes that their services have`, async () => {
      const client = new KerberosClient({ credentials: as(user, password) })
      for (const [host, enctype] of [
        ['www', 18],
        ['aes128', 17],
        ['aes256', 18],
      ] as const) {
        const ticket = await client.getTicket(`HTTP/${host}.ad.test`)
        expect([`${ticket.client}`, ticket.ticketEnctype, ticket.enctype]).toEqual([
          `${user}@AD.TEST`,
          enctype,
          enctype,
        ])
      }
    })
  }

  test('K80: a renewal by us keeps what kinit asked for, and kinit -R works afterwards', async () => {
    await expectRenewalKeeps(environment, `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`, 'ada', 'Ada-pw-1')
  })

  test('a service account by its keytab; not under its service’s name', async () => {
    const keytab = join(dc.get('AD_KEYTABS'), 'svc-front.keytab')
    const credentials = Credentials.fromKeytab('svc-front@AD.TEST', keytab)
    expect((await accepted(credentials)).peer).toBe('svc-front@AD.TEST')
    // K83: AD compares names without case, and so does the keytab.
    expect((await accepted(Credentials.fromKeytab('SVC-Front@AD.TEST', keytab))).peer).toBe('svc-front@AD.TEST')
    const service = Credentials.fromKeytab('HTTP/front.ad.test@AD.TEST', keytab)
    await expect(service.login()).rejects.toMatchObject({ code: 'KDC_ERR_C_PRINCIPAL_UNKNOWN' })
  })

  for (const [user, password, groups, least] of [
    ['u-bigpac', 'Big-pw-1', 700, 6000],
    ['u-hugepac', 'Huge-pw-1', 1400, 12_000],
  ] as const) {
    test(`${user}: ${groups} groups, a token over ${least} octets`, async () => {
      const { peer, octets } = await accepted(as(user, password))
      expect(peer).toBe(`${user}@AD.TEST`)
      expect(octets).toBeGreaterThan(least)
    })
  }

  for (const [user, password, code, errorCode, hint] of [
    ['ada', 'wrong', 'KDC_ERR_PREAUTH_FAILED', 24, /Wrong password/],
    ['zoë', 'wrong', 'KDC_ERR_PREAUTH_FAILED', 24, /Wrong password/],
    ['nobody', 'x', 'KDC_ERR_C_PRINCIPAL_UNKNOWN', 6, /./],
    ['u-disabled', 'Dis-pw-1', 'KDC_ERR_CLIENT_REVOKED', 18, /disabled/],
    ['u-mustchange', 'Must-pw-1', 'KDC_ERR_KEY_EXPIRED', 23, /password has expired/],
    ['u-expired', 'Exp-pw-1', 'KDC_ERR_CLIENT_REVOKED', 18, /./],
  ] as const) {
    test(`${user} with ${password}: ${code} (${errorCode}), with a hint`, async () => {
      const expected = { code, errorCode, hint: expect.stringMatching(hint) }
      await expect(as(user, password).login()).rejects.toMatchObject(expected)
    })
  }

  test('a service that is not there, and one whose tickets are RC4 alone', async () => {
    const client = new KerberosClient({ credentials: as('ada', 'Ada-pw-1') })
    await expect(client.getTicket('HTTP/nonesuch.ad.test')).rejects.toMatchObject({
      code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN',
    })
    const rc4 = await client.getTicket('HTTP/default.ad.test')
    expect([rc4.ticketEnctype, rc4.enctype]).toEqual([23, 18]) // only its service opens a ticket; the session key is ours
    await expect(client.getTicket('HTTP/rc4.ad.test')).rejects.toMatchObject({ code: 'KDC_ERR_ETYPE_NOSUPP' })
  })

  test('forwardable logins, ok-as-delegate, an account that may not be forwarded', async () => {
    const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
    expect(kinit({ ...environment, KRB5CCNAME: cache }, 'ada', 'Ada-pw-1', '-f').status).toBe(0)
    const credentials = Credentials.fromCache(cache)
    const options = { credentials, flags: ['mutual', 'delegate'] as const }
    const initiator = await createInitiator({ target: 'HTTP/deleg.ad.test', delegation: 'policy', ...options })
    const acceptor = await createAcceptor({ keytab: join(dc.get('AD_KEYTABS'), 'http.keytab'), delegation: true })
    const context = acceptor.createContext()
    await initiator.step((await context.step((await initiator.step()).token)).token)
    const delegated = new KerberosClient({ credentials: context.delegated as Credentials })
    expect(`${(await delegated.getTicket('HTTP/www.ad.test')).client}`).toBe('ada@AD.TEST')
    const sensitive = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
    kinit({ ...environment, KRB5CCNAME: sensitive }, 'u-sensitive', 'Sens-pw-1', '-f')
    const attempt = createInitiator({
      target: 'HTTP/deleg.ad.test',
      ...options,
      credentials: Credentials.fromCache(sensitive),
    })
    await expect(attempt).rejects.toMatchObject({ code: 'TICKET_NOT_FORWARDABLE' })
  })

  test('changing a password (RFC 3244), also one that must be changed; a weak one is refused', async () => {
    await as('bert', 'Bert-pw-1').changePassword('Bert-neu-2')
    expect((await as('bert', 'Bert-neu-2').login()).principal).toBe('bert@AD.TEST')
    await as('u-mustchange', 'Must-pw-1').changePassword('Must-neu-2')
    expect((await as('u-mustchange', 'Must-neu-2').login()).principal).toBe('u-mustchange@AD.TEST')
    await expect(as('ada', 'Ada-pw-1').changePassword('a')).rejects.toMatchObject({
      code: 'PASSWORD_REFUSED',
      message: expect.stringMatching(/characters|too short/),
    })
  })
})

describe.each(SERVER_ENTRIES)('[curl] with a ticket of Active Directory, at $name', ({ make }) => {
  test.each([
    ['u-bigpac', 'Big-pw-1', 8000],
    ['u-hugepac', 'Huge-pw-1', 16_384],
  ])('%s', async (user, password, least) => {
    const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
    expect(kinit({ ...environment, KRB5CCNAME: cache }, user, password).status).toBe(0)
    const server = await make({ keytab: join(dc.get('AD_KEYTABS'), 'http.keytab') })
    let length = 0
    server.prependListener('request', ({ headers }) => {
      length = Math.max(length, headers.authorization?.length ?? 0)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://localhost:${(server.address() as AddressInfo).port}/`
    const { stdout } = await runBeside('curl', ['-sS', '--negotiate', '-u', ':', url], {
      ...environment,
      KRB5CCNAME: cache,
    })
    expect(stdout).toBe(`Hello ${user}@AD.TEST`)
    expect(length).toBeGreaterThan(least)
    server.closeAllConnections()
    server.close()
  })
})
