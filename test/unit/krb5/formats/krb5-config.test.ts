import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  DEFAULT_ENCTYPES,
  Krb5Config,
  MAX_SERVERS,
  parseDuration,
  parseEnctypeList,
  parseServerAddress,
} from '../../../../src/krb5/formats/index.ts'
import { foreignFile, refusal, survives } from './vectors.ts'

const libdefaults = (text: string) => Krb5Config.parse(`[libdefaults]\n${text}`, '/etc/krb5.conf')
const realm = (text: string) => Krb5Config.parse(`[realms]\nR = {\n${text}\n}`, '/etc/krb5.conf')
const invalid = (call: () => unknown, line = 2) => {
  const error = refusal(call)
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', name: 'ConfigError', hint: expect.any(String) })
  expect(error.message).toMatch(new RegExp(`^/etc/krb5\\.conf:${line}: `))
}
const NO_TOKENS = new Map<string, string>()

describe('krb5.conf [libdefaults]', () => {
  test('what an empty file means', () => {
    const config = Krb5Config.parse('')
    expect(config.defaultRealm).toBeUndefined()
    expect([config.forwardable, config.proxiable, config.dnsLookupKdc, config.dnsLookupRealm]).toEqual([
      false,
      false,
      true,
      false,
    ])
    expect([config.ticketLifetimeSeconds, config.renewLifetimeSeconds, config.udpPreferenceLimit]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect(config.clockSkewSeconds).toBe(300)
    expect([config.permittedEnctypes, config.defaultTktEnctypes, config.defaultTgsEnctypes]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect([
      config.defaultCcacheName(NO_TOKENS),
      config.defaultKeytabName(NO_TOKENS),
      config.defaultClientKeytabName(NO_TOKENS),
    ]).toEqual([undefined, undefined, undefined])
    expect([config.realmOfHost('a.b'), config.capaths('A', 'B')]).toEqual([undefined, undefined])
    expect([config.kdcs('R'), config.kdcProxies('R'), config.kpasswdServers('R')]).toEqual([[], [], []])
  })

  test('the first value counts', () => {
    expect(libdefaults('default_realm = A\ndefault_realm = B').defaultRealm).toBe('A')
  })

  test('booleans: the words of MIT, in any case', () => {
    for (const word of ['y', 'yes', 'true', 't', '1', 'on', 'TRUE', 'On']) {
      expect(libdefaults(`forwardable = ${word}`).forwardable, word).toBe(true)
    }
    for (const word of ['n', 'no', 'false', 'nil', '0', 'off', 'FALSE']) {
      expect(libdefaults(`dns_lookup_kdc = ${word}`).dnsLookupKdc, word).toBe(false)
    }
    for (const word of ['maybe', '2', '""', 'tru e', 'constructor'])
      invalid(() => libdefaults(`proxiable = ${word}`).proxiable)
    invalid(() => libdefaults('dns_lookup_realm = x').dnsLookupRealm)
  })

  test('durations', () => {
    expect(libdefaults('ticket_lifetime = 1d 2h').ticketLifetimeSeconds).toBe(93_600)
    expect(libdefaults('renew_lifetime = 7d').renewLifetimeSeconds).toBe(604_800)
    expect(libdefaults('clockskew = 120').clockSkewSeconds).toBe(120)
    expect(libdefaults('clockskew = 5m').clockSkewSeconds).toBe(300)
    for (const text of ['-1h', '10 hours', '1.5h', '2147483648', '5-', '""']) {
      invalid(() => libdefaults(`ticket_lifetime = ${text}`).ticketLifetimeSeconds)
    }
  })

  test('udp_preference_limit', () => {
    expect(libdefaults('udp_preference_limit = 1').udpPreferenceLimit).toBe(1)
    for (const text of ['-1', '1k', '0x10', '99999999999']) {
      invalid(() => libdefaults(`udp_preference_limit = ${text}`).udpPreferenceLimit)
    }
  })

  test('enctype lists: unknown names are remembered, a list of nothing else is refused', () => {
    const config = libdefaults(
      'permitted_enctypes = aes256-cts, foo aes-sha2 -aes128-sha2\ndefault_tkt_enctypes = DEFAULT\ndefault_tgs_enctypes = foo',
    )
    expect(config.permittedEnctypes).toEqual([18, 20])
    expect(config.enctypeList('permitted_enctypes')?.unknown).toEqual(['foo'])
    expect(config.defaultTktEnctypes).toEqual(DEFAULT_ENCTYPES)
    invalid(() => config.defaultTgsEnctypes, 4)
    expect(libdefaults('permitted_enctypes = rc4-hmac-exp aes\nallow_weak_crypto = true').permittedEnctypes).toContain(
      24,
    )
    expect(libdefaults('permitted_enctypes = rc4-hmac-exp aes').permittedEnctypes).not.toContain(24)
  })

  test('names of files: tokens are replaced, others refused', () => {
    const tokens = new Map([
      ['uid', '1000'],
      ['TEMP', '/tmp'],
    ])
    const expand = (text: string) => libdefaults(`default_ccache_name = ${text}`).defaultCcacheName(tokens)
    expect(expand('FILE:%{TEMP}/krb5cc_%{uid}%{null}')).toBe('FILE:/tmp/krb5cc_1000')
    expect(expand('DIR:/x/100%')).toBe('DIR:/x/100%')
    for (const text of ['%{USERNAME}', '%{uid', '%{}', '%{toString}']) invalid(() => expand(text))
    expect(libdefaults('default_keytab_name = FILE:/k%{uid}').defaultKeytabName(tokens)).toBe('FILE:/k1000')
    expect(libdefaults('default_client_keytab_name = /c%{uid}').defaultClientKeytabName(tokens)).toBe('/c1000')
  })
})

describe('krb5.conf [domain_realm]', () => {
  const config = Krb5Config.parse(
    '[domain_realm]\nhost.a.example = HOST\n.a.example = DOT\na.example = BARE\n.example = TOP\nlonely = ONE\nnone.example = ""\n1.2.3.4 = NEVER\n.4 = NEVER',
  )
  test.each([
    ['host.a.example', 'HOST'],
    ['HOST.A.EXAMPLE', 'HOST'],
    ['host.a.example.', 'HOST'],
    ['other.a.example', 'DOT'],
    ['x.host.a.example', 'HOST'], // a host name implies the domain of that name
    ['deep.other.a.example', 'DOT'],
    ['a.example', 'BARE'],
    ['xa.example', 'TOP'],
    ['none.example', 'TOP'],
    ['example', undefined],
    ['lonely', 'ONE'],
    ['elsewhere.org', undefined],
    ['', undefined],
    ['.', undefined],
    ['1.2.3.4', undefined],
    ['::4', undefined],
    ['__proto__', undefined],
  ])('%s is in %s', (host, wanted) => expect(config.realmOfHost(host)).toBe(wanted))

  test('without a leading dot a name still covers its domain, unless the dotted one is there', () => {
    expect(Krb5Config.parse('[domain_realm]\nb.example = B').realmOfHost('x.b.example')).toBe('B')
  })
})

describe('krb5.conf [realms]', () => {
  const at = (host: string, port: number, transport?: 'tcp' | 'udp') => ({ host, port, transport })
  test('kdc: in order, port 88 by default', () => {
    const config = realm(
      'kdc = a\nkdc = b.example:750\nkdc = [::1]:89\nkdc = [fe80::1%eth0]\nkdc = tcp/c:90\nkdc = udp/[::2]\nkdc = 10.0.0.1 # why',
    )
    expect(config.kdcs('R')).toEqual([
      at('a', 88),
      at('b.example', 750),
      at('::1', 89),
      at('fe80::1%eth0', 88),
      at('c', 90, 'tcp'),
      at('::2', 88, 'udp'),
      at('10.0.0.1', 88),
    ])
    expect(config.kdcs('r')).toEqual([])
  })
  test.each([
    'host:99999',
    'host:0',
    'host:',
    'host:8x',
    ':88',
    '88',
    '::1',
    '[::1',
    '[::1]88',
    'a/b',
    'http/a',
    'user@a',
    '[a b]',
    '[]',
    '"a\\nb"',
    '""',
  ])('P80: kdc = %s is refused with its line', (text) => {
    const config = realm(`default_domain = x\nkdc = good\nkdc = ${text}`)
    invalid(() => config.kdcs('R'), 5)
  })
  test('KDC proxies are told apart; another scheme is refused', () => {
    const config = realm('kdc = https://proxy.example/KdcProxy\nkdc = a')
    expect(config.kdcs('R')).toEqual([at('a', 88)])
    expect(config.kdcProxies('R').map(String)).toEqual(['https://proxy.example/KdcProxy'])
    invalid(() => realm('kdc = http://proxy.example/').kdcProxies('R'), 3)
    invalid(() => realm('kdc = https://').kdcProxies('R'), 3)
  })
  test('no more than 16 are taken', () => {
    expect(realm(Array.from({ length: 40 }, (_, i) => `kdc = h${i}`).join('\n')).kdcs('R')).toHaveLength(MAX_SERVERS)
  })
  test('kpasswd_server, else the host of admin_server; port 464', () => {
    expect(realm('kpasswd_server = a:1\nadmin_server = b').kpasswdServers('R')).toEqual([at('a', 1)])
    expect(realm('kpasswd_server = a').kpasswdServers('R')).toEqual([at('a', 464)])
    expect(realm('admin_server = b:749').kpasswdServers('R')).toEqual([at('b', 464)])
    invalid(() => realm('kpasswd_server = a:b').kpasswdServers('R'), 3)
    invalid(() => realm('admin_server = a:b').kpasswdServers('R'), 3)
  })
})

test('krb5.conf [capaths]: the realms between, none for direct trust, undefined for nothing said', () => {
  const config = Krb5Config.parse('[capaths]\nA = {\nB = .\nC = X\nC = Y\n}')
  expect(config.capaths('A', 'B')).toEqual([])
  expect(config.capaths('A', 'C')).toEqual(['X', 'Y'])
  expect(config.capaths('B', 'A')).toBeUndefined()
})

test('Krb5Config.parse: wrong types, syntax errors and subclasses', () => {
  expect(refusal(() => Krb5Config.parse(1 as unknown as string)).code).toBe('OPTION_INVALID')
  expect(refusal(() => Krb5Config.parse('[a', 'mine')).message).toMatch(/^mine:1: /)
  expect(refusal(() => Krb5Config.parse('[a')).message).toMatch(/^krb5\.conf:1: /)
  class Other extends Krb5Config {}
  expect(Other.parse('')).toBeInstanceOf(Other)
})

interface Strings {
  readonly sets: {
    readonly duration: { readonly records: readonly { input: string; seconds: number | null }[] }
    readonly enctype_list: {
      readonly records: readonly {
        input: string
        default_list: number[]
        expected_weak_refused: number[]
        expected_weak_allowed: number[]
      }[]
    }
    readonly host_string: {
      readonly records: readonly {
        input: string | null
        default_port: number
        host: string | null
        port: number | null
      }[]
    }
    readonly realm_walk: { readonly capaths: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> }
  }
}
const foreign = foreignFile<Strings>('strings_config')?.sets

describe.skipIf(foreign === undefined)("MIT's own strings", () => {
  test('t_deltat: durations', () => {
    for (const { input, seconds } of foreign?.duration.records ?? []) {
      expect(parseDuration(input), input).toBe(seconds ?? undefined)
    }
  })
  test('t_etypes: lists of enctypes', () => {
    for (const { input, default_list: defaults, ...expected } of foreign?.enctype_list.records ?? []) {
      expect(parseEnctypeList(input, { defaults }).enctypes, input).toEqual(expected.expected_weak_refused)
      expect(parseEnctypeList(input, { defaults, allowWeak: true }).enctypes, input).toEqual(
        expected.expected_weak_allowed,
      )
    }
  })
  test('t_parse_host_string: addresses; a port without a host is none', () => {
    for (const { input, default_port, host, port } of foreign?.host_string.records ?? []) {
      const found = parseServerAddress(input ?? '', default_port)
      expect(found && { host: found.host, port: found.port }, `${input}`).toEqual(
        host === null ? undefined : { host, port },
      )
    }
  })
  test('walktree-tests: [capaths]', () => {
    for (const [client, servers] of Object.entries(foreign?.realm_walk.capaths ?? {})) {
      const lines = Object.entries(servers).flatMap(([server, path]) => path.map((via) => `${server} = ${via}`))
      const config = Krb5Config.parse(`[capaths]\n${client} = {\n${lines.join('\n')}\n}`)
      for (const [server, path] of Object.entries(servers)) {
        expect(config.capaths(client, server)).toEqual(path.filter((via) => via !== '.'))
      }
    }
  })
})

describe('durations, by the documentation', () => {
  test.each([
    ['36000', 36_000],
    ['10h', 36_000],
    ['7d0h0m0s', 604_800],
    ['1:30', 5_400],
    ['1:02:03', 3_723],
    ['2-1:02:03', 176_523],
    ['1d -1h', 82_800],
  ])('%s', (text, seconds) => expect(parseDuration(text)).toBe(seconds))
  test.each(
    ['', ' ', 'h', '1', '1x', '1h1d', '1h1h', '1:2:3:4', '1:002', '1 2', '1e3', '٣h', '1d 2', '99999999999d'].filter(
      (text) => text !== '1',
    ),
  )('%j is none', (text) => expect(parseDuration(text)).toBeUndefined())
  test('long texts take no longer than they are', () => {
    for (const text of [' '.repeat(60_000), '1'.repeat(60_000), '1d'.repeat(30_000), `${' '.repeat(60_000)}x`]) {
      expect(parseDuration(text)).toBeUndefined()
    }
  })
})

test('any value is read or refused by every getter', () => {
  const value = fc.oneof(fc.string({ maxLength: 30 }), fc.stringMatching(/^[-+:./[\]%{}0-9a-z ]{0,20}$/))
  fc.assert(
    fc.property(value, (text) => {
      const names = [
        'forwardable',
        'ticket_lifetime',
        'udp_preference_limit',
        'permitted_enctypes',
        'default_ccache_name',
      ]
      const quoted = `"${text.replace(/[\\"]/g, '\\$&')}"`
      const config = Krb5Config.parse(
        `[libdefaults]\n${names.map((name) => `${name} = ${quoted}\n`).join('')}[realms]\nR = {\nkdc = ${quoted}\nadmin_server = ${quoted}\n}`,
      )
      const getters = [
        () => config.forwardable,
        () => config.ticketLifetimeSeconds,
        () => config.udpPreferenceLimit,
        () => config.permittedEnctypes,
        () => config.defaultCcacheName(NO_TOKENS),
        () => config.kdcs('R'),
        () => config.kdcProxies('R'),
        () => config.kpasswdServers('R'),
        () => config.realmOfHost(text),
      ]
      for (const getter of getters) survives(getter)
    }),
    { numRuns: 1000 },
  )
})
