// The server of stall.mjs: what it is asked at each path is slow in another way. `/delay` tells how late its event loop was since it was asked last.
import { createServer } from 'node:http'
import { createServer as createSilentKdc } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Krb5Config, MemoryReplayStore } from '../dist/entries/index.js'
import { createNegotiateServer } from '../dist/entries/server.js'

const silent = createSilentKdc(() => {}).listen(0, '127.0.0.1')
await new Promise((resolve) => silent.once('listening', resolve))
const config = Krb5Config.parse(
  `[libdefaults]\ndefault_realm = EXAMPLE.TEST\n[realms]\nEXAMPLE.TEST = {\nkdc = 127.0.0.1:${silent.address().port}\n}\n`,
)
const memory = new MemoryReplayStore()
const slowStore = { checkAndStore: (...entry) => sleep(1000).then(() => memory.checkAndStore(...entry)) }
const maxFailures = 10_000
const guards = {
  '/': createNegotiateServer(),
  '/password': createNegotiateServer({ basic: { maxFailures } }),
  '/silent': createNegotiateServer({ basic: { maxFailures, config, timeoutMs: 2000 } }),
  '/slow-store': createNegotiateServer({ replayStore: slowStore }),
}
const delay = monitorEventLoopDelay({ resolution: 1 })

const server = createServer({ maxHeaderSize: 98_304 }, async (req, res) => {
  if (req.url === '/delay') {
    const found = { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 }
    delay.reset()
    return void res.end(JSON.stringify(found))
  }
  const identity = await guards[req.url]?.handle(req, res)
  if (identity !== undefined) res.end(identity.principal)
})
server.listen(0, '127.0.0.1', () => {
  delay.enable()
  console.log(server.address().port)
})
