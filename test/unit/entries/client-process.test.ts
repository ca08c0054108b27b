import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { negotiateFetch } from '../../../src/entries/fetch.ts'
import { Credentials, Krb5Config } from '../../../src/entries/index.ts'
import { build } from '../../build.ts'
import { eventually, PASSWORD, Site, World } from '../http-client/site.ts'

/** What a long life and many requests leave behind. */

let world: World
let built: string
beforeAll(async () => {
  world = await World.start()
  built = await build()
})
afterAll(async () => {
  await rm(built, { recursive: true, force: true })
  await world[Symbol.asyncDispose]()
})

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('client-child.mjs', import.meta.url))

describe('1 000 requests, 64 at once', () => {
  test('A30: a token each, one ticket for all, a bounded number of connections', async () => {
    await using site = await Site.start(world.honest())
    await using kdc = await countingProxy(world.realm.port)
    const text = [
      '[libdefaults]',
      'default_realm = EXAMPLE.TEST',
      'udp_preference_limit = 1',
      '[realms]',
      'EXAMPLE.TEST = {',
      `  kdc = tcp/127.0.0.1:${kdc.port}`,
      '}',
    ].join('\n')
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', PASSWORD, Krb5Config.parse(text))
    const fetch = negotiateFetch({ credentials, preemptive: true })
    let left = 1000
    const worker = async () => {
      while (left-- > 0) expect(await (await fetch(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    }
    await Promise.all(Array.from({ length: 64 }, worker))
    expect(site.seen.length).toBe(1000)
    expect(new Set(site.tokens).size).toBe(1000)
    // AS-REQ, the same with pre-authentication, TGS-REQ
    expect(kdc.connections()).toBeLessThanOrEqual(3)
    expect(site.connections).toBeLessThanOrEqual(128)
  })
})

/** Counts how often the KDC is asked. */
async function countingProxy(port: number) {
  let count = 0
  const server = createServer((client) => {
    count++
    const upstream = connect(port, '127.0.0.1')
    client.pipe(upstream).pipe(client)
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    connections: () => count,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}

describe('a process of its own', () => {
  test('A30: ends by itself after a login, an abandoned body and a failed login', async () => {
    await using site = await Site.start(world.honest())
    const { stdout, stderr } = await child('exit', site.url)
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({ status: 200, serverAuthenticated: true, principal: 'alice@EXAMPLE.TEST' })
  })

  test.each(['axios', 'got', 'undici', 'agent'])('A30: ends by itself, too, after %s', async (name) => {
    await using site = await Site.start(world.honest())
    const { stdout, stderr } = await child(name, site.url)
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual([...Array(3).fill('alice@EXAMPLE.TEST'), 'who are you?'])
  })

  test('C13: the signal still ends the body when everything else was collected', async () => {
    let closed = false
    await using site = await Site.start(async ({ token }, _, out) => {
      if (token === undefined) return { status: 401, headers: { 'www-authenticate': 'Negotiate' } }
      const { answer } = await world.accept(token)
      out.on('close', () => {
        closed = true
      })
      out.writeHead(200, { 'www-authenticate': `Negotiate ${answer}` }).write('wait')
      return undefined
    })
    const { stdout } = await child('collected', site.url)
    expect(stdout).toContain('AbortError')
    await eventually(() => closed)
    expect(closed).toBe(true)
  })
})

function child(what: string, url: string) {
  const name = `FILE:${join(built, 'cc')}`
  const env = { ...process.env, ...world.realm.environment, KRB5CCNAME: name, BUILT: built, WHAT: what, SITE: url }
  return world.alice.save(name).then(() => run(process.execPath, ['--expose-gc', CHILD], { env, timeout: 10_000 }))
}
