import { describe, expect, test } from 'vitest'
import { type NegotiateServerOptions, serverSettings } from '../../../src/http/index.ts'

function codeOf(options: unknown): unknown {
  try {
    serverSettings(options as NegotiateServerOptions)
    return 'none'
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('options of a server', () => {
  test('defaults', () => {
    const settings = serverSettings()
    expect(settings).toMatchObject({ required: true, crossSite: [], failureStatus: 401, maxTokenBytes: 65_535 })
    expect(Object.isFrozen(settings) && Object.isFrozen(settings.acceptor)).toBe(true)
  })

  test('those of the acceptor are handed on, the caller’s object is left alone', () => {
    const replayStore = { checkAndStore: () => 'fresh' as const }
    const options = Object.freeze({
      keytab: '/etc/http.keytab',
      principal: { service: 'HTTP' },
      replayStore,
      trustedRealms: Object.freeze(['OTHER.ORG']),
      clockSkewSeconds: 60,
      maxTokenBytes: 1024,
      enctypes: [18],
    })
    expect(serverSettings(options).acceptor).toEqual(options)
    expect(serverSettings(options).acceptor.replayStore).toBe(replayStore)
  })

  test.each(['keyTab', 'pac'])('A31: %s does not exist yet, and is refused', (name) => {
    expect(codeOf({ [name]: true })).toBe('OPTION_UNKNOWN')
  })

  test('A31: inherited properties are no options', () => {
    expect(serverSettings(Object.create({ required: false })).required).toBe(true)
  })

  test.each<[string, unknown]>([
    ['keytab', ''],
    ['keytab', 5],
    ['principal', 5],
    ['replayStore', {}],
    ['trustedRealms', 'R'],
    ['trustedRealms', ['']],
    ['clockSkewSeconds', 3601],
    ['clockSkewSeconds', '300'],
    ['maxTokenBytes', 65_536],
    ['maxTokenBytes', 0],
    ['enctypes', [1.5]],
    ['required', 'no'],
    ['required', null],
    ['crossSite', 'refused'],
    ['crossSite', ['*']],
    ['crossSite', ['https://a.example/path']],
    ['crossSite', ['a.example']],
    ['crossSite', ['null']],
    ['crossSite', [undefined]],
    ['unauthorized', 5],
    ['unauthorized', { body: 5 }],
    ['forbidden', { body: '', contentType: '' }],
    ['failureStatus', 200],
    ['failureStatus', '401'],
    ['authorize', true],
    ['onFailure', {}],
    ['logger', { debug() {} }],
  ])('%s: %j is refused', (name, value) => {
    expect(codeOf({ [name]: value })).toBe('OPTION_INVALID')
  })
})
