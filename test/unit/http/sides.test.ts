import { describe, expect, test, vi } from 'vitest'
import type { Decision, Failure, NegotiateServerOptions } from '../../../src/http/index.ts'
import { serverSettings } from '../../../src/http/index.ts'
import { fakeServer, negotiateField, PRIVATE, request } from './fake-acceptor.ts'

const of = (decision: Decision, name: string) =>
  'headers' in decision ? decision.headers.filter(([field]) => field === name).map(([, value]) => value) : []
const codeOf = (options: NegotiateServerOptions) => {
  try {
    serverSettings(options)
    return 'none'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('proxy (RFC 9110 §11.7)', () => {
  const proxied = (text: string) => request(undefined, { headers: { 'proxy-authorization': [negotiateField(text)] } })

  test('407 and Proxy-Authenticate; Authorization is the origin’s, and not looked at', async () => {
    const { core, contexts } = fakeServer({ proxy: true })
    const decision = await core.authenticate(request(negotiateField('alice')))
    expect(decision).toMatchObject({ kind: 'refused', status: 407, reason: 'NO_CREDENTIALS' })
    expect(of(decision, 'Proxy-Authenticate')).toEqual(['Negotiate'])
    expect([...of(decision, 'WWW-Authenticate'), ...of(decision, 'Vary')]).toEqual([])
    expect(Buffer.from((decision as { body: Uint8Array }).body).toString()).toBe('Proxy Authentication Required')
    expect(contexts.made.length).toBe(0)
  })

  test('MAG-02: two separate logins of one request: each side reads its own', async () => {
    const both = request(negotiateField('bob'), { headers: { 'proxy-authorization': [negotiateField('alice')] } })
    const proxy = await fakeServer({ proxy: true }).core.authenticate(both)
    const origin = await fakeServer().core.authenticate(both)
    expect(proxy).toMatchObject({ kind: 'accepted', identity: { name: 'alice' } })
    expect(of(proxy, 'Proxy-Authenticate')).toEqual(['Negotiate U1RPS0VO'])
    expect(origin).toMatchObject({ kind: 'accepted', identity: { name: 'bob' } })
    expect(of(origin, 'WWW-Authenticate')).toEqual(['Negotiate U1RPS0VO'])
  })

  test.each(['der', 'ntlm', 'replay', 'otherkey', 'leg'])('%s is 407 too', async (text) => {
    const decision = await fakeServer({ proxy: true }).core.authenticate({ ...proxied(text), connection: {} })
    expect(decision).toMatchObject({ kind: 'refused', status: 407 })
  })

  test('a browser’s requests for all sites pass', async () => {
    const { core } = fakeServer({ proxy: true })
    const headers = { 'proxy-authorization': [negotiateField('alice')], 'sec-fetch-site': ['cross-site'] }
    expect((await core.authenticate(request(undefined, { method: 'POST', headers }))).kind).toBe('accepted')
  })

  test('a page of the program may exchange 407 and 403, and nothing else', async () => {
    const page = (status: 401 | 403 | 407) => ({ unauthorized: () => ({ status, body: 'x' }), proxy: true }) as const
    expect(await fakeServer(page(403)).core.authenticate(request())).toMatchObject({ status: 403 })
    const cause = expect.objectContaining({ code: 'OPTION_INVALID' })
    expect(await fakeServer(page(401)).core.authenticate(request())).toMatchObject({ status: 500, cause })
  })

  test('failureStatus 403 stays', async () => {
    expect(await fakeServer({ proxy: true, failureStatus: 403 }).core.authenticate(proxied('replay'))).toMatchObject({
      status: 403,
    })
  })
})

describe('options that exclude each other', () => {
  test.each<[string, NegotiateServerOptions]>([
    ['S85: connectionBound and trustProxy', { connectionBound: true, trustProxy: true }],
    ['S85: connectionBound and forward-auth', { connectionBound: true, trustProxy: 'forward-auth' }],
    ['S85: sessions and proxy', { sessions: true, proxy: true }],
    ['S84: crossSite and proxy', { crossSite: 'allow', proxy: true }],
    ['S84: crossSite refuse and proxy', { crossSite: 'refuse', proxy: true }],
    ['trustProxy and proxy', { trustProxy: true, proxy: true }],
    ['S37: basic and required bindings', { basic: true, channelBindings: 'required' }],
  ])('%s', (_name, options) => {
    expect(codeOf(options)).toBe('OPTION_CONFLICT')
  })

  test.each<[string, unknown]>([
    ['proxy', 'yes'],
    ['connectionBound', 1],
    ['trustProxy', 'nginx'],
    ['challengeOnce', 'once'],
    ['sessions', 'yes'],
    ['sessions', { keys: 'password' }],
    ['sessions', { keys: [] }],
    ['sessions', { keys: new Uint8Array(31) }],
    ['sessions', { maxAgeSeconds: 0 }],
    ['sessions', { cookieName: 'a b' }],
    ['sessions', { sameSite: 'never' }],
    ['sessions', { revocations: {} }],
    ['basic', { realm: 'a"b' }],
    ['basic', { maxFailures: 0 }],
    ['basic', { dangerouslyOverHttp: 'yes' }],
  ])('%s: %j is refused', (name, value) => {
    expect(codeOf({ [name]: value })).toBe('OPTION_INVALID')
  })

  test.each(['sessions', 'basic'])('A31: what %s does not have is refused', (name) => {
    expect(codeOf({ [name]: { key: 'x' } })).toBe('OPTION_UNKNOWN')
  })
})

describe('challengeOnce', () => {
  const challenges = async (text: string | undefined, options: NegotiateServerOptions) => {
    const decision = await fakeServer(options).core.authenticate({
      ...request(text && negotiateField(text)),
      connection: {},
    })
    return of(decision, 'WWW-Authenticate')
  }

  test('who comes with nothing is asked; whose token was refused is not asked again', async () => {
    const options = { challengeOnce: true } as const
    expect(await challenges(undefined, options)).toEqual(['Negotiate'])
    expect(await challenges('replay', options)).toEqual([])
    expect(await challenges('ntlm', options)).toEqual([])
    expect(await challenges('replay', {})).toEqual(['Negotiate'])
  })

  test('a negotiation goes on all the same', async () => {
    expect(await challenges('leg', { challengeOnce: true })).toEqual(['Negotiate TU9SRQ=='])
  })

  test('MAG-14: a function chooses whom to ask', async () => {
    const { core } = fakeServer({ challengeOnce: ({ headers }) => String(headers['user-agent' as never]) === 'NONEGO' })
    const ask = async (agent: string) => core.authenticate(request(undefined, { headers: { 'user-agent': [agent] } }))
    expect(of(await ask('curl'), 'WWW-Authenticate')).toEqual(['Negotiate'])
    expect(await ask('NONEGO')).toMatchObject({ status: 401 })
    expect(of(await ask('NONEGO'), 'WWW-Authenticate')).toEqual([])
  })
})

describe('connectionBound (MS-N2HT §3.2)', () => {
  const start = (options: NegotiateServerOptions = {}) => fakeServer({ connectionBound: true, ...options })
  const on = (connection: object | undefined, text?: string, httpVersion = '1.1', host = 'a.example') => ({
    ...request(text && negotiateField(text), { headers: { host: [host] } }),
    connection,
    httpVersion,
  })

  test('a login counts for what comes after it on its connection, and on no other', async () => {
    const { core } = start()
    const socket = {}
    expect(await core.authenticate(on(socket, 'alice'))).toMatchObject({ kind: 'accepted' })
    const again = await core.authenticate(on(socket))
    expect(again).toMatchObject({
      kind: 'accepted',
      identity: { name: 'alice', delegated: undefined },
      headers: PRIVATE,
    })
    expect((await core.authenticate(on({}))).kind).toBe('refused')
    expect((await core.authenticate(on(undefined))).kind).toBe('refused')
    expect((await core.authenticate(on(socket, undefined, '1.1', 'b.example'))).kind).toBe('refused')
  })

  test('S62: never over HTTP/2, whose connection carries many requests at once', async () => {
    const { core } = start()
    const session = {}
    await core.authenticate(on(session, 'alice', '2.0'))
    expect((await core.authenticate(on(session, undefined, '2.0'))).kind).toBe('refused')
    const unknown = {}
    await core.authenticate({ ...on(unknown, 'alice'), httpVersion: undefined })
    expect((await core.authenticate(on(unknown))).kind).toBe('refused')
  })

  test.each(['replay', 'der', 'leg', 'ntlm'])('S60: %s ends the login before it', async (text) => {
    const { core } = start()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    await core.authenticate(on(socket, text))
    expect((await core.authenticate(on(socket))).kind).toBe('refused')
  })

  test('S60: what cannot be read ends it too', async () => {
    const { core } = start()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    await core.authenticate({ ...on(socket), headers: { authorization: ['Negotiate !'] } })
    expect((await core.authenticate(on(socket))).kind).toBe('refused')
  })

  test('S61: the second user of a connection is the second user', async () => {
    const { core } = start()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    await core.authenticate(on(socket, 'bob'))
    expect(await core.authenticate(on(socket))).toMatchObject({ identity: { name: 'bob' } })
  })

  test.each([
    ['S60: a token that is refused', 'replay', undefined],
    ['S61: another user’s', 'bob', 'bob'],
  ])('%s, sent before the first is checked, counts as the last', async (_name, text, user) => {
    const { core, contexts } = start()
    const make = contexts.createContext.bind(contexts)
    let go = () => {}
    const slow = new Promise<void>((resolve) => {
      go = resolve
    })
    vi.spyOn(contexts, 'createContext').mockImplementationOnce(() => {
      const context = make()
      const step = context.step.bind(context)
      context.step = (token) => slow.then(() => step(token))
      return context
    })
    const socket = {}
    const first = core.authenticate(on(socket, 'alice'))
    await core.authenticate(on(socket, text))
    go()
    expect(await first).toMatchObject({ identity: { name: 'alice' } })
    const next = await core.authenticate(on(socket))
    expect('identity' in next ? next.identity.name : undefined).toBe(user)
  })

  test('S29: it ends with the ticket', async () => {
    const { core, clock } = start()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    clock.now = Date.UTC(2030, 0, 1) - 1
    expect((await core.authenticate(on(socket))).kind).toBe('accepted')
    clock.now++
    expect((await core.authenticate(on(socket))).kind).toBe('refused')
  })

  test('authorize is asked each time', async () => {
    let allowed = true
    const { core } = start({ authorize: () => allowed })
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    allowed = false
    expect(await core.authenticate(on(socket))).toMatchObject({ status: 403 })
  })

  test('S63: without the option a request without a token is nobody’s', async () => {
    const { core } = fakeServer()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    expect((await core.authenticate(on(socket))).kind).toBe('refused')
  })

  test('endSession ends it', async () => {
    const { core } = start()
    const socket = {}
    await core.authenticate(on(socket, 'alice'))
    expect(await core.endSession(undefined, on(socket))).toEqual([])
    expect((await core.authenticate(on(socket))).kind).toBe('refused')
  })
})

describe('trustProxy', () => {
  const asked: {
    method: string
    url: string
    secure: unknown
    address: unknown
    host: unknown
    connection: unknown
  }[] = []
  const server = (trustProxy: NegotiateServerOptions['trustProxy']) =>
    fakeServer({
      trustProxy,
      required: ({ method, url, secure, address, headers, connection }) => {
        asked.push({ method, url, secure, address, host: headers['host' as never], connection })
        return true
      },
    }).core
  const FORWARDED = {
    'x-forwarded-proto': ['https'],
    'x-forwarded-for': ['6.6.6.6, 10.0.0.7'],
    'x-forwarded-method': ['POST'],
    'x-forwarded-uri': ['/public'],
    'x-forwarded-host': ['site.example'],
  }
  const ask = async (trust: NegotiateServerOptions['trustProxy'], more: NodeJS.Dict<string[]> = {}, method = 'GET') => {
    const decision = await server(trust).authenticate({
      ...request(undefined, { method, headers: { ...FORWARDED, ...more } }),
      connection: {},
      secure: false,
      address: '127.0.0.1',
    })
    return { decision, seen: asked.pop() }
  }

  test('false: nothing that a client may write is believed', async () => {
    const { seen } = await ask(false)
    expect(seen).toMatchObject({ method: 'GET', secure: false, address: '127.0.0.1', host: ['intranet.example.org'] })
  })

  test('true: protocol and address, the nearest proxy’s word; what is asked for stays what it is', async () => {
    const { seen } = await ask(true)
    expect(seen).toMatchObject({ method: 'GET', url: '/report?key=secret', secure: true, address: '10.0.0.7' })
    expect(seen?.host).toEqual(['intranet.example.org'])
    expect(seen?.connection).toBeUndefined()
  })

  test('S88: true: who speaks for clients on this machine is not one of them', async () => {
    const { seen } = await ask(true, { 'x-forwarded-for': undefined })
    expect(seen?.address).toBeUndefined()
    const passwords = {
      verify: () => Promise.reject(),
      isKnown: () => false,
      nameOf: ({ user }: { user: string }) => user,
    }
    const { core } = fakeServer({ trustProxy: true, basic: true }, { passwords })
    const headers = { authorization: [`Basic ${btoa('alice:secret')}`], 'x-forwarded-proto': ['http'] }
    const forwarded = { ...request(undefined, { headers }), secure: false, address: '127.0.0.1' }
    expect(await core.authenticate(forwarded)).toMatchObject({ status: 401, reason: 'PASSWORD_INSECURE' })
  })

  test('forward-auth: the request that the proxy keeps', async () => {
    const { seen } = await ask('forward-auth')
    expect(seen).toMatchObject({ method: 'POST', url: '/public', host: ['site.example'], secure: true })
  })

  test('S84: forward-auth: a browser’s unsafe request for another site is refused, by what it really is', async () => {
    const { decision } = await ask('forward-auth', { 'sec-fetch-site': ['cross-site'] })
    expect(decision).toMatchObject({ status: 403, reason: 'CROSS_SITE' })
    const safe = await ask('forward-auth', { 'sec-fetch-site': ['cross-site'], 'x-forwarded-method': ['GET'] })
    expect(safe.decision).toMatchObject({ status: 401 })
  })

  test('S84: forward-auth: a proxy that does not tell the method may be asking about any', async () => {
    const { core, warnings } = fakeServer({ trustProxy: 'forward-auth' })
    const from = (site: string) => ({ headers: { 'sec-fetch-site': [site], 'x-original-method': ['GET'] } })
    for (let i = 0; i < 2; i++) {
      expect(await core.authenticate(request(negotiateField('user'), from('cross-site')))).toMatchObject({
        reason: 'CROSS_SITE',
      })
    }
    expect(await core.authenticate(request(negotiateField('user'), from('same-origin')))).toMatchObject({
      kind: 'accepted',
    })
    expect(warnings).toEqual([expect.stringMatching(/^SPNEGO_FORWARDED_METHOD_MISSING .*X-Forwarded-Method/)])
  })

  test('S109: what a proxy hands on of method and path is told without control characters', async () => {
    const failures: Failure[] = []
    const { core } = fakeServer({ trustProxy: 'forward-auth', onFailure: (failure) => void failures.push(failure) })
    const headers = { 'x-forwarded-uri': ['/a\u009b31m\u202eb'], 'x-forwarded-method': ['G\u001bET'] }
    await core.authenticate(request(undefined, { headers }))
    await core.authenticate(request(undefined, { headers: { 'x-forwarded-uri': [`/${'x'.repeat(5000)}`] } }))
    expect(failures[0]).toMatchObject({ method: 'G\\u001bET', path: '/a\\u009b31m\\u202eb' })
    expect(failures[1]?.path.length).toBe(1025)
  })

  test('S84: forward-auth: no word of a client makes an unsafe request safe', async () => {
    const headers = { 'sec-fetch-site': ['cross-site'], 'x-forwarded-method': ['GET'] }
    expect((await ask('forward-auth', headers, 'POST')).decision).toMatchObject({ reason: 'CROSS_SITE' })
  })

  test('a negotiation of several tokens cannot go on over a connection of many clients', async () => {
    const { core } = fakeServer({ trustProxy: true })
    const decision = await core.authenticate({ ...request(negotiateField('leg')), connection: {} })
    expect(of(decision, 'WWW-Authenticate')).toEqual(['Negotiate'])
    expect(core.pendingContexts).toBe(0)
  })

  test('Headers of the Fetch standard likewise', async () => {
    const headers = new Headers({ 'x-forwarded-host': 'site.example', 'x-forwarded-proto': 'http, https' })
    await server('forward-auth').authenticate({ method: 'GET', url: 'http://a/', headers, secure: false })
    const seen = asked.pop()
    expect(seen?.secure).toBe(true)
  })
})
