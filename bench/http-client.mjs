// Clients that log in with each request, one request after the other, at one server: interleaved rounds of one run. Then memory and import time.
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { importTimes } from './import-time.mjs'

const rounds = Number(process.env.ROUNDS ?? 5)
const count = Number(process.env.REQUESTS ?? 2000)
const here = (name) => fileURLToPath(new URL(name, import.meta.url))

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
const spread = (values, digits) => `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`

/** A process that is told a number of requests and says what they took. */
class Peer {
  constructor({ command, args, share = 1 }) {
    this.count = Math.round(count * share)
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = createInterface(this.process.stdout)[Symbol.asyncIterator]()
  }

  async run(requests = this.count) {
    this.process.stdin.write(`${requests}\n`)
    const { value, done } = await this.lines.next()
    if (done) throw new Error(`${this.process.spawnargs.join(' ')} ended`)
    const { ms, cpuMs } = JSON.parse(value)
    return { perSecond: (requests / ms) * 1000, cpuUs: (cpuMs / requests) * 1000 }
  }

  end() {
    this.process.stdin.end()
  }
}

/** curl, a program that ends: its start is in its figures, and it does not look at the server's answer. */
class Curl {
  constructor({ url, share = 1 }) {
    this.count = Math.round(count * share)
    this.url = url
  }

  async run(requests = this.count) {
    const script = `TIMEFORMAT='%R %U %S'; time curl -sS --fail -o /dev/null --negotiate -u : "$1?[1-${requests}]"`
    const out = execFileSync('bash', ['-c', `{ ${script}; } 2>&1`, 'bash', this.url]).toString()
    const [real, user, system] = out.trim().split(' ').map(Number)
    if (!(real > 0)) throw new Error(`curl: ${out}`)
    return { perSecond: requests / real, cpuUs: ((user + system) / requests) * 1e6 }
  }

  end() {}
}

async function server(mode) {
  const child = spawn(process.execPath, [here('http-server.mjs'), mode], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))))
  return { child, url: `http://localhost:${port}/` }
}

async function requestRates() {
  const [login, open] = [await server('negotiate'), await server('open')]
  const js = (name, { url } = login) => ({ command: process.execPath, args: [here('client-peer.mjs'), name, url] })
  const python = (mode) => ({
    command: '/usr/bin/python3',
    args: [here('client-peer.py'), mode, login.url],
    share: 0.25,
  })
  const rows = [
    ['preemptive', 'spnego/fetch', new Peer(js('fetch-preemptive'))],
    ['preemptive', 'spnego/agent, node:http', new Peer(js('agent-preemptive'))],
    ['preemptive', 'npm kerberos, fetch', new Peer(js('npm-fetch-preemptive'))],
    ['preemptive', 'npm kerberos, node:http', new Peer(js('npm-preemptive'))],
    ['preemptive', 'requests-kerberos', new Peer(python('preemptive'))],
    ['preemptive', 'curl', new Curl({ url: login.url })],
    ['challenged', 'spnego/fetch', new Peer(js('fetch-challenged'))],
    ['challenged', 'spnego/axios', new Peer(js('axios-challenged'))],
    ['challenged', 'npm kerberos, fetch', new Peer(js('npm-fetch-challenged'))],
    ['challenged', 'npm kerberos, node:http', new Peer(js('npm-challenged'))],
    ['challenged', 'requests-kerberos', new Peer(python('challenged'))],
    ['no login', 'fetch', new Peer(js('open-fetch', open))],
    ['no login', 'node:http', new Peer(js('open-http', open))],
  ].map(([group, name, peer]) => ({ group, name, peer, perSecond: [], cpuUs: [], use: undefined }))

  const counts = async () => (await fetch(`${login.url}counts`)).json()
  for (const row of rows) {
    const before = await counts()
    await row.peer.run(row.peer.count * 3) // JavaScript needs more than 4 000 calls
    const after = await counts()
    row.use = { requests: after.requests - before.requests, tokens: after.tokens - before.tokens }
    row.use.connections = after.connections - before.connections
  }
  for (let round = 0; round < rounds; round++) {
    for (const row of round % 2 === 0 ? rows : rows.toReversed()) {
      const { perSecond, cpuUs } = await row.peer.run()
      row.perSecond.push(perSecond)
      row.cpuUs.push(cpuUs)
    }
  }
  for (const { group, name, peer, perSecond, cpuUs, use } of rows) {
    const [ours] = rows.filter((row) => row.group === group)
    const ratio = median(ours.perSecond.map((own, i) => own / perSecond[i]))
    const cpuRatio = median(ours.cpuUs.map((own, i) => own / cpuUs[i]))
    const each =
      group === 'no login'
        ? ''
        : `   ${(use.requests / use.tokens).toFixed(2)} requests a token, ${use.connections} connections`
    console.log(
      `${group.padEnd(11)}${name.padEnd(25)} ${ratio.toFixed(2)} times its requests/s for ${cpuRatio.toFixed(2)} of its CPU   ` +
        `${median(perSecond).toFixed(0)} requests/s (${spread(perSecond, 0)})   CPU ${median(cpuUs).toFixed(0)} µs (${spread(cpuUs, 0)})${each}`,
    )
    peer.end()
  }
  login.child.kill()
  open.child.kill()
}

/** What a client keeps of the hosts that it has visited. */
async function memory() {
  for (const mode of ['own tickets', 'one ticket', 'plain fetch']) {
    const args = ['--expose-gc', here('client-memory.mjs'), mode]
    console.log(
      execFileSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
        .toString()
        .trim(),
    )
  }
}

const peer = (command, ...args) => execFileSync(command, args).toString().split('\n')[0].trim()
const kerberos = JSON.parse(readFileSync(join(process.env.BENCH_PEERS, 'node_modules/kerberos/package.json'), 'utf8'))
console.log(
  `Node ${process.version}, ${cpus()[0]?.model}, ${cpus().length} cores, load before ${loadavg()[0]?.toFixed(2)}; ${rounds} rounds of ${count} (requests-kerberos: ${count / 4});`,
  `npm kerberos ${kerberos.version}, ${peer('klist', '-V')}, requests-kerberos ${peer('/usr/bin/python3', '-c', 'import requests_kerberos as r; print(r.__version__)')}, ${peer('curl', '-V').split(' ').slice(0, 2).join(' ')}`,
)
await requestRates()
await memory()
importTimes()
