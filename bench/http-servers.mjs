// Servers behind a login, a fresh token for each request, at 1, 16 and 64 connections: interleaved rounds of one run. What a login adds is the
// difference to the same server without one.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { load, median, nodeServer, ratioOf, report, spread, work } from './lib.mjs'

const rounds = Number(process.env.ROUNDS ?? 5)
const count = Number(process.env.TOKENS ?? 4000)
const MOST = 64

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
ThreadsPerChild ${MOST}
MaxRequestWorkers ${MOST}
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
  return { port, pids: [child.pid, ...children].join(), end: () => child.kill() }
}

/** With `cookies` a connection sends its first token and then the cookie that it got. */
/** Name, whether its clients keep cookies, what it is without a login, and how it starts. */
const servers = [
  ['node:http, open', false, undefined, () => nodeServer('open')],
  ['node:http', false, 'node:http, open', () => nodeServer('negotiate')],
  ['node:http, sessions', true, 'node:http, open', () => nodeServer('sessions')],
  ['Express, open', false, undefined, () => nodeServer('express-open')],
  ['Express', false, 'Express, open', () => nodeServer('express')],
  ['Fastify, open', false, undefined, () => nodeServer('fastify-open')],
  ['Fastify', false, 'Fastify, open', () => nodeServer('fastify')],
  ['npm kerberos on node:http', false, 'node:http, open', () => nodeServer('npm')],
  ['Apache mod_auth_gssapi', false, undefined, () => apache(false)],
  ['Apache, sessions', true, undefined, () => apache(true)],
]

const running = new Map()
for (const [name, cookies, open, start] of servers) running.set(name, { cookies, open, ...(await start()) })

async function measured(connections) {
  const samples = new Map([...running.keys()].map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const [name, { port, pids, cookies, delay }] of running) {
      const sample = load({ port, pids, connections, count, cookies })
      const { p99 } = (await delay?.()) ?? {}
      if (round > 0) samples.get(name).push({ ...sample, late: p99 }) // the first one warms
    }
  }
  const of = (name, what) => samples.get(name).map((sample) => sample[what])
  const added = (name) => of(name, 'cpu').map((cpu, i) => cpu - of(running.get(name).open, 'cpu')[i])
  const ours = 'node:http'
  const peer = 'npm kerberos on node:http'
  return [...running].map(([name, { open }]) => ({
    [`${connections} connections`]: name,
    'requests/s to npm kerberos': ratioOf(of(name, 'rate'), of(peer, 'rate')).toFixed(2),
    'added CPU to npm kerberos': open === undefined ? '' : ratioOf(added(name), added(peer)).toFixed(2),
    'node:http to it, requests/s': ratioOf(of(ours, 'rate'), of(name, 'rate')).toFixed(2),
    'requests/s': `${median(of(name, 'rate')).toFixed(0)} (${spread(of(name, 'rate'))})`,
    'p50, ms': median(of(name, 'p50')).toFixed(1),
    'p99, ms': median(of(name, 'p99')).toFixed(1),
    'CPU a request, µs': median(of(name, 'cpu')).toFixed(0),
    'of which a login, µs': open === undefined ? '' : median(added(name)).toFixed(0),
    'event loop p99, ms': of(name, 'late')[0] === undefined ? '' : median(of(name, 'late')).toFixed(1),
  }))
}

const note = `${rounds} rounds of ${count} requests after one, the load generator on the same cores; npm kerberos as its examples have it, Apache with ${MOST} threads of one process`
for (const connections of (process.env.CONNECTIONS ?? '1,16,64').split(',').map(Number)) {
  report(`servers, ${connections}`, note, await measured(connections))
}
for (const { end } of running.values()) end()
