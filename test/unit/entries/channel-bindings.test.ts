import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from 'node:https'
import { type AddressInfo, createServer as createStream } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { type Acceptor, Credentials, createAcceptor } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { tlsServerEndPoint } from '../../../src/gss/bindings.ts'
import { base64, vectors } from '../../vectors.ts'
import { type Certified, type TlsSite, tlsSite } from '../http-client/tls-site.ts'

/** `tls-server-end-point` (RFC 5929 §4) of the very connection that carries the token, at a real TLS server that demands it. */

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
  await realm.stop()
})

async function site(id: string, port = 0): Promise<TlsSite> {
  const made = await tlsSite(acceptor, id, port)
  servers.push(made.server)
  return made
}

const client = (options: NegotiateFetchOptions = {}, user = 'alice', password = 'secret') =>
  negotiateFetch({
    credentials: Credentials.forRealm(`${user}@EXAMPLE.TEST`, password, realm.config),
    config: realm.config,
    ...options,
  })

async function get(fetch: typeof globalThis.fetch, url: string) {
  const response = await fetch(url)
  const text = await response.text()
  const { channelBound, serverAuthenticated, error } = negotiated(response) ?? {}
  return { status: response.status, text, channelBound, serverAuthenticated, error: error?.code }
}

const bound = {
  status: 200,
  text: 'alice@EXAMPLE.TEST',
  channelBound: true,
  serverAuthenticated: true,
  error: undefined,
}

describe('channelBindings', () => {
  for (const id of ['rsa-sha256', 'ecdsa-sha384']) {
    test(`${id}: bound by default, after a challenge and preemptively`, async () => {
      const at = await site(id)
      expect(await get(client(), at.url)).toEqual(bound)
      expect(await get(client({ preemptive: true }), at.url)).toEqual(bound)
      expect(await get(client({ channelBindings: 'required' }), at.url)).toEqual(bound)
      expect(at.served.map((one) => one.bound)).toEqual([true, true, true])
      expect(at.refused).toEqual([])
    })
  }

  test('off: none are sent', async () => {
    const at = await site('rsa-sha256')
    expect(await get(client({ channelBindings: 'off' }), at.url)).toEqual({ ...bound, channelBound: false })
    expect(at.served).toMatchObject([{ bound: false }])
  })

  test('S39 bindings of the caller’s own that are not this connection’s are refused there', async () => {
    const at = await site('rsa-sha256')
    const wrong = tlsServerEndPoint(base64(vectors<Certified>('certificates')[3]?.certificate_b64 ?? ''))
    expect(await get(client({ channelBindings: wrong }), at.url)).toMatchObject({ status: 401 })
    expect(at.refused).toEqual(['BINDINGS_MISMATCH'])
    const right = tlsServerEndPoint(base64(vectors<Certified>('certificates')[2]?.certificate_b64 ?? ''))
    expect(await get(client({ channelBindings: right }), at.url)).toEqual(bound)
  })

  test('RK-37 Ed25519: none, and a warning once; required: an error before a token is sent', async () => {
    const at = await site('ed25519')
    const fetch = client()
    vi.mocked(process.emitWarning).mockClear()
    for (let i = 0; i < 2; i++) expect(await get(fetch, at.url)).toEqual({ ...bound, channelBound: false })
    expect(vi.mocked(process.emitWarning).mock.calls.map(([, options]) => (options as { code: string }).code)).toEqual([
      'BINDINGS_UNAVAILABLE',
    ])
    for (const preemptive of [true, false]) {
      const strict = client({ channelBindings: 'required', preemptive })
      await expect(strict(at.url)).rejects.toMatchObject({ code: 'BINDINGS_UNAVAILABLE' })
    }
    expect(at.served).toHaveLength(2)
  })

  test('C33 required over plain http, or with a dispatcher of the program: an error, no token', async () => {
    const strict = client({ channelBindings: 'required', preemptive: true })
    await expect(strict('http://localhost:1/')).rejects.toMatchObject({ code: 'BINDINGS_UNAVAILABLE' })
    const at = await site('rsa-sha256')
    const dispatcher = { dispatch: () => true }
    await expect(strict(at.url, { dispatcher } as RequestInit)).rejects.toMatchObject({ code: 'BINDINGS_UNAVAILABLE' })
    expect([at.served, at.refused]).toEqual([[], []])
  })

  test('C31 another certificate after a reconnect: the token is made anew for what the connection shows', async () => {
    const first = await site('rsa-sha256')
    const fetch = client({ preemptive: true })
    expect(await get(fetch, first.url)).toEqual(bound)
    first.server.closeAllConnections()
    await new Promise((resolve) => first.server.close(resolve))
    const second = await site('ecdsa-sha384', Number(new URL(first.url).port))
    expect(await get(fetch, second.url)).toEqual(bound)
    expect([second.served, second.refused]).toEqual([[expect.objectContaining({ bound: true })], []])
  })

  test('C31 between the challenge and the answer too', async () => {
    const first = await site('rsa-sha256')
    const port = Number(new URL(first.url).port)
    let second: TlsSite | undefined
    first.server.prependListener('request', (req: IncomingMessage, res: ServerResponse) => {
      if (req.headers.authorization !== undefined || second !== undefined) return
      res.setHeader('connection', 'close')
      res.once('finish', () => {
        first.server.close()
        first.server.closeAllConnections()
      })
    })
    const swap = new Promise<void>((resolve) =>
      first.server.once(
        'close',
        () =>
          void site('ecdsa-sha384', port).then((made) => {
            second = made
            resolve()
          }),
      ),
    )
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
    const slow = negotiateFetch({ credentials, config: realm.config, targetName: () => 'HTTP@localhost' })
    // The ticket is fetched between the two: time enough for another server to take the port.
    const answer = await get(slow, first.url).catch((error: unknown) => error)
    await swap
    if (answer instanceof TypeError)
      expect(await get(slow, first.url)).toEqual(bound) // nobody listened for a moment
    else expect(answer).toEqual(bound)
    expect(second?.refused).toEqual([])
  })

  test('two users and fifty requests at once: each connection carries one user, all are bound', async () => {
    const at = await site('rsa-sha256')
    const [alice, bob] = [client(), client({}, 'bob', 'other')]
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => get(i % 2 === 0 ? alice : bob, at.url)))
    expect(answers.filter(({ text }) => text === 'alice@EXAMPLE.TEST')).toHaveLength(25)
    expect(answers.every(({ status, channelBound }) => status === 200 && channelBound === true)).toBe(true)
    expect(at.served.every((one) => one.bound)).toBe(true)
    const again = await get(alice, at.url)
    expect(again).toEqual(bound)
    expect(at.served.slice(0, -1).map(({ port }) => port)).toContain(at.served.at(-1)?.port) // connections are kept
  })

  test('who gives up while the certificate is looked at does not wait for it', async () => {
    const deaf = createStream(() => {}) // takes connections and says nothing
    await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve))
    const url = `https://localhost:${(deaf.address() as AddressInfo).port}/`
    const started = performance.now()
    const given = client({ preemptive: true })(url, { signal: AbortSignal.timeout(100) })
    await expect(given).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(performance.now() - started).toBeLessThan(4000)
    deaf.close()
  })

  test('a server that cannot be reached fails as fetch does', async () => {
    for (const preemptive of [true, false]) {
      await expect(client({ preemptive })('https://localhost:1/')).rejects.toThrow(/fetch failed/)
    }
  })
})
