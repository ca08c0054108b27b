import type { Server } from 'node:https'
import { type AddressInfo, createServer as createStream } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Acceptor, Credentials, createAcceptor } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { errorOf } from '../http-client/site.ts'
import { type TlsSite, tlsSite } from '../http-client/tls-site.ts'
import { type Answer, type Caller, CLIENTS, causes } from './clients.ts'

/** `tls-server-end-point` (RFC 5929 §4) of the very connection that carries the token, through every client. */

let realm: TestRealm
let acceptor: Acceptor
const servers: Server[] = []

beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed; Apache's tests have a certificate that is verified
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  realm = await TestRealm.start({ users: { alice: 'secret', bob: 'other' } })
  acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost') })
})
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  await acceptor.close()
  await realm.stop()
})

async function site(id: string, port = 0): Promise<TlsSite> {
  const made = await tlsSite(acceptor, id, port)
  servers.push(made.server)
  return made
}

function options(more: NegotiateClientOptions = {}, user = 'alice', password = 'secret'): NegotiateClientOptions {
  const credentials = Credentials.forRealm(`${user}@EXAMPLE.TEST`, password, realm.config)
  return { credentials, config: realm.config, ...more }
}

const BOUND = { status: 200, text: 'alice@EXAMPLE.TEST' }

function isBound({ report }: Answer, reports: boolean): void {
  if (reports) expect(report).toMatchObject({ channelBound: true, serverAuthenticated: true, error: undefined })
}

/** As a server that is started anew, with another certificate. */
async function restarted(old: TlsSite, id: string): Promise<TlsSite> {
  old.server.closeAllConnections()
  await new Promise((resolve) => old.server.close(resolve))
  await new Promise((resolve) => setTimeout(resolve, 30)) // until the client has seen it
  return site(id, Number(new URL(old.url).port))
}

describe.each(CLIENTS.filter(({ owns }) => owns))('$name', ({ open, reports }) => {
  test.each(['rsa-sha256', 'ecdsa-sha384'])('%s: bound by default, and when it is required', async (id) => {
    const at = await site(id)
    for (const channelBindings of ['auto', 'required'] as const) {
      const answer = await open(options({ channelBindings }))(at.url)
      expect(answer).toMatchObject(BOUND)
      isBound(answer, reports)
    }
    expect(at.served.map(({ bound }) => bound)).toEqual([true, true])
    expect(at.refused).toEqual([])
  })

  // Node 20 shows a connection's certificate once: `getPeerX509Certificate()` is undefined from the second call on.
  test('bound each time, on a connection that serves again', async () => {
    const at = await site('rsa-sha256')
    const call = open(options({ channelBindings: 'required' }))
    for (let i = 0; i < 3; i++) isBound(await call(at.url), reports)
    expect(at.served.map(({ bound }) => bound)).toEqual([true, true, true])
  })

  test('C31: another certificate after a reconnect', async () => {
    const first = await site('rsa-sha256')
    const call = open(options({ preemptive: true }))
    expect(await call(first.url)).toMatchObject(BOUND)
    const second = await restarted(first, 'ecdsa-sha384')
    const answer = await call(second.url)
    expect(answer).toMatchObject(BOUND)
    isBound(answer, reports)
    expect([second.served.map(({ bound }) => bound), second.refused]).toEqual([[true], []])
  })

  test('C32: no connection under a token resumes a TLS session', async () => {
    const at = await site('rsa-sha256')
    const call = open(options())
    for (let i = 0; i < 3; i++) {
      const answer = await call(at.url, { headers: { connection: 'close' } })
      expect(answer).toMatchObject(BOUND)
      isBound(answer, reports)
    }
    expect(at.served.map(({ bound, resumed }) => ({ bound, resumed }))).toEqual(
      Array(3).fill({ bound: true, resumed: false }),
    )
  })

  test('C33: Ed25519 has none: required is an error before a token is sent, auto goes without', async () => {
    const at = await site('ed25519')
    const error = await errorOf(open(options({ channelBindings: 'required' }))(at.url))
    expect(causes(error)).toContain('BINDINGS_UNAVAILABLE')
    expect([at.served, at.refused]).toEqual([[], []])
    expect(await open(options())(at.url)).toMatchObject(BOUND)
    expect(at.served.map(({ bound }) => bound)).toEqual([false])
  })

  test('C50: two users and forty requests at once: each connection is one user’s', async () => {
    const at = await site('rsa-sha256')
    const [alice, bob] = [open(options()), open(options({}, 'bob', 'other'))]
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? alice : bob)(at.url)))
    expect(answers.map(({ text }) => text)).toEqual(
      answers.map((_, i) => (i % 2 === 0 ? 'alice@EXAMPLE.TEST' : 'bob@EXAMPLE.TEST')),
    )
    expect(at.served.every(({ bound }) => bound)).toBe(true)
  })

  test('gives up at once when the caller does, also while it waits for the certificate', async () => {
    const deaf = createStream(() => {}) // takes connections and says nothing
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve))
    const url = `https://localhost:${(deaf.address() as AddressInfo).port}/`
    const call: Caller = open(options({ preemptive: true }))
    const started = performance.now()
    const aborted = await errorOf(call(url, { signal: AbortSignal.timeout(150) }))
    expect(aborted).toBeInstanceOf(Error)
    expect(performance.now() - started).toBeLessThan(3000)
    deaf.close()
  })

  test('a server that cannot be reached fails as the client itself fails', async () => {
    const gone = createStream(() => {})
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
    const { port } = gone.address() as AddressInfo
    await new Promise((resolve) => gone.close(resolve))
    const error = await errorOf(open(options({ preemptive: true }))(`https://localhost:${port}/`))
    expect(String(causes(error))).toMatch(/ECONNREFUSED/)
  })
})

const others = CLIENTS.filter(({ owns }) => !owns)
if (others.length > 0) {
  describe.each(others)('$name', ({ open }) => {
    test('C33: sees no certificate: required is an error, and no token is sent', async () => {
      const at = await site('rsa-sha256')
      const error = await errorOf(
        (async () => open(options({ channelBindings: 'required', preemptive: true }))(at.url))(),
      )
      expect(['BINDINGS_UNAVAILABLE', 'OPTION_UNSUPPORTED']).toContain(causes(error)[0])
      expect([at.served, at.refused]).toEqual([[], []])
    })
  })
}
