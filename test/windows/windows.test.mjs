// What differs on Windows: paths, owners and modes of files. Runs against dist/, by Node's own test runner: vitest does not load under Wine.
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'

const entry = (name) => import(new URL(`../../dist/entries/${name}.js`, import.meta.url))
const { CredentialCache, Credentials, createAcceptor, KerberosClient, Keytab, Krb5Config } = await entry('index')
const { negotiated, negotiateFetch } = await entry('fetch')
const { createNegotiateServer } = await entry('server')
const { TestRealm } = await entry('testing')

const folder = mkdtempSync(join(tmpdir(), 'spnego-windows-'))
const at = (...names) => join(folder, ...names)
const warnings = []
let realm

before(async () => {
  process.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`))
  realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/localhost', 'HTTP/web'] })
})
beforeEach(() => {
  for (const name of ['KRB5CCNAME', 'KRB5_CONFIG', 'KRB5_KTNAME', 'KRB5_CLIENT_KTNAME']) delete process.env[name]
  warnings.length = 0
})
after(async () => {
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

const alice = () => Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret', { config: realm.config })
const servers = async (name) => (await CredentialCache.load(name)).tickets.map(({ server }) => `${server}`)

test('this is Windows, where files have no owner and every mode is made up', () => {
  assert.equal(process.platform, 'win32')
  assert.equal(process.getuid, undefined)
})

for (const [type, name] of [
  ['FILE', `FILE:${at('cc')}`],
  ['a bare path', at('bare')],
  ['DIR', `DIR:${at('collection')}`],
]) {
  test(`F33 a cache (${type}): written, replaced, added to, listed, destroyed`, async () => {
    await alice().save(name)
    await alice().save(name)
    assert.deepEqual(await servers(name), ['krbtgt/EXAMPLE.TEST@EXAMPLE.TEST'])
    const client = new KerberosClient({ credentials: Credentials.fromCache(name), config: realm.config })
    await client.getTicket('HTTP/web')
    assert.deepEqual(await servers(name), ['krbtgt/EXAMPLE.TEST@EXAMPLE.TEST', 'HTTP/web@EXAMPLE.TEST'])
    assert.equal(await CredentialCache.destroy(name), true)
    assert.deepEqual(
      readdirSync(folder).filter((one) => one.endsWith('.krb5cc')),
      [],
    )
  })
}

test('F30 a cache with the attribute read-only gets no ticket, and serves', async () => {
  const path = at('read-only')
  await alice().save(path)
  chmodSync(path, 0o400)
  const before = readFileSync(path)
  const client = new KerberosClient({ credentials: Credentials.fromCache(path), config: realm.config })
  await client.getTicket('HTTP/web')
  assert.deepEqual(readFileSync(path), before)
  chmodSync(path, 0o600)
})

test('F33 a keytab is not called exposed', async () => {
  writeFileSync(at('http.keytab'), realm.keytab('HTTP/localhost').toBytes())
  await createAcceptor({ keytab: at('http.keytab') })
  await Keytab.load(at('http.keytab'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(warnings, [])
})

test('F33 the default cache lies in the home folder of the user', async () => {
  const name = CredentialCache.nameOf()
  assert.equal(name, `FILE:${join(homedir(), `krb5cc_${userInfo().username}`)}`)
  await alice().save(name)
  assert.deepEqual(await servers(), ['krbtgt/EXAMPLE.TEST@EXAMPLE.TEST'])
  assert.equal(await CredentialCache.destroy(), true)
  assert.equal(existsSync(name.slice(5)), false)
})

test('F33 KRB5_CONFIG is a list between semicolons, since drives have colons', async () => {
  writeFileSync(at('a.ini'), '[libdefaults]\r\n default_realm = A.TEST\r\n')
  writeFileSync(at('b.ini'), '[libdefaults]\r\n default_realm = B.TEST\r\n forwardable = true\r\n')
  process.env.KRB5_CONFIG = `${at('none.ini')};${at('a.ini')};${at('b.ini')}`
  const config = await Krb5Config.load()
  assert.deepEqual([config.defaultRealm, config.forwardable], ['A.TEST', true])
})

test('F33 without KRB5_CONFIG: krb5.ini of ProgramData, else of the Windows folder', async () => {
  const { ProgramData, windir } = process.env
  try {
    process.env.ProgramData = at('data')
    process.env.windir = at('windows')
    assert.equal((await Krb5Config.load()).defaultRealm, undefined)
    mkdirSync(at('windows'))
    writeFileSync(at('windows', 'krb5.ini'), '[libdefaults]\n default_realm = JAVA.TEST\n')
    assert.equal((await Krb5Config.load()).defaultRealm, 'JAVA.TEST')
    mkdirSync(at('data', 'MIT', 'Kerberos5'), { recursive: true })
    writeFileSync(at('data', 'MIT', 'Kerberos5', 'krb5.ini'), '[libdefaults]\n default_realm = MIT.TEST\n')
    assert.equal((await Krb5Config.load()).defaultRealm, 'MIT.TEST')
  } finally {
    Object.assign(process.env, { ProgramData, windir })
  }
})

test('F33 a name in krb5.ini: %{TEMP}, %{username}, and what is included', async () => {
  mkdirSync(at('conf.d', 'old'), { recursive: true })
  writeFileSync(at('conf.d', 'one.conf'), '[libdefaults]\n default_ccache_name = FILE:%{TEMP}\\cc_%{username}\n')
  writeFileSync(at('main.ini'), `includedir ${at('conf.d')}\n`)
  process.env.KRB5_CONFIG = at('main.ini')
  assert.equal(CredentialCache.nameOf(), `FILE:${tmpdir()}\\cc_${userInfo().username}`)
})

test('a login over HTTP, both sides', async () => {
  const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
  const server = createServer({ maxHeaderSize: 98_304 }, (req, res) => {
    void guard.handle(req, res).then((identity) => identity && res.end(identity.principal))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const fetch = negotiateFetch({ credentials: alice(), config: realm.config })
    const response = await fetch(`http://localhost:${server.address().port}/`)
    assert.equal(await response.text(), 'alice@EXAMPLE.TEST')
    assert.equal(negotiated(response).serverAuthenticated, true)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
