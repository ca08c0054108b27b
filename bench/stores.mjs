// Replay stores: memory at a million entries beside a Map; what a check in the primary of node:cluster and in Redis takes, alone and 64 at once.
import { execFileSync, spawn } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { PrimaryReplayStore } from '../build/adapters/stores/cluster.js'
import { MemoryReplayStore } from '../dist/entries/index.js'
import { redisReplayStore } from '../dist/entries/redis.js'
import { useClusterReplayStore } from '../dist/entries/server.js'

const ENTRIES = Number(process.env.ENTRIES ?? 1_000_000)
const CHECKS = Number(process.env.CHECKS ?? 20_000)
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const LIFE_MS = 600_000

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]
const spread = (values, digits) => `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`

const MAKE = {
  MemoryReplayStore() {
    const store = new MemoryReplayStore({ maxEntries: ENTRIES })
    const expiresAt = Date.now() + LIFE_MS
    return { kept: store, insert: (key) => store.checkAndStore(key, expiresAt) === 'fresh' }
  },
  'Map<string, number>'() {
    const map = new Map()
    const expiresAt = Date.now() + LIFE_MS
    const insert = (key) => {
      const text = Buffer.from(key.buffer, key.byteOffset, 16).toString('latin1')
      if (map.has(text)) return false
      map.set(text, expiresAt)
      return true
    }
    return { kept: map, insert }
  },
}

/** In a process of its own, which has held nothing before. */
async function fill(name) {
  const keys = new Uint8Array(16 * ENTRIES)
  for (let at = 0; at < keys.length; at += 65_536) crypto.getRandomValues(keys.subarray(at, at + 65_536))
  const used = async () => {
    for (let i = 0; i < 3; i++) {
      globalThis.gc()
      await sleep(20) // memory of arrays is given back a moment later
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = await used()
  const { kept, insert } = MAKE[name]()
  const started = performance.now()
  for (let i = 0; i < ENTRIES; i++) if (!insert(keys.subarray(16 * i, 16 * i + 16))) throw new Error('a key came twice')
  const micros = ((performance.now() - started) * 1000) / ENTRIES
  const bytes = ((await used()) - before) / ENTRIES
  if (kept.size !== ENTRIES || keys.length !== 16 * ENTRIES) throw new Error('entries are missing') // and both lived till now
  return { micros, bytes }
}

function memory() {
  const [one, other] = Object.keys(MAKE)
  const results = Array.from({ length: ROUNDS }, () =>
    [one, other].map((name) => {
      const args = ['--expose-gc', process.argv[1], 'fill', name]
      return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
    }),
  )
  for (const [i, name] of [one, other].entries()) {
    const of = (what) => results.map((round) => round[i][what])
    console.log(
      `${name.padEnd(22)} ${ENTRIES} entries   ${median(of('bytes')).toFixed(1)} bytes each (${spread(of('bytes'), 1)})   ${median(of('micros')).toFixed(2)} µs an insert (${spread(of('micros'), 2)})`,
    )
  }
  const ratio = (what) => median(results.map(([a, b]) => a[what] / b[what])).toFixed(2)
  console.log(`  ratio: ${ratio('bytes')} of the bytes, ${ratio('micros')} of the time`)
}

/** Microseconds of each check, with so many on their way at any time. */
async function latencies(store, atOnce) {
  const taken = []
  const fresh = Array.from({ length: CHECKS }, () => crypto.getRandomValues(new Uint8Array(16)))
  let left = CHECKS
  const loop = async () => {
    while (left-- > 0) {
      const key = fresh[left]
      const started = performance.now()
      if ((await store.checkAndStore(key, Date.now() + LIFE_MS)) !== 'fresh') throw new Error('a key came twice')
      taken.push((performance.now() - started) * 1000)
    }
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: atOnce }, loop))
  const perSecond = (CHECKS * 1000) / (performance.now() - started)
  taken.sort((a, b) => a - b)
  return { p50: taken[taken.length >> 1], p99: taken[Math.floor(taken.length * 0.99)], perSecond }
}

async function measure(name, store, kinds = [1, 64]) {
  await latencies(store, 64) // warm
  for (const atOnce of kinds) {
    const rounds = []
    for (let round = 0; round < ROUNDS; round++) rounds.push(await latencies(store, atOnce))
    const of = (what) => rounds.map((one) => one[what])
    const shown = (what) => `${median(of(what)).toFixed(1)} µs (${spread(of(what), 1)})`
    console.log(
      `${name.padEnd(22)} ${String(atOnce).padStart(2)} at once   p50 ${shown('p50')}   p99 ${shown('p99')}   ${median(of('perSecond')).toFixed(0)} checks/s`,
    )
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}

async function startRedis() {
  const port = await freePort()
  const options = [
    '--bind',
    '127.0.0.1',
    '--port',
    port,
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    process.env.BENCH_WORK,
  ]
  const server = spawn('redis-server', options.map(String), { stdio: 'ignore' })
  for (let tries = 0; tries < 100; tries++) {
    await sleep(50)
    const socket = connect(port, '127.0.0.1')
    const up = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (up) return { port, stop: () => server.kill() }
  }
  throw new Error('redis-server did not start')
}

/** How often a client writes for each check, and how often Redis answers. */
async function roundTrips(name, redisPort, clientOf) {
  const seen = { writes: 0, answers: 0 }
  const proxy = createServer((client) => {
    const server = connect(redisPort, '127.0.0.1').setNoDelay()
    client.setNoDelay()
    client.on('data', (bytes) => server.write(bytes) && seen.writes++)
    server.on('data', (bytes) => client.write(bytes) && seen.answers++)
    client.on('close', () => server.destroy()).on('error', () => {})
    server.on('close', () => client.destroy()).on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const { client, end } = await clientOf(proxy.address().port)
  const store = redisReplayStore(client)
  await store.isRevoked('met')
  Object.assign(seen, { writes: 0, answers: 0 })
  for (let i = 0; i < 1000; i++)
    await store.checkAndStore(crypto.getRandomValues(new Uint8Array(16)), Date.now() + LIFE_MS)
  console.log(`${name.padEnd(22)} ${seen.writes / 1000} writes and ${seen.answers / 1000} answers a check`)
  end()
  proxy.close()
}

const CLIENTS = {
  async ioredis(port) {
    const client = new Redis({ host: '127.0.0.1', port })
    await once(client, 'ready')
    return { client, end: () => client.disconnect() }
  },
  async redis(port) {
    const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
    return { client, end: () => client.destroy() }
  },
}

if (process.argv[2] === 'fill') {
  console.log(JSON.stringify(await fill(process.argv[3])))
} else if (cluster.isWorker) {
  await measure('node:cluster', new PrimaryReplayStore())
  process.disconnect()
} else {
  console.log(
    `Node ${process.versions.node}, ${cpus()[0].model.trim()} (${cpus().length} cores), load ${process.env.LOAD ?? '?'}`,
  )
  memory()
  await measure('MemoryReplayStore', new MemoryReplayStore(), [1]) // answers at once: there is no waiting together
  useClusterReplayStore()
  const worker = cluster.fork()
  await once(worker, 'exit')
  const redis = await startRedis()
  for (const [name, clientOf] of Object.entries(CLIENTS)) {
    const { client, end } = await clientOf(redis.port)
    await measure(`Redis, ${name}`, redisReplayStore(client))
    end()
    await roundTrips(`Redis, ${name}`, redis.port, clientOf)
  }
  redis.stop()
}
