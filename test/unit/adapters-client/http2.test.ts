import { constants, createSecureServer, type Http2SecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Agent as Agent7, request as request7 } from 'undici7'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { errorOf, World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'
import { CLIENTS } from './clients.ts'

/** A server that speaks HTTP/2, and has logins over HTTP/1.1 only, as IIS. */

let world: World
let server: Http2SecureServer
let versions: string[]
let resets: number

beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
  server = createSecureServer({ ...certificate('rsa-sha256'), allowHTTP1: true })
  server.on('request', (request, response) => {
    versions.push(request.httpVersion)
    if (request.httpVersionMajor === 2) {
      resets++
      return void request.stream.close(constants.NGHTTP2_HTTP_1_1_REQUIRED)
    }
    const token = /^Negotiate (\S+)$/.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) return void response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
    world.accept(token).then(
      ({ answer, user }) => response.writeHead(200, { 'www-authenticate': `Negotiate ${answer}` }).end(user),
      () => response.writeHead(401).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  vi.restoreAllMocks()
  server.close()
  await world[Symbol.asyncDispose]()
})

const alice = (): NegotiateClientOptions => ({ credentials: world.alice, config: world.realm.config })
const url = () => `https://localhost:${(server.address() as AddressInfo).port}/`

describe('A21 HTTP_1_1_REQUIRED', () => {
  test.each(CLIENTS.filter(({ owns }) => owns))('$name speaks HTTP/1.1 from the first request on', async ({ open }) => {
    versions = []
    const call = open(alice())
    for (let i = 0; i < 2; i++) expect(await call(url())).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(new Set(versions)).toEqual(new Set(['1.1']))
  })

  test('over a dispatcher of the caller’s with HTTP/2 it is his error, and the token was sent once', async () => {
    versions = []
    resets = 0
    const login = negotiateInterceptor({ ...alice(), preemptive: true })
    const dispatcher = new Agent7({ allowH2: true, connect: { rejectUnauthorized: false } }).compose(login as never)
    expect(await errorOf(request7(url(), { dispatcher }))).toBeInstanceOf(Error)
    expect(resets).toBe(1)
    expect(versions).toEqual(['2.0'])
    await dispatcher.close().catch(() => {})
  })
})
