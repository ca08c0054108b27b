import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type CredentialCacheFile, encodeCredentialCache, Krb5Config } from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { systemFiles } from '../../../src/system/index.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-caches-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

const at = (name: string) => join(folder, name)
const code = (value: string) => expect.objectContaining({ code: value })
const CONFIG = Krb5Config.parse('')
const alice = new Principal(['alice'], 'EXAMPLE.TEST')
const bob = new Principal(['bob'], 'EXAMPLE.TEST')
const of = (principal: Principal): Omit<CredentialCacheFile, 'version'> => ({
  kdcOffset: undefined,
  unknownHeader: [],
  principal,
  credentials: [],
})
const is = (wanted: Principal) => (other: Principal) => other.equals(wanted)

/** As `kinit` does: into the principal's own cache, which is in use from then on. */
async function save(name: string, principal: Principal): Promise<string> {
  const files = systemFiles()
  await files.saveCache(name, CONFIG, of(principal))
  return files.cacheName(name, CONFIG)
}

describe('DIR: a collection (MIT krb5, "Credential cache")', () => {
  test('the first cache is tkt, each user has one, the last one is in use', async () => {
    const name = `DIR:${at('cc')}`
    const files = systemFiles()
    const one = await save(name, alice)
    expect(one).toBe(`DIR::${at('cc/tkt')}`)
    expect(statSync(at('cc')).mode & 0o777).toBe(0o700)
    const two = await save(name, bob)
    expect(two).toMatch(/\/tkt[0-9a-f]{12}$/)
    expect(await save(name, bob)).toBe(two)
    expect(readFileSync(at('cc/primary'), 'utf8')).toBe(`${two.split('/').at(-1)}\n`)
    expect(files.cacheName(name, CONFIG)).toBe(two)
    expect(files.cacheName(name, CONFIG, is(alice))).toBe(one)
    expect(files.cacheNames(name, CONFIG)).toEqual([two, one])
    files.switchCache(one)
    expect(files.cacheName(name, CONFIG)).toBe(one)
    expect((await files.readCache(files.cacheName(name, CONFIG))).principal.equals(alice)).toBe(true)
    expect(readdirSync(at('cc')).filter((file) => file.startsWith('.'))).toEqual([])
    for (const file of ['primary', 'tkt']) expect(statSync(at(`cc/${file}`)).mode & 0o777).toBe(0o600)
  })

  test('one cache of it by its own name', async () => {
    const files = systemFiles()
    await save(`DIR:${at('cc')}`, alice)
    const name = `DIR::${at('cc/tkt')}`
    expect(files.cacheName(name, CONFIG, is(bob))).toBe(name)
    expect((await files.readCache(name)).principal.equals(alice)).toBe(true)
    expect(await files.destroyCache(name)).toBe(true)
    await expect(files.readCache(files.cacheName(`DIR:${at('cc')}`, CONFIG))).rejects.toThrow(code('CACHE_NOT_FOUND'))
  })

  test('a principal that has none gets the one in use, whose owner tells', () => {
    expect(systemFiles().cacheName(`DIR:${at('none')}`, CONFIG, is(alice))).toBe(`DIR::${at('none/tkt')}`)
    expect(systemFiles().cacheNames(`DIR:${at('none')}`, CONFIG)).toEqual([])
  })

  test('a primary that names another folder, or no cache, is refused', async () => {
    await save(`DIR:${at('cc')}`, alice)
    for (const text of ['../tkt\n', '/etc/passwd\n', 'other\n', 'tkt/../../x\n', '', 'tkta\ntktb\n', 'tkt\0\n']) {
      writeFileSync(at('cc/primary'), text)
      expect(() => systemFiles().cacheName(`DIR:${at('cc')}`, CONFIG), text).toThrow(code('CACHE_UNREADABLE'))
    }
    rmSync(at('cc/primary'))
    expect(systemFiles().cacheName(`DIR:${at('cc')}`, CONFIG)).toBe(`DIR::${at('cc/tkt')}`)
  })

  test('what is no cache is passed over; what is no folder has a typed error', async () => {
    await save(`DIR:${at('cc')}`, alice)
    writeFileSync(at('cc/tktbroken'), 'x')
    mkdirSync(at('cc/tktfolder'))
    execFileSync('mkfifo', [at('cc/tktfifo')])
    expect(systemFiles().cacheName(`DIR:${at('cc')}`, CONFIG, is(alice))).toBe(`DIR::${at('cc/tkt')}`)
    expect(systemFiles().cacheName(`DIR:${at('cc')}`, CONFIG, is(bob))).toBe(`DIR::${at('cc/tkt')}`)
    writeFileSync(at('file'), '')
    expect(() => systemFiles().cacheNames(`DIR:${at('file')}`, CONFIG)).toThrow(code('CACHE_UNREADABLE'))
    await expect(save(`DIR:${at('file')}`, alice)).rejects.toThrow(code('CACHE_WRITE_FAILED'))
  })

  test('only a collection can be switched', () => {
    for (const name of [`FILE:${at('x')}`, 'MEMORY:x']) {
      expect(() => systemFiles().switchCache(name)).toThrow(code('OPTION_INVALID'))
    }
  })
})

describe('MEMORY: ends with the process', () => {
  test('written, read, listed, stamped, destroyed', async () => {
    const files = systemFiles()
    const name = `MEMORY:${folder}`
    await expect(files.readCache(name)).rejects.toThrow(code('CACHE_NOT_FOUND'))
    expect(files.cacheNames(name, CONFIG)).toEqual([])
    await files.writeCache(name, of(alice))
    const stamp = files.cacheStamp(name)
    expect((await systemFiles().readCache(name)).principal.equals(alice)).toBe(true)
    expect(files.cacheNames(name, CONFIG)).toEqual([name])
    await files.writeCache(name, of(bob))
    expect(files.cacheStamp(name)).not.toBe(stamp)
    expect(await files.destroyCache(name)).toBe(true)
    expect(await files.destroyCache(name)).toBe(false)
    expect(files.cacheStamp(name)).toBeUndefined()
  })
})

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

const ENTRY = new URL('../../../dist/entries/index.js', import.meta.url).href

/** Whose cache another user reads, or the code of his error. He is root until the package is loaded: its folder may be root's. */
function readAs(uid: number, path: string): string {
  const script = `import { CredentialCache } from ${JSON.stringify(ENTRY)}
    process.seteuid(${uid})
    const found = await CredentialCache.load(${JSON.stringify(path)}).catch((error) => ({ principal: error.code + ' ' + error.message }))
    console.log(String(found.principal))`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim()
}

const SYSTEM = new URL('../../../dist/', import.meta.url).href

/** Writes a small and a large cache in turns until it is killed. */
const WRITER = (path: string) => `
import { CachedCredential } from ${JSON.stringify(`${SYSTEM}krb5/formats/index.js`)}
import { Principal } from ${JSON.stringify(`${SYSTEM}krb5/messages/index.js`)}
import { systemFiles } from ${JSON.stringify(`${SYSTEM}system/index.js`)}
const principal = Principal.parse('alice@EXAMPLE.TEST')
const one = new CachedCredential({ client: principal, server: principal, enctype: 18, key: new Uint8Array(32), authTime: 1, startTime: 1, endTime: 2, renewTill: 0, flags: 0, ticket: new Uint8Array(1000) })
for (let i = 0; ; i++) {
  const credentials = Array.from({ length: i % 2 === 0 ? 1 : 300 }, () => one)
  await systemFiles().writeCache('FILE:' + ${JSON.stringify(path)}, { kdcOffset: undefined, unknownHeader: [], principal, credentials })
  if (i === 0) console.log('writing')
}`

test('F12 killed at any moment of a write: the old cache or the new one, and nothing that others can read', async () => {
  const path = at('cc')
  const lengths = new Set<number>()
  for (let i = 0; i < 12; i++) {
    const child = spawn(
      'sh',
      ['-c', 'umask 0; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', WRITER(path)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 15))
    child.kill('SIGKILL')
    await once(child, 'exit')
    lengths.add((await systemFiles().readCache(`FILE:${path}`)).credentials.length)
    for (const file of readdirSync(folder)) expect(statSync(at(file)).mode & 0o777, file).toBe(0o600)
  }
  expect([...lengths].filter((length) => length !== 1 && length !== 300)).toEqual([])
}, 60_000)

describe('F08 whose cache it is', () => {
  // Only root can make files of others; the suite of `.ci/run` is root's.
  test.runIf(isRoot)('one of another user is not read, root’s and his own are', () => {
    chmodSync(folder, 0o755)
    for (const [owner, found] of [
      [NOBODY, /^alice@EXAMPLE.TEST$/],
      [0, /^alice@EXAMPLE.TEST$/],
      [1234, /^CACHE_UNREADABLE .*belongs to the user 1234/],
    ] as const) {
      writeFileSync(at(`of${owner}`), encodeCredentialCache(of(alice)), { mode: 0o644 })
      chownSync(at(`of${owner}`), owner, owner)
      expect(readAs(NOBODY, at(`of${owner}`))).toMatch(found)
    }
    symlinkSync('of1234', at('link'))
    expect(readAs(NOBODY, at('link'))).toContain('CACHE_UNREADABLE')
    expect(readAs(0, at('link'))).toBe('alice@EXAMPLE.TEST')
  })

  test('a link stays a link: what it points to is replaced', async () => {
    const files = systemFiles()
    mkdirSync(at('behind'))
    await files.writeCache(`FILE:${at('behind/cc')}`, of(alice))
    symlinkSync('behind/cc', at('link'))
    await files.writeCache(`FILE:${at('link')}`, of(bob))
    expect((await files.readCache(`FILE:${at('behind/cc')}`)).principal.equals(bob)).toBe(true)
    expect(readdirSync(folder).sort()).toEqual(['behind', 'link'])
    symlinkSync('nowhere', at('dangling'))
    await expect(files.writeCache(`FILE:${at('dangling')}`, of(bob))).rejects.toThrow(code('CACHE_WRITE_FAILED'))
  })
})

test('F10 nothing is written where everybody may replace it; a sticky folder will do', async () => {
  mkdirSync(at('open'))
  chmodSync(at('open'), 0o777)
  const name = `FILE:${at('open/cc')}`
  await expect(systemFiles().writeCache(name, of(alice))).rejects.toThrow(code('CACHE_WRITE_FAILED'))
  expect(readdirSync(at('open'))).toEqual([])
  chmodSync(at('open'), 0o1777)
  await systemFiles().writeCache(name, of(alice))
  expect(readdirSync(at('open'))).toEqual(['cc'])
})
