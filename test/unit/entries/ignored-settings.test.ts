import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Credentials, Krb5Config } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { ignoredSettings, parseProfile } from '../../../src/krb5/formats/index.ts'

let folder = ''
let file = ''
let warned: string[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-settings-'))
  file = join(folder, 'krb5.conf')
  vi.stubEnv('KRB5_CONFIG', file)
  Reflect.deleteProperty(globalThis, Symbol.for('spnego.told-settings.1'))
  warned = []
  vi.spyOn(process, 'emitWarning').mockImplementation((text) => void warned.push(String(text)))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

const told = (text: string) => ignoredSettings(parseProfile(text, '/etc/krb5.conf'))

describe('K87 settings of krb5.conf that are not obeyed are reported', () => {
  test.each([
    ['[libdefaults]\nnoaddresses = false', '2: noaddresses = "false" is not obeyed'],
    ['[libdefaults]\nkcm_socket = /run/kcm', '2: kcm_socket = "/run/kcm" is not obeyed'],
    ['[libdefaults]\nhttp_anchors = FILE:/ca.pem', '2: http_anchors'],
    ['[realms]\nR = {\nkdc = https://kdc.test/KdcProxy\n}', '3: kdc = "https://kdc.test/KdcProxy" is passed over'],
    ['[realms]\nR = {\nkdc = a\nhttp_anchors = FILE:/ca.pem\n}', '4: http_anchors'],
    ['[libdefaults]\nrdns = perhaps', '2: rdns = "perhaps" is neither true nor false'],
    ['[appdefaults]\npam = {\nforwardable = sometimes\n}', '3: forwardable = "sometimes" is neither true nor false'],
    ['[libdefaults]\nR = {\nproxiable = x\n}', '3: proxiable = "x" is neither true nor false'],
  ])('%j', (text, expected) => {
    expect(told(text)).toEqual([expect.stringContaining(`/etc/krb5.conf:${expected}`)])
  })

  test.each([
    '',
    '[libdefaults]\nnoaddresses = true\nforwardable = yes\nrdns = false\ndns_canonicalize_hostname = fallback',
    '[libdefaults]\ndefault_tkt_enctypes = aes\nenforce_ok_as_delegate = true',
    '[realms]\nR = {\nkdc = a\nkdc = b\nmaster_kdc = c\nadmin_server = a\n}',
    '[logging]\ndefault = FILE:/var/log/krb5.log',
  ])('%j is obeyed, or of no concern', (text) => {
    expect(told(text)).toEqual([])
  })

  test('not without end, and no control character gets through', () => {
    expect(told(`[libdefaults]\n${'rdns = x\n'.repeat(1000)}`)).toHaveLength(64)
    expect(told('[libdefaults]\nrdns = \u001b[31m').join()).not.toContain('\u001b')
  })

  test('once in a process, however often the file is read', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    const text = readFileSync(realm.environment['KRB5_CONFIG'] ?? '', 'utf8')
    writeFileSync(file, `${text}\n[appdefaults]\nforwardable = sometimes\n`)
    for (let i = 0; i < 3; i++) await Credentials.fromPassword('alice', 'secret').login()
    await Krb5Config.load()
    expect(warned).toEqual([expect.stringMatching(/krb5\.conf:\d+: forwardable = "sometimes"/)])
  })

  test('an odd word is refused where it counts, and nowhere else', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' } })
    const text = readFileSync(realm.environment['KRB5_CONFIG'] ?? '', 'utf8')
    const config = Krb5Config.parse(text.replace('[libdefaults]', '[libdefaults]\n forwardable = true ; yes'))
    const cache = join(folder, 'cc')
    await (await realm.login('alice')).save(cache)
    await Credentials.fromCache(cache, undefined, { config }).login()
    await expect(Credentials.fromPassword('alice', 'secret', { config }).login()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      hint: expect.stringContaining('A comment needs a line of its own'),
    })
  })
})
