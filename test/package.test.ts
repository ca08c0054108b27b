import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** The tarball as a user gets it: packed, installed with scripts disabled into an empty project, and used from there. */

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
  scripts: Record<string, string>
}

let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-package-'))
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: ROOT, stdio: 'pipe' })
  const [{ filename }] = JSON.parse(packed.toString()) as [{ filename: string }]
  writeFileSync(join(folder, 'package.json'), '{ "name": "scratch", "private": true, "type": "module" }')
  const options = ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', join(folder, filename)]
  await run('npm', options, { cwd: folder })
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function script(text: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', text], { cwd: folder })
  return stdout.trim()
}

describe('the packed tarball', () => {
  test('has no install script', () => {
    expect(Object.keys(manifest.scripts).filter((name) => /^(pre|post)?(install|prepare)$/.test(name))).toEqual([])
  })

  for (const subpath of Object.keys(manifest.exports).filter((name) => name !== './package.json')) {
    test(`spnego${subpath.slice(1)} can be imported, alone`, async () => {
      const name = `spnego${subpath.slice(1)}`
      const count = await script(`console.log(Object.keys(await import(${JSON.stringify(name)})).length)`)
      expect(Number(count)).toBeGreaterThan(0)
    })
  }

  // What an import costs is finding and opening files; of packages it loads none.
  test.each(['spnego', 'spnego/fetch', 'spnego/server', 'spnego/express'])(
    '%s opens a handful of files',
    async (name) => {
      const coverage = mkdtempSync(join(folder, 'coverage-'))
      const env = { ...process.env, NODE_V8_COVERAGE: coverage }
      await run(process.execPath, ['--input-type=module', '-e', `import ${JSON.stringify(name)}`], { cwd: folder, env })
      const scripts = readdirSync(coverage).flatMap(
        (file) => JSON.parse(readFileSync(join(coverage, file), 'utf8')).result as { url: string }[],
      )
      const files = [...new Set(scripts.map(({ url }) => url).filter((url) => /^file:.*\.js$/.test(url)))]
      expect(files.filter((url) => !url.includes('/node_modules/spnego/dist/'))).toEqual([])
      expect(files.length).toBeGreaterThan(1)
      expect(files.length).toBeLessThanOrEqual(16)
    },
  )

  test('its names are the promised ones', async () => {
    const names = await script(`console.log(Object.keys(await import('spnego')).join(' '))`)
    const promised =
      'Principal Keytab CredentialCache Krb5Config Credentials KerberosClient createInitiator createAcceptor KerberosTicket parseChallenges MemoryReplayStore recommendedMaxHeaderSize KerberosError UsageError ConfigError CredentialError KdcError NetworkError MalformedError VerificationError MutualAuthenticationError'
    for (const name of promised.split(' ')) expect(names.split(' ')).toContain(name)
  })

  test('a realm, a server and a client, from the scratch project', async () => {
    const output = await script(`
      import { createServer } from 'node:http'
      import { negotiateFetch, negotiated } from 'spnego/fetch'
      import { createNegotiateServer } from 'spnego/server'
      import { TestRealm } from 'spnego/testing'
      const realm = await TestRealm.start({ users: { alice: 'secret' } })
      const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
      const server = createServer({ maxHeaderSize: 98304 }, async (req, res) => {
        const identity = await guard.handle(req, res)
        if (identity) res.end(identity.principal)
      })
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
      const fetch = negotiateFetch({ credentials: await realm.login('alice'), mutualAuthentication: 'required' })
      const response = await fetch('http://localhost:' + server.address().port + '/')
      console.log(await response.text(), negotiated(response).serverAuthenticated)
      server.close()
      await realm.stop()
    `)
    expect(output).toBe('alice@EXAMPLE.TEST true')
  })

  test('the command spnego', async () => {
    const { stdout } = await run(join(folder, 'node_modules/.bin/spnego'), ['demo'])
    expect(stdout).toMatch(/200 Hello alice@EXAMPLE\.TEST/)
    expect(stdout).toMatch(/verified by \d+ bytes \(AP-REP\)/)
    expect(stdout.split('\n').every((line) => line.length <= 80)).toBe(true)
  })
})
