import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, kinit, labFolder, Peer, removeFolder, runBeside } from './lab.ts'

/** The program of examples/login-proxy between curl, which gives no login, and Apache, which wants one; also with Squid in between. */

const PROGRAM = fileURLToPath(new URL('../../examples/login-proxy/login-proxy.mjs', import.meta.url))

let base: string
let kdc: Peer
let apache: Peer
let squid: Peer
let environment: Environment
const children: ChildProcess[] = []

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const file = kdc.get('KRB5_CONFIG')
  const keytabs = kdc.get('MIT_KEYTABS')
  apache = Peer.start('apache', base, '--keytab', join(keytabs, 'http.keytab'), '--krb5-conf', file)
  squid = Peer.start('squid', base, '--keytab', join(keytabs, 'proxy.keytab'), '--krb5-conf', file)
  environment = { KRB5_CONFIG: file, KRB5CCNAME: `FILE:${join(base, 'cc')}` }
  expect(kinit(environment, 'alice@MIT.TEST', 'alice-pw').status).toBe(0)
})
afterAll(() => {
  for (const child of children) child.kill()
  for (const peer of [squid, apache, kdc]) peer?.stop()
  removeFolder(base)
})

/** Starts the program; its URL. */
async function start(...args: string[]): Promise<string> {
  const env = { ...process.env, ...environment, NODE_EXTRA_CA_CERTS: apache.get('APACHE_CA') }
  const child = spawn(process.execPath, [PROGRAM, '--port', '0', ...args], { env })
  children.push(child)
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return /http:\/\/localhost:\d+/.exec(String(line))?.[0] ?? ''
}

async function curl(proxy: string, ...args: string[]): Promise<string> {
  const { stdout } = await runBeside('curl', ['-s', '-w', ' %{http_code}', '-x', proxy, ...args], {})
  return stdout
}

describe('[curl] examples/login-proxy', () => {
  test('http to http, and to https with what is listed so', async () => {
    const proxy = await start('--allow', apache.get('APACHE_URL'), '--allow', apache.get('APACHE_TLS_URL'))
    const http = await curl(proxy, `${apache.get('APACHE_URL')}/spnego/`)
    expect(http).toContain('user=alice@MIT.TEST')
    const https = await curl(proxy, `${apache.get('APACHE_TLS_URL').replace('https:', 'http:')}/spnego/`)
    expect(https).toContain('user=alice@MIT.TEST')
    expect(await curl(proxy, '-d', 'a=b', `${apache.get('APACHE_URL')}/spnego/`)).toMatch(/ 200$/)
    expect(await curl(proxy, `${squid.get('SQUID_URL')}/`)).toMatch(/is not allowed here.* 403$/s)
    expect(await curl(proxy, `${apache.get('APACHE_TLS_URL')}/`)).toBe(' 000') // no tunnel
  })

  test('with Squid in between, which wants a login of its own', async () => {
    const origin = apache.get('APACHE_TLS_URL')
    const proxy = await start('--allow', origin, '--proxy', squid.get('SQUID_URL'))
    expect(await curl(proxy, `${origin.replace('https:', 'http:')}/spnego/`)).toContain('user=alice@MIT.TEST')
  })
})
