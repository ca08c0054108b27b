import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { type ClientHttp2Session, connect, createServer, type Http2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { NodeAdapter } from '../../../src/adapters/server/node.ts'
import type { NegotiateServerOptions } from '../../../src/http/index.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'

/** node:http2, whose compatible API differs from node:http in tunnels and in heads. */

let server: Http2Server
let client: ClientHttp2Session
afterEach(async () => {
  client.destroy()
  server.close()
  await once(server, 'close')
  vi.restoreAllMocks()
})

type Listener = (req: IncomingMessage, res: ServerResponse) => void

async function start(
  options: NegotiateServerOptions,
  listen: (adapter: NodeAdapter) => Listener,
): Promise<NodeAdapter> {
  const adapter = new NodeAdapter(fakeServer(options).core)
  server = createServer()
  server.on('request', listen(adapter) as never)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return adapter
}

function writeInPieces(res: ServerResponse): void {
  res.setHeader('cache-control', 'public')
  res.write('x')
  res.end()
}

async function ask(fields: Record<string, string>): Promise<Record<string, unknown>> {
  const stream = client.request(fields, { endStream: true })
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  let body = ''
  for await (const chunk of stream.setEncoding('utf8')) body += chunk
  return { ...headers, body }
}

const tunnel = (fields: object = {}) => ask({ ':method': 'CONNECT', ':authority': 'inside.example:443', ...fields })

describe('a tunnel (RFC 9113 §8.5) at a server given to attach', () => {
  test('A03: without a login it is refused, with the challenge, and no tunnel opens', async () => {
    const adapter = await start({}, () => () => expect.unreachable())
    adapter.attach(server as unknown as Server)
    server.on('connect', () => expect.unreachable())
    expect(await tunnel()).toMatchObject({ ':status': 401, 'www-authenticate': 'Negotiate', body: 'Unauthorized' })
  })

  test('with a login the application answers it, and the server proves itself', async () => {
    const adapter = await start({}, () => () => {})
    adapter.attach(server as unknown as Server)
    server.on('connect', (_req: unknown, res: ServerResponse) => res.end('opened'))
    const answer = await tunnel({ authorization: negotiateField('alice') })
    expect(answer).toMatchObject({ ':status': 200, 'www-authenticate': 'Negotiate U1RPS0VO', body: 'opened' })
  })

  test('where the application listens to none, it is 405, as Node answers alone', async () => {
    const adapter = await start({ required: false }, () => () => {})
    adapter.attach(server as unknown as Server)
    expect(await tunnel()).toMatchObject({ ':status': 405 })
    expect(await tunnel({ authorization: negotiateField('alice') })).toMatchObject({ ':status': 405 })
  })

  test('A04: what a function of the program throws is a 500', async () => {
    const adapter = await start({ authorize: () => Promise.reject(new RangeError('theirs')) }, () => () => {})
    adapter.attach(server as unknown as Server)
    expect(await tunnel({ authorization: negotiateField('alice') })).toMatchObject({ ':status': 500 })
  })
})

describe('heads', () => {
  test.each<[string, (res: ServerResponse) => void, string]>([
    ['end() without a body', (res) => res.end(), 'private'],
    ['end() with one', (res) => res.end('x'), 'private'],
    ['writeHead()', (res) => res.writeHead(200, { 'cache-control': 'max-age=5' }).end(), 'max-age=5, private'],
    ['write()', writeInPieces, 'public'],
  ])('S108: %s carries what keeps caches off', async (_what, answer, expected) => {
    await start({}, (adapter) => async (req, res) => {
      if ((await adapter.handle(req, res)) !== undefined) answer(res)
    })
    const headers = await ask({ ':path': '/', authorization: negotiateField('alice') })
    expect([headers['cache-control'], headers['vary']]).toEqual([expected, 'Authorization'])
  })

  test('no warning about a limit that HTTP/2 has not', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const adapter = await start({}, () => () => {})
    adapter.attach(server as unknown as Server)
    expect(warn).not.toHaveBeenCalled()
  })
})
