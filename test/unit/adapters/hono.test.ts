import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { afterEach, expect, test } from 'vitest'
import * as hono from '../../../src/adapters/server/hono.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { type Running, serve } from './wire.ts'

let running: Running | undefined
afterEach(() => running?.close())

test.each([
  ['on Node', (app: Hono) => getRequestListener(app.fetch)],
  ['elsewhere', (app: Hono) => getRequestListener((request) => app.fetch(request))],
])('A06: the identity stays when middleware exchanges the request, %s', async (_, listener) => {
  const { core, contexts } = fakeServer()
  const app = new Hono()
  app.use(hono.negotiateWith(core))
  app.use(bodyLimit({ maxSize: 100 }))
  app.use('/sub', hono.negotiateWith(core))
  app.post('*', (c) => c.text(hono.identityOf(c).name))
  app.onError((error, c) => c.text((error as { code?: string }).code ?? error.message, 500))
  running = await serve(listener(app))
  const body = () => new Blob(['abc']).stream() // of no known length
  for (const path of ['/', '/sub']) {
    const headers = { authorization: negotiateField('alice') }
    const init = { method: 'POST', headers, body: body(), duplex: 'half' }
    const response = await fetch(`http://127.0.0.1:${running.port}${path}`, init as RequestInit)
    expect(await response.text()).toBe('alice')
  }
  expect(contexts.made.length).toBe(2)
})

test.each([
  ['an error of the network', () => Response.error()],
  ['an upgrade', () => Object.defineProperty(new Response(null), 'status', { value: 101 })],
])('a response that cannot be changed is handed on as it is: %s', async (_what, answer) => {
  const app = new Hono()
  const made = answer()
  app.use(hono.negotiateWith(fakeServer().core))
  app.get('/', () => made)
  const response = await app.fetch(new Request('http://x/', { headers: { authorization: negotiateField('alice') } }))
  expect([response.status, response.headers.get('cache-control')]).toEqual([made.status, null])
})
