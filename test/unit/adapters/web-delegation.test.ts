import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import { expect, test, vi } from 'vitest'
import * as hono from '../../../src/adapters/server/hono.ts'
import * as web from '../../../src/adapters/server/web.ts'
import type { Identity } from '../../../src/http/index.ts'
import { Scripted } from './wire.ts'

/** Where no response tells its end: how long a forwarded login lasts. */

function forwarding(): { released: () => number; server: Scripted } {
  let released = 0
  const delegated = { release: () => void released++ }
  const identity = { name: 'alice', delegated } as unknown as Identity
  return { released: () => released, server: new Scripted(() => ({ kind: 'accepted', identity, headers: [] })) }
}

test('S71 Hono: it ends also when a handler throws what is no Error', async () => {
  const { released, server } = forwarding()
  const app = new Hono()
  app.use(hono.negotiateWith(server))
  app.get('/', () => {
    throw 'text' as unknown as Error
  })
  await expect(app.request('/')).rejects.toBe('text')
  expect(released()).toBe(1)
})

test('S71 Request → Response: with two guards it ends with the outer one', async () => {
  const { released, server } = forwarding()
  const guard = web.negotiateWith(server)
  const inner = guard(() => new Response('in'))
  let afterInner = -1
  const outer = guard(async (request) => {
    const response = await inner(request)
    afterInner = released()
    return response
  })
  await outer(new Request('http://localhost/'))
  expect([afterInner, released()]).toEqual([0, 1])
})

test('S71 Hono: with two guards it ends with the outer one', async () => {
  const { released, server } = forwarding()
  let afterInner = -1
  const app = new Hono()
  app.use(hono.negotiateWith(server))
  app.use(async (_c, next) => {
    await next()
    afterInner = released()
  })
  app.use(hono.negotiateWith(server))
  app.get('/', (c) => c.text('in'))
  await app.request('/')
  expect([afterInner, released()]).toEqual([0, 1])
})

test('S71 Hono on Node: it lasts until the stream has ended', async () => {
  const { released, server } = forwarding()
  const app = new Hono()
  app.use(hono.negotiateWith(server))
  app.get('/', (c) =>
    stream(c, async (out) => {
      await out.sleep(10)
      await out.write(String(released()))
    }),
  )
  const listening = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 })
  await once(listening, 'listening')
  const { port } = listening.address() as AddressInfo
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('0')
  await vi.waitFor(() => expect(released()).toBe(1))
  listening.close()
})
