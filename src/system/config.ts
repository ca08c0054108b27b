import { existsSync } from 'node:fs'
import { quote } from '../bytes/text.ts'
import { ConfigError } from '../errors.ts'
import { mergeProfiles, type Profile, parseProfile } from '../krb5/formats/index.ts'
import { environmentVariable } from './environment.ts'
import { defaultPlaces } from './places.ts'
import { configReadErrors, listDirectory, readRegularFile } from './read-file.ts'

const MAX_CONFIG_BYTES: number = 16 * 1024 * 1024

const errors = configReadErrors(
  'configuration file',
  'CONFIG_UNREADABLE',
  'CONFIG_UNREADABLE',
  'Check KRB5_CONFIG and the permissions of the file.',
)

/**
 * The files of a list, the first winning for single values (MIT krb5, `KRB5_CONFIG`); colons stand between them, semicolons on Windows.
 * Files that do not exist are passed over as long as one does. Without a list the first of the default places; without any file there the
 * configuration is empty.
 *
 * @throws {ConfigError} `CONFIG_UNREADABLE`, `CONFIG_SYNTAX`
 */
export function loadProfile(names?: string): Profile {
  const asked = names ?? environmentVariable('KRB5_CONFIG')
  const { configs, listSeparator } = defaultPlaces()
  const paths = asked?.split(listSeparator).filter((path) => path !== '') ?? configs
  const found = paths.filter((path) => existsSync(path))
  const there = asked === undefined ? found.slice(0, 1) : found
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
