import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KerberosTicket } from '../../src/entries/index.ts'
import { World } from '../unit/http-client/site.ts'

/** The program of examples/forward-proxy, from the built package: what it does not let out. */

const PROGRAM = fileURLToPath(new URL('../../examples/forward-proxy/forward-proxy.mjs', import.meta.url))

let world: World
let child: ChildProcess
let port: number
let said = ''

beforeAll(async () => {
  world = await World.start()
  const { KRB5_KTNAME = '' } = world.realm.environment
  child = spawn(process.execPath, [PROGRAM, '--keytab', KRB5_KTNAME, '--port', '0'])
  child.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  while (!/:(\d+), tunnels/.test(said)) await once(child.stdout as NodeJS.EventEmitter, 'data')
  port = Number(/:(\d+), tunnels/.exec(said)?.[1])
})
afterAll(async () => {
  child?.kill()
  await world?.[Symbol.asyncDispose]()
})

/** What comes back for a request with a fresh login. */
async function ask(line: string, login = true): Promise<string> {
  const options = { credentials: world.alice, config: world.realm.config }
  const ticket = login ? (await KerberosTicket.for('HTTP@localhost', options)).authorization : undefined
  const field = ticket === undefined ? '' : `Proxy-Authorization: ${ticket}\r\n`
  const socket = connect(port, '127.0.0.1')
  socket.write(`${line} HTTP/1.1\r\nHost: x\r\n${field}Connection: close\r\n\r\n`)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

describe('examples/forward-proxy', () => {
  test.each(['GET http://example.com/', 'CONNECT example.com:443'])('%s without a login: 407', async (line) => {
    const text = await ask(line, false)
    expect(text).toMatch(/^HTTP\/1\.1 407 Proxy Authentication Required\r\n/)
    expect(text).toMatch(/^Proxy-Authenticate: Negotiate\r$/im)
  })

  test.each<[string, RegExp]>([
    ['GET http://localhost:22/', /^HTTP\/1\.1 403 [\s\S]*localhost is not outside/],
    ['GET http://127.0.0.1/', /^HTTP\/1\.1 403 /],
    ['GET http://[::1]/', /^HTTP\/1\.1 403 /],
    ['GET http://[::ffff:127.0.0.1]/', /^HTTP\/1\.1 403 /],
    ['GET http://169.254.169.254/latest/meta-data/', /^HTTP\/1\.1 403 /],
    ['GET http://0.0.0.0/', /^HTTP\/1\.1 403 /],
    ['CONNECT localhost:443', /^HTTP\/1\.1 403 /],
    ['CONNECT [::1]:443', /^HTTP\/1\.1 403 /],
    ['CONNECT example.com:25', /^HTTP\/1\.1 403 [\s\S]*No tunnels to port 25/],
    ['CONNECT example.com', /^HTTP\/1\.1 403 /],
    ['GET /path', /^HTTP\/1\.1 400 /],
    ['GET ftp://example.com/', /^HTTP\/1\.1 400 /],
  ])('%s goes nowhere', async (line, answer) => {
    expect(await ask(line)).toMatch(answer)
  })

  test('a wrong option is named, with the usage', () => {
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, '--keytap', 'x'], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([2, expect.stringMatching(/--keytap[\s\S]*usage: forward-proxy/)])
  })
})
