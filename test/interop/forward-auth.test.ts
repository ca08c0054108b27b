import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { negotiated, negotiateFetch } from '../../src/entries/fetch.ts'
import { Credentials, Krb5Config } from '../../src/entries/index.ts'
import { type Environment, kinit, LAB_SCRIPTS, labFolder, Peer, removeFolder, runBeside } from './lab.ts'

/** examples/forward-auth: Debian's nginx serves files, and asks our program about each request. */

const EXAMPLE = fileURLToPath(new URL('../../examples/forward-auth/', import.meta.url))

let base: string
let kdc: Peer
let nginx: Peer
let environment: Environment
let child: ChildProcess
const chunks: Buffer[] = []
const log = () => Buffer.concat(chunks).toString()
let url: string

beforeAll(async () => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const config = kdc.get('KRB5_CONFIG')
  environment = { KRB5_CONFIG: config, KRB5CCNAME: `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}` }
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const env = { ...process.env, SESSION_KEY: Buffer.alloc(32, 7).toString('base64') }
  child = spawn(process.execPath, [join(EXAMPLE, 'forward-auth.mjs'), '--keytab', keytab, '--port', '0'], { env })
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => void chunks.push(chunk))
  while (!/listening on (\d+)/.test(log())) await once(child.stdout as NodeJS.EventEmitter, 'data')
  const port = /listening on (\d+)/.exec(log())?.[1] as string

  const root = join(base, 'www')
  mkdirSync(root)
  writeFileSync(join(root, 'index.html'), 'a page of files\n')
  const site = readFileSync(join(EXAMPLE, 'nginx.conf'), 'utf8')
    .replace('127.0.0.1:8080', '127.0.0.1:@PORT@')
    .replace('/srv/www', root)
    .replace('127.0.0.1:9180', `127.0.0.1:${port}`)
    .replace('auth_request /login;', 'auth_request /login; add_header X-User $user;')
  writeFileSync(join(base, 'site.conf'), site)
  nginx = Peer.start('nginx', base, '--site', join(base, 'site.conf'))
  url = nginx.get('NGINX_URL')
})
afterAll(() => {
  child?.kill()
  for (const peer of [nginx, kdc]) peer?.stop()
  removeFolder(base)
})

const curl = async (...args: string[]) => (await runBeside('curl', ['-s', ...args], environment)).stdout
const STATUS = ['-o', '/dev/null', '-w', '%{http_code}']
const LOGIN = ['--negotiate', '-u', ':']

describe('[nginx] examples/forward-auth', () => {
  test('a static site gets a login: 401 with the challenge, then the file, the user and the proof', async () => {
    expect(await curl('-i', `${url}/`)).toMatch(/^HTTP\/1\.1 401 [\s\S]*^WWW-Authenticate: Negotiate\r$/m)
    const page = await curl('-i', ...LOGIN, `${url}/`)
    expect(page).toMatch(/a page of files\n$/)
    expect(page).toMatch(/^X-User: alice@MIT\.TEST\r$/m)
    expect(page).toMatch(/^WWW-Authenticate: Negotiate oYG/m)
    expect(page).toMatch(/^Cache-Control: private\r$/m) // it carries the cookie
  })

  test('our own client verifies the proof that nginx hands on', async () => {
    const cache = environment['KRB5CCNAME'] as string
    const config = await Krb5Config.load(environment['KRB5_CONFIG'])
    const fetch = negotiateFetch({
      credentials: Credentials.fromCache(cache),
      config,
      mutualAuthentication: 'required',
    })
    const response = await fetch(`${url}/`)
    expect([response.status, negotiated(response)?.serverAuthenticated]).toEqual([200, true])
  })

  test('then the session: no ticket, and it is set once', async () => {
    const jar = join(base, 'jar')
    await curl(...LOGIN, '-c', jar, `${url}/`)
    const page = await curl('-i', '-b', jar, `${url}/`)
    expect(page).toMatch(/^X-User: alice@MIT\.TEST\r$/m)
    expect(page).not.toMatch(/^(Set-Cookie|WWW-Authenticate):/m)
    expect(await curl(...STATUS, '-H', 'Cookie: spnego=x', `${url}/`)).toBe('401')
  })

  test('S84: nginx asks with a GET, and what it asks about counts', async () => {
    const jar = join(base, 'jar2')
    await curl(...LOGIN, '-c', jar, `${url}/`)
    for (const login of [LOGIN, ['-b', jar]]) {
      const post = [...STATUS, ...login, '-d', 'a=b']
      expect(await curl(...post, '-H', 'Sec-Fetch-Site: cross-site', `${url}/`)).toBe('403')
      expect(await curl(...post, '-H', 'Origin: http://evil.test', `${url}/`)).toBe('403')
      expect(await curl(...post, '-H', 'Sec-Fetch-Site: same-origin', `${url}/`)).toBe('405') // let through, to files
      expect(await curl(...post, '-H', `Origin: ${url}`, `${url}/`)).toBe('405')
    }
    const upgrade = ['-H', 'Upgrade: websocket', '-H', 'Connection: Upgrade', '-H', 'Origin: http://evil.test']
    expect(await curl(...STATUS, ...LOGIN, ...upgrade, `${url}/`)).toBe('403')
  })

  test('what a client writes into the fields of nginx is not heard', async () => {
    const forged = ['X-Forwarded-Method: GET', 'X-Forwarded-Host: evil.test', 'X-Forwarded-Uri: /', 'Remote-User: root']
    const fields = forged.flatMap((field) => ['-H', field])
    const post = [...STATUS, ...LOGIN, '-d', 'a=b', '-H', 'Origin: http://evil.test', ...fields]
    expect(await curl(...post, `${url}/`)).toBe('403')
    expect(await curl('-i', ...LOGIN, ...fields, `${url}/`)).toMatch(/^X-User: alice@MIT\.TEST\r$/m)
  })

  test('a token that was used is 401, and a file that is not there needs a login too', async () => {
    expect(await curl(...STATUS, `${url}/nothing`)).toBe('401')
    expect(await curl(...STATUS, ...LOGIN, `${url}/nothing`)).toBe('404')
    const verbose = await runBeside('curl', ['-s', '-v', ...LOGIN, `${url}/`], environment)
    const token = /^> (Authorization: Negotiate \S+)/m.exec(verbose.stderr)?.[1] as string
    expect(await curl(...STATUS, '-H', token, `${url}/`)).toBe('401')
  })

  test('Chromium sees the page', async () => {
    const script = [join(LAB_SCRIPTS, 'chromium.sh'), 'visit', join(base, 'chromium'), `${url}/`]
    const options = ['--krb5-conf', environment['KRB5_CONFIG'] ?? '', '--ccache', environment['KRB5CCNAME'] ?? '']
    const { stdout } = await runBeside('bash', [...script, ...options], environment)
    expect(stdout).toContain('a page of files')
  })
})
