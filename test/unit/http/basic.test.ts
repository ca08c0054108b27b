import { describe, expect, test } from 'vitest'
import { CredentialError, KdcError, NetworkError, VerificationError } from '../../../src/errors.ts'
import {
  type Decision,
  MAX_CHECKS,
  type NegotiateServerOptions,
  type PasswordVerifier,
} from '../../../src/http/index.ts'
import { Principal } from '../../../src/krb5/messages/principal.ts'
import { fakeServer, negotiateField, PRIVATE, request } from './fake-acceptor.ts'

const basicField = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

/** Knows alice, whose password is `secret`; others make it fail as their names say. */
function verifier() {
  const asked: string[] = []
  const slow: (() => void)[] = []
  const passwords: PasswordVerifier = {
    async verify({ user, password }) {
      asked.push(user)
      if (user === 'slow') await new Promise<void>((resolve) => slow.push(resolve))
      if (user === 'silent') throw new NetworkError('KDC_TIMEOUT', 'silent')
      if (user === 'forged') throw new VerificationError('PASSWORD_UNPROVEN', 'no proof')
      if (user === 'locked') throw new KdcError(18, 'KDC_ERR_CLIENT_REVOKED', 'locked')
      if (user === 'bug') throw new TypeError('bug')
      if (password !== 'secret') throw new CredentialError('PASSWORD_WRONG', 'wrong')
      return { peer: new Principal([user], 'EXAMPLE.ORG'), expiresAt: new Date(Date.UTC(2030, 0, 1)) }
    },
    isKnown: () => false,
    nameOf: ({ user }) => (user === '' ? undefined : user.toLowerCase()),
  }
  return { passwords, asked, slow }
}

function start(basic: NegotiateServerOptions['basic'] = true, more: NegotiateServerOptions = {}) {
  const { passwords, asked, slow } = verifier()
  return { ...fakeServer({ basic, ...more }, { passwords }), asked, slow }
}

const challenges = (decision: Decision) =>
  'headers' in decision
    ? decision.headers.filter(([name]) => name.endsWith('-Authenticate')).map(([, value]) => value)
    : []
const OFFER = 'Basic realm="Kerberos", charset="UTF-8"'

describe('Basic (RFC 7617)', () => {
  test('MAG-10, MAG-15: the right password is an identity, which says how it was proven', async () => {
    const decision = await start().core.authenticate(request(basicField('alice:secret')))
    expect(decision).toEqual({
      kind: 'accepted',
      headers: [...PRIVATE],
      identity: {
        principal: 'alice@EXAMPLE.ORG',
        name: 'alice',
        realm: 'EXAMPLE.ORG',
        localName: undefined,
        mechanism: 'basic',
        channelBound: false,
        expiresAt: new Date('2030-01-01T00:00:00Z'),
        delegated: undefined,
      },
    })
  })

  test('it is offered after Negotiate, in a field of its own', async () => {
    expect(challenges(await start().core.authenticate(request()))).toEqual(['Negotiate', OFFER])
    expect(challenges(await start({ realm: 'Corp' }).core.authenticate(request()))[1]).toContain('realm="Corp"')
  })

  test('without the option it is another scheme, and is not looked at', async () => {
    const { core, asked } = start(false)
    expect(await core.authenticate(request(basicField('alice:secret')))).toMatchObject({ reason: 'NO_CREDENTIALS' })
    expect(asked).toEqual([])
  })

  test('a negotiation that goes on is not distracted', async () => {
    const decision = await start().core.authenticate({ ...request(negotiateField('leg')), connection: {} })
    expect(challenges(decision)).toEqual(['Negotiate TU9SRQ=='])
  })

  test('MAG-14, challengeOnce: after a token that failed only the password is asked for', async () => {
    const decision = await start(true, { challengeOnce: true }).core.authenticate(request(negotiateField('replay')))
    expect(challenges(decision)).toEqual([OFFER])
  })

  test('challengeOnce: a password that cannot be read was no token', async () => {
    const decision = await start(true, { challengeOnce: true }).core.authenticate(request('Basic !'))
    expect(challenges(decision)).toEqual(['Negotiate', OFFER])
  })

  test('MAG-13: to the proxy as one user, to the origin as another', async () => {
    const both = request(basicField('bob:secret'), {
      headers: { 'proxy-authorization': [basicField('alice:secret')] },
    })
    expect(await start(true, { proxy: true }).core.authenticate(both)).toMatchObject({ identity: { name: 'alice' } })
    expect(await start().core.authenticate(both)).toMatchObject({ identity: { name: 'bob' } })
    const refused = await start(true, { proxy: true }).core.authenticate(request())
    expect(refused).toMatchObject({ status: 407 })
    expect(challenges(refused)).toEqual(['Negotiate', OFFER])
  })

  test('names and passwords are UTF-8, and a password may have colons', async () => {
    const { core, asked } = start()
    await core.authenticate(request(basicField('ålice:a:b:c')))
    expect(asked).toEqual(['ålice'])
  })

  test.each([
    'Basic',
    'Basic !',
    'Basic YWxpY2U=',
    'Basic /////w==',
    basicField('a\0b:c'),
    basicField(`${'a'.repeat(300)}:b`),
  ])('S10: %s cannot be read: 401', async (field) => {
    const { core, asked } = start()
    expect(await core.authenticate(request(field))).toMatchObject({ status: 401, reason: 'TOKEN_MALFORMED' })
    expect(asked).toEqual([])
  })

  test('S93: unknown, wrong, locked and forged look the same from outside', async () => {
    const bodies = new Set<string>()
    for (const user of ['nobody', 'locked', 'forged']) {
      const decision = await start().core.authenticate(request(basicField(`${user}:wrong`)))
      expect(decision).toMatchObject({ kind: 'refused', status: 401 })
      const { headers, body } = decision as Extract<Decision, { kind: 'refused' }>
      bodies.add(JSON.stringify([headers, Buffer.from(body).toString()]))
    }
    expect(bodies.size).toBe(1)
  })

  test('the reason is for the log', async () => {
    const reasons: string[] = []
    const { core } = start(true, { onFailure: ({ reason }) => void reasons.push(reason) })
    for (const user of ['nobody', 'locked', 'forged']) await core.authenticate(request(basicField(`${user}:wrong`)))
    expect(reasons).toEqual(['PASSWORD_WRONG', 'KDC_ERR_CLIENT_REVOKED', 'PASSWORD_UNPROVEN'])
  })

  test('a silent KDC is 503, and no attempt; a fault of the program is a 500', async () => {
    const { core } = start({ maxFailures: 1 })
    for (let i = 0; i < 3; i++) {
      expect(await core.authenticate(request(basicField('silent:x')))).toMatchObject({ status: 503 })
    }
    expect(await core.authenticate(request(basicField('bug:x')))).toMatchObject({
      status: 500,
      cause: new TypeError('bug'),
    })
  })

  test('S87: so many wrong passwords, then 403 without asking anybody, however the name is spelled', async () => {
    const { core, asked, clock } = start({ maxFailures: 3, windowSeconds: 60 })
    const attempt = (text: string) => core.authenticate(request(basicField(text)))
    for (const user of ['alice', 'Alice', 'ALICE']) expect(await attempt(`${user}:x`)).toMatchObject({ status: 401 })
    const refused = await attempt('alice:secret')
    expect(refused).toMatchObject({ status: 403, reason: 'TOO_MANY_ATTEMPTS' })
    expect(refused).toMatchObject({ headers: expect.arrayContaining([['Retry-After', '30']]) })
    expect(asked.length).toBe(3)
    expect(await attempt('bob:secret')).toMatchObject({ kind: 'accepted' })
    clock.now += 60_000
    expect(await attempt('alice:secret')).toMatchObject({ kind: 'accepted' })
  })

  test('S87: so many passwords are checked at once, then 503', async () => {
    const { core, slow } = start({ maxFailures: 1000 })
    const all = Array.from({ length: MAX_CHECKS }, () => core.authenticate(request(basicField('slow:secret'))))
    await new Promise(setImmediate)
    expect(await core.authenticate(request(basicField('alice:secret')))).toMatchObject({ status: 503 })
    for (const go of slow) go()
    await Promise.all(all)
    expect(await core.authenticate(request(basicField('alice:secret')))).toMatchObject({ kind: 'accepted' })
  })

  test.each<[string, object, boolean]>([
    ['over http from another machine', { secure: false, address: '10.0.0.7' }, false],
    ['over http from nobody knows where', { secure: false }, false],
    ['over https', { secure: true, address: '10.0.0.7' }, true],
    ['on this machine', { secure: false, address: '127.0.0.1' }, true],
    ['on this machine, IPv6', { secure: false, address: '::1' }, true],
    ['on this machine, mapped', { secure: false, address: '::ffff:127.0.0.1' }, true],
  ])('S88: %s', async (_name, way, good) => {
    const { core, asked } = start()
    const decision = await core.authenticate({ ...request(basicField('alice:secret')), ...way })
    expect(decision).toMatchObject(good ? { kind: 'accepted' } : { status: 401, reason: 'PASSWORD_INSECURE' })
    expect(asked.length).toBe(good ? 1 : 0)
    const offer = await core.authenticate({ ...request(), ...way })
    expect(challenges(offer)).toEqual(good ? ['Negotiate', OFFER] : ['Negotiate'])
  })

  test('S88: unless the program says that it knows', async () => {
    const decision = await start({ dangerouslyOverHttp: true }).core.authenticate({
      ...request(basicField('alice:secret')),
      secure: false,
      address: '10.0.0.7',
    })
    expect(decision.kind).toBe('accepted')
  })

  test('S80: no password is in an event, a failure or a refusal', async () => {
    const seen: unknown[] = []
    const { core, events } = start(true, { onFailure: (failure) => void seen.push(failure) })
    seen.push(await core.authenticate(request(basicField('alice:hunter2'))), events)
    expect(JSON.stringify(seen)).not.toMatch(/hunter2|aHVudGVyMg|YWxpY2U6/)
  })
})
