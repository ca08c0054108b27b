import { Hono } from 'hono'
import { expect, test } from 'vitest'
import * as hono from '../../../src/adapters/server/hono.ts'
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
