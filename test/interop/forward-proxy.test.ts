import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, kinit, LAB_SCRIPTS, labFolder, Peer, removeFolder, runBeside } from './lab.ts'

/** The program of examples/forward-proxy between clients that others wrote and pages that ask for no login. */

const PROGRAM = fileURLToPath(new URL('../../examples/forward-proxy/forward-proxy.mjs', import.meta.url))

let base: string
let kdc: Peer
let apache: Peer
let environment: Environment
let child: ChildProcess
let proxy: string
let http: string
let https: string
const chunks: Buffer[] = []
const log = () => Buffer.concat(chunks).toString()
const servers: Server[] = []

beforeAll(async () => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const config = kdc.get('KRB5_CONFIG')
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  // For its certificate, and for a login of the origin beside the proxy's.
  apache = Peer.start('apache', base, '--keytab', keytab, '--krb5-conf', config)
  environment = { KRB5_CONFIG: config, KRB5CCNAME: `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}` }
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
  const page = (name: string) => (_req: unknown, res: { end(text: string): void }) => res.end(`outside over ${name}`)
  const own = (name: string) => readFileSync(join(dirname(apache.get('APACHE_CA')), name))
  const tls = { cert: own('server.pem'), key: own('server.key') }
  http = `http://localhost:${await listen(createServer(page('http')))}`
  const port = await listen(createSecureServer(tls, page('https')))
  https = `https://localhost:${port}`
  const tunnels = [port, Number(new URL(apache.get('APACHE_TLS_URL')).port)].flatMap((one) => ['--tunnel', String(one)])
  child = spawn(process.execPath, [PROGRAM, '--keytab', keytab, '--port', '0', '--loopback', ...tunnels], {
    env: { ...process.env, KRB5_CONFIG: config },
  })
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => void chunks.push(chunk))
  while (!/:(\d+), tunnels/.test(log())) await once(child.stdout as NodeJS.EventEmitter, 'data')
  proxy = `http://localhost:${/:(\d+), tunnels/.exec(log())?.[1]}`
})
afterAll(() => {
  child?.kill()
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  for (const peer of [apache, kdc]) peer?.stop()
  removeFolder(base)
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return (server.address() as AddressInfo).port
}

const curl = async (...args: string[]) => {
  const { stdout } = await runBeside(
    'curl',
    ['-s', '-k', '-w', ' %{http_code} %{http_connect}', '-x', proxy, ...args],
    environment,
  )
  return stdout
}
const LOGIN = ['--proxy-negotiate', '--proxy-user', ':']

describe('[curl] examples/forward-proxy', () => {
  test('who proves nothing stays inside: 407 on http and on CONNECT', async () => {
    expect(await curl(`${http}/`)).toBe('Proxy Authentication Required 407 000')
    expect(await curl(`${https}/`)).toBe(' 000 407')
    const { stdout } = await runBeside('curl', ['-s', '-i', '-x', proxy, `${http}/`], {})
    expect(stdout).toMatch(/^Proxy-Authenticate: Negotiate\r$/m)
    expect(stdout).not.toMatch(/^(WWW-Authenticate|Set-Cookie)/im)
  })

  test('who does goes out, and is written down', async () => {
    expect(await curl(...LOGIN, `${http}/`)).toBe('outside over http 200 000')
    expect(await curl(...LOGIN, `${https}/`)).toBe('outside over https 200 200')
    expect(await curl(...LOGIN, '-d', 'a=b', `${http}/`)).toBe('outside over http 200 000')
    expect(log()).toMatch(/^alice@MIT\.TEST GET http:\/\/localhost:/m)
    expect(log()).toMatch(/^alice@MIT\.TEST CONNECT localhost:/m)
  })

  test('the 200 of CONNECT carries the proxy’s proof', async () => {
    const { stdout } = await runBeside('curl', ['-s', '-k', '-i', '-x', proxy, ...LOGIN, `${https}/`], environment)
    expect(stdout).toMatch(/200 Connection established\r\nProxy-Authenticate: Negotiate oYG/)
  })

  test('MAG-02: the proxy’s login and the origin’s, two tokens in one request', async () => {
    for (const origin of [apache.get('APACHE_URL'), apache.get('APACHE_TLS_URL')]) {
      const text = await curl(...LOGIN, '--negotiate', '-u', ':', `${origin}/spnego/`)
      expect(text).toContain('user=alice@MIT.TEST')
    }
  })

  test('a cross-site mark is the origin’s business, not the proxy’s', async () => {
    const text = await curl(...LOGIN, '-d', 'a=b', '-H', 'Sec-Fetch-Site: cross-site', `${http}/`)
    expect(text).toBe('outside over http 200 000')
  })

  test('no tunnel to another port', async () => {
    const port = new URL(http).port
    expect(await curl(...LOGIN, `https://localhost:${port}/`)).toBe(' 000 403')
  })
})

describe('[Chromium] examples/forward-proxy', () => {
  const visit = (url: string, name: string, ccache = environment['KRB5CCNAME'] ?? '') => {
    const script = [join(LAB_SCRIPTS, 'chromium.sh'), 'visit', join(base, `chromium-${name}`), url, '--proxy', proxy]
    const options = [
      '--krb5-conf',
      environment['KRB5_CONFIG'] ?? '',
      '--ccache',
      ccache,
      '--ca',
      apache.get('APACHE_CA'),
    ]
    return runBeside('bash', [...script, ...options], environment)
  }

  test('http and https go out with a ticket', async () => {
    expect((await visit(`${http}/`, 'http')).stdout).toContain('outside over http')
    expect((await visit(`${https}/`, 'https')).stdout).toContain('outside over https')
  })

  test('and not without', async () => {
    const { stdout } = await visit(`${http}/`, 'no-ticket', 'FILE:/nowhere')
    expect(stdout).not.toContain('outside')
  })
})
