import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { readKeytabFile } from '../../../src/system/index.ts'
import { type PlaceFacts, placesOf } from '../../../src/system/places.ts'
import { keytab, someKey } from '../../hostile/mint.ts'

/** A machine with these environment variables. */
function facts(platform: NodeJS.Platform, variables: Readonly<Record<string, string>> = {}): PlaceFacts {
  return {
    platform,
    uid: 1000,
    variable: (name) => variables[name],
    home: () => 'C:\\Users\\alice',
    temporary: () => 'C:\\Users\\alice\\AppData\\Local\\Temp',
    user: () => 'alice',
  }
}

describe('F33 where files lie by default', () => {
  test('Unix', () => {
    expect(placesOf(facts('linux'))).toEqual({
      cache: 'FILE:/tmp/krb5cc_1000',
      configs: ['/etc/krb5.conf'],
      listSeparator: ':',
      keytab: '/etc/krb5.keytab',
      temporary: '/tmp',
    })
    expect(placesOf(facts('darwin', { TMPDIR: '/var/t' })).temporary).toBe('/var/t')
  })

  test('Windows: the cache in the home folder, krb5.ini, a list between semicolons', () => {
    expect(placesOf(facts('win32'))).toEqual({
      cache: 'FILE:C:\\Users\\alice\\krb5cc_alice',
      configs: ['C:\\ProgramData\\MIT\\Kerberos5\\krb5.ini', 'C:\\Windows\\krb5.ini'],
      listSeparator: ';',
      keytab: 'C:\\Windows\\krb5kt',
      temporary: 'C:\\Users\\alice\\AppData\\Local\\Temp',
    })
    const elsewhere = placesOf(facts('win32', { ProgramData: 'D:\\Data', windir: 'D:\\Win' }))
    expect(elsewhere.configs).toEqual(['D:\\Data\\MIT\\Kerberos5\\krb5.ini', 'D:\\Win\\krb5.ini'])
    expect(placesOf({ ...facts('win32'), user: () => undefined }).cache).toBe('FILE:C:\\Users\\alice\\krb5cc')
  })
})

describe('F33 where files have no owner', () => {
  const { geteuid } = process
  let folder = ''
  afterEach(() => {
    Object.defineProperty(process, 'geteuid', { value: geteuid, configurable: true, writable: true })
    rmSync(folder, { recursive: true, force: true })
    vi.restoreAllMocks()
  })

  test('the mode of a keytab says nothing, and is not warned of', () => {
    folder = mkdtempSync(join(tmpdir(), 'spnego-places-'))
    const path = join(folder, 'keytab')
    writeFileSync(path, keytab({ key: someKey(18) }).toBytes())
    chmodSync(path, 0o666)
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    readKeytabFile(path)
    expect(warning).toHaveBeenCalledTimes(1)
    Object.defineProperty(process, 'geteuid', { value: undefined, configurable: true, writable: true })
    readKeytabFile(path)
    expect(warning).toHaveBeenCalledTimes(1)
  })
})
