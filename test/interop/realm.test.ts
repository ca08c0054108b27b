import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials, createAcceptor, KerberosClient } from '../../src/entries/index.ts'
import { createNegotiateServer } from '../../src/entries/server.ts'
import { TestRealm } from '../../src/entries/testing.ts'
import { LAB_SCRIPTS, labFolder, type Outcome, removeFolder, runBeside } from './lab.ts'

let base: string

beforeAll(() => {
  base = labFolder()
})

afterAll(() => removeFolder(base))

async function kinit(realm: TestRealm, user: string, password: string, ...options: string[]): Promise<Outcome> {
  const command = `printf '%s\\n' "$PASSWORD" | kinit ${options.join(' ')} ${user}`
  return runBeside('sh', ['-c', command], { ...realm.environment, PASSWORD: password })
}

const NAMES = [
  [17, 'aes128-cts-hmac-sha1-96'],
  [18, 'aes256-cts-hmac-sha1-96'],
  [19, 'aes128-cts-hmac-sha256-128'],
  [20, 'aes256-cts-hmac-sha384-192'],
] as const

describe('[MIT clients] in the embedded realm', () => {
  for (const [enctype, name] of NAMES) {
    test(`kinit, kvno, klist and curl with ${name}`, async () => {
      await using realm = await TestRealm.start({ users: { alice: 'secret' }, enctypes: [enctype] })
      expect(await kinit(realm, 'alice', 'secret')).toMatchObject({ status: 0 })
      const kvno = await runBeside('kvno', ['HTTP/localhost'], realm.environment)
      expect(kvno.stdout).toContain('HTTP/localhost@EXAMPLE.TEST: kvno = 1')
      const klist = await runBeside('klist', ['-e'], realm.environment)
      expect(klist.stdout).toContain(`Etype (skey, tkt): ${name}, ${name}`)

      const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
      const server = createServer(
        (req, res) => void guard.handle(req, res).then((who) => who && res.end(who.principal)),
      )
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const url = `http://localhost:${(server.address() as AddressInfo).port}/`
      const curl = await runBeside('curl', ['-sS', '--negotiate', '-u', ':', url], realm.environment)
      expect(curl.stdout).toBe('alice@EXAMPLE.TEST')
      server.close()
    })
  }

  test('forwardable and renewable tickets, and kinit -R', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    expect(await kinit(realm, 'alice', 'secret', '-f', '-r', '2d')).toMatchObject({ status: 0 })
    expect((await runBeside('klist', ['-f'], realm.environment)).stdout).toMatch(/Flags: F.*R.*I/)
    expect(await runBeside('kinit', ['-R'], realm.environment)).toMatchObject({ status: 0 })
    expect(await runBeside('kvno', ['HTTP/localhost'], realm.environment)).toMatchObject({ status: 0 })
  })

  test('kpasswd changes a password at it, and says why when it may not', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    const kpasswd = (...lines: string[]) =>
      runBeside('sh', ['-c', 'printf "%s\\n" $LINES | kpasswd alice'], { ...realm.environment, LINES: lines.join(' ') })
    expect(await kpasswd('secret', 'abc', 'abc')).toMatchObject({
      status: 2,
      stdout: expect.stringContaining('fewer than 4 characters'),
    })
    expect(await kpasswd('secret', 'another', 'another')).toMatchObject({ status: 0 })
    expect(await kinit(realm, 'alice', 'another')).toMatchObject({ status: 0 })
    expect((await kinit(realm, 'alice', 'secret')).status).toBe(1)
  })

  test('kinit with an expired password asks for a new one', async () => {
    await using realm = await TestRealm.start({ users: { alice: { password: 'secret', passwordExpired: true } } })
    const kinitWith = (...lines: string[]) =>
      runBeside('sh', ['-c', 'printf "%s\\n" $LINES | kinit alice'], { ...realm.environment, LINES: lines.join(' ') })
    expect((await kinitWith('secret', 'another', 'another')).stdout).toContain('Password expired')
    expect(await kinit(realm, 'alice', 'another')).toMatchObject({ status: 0 })
  })

  test('K28 a clock an hour ahead: kinit notes it in the cache for us, and we in ours for kvno', async () => {
    await using realm = await TestRealm.start({
      users: { alice: 'secret' },
      clock: { now: () => Date.now() + 3_600_000 },
    })
    expect(await kinit(realm, 'alice', 'secret')).toMatchObject({ status: 0 })
    const name = realm.environment.KRB5CCNAME
    const theirs = new KerberosClient({ credentials: Credentials.fromCache(name), config: realm.config })
    expect(`${(await theirs.getTicket('HTTP/localhost')).server}`).toBe('HTTP/localhost@EXAMPLE.TEST')
    await runBeside('kdestroy', [], realm.environment)
    const own = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config) // by this machine's clock
    await own.save(name)
    expect(await runBeside('kvno', ['HTTP/localhost'], realm.environment)).toMatchObject({ status: 0 })
  })

  for (const [enctype] of NAMES) {
    test(`curl --delegation always forwards a login of enctype ${enctype} to us, and ours is kvno's`, async () => {
      await using realm = await TestRealm.start({ users: { alice: 'secret' }, enctypes: [enctype] })
      await kinit(realm, 'alice', 'secret', '-f')
      const acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost'), delegation: true })
      const saved = `FILE:${join(base, `forwarded-${enctype}`)}`
      const server = createServer(async (req, res) => {
        const token = /^Negotiate (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? ''
        const context = acceptor.createContext()
        await context.step(Buffer.from(token, 'base64'))
        await context.delegated?.save(saved)
        res.end(String(context.peer))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const url = `http://localhost:${(server.address() as AddressInfo).port}/`
      const options = ['-sS', '--negotiate', '-u', ':', '--delegation', 'always', url]
      expect((await runBeside('curl', options, realm.environment)).stdout).toBe('alice@EXAMPLE.TEST')
      server.close()
      const environment = { ...realm.environment, KRB5CCNAME: saved }
      expect(await runBeside('kvno', ['HTTP/localhost'], environment)).toMatchObject({ status: 0 })
    })
  }

  test('a wrong password and an unknown user are told apart', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    expect((await kinit(realm, 'alice', 'wrong')).stderr).toContain('Password incorrect')
    expect((await kinit(realm, 'mallory', 'x')).stderr).toContain('not found in Kerberos database')
  })

  test('a cache that we save is theirs to use', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    const credentials: Credentials = await realm.login('alice')
    await credentials.save(realm.environment.KRB5CCNAME)
    expect(await runBeside('kvno', ['HTTP/localhost'], realm.environment)).toMatchObject({ status: 0 })
  })
})

/** `spnego demo --serve`, from the built package, and the export lines it prints. */
async function demoServe(): Promise<{ url: string; environment: Record<string, string>; process: ChildProcess }> {
  const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
  const child = spawn(process.execPath, [main, 'demo', '--serve'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of child.stdout) {
    text += chunk
    if (text.includes('Ctrl-C')) break
  }
  const exports = [...text.matchAll(/export (\w+)=(\S+)/g)].map(([, name, value]) => [name, value] as [string, string])
  return { url: /http:\S+/.exec(text)?.[0] ?? '', environment: Object.fromEntries(exports), process: child }
}

describe('[Chromium] spnego demo --serve', () => {
  test('greets the user by name', async () => {
    const demo = await demoServe()
    try {
      const { environment, url } = demo
      const login = await runBeside('sh', ['-c', 'echo secret | kinit alice'], environment)
      expect(login).toMatchObject({ status: 0 })
      const png = join(base, 'demo.png')
      const visit = [join(LAB_SCRIPTS, 'chromium.sh'), 'visit', join(base, 'chromium'), url, '--png', png]
      const options = ['--krb5-conf', environment['KRB5_CONFIG'] ?? '', '--ccache', environment['KRB5CCNAME'] ?? '']
      const { stdout, stderr } = await runBeside('bash', [...visit, ...options], environment)
      expect(stdout, stderr).toContain('Hello <b>alice@EXAMPLE.TEST</b>')
      expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG')
      expect(statSync(png).size).toBeGreaterThan(5000)
    } finally {
      demo.process.kill('SIGINT')
    }
    await new Promise((resolve) => demo.process.once('exit', resolve))
    expect(existsSync(demo.environment['KRB5_CONFIG'] ?? '')).toBe(false)
  })

  test('without a ticket it is refused', async () => {
    const demo = await demoServe()
    try {
      const visit = [join(LAB_SCRIPTS, 'chromium.sh'), 'visit', join(base, 'chromium-2'), demo.url]
      const options = ['--krb5-conf', demo.environment['KRB5_CONFIG'] ?? '', '--ccache', 'FILE:/nonexistent']
      const { stdout } = await runBeside('bash', [...visit, ...options], demo.environment)
      expect(stdout).toContain('You are not logged in to')
      expect(stdout).not.toContain('Hello')
    } finally {
      demo.process.kill('SIGINT')
    }
  })
})
