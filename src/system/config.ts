import { existsSync } from 'node:fs'
import { quote } from '../bytes/text.ts'
import { ConfigError } from '../errors.ts'
import { mergeProfiles, type Profile, parseProfile } from '../krb5/formats/index.ts'
import { environmentVariable } from './environment.ts'
import { configReadErrors, listDirectory, readRegularFile } from './read-file.ts'

/** Where krb5.conf lies when `KRB5_CONFIG` does not say. */
export const DEFAULT_CONFIG_FILE = '/etc/krb5.conf'
const MAX_CONFIG_BYTES: number = 16 * 1024 * 1024

const errors = configReadErrors(
  'configuration file',
  'CONFIG_UNREADABLE',
  'CONFIG_UNREADABLE',
  'Check KRB5_CONFIG and the permissions of the file.',
)

/**
 * The files of a colon-separated list, the first winning for single values (MIT krb5, `KRB5_CONFIG`). Files that do not exist are passed over
 * as long as one does; without any the default is an empty configuration.
 *
 * @throws {ConfigError} `CONFIG_UNREADABLE`, `CONFIG_SYNTAX`
 */
export function loadProfile(names?: string): Profile {
  const asked = names ?? environmentVariable('KRB5_CONFIG')
  const paths = (asked ?? DEFAULT_CONFIG_FILE).split(':').filter((path) => path !== '')
  const there = paths.filter((path) => existsSync(path))
  if (there.length === 0 && asked !== undefined) {
    throw new ConfigError('CONFIG_UNREADABLE', `no configuration file exists at ${quote(asked)}`, {
      hint: 'Check KRB5_CONFIG, or the names given.',
    })
  }
  return mergeProfiles(there.map((path) => parseProfile(readText(path), path, { readText, listDir: listDirectory })))
}

function readText(path: string): string {
  return readRegularFile(path, MAX_CONFIG_BYTES, errors).toString('utf8')
}
