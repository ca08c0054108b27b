import { describe, expect, test } from 'vitest'
import { isCrossSite } from '../../../src/http/cross-site.ts'
import type { Decision, NegotiateServerOptions } from '../../../src/http/index.ts'
import { inOriginForm } from '../../../src/http/request.ts'
import { fakeServer, negotiateField, type RequestParts, request } from './fake-acceptor.ts'

const CROSS_SITE = { kind: 'refused', status: 403, reason: 'CROSS_SITE' }

function decide(parts: RequestParts, options?: NegotiateServerOptions): Promise<Decision> {
  return fakeServer(options).core.authenticate(request(negotiateField('user'), { method: 'POST', ...parts }))
}

describe('S84: what a browser sends for another site', () => {
  test.each<[string, NodeJS.Dict<string[]>]>([
    ['cross-site', { 'sec-fetch-site': ['cross-site'] }],
    ['same-site', { 'sec-fetch-site': ['same-site'] }],
    ['cross-site twice', { 'sec-fetch-site': ['same-origin', 'cross-site'] }],
    [
      'cross-site, whatever Origin says',
      { 'sec-fetch-site': ['cross-site'], origin: ['https://intranet.example.org'] },
    ],
    ['another origin', { origin: ['https://evil.example'] }],
    ['another port', { origin: ['https://intranet.example.org:8443'] }],
    ['a subdomain', { origin: ['https://a.intranet.example.org'] }],
    ['an opaque origin', { origin: ['null'] }],
    ['no origin at all', { origin: [''] }],
    ['two origins', { origin: ['https://intranet.example.org', 'https://evil.example'] }],
    ['another origin and a word of the future', { 'sec-fetch-site': ['galactic'], origin: ['https://evil.example'] }],
    ['two hosts', { origin: ['https://evil.example'], host: ['evil.example', 'intranet.example.org'] }],
    ['no host', { origin: ['https://evil.example'], host: [] }],
    ['a host that is none', { origin: ['https://evil.example'], host: ['['] }],
  ])('%s is refused before any token is read', async (_what, headers) => {
    const { core, contexts } = fakeServer({ required: false })
    const decision = await core.authenticate(request(negotiateField('user'), { method: 'POST', headers }))
    expect(decision).toMatchObject(CROSS_SITE)
    expect(contexts.made).toEqual([])
    expect(decision.kind === 'refused' && decision.headers.some(([name]) => name === 'WWW-Authenticate')).toBe(false)
  })

  test.each<[string, NodeJS.Dict<string[]>]>([
    ['programs, which send neither', {}],
    ['same-origin', { 'sec-fetch-site': ['same-origin'], origin: ['https://intranet.example.org'] }],
    ['none: the user typed it', { 'sec-fetch-site': ['none'] }],
    ['its own origin', { origin: ['https://intranet.example.org'] }],
    [
      'its own origin with the port that goes without saying',
      { origin: ['https://intranet.example.org'], host: ['Intranet.example.org:443'] },
    ],
    ['its own origin on a port', { origin: ['http://localhost:8080'], host: ['localhost:8080'] }],
    ['its own origin over HTTP/2', { origin: ['https://h2.example'], host: [], ':authority': ['h2.example'] }],
  ])('%s is let through', async (_what, headers) => {
    expect(await decide({ headers })).toMatchObject({ kind: 'accepted' })
  })

  test('S84: safe methods are; upgrades and any other method are not', async () => {
    const headers = { 'sec-fetch-site': ['cross-site'] }
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE']) {
      expect(await decide({ method, headers })).toMatchObject({ kind: 'accepted' })
    }
    for (const method of ['PUT', 'DELETE', 'PATCH', 'CONNECT', 'PROPFIND', 'get', '']) {
      expect(await decide({ method, headers })).toMatchObject(CROSS_SITE)
    }
    expect(await decide({ method: 'GET', headers: { ...headers, upgrade: ['websocket'] } })).toMatchObject(CROSS_SITE)
    expect(
      await decide({ method: 'GET', headers: { origin: ['https://evil.example'], upgrade: ['x'] } }),
    ).toMatchObject(CROSS_SITE)
  })

  test.each<[string, NodeJS.Dict<string[]>]>([
    ['Upgrade', { upgrade: ['websocket'] }],
    ['Sec-WebSocket-Key', { 'sec-websocket-key': ['dGhlIHNhbXBsZSBub25jZQ=='] }],
    ['Sec-WebSocket-Version', { 'sec-websocket-version': ['13'] }],
    ['Sec-Fetch-Mode', { 'sec-fetch-mode': ['websocket'] }],
  ])('S84: a WebSocket of another site, known by its %s alone, as a proxy hands it on', async (_what, fields) => {
    const of = (more: NodeJS.Dict<string[]>) => decide({ method: 'GET', headers: { ...fields, ...more } })
    expect(await of({ 'sec-fetch-site': ['cross-site'], origin: ['https://evil.example'] })).toMatchObject(CROSS_SITE)
    expect(await of({ origin: ['https://evil.example'] })).toMatchObject(CROSS_SITE)
    expect(await of({ origin: ['https://intranet.example.org'] })).toMatchObject({ kind: 'accepted' })
  })

  test('S84: over https a page of the same host that came over http is another site', async () => {
    const of = (origin: string, secure: boolean | undefined) =>
      fakeServer().core.authenticate({
        ...request(negotiateField('user'), { method: 'POST', headers: { origin: [origin] } }),
        secure,
      })
    expect(await of('http://intranet.example.org', true)).toMatchObject(CROSS_SITE)
    expect(await of('https://intranet.example.org', true)).toMatchObject({ kind: 'accepted' })
    // Where TLS ends before the server, it cannot know.
    for (const secure of [false, undefined]) {
      expect(await of('https://intranet.example.org', secure)).toMatchObject({ kind: 'accepted' })
    }
  })

  test('S84: allow, or trusted origins', async () => {
    const headers = { 'sec-fetch-site': ['cross-site'], origin: ['https://portal.example'] }
    expect(await decide({ headers }, { crossSite: 'allow' })).toMatchObject({ kind: 'accepted' })
    expect(await decide({ headers }, { crossSite: ['https://portal.example:443/'] })).toMatchObject({
      kind: 'accepted',
    })
    for (const crossSite of [[], ['http://portal.example'], ['https://portal.example:8443']]) {
      expect(await decide({ headers }, { crossSite })).toMatchObject(CROSS_SITE)
    }
    const two = { origin: ['https://portal.example', 'https://evil.example'] }
    expect(await decide({ headers: two }, { crossSite: ['https://portal.example'] })).toMatchObject(CROSS_SITE)
  })

  test('the page is that of 403, and it is told', async () => {
    const reasons: string[] = []
    const decision = await decide(
      { headers: { origin: ['null'] } },
      { forbidden: 'CUSTOM', onFailure: ({ reason }) => void reasons.push(reason) },
    )
    expect(decision.kind === 'refused' && Buffer.from(decision.body).toString()).toBe('CUSTOM')
    expect(reasons).toEqual(['CROSS_SITE'])
  })
})

test('S84: a Request without Host is for the host of its URL', () => {
  const from = (origin: string) => {
    const { method, url, headers } = new Request('https://own.example/', { method: 'POST', headers: { origin } })
    return isCrossSite(inOriginForm({ method, url, headers }), [])
  }
  expect([from('https://own.example'), from('https://evil.example'), from('null')]).toEqual([false, true, true])
})
