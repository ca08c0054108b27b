import { X509Certificate } from 'node:crypto'
import { createServer as createPlain } from 'node:http'
import { connect as connectHttp2, createSecureServer } from 'node:http2'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { toBase64 } from '../../../src/bytes/base64.ts'
import { createInitiator } from '../../../src/entries/index.ts'
import {
  createNegotiateServer,
  type NegotiateServer,
  type NegotiateServerOptions,
} from '../../../src/entries/server.ts'
import { tlsServerEndPoint } from '../../../src/gss/bindings.ts'
import { World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'

/** `channelBindings` and `certificate` of a server, on real TLS connections (RFC 5929 §4.1). */

let world: World
beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const OWN = certificate('rsa-sha256')
const OTHER = certificate('ecdsa-sha384')
const endPoint = ({ cert }: { cert: string }) => tlsServerEndPoint(new X509Certificate(cert).raw) as Uint8Array

async function token(channelBindings: Uint8Array | undefined): Promise<string> {
  const { alice, realm } = world
  const context = await createInitiator({
    target: 'HTTP@localhost',
    credentials: alice,
    config: realm.config,
    channelBindings,
  })
  const { token: first } = await context.step()
  return `Negotiate ${toBase64(first as Uint8Array)}`
}

interface Answer {
  readonly status: number | undefined
  readonly bound?: boolean
  readonly reason?: string | undefined
}

type Ask = (authorization: string) => Promise<Answer>
interface Serving extends AsyncDisposable {
  readonly ask: Ask
}

function handler(server: NegotiateServer) {
  return async (req: never, res: never) => {
    const identity = await server.handle(req, res)
    if (identity !== undefined) (res as { end(text: string): void }).end(String(identity.channelBound))
  }
}

/** A server with these options, over https, plain http, or HTTP/2. */
async function serving(kind: 'https' | 'http' | 'http2', options: NegotiateServerOptions): Promise<Serving> {
  const reasons: string[] = []
  const negotiate = createNegotiateServer({
    keytab: world.realm.keytab('HTTP/localhost'),
    onFailure: ({ reason }) => void reasons.push(reason),
    ...options,
  })
  const handle = handler(negotiate)
  const server =
    kind === 'https'
      ? createServer(OWN, handle as never)
      : kind === 'http'
        ? createPlain(handle as never)
        : createSecureServer(OWN, handle as never)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const url = `${kind === 'http' ? 'http' : 'https'}://localhost:${port}`
  const one = async (authorization: string) =>
    kind === 'http2' ? overHttp2(url, authorization) : overHttp1(url, authorization)
  return {
    async ask(authorization) {
      const { status, text } = await one(authorization)
      return status === 200 ? { status, bound: text === 'true' } : { status, reason: reasons.at(-1) }
    },
    async [Symbol.asyncDispose]() {
      if ('closeAllConnections' in server) server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await negotiate.close()
    },
  }
}

async function overHttp1(url: string, authorization: string): Promise<{ status: number | undefined; text: string }> {
  const send = url.startsWith('https:') ? request : (await import('node:http')).request
  return new Promise((resolve, reject) => {
    const outgoing = send(url, { headers: { authorization }, rejectUnauthorized: false, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += String(chunk)
      })
      response.on('end', () => resolve({ status: response.statusCode, text }))
    })
    outgoing.on('error', reject).end()
  })
}

async function overHttp2(url: string, authorization: string): Promise<{ status: number | undefined; text: string }> {
  const session = connectHttp2(url, { rejectUnauthorized: false })
  try {
    return await new Promise((resolve, reject) => {
      const stream = session.request({ authorization })
      let status: number | undefined
      let text = ''
      stream.on('response', (headers) => {
        status = headers[':status']
      })
      stream.on('data', (chunk) => {
        text += String(chunk)
      })
      stream.on('end', () => resolve({ status, text })).on('error', reject)
    })
  } finally {
    session.close()
  }
}

const accepted = (bound: boolean): Answer => ({ status: 200, bound })
const refused = (reason: string): Answer => ({ status: 401, reason })
const MISMATCH = refused('BINDINGS_MISMATCH')

describe.each(['https', 'http2'] as const)('over %s', (kind) => {
  test.each([
    ['off', accepted(false), accepted(false), accepted(false)],
    ['accept', accepted(true), MISMATCH, accepted(false)],
    [undefined, accepted(true), MISMATCH, accepted(false)],
    ['required', accepted(true), MISMATCH, MISMATCH],
  ] as const)('S35 S37 S39 %s: match, mismatch, none', async (channelBindings, match, mismatch, none) => {
    await using server = await serving(kind, channelBindings === undefined ? {} : { channelBindings })
    for (let i = 0; i < 2; i++) {
      expect(await server.ask(await token(endPoint(OWN)))).toEqual(match)
      expect(await server.ask(await token(endPoint(OTHER)))).toEqual(mismatch)
      expect(await server.ask(await token(undefined))).toEqual(none)
    }
  })
})

describe('a certificate of another place, where TLS ends', () => {
  const given = [
    ['PEM', OTHER.cert],
    ['DER', new Uint8Array(new X509Certificate(OTHER.cert).raw)],
    ['a list, during a change', [OWN.cert, OTHER.cert]],
  ] as const
  test.each(given)('%s: it counts, over plain http too', async (_, its) => {
    await using server = await serving('http', { channelBindings: 'required', certificate: its })
    expect(await server.ask(await token(endPoint(OTHER)))).toEqual(accepted(true))
    expect(await server.ask(await token(endPoint(OWN)))).toEqual(Array.isArray(its) ? accepted(true) : MISMATCH)
    expect(await server.ask(await token(undefined))).toEqual(MISMATCH)
  })

  test('beside TLS of its own, it alone counts', async () => {
    await using server = await serving('https', { certificate: OTHER.cert })
    expect(await server.ask(await token(endPoint(OTHER)))).toEqual(accepted(true))
    expect(await server.ask(await token(endPoint(OWN)))).toEqual(MISMATCH)
  })
})

describe('over plain http', () => {
  test('there is nothing to compare with', async () => {
    await using server = await serving('http', {})
    expect(await server.ask(await token(endPoint(OWN)))).toEqual(accepted(false))
  })

  test('S37 whoever requires bindings lets nobody in', async () => {
    await using server = await serving('http', { channelBindings: 'required' })
    expect(await server.ask(await token(endPoint(OWN)))).toEqual(refused('BINDINGS_UNAVAILABLE'))
    expect(await server.ask(await token(undefined))).toEqual(refused('BINDINGS_UNAVAILABLE'))
  })
})

test('what is wrong is said at once', () => {
  const codeOf = (options: object) => {
    try {
      createNegotiateServer({ keytab: world.realm.keytab('HTTP/localhost'), ...options })
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  }
  expect(codeOf({ channelBindings: 'auto' })).toBe('OPTION_INVALID')
  expect(codeOf({ channelBindings: true })).toBe('OPTION_INVALID')
  expect(codeOf({ certificate: 'no certificate' })).toBe('OPTION_INVALID')
  expect(codeOf({ certificate: [] })).toBe('OPTION_INVALID')
  expect(codeOf({ certificate: [7] })).toBe('OPTION_INVALID')
  expect(codeOf({ certificate: certificate('ed25519').cert })).toBe('BINDINGS_UNAVAILABLE')
  expect(codeOf({ certificate: Uint8Array.of(1, 2, 3) })).toBe('BINDINGS_UNAVAILABLE')
})
