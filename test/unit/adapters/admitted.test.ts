/** What a request carries of its login, when several guards look at it. */
import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { decide, endSession, forget, headersAfter, identityOf } from '../../../src/adapters/server/admitted.ts'
import { requestOf, upgradeOf } from '../../../src/adapters/server/request-of.ts'
import type { Authenticator, Decision, HeaderList, Identity, NegotiateRequest } from '../../../src/http/index.ts'

const request: NegotiateRequest = { method: 'GET', url: '/', headers: {} }
const alice = { principal: 'alice@EXAMPLE.TEST' } as Identity
const ACCEPTED: Decision = { kind: 'accepted', identity: alice, headers: [] }
const ANONYMOUS: Decision = { kind: 'anonymous', reason: undefined, headers: [] }
const OVER: HeaderList = [['Set-Cookie', 'over']]

/** A guard that decides so, after so many turns of the event loop. */
function guard(decision: Decision, turns = 0): Authenticator<NegotiateRequest> & { readonly ended: unknown[] } {
  const ended: unknown[] = []
  const answer = async () => {
    for (let i = 0; i < turns; i++) await new Promise(setImmediate)
    return decision
  }
  return {
    ended,
    authenticate: answer,
    authorize: answer,
    async endSession(identity) {
      ended.push(identity)
      return OVER
    },
  }
}

test('A06 two guards at once: who was admitted stays so, whoever comes last', async () => {
  const raw = {}
  const [first, last] = [guard(ACCEPTED), guard(ANONYMOUS, 3)]
  await Promise.all([decide(first, raw, request), decide(last, raw, request)])
  expect(identityOf(raw)).toBe(alice)
  expect(await endSession(raw)).toBe(OVER)
  expect([first.ended, last.ended]).toEqual([[alice], []])
})

test('a session that ended while another guard was still thinking is over', async () => {
  const raw = {}
  await decide(guard(ACCEPTED), raw, request)
  const later = decide(guard(ACCEPTED, 3), raw, request)
  await endSession(raw)
  await later
  expect(headersAfter(raw, OVER)).toEqual([])
})

test('whom the program forgot is nobody, and his session can still be ended', async () => {
  const raw = {}
  const server = guard(ACCEPTED)
  await decide(server, raw, request)
  forget(raw)
  expect(() => identityOf(raw)).toThrow(expect.objectContaining({ code: 'NOT_AUTHENTICATED' }))
  await endSession(raw)
  expect(server.ended).toEqual([alice])
})

test('a request over TLS is plain fields, with this server’s certificate, which is asked for once a connection', () => {
  const der = Uint8Array.of(1, 2, 3)
  let asked = 0
  const socket = {
    encrypted: true,
    remoteAddress: '192.0.2.1',
    getX509Certificate() {
      asked++
      return { raw: der }
    },
  }
  const req = {
    method: 'GET',
    url: '/a',
    httpVersion: '1.1',
    headersDistinct: {},
    socket,
  } as unknown as IncomingMessage
  const fields = {
    method: 'GET',
    url: '/a',
    headers: {},
    httpVersion: '1.1',
    secure: true,
    address: '192.0.2.1',
    certificate: der,
  }
  for (let i = 0; i < 3; i++) expect({ ...requestOf(req) }).toEqual({ ...fields, connection: socket })
  expect({ ...upgradeOf(req) }).toEqual({ ...fields, connection: undefined })
  expect(asked).toBe(1)
})
