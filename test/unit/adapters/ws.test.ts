import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { guardSockets } from '../../../src/adapters/server/ws.ts'
import type { Authenticator, NegotiateRequest } from '../../../src/http/index.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { type Running, Scripted, serve } from './wire.ts'

let running: Running | undefined
afterEach(async () => {
  await running?.close()
  vi.restoreAllMocks()
})

/** The answer to a socket that is not opened. */
async function refused(
  server: Authenticator<NegotiateRequest>,
  own: object = {},
  token = 'alice',
): Promise<IncomingMessage> {
  running = await serve(undefined)
  guardSockets(new WebSocketServer({ server: running.server, ...own }), server)
  const headers = { authorization: negotiateField(token) }
  const socket = new WebSocket(`ws://127.0.0.1:${running.port}`, { headers })
  socket.on('error', () => {})
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  socket.terminate()
  return response
}

test('what the own verifyClient throws is a 500, and no end of the process', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const verifyClient = () => {
    throw new RangeError('theirs')
  }
  expect((await refused(fakeServer().core, { verifyClient })).statusCode).toBe(500)
  expect(warn).toHaveBeenCalledTimes(1)
})

describe('the page of a refusal', () => {
  test('A03: its fields stand beside the challenge', async () => {
    const page = { body: 'no', headers: { 'WWW-Authenticate': 'Basic realm="x"' } }
    const response = await refused(fakeServer({ unauthorized: () => page }).core, {}, 'replay')
    expect(response.statusCode).toBe(401)
    expect(response.headers['www-authenticate']).toBe('Negotiate, Basic realm="x"')
  })

  test('A03: what is no field is never written', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const headers: [string, string][] = [['X-Page', 'a\r\nSet-Cookie: b=c']]
    const refusal = { kind: 'refused', status: 403, reason: 'FORBIDDEN', headers, body: new Uint8Array(0) }
    const response = await refused(new Scripted(() => refusal))
    expect(response.headers['set-cookie']).toBe(undefined)
    expect(response.statusCode).toBe(500)
    expect(warn).toHaveBeenCalledTimes(1)
  })
})
