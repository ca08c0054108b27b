import { describe, expect, test } from 'vitest'
import {
  CLIENT_ENTRIES,
  type ClientEntry,
  clientOf,
  type NegotiateClientOptions,
} from '../../../src/entries/wiring/client.ts'

function codeOf(entry: ClientEntry, options: NegotiateClientOptions): string | undefined {
  try {
    clientOf(entry, 'test', options)
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

describe('an option that an entry cannot honour is refused at once', () => {
  const rows: readonly [NegotiateClientOptions, readonly ClientEntry[]][] = [
    [{ preemptive: false }, ['agent']],
    [{ preemptive: true }, []],
    [{ maxReplayBodyBytes: 10 }, ['agent']],
    [{ channelBindings: 'required' }, ['undici']],
    [{ channelBindings: Uint8Array.of(1) }, []],
    [{ channelBindings: 'auto' }, []],
  ]
  for (const [options, refused] of rows) {
    test.each(CLIENT_ENTRIES)(`${JSON.stringify(options)} by %s`, (entry) => {
      expect(codeOf(entry, options)).toBe(refused.includes(entry) ? 'OPTION_UNSUPPORTED' : undefined)
    })
  }
})

describe('C03: a name or a login that is meant for somebody', () => {
  const perHop: readonly ClientEntry[] = ['undici', 'agent']
  for (const options of [
    { targetName: 'web1.corp' },
    { delegate: 'policy' },
    { delegate: true, delegateTo: ['https://web1.corp'] },
  ] as const) {
    test.each(CLIENT_ENTRIES)(
      `needs origins where a redirect cannot be told: ${JSON.stringify(options)} by %s`,
      (entry) => {
        expect(codeOf(entry, options)).toBe(perHop.includes(entry) ? 'ORIGINS_MISSING' : undefined)
        expect(codeOf(entry, { ...options, origins: ['https://web1.corp'] })).toBeUndefined()
      },
    )
  }
})

describe('proxy', () => {
  const refused: readonly [string, unknown, string][] = [
    ['no URL', 'proxy.corp:3128', 'no scheme'],
    ['no URL at all', '', 'a URL'],
    ['a number', 3128, 'a URL or an object'],
    ['SOCKS', 'socks5://proxy.corp:1080', 'no scheme of an HTTP proxy'],
    ['a password', 'http://alice:hunter2@proxy.corp:3128', 'a password'],
    ['an object without a URL', {}, 'a URL'],
    ['a wrong mode', { url: 'http://proxy.corp', mutualAuthentication: 'auto' }, 'mutualAuthentication'],
    ['hosts that are none', { url: 'http://proxy.corp', bypass: 'localhost' }, 'a list of hosts'],
    ['credentials that are none', { url: 'http://proxy.corp', credentials: {} }, 'Credentials'],
    ['a name that is none', { url: 'http://proxy.corp', targetName: 7 }, 'a name'],
  ]
  test.each(refused)('%s is refused, and no secret shown', (_, proxy, text) => {
    let error: unknown
    try {
      clientOf('fetch', 'test', { proxy: proxy as string })
    } catch (caught) {
      error = caught
    }
    expect(error).toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(text) })
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })

  test('an unknown part of it too', () => {
    expect(codeOf('got', { proxy: { url: 'http://proxy.corp', token: 'x' } as never })).toBe('OPTION_UNKNOWN')
  })

  test('the environment is read when the client is made, if it is asked for', () => {
    const before = { ...process.env }
    try {
      Object.assign(process.env, { HTTPS_PROXY: 'proxy.corp:3128', HTTP_PROXY: 'http://other.corp', NO_PROXY: '.corp' })
      const { proxies } = clientOf('fetch', 'test', { proxy: 'environment' })
      delete process.env['HTTPS_PROXY']
      expect(proxies?.for(new URL('https://web.example/'))?.url.href).toBe('http://proxy.corp:3128/')
      expect(proxies?.for(new URL('http://web.example/'))?.url.href).toBe('http://other.corp/')
      expect(proxies?.for(new URL('https://web.corp/'))).toBeUndefined()
      expect(clientOf('fetch', 'test', {}).proxies).toBeUndefined()
      process.env['HTTP_PROXY'] = 'http://alice:hunter2@other.corp'
      expect(() => clientOf('fetch', 'test', { proxy: 'environment' })).toThrow(/^HTTP_PROXY: (?!.*hunter2)/)
    } finally {
      process.env = before
    }
  })
})
