import fs, {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { toBase64 } from '../../../src/bytes/base64.ts'
import { createInitiator, Keytab } from '../../../src/entries/index.ts'
import {
  createNegotiateServer,
  type NegotiateServer,
  type NegotiateServerOptions,
} from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { KeytabEntry } from '../../../src/krb5/formats/index.ts'
import { Principal } from '../../../src/krb5/messages/index.ts'
import { World } from '../http-client/site.ts'

/** A keytab that changes under a server, and names that are chosen for each request. */

let world: World
let other: TestRealm
let right: Buffer
let wrong: Buffer
let folder: string
let keytab: string
let server: NegotiateServer | undefined
let reasons: string[]
let warnings: string[]

beforeAll(async () => {
  world = await World.start()
  // The same names, with other keys: as before a change, or by mistake.
  other = await TestRealm.start({ realm: 'EXAMPLE.TEST', services: ['HTTP/localhost'] })
  right = readFileSync(world.realm.environment.KRB5_KTNAME)
  wrong = readFileSync(other.environment.KRB5_KTNAME)
})
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keytab-'))
  keytab = join(folder, 'keytab')
  reasons = []
  warnings = []
  vi.spyOn(process, 'emitWarning').mockImplementation((_text, options) => {
    warnings.push((options as { code: string }).code)
  })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await server?.close()
  rmSync(folder, { recursive: true })
})
afterAll(async () => {
  await other.stop()
  await world[Symbol.asyncDispose]()
})

function open(options: NegotiateServerOptions = {}): void {
  server = createNegotiateServer({ keytab, onFailure: ({ reason }) => void reasons.push(reason), ...options })
}

/** Replaced as `kadmin`, `ktutil` and careful people do it. */
function replace(bytes: Uint8Array): void {
  writeFileSync(`${keytab}.new`, bytes, { mode: 0o600 })
  renameSync(`${keytab}.new`, keytab)
}

/** Later than a look at the file lasts. */
async function login(target = 'HTTP@localhost', host = 'localhost'): Promise<string> {
  await setTimeout(11)
  const { alice, realm } = world
  const context = await createInitiator({ target, credentials: alice, config: realm.config })
  const { token } = await context.step()
  const headers = { authorization: `Negotiate ${toBase64(token as Uint8Array)}`, host }
  const decision = await (server as NegotiateServer).authenticate({ method: 'GET', url: '/', headers })
  return decision.kind === 'refused' ? decision.reason : decision.kind
}

describe('a keytab that is replaced', () => {
  test('counts a hundredth of a second later', async () => {
    replace(wrong)
    open()
    expect(await login()).toBe('KEY_NOT_FOUND')
    replace(right)
    expect(await login()).toBe('accepted')
    replace(wrong)
    expect(await login()).toBe('KEY_NOT_FOUND')
    expect(warnings).toEqual([])
  })

  test('again and again under load: no login fails', async () => {
    replace(right)
    open()
    const logins: Promise<string>[] = []
    for (let i = 0; i < 20; i++) {
      for (let k = 0; k < 10; k++) logins.push(login())
      replace(right)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(new Set(await Promise.all(logins))).toEqual(new Set(['accepted']))
  })

  test.each([
    ['half a file', () => right.subarray(0, right.length / 2)],
    ['an empty file', () => Buffer.alloc(0)],
    ['no keytab', () => Buffer.from('no keytab')],
    ['one without keys of ours', () => readFileSync(world.realm.environment.KRB5_KTNAME).subarray(0, 2)],
  ])('%s changes nothing, and is told once', async (_, bytes) => {
    replace(right)
    open()
    replace(bytes())
    for (let i = 0; i < 3; i++) expect(await login()).toBe('accepted')
    expect(warnings.length).toBe(1)
    replace(right)
    expect(await login()).toBe('accepted')
    expect(warnings.length).toBe(1)
  })

  test('written in place, piece by piece', async () => {
    replace(wrong)
    open()
    writeFileSync(keytab, right.subarray(0, 40))
    expect(await login()).toBe('KEY_NOT_FOUND')
    writeFileSync(keytab, right)
    expect(await login()).toBe('accepted')
  })

  test('taken away, and given back', async () => {
    replace(right)
    open()
    unlinkSync(keytab)
    expect(await login()).toBe('accepted')
    replace(wrong)
    expect(await login()).toBe('KEY_NOT_FOUND')
  })

  test('when no file can be opened for a while: read as soon as one can, and told once', async () => {
    replace(wrong)
    open()
    replace(right)
    const { openSync } = fs
    fs.openSync = () => {
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    }
    syncBuiltinESMExports()
    try {
      for (let i = 0; i < 3; i++) expect(await login()).toBe('KEY_NOT_FOUND')
    } finally {
      fs.openSync = openSync
      syncBuiltinESMExports()
    }
    expect(warnings).toEqual(['KEYTAB_UNREADABLE'])
    expect(await login()).toBe('accepted')
  })

  test('out of sight', async () => {
    replace(right)
    open()
    unlinkSync(keytab)
    symlinkSync('keytab', keytab) // a circle: `stat` fails, and not for want of a file
    expect(await login()).toBe('accepted')
    expect(() => createNegotiateServer({ keytab })).toThrow(expect.objectContaining({ code: 'KEYTAB_UNREADABLE' }))
    replace(wrong)
    expect(await login()).toBe('KEY_NOT_FOUND')
  })

  test.each([undefined, () => 'HTTP@localhost'])(
    'after close it lets nobody in, whatever happens to it',
    async (name) => {
      replace(right)
      open({ principal: name })
      expect(await login()).toBe('accepted')
      await server?.close()
      const before = await login().catch((error) => error.code)
      replace(right)
      expect([before, await login().catch((error) => error.code)]).toEqual(['KEY_NOT_FOUND', 'KEY_NOT_FOUND'])
    },
  )

  test('behind the links of Kubernetes, of which the middle one is exchanged', async () => {
    for (const [name, bytes] of [
      ['..1', wrong],
      ['..2', right],
    ] as const) {
      mkdirSync(join(folder, name))
      writeFileSync(join(folder, name, 'http.keytab'), bytes)
    }
    symlinkSync('..1', join(folder, '..data'))
    keytab = join(folder, 'http.keytab')
    symlinkSync('..data/http.keytab', keytab)
    open()
    expect(await login()).toBe('KEY_NOT_FOUND')
    symlinkSync('..2', join(folder, '..data_tmp'))
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    expect(await login()).toBe('accepted')
  })
})

describe('MAG-06: a name for each request', () => {
  const principal = ({ headers }: { headers: unknown }) => `HTTP@${(headers as { host: string }).host}`

  test('is the only one whose tickets count', async () => {
    replace(right)
    open({ principal })
    expect(await login('HTTP@localhost', 'localhost')).toBe('accepted')
    expect(await login('HTTP@web1.corp.example', 'web1.corp.example')).toBe('accepted')
    expect(await login('HTTP@web1.corp.example', 'localhost')).toBe('WRONG_PRINCIPAL')
    expect(await login('HTTP@localhost', 'web1.corp.example')).toBe('WRONG_PRINCIPAL')
  })

  test('one without a key, or that is none, lets nobody in', async () => {
    replace(right)
    open({ principal })
    expect(await login('HTTP@localhost', 'fail.corp.example')).toBe('KEYTAB_NO_ENTRY')
    expect(await login('HTTP@localhost', 'a/b@c@d')).toBe('NAME_INVALID')
  })

  test('F05: one that has only keys of enctypes that are not permitted: that is said', async () => {
    const { entries } = await Keytab.load(world.realm.environment.KRB5_KTNAME)
    const old = new Principal(['HTTP', 'old.corp.example'], 'EXAMPLE.TEST')
    const rc4 = new KeytabEntry({ principal: old, kvno: 1, enctype: 23, key: new Uint8Array(16) })
    open({ principal, keytab: Keytab.of([...entries, rc4]) })
    expect(await login('HTTP@localhost', 'localhost')).toBe('accepted')
    const messages: string[] = []
    await server?.close()
    open({ principal, keytab: Keytab.of([...entries, rc4]), onFailure: ({ message }) => void messages.push(message) })
    expect(await login('HTTP@localhost', 'old.corp.example')).toBe('KEYTAB_NO_ENTRY')
    expect(messages).toEqual([expect.stringMatching(/^the keytab has only keys of /)])
  })

  test('whatever is asked for, little is kept', async () => {
    replace(right)
    open({ principal })
    for (let i = 0; i < 1000; i++) await login('HTTP@localhost', `x${i}.example`)
    expect(await login('HTTP@localhost', 'localhost')).toBe('accepted')
  })

  test('A04: what it throws is a 500, and is told', async () => {
    replace(right)
    open({
      principal: () => {
        throw new RangeError('theirs')
      },
    })
    for (let i = 0; i < 3; i++) expect(await login()).toBe('CALLBACK_FAILED')
    expect(warnings).toEqual(['CALLBACK_FAILED'])
  })
})
