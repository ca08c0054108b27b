import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { Credentials, Keytab, Krb5Config } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'

let realm: TestRealm
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-options-'))
  vi.stubEnv('KRB5_CONFIG', join(folder, 'none'))
  realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/web'] })
  await (await realm.login('alice')).save(join(folder, 'cc'))
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Every way to make credentials, with options as its third argument. */
const MAKERS: readonly (readonly [string, (options?: unknown) => Credentials])[] = [
  ['fromPassword', (options) => Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret', options as never)],
  ['fromKeytab', (options) => Credentials.fromKeytab('HTTP/web', realm.keytab('HTTP/web'), options as never)],
  ['fromCache', (options) => Credentials.fromCache(join(folder, 'cc'), undefined, options as never)],
]

for (const [name, make] of MAKERS) {
  test(`K86 ${name}: the third argument's config is used, and not the machine's`, async () => {
    expect((await make({ config: realm.config }).login()).principal).toContain('@EXAMPLE.TEST')
    await expect(make().login()).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' })
  })

  test(`K86 ${name}: an unknown option and a wrong config are refused at once`, () => {
    const code = (value: string) => expect.objectContaining({ code: value })
    expect(() => make({ confg: realm.config })).toThrow(code('OPTION_UNKNOWN'))
    expect(() => make({ config: {} })).toThrow(code('OPTION_INVALID'))
    for (const options of [null, 'x', []]) expect(() => make(options)).toThrow(code('OPTION_INVALID'))
    expect(() => make({ config: Krb5Config.parse('') })).not.toThrow()
  })
}

test('K86: allowForeignOwner belongs to caches alone', () => {
  const options = { allowForeignOwner: true } as never
  const unknown = expect.objectContaining({ code: 'OPTION_UNKNOWN' })
  expect(() => Credentials.fromPassword('alice', 'secret', options)).toThrow(unknown)
  expect(() => Credentials.fromKeytab('alice', new Keytab([]), options)).toThrow(unknown)
})
