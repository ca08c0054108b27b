import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { Key } from '../../../src/crypto/index.ts'
import { Keytab, Krb5Config } from '../../../src/krb5/formats/index.ts'
import { decodeEncTicketPart, decodeKrbError, KEY_USAGE, MESSAGE } from '../../../src/krb5/messages/index.ts'
import { TestRealmCore, type TestRealmOptions, testClock } from '../../../src/testing/index.ts'

import { asReq, NOW, open, passwordKey, timestamp, WEB } from './client.ts'
import { framed, overTcp, overUdp } from './sockets.ts'

const running: TestRealmCore[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((realm) => realm.stop()))
})

async function start(options?: TestRealmOptions): Promise<TestRealmCore> {
  const realm = await TestRealmCore.start(options)
  running.push(realm)
  return realm
}

describe('a realm', () => {
  test('has defaults: EXAMPLE.TEST, HTTP/localhost, four enctypes', async () => {
    const realm = await start()
    expect(realm.realm).toBe('EXAMPLE.TEST')
    const { entries } = realm.keytab('HTTP/localhost')
    expect(entries.map(({ enctype, kvno, principal }) => [enctype, kvno, principal.toString()])).toEqual(
      [18, 17, 20, 19].map((enctype) => [enctype, 1, 'HTTP/localhost@EXAMPLE.TEST']),
    )
  })

  test('its files are private, and say what the object says', async () => {
    const realm = await start({ realm: 'LAB.TEST', services: ['HTTP/Web.lab.test', 'ldap/ldap.lab.test'] })
    const { KRB5_CONFIG, KRB5CCNAME, KRB5_KTNAME } = realm.environment
    expect(statSync(dirname(KRB5_CONFIG)).mode & 0o777).toBe(0o700)
    expect(statSync(KRB5_KTNAME).mode & 0o777).toBe(0o600)
    expect(dirname(KRB5_KTNAME)).toBe(dirname(KRB5_CONFIG))
    expect(dirname(KRB5CCNAME.replace(/^FILE:/, ''))).toBe(dirname(KRB5_CONFIG))
    expect(existsSync(KRB5CCNAME.replace(/^FILE:/, ''))).toBe(false)

    for (const config of [Krb5Config.parse(readFileSync(KRB5_CONFIG, 'utf8')), realm.config]) {
      expect(config.defaultRealm).toBe('LAB.TEST')
      expect(config.kdcs('LAB.TEST')).toEqual([{ host: '127.0.0.1', port: realm.port, transport: undefined }])
      expect([config.dnsLookupKdc, config.dnsLookupRealm]).toEqual([false, false])
      for (const host of ['localhost', 'web.lab.test', 'ldap.lab.test'])
        expect(config.realmOfHost(host)).toBe('LAB.TEST')
      expect(config.defaultCcacheName(new Map())).toBe(KRB5CCNAME)
    }
    const keytab = Keytab.parse(readFileSync(KRB5_KTNAME))
    expect(keytab.principals.map(String)).toEqual(['HTTP/Web.lab.test@LAB.TEST', 'ldap/ldap.lab.test@LAB.TEST'])
    const [mine] = realm.keytab('HTTP/Web.lab.test@LAB.TEST').entries
    expect(keytab.entries[0]?.keyBytes()).toEqual(mine?.keyBytes())
  })

  test('an unknown service is KEYTAB_NO_ENTRY, with those that there are', async () => {
    const realm = await start()
    expect(() => realm.keytab('HTTP/other')).toThrow(
      expect.objectContaining({
        code: 'KEYTAB_NO_ENTRY',
        hint: expect.stringContaining('HTTP/localhost@EXAMPLE.TEST'),
      }),
    )
  })

  test('users and services can come later, and passwords change', async () => {
    const realm = await start({ users: { alice: { password: 'secret' } } })
    expect(realm.passwordOf('alice')).toBe('secret')
    realm.addUser('bob/admin', 'pässwörd')
    realm.setPassword('alice', 'other')
    expect([realm.passwordOf('bob/admin'), realm.passwordOf('alice@EXAMPLE.TEST')]).toEqual(['pässwörd', 'other'])
    expect(() => realm.passwordOf('carol')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => realm.setPassword('carol', 'x')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => realm.setPassword('HTTP/localhost', 'x')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => realm.addUser('alice', 'x')).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))

    await Promise.all([realm.addService('HTTP/a.test'), realm.addService('HTTP/b.test')])
    expect(realm.config.realmOfHost('b.test')).toBe('EXAMPLE.TEST')
    const file = Keytab.parse(readFileSync(realm.environment.KRB5_KTNAME))
    expect(file.principals.map((one) => one.name).sort()).toEqual(['HTTP/a.test', 'HTTP/b.test', 'HTTP/localhost'])
    await expect(realm.addService('HTTP/a.test')).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('its KDC keeps the time of `clock`, and the keytab opens its tickets', async () => {
    const clock = testClock(NOW / 1000)
    const realm = await start({ users: { alice: 'secret' }, clock, enctypes: [18] })
    clock.advance(60_000)
    const error = decodeKrbError((await overUdp(realm.port, asReq())) ?? new Uint8Array(0))
    expect(error.stime).toBe(NOW + 60e6)

    const key = await passwordKey()
    const [reply] = await overTcp(realm.port, framed(asReq({ sname: WEB }, [timestamp(key)])))
    const { ticket, part } = open(reply ?? new Uint8Array(0), MESSAGE.AS_REP, key, KEY_USAGE.AS_REP)
    const [entry] = realm.keytab('HTTP/localhost').entries
    const service = new Key(18, entry?.keyBytes() ?? new Uint8Array(0))
    const inside = decodeEncTicketPart(service.decrypt(KEY_USAGE.TICKET, ticket.encPart.cipher))
    expect([inside.key, inside.authtime]).toEqual([part.key, NOW + 60e6])
    expect(entry?.timestamp.getTime()).toBe(NOW / 1000)
  })

  test('stop removes the files, frees the port and may be called again', async () => {
    let directory: string
    let port: number
    {
      await using realm = await TestRealmCore.start()
      directory = dirname(realm.environment.KRB5_CONFIG)
      port = realm.port
      await Promise.all([realm.stop(), realm.stop()])
    }
    expect(existsSync(directory)).toBe(false)
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const again = await start({ port })
    expect(again.port).toBe(port)
    await expect(TestRealmCore.start({ port })).rejects.toMatchObject({ code: 'PORT_IN_USE' })
  })

  test('no password and no key in its text', async () => {
    const realm = await start({ users: { alice: 'secret' } })
    expect(inspect(realm, { depth: 10, showHidden: true }) + JSON.stringify(realm)).not.toContain('secret')
  })
})

describe('options', () => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['no object', null, 'OPTION_INVALID'],
    ['an unknown name', { realms: 'A' }, 'OPTION_UNKNOWN'],
    ['a realm that would be text of krb5.conf', { realm: 'A\n[libdefaults]' }, 'OPTION_INVALID'],
    ['a realm that is no text', { realm: 1 }, 'OPTION_INVALID'],
    ['users as a list', { users: ['alice'] }, 'OPTION_INVALID'],
    ['a password that is no text', { users: { alice: 1 } }, 'OPTION_INVALID'],
    ['a password that UTF-8 does not have', { users: { alice: '\ud800' } }, 'OPTION_INVALID'],
    ['an unknown option of a user', { users: { alice: { password: 'a', locked: true } } }, 'OPTION_UNKNOWN'],
    ['a user without a password', { users: { alice: {} } }, 'OPTION_INVALID'],
    ['a user of another realm', { users: { 'alice@OTHER.TEST': 'a' } }, 'OPTION_INVALID'],
    ['a user without a name', { users: { '': 'a' } }, 'NAME_INVALID'],
    ['services as a text', { services: 'HTTP/localhost' }, 'OPTION_INVALID'],
    ['a service twice', { services: ['HTTP/a', 'HTTP/a'] }, 'OPTION_INVALID'],
    ['a service that is the ticket-granting one', { services: ['krbtgt/EXAMPLE.TEST'] }, 'OPTION_INVALID'],
    ['no enctypes', { enctypes: [] }, 'OPTION_INVALID'],
    ['an enctype twice', { enctypes: [18, 18] }, 'OPTION_INVALID'],
    ['an enctype by name', { enctypes: ['aes'] }, 'OPTION_INVALID'],
    ['rc4', { enctypes: [23] }, 'ENCTYPE_UNSUPPORTED'],
    ['a port that is none', { port: 65536 }, 'OPTION_INVALID'],
    ['a port as text', { port: '88' }, 'OPTION_INVALID'],
    ['a clock that is a number', { clock: 1 }, 'OPTION_INVALID'],
    ['a clock that tells no time', { clock: { now: () => Number.NaN } }, 'OPTION_INVALID'],
    ['an unknown fault', { faults: ['wrong'] }, 'OPTION_INVALID'],
  ]
  for (const [name, options, code] of cases) {
    test(`${name}: ${code}`, async () => {
      await expect(TestRealmCore.start(options as TestRealmOptions)).rejects.toMatchObject({ code, name: 'UsageError' })
    })
  }
})

describe('testClock', () => {
  test('stands still until it is moved', () => {
    const clock = testClock(new Date(1000))
    expect(clock.now()).toBe(1000)
    clock.advance(500)
    clock.advance(-200)
    expect(clock.now()).toBe(1300)
    clock.set(5)
    expect(clock.now()).toBe(5)
    expect(testClock(7).now()).toBe(7)
    expect(Math.abs(testClock().now() - Date.now())).toBeLessThan(5000)
  })

  test('refuses what is no time', () => {
    expect(() => testClock(Number.NaN)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => testClock(new Date('x'))).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => testClock().advance(Number.POSITIVE_INFINITY)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
  })
})
