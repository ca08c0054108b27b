import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Keytab, Krb5Config } from '../../../src/entries/index.ts'
import { createNegotiateServer, type NegotiateServerOptions, verifyPassword } from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'

const hashes = vi.hoisted(() => ({ count: 0 }))
vi.mock('node:crypto', async (original) => {
  const actual = await original<typeof import('node:crypto')>()
  const pbkdf2 = (...values: Parameters<typeof actual.pbkdf2>) => {
    hashes.count++
    actual.pbkdf2(...values)
  }
  return { ...actual, pbkdf2 }
})

/** Passwords against KDCs: one that is ours, one that only says so, one that is silent. */

let realm: TestRealm
/** Of the same name, with other keys. */
let forged: TestRealm
let silent: Krb5Config
let messages = 0
const count = () => void messages++

beforeAll(async () => {
  const services = ['HTTP/localhost', 'HTTP/web1.example.test']
  realm = await TestRealm.start({ users: { alice: 'secret', bob: 'pässwörd' }, services })
  forged = await TestRealm.start({ users: { alice: 'chosen' }, services })
  silent = Krb5Config.parse(
    '[libdefaults]\n default_realm = EXAMPLE.TEST\n[realms]\n EXAMPLE.TEST = {\n kdc = 127.0.0.1:1\n }\n',
  )
  await realm.login('alice') // the realm hashes its users’ passwords in this process too, once
  subscribe('spnego:kdc', count)
})
afterAll(async () => {
  unsubscribe('spnego:kdc', count)
  await realm.stop()
  await forged.stop()
})
beforeEach(() => {
  Reflect.deleteProperty(globalThis, Symbol.for('spnego.process-defaults.1')) // attempts of other tests
  messages = 0
  hashes.count = 0
})

const options = (config = realm.config) => ({ keytab: realm.keytab('HTTP/localhost'), config })

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error) => error.code ?? error,
  )
}

describe('verifyPassword', () => {
  test('PK-02, MAG-10: who it is, and until when', async () => {
    const { principal, expiresAt } = await verifyPassword('alice', 'secret', options())
    expect(principal).toBe('alice@EXAMPLE.TEST')
    expect(expiresAt.getTime()).toBeGreaterThan(Date.now())
    expect([messages, hashes.count]).toEqual([3, 1])
  })

  test('names with their realm, however it is spelled; UTF-8; bytes', async () => {
    for (const name of ['alice@EXAMPLE.TEST', 'alice@example.test']) {
      expect((await verifyPassword(name, 'secret', options())).principal).toBe('alice@EXAMPLE.TEST')
    }
    expect((await verifyPassword('bob', Buffer.from('pässwörd'), options())).principal).toBe('bob@EXAMPLE.TEST')
  })

  test('S93: a wrong password and an unknown user: one answer, the same messages, as much work', async () => {
    const asked = []
    for (const user of ['alice', 'nobody']) {
      messages = hashes.count = 0
      const error = await verifyPassword(user, 'wrong', options()).catch((thrown) => thrown)
      asked.push([error.name, error.code, error.message, error.hint, messages, hashes.count])
    }
    expect(asked[0]).toEqual(['CredentialError', 'PASSWORD_WRONG', expect.any(String), undefined, 2, 1])
    expect(asked[1]).toEqual(asked[0])
  })

  test('S93: with a primary KDC too: a guess goes to one KDC, once', async () => {
    const text = readFileSync(realm.environment.KRB5_CONFIG, 'utf8')
    const [, primary] = /kdc = (\S+)/.exec(readFileSync(forged.environment.KRB5_CONFIG, 'utf8')) ?? []
    const config = Krb5Config.parse(text.replace(/^( *)kdc = .*$/m, `$&\n$1primary_kdc = ${primary}`))
    for (const user of ['alice', 'nobody']) {
      messages = hashes.count = 0
      expect(await codeOf(verifyPassword(user, 'wrong', options(config)))).toBe('PASSWORD_WRONG')
      expect([user, messages, hashes.count]).toEqual([user, 2, 1])
    }
  })

  test('S101: the anonymous name is no user, and no KDC is asked', async () => {
    expect(await codeOf(verifyPassword('WELLKNOWN/ANONYMOUS', 'secret', options()))).toBe('PASSWORD_WRONG')
    expect(await codeOf(verifyPassword('WELLKNOWN/ANONYMOUS@EXAMPLE.TEST', 'secret', options()))).toBe('PASSWORD_WRONG')
    expect(messages).toBe(0)
  })

  test('S92: a KDC that only says so proves nothing, whatever password was chosen for it', async () => {
    expect(
      (await verifyPassword('alice', 'chosen', { keytab: forged.keytab('HTTP/localhost'), config: forged.config }))
        .principal,
    ).toBe('alice@EXAMPLE.TEST')
    expect(await codeOf(verifyPassword('alice', 'chosen', options(forged.config)))).toBe('PASSWORD_UNPROVEN')
  })

  test('S92: nor one that does not know this server', async () => {
    await using other = await TestRealm.start({ users: { alice: 'chosen' }, services: ['HTTP/other.example.test'] })
    const error = await verifyPassword('alice', 'chosen', options(other.config)).catch((thrown) => thrown)
    expect([error.code, error.cause.code]).toEqual(['PASSWORD_UNPROVEN', 'KDC_ERR_S_PRINCIPAL_UNKNOWN'])
  })

  test.each(['alice@OTHER.TEST', 'alice@', '@EXAMPLE.TEST', 'a/', '\\', 'alice@EXAMPLE.TEST@EXAMPLE.TEST'])(
    'S94: %s: no user chooses the KDC that is asked',
    async (user) => {
      expect(await codeOf(verifyPassword(user, 'secret', options()))).toBe('PASSWORD_WRONG')
      expect(messages).toBe(0)
    },
  )

  test('an empty password is wrong, and nobody is asked', async () => {
    expect(await codeOf(verifyPassword('alice', '', options()))).toBe('PASSWORD_WRONG')
    expect(messages).toBe(0)
  })

  test('a KDC that does not answer, and one that is unknown', async () => {
    expect(await codeOf(verifyPassword('alice', 'secret', options(silent)))).toBe('KDC_UNREACHABLE')
    const none = Krb5Config.parse('[libdefaults]\n default_realm = EXAMPLE.TEST\n dns_lookup_kdc = false\n')
    expect(await codeOf(verifyPassword('alice', 'secret', options(none)))).toBe('KDC_UNKNOWN')
  })

  test('what an administrator must mend is said', async () => {
    expect(await codeOf(verifyPassword('alice', 'secret', { keytab: '/nowhere' }))).toBe('KEYTAB_NOT_FOUND')
    const wrong = { ...options(), principal: 'HTTP/absent' }
    expect(await codeOf(verifyPassword('alice', 'secret', wrong))).toBe('KEYTAB_NO_ENTRY')
    expect(await codeOf(verifyPassword('alice', 'secret', { ...options(), config: {} as never }))).toBe(
      'OPTION_INVALID',
    )
    expect(await codeOf(verifyPassword('alice', 'secret', { ...options(), realm: 'x' } as never))).toBe(
      'OPTION_UNKNOWN',
    )
    expect(await codeOf(verifyPassword('', 'secret', options()))).toBe('OPTION_INVALID')
    expect(await codeOf(verifyPassword('alice', 5 as never, options()))).toBe('OPTION_INVALID')
    expect(await codeOf(verifyPassword('alice', Uint8Array.of(0xff), options()))).toBe('OPTION_INVALID')
  })

  test('S80: no error shows the password', async () => {
    for (const config of [realm.config, forged.config, silent]) {
      const error = await verifyPassword('alice', 'hunter2-hunter2', options(config)).catch((thrown) => thrown)
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
    }
  })
})

describe('basic', () => {
  const field = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const request = (text: string, host = 'localhost') => ({
    method: 'GET',
    url: '/',
    headers: { host: [host], authorization: [field(text)] },
  })
  const server = (basic: object = {}, more: NegotiateServerOptions = {}) =>
    createNegotiateServer({
      keytab: realm.keytab('HTTP/localhost'),
      basic: { config: realm.config, ...basic },
      ...more,
    })

  test('MAG-10: an identity from the KDC’s word and our own key', async () => {
    expect(await server().authenticate(request('alice:secret'))).toMatchObject({
      kind: 'accepted',
      identity: { principal: 'alice@EXAMPLE.TEST', mechanism: 'basic' },
    })
    expect(await server().authenticate(request('alice:wrong'))).toMatchObject({ status: 401, reason: 'PASSWORD_WRONG' })
  })

  test('S92: a forged KDC is 401, a dead one 503', async () => {
    expect(await server({ config: forged.config }).authenticate(request('alice:chosen'))).toMatchObject({
      status: 401,
      reason: 'PASSWORD_UNPROVEN',
    })
    expect(await server({ config: silent }).authenticate(request('alice:secret'))).toMatchObject({ status: 503 })
  })

  test('a krb5.conf that names no KDC is no user’s fault: 503, however often, and no attempt', async () => {
    const config = Krb5Config.parse('[libdefaults]\n default_realm = EXAMPLE.TEST\n dns_lookup_kdc = false\n')
    const guard = server({ config, maxFailures: 1 })
    for (let i = 0; i < 2; i++) {
      expect(await guard.authenticate(request('alice:secret'))).toMatchObject({ status: 503, reason: 'KDC_UNKNOWN' })
    }
  })

  test('without a keytab it does not start', () => {
    expect(() => createNegotiateServer({ keytab: '/nowhere', basic: true })).toThrow(
      expect.objectContaining({ code: 'KEYTAB_NOT_FOUND' }),
    )
    expect(() => server({ config: {} })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  test('the ticket is for the host that is asked, when the keytab has it', async () => {
    const both = Keytab.parse(realm.keytab('HTTP/web1.example.test').toBytes())
    const guard = server({}, { keytab: both })
    expect((await guard.authenticate(request('alice:secret', 'web1.example.test:8080'))).kind).toBe('accepted')
    expect((await guard.authenticate(request('alice:secret', 'alias'))).kind).toBe('accepted')
  })

  test('the same question at the same time is asked once; later again', async () => {
    const guard = server()
    await Promise.all(Array.from({ length: 5 }, () => guard.authenticate(request('alice:secret'))))
    expect([messages, hashes.count]).toEqual([3, 1])
    await guard.authenticate(request('alice:secret'))
    expect(messages).toBe(6)
  })

  test('a page’s requests with the right password are one attempt, however many', async () => {
    const guard = server({ maxFailures: 1 })
    const page = (text: string) => Array.from({ length: 100 }, () => guard.authenticate(request(text)))
    expect(new Set((await Promise.all(page('alice:secret'))).map(({ kind }) => kind))).toEqual(new Set(['accepted']))
    expect(messages).toBe(3)
    expect((await guard.authenticate(request('alice:wrong'))).kind).toBe('refused')
    expect(await guard.authenticate(request('alice:secret'))).toMatchObject({ reason: 'TOO_MANY_ATTEMPTS' })
  })

  test('S87: guesses beside the right password are counted, and refused, as ever', async () => {
    const guard = server({ maxFailures: 2, rememberSeconds: 60 })
    await guard.authenticate(request('alice:secret'))
    const guesses = ['alice:1', 'alice:2', 'alice:3', 'alice:secret', 'alice:secret']
    const decisions = await Promise.all(guesses.map((text) => guard.authenticate(request(text))))
    expect(decisions.map((decision) => 'reason' in decision && decision.reason)).toEqual([
      'PASSWORD_WRONG',
      'PASSWORD_WRONG',
      'TOO_MANY_ATTEMPTS',
      'TOO_MANY_ATTEMPTS',
      'TOO_MANY_ATTEMPTS',
    ])
  })

  test('rememberSeconds: the right password is not asked about again, a wrong one is', async () => {
    const guard = server({ rememberSeconds: 60 })
    for (let i = 0; i < 3; i++) await guard.authenticate(request('alice:secret'))
    expect(messages).toBe(3)
    for (let i = 0; i < 2; i++) expect((await guard.authenticate(request('alice:wrong'))).kind).toBe('refused')
    expect(messages).toBe(7)
  })

  test('S87: names are counted as the KDC would take them', async () => {
    const guard = server({ maxFailures: 2 })
    for (const user of ['alice', 'alice@example.test']) await guard.authenticate(request(`${user}:wrong`))
    messages = 0
    for (const user of ['alice', 'ALICE@EXAMPLE.TEST', 'alice@Example.Test']) {
      expect(await guard.authenticate(request(`${user}:secret`))).toMatchObject({ reason: 'TOO_MANY_ATTEMPTS' })
    }
    expect(messages).toBe(0)
    expect((await guard.authenticate(request('bob:pässwörd'))).kind).toBe('accepted')
  })

  test('MAG-17: a session of a password ends with the password’s ticket', async () => {
    const guard = server({}, { sessions: true })
    const decision = await guard.authenticate(request('alice:secret'))
    if (decision.kind !== 'accepted') throw new Error('refused')
    const cookie = decision.headers.find(([name]) => name === 'Set-Cookie')?.[1].split(';')[0] as string
    const asked = { method: 'GET', url: '/', headers: { cookie: [cookie] } }
    expect(await guard.authenticate(asked)).toMatchObject({ identity: { mechanism: 'session' } })
    vi.useFakeTimers({ now: decision.identity.expiresAt.getTime(), toFake: ['Date'] })
    try {
      expect(await guard.authenticate(asked)).toMatchObject({ status: 401, reason: 'SESSION_EXPIRED' })
    } finally {
      vi.useRealTimers()
    }
  })
})
