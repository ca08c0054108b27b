// What one client keeps of the hosts that it has visited, after their connections have ended. Needs --expose-gc.
// `client-memory.mjs 'own tickets' | 'one ticket' | 'plain fetch'`: a service of its own for each host, the same one for all, or no login at all.
import { spawn } from 'node:child_process'
import dns from 'node:dns'
import { setTimeout } from 'node:timers/promises'
import { Credentials, negotiated, negotiateFetch } from '../dist/entries/fetch.js'

const [mode] = process.argv.slice(2)
const STEP = 1000
const STEPS = 3
const AT_ONCE = 8

const child = spawn(process.execPath, [new URL('hosts-server.mjs', import.meta.url).pathname, String(STEP * STEPS)], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const { port, config } = JSON.parse(await new Promise((resolve) => child.stdout.once('data', resolve)))
process.env.KRB5_CONFIG = config

// Names below localhost, which no file of this machine has.
const { lookup } = dns
dns.lookup = (host, options, callback) => {
  if (!host.endsWith('.localhost')) return lookup(host, options, callback)
  const address = '127.0.0.1'
  process.nextTick(() => (options.all ? callback(null, [{ address, family: 4 }]) : callback(null, address, 4)))
}

function client() {
  if (mode === 'plain fetch') return { fetch: globalThis.fetch, path: 'nobody' }
  const credentials = Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret')
  const one = mode === 'one ticket' ? { targetName: 'HTTP@h0.localhost' } : {}
  return { fetch: negotiateFetch({ credentials, ...one }), path: '' }
}
const { fetch, path } = client()

async function visit(host) {
  const response = await fetch(`http://h${host}.localhost:${port}/${path}`)
  const text = await response.text()
  if (text !== 'hello' || (path === '' && !negotiated(response)?.serverAuthenticated)) throw new Error(text)
}

async function settle() {
  while (Number(await (await globalThis.fetch(`http://127.0.0.1:${port}/open`)).text()) > 1) await setTimeout(200)
  for (let i = 0; i < 5; i++) {
    globalThis.gc()
    await setTimeout(20)
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: (heapUsed + external) / 2 ** 20, rss: rss / 2 ** 20 }
}

for (let i = 0; i < 300; i++) await visit(0) // warm
const measured = [await settle()]
for (let step = 0; step < STEPS; step++) {
  let next = step * STEP
  const end = next + STEP
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < end) await visit(next++)
    }),
  )
  measured.push(await settle())
}
const figures = measured.map(({ heap, rss }, i) => `${i * STEP}: heap ${heap.toFixed(1)}, rss ${rss.toFixed(0)}`)
console.log(`memory     ${mode.padEnd(12)} MiB after hosts ${figures.join('; ')}`)
child.kill()
process.exit()
