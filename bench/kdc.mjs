// Login and service ticket at MIT's KDC beside kinit and kvno, in interleaved rounds of one run; then many tickets, and a large keytab.
import { execFileSync, spawnSync } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { readFileSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Credentials, createAcceptor, createInitiator, KerberosClient, Keytab } from '../dist/entries/index.js'
import { TestRealm } from '../dist/entries/testing.js'

const work = process.env.BENCH_WORK
const rounds = Number(process.env.KDC_ROUNDS ?? 15)
const main = new URL('../dist/cli/main.js', import.meta.url).pathname

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
const spread = (values) => `${Math.min(...values).toFixed(1)}–${Math.max(...values).toFixed(1)}`
const milliseconds = async (run) => {
  const started = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - started) / 1e6
}

let messages = 0
subscribe('spnego:kdc', () => {
  messages++
})

/** A program to its end; what it costs to start is part of it. */
function program(command, args, { input = '', cache }) {
  const env = { ...process.env, KRB5CCNAME: cache }
  const { status, stderr } = spawnSync(command, args, { input, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${stderr}`)
}

/** Messages to the KDC, as KRB5_TRACE counts them. */
function tracedMessages(command, args, cache, input) {
  const trace = join(work, 'trace')
  spawnSync(command, args, { env: { ...process.env, KRB5CCNAME: cache, KRB5_TRACE: trace }, input })
  const text = readFileSync(trace, 'utf8')
  rmSync(trace)
  return (text.match(/Sending request \(/g) ?? []).length
}

async function exchanges() {
  const cache = `FILE:${join(work, 'bench-cc')}`
  const [user, password, service] = ['bench', 'bench-pw', 'HTTP/localhost']
  const fresh = () => Credentials.fromPassword(user, password)
  const inProcess = { login: [], ticket: [], kinit: [], kvno: [], command: [], kvnoStart: [], commandStart: [] }
  let logIn = 0
  let getTicket = 0
  for (let round = 0; round < rounds + 2; round++) {
    const credentials = fresh()
    const client = new KerberosClient({ credentials })
    messages = 0
    const login = await milliseconds(() => client.login())
    logIn = messages
    messages = 0
    const ticket = await milliseconds(() => client.getTicket(service))
    getTicket = messages
    const kinit = await milliseconds(() => program('kinit', [user], { input: `${password}\n`, cache }))
    const kvno = await milliseconds(() => program('kvno', ['-q', service], { cache }))
    const kvnoStart = await milliseconds(() => program('klist', ['-s'], { cache }))
    const args = [main, 'login', user, '--password-stdin', '-c', `${cache}-ours`]
    const command = await milliseconds(() => program(process.execPath, args, { input: `${password}\n`, cache }))
    const commandStart = await milliseconds(() => program(process.execPath, [main, '--help'], { cache }))
    if (round < 2) continue // warm
    for (const [name, value] of Object.entries({ login, ticket, kinit, kvno, command, kvnoStart, commandStart }))
      inProcess[name].push(value)
  }
  const traced = [
    tracedMessages('kinit', [user], cache, `${password}\n`),
    tracedMessages('kvno', ['-q', service], cache, ''),
  ]
  const row = (what, ours, theirs, name, mine, its) =>
    console.log(
      `${what.padEnd(22)} ratio ${median(ours.map((ms, i) => ms / theirs[i])).toFixed(2)}   ours ${median(ours).toFixed(1)} ms (${spread(ours)}), ${mine} messages   ${name} ${median(theirs).toFixed(1)} ms (${spread(theirs)}), ${its} messages`,
    )
  row('login, in process', inProcess.login, inProcess.kinit, 'kinit', logIn, traced[0])
  row('login, as command', inProcess.command, inProcess.kinit, 'kinit', logIn, traced[0])
  row('service ticket', inProcess.ticket, inProcess.kvno, 'kvno', getTicket, traced[1])
  // What is left of each program without its start: of MIT's that of klist -s, which reads krb5.conf and a cache and asks nobody.
  const net = (what, ours, theirs, name) => {
    const [mine, its] = [ours.map(([all, start]) => all - start), theirs.map(([all, start]) => all - start)]
    console.log(
      `${what.padEnd(22)} ratio ${(median(mine) / median(its)).toFixed(2)}   ours ${median(mine).toFixed(1)} ms (${spread(mine)})   ${name} ${median(its).toFixed(1)} ms (${spread(its)}), both without the start of a program`,
    )
  }
  const { login, ticket, kinit, kvno, command, kvnoStart, commandStart } = inProcess
  const pair = (values, starts) => values.map((ms, i) => [ms, starts === undefined ? 0 : starts[i]])
  net('login, in process', pair(login), pair(kinit, kvnoStart), 'kinit')
  net('login, as command', pair(command, commandStart), pair(kinit, kvnoStart), 'kinit')
  net('service ticket', pair(ticket), pair(kvno, kvnoStart), 'kvno')
  console.log(
    `(starts: klist -s ${median(kvnoStart).toFixed(1)} ms (${spread(kvnoStart)}), spnego --help ${median(commandStart).toFixed(1)} ms (${spread(commandStart)}))`,
  )
}

async function manyTickets() {
  const services = Array.from({ length: 100 }, (_, i) => `HTTP/host${i}.example.test`)
  const realm = await TestRealm.start({ users: { alice: 'secret' }, services })
  const credentials = await realm.login('alice')
  const client = new KerberosClient({ credentials, config: realm.config })
  await client.getTicket(services[0])
  globalThis.gc?.()
  const before = process.memoryUsage()
  messages = 0
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss)
  }, 1)
  const ms = await milliseconds(() =>
    Promise.all(Array.from({ length: 1000 }, (_, i) => client.getTicket(services[i % 100]))),
  )
  clearInterval(timer)
  peak = Math.max(peak, process.memoryUsage().rss)
  const mib = ((peak - before.rss) / 2 ** 20).toFixed(0)
  console.log(
    `1 000 callers at once for 100 services: ${messages} TGS exchanges (99 but for the first), ${ms.toFixed(0)} ms with the KDC in this process, peak ${mib} MiB over ${(before.rss / 2 ** 20).toFixed(0)} MiB`,
  )
  await realm.stop()
}

async function largeKeytab() {
  const realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/localhost'] })
  const own = realm.keytab('HTTP/localhost')
  // Its entries, and 10 000 of others behind them: as a file of bytes, since keys cannot be made from outside.
  const bytes = own.toBytes()
  const record = bytes.subarray(2, 6 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(2))
  const copies = Array.from({ length: 10_000 }, (_, i) => {
    const copy = record.slice()
    const at = Buffer.from(copy).indexOf('localhost')
    copy.set(Buffer.from(`l${String(i).padStart(8, '0')}`), at)
    return copy
  })
  const whole = Buffer.concat([bytes, ...copies])
  const parse = []
  const open = []
  for (let i = 0; i < 5; i++) {
    let keytab
    parse.push(await milliseconds(async () => (keytab = Keytab.parse(whole))))
    open.push(await milliseconds(async () => (await createAcceptor({ keytab })).close()))
  }
  const large = await createAcceptor({ keytab: Keytab.parse(whole) })
  const small = await createAcceptor({ keytab: own })
  const credentials = await realm.login('alice')
  const accept = async (acceptor) => {
    const tokens = []
    for (let i = 0; i < 500; i++) {
      const initiator = await createInitiator({ target: 'HTTP/localhost', credentials, config: realm.config })
      tokens.push((await initiator.step()).token)
    }
    const ms = await milliseconds(async () => {
      for (const token of tokens) await acceptor.createContext().step(token)
    })
    return (ms / tokens.length) * 1000
  }
  await accept(small)
  await accept(large)
  const [few, many] = [await accept(small), await accept(large)]
  console.log(
    `a keytab of ${Keytab.parse(whole).entries.length} entries (${(whole.length / 2 ** 20).toFixed(1)} MiB): parsed in ${median(parse).toFixed(0)} ms, acceptor made in ${median(open).toFixed(0)} ms; accept ${many.toFixed(0)} µs, with four entries ${few.toFixed(0)} µs`,
  )
  await realm.stop()
}

console.log(
  `node ${process.version}, ${cpus()[0]?.model}, ${execFileSync('klist', ['-V']).toString().trim()}; ${rounds} rounds`,
)
await exchanges()
await manyTickets()
await largeKeytab()
