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
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Credentials } from '../../../src/entries/index.ts'
import { CacheSource } from '../../../src/krb5/cache-source.ts'
import { toCached } from '../../../src/krb5/cached-credential.ts'
import {
  type CredentialCacheFile,
  decodeCredentialCache,
  encodeCredentialCache,
  Krb5Config,
} from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { systemFiles, systemSource } from '../../../src/system/index.ts'
import { build } from '../../build.ts'
import { mint, someKey } from '../../hostile/mint.ts'

let output = ''
beforeAll(async () => {
  output = await build()
  chmodSync(output, 0o755)
}, 60_000)
afterAll(() => rmSync(output, { recursive: true, force: true }))

/** A module of the sources, as a program that a test starts imports it. */
const built = (module: string) => JSON.stringify(pathToFileURL(join(output, module)).href)

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

  test('the cache of a principal is searched for once, and again when it or the one in use changes', async () => {
    const name = `DIR:${at('cc')}`
    const others = Array.from({ length: 20 }, (_, i) => new Principal([`user${i}`], 'EXAMPLE.TEST'))
    for (const one of others) await save(name, one)
    await save(name, alice)
    const files = systemFiles()
    let looks = 0
    const find = () => {
      looks = 0
      return files.cacheName(name, CONFIG, (other) => ++looks > 0 && other.equals(alice))
    }
    systemFiles().switchCache(systemFiles().cacheName(name, CONFIG, is(others[0] as Principal)))
    const found = find()
    expect(looks).toBeGreaterThan(1)
    for (let i = 0; i < 3; i++) expect([find(), looks]).toEqual([found, 1])
    await files.writeCache(found, of(bob)) // another user's now
    expect(find()).not.toBe(found)
    await files.writeCache(found, of(alice))
    expect(find()).toBe(found)
    expect([find(), looks]).toEqual([found, 1])
    files.switchCache(`DIR::${at('cc/tkt')}`)
    expect([find(), looks > 1]).toEqual([found, true])
    await files.destroyCache(found)
    expect(find()).not.toBe(found)
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

  test('F12 a switch that fails leaves nothing behind', () => {
    mkdirSync(at('cc/primary'), { recursive: true })
    expect(() => systemFiles().switchCache(`DIR::${at('cc/tkt')}`)).toThrow(code('CACHE_WRITE_FAILED'))
    expect(readdirSync(at('cc'))).toEqual(['primary'])
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

/** Whose cache another user reads, or the code of his error. He is root until the package is loaded: its folder may be root's. */
function readAs(uid: number, path: string): string {
  const script = `import { CredentialCache } from ${built('entries/index.js')}
    process.seteuid(${uid})
    const found = await CredentialCache.load(${JSON.stringify(path)}).catch((error) => ({ principal: error.code + ' ' + error.message }))
    console.log(String(found.principal))`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim()
}

/** Writes a small and a large cache in turns until it is killed. */
const WRITER = (path: string) => `
import { CachedCredential } from ${built('krb5/formats/index.js')}
import { Principal } from ${built('krb5/messages/index.js')}
import { systemFiles } from ${built('system/index.js')}
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

/** Adds tickets to a cache, one by one, each for a service of its own, as a client does when it has fetched one. */
const ADDER = (path: string, who: string) => `
import { CacheSource } from ${built('krb5/cache-source.js')}
import { Krb5Config } from ${built('krb5/formats/index.js')}
import { fromCached } from ${built('krb5/cached-credential.js')}
import { CachedCredential } from ${built('krb5/formats/index.js')}
import { Principal } from ${built('krb5/messages/index.js')}
import { systemFiles, systemSource } from ${built('system/index.js')}
const config = Krb5Config.parse('')
const client = Principal.parse('alice@EXAMPLE.TEST')
const [template] = (await systemFiles().readCache('FILE:' + ${JSON.stringify(path)})).credentials
const source = new CacheSource({ files: systemFiles(), source: systemSource() }, 'FILE:' + ${JSON.stringify(path)}, undefined)
for (let i = 0; i < ${TICKETS}; i++) {
  const server = Principal.parse(${JSON.stringify(who)} + '/' + (i % 50) + '@EXAMPLE.TEST')
  await source.writeBack({ ...fromCached(template, 0), client, server }, config)
}
console.log('written')`

const TICKETS = 500

test('F13 two processes of ours add a thousand tickets to one cache while a third reads: it parses at every moment', async () => {
  const path = at('cc')
  const { credential } = mint(someKey(18))
  const principal = credential.client
  const tgt = { ...credential, server: new Principal(['krbtgt', principal.realm], principal.realm) }
  const credentials = [toCached(tgt)]
  await systemFiles().writeCache(`FILE:${path}`, { kdcOffset: undefined, unknownHeader: [], principal, credentials })
  let running = 2
  const children = ['one', 'two'].map((who) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', ADDER(path, who)], { stdio: 'pipe' })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        said += text
      })
    }
    return once(child, 'close').then(([status]) => {
      running--
      return { status, said: said.trim() }
    })
  })
  let reads = 0
  const names = new Set<string>()
  while (running > 0) {
    const cache = decodeCredentialCache(readFileSync(path)) // at once: without the patience of `readCache`
    expect(`${cache.principal}`).toBe('alice@EXAMPLE.TEST')
    expect(`${cache.credentials[0]?.server}`).toBe('krbtgt/EXAMPLE.TEST@EXAMPLE.TEST')
    for (const { server, ticket } of cache.credentials) {
      names.add(server.components[0] as string)
      expect(ticket).toEqual(credential.ticket.raw)
    }
    expect(cache.credentials.length).toBeLessThanOrEqual(101)
    reads++
    await new Promise(setImmediate)
  }
  expect(await Promise.all(children)).toEqual(Array(2).fill({ status: 0, said: 'written' }))
  expect(reads).toBeGreaterThan(20)
  expect(names).toEqual(new Set(['krbtgt', 'one', 'two']))
  expect(readdirSync(folder)).toEqual(['cc'])
  expect(statSync(path).mode & 0o777).toBe(0o600)
}, 60_000)

describe('F13 what others do between our reading and our writing is not undone', () => {
  const { credential } = mint(someKey(18))
  const owned = (client: Principal) => ({ ...of(client), credentials: [toCached({ ...credential, client })] })
  const service = { ...credential, server: new Principal(['HTTP', 'a'], credential.client.realm) }

  /** Adds a ticket to alice's cache; after each of the first reads somebody else is at work. */
  async function added(name: string, others: readonly (() => Promise<unknown>)[]): Promise<number> {
    const files = systemFiles()
    await files.writeCache(name, owned(credential.client))
    const next = others[Symbol.iterator]()
    let reads = 0
    const readCache = async (which: string) => {
      reads++
      const cache = await files.readCache(which)
      await next.next().value?.()
      return cache
    }
    const source = new CacheSource({ files: { ...files, readCache }, source: systemSource() }, name, undefined)
    await source.writeBack(service, CONFIG)
    return reads
  }

  for (const type of ['FILE', 'MEMORY'] as const) {
    const nameOf = () => `${type}:${at('cc')}`
    const found = async () => {
      const { principal, credentials } = await systemFiles().readCache(nameOf())
      return { who: `${principal}`, servers: credentials.map(({ server }) => `${server}`) }
    }
    const kdestroy = () => systemFiles().destroyCache(nameOf())
    const kinit = (client: Principal) => () => systemFiles().writeCache(nameOf(), owned(client))
    const two = [`${credential.server}`, `${service.server}`]

    test(`${type}: kdestroy`, async () => {
      expect(await added(nameOf(), [kdestroy])).toBe(2)
      expect(systemFiles().cacheStamp(nameOf())).toBeUndefined()
      expect(readdirSync(folder)).toEqual([])
    })

    test(`${type}: kinit of another user`, async () => {
      expect(await added(nameOf(), [kinit(bob)])).toBe(2)
      expect(await found()).toEqual({ who: `${bob}`, servers: [`${credential.server}`] })
    })

    test(`${type}: kinit of the same user, twice: the ticket is added to the newest`, async () => {
      const again = kinit(credential.client)
      expect(await added(nameOf(), [again, again])).toBe(3)
      expect(await found()).toEqual({ who: `${credential.client}`, servers: two })
    })

    test(`${type}: one that changes at every look is left alone after three`, async () => {
      const again = kinit(credential.client)
      expect(await added(nameOf(), [again, again, again, again])).toBe(3)
      expect(await found()).toEqual({ who: `${credential.client}`, servers: [`${credential.server}`] })
    })
  }
})

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

  describe('F31 a cache that another user owns, and that the program allows', () => {
    const REALM = 'EXAMPLE.TEST'
    const OWNER = 1234

    /** What a process of NOBODY makes of a login, and a ticket written back, with options as `fromCache` takes them. */
    function loginAs(path: string, options: string, uid: number = NOBODY): string {
      const program = `
        const { Credentials } = await import(${built('entries/index.js')})
        process.setgid(${OWNER}); process.setuid(${uid})
        try {
          const credentials = Credentials.fromCache(${JSON.stringify(path)}, undefined, ${options})
          const { principal } = await credentials.login()
          process.stdout.write(principal)
        } catch (error) { process.stdout.write(error.code + ' ' + error.message + ' ' + error.hint) }`
      return execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
    }

    function sharedCache(mode: number): string {
      chmodSync(folder, 0o755)
      const login = { ...mint(someKey(18)).credential, server: new Principal(['krbtgt', REALM], REALM) }
      const cache = {
        ...of(login.client),
        credentials: [toCached({ ...login, endTime: (Math.floor(Date.now() / 1000) + 3600) * 1e6 })],
      }
      writeFileSync(at('shared'), encodeCredentialCache(cache), { mode: 0o600 })
      chownSync(at('shared'), OWNER, OWNER)
      chmodSync(at('shared'), mode)
      return at('shared')
    }

    test.runIf(isRoot)('a uid that is named binds root too, which else reads any', () => {
      const path = sharedCache(0o640)
      expect(loginAs(path, '{}', 0)).toBe(`alice@${REALM}`)
      expect(loginAs(path, `{ allowForeignOwner: ${OWNER} }`, 0)).toBe(`alice@${REALM}`)
      expect(loginAs(path, '{ allowForeignOwner: 1000 }', 0)).toMatch(/^CACHE_UNREADABLE /)
      chmodSync(path, 0o666)
      expect(loginAs(path, `{ allowForeignOwner: ${OWNER} }`, 0)).toMatch(/^CACHE_UNREADABLE /)
    })

    test.runIf(isRoot)(
      'is read when any owner or that uid is allowed, else refused with the option as the cure',
      () => {
        const path = sharedCache(0o640)
        for (const options of ['{ allowForeignOwner: true }', `{ allowForeignOwner: ${OWNER} }`]) {
          expect(loginAs(path, options)).toMatch(/@EXAMPLE\.TEST$/)
        }
        expect(loginAs(path, '{}')).toMatch(/^CACHE_UNREADABLE .*allowForeignOwner: 1234/)
        expect(loginAs(path, '{ allowForeignOwner: 4321 }')).toMatch(/^CACHE_UNREADABLE .*belongs to the user 1234/)
      },
    )

    test.runIf(isRoot)('is refused when others than its owner may write it', () => {
      for (const mode of [0o660, 0o646, 0o666]) {
        expect(loginAs(sharedCache(mode), '{ allowForeignOwner: true }')).toMatch(/^CACHE_UNREADABLE .*chmod go-w/)
      }
    })

    test('nothing is written back to it', async () => {
      await systemFiles().writeCache(`FILE:${at('cc')}`, of(alice))
      const before = readFileSync(at('cc'))
      const { credential } = mint(someKey(18))
      const world = { files: systemFiles(), source: systemSource() }
      const ticket = { ...credential, client: alice }
      await new CacheSource(world, `FILE:${at('cc')}`, undefined, true).writeBack(ticket, CONFIG)
      expect(readFileSync(at('cc'))).toEqual(before)
      await new CacheSource(world, `FILE:${at('cc')}`, undefined).writeBack(ticket, CONFIG)
      expect(readFileSync(at('cc'))).not.toEqual(before)
    })

    test('the default cache, and values that are no uid, are refused at once', () => {
      const from = (name: string | undefined, allowForeignOwner: unknown) => () =>
        Credentials.fromCache(name, undefined, { allowForeignOwner } as never)
      expect(from(undefined, true)).toThrow(code('OPTION_CONFLICT'))
      for (const value of [false, -1, 1.5, 2 ** 32, '0', null, NaN]) {
        expect(from('/tmp/x', value)).toThrow(code('OPTION_INVALID'))
      }
      for (const value of [true, 0, 1000]) expect(from('/tmp/x', value)).not.toThrow()
    })
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
