import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fetchWith } from '../../src/adapters/client/fetch.ts'
import { fromBase64, toBase64 } from '../../src/bytes/base64.ts'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../src/entries/fetch.ts'
import { Credentials, KerberosTicket, MutualAuthenticationError, UsageError } from '../../src/entries/index.ts'
import { initiatorContexts } from '../../src/entries/wiring/initiator-contexts.ts'
import { decodeNegTokenResp, encodeMechTypes, encodeNegTokenInit, NEG_STATE } from '../../src/gss/spnego/tokens.ts'
import { type Hop, type InitiatorContexts, MAX_TOKENS_PER_REQUEST, RequestLogin } from '../../src/http/client.ts'
import { type ClientHttpOptions, clientSettings } from '../../src/http/client-options.ts'
import { originError } from '../../src/http/origins.ts'
import { CHALLENGE, errorOf, eventually, type Reply, type Script, Site, World } from '../unit/http-client/site.ts'
import { opened, proofFor, response, skewError } from './forge.ts'

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (options: Partial<NegotiateFetchOptions> = {}) => negotiateFetch({ credentials: world.alice, ...options })

/** A client whose wire is a function: for hosts and schemes that this machine cannot serve. */
function onWire(answer: (url: URL, token: string | undefined) => Response, options: ClientHttpOptions = {}) {
  const sent: { url: string; token: string | undefined }[] = []
  const settings = clientSettings('test', options)
  const fetch = fetchWith({
    settings,
    contexts: initiatorContexts({ credentials: world.alice }, settings),
    send: async (request, init) => {
      const url = new URL(request instanceof Request ? request.url : request)
      const token = new Headers(init.headers).get('authorization') ?? undefined
      sent.push({ url: url.href, token })
      return answer(url, token)
    },
    proxies: undefined,
    certified: () => true,
    bindings: () => undefined,
    canPin: () => false,
    observe: () => {},
  })
  return { fetch, sent, tokens: () => sent.flatMap(({ token }) => token ?? []) }
}

const challenge = (headers: Record<string, string> = {}) =>
  new Response('who are you?', { status: 401, headers: { 'www-authenticate': 'Negotiate', ...headers } })
const redirect = (location: string, status = 302) => new Response(null, { status, headers: { location } })

describe('where a token goes', () => {
  test.each([302, 307])('C01: a %d to another host, which asks, takes no token there', async (status) => {
    await using evil = await Site.start(async () => CHALLENGE)
    const away = `http://127.0.0.1:${evil.port}/`
    await using site = await Site.start(world.honest(() => ({ status, headers: { location: away } })))
    const answer = await alice()(site.url)
    expect(answer).toMatchObject({ status: 401, url: away, redirected: true })
    expect(negotiated(answer)).toMatchObject({ attempted: false, error: { code: 'ORIGIN_NOT_ALLOWED' } })
    expect(site.tokens.length).toBe(1)
    expect(evil.seen.length).toBe(1)
    expect(evil.tokens).toEqual([])
  })

  test('C01: nor when every request has a token', async () => {
    await using evil = await Site.start(async () => ({ body: 'thank you' }))
    await using site = await Site.start(
      world.honest(() => ({ status: 307, headers: { location: `http://127.0.0.1:${evil.port}/` } })),
    )
    await alice({ preemptive: true })(site.url, { method: 'POST', body: 'x' })
    expect(site.tokens.length).toBe(1)
    expect(evil.seen.map(({ headers }) => headers['authorization'])).toEqual([undefined])
  })

  test('C02: another port of the same host is another origin', async () => {
    await using evil = await Site.start(async () => CHALLENGE)
    await using site = await Site.start(world.honest(() => ({ status: 302, headers: { location: evil.url } })))
    const answer = await alice()(site.url)
    expect(negotiated(answer)?.error?.code).toBe('ORIGIN_NOT_ALLOWED')
    expect(evil.tokens).toEqual([])
  })

  test('C02: with origins, the other port takes its own token', async () => {
    await using other = await Site.start(world.honest())
    await using site = await Site.start(world.honest(() => ({ status: 302, headers: { location: other.url } })))
    const answer = await alice({ origins: [site.url, other.url] })(site.url)
    expect(await answer.text()).toBe('alice@EXAMPLE.TEST')
    expect(new Set([...site.tokens, ...other.tokens]).size).toBe(2)
  })

  test('C04: a → b → a makes a fresh token at the second a', async () => {
    await using b = await Site.start(async () => ({ status: 302, headers: { location: `${a.url}/second` } }))
    await using a = await Site.start(
      world.honest(({ url }, user) =>
        url === '/second' ? { body: user } : { status: 302, headers: { location: b.url } },
      ),
    )
    const answer = await alice()(`${a.url}/first`)
    expect(await answer.text()).toBe('alice@EXAMPLE.TEST')
    expect(negotiated(answer)?.serverAuthenticated).toBe(true)
    expect(a.seen.map(({ url }) => url)).toEqual(['/first', '/first', '/second', '/second'])
    expect(new Set(a.tokens).size).toBe(2)
    expect(b.tokens).toEqual([])
  })

  test('C05: https to http of the same host takes no token, even when the http origin is listed', async () => {
    const { fetch, tokens } = onWire(
      ({ protocol }) => (protocol === 'https:' ? redirect('http://web1.corp.example/') : challenge()),
      {
        origins: ['https://web1.corp.example', 'http://web1.corp.example'],
        insecureOrigins: ['http://web1.corp.example'],
      },
    )
    const answer = await fetch('https://web1.corp.example/')
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error?.code).toBe('INSECURE_ORIGIN')
    expect(tokens()).toEqual([])
  })

  test('C05: nor two hops after it, nor back on http loopback', async () => {
    const { fetch, tokens } = onWire(
      ({ href }) => {
        if (href === 'https://web1.corp.example/') return redirect('http://web1.corp.example/1')
        return href.endsWith('/1') ? redirect('http://localhost/2') : challenge()
      },
      { origins: ['https://web1.corp.example', 'http://web1.corp.example', 'http://localhost'] },
    )
    expect(negotiated(await fetch('https://web1.corp.example/'))?.error?.code).toBe('INSECURE_ORIGIN')
    expect(tokens()).toEqual([])
  })

  test('C06: plain http that is not listed takes no token; the 401 comes back with the line to paste', async () => {
    const { fetch, tokens } = onWire(() => challenge())
    const answer = await fetch('http://web1.corp.example:9870/')
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error).toMatchObject({
      code: 'INSECURE_ORIGIN',
      hint: expect.stringContaining("insecureOrigins: ['http://web1.corp.example:9870']"),
    })
    expect(tokens()).toEqual([])
  })

  test('C06: listed, it does; loopback needs no list', async () => {
    const listed = onWire((_, token) => (token === undefined ? challenge() : new Response('in')), {
      insecureOrigins: ['http://web1.corp.example:9870'],
      mutualAuthentication: 'optional',
    })
    await listed.fetch('http://web1.corp.example:9870/')
    expect(listed.tokens().length).toBe(1)
    for (const host of ['localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]']) {
      const url = new URL(`http://${host}/`)
      expect(originError(url, url, false, clientSettings('test', {}))?.code, host).toBeUndefined()
    }
    for (const host of ['localhost.evil.com', 'notlocalhost', '128.0.0.1', '127.0.0.1.evil.com', '[::2]', '0.0.0.0']) {
      const url = new URL(`http://${host}/`)
      expect(originError(url, url, false, clientSettings('test', {}))?.code, host).toBe('INSECURE_ORIGIN')
    }
  })

  test.each([
    ['https://corp.example.evil.com', false],
    ['https://evilcorp.example', false],
    ['https://xcorp.example', false],
    ['https://corp.example', false],
    ['https://a.corp.example:8443', false],
    ['http://a.corp.example', false],
    ['https://a.corp.example', true],
    ['https://a.b.corp.example', true],
    ['https://a.corp.example.', true],
    ['https://A.CORP.EXAMPLE', true],
  ])('C10: https://*.corp.example and %s: %s', (text, allowed) => {
    const settings = clientSettings('test', { origins: ['https://*.corp.example'] })
    const url = new URL(text)
    expect(originError(url, url, false, settings)?.code).toBe(allowed ? undefined : 'ORIGIN_NOT_ALLOWED')
  })

  test('C07: Basic alone after a refused token: nothing more is sent', async () => {
    const basic: Reply = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' }, body: 'your password?' }
    await using site = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : basic))
    const answer = await alice()(site.url)
    expect(answer.status).toBe(401)
    expect(await answer.text()).toBe('your password?')
    expect(site.seen.length).toBe(2)
    expect(site.seen.map(({ headers }) => headers['authorization']?.split(' ')[0])).toEqual([undefined, 'Negotiate'])
  })

  test('C16: an Authorization of the caller goes out as it is, and no challenge is answered', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const answer = await alice({ preemptive: true })(site.url, { headers: { Authorization: 'Bearer mine' } })
    expect(answer.status).toBe(401)
    expect(negotiated(answer)).toBeUndefined()
    expect(site.seen.map(({ headers }) => headers['authorization'])).toEqual(['Bearer mine'])
  })

  test('C61: the name is that of the canonical host', async () => {
    const { fetch } = onWire((_, token) => (token === undefined ? challenge() : new Response('in')))
    const answer = await fetch('https://WEB1.corp.EXAMPLE.:8443/')
    expect(negotiated(answer)?.target).toBe('HTTP/web1.corp.example@EXAMPLE.TEST')
  })

  test.each([
    ['https://127.0.0.1/', 'TARGET_IS_ADDRESS'],
    ['http://0x7f.1/', 'TARGET_IS_ADDRESS'],
    ['https://2130706433/', 'TARGET_IS_ADDRESS'],
    ['https://[::1]/', 'TARGET_IS_ADDRESS'],
    ['https://a..b/', 'NAME_INVALID'],
    ['https://a../', 'NAME_INVALID'],
  ])('C61: %s has no service name: %s', async (url, code) => {
    const { fetch, tokens } = onWire(() => challenge())
    const answer = await fetch(url)
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error).toBeInstanceOf(UsageError)
    expect(negotiated(answer)?.error).toMatchObject({ code })
    expect(tokens()).toEqual([])
  })

  test('C61: https://good@evil/ is refused by fetch itself, and as a redirect without its password in the message', async () => {
    const { fetch, sent } = onWire(() => redirect('https://good:hunter2@evil.example/'))
    await expect(fetch('https://good@evil.example/')).rejects.toThrow(TypeError)
    expect(sent).toEqual([])
    const error = await errorOf(fetch('https://web1.corp.example/'))
    expect(error).toBeInstanceOf(TypeError)
    expect(sent.map(({ url }) => url)).toEqual(['https://web1.corp.example/'])
    expect(String((error as Error).cause)).not.toContain('hunter2')
  })
})

describe('what a challenge may look like', () => {
  test.each([
    ['upper case', ['NEGOTIATE']],
    ['two lines', ['Basic realm="x"', 'Negotiate']],
    ['one line', ['Basic realm="x", Negotiate']],
    ['in front', ['Negotiate, NTLM, Basic realm="a, b"']],
    ['an empty line before', ['', 'Negotiate']],
    ['empty elements', [', ,Negotiate,,']],
    ['its name in a quoted string too', ['Basic realm="Negotiate, Negotiate x", Negotiate']],
    ['twice', ['Negotiate', 'Negotiate']],
  ])('C14: %s: recognised, and answered once', async (_, fields) => {
    await using site = await Site.start(async (seen, nth, out) => {
      if (seen.token !== undefined) return world.honest()(seen, nth, out)
      return { status: 401, headers: { 'www-authenticate': fields } }
    })
    const answer = await alice()(site.url)
    expect(await answer.text()).toBe('alice@EXAMPLE.TEST')
    expect(site.seen.length).toBe(2)
    expect(site.tokens.length).toBe(1)
  })

  test('C14: the proof in upper case, behind two spaces, among others', async () => {
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      const { answer } = await world.accept(token)
      return { headers: { 'www-authenticate': ['Basic realm="x"', `NEGOTIATE  ${answer}`] } }
    })
    expect(negotiated(await alice()(site.url))?.serverAuthenticated).toBe(true)
  })

  test.each([
    'Basic realm="say Negotiate"',
    'Bearer error="Negotiate", scope=Negotiate',
    'NegotiateX',
    'X-Negotiate',
    'Basic Negotiate',
  ])('C14: %s is no challenge', async (field) => {
    await using site = await Site.start(async () => ({ status: 401, headers: { 'www-authenticate': field } }))
    const answer = await alice()(site.url)
    expect(negotiated(answer)).toBeUndefined()
    expect(site.seen.length).toBe(1)
  })

  /** What may stand after `Negotiate`, and is no token. */
  const BAD_TOKENS = [
    ['not base64', '@@@@'],
    ['base64 of nothing known', 'aGVsbG8='],
    ['base64 that does not end', 'YII'],
    ['two words', 'YII= YII='],
    ['only padding', '===='],
    ['10 KiB of it', 'A'.repeat(10_240)],
    ['an open quoted string', '"YII='],
  ] as const

  test.each(BAD_TOKENS)('C17: %s in a 401 ends it there', async (_, bad) => {
    const headers = { 'www-authenticate': `Negotiate ${bad}` }
    await using site = await Site.start(async ({ token }) =>
      token === undefined ? CHALLENGE : { status: 401, headers },
    )
    const answer = await alice()(site.url)
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error?.name).toBe('MalformedError')
    expect(negotiated(answer)?.error?.message).not.toContain(bad)
    expect(site.seen.length).toBe(2)
  })

  test.each(BAD_TOKENS)('C17: %s for a proof is a wrong one, under optional too', async (_, bad) => {
    const headers = { 'www-authenticate': `Negotiate ${bad}` }
    await using site = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : { headers }))
    const error = await errorOf(alice({ mutualAuthentication: 'optional' })(site.url))
    expect(error).toBeInstanceOf(MutualAuthenticationError)
    expect((error as Error).cause).toMatchObject({ name: 'MalformedError' })
    expect(site.seen.length).toBe(2)
  })

  test('C17: a line break inside a field is no field', async () => {
    const settings = clientSettings('test', {})
    const login = new RequestLogin(hopTo('https://web1.corp.example'), settings, fakeContexts())
    await login.next(401, () => ['Negotiate'])
    expect(await login.next(401, () => ['Negotiate YII=\r\nX-Injected: 1'])).toEqual({ kind: 'deliver' })
    expect(login.report()?.error?.code).toBe('TOKEN_MALFORMED')
  })

  test('C17: a token over the bound of 65 535 octets is refused before it is parsed', async () => {
    const settings = clientSettings('test', {})
    const login = new RequestLogin(hopTo('https://web1.corp.example'), settings, fakeContexts())
    await login.next(401, () => ['Negotiate'])
    await login.next(401, () => [`Negotiate ${'A'.repeat(87_384)}`])
    expect(login.report()?.error).toMatchObject({ code: 'TOKEN_MALFORMED', message: expect.stringContaining('65538') })
  })

  test('C17: a header of 1 MiB is an error of fetch itself', async () => {
    await using site = await Site.start(async ({ token }, _, out) => {
      if (token === undefined) return CHALLENGE
      out.socket?.end(`HTTP/1.1 200 OK\r\nWWW-Authenticate: Negotiate ${'A'.repeat(2 ** 20)}\r\n\r\n`)
      return undefined
    })
    await expect(alice()(site.url)).rejects.toThrow('fetch failed')
    expect(site.seen.length).toBe(2)
  })
})

function hopTo(origin: string): Hop {
  const url = new URL(origin)
  return { url, first: url, cameFromHttps: false, certified: true, signal: undefined }
}

/** A mechanism that always has one more token. */
function fakeContexts(): InitiatorContexts {
  const refuse = () => {
    throw new Error('not in this test')
  }
  let count = 0
  return {
    open: async () => ({
      begin: () => ({
        step: async () => ({ token: Uint8Array.of(++count), complete: false }),
        complete: false,
        get peer() {
          return refuse()
        },
        get flags() {
          return refuse()
        },
        get expiresAt() {
          return refuse()
        },
        wrap: refuse,
        unwrap: refuse,
        getMic: refuse,
        verifyMic: refuse,
        dispose: () => {},
      }),
      principal: 'alice@EXAMPLE.TEST',
      target: 'HTTP/web1.corp.example@EXAMPLE.TEST',
      mechanism: 'spnego',
      delegated: false,
    }),
  }
}

describe('a server that never has enough', () => {
  test('C12: bare challenges for ever: one token, and one with a new ticket a minute, then the 401', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    const answer = await alice()(site.url)
    expect(answer.status).toBe(401)
    expect(await answer.text()).toBe('who are you?')
    expect(site.seen.length).toBeLessThanOrEqual(3)
  })

  test('C12: random tokens for ever', async () => {
    const random = () => toBase64(globalThis.crypto.getRandomValues(new Uint8Array(60)))
    await using site = await Site.start(async () => ({
      status: 401,
      headers: { 'www-authenticate': `Negotiate ${random()}` },
    }))
    expect((await alice()(site.url)).status).toBe(401)
    expect(site.seen.length).toBe(2)
  })

  test('C12: accept-incomplete and a demand for a MIC for ever', async () => {
    for (const negState of [NEG_STATE.ACCEPT_INCOMPLETE, NEG_STATE.REQUEST_MIC]) {
      await using site = await Site.start(async ({ token }, nth) => {
        if (token === undefined) return CHALLENGE
        const responseToken = nth === 2 ? proofFor(opened(token, world.realm.keytab('HTTP/localhost'))) : undefined
        return { status: 401, headers: { 'www-authenticate': `Negotiate ${response({ negState, responseToken })}` } }
      })
      const answer = await alice()(site.url)
      expect(answer.status).toBe(401)
      expect(negotiated(answer)?.error?.code).toBe('REJECTED')
      expect(site.seen.length).toBeLessThanOrEqual(MAX_TOKENS_PER_REQUEST)
      expect(new Set(site.tokens).size).toBe(site.tokens.length)
    }
  })

  test('C12: whatever the mechanism could go on saying, three tokens are all', async () => {
    const login = new RequestLogin(hopTo('https://web1.corp.example'), clientSettings('test', {}), fakeContexts())
    const kinds: string[] = []
    for (let i = 0; i < 10; i++) kinds.push((await login.next(401, () => ['Negotiate YII='])).kind)
    expect(kinds.filter((kind) => kind === 'resend').length).toBe(MAX_TOKENS_PER_REQUEST)
    expect(kinds.at(MAX_TOKENS_PER_REQUEST)).toBe('deliver')
    expect(login.report()?.error?.code).toBe('TOO_MANY_LEGS')
  })

  test('C11: a one-shot body within the bound is sent twice, whole', async () => {
    await using site = await Site.start(world.honest())
    const body = streamOf('first ', 'second ', 'third')
    expect((await alice()(site.url, { method: 'POST', body, duplex: 'half' } as RequestInit)).status).toBe(200)
    expect(site.seen.map((seen) => seen.body)).toEqual(['first second third', 'first second third'])
  })

  test('C11: over the bound it goes once, with a token', async () => {
    await using site = await Site.start(world.honest())
    const body = streamOf('first ', 'second ', 'third')
    const fetch = alice({ maxReplayBodyBytes: 8 })
    expect((await fetch(site.url, { method: 'POST', body, duplex: 'half' } as RequestInit)).status).toBe(200)
    expect(site.seen.map((seen) => seen.body)).toEqual(['first second third'])
    expect(site.tokens.length).toBe(1)
  })

  test('C11: over the bound, and the server still asks: an error, and nothing is sent a second time', async () => {
    await using site = await Site.start(async ({ token = '' }) => {
      const responseToken = proofFor(opened(token, world.realm.keytab('HTTP/localhost')))
      const more = response({ negState: NEG_STATE.REQUEST_MIC, responseToken })
      return { status: 401, headers: { 'www-authenticate': `Negotiate ${more}` } }
    })
    const body = streamOf('first ', 'second ', 'third')
    const fetch = alice({ maxReplayBodyBytes: 8 })
    const error = await errorOf(fetch(site.url, { method: 'POST', body, duplex: 'half' } as RequestInit))
    expect(error).toMatchObject({ name: 'UsageError', code: 'BODY_NOT_REPLAYABLE' })
    expect(site.seen.map((seen) => seen.body)).toEqual(['first second third'])
  })
})

function streamOf(...parts: readonly string[]): ReadableStream<Uint8Array> {
  const left = parts.map((part) => new TextEncoder().encode(part))
  return new ReadableStream({
    pull(controller) {
      const next = left.shift()
      if (next === undefined) controller.close()
      else controller.enqueue(next)
    },
  })
}

describe('C13: a server that keeps us waiting', () => {
  const forever: Script = async (_, __, out) => {
    out.writeHead(401, { 'www-authenticate': 'Negotiate' }).write('wait')
    return undefined
  }
  const stalled: Script = async (_, __, out) => {
    out.writeHead(401, { 'www-authenticate': 'Negotiate', 'content-length': '10' }).write('wait')
    return undefined
  }
  const silent: Script = async () => undefined
  const afterwards: Script = async ({ token }, _, out) => {
    if (token === undefined) return CHALLENGE
    const { answer } = await world.accept(token)
    out.writeHead(200, { 'www-authenticate': `Negotiate ${answer}` }).write('wait')
    return undefined
  }

  test.each([
    ['with an endless 401', forever],
    ['with a 401 that stops short', stalled],
    ['with no answer', silent],
  ])('C13 %s: the AbortSignal ends the call and the connection', async (_, script) => {
    await using site = await Site.start(script)
    const reason = new Error('enough')
    const controller = new AbortController()
    const promise = errorOf(alice()(site.url, { signal: controller.signal }))
    await eventually(() => site.seen.length === 1)
    await setTimeout(30)
    controller.abort(reason)
    expect(await promise).toBe(reason)
    const connection = site.seen[0]?.connection ?? 0 // undici opens another at once, which idles
    await eventually(() => !site.open.has(connection))
    expect(site.open.has(connection)).toBe(false)
    expect(site.tokens).toEqual([])
  })

  test.each([
    ['an endless 401', forever],
    ['a 401 that stops short', stalled],
  ])('C13: %s is left, and the login goes on', async (_, script) => {
    await using site = await Site.start((seen, nth, out) =>
      seen.token === undefined ? script(seen, nth, out) : world.honest()(seen, nth, out),
    )
    const answer = await alice()(site.url)
    expect(await answer.text()).toBe('alice@EXAMPLE.TEST')
  })

  test('C13: a body that does not end is ended by the signal, as fetch does it', async () => {
    await using site = await Site.start(afterwards)
    const controller = new AbortController()
    const answer = await alice()(site.url, { signal: controller.signal })
    const text = errorOf(answer.text())
    controller.abort()
    expect(await text).toMatchObject({ name: 'AbortError' })
    const connection = site.seen[1]?.connection ?? 0
    await eventually(() => !site.open.has(connection))
    expect(site.open.has(connection)).toBe(false)
  })

  test('C13: AbortSignal.timeout is the caller’s reason too', async () => {
    await using site = await Site.start(silent)
    expect(await errorOf(alice()(site.url, { signal: AbortSignal.timeout(40) }))).toMatchObject({
      name: 'TimeoutError',
    })
  })

  test('C13: aborted before: nothing is sent, no ticket is asked for', async () => {
    await using site = await Site.start(silent)
    const error = await errorOf(alice({ preemptive: true })(site.url, { signal: AbortSignal.abort() }))
    expect(error).toMatchObject({ name: 'AbortError' })
    expect(site.connections).toBe(0)
  })

  test('C13: a 401 that unpacks to far more than it is does not fill the memory', async () => {
    const bomb = gzipSync(Buffer.alloc(48 * 2 ** 20), { level: 9 })
    expect(bomb.length).toBeLessThan(65_536)
    await using site = await Site.start((seen, nth, out) =>
      seen.token === undefined
        ? {
            status: 401,
            headers: { 'www-authenticate': 'Negotiate', 'content-encoding': 'gzip' },
            body: bomb,
          }
        : world.honest()(seen, nth, out),
    )
    const before = process.memoryUsage().arrayBuffers
    const answer = await alice()(site.url)
    expect(answer.status).toBe(200)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24 * 2 ** 20)
  })
})

describe('what a proof must be', () => {
  const keytab = () => world.realm.keytab('HTTP/localhost')
  const proving = (make: (token: string) => string | readonly string[]): Script => {
    return async ({ token }) => {
      if (token === undefined) return CHALLENGE
      return {
        headers: { 'www-authenticate': [make(token)].flat().map((one) => `Negotiate ${one}`) },
        body: 'secret page',
      }
    }
  }

  async function refusal(make: (token: string) => string | readonly string[]): Promise<MutualAuthenticationError> {
    await using site = await Site.start(proving(make))
    const error = await errorOf(alice({ mutualAuthentication: 'optional' })(site.url))
    expect(error).toBeInstanceOf(MutualAuthenticationError)
    expect(site.seen.length).toBe(2)
    return error as MutualAuthenticationError
  }

  test('the forger’s own right one is accepted', async () => {
    await using site = await Site.start(
      proving((token) => response({ responseToken: proofFor(opened(token, keytab())) })),
    )
    expect(negotiated(await alice()(site.url))?.serverAuthenticated).toBe(true)
  })

  test('C18: two logins whose proofs are swapped both fail', async () => {
    const waiting: ((proof: string) => void)[] = []
    const proofs: string[] = []
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      proofs.push((await world.accept(token)).answer)
      const mine = new Promise<string>((resolve) => waiting.push(resolve))
      if (waiting.length === 2) {
        waiting[0]?.(proofs[1] ?? '')
        waiting[1]?.(proofs[0] ?? '')
      }
      return { headers: { 'www-authenticate': `Negotiate ${await mine}` } }
    })
    const fetch = alice()
    const errors = await Promise.all([errorOf(fetch(site.url)), errorOf(fetch(site.url))])
    for (const error of errors) expect(error).toBeInstanceOf(MutualAuthenticationError)
  })

  test('C19: a request whose connection was reset is tried again with another token', async () => {
    await using site = await Site.start(async (seen, nth, out) => {
      if (nth === 2) return void out.socket?.destroy() as undefined
      return world.honest()(seen, nth, out)
    })
    const fetch = alice()
    await expect(fetch(site.url)).rejects.toThrow('fetch failed')
    expect((await fetch(site.url)).status).toBe(200)
    expect(site.tokens.length).toBe(2)
    expect(new Set(site.tokens).size).toBe(2)
  })

  test('C19: 421, which fetch answers by itself with a second try, does not send the token twice', async () => {
    await using site = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : { status: 421 }))
    const error = await errorOf(alice()(site.url))
    expect(site.tokens.length).toBe(1)
    expect(error).toBeInstanceOf(TypeError)
    expect(String((error as Error).cause)).toContain('421')
  })

  test('C19: 64 requests at once have 64 tokens', async () => {
    await using site = await Site.start(world.honest())
    const fetch = alice({ preemptive: true })
    await Promise.all(Array.from({ length: 64 }, async () => (await fetch(site.url)).text()))
    expect(new Set(site.tokens).size).toBe(64)
  })

  test('C20: none at all: an error, and no part of the page', async () => {
    await using site = await Site.start(async ({ token }) =>
      token === undefined ? CHALLENGE : { headers: { 'x-secret': 'page' }, body: 'page' },
    )
    for (const mutualAuthentication of ['required', 'auto'] as const) {
      const error = await errorOf(alice({ mutualAuthentication })(site.url))
      expect(error).toBeInstanceOf(MutualAuthenticationError)
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('page')
    }
  })

  test('C22: one of an earlier exchange of the same user and server', async () => {
    let earlier: string | undefined
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      earlier ??= (await world.accept(token)).answer
      return { headers: { 'www-authenticate': `Negotiate ${earlier}` } }
    })
    const fetch = alice()
    expect((await fetch(site.url)).status).toBe(200)
    await expect(fetch(site.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
  })

  test('C22: one whose time is a microsecond off', async () => {
    const error = await refusal((token) => {
      const request = opened(token, keytab())
      return response({ responseToken: proofFor(request, { ctime: request.authenticator.ctime + 1 }) })
    })
    expect(error.cause).toMatchObject({ name: 'VerificationError' })
  })

  test('C23: one under another key', async () => {
    let key: Parameters<typeof proofFor>[1] = {}
    const ticket = await KerberosTicket.for('HTTP@localhost', { credentials: world.bob })
    key = { key: opened(ticket.authorization.slice(10), keytab()).sessionKey }
    const error = await refusal((token) => response({ responseToken: proofFor(opened(token, keytab()), key) }))
    expect(error.cause).toMatchObject({ code: 'INTEGRITY_FAILED' })
  })

  test.each([11, 13, 2, 0])('C23: one for another key usage (%d)', async (usage) => {
    const error = await refusal((token) => response({ responseToken: proofFor(opened(token, keytab()), { usage }) }))
    expect(error.cause).toMatchObject({ code: 'INTEGRITY_FAILED' })
  })

  test('C23: one with a flipped bit in its cipher text, whichever it is', async () => {
    // The envelope around it is not protected, and says nothing: its state may be any as long as the AP-REP is right.
    for (let part = 0; part < 8; part++) {
      await refusal((token) => {
        const proof = fromBase64(response({ responseToken: proofFor(opened(token, keytab())) }), 'proof')
        const at = proof.length - 1 - part * 8
        proof[at] = (proof[at] ?? 0) ^ (1 << part)
        return toBase64(proof)
      })
    }
  })

  test('C24: a right one and another beside it', async () => {
    for (const extra of ['oQcwBaADCgEA', 'YII=']) {
      await refusal((token) => [response({ responseToken: proofFor(opened(token, keytab())) }), extra])
      await refusal((token) => [extra, response({ responseToken: proofFor(opened(token, keytab())) })])
    }
  })

  test('C25: on a redirect it is verified before anybody is asked elsewhere', async () => {
    await using elsewhere = await Site.start(async () => ({ body: 'elsewhere' }))
    const script =
      (right: boolean): Script =>
      async ({ token }) => {
        if (token === undefined) return CHALLENGE
        const request = opened(token, keytab())
        const responseToken = proofFor(request, right ? {} : { ctime: 0 })
        const headers = {
          location: elsewhere.url,
          'www-authenticate': `Negotiate ${response({ responseToken })}`,
        }
        return { status: 302, headers }
      }
    await using wrong = await Site.start(script(false))
    await expect(alice()(wrong.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
    expect(elsewhere.seen).toEqual([])
    await using right = await Site.start(script(true))
    expect(await (await alice()(right.url)).text()).toBe('elsewhere')
  })

  test('C25: on a 500 it opens the page; without it there is a status only', async () => {
    await using right = await Site.start(world.honest(() => ({ status: 500, body: 'stack trace' })))
    expect(await (await alice()(right.url)).text()).toBe('stack trace')
    await using none = await Site.start(async ({ token }) =>
      token === undefined ? CHALLENGE : { status: 500, body: 'stack trace' },
    )
    expect(await (await alice()(none.url)).text()).toBe('')
  })

  test('C26: a KRB-ERROR with a clock ten years ahead: one try, and no clock is moved', async () => {
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      const negState = NEG_STATE.REJECT
      const error = response({ negState, responseToken: skewError(opened(token, keytab())) })
      return { status: 401, headers: { 'www-authenticate': `Negotiate ${error}` } }
    })
    const fetch = alice()
    const answer = await fetch(site.url)
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error).toMatchObject({ code: 'REJECTED', hint: expect.stringContaining('clock') })
    expect(negotiated(answer)?.error?.message).not.toContain('set your clock')
    expect(site.seen.length).toBe(2)
    const ticket = await KerberosTicket.for('HTTP@localhost', { credentials: world.alice })
    const { ctime } = opened(ticket.authorization.slice(10), keytab()).authenticator
    expect(Math.abs(ctime / 1000 - Date.now())).toBeLessThan(60_000)
  })

  test('C26: the same with a 200 is a wrong proof', async () => {
    const error = await refusal((token) =>
      response({ negState: NEG_STATE.REJECT, responseToken: skewError(opened(token, keytab())) }),
    )
    expect(error.cause).toMatchObject({ code: 'REJECTED' })
  })

  test.each([
    ['NTLM', '1.3.6.1.4.1.311.2.2.10'],
    ['NegoEx', '1.3.6.1.4.1.311.2.2.30'],
    ['what nobody knows', '1.2.3.4'],
  ])('C27: the choice of %s', async (_, supportedMech) => {
    const error = await refusal((token) =>
      response({ supportedMech, responseToken: proofFor(opened(token, keytab())) }),
    )
    expect(error.cause).toMatchObject({ code: 'MECHANISM_REFUSED' })
  })

  test('the choice of Microsoft’s number for Kerberos is the choice of Kerberos (RFC 4178 Appendix C)', async () => {
    await using site = await Site.start(
      proving((token) =>
        response({ supportedMech: '1.2.840.48018.1.2.2', responseToken: proofFor(opened(token, keytab())) }),
      ),
    )
    expect(negotiated(await alice()(site.url))).toMatchObject({ serverAuthenticated: true })
  })

  test('C27: a demand for a MIC that gives none itself proves nothing', async () => {
    await using site = await Site.start(
      proving((token) =>
        response({ negState: NEG_STATE.REQUEST_MIC, responseToken: proofFor(opened(token, keytab())) }),
      ),
    )
    await expect(alice()(site.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
  })

  test('C28: a MIC that is wrong, beside a right AP-REP', async () => {
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      const { answer, context } = await world.accept(token)
      const { responseToken } = decodeNegTokenResp(fromBase64(answer, 'answer'))
      const mechListMic = context.getMic(new TextEncoder().encode('another list'))
      return { headers: { 'www-authenticate': `Negotiate ${response({ responseToken, mechListMic })}` } }
    })
    for (const mutualAuthentication of ['required', 'auto', 'optional'] as const) {
      const error = await errorOf(alice({ mutualAuthentication })(site.url))
      expect(error).toBeInstanceOf(MutualAuthenticationError)
    }
  })

  test('C29: a NegTokenInit for an answer', async () => {
    const mechTypes = encodeMechTypes(['1.2.840.113554.1.2.2'])
    await refusal((token) => toBase64(encodeNegTokenInit(mechTypes, proofFor(opened(token, keytab())))))
    await refusal((token) => token)
  })
})

describe('a server that authenticates the connection', () => {
  /** As IIS with NTLM, or `GssapiConnectionBound`: after a login, whatever comes on that connection is that user's. */
  function connectionBound(): { script: Script; users: Map<number, string>; shared: string[] } {
    const users = new Map<number, string>()
    const shared: string[] = []
    const script: Script = async ({ token, connection }) => {
      const user = users.get(connection)
      if (token === undefined) {
        if (user !== undefined) shared.push(`nobody as ${user}`)
        return user === undefined ? CHALLENGE : { body: user }
      }
      const accepted = await world.accept(token)
      if (user !== undefined && user !== accepted.user) shared.push(`${accepted.user} as ${user}`)
      users.set(connection, accepted.user)
      return { headers: { 'www-authenticate': `Negotiate ${accepted.answer}` }, body: accepted.user }
    }
    return { script, users, shared }
  }

  test('C50: a second user never rides on alice’s connection', async () => {
    const { script, shared } = connectionBound()
    await using site = await Site.start(script)
    const [a, b] = [alice(), negotiateFetch({ credentials: world.bob })]
    for (let i = 0; i < 5; i++) {
      expect(await (await a(site.url)).text()).toBe('alice@EXAMPLE.TEST')
      expect(await (await b(site.url)).text()).toBe('bob@EXAMPLE.TEST')
    }
    expect(shared).toEqual([])
  })

  test('C52: nor does another name of the same server', async () => {
    const { script, users } = connectionBound()
    await using site = await Site.start(script)
    let host = 'localhost'
    const fetch = negotiateFetch({ credentials: world.alice, targetName: () => `HTTP@${host}` })
    expect(await (await fetch(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    host = 'web1.corp.example'
    expect(await (await fetch(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    const carriers = site.seen.filter(({ token }) => token !== undefined).map(({ connection }) => connection)
    expect(new Set(carriers).size).toBe(2)
    const before = users.size
    host = 'nowhere.test' // no such service: no token, and so nobody
    expect((await fetch(site.url)).status).toBe(401)
    expect(users.size).toBe(before)
  })

  test('C52: nor does whoever the cache belongs to next', async () => {
    const { script, shared } = connectionBound()
    await using site = await Site.start(script)
    const cache = join(await mkdtemp(join(tmpdir(), 'cache-')), 'cc')
    const fetch = negotiateFetch({
      credentials: Credentials.fromCache(cache),
      config: world.realm.config,
    })
    for (const [name, credentials] of Object.entries({ alice: world.alice, bob: world.bob })) {
      await credentials.save(cache)
      for (let i = 0; i < 3; i++) expect(await (await fetch(site.url)).text()).toBe(`${name}@EXAMPLE.TEST`)
    }
    expect(shared).toEqual([])
  })

  test('C51: nor does a plain fetch, nor one with credentials of its own', async () => {
    const { script } = connectionBound()
    await using site = await Site.start(script)
    const fetch = alice()
    for (let i = 0; i < 5; i++) {
      expect(await (await fetch(site.url)).text()).toBe('alice@EXAMPLE.TEST')
      expect((await globalThis.fetch(site.url)).status).toBe(401)
      expect((await fetch(site.url, { headers: { authorization: 'Bearer x' } })).status).toBe(401)
    }
  })

  test('C51: dispatcher: undefined is no dispatcher', async () => {
    const { script } = connectionBound()
    await using site = await Site.start(script)
    const init = { dispatcher: undefined } as RequestInit
    expect(await (await alice()(site.url, init)).text()).toBe('alice@EXAMPLE.TEST')
    expect((await globalThis.fetch(site.url)).status).toBe(401)
  })

  test('C53: a refused login leaves nothing behind: the next request begins anew', async () => {
    let refuse = true
    await using site = await Site.start(async (seen, nth, out) => {
      if (seen.token !== undefined && refuse) return { ...CHALLENGE, body: 'no' }
      return world.honest()(seen, nth, out)
    })
    const fetch = alice()
    const refused = await fetch(site.url)
    expect(refused.status).toBe(401)
    expect(negotiated(refused)).toMatchObject({ serverAuthenticated: false, error: { code: 'REJECTED' } })
    await refused.text()
    refuse = false
    const answer = await fetch(site.url)
    expect(negotiated(answer)).toMatchObject({ serverAuthenticated: true, error: undefined })
    expect(site.seen.map(({ token }) => token !== undefined)).toEqual([false, true, false, true])
    expect(new Set(site.tokens).size).toBe(2)
  })

  test('C53: nor does a proof that failed', async () => {
    let lie = true
    await using site = await Site.start(async (seen, nth, out) => {
      if (seen.token !== undefined && lie) return { headers: { 'www-authenticate': 'Negotiate oQcwBaADCgEC' } }
      return world.honest()(seen, nth, out)
    })
    const fetch = alice()
    await expect(fetch(site.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
    lie = false
    expect(negotiated(await fetch(site.url))?.serverAuthenticated).toBe(true)
  })
})
