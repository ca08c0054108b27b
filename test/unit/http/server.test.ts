import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { ERROR_CODES } from '../../../src/errors.ts'
import type { Decision, Failure, Identity, NegotiateServerOptions } from '../../../src/http/index.ts'
import { fakeServer, negotiateField, PRIVATE, request } from './fake-acceptor.ts'

const TOKEN = 'Negotiate U1RPS0VO' // STOKEN

interface Seen {
  readonly kind?: string
  readonly status?: number
  readonly reason?: string
  readonly challenges?: readonly string[]
  readonly body?: string
}

/** The parts of a decision that a browser would see. */
function seen(decision: Decision): Seen {
  if (decision.kind !== 'refused') return { kind: decision.kind }
  const { status, reason, headers, body } = decision
  const challenges = headers.filter(([name]) => name === 'WWW-Authenticate').map(([, value]) => value)
  return { status, reason, challenges, body: Buffer.from(body).toString() }
}

async function decide(text: string | undefined, options?: NegotiateServerOptions): Promise<Decision> {
  return fakeServer(options).core.authenticate(request(text && negotiateField(text)))
}

function header(decision: Decision, name: string): string | undefined {
  return 'headers' in decision ? decision.headers.find(([field]) => field === name)?.[1] : undefined
}

function refused401(reason: string, challenge = 'Negotiate'): Seen {
  return { status: 401, reason, challenges: [challenge], body: 'Unauthorized' }
}

describe('the table of outcomes: complete', () => {
  test('FK-02, WK-09, AG-08, S12: a valid token is an identity, and the answer goes into the response', async () => {
    const { core, contexts } = fakeServer()
    const decision = await core.authenticate(request(negotiateField('user')))
    expect(decision).toEqual({
      kind: 'accepted',
      headers: [['WWW-Authenticate', TOKEN], ...PRIVATE],
      identity: {
        principal: 'user@EXAMPLE.ORG',
        name: 'user',
        realm: 'EXAMPLE.ORG',
        localName: undefined,
        mechanism: 'negotiate',
        channelBound: true,
        expiresAt: new Date('2030-01-01T00:00:00Z'),
        delegated: undefined,
      },
    })
    expect(contexts.made.map(({ legs, disposed }) => [legs, disposed])).toEqual([[1, 1]])
    expect(decision.kind === 'accepted' && Object.isFrozen(decision.identity)).toBe(true)
  })

  test('a name is escaped and keeps its realm', async () => {
    const decision = await decide('a@b/c')
    expect(decision).toMatchObject({ identity: { principal: 'a\\@b\\/c@EXAMPLE.ORG', name: 'a\\@b\\/c' } })
  })

  test('no token of ours, no field', async () => {
    expect(await decide('silent user')).toMatchObject({ kind: 'accepted', headers: PRIVATE })
  })

  test('headers in every form: Node’s, distinct, Headers', async () => {
    const { core } = fakeServer()
    const authorization = negotiateField('user')
    for (const headers of [{ authorization }, { authorization: [authorization] }, new Headers({ authorization })]) {
      expect(await core.authenticate({ method: 'GET', url: '/', headers })).toMatchObject({ kind: 'accepted' })
    }
    const two = new Headers([
      ['authorization', authorization],
      ['Authorization', authorization],
    ])
    expect(seen(await core.authenticate({ method: 'GET', url: '/', headers: two }))).toEqual(
      refused401('TOKEN_MALFORMED'),
    )
  })

  test('S05: no identity of a context that is not complete, whatever its step says', async () => {
    expect(await decide('liar')).toMatchObject({ kind: 'refused', status: 401 })
    expect(await decide('liar', { required: false })).toMatchObject({ kind: 'anonymous' })
  })
})

describe('the table of outcomes: refused', () => {
  test('FK-01, WK-04, AG-04, S13: no credentials', async () => {
    const decision = await decide(undefined)
    expect(decision).toEqual({
      kind: 'refused',
      status: 401,
      reason: 'NO_CREDENTIALS',
      headers: [
        ['WWW-Authenticate', 'Negotiate'],
        ['Content-Type', 'text/plain; charset=utf-8'],
        ['Content-Length', '12'],
        ['Cache-Control', 'no-store'],
        ['Vary', 'Authorization'],
      ],
      body: new TextEncoder().encode('Unauthorized'),
    })
  })

  test.each(['foo', 'Basic YTpi', 'Digest username="a", realm="b"'])(
    'WK-06, AG-05: %s is another scheme',
    async (field) => {
      const { core, contexts } = fakeServer()
      expect(seen(await core.authenticate(request(field)))).toEqual(refused401('NO_CREDENTIALS'))
      expect(contexts.made).toEqual([])
    },
  )

  test.each<[string, string | string[]]>([
    ['S01: no token', 'Negotiate'],
    ['S01: a blank', 'Negotiate '],
    ['S01: no base64', 'Negotiate x'],
    ['AG-10: no canonical base64', 'Negotiate CTOKEN'],
    ['S10: two headers', [negotiateField('alice'), negotiateField('bob')]],
    ['S10: two in one', `${negotiateField('alice')}, ${negotiateField('bob')}`],
    ['P30: data behind the padding', `${negotiateField('a')}QUJD`],
    ['P41: blanks', `Negotiate${' '.repeat(65_536)}`],
    ['P01: DER', negotiateField('der')],
    ['S82: 66 KiB', negotiateField('a'.repeat(66 * 1024))],
  ])('%s is malformed: 401 under any failureStatus', async (_what, field) => {
    for (const failureStatus of [401, 403] as const) {
      const { core } = fakeServer({ failureStatus })
      expect(seen(await core.authenticate(request(field)))).toEqual(refused401('TOKEN_MALFORMED'))
    }
  })

  test('S82: 60 KiB are a token like any other; maxTokenBytes lowers the bound', async () => {
    const name = 'a'.repeat(60 * 1024)
    expect(await decide(name)).toMatchObject({ kind: 'accepted', identity: { name } })
    expect(seen(await decide('alice', { maxTokenBytes: 4 }))).toEqual(refused401('TOKEN_MALFORMED'))
  })

  test('S06: NTLM has its own reason, and 401 under any failureStatus', async () => {
    expect(seen(await decide('ntlm'))).toEqual(refused401('NTLM_OFFERED'))
    expect(seen(await decide('ntlm', { failureStatus: 403 }))).toEqual(refused401('NTLM_OFFERED'))
  })

  test('S01, FK-04, WK-10: a token that fails a check has failureStatus', async () => {
    const { core, contexts } = fakeServer()
    expect(seen(await core.authenticate(request(negotiateField('otherkey'))))).toEqual(refused401('KEY_NOT_FOUND'))
    expect(contexts.made[0]?.disposed).toBe(1)
    const forbidden = await decide('replay', { failureStatus: 403 })
    expect(seen(forbidden)).toEqual({ status: 403, reason: 'REPLAY', challenges: [], body: 'Forbidden' })
    expect(header(forbidden, 'Content-Length')).toBe('9')
    expect(header(forbidden, 'Content-Type')).toMatch(/^text\/plain/)
    expect(header(forbidden, 'Cache-Control')).toBe('no-store')
  })

  test('RFC 9110 §15.5.2: a page that makes 401 of 403 asks for credentials', async () => {
    const options: NegotiateServerOptions = { failureStatus: 403, forbidden: () => ({ status: 401, body: 'x' }) }
    expect(seen(await decide('replay', options))).toMatchObject({ status: 401, challenges: ['Negotiate'] })
    const denied = await decide('silent alice', { ...options, authorize: () => false })
    expect(seen(denied)).toMatchObject({ status: 401, challenges: ['Negotiate'] })
  })

  test('a KRB-ERROR only when the context has one', async () => {
    const field = `Negotiate ${Buffer.from('KRB-ERROR').toString('base64')}`
    expect(seen(await decide('skew'))).toEqual(refused401('CLOCK_SKEW', field))
    expect(seen(await decide('skew', { failureStatus: 403 }))).toMatchObject({ status: 403, challenges: [field] })
  })

  test('a replay store that is full: 503, also when nothing is required', async () => {
    for (const required of [true, false]) {
      const decision = await decide('full', { required, failureStatus: 403 })
      expect(seen(decision)).toMatchObject({ status: 503, reason: 'REPLAY_STORE_UNAVAILABLE', challenges: [] })
      expect(header(decision, 'Retry-After')).toMatch(/^[1-9]\d*$/)
    }
  })

  test('A04: what fails inside is a 500, whatever required says, and is told once', async () => {
    for (const required of [true, false]) {
      const { core, warnings } = fakeServer({ required })
      for (let i = 0; i < 2; i++) {
        const decision = await core.authenticate(request(negotiateField('bug')))
        expect(decision).toMatchObject({
          kind: 'refused',
          status: 500,
          reason: 'CALLBACK_FAILED',
          cause: new TypeError('bug'),
        })
      }
      expect(warnings).toEqual(['CALLBACK_FAILED authentication threw: TypeError: "bug"'])
    }
  })

  test('A04: onFailure is told of what another function threw, and nothing that is not even a request rejects', async () => {
    const failures: Failure[] = []
    const authorize = () => Promise.reject(new RangeError('theirs'))
    const { core } = fakeServer({ authorize, onFailure: (failure) => void failures.push(failure) })
    await core.authenticate(request(negotiateField('user'), { headers: {} }))
    for (const nothing of [{}, { method: 'GET' }, { method: 'GET', url: 'http://x/y', headers: null }]) {
      expect(await core.authenticate(nothing as never)).toMatchObject({ kind: 'refused', status: 500 })
    }
    expect(failures.map(({ reason, status, path }) => [reason, status, path])).toEqual([
      ['CALLBACK_FAILED', 500, '/report'],
      ['CALLBACK_FAILED', 500, 'undefined'],
      ['CALLBACK_FAILED', 500, 'undefined'],
      ['CALLBACK_FAILED', 500, '/y'],
    ])
  })

  test.each<[string, string, 400 | 401]>([
    ['GET', '/a/b?c=d\\e', 401],
    ['GET', '//a', 401],
    ['GET', '/ä', 401],
    ['GET', 'https://host', 401],
    ['GET', 'https://host?x', 401],
    ['GET', 'https://[::1]:8080/x', 401],
    ['OPTIONS', '*', 401],
    ['CONNECT', 'host:443', 401],
    ['CONNECT', '[::1]:443', 401],
    ['CONNECT', '/chat', 401],
    ['GET', '*', 400],
    ['options', '*', 400],
    ['GET', 'host:443', 400],
    ['CONNECT', 'host', 401],
    ['CONNECT', 'host:443/x', 400],
    ['CONNECT', 'user@host:443', 400],
    ['GET', '', 400],
    ['GET', '/a b', 400],
    ['GET', '/a\tb', 400],
    ['GET', '/a\n', 400],
    ['GET', '/a?b#c', 400],
    ['GET', 'https://user:secret@host/', 400],
    ['GET', 'ws://host/x', 400],
  ])('S111: %s %s is answered with %3$d', async (method, url, status) => {
    const failures: Failure[] = []
    const { core } = fakeServer({ onFailure: (failure) => void failures.push(failure) })
    const decision = await core.authenticate({ ...request(), method, url })
    expect(decision).toMatchObject({ status, reason: status === 400 ? 'TARGET_INVALID' : 'NO_CREDENTIALS' })
    expect(failures).toMatchObject([{ status, method }])
    const again = (await decide('user')) as { identity: Identity }
    expect(await core.authorize(again.identity, { ...request(), method, url })).toMatchObject(
      status === 400 ? { status } : { kind: 'accepted' },
    )
  })

  test.each<[string, string, string]>([
    ['http://origin.example/x?y=1', 'http://origin.example/x?y=1', 'http://origin.example/x'],
    ['http://user:secret@origin.example/x', '', 'http://origin.example/x'],
    ['ftp://origin.example/x', 'ftp://origin.example/x', 'ftp://origin.example/x'],
    ['http://origin.example\\@x/', '', 'http://x/'],
    ['/direct', '/direct', '/direct'],
  ])('S111: the rules of a proxy see the origin of %s', async (url, seen, path) => {
    const rules: string[] = []
    const failures: Failure[] = []
    const { core } = fakeServer({
      proxy: true,
      required: (asked) => rules.push(asked.url) > 0,
      onFailure: (failure) => void failures.push(failure),
    })
    const decision = await core.authenticate({ ...request(), url })
    expect(decision).toMatchObject({ status: seen === '' ? 400 : 407 })
    expect([rules, failures.map((failure) => failure.path)]).toEqual([seen === '' ? [] : [seen], [path]])
  })

  test('HEAD, OPTIONS and any other method are no way around', async () => {
    for (const method of ['HEAD', 'OPTIONS', 'TRACE', 'POST', 'PROPFIND', 'get']) {
      expect(await fakeServer().core.authenticate(request(undefined, { method }))).toMatchObject({ kind: 'refused' })
    }
  })
})

describe('authorize', () => {
  test('A04: anything but true is 403, with the token of the server that is proven', async () => {
    for (const answer of [false, undefined, 0, 'yes', {}, null]) {
      for (const value of [answer, Promise.resolve(answer)]) {
        const decision = await decide('user', { authorize: () => value as boolean, required: false })
        expect(seen(decision)).toEqual({ status: 403, reason: 'FORBIDDEN', challenges: [TOKEN], body: 'Forbidden' })
      }
    }
    expect(await decide('user', { authorize: async ({ name }) => name === 'user' })).toMatchObject({ kind: 'accepted' })
  })

  test('A04: one that throws is a 500, one that never answers lets nobody in', async () => {
    const authorize = () => {
      throw new RangeError('theirs')
    }
    expect(await decide('user', { authorize, required: false })).toMatchObject({
      status: 500,
      cause: new RangeError('theirs'),
    })
    const never = decide('user', { authorize: () => new Promise<boolean>(() => {}) })
    expect(await Promise.race([never, new Promise((resolve) => setImmediate(resolve, 'silence'))])).toBe('silence')
  })

  test('a second time: authorize alone, without a token', async () => {
    const { core, contexts } = fakeServer({ authorize: ({ name }) => name === 'alice' })
    const alice = (await decide('alice')) as { identity: Identity }
    const bob = (await decide('bob')) as { identity: Identity }
    expect(await core.authorize(alice.identity, request())).toEqual({ kind: 'accepted', ...alice, headers: PRIVATE })
    expect(seen(await core.authorize(bob.identity, request()))).toMatchObject({ status: 403, challenges: [] })
    expect(contexts.made).toEqual([])
  })
})

test('S102: a second guard gives its own local names, and keeps those of the first when it has none', async () => {
  const first = fakeServer({ localNames: { stripRealm: ['EXAMPLE.ORG'] } })
  const { identity } = (await first.core.authenticate(request(negotiateField('alice')))) as { identity: Identity }
  expect(identity.localName).toBe('alice')
  const authorize = (given: Identity) => given.localName === 'alice'
  expect(await fakeServer({ authorize }).core.authorize(identity, request())).toMatchObject({ identity })
  const other = fakeServer({ authorize, localNames: { stripRealm: ['OTHER.ORG'] } })
  expect(await other.core.authorize(identity, request())).toMatchObject({ status: 403 })
})

describe('required', () => {
  test('WK-01, AG-01: no header, anonymous; no context is made', async () => {
    const { core, contexts } = fakeServer({ required: () => false })
    expect(await core.authenticate(request())).toEqual({
      kind: 'anonymous',
      reason: 'NO_CREDENTIALS',
      headers: [['Vary', 'Authorization']],
    })
    expect(contexts.made).toEqual([])
  })

  test('WK-02: a token that fails is anonymous too, and disposed', async () => {
    const failures: Failure[] = []
    const { core, contexts } = fakeServer({ required: false, onFailure: (failure) => void failures.push(failure) })
    for (const token of ['otherkey', 'skew', 'der', 'ntlm', 'leg']) {
      const connection = {}
      expect(await core.authenticate(request(negotiateField(token), { connection }))).toMatchObject({
        kind: 'anonymous',
      })
    }
    expect(contexts.made.map(({ disposed }) => disposed > 0)).toEqual([true, true, true, true, true])
    expect(core.pendingContexts).toBe(0)
    expect(failures.map(({ reason, status }) => [reason, status])).toEqual([
      ['KEY_NOT_FOUND', undefined],
      ['CLOCK_SKEW', undefined],
      ['TOKEN_MALFORMED', undefined],
      ['NTLM_OFFERED', undefined],
      ['CONTINUE_NEEDED', undefined],
    ])
  })

  test('WK-03, AG-03: a valid token is an identity although none is required', async () => {
    const decision = await decide('user', { required: async () => false })
    expect(decision).toMatchObject({ kind: 'accepted', headers: [['WWW-Authenticate', TOKEN], ...PRIVATE] })
  })

  test('only false is no', async () => {
    for (const answer of [undefined, 0, '', null, Promise.resolve(undefined)]) {
      expect(await decide(undefined, { required: () => answer as unknown as boolean })).toMatchObject({ status: 401 })
    }
    const required = () => Promise.reject(new RangeError('theirs'))
    expect(await decide(undefined, { required })).toMatchObject({ status: 500, cause: new RangeError('theirs') })
  })
})

describe('several legs', () => {
  test('the state waits on its connection', async () => {
    const { core, contexts } = fakeServer()
    const connection = {}
    const first = await core.authenticate(request(negotiateField('leg'), { connection }))
    expect(seen(first)).toEqual(refused401('CONTINUE_NEEDED', 'Negotiate TU9SRQ=='))
    const second = await core.authenticate(request(negotiateField('\xa1alice'), { connection }))
    expect(second).toMatchObject({ kind: 'accepted', identity: { name: 'alice' } })
    expect(contexts.made.map(({ legs, disposed }) => [legs, disposed])).toEqual([[2, 1]])
    expect(core.pendingContexts).toBe(0)
  })

  test('a continuing context gets 401 under any failureStatus', async () => {
    const { core } = fakeServer({ failureStatus: 403 })
    expect(await core.authenticate(request(negotiateField('leg'), { connection: {} }))).toMatchObject({ status: 401 })
  })

  test('without a connection there is no second leg', async () => {
    const { core, contexts } = fakeServer()
    expect(seen(await core.authenticate(request(negotiateField('leg'))))).toEqual(refused401('CONTINUE_NEEDED'))
    expect(contexts.made[0]?.disposed).toBe(1)
  })

  test('S02: an empty token, or rubbish, ends the negotiation', async () => {
    for (const field of ['Negotiate ', 'Negotiate x', negotiateField('otherkey')]) {
      const { core, contexts } = fakeServer()
      const connection = {}
      await core.authenticate(request(negotiateField('leg'), { connection }))
      expect(await core.authenticate(request(field, { connection }))).toMatchObject({ kind: 'refused', status: 401 })
      expect([core.pendingContexts, contexts.made[0]?.disposed]).toEqual([0, 1])
    }
  })

  test('S03: a second leg on another connection meets a new context', async () => {
    const { core, contexts } = fakeServer()
    await core.authenticate(request(negotiateField('leg'), { connection: {} }))
    await core.authenticate(request(negotiateField('\xa1alice'), { connection: {} }))
    expect(contexts.made.map(({ legs }) => legs)).toEqual([1, 1])
  })

  test('S62: two users at once on one connection, as behind a proxy: a token that begins is never fed to the other’s context', async () => {
    const { core, contexts } = fakeServer()
    const connection = {}
    await core.authenticate(request(negotiateField('leg'), { connection }))
    const bob = await core.authenticate(request(negotiateField('bob'), { connection }))
    expect(bob).toMatchObject({ identity: { name: 'bob' } })
    expect(contexts.made.map(({ legs, disposed }) => [legs, disposed])).toEqual([
      [1, 1],
      [1, 1],
    ])
    const both = ['\xa1alice', '\xa1bob'].map((text) => request(negotiateField(text), { connection }))
    await core.authenticate(request(negotiateField('leg'), { connection }))
    await Promise.all(both.map((one) => core.authenticate(one)))
    expect(contexts.made.map(({ legs }) => legs)).toEqual([1, 1, 2, 1])
  })

  test('S30: five legs and no more', async () => {
    const { core, contexts } = fakeServer()
    const connection = {}
    const reasons: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const decision = await core.authenticate(request(negotiateField(i === 0 ? 'leg' : '\xa1leg'), { connection }))
      reasons.push(seen(decision).reason)
    }
    expect(reasons).toEqual([...Array(4).fill('CONTINUE_NEEDED'), 'TOO_MANY_LEGS'])
    expect([core.pendingContexts, contexts.made.length, contexts.made[0]?.legs]).toEqual([0, 1, 5])
    expect(contexts.made[0]?.disposed).toBe(1)
  })

  test('S30: 1 000 contexts at the most, the oldest go; each at most 30 s', async () => {
    const { core, contexts, elapse } = fakeServer()
    const connections = Array.from({ length: 1_002 }, () => ({}))
    for (const connection of connections) await core.authenticate(request(negotiateField('leg'), { connection }))
    expect(core.pendingContexts).toBe(1_000)
    expect(contexts.made.slice(0, 3).map(({ disposed }) => disposed)).toEqual([1, 1, 0])
    elapse()
    expect(core.pendingContexts).toBe(0)
    expect(contexts.made.every(({ disposed }) => disposed === 1)).toBe(true)
  })

  test('close ends what waits', async () => {
    const { core, contexts } = fakeServer()
    await core.authenticate(request(negotiateField('leg'), { connection: {} }))
    await core.close()
    expect([core.pendingContexts, contexts.made[0]?.disposed, contexts.closed]).toEqual([0, 1, 1])
  })
})

describe('a connection is nobody', () => {
  test('S60, S61, S63: alice, then rubbish, then bob, then nobody, on one connection', async () => {
    const { core } = fakeServer()
    const connection = {}
    const on = (field?: string) => core.authenticate(request(field, { connection }))
    expect(await on(negotiateField('alice'))).toMatchObject({ identity: { name: 'alice' } })
    expect(seen(await on('Negotiate x'))).toEqual(refused401('TOKEN_MALFORMED'))
    expect(await on(negotiateField('bob'))).toMatchObject({ identity: { name: 'bob' } })
    expect(seen(await on())).toEqual(refused401('NO_CREDENTIALS'))
  })
})

describe('S80: nothing secret is told', () => {
  test.each(['otherkey', 'der', 'skew', 'ntlm', 'replay', 'full', 'leg', 'liar'])('%s', async (word) => {
    const told: unknown[] = []
    const log = (...values: unknown[]): void => void told.push(values)
    const { core, events } = fakeServer({ logger: { debug: log, info: log, warn: log, error: log }, onFailure: log })
    const secret = `${word} ${'s3cr3t-ticket'.repeat(9)}`
    const decision = await core.authenticate(request(negotiateField(secret)))
    expect(told).toHaveLength(2)
    expect(events).toHaveLength(1)
    const text = inspect([told, events, decision], { depth: 9 }) + JSON.stringify([told, events, decision])
    const base64 = negotiateField(secret).slice(10)
    for (let i = 0; i + 16 <= base64.length; i++) expect(text.includes(base64.slice(i, i + 16))).toBe(false)
    expect(text).not.toContain('s3cr3t')
    expect(text).not.toContain('key=secret')
    expect(Object.keys(ERROR_CODES)).toContain(seen(decision).reason)
  })

  test('A04: onFailure has reason, hint, message, status; its own failure is told and changes nothing', async () => {
    const failures: Failure[] = []
    await decide('skew', { onFailure: (failure) => void failures.push(failure) })
    expect(failures).toEqual([
      {
        reason: 'CLOCK_SKEW',
        message: 'clocks differ',
        hint: 'Run NTP.',
        status: 401,
        principal: undefined,
        method: 'GET',
        path: '/report',
      },
    ])
    const onFailure = () => Promise.reject(new RangeError('theirs'))
    for (const required of [true, false]) {
      const { core, warnings } = fakeServer({ onFailure, required })
      const decision = await core.authenticate(request(negotiateField('skew')))
      expect(decision).toMatchObject(required ? { status: 401, reason: 'CLOCK_SKEW' } : { kind: 'anonymous' })
      expect(warnings).toEqual(['CALLBACK_FAILED onFailure threw: RangeError: "theirs"'])
    }
  })

  test('events: who came in, and who did not', async () => {
    const { core, events } = fakeServer()
    await core.authenticate(request(negotiateField('user')))
    await core.authenticate(request())
    expect(events).toMatchObject([
      { outcome: 'accepted', principal: 'user@EXAMPLE.ORG', path: '/report' },
      { outcome: 'refused', reason: 'NO_CREDENTIALS', status: 401 },
    ])
  })
})

describe('pages', () => {
  test('WK-07, AG-06: a text for 401', async () => {
    const decision = await decide(undefined, { unauthorized: 'ZUTRITT VERBOTEN ✋' })
    expect(seen(decision)).toEqual({ ...refused401('NO_CREDENTIALS'), body: 'ZUTRITT VERBOTEN ✋' })
    expect(header(decision, 'Content-Length')).toBe('20')
  })

  test('WK-11, WK-12, AG-11: a text or a body with its type for 403', async () => {
    expect(seen(await decide('replay', { failureStatus: 403, forbidden: 'CUSTOM' }))).toMatchObject({ body: 'CUSTOM' })
    const forbidden = { body: 'CUSTOM', contentType: 'text/html' }
    const decision = await decide('replay', { failureStatus: 403, forbidden })
    expect([header(decision, 'Content-Type'), header(decision, 'Content-Length')]).toEqual(['text/html', '6'])
  })

  test('AG-12: a whole response, which cannot take away what HTTP asks for', async () => {
    const decision = await decide('replay', {
      unauthorized: async ({ reason, hint }, { url }) => ({
        status: 401,
        headers: { 'content-type': 'text/html', 'Content-Length': '1', 'X-Reason': reason, 'cache-control': 'public' },
        body: `<p>${reason} ${hint} ${url}`,
      }),
    })
    expect(seen(decision)).toEqual({ ...refused401('REPLAY'), body: '<p>REPLAY undefined /report?key=secret' })
    expect(decision).toMatchObject({
      headers: [
        ['WWW-Authenticate', 'Negotiate'],
        ['Content-Type', 'text/html'],
        ['Content-Length', '38'],
        ['Cache-Control', 'no-store'],
        ['Vary', 'Authorization'],
        ['X-Reason', 'REPLAY'],
      ],
    })
    const exchanged = await decide('replay', { unauthorized: () => ({ status: 403, body: 'no' }) })
    expect(seen(exchanged)).toEqual({ status: 403, reason: 'REPLAY', challenges: [], body: 'no' })
    const wrong = await decide('replay', { unauthorized: () => ({ status: 200 as 401, body: '' }) })
    expect(wrong).toMatchObject({ status: 500, cause: expect.objectContaining({ code: 'OPTION_INVALID' }) })
  })
})

describe('a request that another guard accepted', () => {
  test('S37: is refused when its login is tied to no connection, and this guard requires that', async () => {
    const { core } = fakeServer({ channelBindings: 'required' })
    const identity = await accepted()
    expect(await core.authorize(identity, request())).toMatchObject({ kind: 'accepted' })
    const decision = await core.authorize({ ...identity, channelBound: false }, request())
    expect(seen(decision)).toMatchObject({ status: 401, reason: 'BINDINGS_MISMATCH' })
  })

  async function accepted(): Promise<Identity> {
    const decision = await decide('alice')
    if (decision.kind !== 'accepted') throw new Error(decision.kind)
    return decision.identity
  }

  test('S84: is refused when it comes from another site, whatever the other guard allows', async () => {
    const crossSite = request(undefined, { method: 'POST', headers: { 'sec-fetch-site': ['cross-site'] } })
    const { core } = fakeServer()
    expect(seen(await core.authorize(await accepted(), crossSite))).toMatchObject({ status: 403, reason: 'CROSS_SITE' })
    expect(await fakeServer({ crossSite: 'allow' }).core.authorize(await accepted(), crossSite)).toMatchObject({
      kind: 'accepted',
    })
  })
})

test('MAG-06: a negotiation that began for one host does not end at another', async () => {
  const { core, contexts } = fakeServer()
  const connection = {}
  const ask = (text: string, host: string) =>
    core.authenticate(request(negotiateField(text), { connection, headers: { host: [host] } }))
  expect(seen(await ask('leg', 'one.example.org'))).toMatchObject({ reason: 'CONTINUE_NEEDED' })
  await ask('\xa1alice', 'two.example.org')
  expect(contexts.made.map(({ legs, disposed }) => [legs, disposed])).toEqual([
    [1, 1],
    [1, 1],
  ])
  await ask('leg', 'one.example.org')
  expect(await ask('\xa1alice', 'one.example.org')).toMatchObject({ kind: 'accepted' })
})
