import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromBase64 } from '../../../src/bytes/base64.ts'
import { negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { type Acceptor, createAcceptor } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { MECHANISM } from '../../../src/gss/context.ts'
import { decodeNegTokenInit, encodeNegTokenResp, NEG_STATE } from '../../../src/gss/spnego/tokens.ts'
import { answer, wantsMic } from './mic-site.ts'
import { CHALLENGE, Site } from './site.ts'

/** Negotiations of several tokens (RFC 4559 §6): the server keeps its half on the connection, so the client stays on it. */

let realm: TestRealm
let acceptor: Acceptor
beforeAll(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret' } })
  acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost') })
})
afterAll(() => realm.stop())

const client = async (options = {}) =>
  negotiateFetch({ credentials: await realm.login('alice'), config: realm.config, ...options })

describe('a negotiation of two legs', () => {
  test('starts again on a connection of its own, and ends there: three tokens, one connection for the last two', async () => {
    await using site = await Site.start(wantsMic(acceptor))
    const response = await (await client())(site.url)
    expect([response.status, await response.text()]).toEqual([200, 'alice@EXAMPLE.TEST'])
    expect(negotiated(response)).toMatchObject({ serverAuthenticated: true, error: undefined })
    const withTokens = site.seen.filter(({ token }) => token !== undefined)
    expect(withTokens).toHaveLength(3)
    const [first, second, third] = withTokens.map(({ connection }) => connection)
    expect(second).toBe(third)
    expect(first).not.toBe(second)
    expect(new Set(site.tokens).size).toBe(3)
  })

  test('twenty at once: none is mixed up with another', async () => {
    await using site = await Site.start(wantsMic(acceptor))
    const fetch = await client()
    for (let round = 0; round < 3; round++) {
      const responses = await Promise.all(Array.from({ length: 20 }, () => fetch(site.url)))
      for (const response of responses)
        expect([response.status, await response.text()]).toEqual([200, 'alice@EXAMPLE.TEST'])
    }
  })

  test('a POST is sent whole on each leg; preemptively there are no more tokens either', async () => {
    await using site = await Site.start(wantsMic(acceptor))
    const fetch = await client({ preemptive: true })
    const response = await fetch(site.url, { method: 'POST', body: 'whole' })
    expect(response.status).toBe(200)
    expect(site.seen.map(({ body }) => body)).toEqual(['whole', 'whole', 'whole'])
  })

  test('a one-shot body cannot start again: BODY_NOT_REPLAYABLE, as where no token was to be had', async () => {
    await using site = await Site.start(wantsMic(acceptor))
    const body = new Blob(['once']).stream()
    const fetch = await client({ maxReplayBodyBytes: 0 })
    const sent = fetch(site.url, { method: 'POST', body, duplex: 'half' } as RequestInit)
    await expect(sent).rejects.toMatchObject({ code: 'BODY_NOT_REPLAYABLE' })
  })

  test('C12 a server that never has enough gets three tokens', async () => {
    await using site = await Site.start(async (seen) => {
      if (seen.token === undefined) return CHALLENGE
      const negState = NEG_STATE.REQUEST_MIC
      if (fromBase64(seen.token, 'token')[0] === 0xa1) return answer(401, encodeNegTokenResp({ negState }), 'more')
      const context = acceptor.createContext()
      const { token: proof } = await context.step(decodeNegTokenInit(fromBase64(seen.token, 'token')).mechToken)
      return answer(401, encodeNegTokenResp({ negState, supportedMech: MECHANISM.KRB5, responseToken: proof }), 'more')
    })
    const response = await (await client())(site.url)
    expect(response.status).toBe(401)
    expect(site.tokens).toHaveLength(3)
  })
})
