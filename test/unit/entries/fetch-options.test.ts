import { channel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, type Mock, test, vi } from 'vitest'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { Credentials, KerberosError, Principal, UsageError } from '../../../src/entries/index.ts'
import { CHALLENGE, errorOf, PASSWORD, Site, secretsIn, World } from '../http-client/site.ts'

let world: World
let site: Site
beforeAll(async () => {
  world = await World.start()
  site = await Site.start(world.honest())
})
afterAll(async () => {
  await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})
afterEach(() => vi.restoreAllMocks())

const loose = (options: unknown) => options as NegotiateFetchOptions

/** Whatever a test may read of an error: all own properties, all the way down. */
const everything = (value: unknown) => inspect(value, { depth: 20, showHidden: true, maxStringLength: null })

describe('A31: options', () => {
  test.each(['proxies', 'mutual', 'Credentials', ''])('%j does not exist', (name) => {
    const error = (() => {
      try {
        negotiateFetch(loose({ [name]: undefined }))
      } catch (thrown) {
        return thrown
      }
      return undefined
    })()
    expect(error).toBeInstanceOf(UsageError)
    expect(error).toMatchObject({ code: 'OPTION_UNKNOWN', message: expect.stringContaining(`"${name}"`) })
  })

  const WRONG: Readonly<Record<string, readonly unknown[]>> = {
    credentials: ['alice', {}, null, 1],
    principal: [1, '', {}, null],
    config: ['/etc/krb5.conf', {}, null],
    mechanism: ['ntlm', 'SPNEGO', null, 1],
    clockSkewSeconds: ['300', -1, 3601, 1.5, Number.NaN, null],
    service: [1, '', 'a/b', 'a@b', 'HTTP ', 'a\\b', null],
    targetName: [1, '', {}, null, [], true],
    mutualAuthentication: ['REQUIRED', true, null, 2],
    sanitizeErrors: ['false', 0, null],
    preemptive: ['true', 1, null],
    origins: [
      'https://a',
      [1],
      ['a.example'],
      ['https://a/path'],
      ['*'],
      ['https://*'],
      ['https://a.*.b'],
      ['ftp://a'],
      ['https://a@b'],
      ['https://a:99999'],
      ['https://[::1'],
      null,
    ],
    insecureOrigins: ['http://a', [null], ['http://a?b'], null],
    maxReplayBodyBytes: ['1', -1, 2 ** 30 + 1, 0.5, null],
    loginTimeoutMs: ['1', 0, 600_001, Number.POSITIVE_INFINITY, null],
    onLoginError: ['ignore', true, null],
    logger: [console.log, {}, { debug() {}, info() {}, warn() {} }, null, 'console'],
  }

  test.each(Object.entries(WRONG))('%s of a wrong type or range', (name, values) => {
    for (const value of values) {
      const make = () => negotiateFetch(loose({ [name]: value }))
      expect(make, inspect(value)).toThrow(UsageError)
      expect(make, inspect(value)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    }
  })

  test.each([null, 1, 'text', true])('%j for all of them', (options) => {
    expect(() => negotiateFetch(loose(options))).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  test('undefined is as if it were not there', async () => {
    const names = Object.keys(WRONG).filter((name) => name !== 'credentials')
    const fetch = negotiateFetch(
      loose({ ...Object.fromEntries(names.map((name) => [name, undefined])), credentials: world.alice }),
    )
    expect((await fetch(site.url)).status).toBe(200)
  })

  test('inherited properties are not options', async () => {
    const options = Object.create({ delegate: true, mutualAuthentication: 'nonsense', targetName: 'HTTP/evil' })
    options.credentials = world.alice
    const answer = await negotiateFetch(options)(site.url)
    expect(negotiated(answer)).toMatchObject({ target: 'HTTP/localhost@EXAMPLE.TEST', delegated: false })
  })

  test('the caller’s object is neither written to nor read again', async () => {
    const origins = [site.url]
    const options = Object.freeze({ credentials: world.alice, origins: Object.freeze(origins) })
    await negotiateFetch(options)(site.url)
    const mutable = { credentials: world.alice, targetName: 'HTTP/localhost', origins: [site.url] }
    const fetch = negotiateFetch(mutable)
    mutable.targetName = 'HTTP/evil'
    mutable.origins.length = 0
    expect(negotiated(await fetch(site.url))?.target).toBe('HTTP/localhost@EXAMPLE.TEST')
  })

  test.each([
    ['a host', 'localhost'],
    ['HTTP@host', 'HTTP@localhost'],
    ['HTTP/host', 'HTTP/localhost'],
    ['with a realm', 'HTTP/localhost@EXAMPLE.TEST'],
    ['a Principal', Principal.parse('HTTP/localhost@EXAMPLE.TEST')],
    ['a function', (): string => 'localhost'],
    ['a function to a Principal', (): Principal => Principal.parse('HTTP/localhost')],
  ] as const)('targetName as %s', async (_, targetName) => {
    const answer = await negotiateFetch({ credentials: world.alice, targetName })(
      site.url.replace('localhost', '127.0.0.1'),
    )
    expect(negotiated(answer)).toMatchObject({ target: 'HTTP/localhost@EXAMPLE.TEST', serverAuthenticated: true })
  })

  test('a targetName function is given the URL; what it throws is the cause', async () => {
    const targetName: Mock<(url: URL) => string> = vi.fn(() => {
      throw new RangeError('mine')
    })
    const call = negotiateFetch({ credentials: world.alice, targetName })(`${site.url}/x`)
    expect(await errorOf(call)).toMatchObject({ code: 'CALLBACK_FAILED', cause: new RangeError('mine') })
    expect(targetName.mock.calls[0]?.[0].href).toBe(`${site.url}/x`)
    const nothing = negotiateFetch(loose({ credentials: world.alice, targetName: () => undefined }))
    expect(await errorOf(nothing(site.url))).toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('principal beside credentials of somebody else logs nobody in', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const before = site.tokens.length
    const answer = await negotiateFetch({ credentials: world.alice, principal: 'bob@EXAMPLE.TEST' })(site.url)
    expect(answer.status).toBe(401)
    expect(negotiated(answer)?.error).toMatchObject({ name: 'CredentialError', code: 'NO_CREDENTIALS' })
    expect(site.tokens.length).toBe(before)
    for (const principal of ['alice', 'alice@EXAMPLE.TEST']) {
      expect((await negotiateFetch({ credentials: world.alice, principal })(site.url)).status).toBe(200)
    }
  })

  test('principal beside the default cache of somebody else logs nobody in', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const name = `${world.realm.environment.KRB5CCNAME}-of-alice`
    await world.alice.save(name)
    vi.stubEnv('KRB5CCNAME', name)
    vi.stubEnv('KRB5_CONFIG', world.realm.environment.KRB5_CONFIG)
    try {
      expect(await (await negotiateFetch()(site.url)).text()).toBe('alice@EXAMPLE.TEST')
      const answer = await negotiateFetch({ principal: 'bob@EXAMPLE.TEST' })(site.url)
      expect([answer.status, negotiated(answer)?.error?.code]).toEqual([401, 'NO_CREDENTIALS'])
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('preemptive: a token with every request, each its own; without a ticket the request goes bare', async () => {
    site.seen.length = 0
    const fetch = negotiateFetch({ credentials: world.alice, preemptive: true })
    for (let i = 0; i < 3; i++) expect(negotiated(await fetch(site.url))?.serverAuthenticated).toBe(true)
    expect(site.seen.length).toBe(3)
    expect(new Set(site.tokens).size).toBe(3)

    await using open = await Site.start(async () => ({ body: 'for all' }))
    const nobody = negotiateFetch({ credentials: Credentials.fromCache('FILE:/nonexistent/cc'), preemptive: true })
    const answer = await nobody(open.url)
    expect(await answer.text()).toBe('for all')
    expect(negotiated(answer)).toMatchObject({ attempted: false, error: { code: 'CACHE_NOT_FOUND' } })
    expect(open.tokens).toEqual([])
  })

  test('mechanism krb5 sends raw tokens, and takes raw proofs', async () => {
    site.seen.length = 0
    const answer = await negotiateFetch({ credentials: world.alice, mechanism: 'krb5' })(site.url)
    expect(negotiated(answer)).toMatchObject({ mechanism: 'krb5', serverAuthenticated: true })
    expect(Buffer.from(site.tokens[0] ?? '', 'base64').includes(Buffer.from('06092a864886f712010202', 'hex'))).toBe(
      true,
    )
  })

  test('mechanism krb5 without mutual authentication, and a 401 with a token: that is the server’s refusal', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    await using refusing = await Site.start(async ({ token }) =>
      token === undefined ? CHALLENGE : { status: 401, headers: { 'www-authenticate': 'Negotiate oQcwBaADCgEC' } },
    )
    const options = { credentials: world.alice, mechanism: 'krb5', mutualAuthentication: 'disabled' } as const
    const answer = await negotiateFetch(options)(refusing.url)
    expect([answer.status, negotiated(answer)?.error?.code]).toEqual([401, 'REJECTED'])
  })
})

describe('a login that fails here', () => {
  const nobody = () => Credentials.fromCache('FILE:/nonexistent/cc')

  test('leaves the 401 as it came, with the reason beside it', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const answer = await negotiateFetch({ credentials: nobody() })(site.url)
    expect(answer.status).toBe(401)
    expect(await answer.text()).toBe(CHALLENGE.body)
    expect(negotiated(answer)).toMatchObject({
      attempted: false,
      serverAuthenticated: false,
      principal: undefined,
      context: undefined,
      error: { code: 'CACHE_NOT_FOUND', name: 'CredentialError' },
    })
    expect(warn).toHaveBeenCalledTimes(1)
  })

  test('warns the process once for each code and origin, with the hint', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const fetch = negotiateFetch({ credentials: nobody() })
    await using second = await Site.start(async () => CHALLENGE)
    for (let i = 0; i < 3; i++) for (const { url } of [site, second]) await fetch(url)
    expect(warn).toHaveBeenCalledTimes(2)
    const [message, options] = warn.mock.calls[0] as unknown as [string, object]
    expect(message).toContain(site.url)
    expect(message).toContain('kinit')
    expect(options).toEqual({ type: 'SpnegoWarning', code: 'CACHE_NOT_FOUND' })
  })

  test('a preemptive login that failed is not tried again at the challenge', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const targetName = vi.fn(() => 'HTTP/unknown.test@EXAMPLE.TEST')
    const answer = await negotiateFetch({ credentials: world.alice, preemptive: true, targetName })(site.url)
    expect([answer.status, negotiated(answer)?.error?.code]).toEqual([401, 'KDC_ERR_S_PRINCIPAL_UNKNOWN'])
    expect(targetName).toHaveBeenCalledTimes(1)
  })
})

describe('what is told', () => {
  test('negotiated: undefined without a challenge, else the facts, frozen, and a context that works', async () => {
    await using open = await Site.start(async () => ({ body: 'for all' }))
    expect(negotiated(await negotiateFetch({ credentials: world.alice })(open.url))).toBeUndefined()
    expect(negotiated({})).toBeUndefined()

    const answer = await negotiateFetch({ credentials: world.alice })(site.url)
    const facts = negotiated(answer)
    expect(facts).toMatchObject({
      attempted: true,
      serverAuthenticated: true,
      principal: 'alice@EXAMPLE.TEST',
      target: 'HTTP/localhost@EXAMPLE.TEST',
      mechanism: 'spnego',
      channelBound: false,
      delegated: false,
      error: undefined,
    })
    expect(Object.isFrozen(facts)).toBe(true)
    expect(facts?.context?.peer.toString()).toBe('HTTP/localhost@EXAMPLE.TEST')
    expect(facts?.context?.wrap(new Uint8Array(3)).length).toBeGreaterThan(3)
    expect(Object.keys(answer)).not.toContain('negotiated')
  })

  test('logger, diagnostics channel, warnings, errors and inspect: facts, and nothing secret', async () => {
    const told: unknown[] = []
    const heard: unknown[] = []
    const hear = (message: unknown) => void heard.push(message)
    channel('spnego:client').subscribe(hear)
    vi.spyOn(process, 'emitWarning').mockImplementation((...all: unknown[]) => void told.push(all))
    const note =
      (level: string) =>
      (...all: unknown[]) =>
        void told.push([level, ...all])
    const logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
    const proofs: string[] = []
    await using mixed = await Site.start(async (seen) => {
      if (seen.token === undefined) return CHALLENGE
      const { answer } = await world.accept(seen.token)
      proofs.push(answer)
      const headers = { 'www-authenticate': `Negotiate ${answer}` }
      if (seen.url === '/refuse') return { ...CHALLENGE }
      if (seen.url === '/again') return { status: 401, headers }
      return seen.url === '/lie' ? { headers: { 'www-authenticate': `Negotiate ${proofs[0]}` } } : { headers }
    })
    try {
      const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', PASSWORD, world.realm.config)
      const fetch = negotiateFetch({ credentials, logger })
      const outcomes: unknown[] = [credentials, fetch]
      for (const path of ['/', '/refuse', '/again', '/lie']) {
        const outcome = await fetch(`${mixed.url}${path}`).catch((error: unknown) => error)
        outcomes.push(outcome, negotiated(outcome as object))
      }
      expect(outcomes.at(-2)).toBeInstanceOf(KerberosError)
      expect(told).toContainEqual([
        'debug',
        {
          origin: mixed.url,
          status: 200,
          attempted: true,
          serverAuthenticated: true,
          principal: 'alice@EXAMPLE.TEST',
          target: 'HTTP/localhost@EXAMPLE.TEST',
          code: undefined,
          hint: undefined,
        },
        'logged in',
      ])
      expect(told).toContainEqual([
        'warn',
        expect.objectContaining({ status: 401, code: 'REJECTED' }),
        expect.any(String),
      ])
      expect(heard.length).toBe(3)
      expect(mixed.tokens.length).toBe(5) // one of them with a new ticket, which is refused too
      const text = everything([told, heard, outcomes.filter((one) => !(one instanceof Response))])
      // The page's own header is the server's to show; ours must not repeat it.
      expect(secretsIn(text, [...mixed.tokens, ...proofs])).toEqual([])
    } finally {
      channel('spnego:client').unsubscribe(hear)
    }
  })
})
