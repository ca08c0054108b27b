import { describe, expect, test } from 'vitest'
import type { SecurityContext } from '../../../src/gss/context.ts'
import { type InitiatorContexts, RequestLogin } from '../../../src/http/client.ts'
import { clientSettings, type MutualAuthentication } from '../../../src/http/client-options.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'

const URL_ = new URL('https://web.example.test/')

/** A context that is complete after its second token, as when a server asks for SPNEGO's MIC. */
function withMic(): InitiatorContexts {
  let steps = 0
  const context = {
    step: async () => ({ token: Uint8Array.of(++steps), complete: steps > 1 }),
    get complete() {
      return steps > 1
    },
    peer: new Principal(['HTTP', 'web.example.test'], 'EXAMPLE.TEST'),
    flags: new Set(['mutual'] as const),
    dispose: () => {},
  } as unknown as SecurityContext
  return {
    open: async () => ({
      principal: 'alice@X',
      target: 'HTTP/web@X',
      mechanism: 'spnego',
      delegated: false,
      begin: () => context,
    }),
  }
}

function login(mutualAuthentication: MutualAuthentication): RequestLogin {
  const hop = { url: URL_, first: URL_, cameFromHttps: false, certified: false, signal: undefined }
  return new RequestLogin(hop, clientSettings('test', { mutualAuthentication }), withMic())
}

describe('a server that has proved itself in a 401 and then wants the MIC (RFC 4178 §5)', () => {
  for (const last of [[], ['Negotiate oQcwBaADCgEA']]) {
    test(`is verified, whatever follows: ${last.join() || 'no token'}`, async () => {
      const one = login('required')
      expect(await one.next(401, () => ['Negotiate'])).toMatchObject({ kind: 'resend' })
      expect(await one.next(401, () => ['Negotiate oQcwBaADCgEB'])).toMatchObject({ kind: 'resend' })
      expect(await one.next(200, () => last)).toEqual({ kind: 'deliver' })
      expect(one.report()).toMatchObject({ attempted: true, serverAuthenticated: true, error: undefined })
    })
  }
})

test('a 401 after a token, without a Negotiate challenge, has a reason too', async () => {
  const one = login('auto')
  await one.next(401, () => ['Negotiate'])
  expect(await one.next(401, () => ['Basic realm="x"'])).toEqual({ kind: 'deliver' })
  expect(one.report()).toMatchObject({ attempted: true, error: { code: 'REJECTED' } })
})

test('who can send only once is told that the server wants another token', async () => {
  const hop = { url: URL_, first: URL_, cameFromHttps: false, certified: false, canResend: false, signal: undefined }
  const one = new RequestLogin(hop, clientSettings('test', {}), withMic())
  await one.first(true)
  expect(await one.next(401, () => ['Negotiate oQcwBaADCgEB'])).toEqual({ kind: 'deliver' })
  expect(one.report()).toMatchObject({ attempted: true, error: { code: 'CONTINUE_NEEDED' } })
})
