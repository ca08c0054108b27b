// What a start costs, what is kept in memory, and how work grows with what is kept. Needs --expose-gc.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Keytab } from '../build/krb5/formats/index.js'
import { createAcceptor, MemoryReplayStore } from '../dist/entries/index.js'
import { median, report, spread, work } from './lib.mjs'
import { mintTicket, mintToken } from './mint.mjs'

const STARTS = 9
const entry = Keytab.parse(readFileSync(process.env.KRB5_KTNAME.replace(/^FILE:/, ''))).entries[0]
const url = (path) => JSON.stringify(new URL(path, import.meta.url).href)

const milliseconds = (run) => {
  const started = process.hrtime.bigint()
  run()
  return Number(process.hrtime.bigint() - started) / 1e6
}
const script = (text) => execFileSync(process.execPath, ['--input-type=module', '-e', text]).toString()

const FIRST_TOKEN = `import { createInitiator } from ${url('../dist/entries/index.js')}
await (await createInitiator({ target: 'HTTP/localhost' })).step()`
/** Prints the microseconds of the first accept, of the first hundred on average, and of the hundred after 4 000. */
const FIRST_ACCEPTS = `import { createAcceptor } from ${url('../dist/entries/index.js')}
import { readFileSync } from 'node:fs'
import { mintTicket, mintToken } from ${url('./mint.mjs')}
import { Keytab } from ${url('../build/krb5/formats/index.js')}
const entry = Keytab.parse(readFileSync(process.env.KRB5_KTNAME.replace(/^FILE:/, ''))).entries[0]
const tokens = Array.from({ length: 4200 }, () => mintToken(mintTicket(entry, 1024)))
const acceptor = await createAcceptor({ now: () => Date.now() - 1 })
const times = []
for (const token of tokens) {
  const started = process.hrtime.bigint()
  await acceptor.createContext().step(token).catch(() => {})
  times.push(Number(process.hrtime.bigint() - started) / 1000)
}
const mean = (list) => list.reduce((a, b) => a + b) / list.length
console.log(times[0], mean(times.slice(0, 100)), mean(times.slice(4000, 4100)))`

function starts() {
  const figures = { empty: [], ours: [], mit: [] }
  const accepts = []
  for (let i = 0; i < STARTS; i++) {
    figures.empty.push(milliseconds(() => script('')))
    figures.ours.push(milliseconds(() => script(FIRST_TOKEN)))
    figures.mit.push(
      milliseconds(() =>
        execFileSync(join(work, 'gssbench'), ['gen', '-n', '1', '-M', '-t', 'HTTP/localhost'], { stdio: 'ignore' }),
      ),
    )
    accepts.push(script(FIRST_ACCEPTS).trim().split(' ').map(Number))
  }
  const column = (i) => accepts.map((one) => one[i])
  const cell = (values, unit) => `${median(values).toFixed(0)} ${unit} (${spread(values)})`
  return [
    { '': 'start of Node, nothing imported', is: cell(figures.empty, 'ms') },
    { '': 'start to first token', is: cell(figures.ours, 'ms') },
    { '': 'start to first token, MIT (C)', is: cell(figures.mit, 'ms') },
    { '': 'the first accept', is: cell(column(0), 'µs') },
    { '': 'the first 100 accepts, each', is: cell(column(1), 'µs') },
    { '': 'after 4 000 accepts, each', is: cell(column(2), 'µs') },
  ]
}

function settled() {
  for (let i = 0; i < 6; i++) globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function perPiece(count, make) {
  await make(200)
  const before = settled()
  const kept = await make(count)
  return { bytes: (settled() - before) / count, kept }
}

async function memory() {
  const rows = []
  const add = (what, bytes) => rows.push({ '': what, 'octets each': bytes.toFixed(0) })
  const acceptor = await createAcceptor()
  const known = mintTicket(entry, 1024)
  const accept = async (token) => {
    const context = acceptor.createContext()
    await context.step(token)
    return context
  }
  const contexts = await perPiece(2000, async (count) => {
    const all = []
    for (let i = 0; i < count; i++) all.push(await accept(mintToken(known)))
    return all
  })
  add('an established context', contexts.bytes)
  for (const one of contexts.kept) one.dispose()
  for (const logins of [1, 2]) {
    const { bytes } = await perPiece(1000, async (count) => {
      for (let i = 0; i < count; i++) {
        const ticket = mintTicket(entry, 1024)
        for (let k = 0; k < logins; k++) (await accept(mintToken(ticket))).dispose()
      }
    })
    const what =
      logins === 1 ? 'a login with a ticket of 1 KiB: its replay entry' : 'two: a remembered ticket, and two entries'
    add(what, bytes)
  }
  await acceptor.close()
  return rows
}

function growth() {
  const rows = []
  const store = new MemoryReplayStore({ maxEntries: 2_000_000 })
  let entries = 0
  for (const upTo of [1000, 10_000, 100_000, 1_000_000]) {
    while (entries < upTo) {
      store.checkAndStore(randomBytes(16), Date.now() + 600_000)
      entries++
    }
    const keys = Array.from({ length: 2000 }, () => randomBytes(16))
    const ms = milliseconds(() => {
      for (const key of keys) store.checkAndStore(key, Date.now() + 600_000)
    })
    entries += keys.length
    rows.push({
      'replay entries': entries,
      'µs a check': ((ms / keys.length) * 1000).toFixed(2),
      'octets an entry': (store.bytes / store.size).toFixed(0),
    })
  }
  return rows
}

report('start', `medians of ${STARTS} processes`, starts())
report(
  'memory',
  'heap and what lies outside of it, after the garbage was collected; Node’s cipher objects, 2 KiB each, are not counted by V8',
  await memory(),
)
report('replay store', '', growth())
