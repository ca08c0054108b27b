import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CacheSource } from '../../../src/krb5/cache-source.ts'
import { toCached } from '../../../src/krb5/cached-credential.ts'
import type { CredentialCacheFile } from '../../../src/krb5/formats/index.ts'
import { encodeCredentialCache, Krb5Config } from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { openPlace } from '../../../src/system/folder.ts'
import { systemFiles, systemSource } from '../../../src/system/index.ts'
import { openOutputFile } from '../../../src/system/output-file.ts'
import { replaceFile } from '../../../src/system/replace-file.ts'
import { build } from '../../build.ts'
import { mint, someKey } from '../../hostile/mint.ts'

/** Owner of the files that must stay as they are, and of the links that another user planted. */
const VICTIM = 4711
const STRANGER = 4712
// Only root can make files of others; the suite of `.ci/run` is root's.
const isRoot = process.getuid?.() === 0

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-foreign-'))
  chmodSync(folder, 0o1777)
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

const at = (name: string) => join(folder, name)
const code = (value: string) => expect.objectContaining({ code: value })
const CONFIG = Krb5Config.parse('')
const { credential } = mint(someKey(18))
const cache: Omit<CredentialCacheFile, 'version'> = {
  kdcOffset: undefined,
  unknownHeader: [],
  principal: credential.client,
  credentials: [toCached(credential)],
}
const service = { ...credential, server: new Principal(['HTTP', 'a'], credential.client.realm) }

function ownedFile(name: string, content: string | Uint8Array, owner: number, mode = 0o600): string {
  writeFileSync(at(name), content)
  chmodSync(at(name), mode)
  if (isRoot) chownSync(at(name), owner, owner)
  return at(name)
}

function ownedLink(target: string, name: string, owner: number): string {
  symlinkSync(target, at(name))
  if (isRoot) lchownSync(at(name), owner, owner)
  return at(name)
}

const victim = () => ownedFile('victim', 'precious', VICTIM)
const untouched = () => {
  expect(readFileSync(at('victim'), 'utf8')).toBe('precious')
  expect(statSync(at('victim'))).toMatchObject({ uid: isRoot ? VICTIM : process.getuid?.(), nlink: 1 })
}

async function written(path: string, text: string): Promise<void> {
  const stream = await openOutputFile(path)
  await new Promise<void>((resolve, reject) => {
    stream.on('error', reject)
    stream.end(text, resolve)
  })
}

describe.runIf(isRoot)('F20 a link of another user is not followed by what is written', () => {
  const refused = /symbolic link of the user 4712/

  test('the last name: cache, cache with a stamp, primary, output', async () => {
    victim()
    const files = systemFiles()
    const link = ownedLink('victim', 'cc', STRANGER)
    await expect(files.writeCache(`FILE:${link}`, cache)).rejects.toThrow(refused)
    const stamp = files.cacheStamp(`FILE:${link}`) ?? ''
    await expect(files.writeCache(`FILE:${link}`, cache, stamp)).rejects.toThrow(refused)
    await expect(files.saveCache(`FILE:${link}`, CONFIG, cache)).rejects.toThrow(code('CACHE_WRITE_FAILED'))
    await expect(openOutputFile(link)).rejects.toThrow(refused)
    mkdirSync(at('collection'))
    symlinkSync(at('victim'), at('collection/primary'))
    lchownSync(at('collection/primary'), STRANGER, STRANGER)
    expect(() => files.switchCache(`DIR::${at('collection/tkt')}`)).toThrow(refused)
    untouched()
    expect(readdirSync(folder).sort()).toEqual(['cc', 'collection', 'victim'])
  })

  test('a folder on the way, a link behind a link, an absolute link, a link to a file that does not exist', async () => {
    victim()
    mkdirSync(at('real'))
    const files = systemFiles()
    ownedLink('real', 'foreign', STRANGER)
    ownedLink('foreign', 'ours', 0)
    ownedLink(at('real'), 'absolute', STRANGER)
    ownedLink('real/new', 'dangling', STRANGER)
    for (const path of ['foreign/cc', 'ours/cc', 'absolute/cc', 'dangling', 'foreign/deep/cc', 'real/../foreign/cc']) {
      await expect(files.writeCache(`FILE:${at(path)}`, cache), path).rejects.toThrow(refused)
      await expect(openOutputFile(at(path)), path).rejects.toThrow(refused)
    }
    await expect(files.saveCache(`DIR:${at('foreign/made')}`, CONFIG, cache)).rejects.toThrow(refused)
    await expect(files.saveCache(`DIR:${at('dangling')}`, CONFIG, cache)).rejects.toThrow(refused)
    await expect(files.destroyCache(`FILE:${at('foreign/cc')}`)).rejects.toThrow(refused)
    expect(readdirSync(at('real'))).toEqual([])
    untouched()
  })

  test('logout behind a folder that is a link of another user', async () => {
    mkdirSync(at('real'))
    writeFileSync(at('real/cc'), encodeCredentialCache(cache))
    ownedLink('real', 'foreign', STRANGER)
    await expect(systemFiles().destroyCache(`FILE:${at('foreign/cc')}`)).rejects.toThrow(refused)
    expect(existsSync(at('real/cc'))).toBe(true)
  })

  test('a realm for tests in a temporary folder that is such a link', async () => {
    mkdirSync(at('real'))
    vi.stubEnv('TMPDIR', ownedLink('real', 'tmp', STRANGER))
    const { RealmFiles } = await import('../../../src/testing/realm-files.ts')
    await expect(RealmFiles.create()).rejects.toThrow(refused)
    expect(readdirSync(at('real'))).toEqual([])
  })

  test('links of the user and of root are followed', async () => {
    mkdirSync(at('real'))
    ownedLink('real', 'folder', 0)
    ownedLink(at('folder/cc'), 'link', 0)
    await systemFiles()
      .writeCache(`FILE:${at('link')}`, cache)
      .catch(() => {}) // leads nowhere yet
    await systemFiles().writeCache(`FILE:${at('folder/cc')}`, cache)
    await systemFiles().writeCache(`FILE:${at('link')}`, cache)
    await written(ownedLink('real/out', 'out', 0), 'body')
    expect(readdirSync(at('real')).sort()).toEqual(['cc', 'out'])
    expect(readFileSync(at('real/out'), 'utf8')).toBe('body')
  })

  test('without descriptors of folders the same links are refused', () => {
    victim()
    ownedLink('victim', 'cc', STRANGER)
    ownedLink('.', 'foreign', STRANGER)
    for (const path of ['cc', 'foreign/cc']) expect(() => openPlace(at(path), { holds: false })).toThrow(refused)
  })
})

describe('F21 a file of several names, a FIFO, a folder is not replaced', () => {
  test('hard links: cache, output, logout', async () => {
    writeFileSync(at('victim'), 'precious')
    linkSync(at('victim'), at('cc'))
    const files = systemFiles()
    await expect(files.writeCache(`FILE:${at('cc')}`, cache)).rejects.toThrow(/2 names \(hard links\)/)
    await expect(openOutputFile(at('cc'))).rejects.toThrow(/2 names/)
    await expect(files.destroyCache(`FILE:${at('cc')}`)).rejects.toThrow(/2 names/)
    expect(readFileSync(at('victim'), 'utf8')).toBe('precious')
    expect(readdirSync(folder).sort()).toEqual(['cc', 'victim'])
  })

  test('a FIFO and a folder', async () => {
    execFileSync('mkfifo', [at('fifo')])
    mkdirSync(at('sub'))
    for (const name of ['fifo', 'sub']) {
      await expect(systemFiles().writeCache(`FILE:${at(name)}`, cache)).rejects.toThrow(/not a regular file/)
    }
    expect(readdirSync(folder).sort()).toEqual(['fifo', 'sub'])
  })

  test('one that comes while the new file is written', () => {
    const place = openPlace(at('cc'))
    const isStillWanted = () => {
      writeFileSync(at('victim'), 'precious')
      linkSync(at('victim'), at('cc'))
      return true
    }
    expect(() => replaceFile(place, Uint8Array.of(1), { isStillWanted })).toThrow(/2 names/)
    place.folder.close()
    expect(readdirSync(folder).sort()).toEqual(['cc', 'victim'])
  })
})

test('F13 a file that another process has changed while the new one was written is left alone', () => {
  ownedFile('cc', 'of another process', 0)
  const place = openPlace(at('cc'))
  expect(replaceFile(place, Uint8Array.of(1), { isStillWanted: () => false })).toBe(false)
  place.folder.close()
  expect(readFileSync(at('cc'), 'utf8')).toBe('of another process')
  expect(readdirSync(folder)).toEqual(['cc'])
})

describe('F22 what was looked at is what is written', () => {
  /** Replaces a file while another process is at work, after the new file is on disk. */
  function replacedDuring(meanwhile: (temporary: string) => void, holds = true): () => boolean {
    mkdirSync(at('a'))
    mkdirSync(at('b'))
    const place = openPlace(at('a/cc'), { holds })
    const isStillWanted = () => {
      meanwhile(readdirSync(at('a')).find((name) => name.startsWith('.')) ?? '')
      return true
    }
    return () => {
      try {
        return replaceFile(place, Uint8Array.of(1), { isStillWanted })
      } finally {
        place.folder.close()
      }
    }
  }

  test('a folder that another one takes the place of: the file goes into the first', () => {
    const run = replacedDuring(() => {
      renameSync(at('a'), at('moved'))
      renameSync(at('b'), at('a'))
    })
    expect(run()).toBe(true)
    expect(readdirSync(at('moved'))).toEqual(['cc'])
    expect(readdirSync(at('a'))).toEqual([])
  })

  test('without descriptors of folders it is refused', () => {
    const run = replacedDuring((temporary) => {
      renameSync(at('a'), at('moved'))
      renameSync(at('b'), at('a'))
      renameSync(join(at('moved'), temporary), join(at('a'), temporary)) // else the new file would not be found
    }, false)
    expect(run).toThrow(/another process changes the folder/)
    expect(readdirSync(at('a'))).toEqual([])
  })

  test('a file that takes the place of the new one', () => {
    const run = replacedDuring((temporary) => {
      rmSync(join(at('a'), temporary))
      writeFileSync(join(at('a'), temporary), 'of another process')
    })
    expect(run).toThrow(/another process changes the folder/)
    expect(existsSync(at('a/cc'))).toBe(false)
  })
})

describe('F23 a ticket that is written back leaves owner and mode of the cache as they are', () => {
  const server = () => `${service.server}`
  const source = (name: string) => new CacheSource({ files: systemFiles(), source: systemSource() }, name, undefined)
  const names = async (path: string) =>
    (await systemFiles().readCache(`FILE:${path}`)).credentials.map((one) => `${one.server}`)

  test('the mode', async () => {
    const path = ownedFile('cc', encodeCredentialCache(cache), 0, 0o640)
    await source(`FILE:${path}`).writeBack(service, CONFIG)
    expect(await names(path)).toContain(server())
    expect(statSync(path).mode & 0o7777).toBe(0o640)
  })

  test.runIf(isRoot)('user and group, for root in a sticky folder', async () => {
    const path = ownedFile('cc', encodeCredentialCache(cache), VICTIM)
    chownSync(path, VICTIM, STRANGER)
    await source(`FILE:${path}`).writeBack(service, CONFIG)
    expect(await names(path)).toContain(server())
    expect(statSync(path)).toMatchObject({ uid: VICTIM, gid: STRANGER, mode: 0o100600 })
  })

  test.runIf(isRoot)('not those of a file that takes its name: that one gets nothing', () => {
    const path = ownedFile('cc', 'read before', VICTIM)
    const { ino } = statSync(path, { bigint: true })
    renameSync(path, at('kept'))
    ownedFile('cc', 'of another user', STRANGER, 0o666)
    const place = openPlace(path)
    const given: number[] = []
    const isStillWanted = (status: { readonly ino: bigint } | undefined) => {
      for (const name of readdirSync(folder)) if (name.startsWith('.')) given.push(statSync(at(name)).uid)
      renameSync(at('cc'), at('foreign'))
      renameSync(at('kept'), path) // as if nothing had been
      return status?.ino === ino
    }
    expect(replaceFile(place, Uint8Array.of(1), { isStillWanted, keepsOwner: true })).toBe(false)
    place.folder.close()
    expect(given).toEqual([0])
    expect(readFileSync(path, 'utf8')).toBe('read before')
  })

  test.runIf(isRoot)('a link of root to it: those of the file, never those of the link', async () => {
    const path = ownedFile('cc', encodeCredentialCache(cache), VICTIM)
    const link = ownedLink('cc', 'link', 0)
    await source(`FILE:${link}`).writeBack(service, CONFIG)
    expect(statSync(path).uid).toBe(VICTIM)
    expect(await names(path)).toContain(server())
  })

  test.runIf(isRoot)('a user who may not give files away writes nothing, and has the ticket all the same', async () => {
    mkdirSync(at('home'))
    chownSync(at('home'), STRANGER, STRANGER)
    const path = ownedFile('home/cc', encodeCredentialCache(cache), 0, 0o644)
    const before = readFileSync(path)
    process.seteuid?.(STRANGER)
    try {
      await source(`FILE:${path}`).writeBack(service, CONFIG)
    } finally {
      process.seteuid?.(0)
    }
    expect(readFileSync(path)).toEqual(before)
    expect(statSync(path).uid).toBe(0)
    expect(readdirSync(at('home'))).toEqual(['cc'])
  })

  test.runIf(isRoot)(
    'a new login is the writer’s own: the owner of the old file gets none of its tickets',
    async () => {
      const path = ownedFile('cc', encodeCredentialCache(cache), STRANGER, 0o666)
      await systemFiles().saveCache(`FILE:${path}`, CONFIG, cache)
      expect(statSync(path)).toMatchObject({ uid: 0, mode: 0o100600 })
    },
  )
})

describe.runIf(isRoot)('F25 a default cache that was not named must belong to the user', () => {
  const config = () => Krb5Config.parse(`[libdefaults]\n default_ccache_name = FILE:${at('krb5cc_%{uid}')}\n`)
  const login = () =>
    new CacheSource(
      { files: systemFiles(), source: { ...systemSource(), now: () => credential.startTime } },
      undefined,
      undefined,
    )
  const tgt = { ...credential, server: new Principal(['krbtgt', credential.client.realm], credential.client.realm) }
  const bytes = encodeCredentialCache({ ...cache, credentials: [toCached(tgt)] })
  beforeEach(() => vi.stubEnv('KRB5CCNAME', ''))

  test('also when that is root', async () => {
    const path = ownedFile('krb5cc_0', bytes, STRANGER, 0o644)
    await expect(login().ticketGrantingTicket(config(), 0)).rejects.toThrow(/belongs to the user 4712, not to 0/)
    expect(await login().serviceTicket(tgt.server, [18], config())).toBeUndefined()
    chownSync(path, 0, 0)
    expect((await login().ticketGrantingTicket(config(), 0)).client.equals(tgt.client)).toBe(true)
  })

  test('one that the environment or the program names may be a user’s, for root', async () => {
    const path = ownedFile('krb5cc_0', bytes, STRANGER)
    vi.stubEnv('KRB5CCNAME', path)
    expect((await login().ticketGrantingTicket(config(), 0)).client.equals(tgt.client)).toBe(true)
    vi.stubEnv('KRB5CCNAME', '')
    const named = new CacheSource(
      { files: systemFiles(), source: { ...systemSource(), now: () => credential.startTime } },
      `FILE:${path}`,
      undefined,
    )
    expect((await named.ticketGrantingTicket(config(), 0)).client.equals(tgt.client)).toBe(true)
  })

  test('nor is a link of another user to a cache of root’s followed', async () => {
    ownedFile('other', bytes, 0)
    ownedLink('other', 'krb5cc_0', STRANGER)
    await expect(login().ticketGrantingTicket(config(), 0)).rejects.toThrow(/symbolic link of the user 4712/)
  })
})

describe('F26 an output file that another user made in a shared folder is not written', () => {
  test.runIf(isRoot)('a file and a FIFO; elsewhere root writes where it is told to', async () => {
    const file = ownedFile('out', 'old', STRANGER, 0o666)
    await expect(openOutputFile(file)).rejects.toThrow(/belongs to the user 4712/)
    expect(readFileSync(file, 'utf8')).toBe('old')
    mkdirSync(at('home'))
    chownSync(at('home'), STRANGER, STRANGER)
    ownedFile('home/out', 'old and longer', STRANGER)
    await written(at('home/out'), 'body')
    expect(readFileSync(at('home/out'), 'utf8')).toBe('body')
    expect(statSync(at('home/out')).uid).toBe(STRANGER)
  })

  test('devices, FIFOs and what is open already stay usable', async () => {
    await written('/dev/null', 'body')
    execFileSync('mkfifo', [at('fifo')])
    execFileSync('sh', ['-c', `cat ${at('fifo')} > ${at('read')} &`], { stdio: 'ignore' })
    await written(at('fifo'), 'body')
    await vi.waitFor(() => expect(readFileSync(at('read'), 'utf8')).toBe('body'))

    const output = await build()
    const module = JSON.stringify(pathToFileURL(join(output, 'system/output-file.js')).href)
    for (const name of ['/dev/stdout', '/dev/stderr', '/dev/fd/1', '/proc/self/fd/1']) {
      const script = `import { openOutputFile } from ${module}
        ;(await openOutputFile(${JSON.stringify(name)})).write('body')`
      const shell = name === '/dev/stderr' ? '"$@" 2>&1 >/dev/null | cat' : '"$@" | cat'
      const node = [process.execPath, '--input-type=module', '-e', script]
      expect(execFileSync('sh', ['-c', shell, 'sh', ...node], { encoding: 'utf8' }), name).toBe('body')
    }
    rmSync(output, { recursive: true, force: true })
  }, 60_000)
})
