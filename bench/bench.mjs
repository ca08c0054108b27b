// Ours and MIT's C library on the same tokens, in interleaved rounds of one run. Ratios first: single figures vary with the machine.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Credentials, createAcceptor, createInitiator } from '../dist/entries/index.js'

const work = process.env.BENCH_WORK
const rounds = Number(process.env.ROUNDS ?? 5)
const count = Number(process.env.TOKENS ?? 4000)
const gssbench = join(work, 'gssbench')
const results = []

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
const spread = (values) => `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)}`

/** Fresh tokens of MIT's initiator, and what one cost it. */
function generate(service) {
  const args = ['gen', '-n', String(count), '-M', '-t', service]
  const { stdout, stderr } = spawnSync(gssbench, args, { maxBuffer: 2 ** 28, encoding: 'utf8' })
  const us = /us_per_init ([\d.]+)/.exec(stderr)?.[1]
  if (us === undefined) throw new Error(`gssbench gen: ${stderr}`)
  return { tokens: stdout.trim().split('\n'), us: Number(us) }
}

/** MIT's acceptor on those tokens. */
function acceptInC(tokens) {
  const out = execFileSync(gssbench, ['accept'], { input: `${tokens.join('\n')}\n`, maxBuffer: 2 ** 28 }).toString()
  const [, ok, us] = /ok (\d+) bad \d+ us_per_accept ([\d.]+)/.exec(out) ?? []
  if (Number(ok) !== tokens.length) throw new Error(`gssbench accept: ${out}`)
  return Number(us)
}

async function acceptHere(acceptor, tokens) {
  const bytes = tokens.map((text) => Buffer.from(text, 'base64'))
  const started = process.hrtime.bigint()
  for (const token of bytes) {
    const context = acceptor.createContext()
    const { complete } = await context.step(token)
    if (!complete) throw new Error('not complete')
  }
  return Number(process.hrtime.bigint() - started) / 1000 / tokens.length
}

async function initiateHere(target, credentials) {
  const started = process.hrtime.bigint()
  for (let i = 0; i < count; i++) await (await createInitiator({ target, credentials })).step()
  return Number(process.hrtime.bigint() - started) / 1000 / count
}

async function gss(label, service) {
  const credentials = Credentials.fromCache()
  const acceptor = await createAcceptor({ now: Date.now })
  const target = service
  // Warm: JavaScript needs some 4 000 calls.
  await acceptHere(acceptor, generate(service).tokens)
  await initiateHere(target, credentials)
  const figures = { acceptC: [], accept: [], initiateC: [], initiate: [] }
  for (let round = 0; round < rounds; round++) {
    const { tokens, us } = generate(service)
    figures.initiateC.push(us)
    figures.acceptC.push(acceptInC(tokens))
    figures.accept.push(await acceptHere(acceptor, tokens))
    figures.initiate.push(await initiateHere(target, credentials))
  }
  await acceptor.close()
  for (const what of ['accept', 'initiate']) {
    const ours = figures[what]
    const theirs = figures[`${what}C`]
    const ratio = median(ours.map((us, i) => us / theirs[i]))
    results.push({ what: `${what}, ${label}`, ratio, us: median(ours), mitUs: median(theirs) })
    console.log(
      `${what.padEnd(9)} ${label.padEnd(22)} ratio ${ratio.toFixed(2)}   ours ${median(ours).toFixed(0)} µs (${spread(ours)})   MIT ${median(theirs).toFixed(0)} µs (${spread(theirs)})`,
    )
  }
}

/** Requests per second of node:http with and without a login, a fresh token each. */
async function http() {
  for (const mode of ['open', 'negotiate']) {
    const server = spawn(process.execPath, [new URL('http-server.mjs', import.meta.url).pathname, mode], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const port = await new Promise((resolve) => server.stdout.once('data', (text) => resolve(Number(text))))
    for (const connections of [1, 16, 64]) {
      const rates = []
      for (let round = 0; round < Math.min(rounds, 3) + 1; round++) {
        const file = join(work, 'tokens')
        writeFileSync(file, `${generate('HTTP/localhost').tokens.join('\n')}\n`)
        const args = [
          '-a',
          `127.0.0.1:${port}`,
          '-c',
          String(connections),
          '-n',
          String(count),
          '-t',
          file,
          '-H',
          'localhost',
          '-p',
          String(server.pid),
        ]
        const out = execFileSync(join(work, 'loadgen'), args).toString()
        if (round > 0) rates.push(out.trim().replaceAll('\n', ' ')) // the first one warms
      }
      const rate = rates.map((out) => Number(/rps ([\d.]+)/.exec(out)?.[1]))
      results.push({ what: `http ${mode}, ${connections} connections`, requestsPerSecond: median(rate), lines: rates })
      console.log(
        `http      ${mode.padEnd(10)} c${String(connections).padEnd(3)} ${median(rate).toFixed(0)} requests/s   ${rates.at(-1)}`,
      )
    }
    server.kill()
  }
}

console.log(
  `Node ${process.version}, ${cpus()[0].model}, ${cpus().length} cores; ${rounds} rounds of ${count}; MIT: credential kept, KRB5RCACHENAME=none:`,
)
await gss('AES-SHA1, SPNEGO, mutual', 'HTTP/localhost')
await gss('AES-SHA2, SPNEGO, mutual', 'HTTP/sha2.localhost')
await http()
if (process.argv[2] !== undefined) writeFileSync(process.argv[2], `${JSON.stringify(results, undefined, 2)}\n`)
