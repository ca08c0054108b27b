// npm run bench -- stall: what ordinary logins feel while something slow happens at the same server: a steady stream of them (RATE a second), alone, and
// beside passwords, a silent KDC, a slow replay store, and tokens of 64 KiB. Needs no peer: the realm is the embedded one, the server a process of its own.
import { spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { KerberosTicket } from '../dist/entries/index.js'
import { TestRealm } from '../dist/entries/testing.js'

const rate = Number(process.env.RATE ?? 200)
const seconds = Number(process.env.SECONDS ?? 5)
const rounds = Number(process.env.ROUNDS ?? 3)

const realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/localhost'] })
const credentials = await realm.login('alice')
const child = spawn(process.execPath, [new URL('stall-server.mjs', import.meta.url).pathname], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, ...realm.environment },
})
const port = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))))
const agent = new Agent({ keepAlive: true })

function ask(path, authorization = '') {
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, agent, headers: { host: 'localhost', authorization } })
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, text, ms: performance.now() - started }))
    })
    outgoing.end()
  })
}
const newToken = async () =>
  (await KerberosTicket.for('HTTP@localhost', { credentials, config: realm.config })).authorization
const password = (text) => `Basic ${Buffer.from(text).toString('base64')}`
const JUNK = `Negotiate ${Buffer.concat([Buffer.from('6082fffb06062b0601050502', 'hex'), Buffer.alloc(65_500, 0x30)]).toString('base64')}`

/** So many at once, each followed by the next, until it is told to stop; how many there were. */
function beside(many, one) {
  let running = true
  let count = 0
  const loops = Array.from({ length: many }, async () => {
    while (running) {
      await one()
      count++
    }
  })
  return async () => {
    running = false
    await Promise.all(loops)
    return count
  }
}

const rows = [
  ['alone', () => async () => 0],
  ['8 passwords at once', () => beside(8, () => ask('/password', password('alice:secret')))],
  ['64 passwords at a silent KDC', () => beside(64, () => ask('/silent', password(`user${Math.random()}:x`)))],
  ['100 logins at a replay store of 1 s', () => beside(100, async () => ask('/slow-store', await newToken()))],
  ['4 clients with tokens of 64 KiB', () => beside(4, () => ask('/', JUNK))],
]

const percentile = (values, part) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * part)]

/** Sends at fixed times, whether answers come or not: who waits for one would not notice a stall. */
async function stream() {
  const answers = []
  for (let i = 0; i < rate * seconds; i++) {
    const due = started(i)
    if (due > 0) await sleep(due)
    answers.push(newToken().then((token) => ask('/', token)))
  }
  return Promise.all(answers)
}
let begin = 0
function started(i) {
  if (i === 0) begin = performance.now()
  return begin + (i * 1000) / rate - performance.now()
}

const found = new Map(rows.map(([name]) => [name, { p50: [], p99: [], loop: [], others: [] }]))
for (let round = 0; round <= rounds; round++) {
  for (const [name, start] of rows) {
    const stop = start()
    await ask('/delay')
    const answers = await stream()
    const delay = JSON.parse((await ask('/delay')).text)
    const others = await stop()
    if (answers.some(({ status }) => status !== 200)) throw new Error(`${name}: a login was refused`)
    if (round === 0) continue // warms
    const times = answers.map(({ ms }) => ms)
    const row = found.get(name)
    row.p50.push(percentile(times, 0.5))
    row.p99.push(percentile(times, 0.99))
    row.loop.push(delay.p99)
    row.others.push(others)
  }
}
child.kill()
await realm.stop()
agent.destroy()

const median = (values) => percentile(values, 0.5)
const alone = found.get('alone')
console.log(
  `Node ${process.version}, ${cpus()[0].model}, ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}; ${rate} logins a second for ${seconds} s, ${rounds} rounds:`,
)
for (const [name, { p50, p99, loop, others }] of found) {
  console.log(
    `${name.padEnd(38)} p99 ${(median(p99) / median(alone.p99)).toFixed(2)} of alone   p50 / p99 ${median(p50).toFixed(1)} / ${median(p99).toFixed(1)} ms   event loop p99 ${median(loop).toFixed(1)} ms   beside ${median(others)}`,
  )
}
