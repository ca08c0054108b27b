import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CachedCredential, Krb5Config } from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { loadProfile, readKeytabFile, systemFiles, systemSource } from '../../../src/system/index.ts'
import { keytab, someKey } from '../../hostile/mint.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-system-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

const at = (name: string) => join(folder, name)
const code = (value: string) => expect.objectContaining({ code: value })
const client = new Principal(['alice'], 'EXAMPLE.TEST')
const EMPTY_CONFIG = Krb5Config.parse('', 'krb5.conf')

function cacheOf(count = 1): {
  principal: Principal
  kdcOffset: undefined
  unknownHeader: []
  credentials: CachedCredential[]
} {
  const server = new Principal(['HTTP', 'web'], 'EXAMPLE.TEST')
  const one = {
    client,
    server,
    enctype: 18,
    key: new Uint8Array(32),
    authTime: 1,
    startTime: 1,
    endTime: 2,
    renewTill: 0,
    flags: 0,
    ticket: Uint8Array.of(1),
  }
  return {
    principal: client,
    kdcOffset: undefined,
    unknownHeader: [],
    credentials: Array.from({ length: count }, () => new CachedCredential(one)),
  }
}

describe('F06 what is no regular file is refused without waiting', () => {
  test('a FIFO, a directory, a device, a sparse file of 1 GiB', async () => {
    execFileSync('mkfifo', [at('fifo')])
    writeFileSync(at('sparse'), '')
    truncateSync(at('sparse'), 2 ** 30)
    for (const path of [at('fifo'), folder, '/dev/zero', '/dev/tty0', at('sparse')]) {
      if (!existsSync(path)) continue
      expect(() => readKeytabFile(path), path).toThrow(code('KEYTAB_UNREADABLE'))
      await expect(systemFiles().readCache(`FILE:${path}`), path).rejects.toThrow(code('CACHE_UNREADABLE'))
      expect(() => loadProfile(path), path).toThrow(code('CONFIG_UNREADABLE'))
    }
  })

  test('logout of a FIFO or a directory', async () => {
    execFileSync('mkfifo', [at('fifo')])
    const reader = openSync(at('fifo'), constants.O_RDONLY | constants.O_NONBLOCK) // else it could not be opened for writing
    for (const path of [at('fifo'), folder]) {
      await expect(systemFiles().destroyCache(`FILE:${path}`)).rejects.toThrow(/not a regular file/)
      expect(existsSync(path)).toBe(true)
    }
    closeSync(reader)
  })

  test('F07 a keytab that everybody can read is used, and told of', () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    for (const [mode, calls] of [
      [0o600, 0],
      [0o640, 0],
      [0o644, 1],
    ] as const) {
      writeFileSync(at('keytab'), keytab({ key: someKey(18) }).toBytes())
      chmodSync(at('keytab'), mode)
      warning.mockClear()
      expect(readKeytabFile(at('keytab')).entries).toHaveLength(1)
      expect(warning.mock.calls.map(([text]) => String(text))).toEqual(
        Array(calls).fill(expect.stringContaining('chmod o=')),
      )
    }
  })

  test('a keytab behind two symbolic links is read, as Kubernetes mounts it', () => {
    const key = someKey(18)
    writeFileSync(at('file'), keytab({ key }).toBytes())
    symlinkSync('file', at('data'))
    symlinkSync('data', at('link'))
    expect(readKeytabFile(`FILE:${at('link')}`).entries).toHaveLength(1)
  })

  test('what does not exist, links to itself, has a NUL or is too long has a typed error', async () => {
    symlinkSync('loop', at('loop'))
    for (const path of [at('nothing'), at('loop'), 'a\0b', at('x'.repeat(5000)), join(at('nothing'), 'deeper')]) {
      expect(() => readKeytabFile(path)).toThrow(expect.objectContaining({ name: 'ConfigError' }))
      await expect(systemFiles().readCache(`FILE:${path}`)).rejects.toThrow(
        expect.objectContaining({ name: 'CredentialError' }),
      )
      expect(systemFiles().cacheStamp(`FILE:${path}`)).toBeUndefined()
    }
    expect(await systemFiles().destroyCache(`FILE:${at('nothing')}`)).toBe(false)
    await expect(systemFiles().destroyCache(`FILE:${at('loop')}`)).rejects.toThrow(code('CACHE_UNREADABLE'))
  })
})

describe('F11 F12 a cache is written as a new file, whatever the umask', () => {
  test('0600, renamed into place, nothing left beside it', async () => {
    const files = systemFiles()
    const name = `FILE:${at('cc')}`
    writeFileSync(at('cc'), 'old', { mode: 0o644 })
    const umask = process.umask(0)
    try {
      await files.writeCache(name, cacheOf())
    } finally {
      process.umask(umask)
    }
    expect(statSync(at('cc')).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual(['cc'])
    expect((await files.readCache(name)).credentials).toHaveLength(1)
  })

  test('readers see the old or the new file whole', async () => {
    const files = systemFiles()
    const name = `FILE:${at('cc')}`
    await files.writeCache(name, cacheOf(1))
    for (let i = 0; i < 20; i++) {
      const [read] = await Promise.all([files.readCache(name), files.writeCache(name, cacheOf(1 + (i % 5) * 100))])
      expect(read.credentials.length % 100).toBe(1)
    }
  })

  test('where it cannot be written the old one stays', async () => {
    const files = systemFiles()
    await expect(files.writeCache(`FILE:${at('no/such/folder')}`, cacheOf())).rejects.toThrow(
      code('CACHE_WRITE_FAILED'),
    )
    await expect(files.writeCache(`FILE:${folder}`, cacheOf())).rejects.toThrow(code('CACHE_WRITE_FAILED'))
    expect(readdirSync(folder)).toEqual([])
  })

  test('the stamp changes with the file, and logout leaves nothing', async () => {
    const files = systemFiles()
    const name = `FILE:${at('cc')}`
    expect(files.cacheStamp(name)).toBeUndefined()
    await files.writeCache(name, cacheOf())
    const stamp = files.cacheStamp(name)
    await files.writeCache(name, cacheOf())
    expect(files.cacheStamp(name)).not.toBe(stamp)
    expect(await files.destroyCache(name)).toBe(true)
    expect(existsSync(at('cc'))).toBe(false)
  })

  test('logout does not follow a symbolic link', async () => {
    writeFileSync(at('precious'), 'precious')
    symlinkSync('precious', at('cc'))
    await expect(systemFiles().destroyCache(`FILE:${at('cc')}`)).rejects.toThrow(code('CACHE_UNREADABLE'))
    expect(readFileSync(at('precious'), 'utf8')).toBe('precious')
  })
})

describe('names', () => {
  test.each(['KCM:', 'KCM:1000', 'KEYRING:persistent:1000', 'API:1', 'MSLSA:', 'file:/x', 'SCC:x'])(
    '%s cannot be read without native code, and the error says what to do',
    (name) => {
      expect(() => systemFiles().cacheName(name, EMPTY_CONFIG)).toThrow(code('CACHE_TYPE_UNSUPPORTED'))
      vi.stubEnv('KRB5CCNAME', name)
      expect(() => systemFiles().cacheName(undefined, EMPTY_CONFIG)).toThrow(/cannot be read/)
    },
  )

  test('a path and FILE:path are the same; a Windows drive is no type', () => {
    const { cacheName } = systemFiles()
    expect(cacheName('/tmp/cc', EMPTY_CONFIG)).toBe('FILE:/tmp/cc')
    expect(cacheName('FILE:/tmp/cc', EMPTY_CONFIG)).toBe('FILE:/tmp/cc')
    expect(cacheName('C:\\cc', EMPTY_CONFIG)).toBe('FILE:C:\\cc')
    vi.stubEnv('KRB5CCNAME', '')
    expect(cacheName(undefined, EMPTY_CONFIG)).toBe(`FILE:/tmp/krb5cc_${process.getuid?.() ?? 0}`)
    vi.stubEnv('KRB5CCNAME', '/tmp/other')
    expect(cacheName(undefined, EMPTY_CONFIG)).toBe('FILE:/tmp/other')
  })

  test('K89 %{username} is the name of the effective user; a token that stands for nothing is told with those that do', () => {
    const named = (name: string) => Krb5Config.parse(`[libdefaults]\n default_ccache_name = ${name}\n`, 'krb5.conf')
    vi.stubEnv('KRB5CCNAME', '')
    vi.stubEnv('USER', 'mallory')
    vi.stubEnv('LOGNAME', 'mallory')
    const { cacheName } = systemFiles()
    expect(cacheName(undefined, named('FILE:/run/%{username}/cc'))).toBe(`FILE:/run/${userInfo().username}/cc`)
    expect(() => cacheName(undefined, named('FILE:/run/%{LIBDIR}/cc'))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', hint: expect.stringContaining('%{username}') }),
    )
  })

  test('K89 a folder in a folder that krb5.conf includes is passed over, behind a link too; a link to nothing is not', () => {
    mkdirSync(at('conf.d/archive.conf'), { recursive: true })
    mkdirSync(at('conf.d/old'))
    symlinkSync(at('conf.d/old'), at('conf.d/linked'))
    writeFileSync(at('conf.d/realm.conf'), '[libdefaults]\n default_realm = A.TEST\n')
    writeFileSync(at('krb5.conf'), `includedir ${at('conf.d')}\n`)
    expect(new Krb5Config(loadProfile(at('krb5.conf'))).defaultRealm).toBe('A.TEST')
    symlinkSync(at('nowhere'), at('conf.d/dangling'))
    expect(() => loadProfile(at('krb5.conf'))).toThrow(code('CONFIG_UNREADABLE'))
  })

  test('KRB5_CONFIG is a list: missing files are passed over, the first wins, none at all is an error', () => {
    writeFileSync(at('a.conf'), '[libdefaults]\n default_realm = A.TEST\n')
    writeFileSync(at('b.conf'), '[libdefaults]\n default_realm = B.TEST\n forwardable = true\n')
    const config = new Krb5Config(loadProfile(`${at('no')}:${at('a.conf')}::${at('b.conf')}`))
    expect(config.defaultRealm).toBe('A.TEST')
    expect(config.forwardable).toBe(true)
    vi.stubEnv('KRB5_CONFIG', at('b.conf'))
    expect(new Krb5Config(loadProfile()).defaultRealm).toBe('B.TEST')
    expect(() => loadProfile(`${at('no')}:${at('neither')}`)).toThrow(code('CONFIG_UNREADABLE'))
  })

  test('a client keytab that krb5.conf names but nobody made is none; one in the environment must be there', async () => {
    const files = systemFiles()
    const config = Krb5Config.parse(
      `[libdefaults]\n default_client_keytab_name = FILE:${at('client.keytab')}\n`,
      'krb5.conf',
    )
    expect(await files.readClientKeytab(config)).toBeUndefined()
    vi.stubEnv('KRB5_CLIENT_KTNAME', at('client.keytab'))
    await expect(files.readClientKeytab(config)).rejects.toThrow(code('KEYTAB_NOT_FOUND'))
  })
})

describe('clock and randomness', () => {
  test('a time is never given twice, and one that is set back is obeyed', () => {
    const { now } = systemSource()
    const clock = vi.spyOn(Date, 'now')
    clock.mockReturnValue(1_800_000_000_000)
    const times = Array.from({ length: 10_000 }, now)
    expect(new Set(times).size).toBe(10_000)
    clock.mockReturnValue(1_800_000_000_000 - 3_600_000)
    expect(now()).toBeLessThan((1_800_000_000_000 - 3_599_000) * 1000)
  })

  test('random octets are not handed out twice, and their pool is not shared', () => {
    const { random } = systemSource()
    const seen = new Set<string>()
    for (let i = 0; i < 1000; i++) seen.add(Buffer.from(random(16)).toString('hex'))
    expect(seen.size).toBe(1000)
    expect(random(16).buffer.byteLength).toBe(16)
    expect(random(10_000)).toHaveLength(10_000)
  })
})
