import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bypassOf, proxyEnvironment } from '../../../src/system/proxy-environment.ts'

describe('NO_PROXY', () => {
  const rows: readonly [list: string, url: string, isDirect: boolean][] = [
    ['', 'http://web.corp.example/', false],
    ['*', 'http://web.corp.example/', true],
    ['corp.example', 'http://corp.example/', true],
    ['corp.example', 'http://web.corp.example/', true],
    ['corp.example', 'http://evilcorp.example/', false],
    ['.corp.example', 'http://web.corp.example/', true],
    ['*.corp.example', 'http://web.corp.example/', true],
    ['CORP.Example', 'http://web.corp.example./', true],
    ['web.corp.example:8080', 'http://web.corp.example:8080/', true],
    ['web.corp.example:8080', 'http://web.corp.example/', false],
    ['web.corp.example:443', 'https://web.corp.example/', true],
    ['a, web.corp.example b', 'http://web.corp.example/', true],
    ['10.0.0.0/8', 'http://10.1.2.3/', true],
    ['10.0.0.0/8', 'http://11.1.2.3/', false],
    ['10.0.0.0/8', 'http://ten.example/', false],
    ['10.0.0.0/99', 'http://10.1.2.3/', false],
    ['127.0.0.1', 'http://127.0.0.1:9/', true],
    ['0.0.1', 'http://127.0.0.1/', false],
    ['::1', 'http://[::1]:9/', true],
    ['[::1]:9', 'http://[::1]:9/', true],
    ['[::1]:8', 'http://[::1]:9/', false],
    ['fd00::/8', 'http://[fd00::1]/', true],
    ['.', 'http://web.corp.example/', false],
  ]
  test.each(rows)('%j and %s: %s', (list, url, isDirect) => {
    const { bypass } = proxyEnvironment({ NO_PROXY: list })
    expect(bypassOf(bypass)(new URL(url))).toBe(isDirect)
  })

  test('whatever stands there, a host that shares no letter with it needs its proxy', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abc.:/1[]- ') }), (list) => {
        const { bypass } = proxyEnvironment({ no_proxy: list })
        expect(bypassOf(bypass)(new URL('https://xyz.xyz/'))).toBe(false)
      }),
    )
  })
})

describe('the environment', () => {
  const named = (variables: Readonly<Record<string, string>>) => {
    const { http, https } = proxyEnvironment(variables)
    return [http?.value, https?.value]
  }
  test('small letters first, an empty value is none', () => {
    expect(named({ HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:1' })).toEqual(['http://a:1', 'http://b:1'])
    expect(named({ http_proxy: 'http://c:1', HTTP_PROXY: 'http://a:1' })).toEqual(['http://c:1', undefined])
    expect(named({ https_proxy: '', HTTPS_PROXY: 'http://b:1' })).toEqual([undefined, 'http://b:1'])
    expect(named({})).toEqual([undefined, undefined])
  })

  test('without a scheme it is http', () => {
    expect(named({ https_proxy: 'proxy.corp:3128' })).toEqual([undefined, 'http://proxy.corp:3128'])
  })

  test('a CGI program does not believe HTTP_PROXY, which its request may have set (CVE-2016-5385)', () => {
    expect(named({ REQUEST_METHOD: 'GET', HTTP_PROXY: 'http://evil:1' })).toEqual([undefined, undefined])
    expect(named({ REQUEST_METHOD: 'GET', http_proxy: 'http://a:1' })).toEqual(['http://a:1', undefined])
  })
})
