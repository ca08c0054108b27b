import { describe, expect, test, vi } from 'vitest'
import { MAX_ENDED_PER_PRINCIPAL, MAX_ENDED_SESSIONS } from '../../../src/http/ended-sessions.ts'
import {
  type AcceptorContexts,
  type Decision,
  MAX_OPEN_SESSIONS,
  type NegotiateServerOptions,
  type Proofs,
  type RevocationStore,
  type Session,
  type SessionSealer,
} from '../../../src/http/index.ts'
import { Principal } from '../../../src/krb5/messages/principal.ts'
import { sessionSealer } from '../../../src/sessions/index.ts'
import { FakeContexts, fakeServer, negotiateField, request, START } from './fake-acceptor.ts'

const random = (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length))
const KEY = random(32)
const HOUR = 3600_000
const VARY = [
  ['Cache-Control', 'private'],
  ['Vary', 'Authorization, Cookie'],
]
const PROOF = { mechanism: 'negotiate', service: undefined, isDirect: false, isPathChecked: false } as const
const TICKET_END = Date.UTC(2030, 0, 1)

/** A server whose sealer is the real one, and counts. */
async function start(
  sessions: NegotiateServerOptions['sessions'] = {},
  more: NegotiateServerOptions = {},
  keys = [KEY],
) {
  const sealer = await sessionSealer(keys as [Uint8Array], random)
  const [open, seal] = [vi.spyOn(sealer, 'open'), vi.spyOn(sealer, 'seal')]
  const proofs: Partial<Proofs> = { loadSealer: async () => sealer }
  return { ...fakeServer({ sessions: sessions as true, ...more }, proofs), open, seal }
}

const withCookie = (cookie: string | undefined, parts: Parameters<typeof request>[1] = {}, token?: string) =>
  request(token && negotiateField(token), {
    ...parts,
    headers: { ...parts.headers, ...(cookie && { cookie: ['theme=dark', cookie] }) },
  })

/** `name=value` of the cookie that a response sets. */
function cookieOf(decision: Decision): string | undefined {
  const lines = 'headers' in decision ? decision.headers.filter(([name]) => name === 'Set-Cookie') : []
  return lines[0]?.[1].split(';')[0]
}

async function login(server: Awaited<ReturnType<typeof start>>, user = 'alice', secure = false): Promise<string> {
  const decision = await server.core.authenticate({ ...request(negotiateField(user)), secure })
  return cookieOf(decision) as string
}

describe('a session', () => {
  test('a login sets a cookie; the cookie is a login, without a token of the server', async () => {
    const server = await start()
    const decision = await server.core.authenticate(request(negotiateField('alice')))
    const lines = (decision as { headers: readonly (readonly [string, string])[] }).headers
    expect(lines[0]).toEqual(['WWW-Authenticate', 'Negotiate U1RPS0VO'])
    expect(lines[1]?.[1]).toMatch(/^spnego=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax$/)
    const next = await server.core.authenticate(withCookie(cookieOf(decision)))
    expect(next).toEqual({
      kind: 'accepted',
      headers: VARY,
      identity: {
        principal: 'alice@EXAMPLE.ORG',
        name: 'alice',
        realm: 'EXAMPLE.ORG',
        localName: undefined,
        mechanism: 'session',
        channelBound: true,
        expiresAt: new Date(START + 8 * HOUR),
        delegated: undefined,
      },
    })
  })

  test('RFC 9111 §7.3: no shared cache keeps the cookie for somebody else', async () => {
    const old = random(32)
    const cookie = await login(await start({}, {}, [old]))
    const server = await start({}, {}, [KEY, old])
    const begun = await server.core.authenticate(request(negotiateField('alice')))
    const renewed = await server.core.authenticate(withCookie(cookie)) // without Authorization, which keeps them off (RFC 9111 §3.5)
    for (const decision of [begun, renewed]) {
      expect(cookieOf(decision)).toBeDefined()
      expect(decision).toMatchObject({ headers: expect.arrayContaining([['Cache-Control', 'private']]) })
    }
  })

  test('over https its name binds it to the host, and plain http does not know it', async () => {
    const server = await start()
    const cookie = await login(server, 'alice', true)
    expect(cookie).toMatch(/^__Host-spnego=/)
    expect((await server.core.authenticate({ ...withCookie(cookie), secure: true })).kind).toBe('accepted')
    expect((await server.core.authenticate(withCookie(cookie))).kind).toBe('refused')
    expect((await server.core.authenticate({ ...withCookie(cookie), url: 'https://a.example/' })).kind).toBe('accepted')
    const renamed = cookie.replace('__Host-', '')
    expect(await server.core.authenticate(withCookie(renamed))).toMatchObject({ reason: 'SESSION_REFUSED' })
  })

  test('is opened once, and then found', async () => {
    const one = await start()
    const other = await start()
    const cookie = await login(one)
    for (let i = 0; i < 5; i++) await other.core.authenticate(withCookie(cookie))
    expect(other.open).toHaveBeenCalledTimes(1)
    for (let i = 0; i < 5; i++) await one.core.authenticate(withCookie(cookie))
    expect(one.open).toHaveBeenCalledTimes(0)
    expect(one.seal).toHaveBeenCalledTimes(1)
  })

  test('a fresh Authorization beats the cookie, also when it fails', async () => {
    const server = await start()
    const cookie = await login(server)
    expect(await server.core.authenticate(withCookie(cookie, {}, 'bob'))).toMatchObject({
      identity: { name: 'bob', mechanism: 'negotiate' },
    })
    expect(await server.core.authenticate(withCookie(cookie, {}, 'replay'))).toMatchObject({ reason: 'REPLAY' })
    expect(cookieOf(await server.core.authenticate(withCookie(cookie, {}, 'bob')))).toBeDefined()
  })

  test('who sends a token and a cookie that is as good gets no new one', async () => {
    const server = await start()
    const cookie = await login(server)
    expect(cookieOf(await server.core.authenticate(withCookie(cookie, {}, 'alice')))).toBeUndefined()
    server.clock.now += 5 * HOUR
    expect(cookieOf(await server.core.authenticate(withCookie(cookie, {}, 'alice')))).toBeDefined()
  })

  test('a scheme that is not ours does not hide it', async () => {
    const server = await start()
    const bearer = withCookie(await login(server), { headers: { authorization: ['Bearer x'] } })
    expect((await server.core.authenticate(bearer)).kind).toBe('accepted')
  })

  test.each<[string, number, number, boolean]>([
    ['S90: its own maximum', 3600, START + HOUR - 1, true],
    ['S90: its own maximum', 3600, START + HOUR, false],
    ['S90: the ticket’s end, when that is earlier', 7 * 86_400, TICKET_END - 1, true],
    ['S90: the ticket’s end, when that is earlier', 7 * 86_400, TICKET_END, false],
  ])('%s: %d s, at %d: %s', async (_name, maxAgeSeconds, now, good) => {
    const server = await start({ maxAgeSeconds })
    const cookie = await login(server)
    server.clock.now = now
    const decision = await server.core.authenticate(withCookie(cookie))
    expect(decision).toMatchObject(good ? { kind: 'accepted' } : { status: 401, reason: 'SESSION_EXPIRED' })
    const other = await start({ maxAgeSeconds })
    other.clock.now = now
    expect((await other.core.authenticate(withCookie(cookie))).kind).toBe(good ? 'accepted' : 'refused')
  })

  test('S89: altered: 401 with a challenge, and nobody', async () => {
    const server = await start()
    const cookie = await login(server)
    for (const text of [
      `${cookie}x`,
      cookie.slice(0, -1),
      'spnego=',
      'spnego=a.b.c.d.e',
      `spnego=${'x'.repeat(5000)}`,
    ]) {
      expect(await server.core.authenticate(withCookie(text)), text).toMatchObject({ kind: 'refused', status: 401 })
    }
    expect(await server.core.authenticate(withCookie(`${cookie}x`))).toMatchObject({ reason: 'SESSION_REFUSED' })
  })

  test('restart, and two nodes: who has the key knows it; a random key ends with its process', async () => {
    const cookie = await login(await start())
    expect((await (await start()).core.authenticate(withCookie(cookie))).kind).toBe('accepted')
    const others = await start({}, {}, [random(32)])
    expect((await others.core.authenticate(withCookie(cookie))).kind).toBe('refused')
  })

  test('rotation: the old key’s session goes on, under the new key, and ends when it would have', async () => {
    const old = random(32)
    const cookie = await login(await start({}, {}, [old]))
    const server = await start({}, {}, [KEY, old])
    const decision = await server.core.authenticate(withCookie(cookie))
    const renewed = cookieOf(decision)
    expect(decision).toMatchObject({ identity: { name: 'alice', expiresAt: new Date(START + 8 * HOUR) } })
    expect(renewed).not.toBe(cookie)
    const after = await start({}, {}, [KEY])
    expect((await after.core.authenticate(withCookie(cookie))).kind).toBe('refused')
    const again = await after.core.authenticate(withCookie(renewed))
    expect(again).toMatchObject({ headers: VARY, identity: { expiresAt: new Date(START + 8 * HOUR) } })
  })

  test('S84: a browser’s unsafe request for another site is refused, also with a session', async () => {
    const server = await start({ sameSite: 'none' })
    const cookie = await login(server)
    const headers = { 'sec-fetch-site': ['cross-site'] }
    expect(await server.core.authenticate(withCookie(cookie, { method: 'POST', headers }))).toMatchObject({
      status: 403,
      reason: 'CROSS_SITE',
    })
    expect(server.open).not.toHaveBeenCalled()
  })

  test('S89: where the host decides whose tickets count, a session is for the host that it began at', async () => {
    const at = (host: string, parts: Parameters<typeof withCookie>[1] = {}) => ({ ...parts, headers: { host: [host] } })
    const principal = ({ headers }: { headers: object }) => `HTTP/${(headers as { host: string[] }).host[0]}`
    const [one, other] = [await start({}, { principal }), await start({}, { principal })]
    const cookie = cookieOf(await one.core.authenticate(request(negotiateField('alice'), at('a.example'))))
    for (const { core } of [one, other, one]) {
      expect((await core.authenticate(withCookie(cookie, at('a.example')))).kind).toBe('accepted')
      expect(await core.authenticate(withCookie(cookie, at('b.example')))).toMatchObject({ reason: 'SESSION_REFUSED' })
    }
    const aliases = await start()
    const known = cookieOf(await aliases.core.authenticate(request(negotiateField('alice'), at('a.example'))))
    expect((await aliases.core.authenticate(withCookie(known, at('b.example')))).kind).toBe('accepted')
  })

  test('S37: one that began without bindings is none where they are required, until a login has them', async () => {
    const verify = async () => ({ peer: new Principal(['alice'], 'EXAMPLE.ORG'), expiresAt: new Date(TICKET_END) })
    const passwords = { verify, isKnown: () => false, nameOf: ({ user }: { user: string }) => user }
    const sealer = await sessionSealer([KEY], random)
    const other = fakeServer({ sessions: true, basic: true }, { loadSealer: async () => sealer, passwords })
    const unbound = cookieOf(await other.core.authenticate(request(`Basic ${btoa('alice:secret')}`)))
    const { core } = await start({}, { channelBindings: 'required', failureStatus: 403 })
    expect(await core.authenticate(withCookie(unbound))).toMatchObject({ status: 401, reason: 'BINDINGS_MISMATCH' })
    const bound = cookieOf(await core.authenticate(withCookie(unbound, {}, 'alice')))
    expect((await core.authenticate(withCookie(bound))).kind).toBe('accepted')
    const optional = await start({}, { channelBindings: 'required', required: false })
    expect((await optional.core.authenticate(withCookie(unbound))).kind).toBe('anonymous')
  })

  test('authorize is asked each time, and who it refuses begins none', async () => {
    const asked: string[] = []
    const server = await start({}, { authorize: ({ name }) => asked.push(name) < 3 })
    const cookie = await login(server)
    await server.core.authenticate(withCookie(cookie))
    const refused = await server.core.authenticate(withCookie(cookie))
    expect(refused).toMatchObject({ status: 403, reason: 'FORBIDDEN' })
    expect(cookieOf(await server.core.authenticate(request(negotiateField('carol'))))).toBeUndefined()
    expect(asked).toEqual(['alice', 'alice', 'alice', 'carol'])
  })

  test('RFC 9110 §12.5.5: what is let through is for that cookie, in caches too', async () => {
    const server = await start()
    const begun = await server.core.authenticate(request(negotiateField('alice')))
    const next = await server.core.authenticate(withCookie(cookieOf(begun)))
    for (const decision of [begun, next]) {
      expect(decision).toMatchObject({
        kind: 'accepted',
        headers: expect.arrayContaining([['Vary', 'Authorization, Cookie']]),
      })
    }
  })

  test('what is refused is not kept apart by caches', async () => {
    const decision = await (await start()).core.authenticate(request())
    expect(decision).toMatchObject({ headers: expect.arrayContaining([['Vary', 'Authorization, Cookie']]) })
  })
})

test('so many are kept open, then the one that was not used for longest is opened again', async () => {
  const opened: string[] = []
  const sealer = {
    ...(await sessionSealer([KEY], random)),
    open: async (text: string) => {
      opened.push(text)
      const session = { principal: 'a@B', name: 'a', realm: 'B', channelBound: false, proof: PROOF }
      return { session: { ...session, id: text, startedAt: START, expiresAt: START + HOUR }, isOld: false }
    },
  }
  const { core } = fakeServer({ sessions: true }, { loadSealer: async () => sealer })
  const ask = (n: number) => core.authenticate(request(undefined, { headers: { cookie: [`spnego=${n}`] } }))
  for (let n = 0; n < MAX_OPEN_SESSIONS; n++) await ask(n)
  await ask(0)
  await ask(MAX_OPEN_SESSIONS)
  opened.length = 0
  await ask(0)
  await ask(1)
  expect(opened).toEqual(['1'])
})

describe('the end of a session', () => {
  function revocations(): RevocationStore & { readonly ids: Map<string, number>; down: boolean } {
    const ids = new Map<string, number>()
    const store = {
      ids,
      down: false,
      async revoke(id: string, until: number) {
        ids.set(id, until)
      },
      async isRevoked(id: string) {
        if (store.down) throw new Error('down')
        return ids.has(id)
      },
    }
    return store
  }

  test('S91: the browser forgets it, and a copy is refused here', async () => {
    const server = await start()
    const cookie = await login(server)
    expect(await server.core.endSession(undefined, withCookie(cookie))).toEqual([
      ['Set-Cookie', 'spnego=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax'],
    ])
    expect(await server.core.authenticate(withCookie(cookie))).toMatchObject({ reason: 'SESSION_REFUSED' })
  })

  test('S91: nor elsewhere, with a store; other sessions of the same user go on', async () => {
    const store = revocations()
    const [one, other] = [await start({ revocations: store }), await start({ revocations: store })]
    const [ended, goesOn] = [await login(one), await login(one)]
    await one.core.endSession(undefined, withCookie(ended))
    expect([...store.ids.values()]).toEqual([START + 8 * HOUR])
    expect(await other.core.authenticate(withCookie(ended))).toMatchObject({ reason: 'SESSION_REFUSED' })
    expect((await other.core.authenticate(withCookie(goesOn))).kind).toBe('accepted')
  })

  test('S91: the session that this very request began ends too', async () => {
    const store = revocations()
    const server = await start({ revocations: store })
    const decision = await server.core.authenticate(request(negotiateField('alice')))
    if (decision.kind !== 'accepted') throw new Error('refused')
    await server.core.endSession(decision.identity, request())
    expect(store.ids.size).toBe(1)
    expect((await server.core.authenticate(withCookie(cookieOf(decision)))).kind).toBe('refused')
  })

  test('S91: a store that has lost its memory may have forgotten that it ended: it has', async () => {
    let since: number | undefined
    const store = { ...revocations(), rememberedSince: () => since }
    const server = await start({ revocations: store })
    const cookie = await login(server)
    expect((await server.core.authenticate(withCookie(cookie))).kind).toBe('accepted')
    since = START + 1
    expect(await server.core.authenticate(withCookie(cookie))).toMatchObject({ reason: 'SESSION_REFUSED' })
    server.clock.now += 1
    expect((await server.core.authenticate(withCookie(await login(server)))).kind).toBe('accepted')
  })

  test('S47 S91 A04: a store whose rememberedSince throws, gives a promise or no number: no session counts', async () => {
    let since: () => unknown = () => undefined
    const store = { ...revocations(), rememberedSince: () => since() as number }
    const server = await start({ revocations: store })
    const cookie = await login(server)
    const odd: [() => unknown, number, string][] = [
      [throwing, 503, 'REPLAY_STORE_UNAVAILABLE'],
      [() => Promise.resolve(0), 503, 'REPLAY_STORE_UNAVAILABLE'],
      [() => Promise.reject(new RangeError('theirs')), 503, 'REPLAY_STORE_UNAVAILABLE'],
      [() => Number.NaN, 401, 'SESSION_REFUSED'],
    ]
    for (const [answer, status, reason] of odd) {
      since = answer
      expect(await server.core.authenticate(withCookie(cookie))).toMatchObject({ status, reason })
    }
    await new Promise((resolve) => setImmediate(resolve)) // an unhandled rejection fails the run
  })

  test('S91: nothing that was ended goes on because many others were', async () => {
    const sealed: Session[] = []
    const sealer: SessionSealer = {
      ...(await sessionSealer([KEY], random)),
      seal: async (session) => String(sealed.push(session) - 1),
      open: async (text) => ({ session: sealed[Number(text)] as Session, isOld: false }),
    }
    const { core, clock } = fakeServer({ sessions: true }, { loadSealer: async () => sealer })
    const begun = async (name = 'alice') => cookieOf(await core.authenticate(request(negotiateField(name))))
    const ended = await begun()
    await core.endSession(undefined, withCookie(ended))
    const before = await begun()
    clock.now++
    for (let i = 0; i < MAX_ENDED_SESSIONS; i++) await core.endSession(undefined, withCookie(await begun(`user${i}`)))
    clock.now++
    expect(await core.authenticate(withCookie(ended))).toMatchObject({ reason: 'SESSION_REFUSED' })
    expect(await core.authenticate(withCookie(before))).toMatchObject({ reason: 'SESSION_REFUSED' }) // as old as what is forgotten
    expect((await core.authenticate(withCookie(await begun()))).kind).toBe('accepted')
  })

  test('S71: a forwarded login ends when its session cannot begin', async () => {
    const sealer = { ...(await sessionSealer([KEY], random)), seal: () => Promise.reject(new RangeError('no seal')) }
    let released = 0
    const contexts = new FakeContexts()
    const forwarding: AcceptorContexts = {
      createContext: () =>
        Object.assign(contexts.createContext(), { delegated: { release: () => released++ } as never }),
      close: () => contexts.close(),
    }
    const { core } = fakeServer({ sessions: true }, { contexts: forwarding, loadSealer: async () => sealer })
    expect(await core.authenticate(request(negotiateField('alice')))).toMatchObject({ status: 500 })
    expect(released).toBe(1)
  })

  test('S91: a user who logs in and out for ever ends sessions of that user alone', async () => {
    const server = await start()
    const other = await login(server, 'bob')
    const old = await login(server)
    server.clock.now++
    const ended: string[] = []
    for (let i = 0; i <= MAX_ENDED_PER_PRINCIPAL; i++) {
      ended.push(await login(server))
      await server.core.endSession(undefined, withCookie(ended[i]))
    }
    for (const cookie of [...ended, old]) {
      expect(await server.core.authenticate(withCookie(cookie))).toMatchObject({ reason: 'SESSION_REFUSED' })
    }
    server.clock.now++
    expect((await server.core.authenticate(withCookie(await login(server)))).kind).toBe('accepted')
    expect((await server.core.authenticate(withCookie(other))).kind).toBe('accepted')
  })

  test('S47: while the store is away, who logs in is in, and who logs out is told why that is not everywhere', async () => {
    const store = revocations()
    const { core } = await start({ revocations: { ...store, revoke: () => Promise.reject(new Error('down')) } })
    const cookie = cookieOf(await core.authenticate(request(negotiateField('alice'))))
    store.down = true
    const again = await core.authenticate(withCookie(cookie, {}, 'alice'))
    expect([again.kind, cookieOf(again)]).toEqual(['accepted', expect.stringMatching(/^spnego=/)])
    await expect(core.endSession(undefined, withCookie(cookie))).rejects.toMatchObject({
      code: 'REPLAY_STORE_UNAVAILABLE',
      cause: { message: 'down' },
    })
  })

  test('S47: a store that does not answer is no reason to accept', async () => {
    const store = revocations()
    const server = await start({ revocations: store })
    const cookie = await login(server)
    store.down = true
    expect(await server.core.authenticate(withCookie(cookie))).toMatchObject({
      status: 503,
      reason: 'REPLAY_STORE_UNAVAILABLE',
      headers: expect.arrayContaining([['Retry-After', '5']]),
    })
    store.down = false
    expect((await server.core.authenticate(withCookie(cookie))).kind).toBe('accepted')
  })
})

function throwing(): never {
  throw new RangeError('theirs')
}
