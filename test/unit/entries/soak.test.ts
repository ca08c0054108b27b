import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { Credentials, Krb5Config } from '../../../src/entries/index.ts'
import { createNegotiateServer } from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { eventually } from '../http-client/site.ts'

let realm: TestRealm
let server: Server
let url: string
let connections = 0
let open = 0

beforeAll(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret' } })
  const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
  server = createServer((req, res) => void guard.handle(req, res).then((who) => who && res.end(who.principal)))
  server.on('connection', (socket) => {
    connections++
    open++
    socket.once('close', () => open--)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://localhost:${(server.address() as AddressInfo).port}/`
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await realm.stop()
})

test('10 000 requests, 64 at once, tickets that expire in between: no failure, one exchange for each ticket, connections and memory back', async () => {
  const text = readFileSync(realm.environment.KRB5_CONFIG, 'utf8')
  const config = Krb5Config.parse(text.replace('[libdefaults]', '[libdefaults]\n ticket_lifetime = 4s'))
  const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', config)
  const fetch = negotiateFetch({ credentials, config, preemptive: true, mutualAuthentication: 'required' })
  let messages = 0
  const count = () => void messages++
  subscribe('spnego:kdc', count)
  const before = process.memoryUsage().heapUsed
  const tickets = new Set<string>()
  const answers = new Map<string, number>()
  let left = 10_000
  const worker = async () => {
    while (left-- > 0) {
      const response = await fetch(url)
      const { serverAuthenticated, context } = negotiated(response) ?? {}
      if (context !== undefined) tickets.add(context.expiresAt.toISOString())
      const key = `${response.status} ${await response.text()} ${serverAuthenticated}`
      answers.set(key, (answers.get(key) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: 64 }, worker))
  unsubscribe('spnego:kdc', count)
  expect([...answers]).toEqual([['200 alice@EXAMPLE.TEST true', 10_000]])
  expect(tickets.size).toBeGreaterThan(1)
  expect(messages).toBeLessThanOrEqual(3 * tickets.size + 3) // AS twice and TGS once for each
  expect(connections).toBeLessThanOrEqual(128)
  await eventually(() => open === 0, 15_000)
  expect(open).toBe(0)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 * 2 ** 20)
}, 120_000)
