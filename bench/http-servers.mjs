// Servers behind a login, a fresh token for each request, 64 connections: interleaved rounds of one run. What a login adds is the difference to the
// same server without one.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'

const rounds = Number(process.env.ROUNDS ?? 5)
const count = Number(process.env.TOKENS ?? 4000)
const connections = Number(process.env.CONNECTIONS ?? 64)
const work = process.env.BENCH_WORK

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
const spread = (values) => `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)}`

async function node(mode) {
  const script = new URL('http-server.mjs', import.meta.url).pathname
  const child = spawn(process.execPath, [script, mode], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))))
  const delays = []
  return {
    port,
    pids: String(child.pid),
    async rested() {
      const { delayMs } = await (await fetch(`http://127.0.0.1:${port}/counts`)).json()
      delays.push(delayMs)
    },
    delay: () =>
      `${median(delays.map(({ p50 }) => p50)).toFixed(1)} / ${median(delays.map(({ p99 }) => p99)).toFixed(1)}`,
    end: () => child.kill(),
  }
}

/** Apache with mod_auth_gssapi, one process with threads for all connections; of a login it keeps nothing, or all in a sealed cookie. */
async function apache(sessions) {
  const folder = join(work, sessions ? 'apache-sessions' : 'apache')
  mkdirSync(join(folder, 'htdocs'), { recursive: true })
  writeFileSync(join(folder, 'htdocs', 'index.html'), 'hello alice@PERF.TEST\n')
  const port = Number(
    execFileSync(process.execPath, [
      '-e',
      "const s=require('net').createServer().listen(0,'127.0.0.1',()=>{console.log(s.address().port);s.close()})",
    ]),
  )
  const modules = '/usr/lib/apache2/modules'
  const own = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'dir', 'auth_gssapi']
  const load = [...own, ...(sessions ? ['session', 'session_cookie'] : [])].map(
    (name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`,
  )
  writeFileSync(
    join(folder, 'httpd.conf'),
    `ServerRoot ${folder}
ServerName localhost
PidFile ${folder}/pid
DefaultRuntimeDir ${folder}
Listen 127.0.0.1:${port}
${load.join('\n')}
User www-data
Group www-data
DocumentRoot ${folder}/htdocs
DirectoryIndex index.html
StartServers 1
ServerLimit 1
ThreadsPerChild ${connections}
MaxRequestWorkers ${connections}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
LimitRequestFieldSize 65536
ErrorLog ${folder}/error.log
Mutex file:${folder}
<Location />
  AuthType GSSAPI
  AuthName "bench"
  GssapiCredStore keytab:${work}/http.keytab
  ${sessions ? 'GssapiUseSessions On\n  Session On\n  SessionCookieName gssapi_session path=/;httponly' : ''}
  Require valid-user
</Location>
`,
  )
  execFileSync('bash', [
    '-c',
    `chmod 755 ${work} ${folder} ${folder}/htdocs; chmod 644 ${folder}/htdocs/index.html; chown www-data ${folder}; chgrp www-data ${work}/http.keytab; chmod 640 ${work}/http.keytab`,
  ])
  const child = spawn('apache2', ['-DFOREGROUND', '-f', join(folder, 'httpd.conf')], { stdio: 'ignore' })
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const children = execFileSync('pgrep', ['-P', String(child.pid)])
    .toString()
    .trim()
    .split('\n')
  return { port, pids: [child.pid, ...children].join(), async rested() {}, delay: () => '–', end: () => child.kill() }
}

/** With `cookies` a connection sends its first token and then the cookie that it got. */
const rows = [
  ['node:http, open', false, () => node('open')],
  ['node:http', false, () => node('negotiate')],
  ['node:http, sessions', true, () => node('sessions')],
  ['Express, open', false, () => node('express-open')],
  ['Express', false, () => node('express')],
  ['Fastify, open', false, () => node('fastify-open')],
  ['Fastify', false, () => node('fastify')],
  ['npm kerberos on node:http', false, () => node('npm')],
  ['Apache mod_auth_gssapi', false, () => apache(false)],
  ['Apache, sessions', true, () => apache(true)],
]

const running = []
for (const [name, cookies, start] of rows) {
  running.push({ name, cookies, ...(await start()), rates: [], p99: [], cpu: [] })
}

/** @returns requests/s, p99 in ms, CPU in µs a request; refuses anything but 200. */
function load(one) {
  const file = join(work, 'tokens')
  const tokens = execFileSync(join(work, 'gssbench'), ['gen', '-n', String(count), '-M', '-t', 'HTTP/localhost'], {
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  writeFileSync(file, tokens)
  const args = [
    '-a',
    `127.0.0.1:${one.port}`,
    '-c',
    String(connections),
    '-n',
    String(count),
    '-t',
    file,
    '-H',
    'localhost',
    '-p',
    one.pids,
    ...(one.cookies ? ['-C'] : []),
  ]
  const out = execFileSync(join(work, 'loadgen'), args).toString()
  return out
}

for (let round = 0; round <= rounds; round++) {
  for (const one of running) {
    const out = load(one)
    const number = (pattern) => Number(pattern.exec(out)?.[1])
    if (!out.trim().endsWith(` 200:${count}`)) throw new Error(`${one.name}: ${out}`)
    await one.rested()
    if (round === 0) continue // warms
    one.rates.push(number(/rps ([\d.]+)/))
    one.p99.push(number(/p99_us ([\d.]+)/) / 1000)
    one.cpu.push(number(/cpu_us_per_req ([\d.]+)/))
  }
}
for (const one of running) one.end()

console.log(
  `Node ${process.version}, ${cpus()[0].model}, ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}; ${rounds} rounds of ${count}, ${connections} connections:`,
)
const ours = running.find(({ name }) => name === 'node:http')
for (const { name, rates, p99, cpu, delay } of running) {
  const ratio = median(ours.rates.map((rate, i) => rate / rates[i]))
  console.log(
    `${name.padEnd(28)} ${median(rates).toFixed(0).padStart(6)} requests/s (${spread(rates)})   p99 ${median(p99).toFixed(1)} ms   CPU ${median(cpu).toFixed(0)} µs   event loop p50 / p99 ${delay()} ms   node:http here is ${ratio.toFixed(2)} of it`,
  )
}
