import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import type { HopLogin } from '../../../src/http/client.ts'
import { openTunnel } from '../../../src/system/index.ts'
import { errorOf, eventually } from '../http-client/site.ts'

afterEach(() => void vi.useRealTimers())

/** Asks for nothing. */
const NO_LOGIN = { first: async () => ({}), next: async () => ({ kind: 'deliver' }) } as unknown as HopLogin

test.each(['http', 'https'])('a proxy of %s that says nothing is given up, and its connection ends', async (scheme) => {
  const sockets = new Set<Socket>()
  const silent = createServer((socket) => void sockets.add(socket.resume().on('close', () => sockets.delete(socket))))
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  const proxy = new URL(`${scheme}://127.0.0.1:${(silent.address() as AddressInfo).port}`)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const opening = errorOf(openTunnel(proxy, new URL('http://localhost:1'), NO_LOGIN, false, () => new Error('never')))
  while (sockets.size === 0) await new Promise(setImmediate)
  for (let i = 0; i < 20; i++) await new Promise(setImmediate) // CONNECT is on its way
  vi.advanceTimersByTime(10_000)
  vi.useRealTimers()
  expect(await opening).toMatchObject({ code: 'PROXY_UNREACHABLE' })
  await eventually(() => sockets.size === 0)
  expect(sockets.size).toBe(0)
  silent.close()
})
