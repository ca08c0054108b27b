/** Where the files of Kerberos lie when neither program nor environment says so. */
import { homedir, tmpdir, userInfo } from 'node:os'
import { posix, win32 } from 'node:path'
import { environmentVariable } from './environment.ts'

export interface Places {
  /** The credential cache, with its type. */
  readonly cache: string
  /** Configuration files: the first that exists counts. */
  readonly configs: readonly string[]
  /** Stands between the names of a list of configuration files. */
  readonly listSeparator: string
  readonly keytab: string
  readonly temporary: string
}

/** What the places depend on. */
export interface PlaceFacts {
  readonly platform: NodeJS.Platform
  readonly uid: number
  variable(name: string): string | undefined
  home(): string
  temporary(): string
  /** The name of the user, if there is one. */
  user(): string | undefined
}

/** Those of this machine, as the environment is at this moment. */
export function defaultPlaces(): Places {
  return placesOf({
    platform: process.platform,
    uid: process.getuid?.() ?? 0,
    variable: environmentVariable,
    home: homedir,
    temporary: tmpdir,
    user: userName,
  })
}

export function placesOf(facts: PlaceFacts): Places {
  return facts.platform === 'win32' ? windowsPlaces(facts) : unixPlaces(facts)
}

/** MIT krb5, "Default values". */
function unixPlaces({ uid, variable }: PlaceFacts): Places {
  return {
    cache: `FILE:/tmp/krb5cc_${uid}`,
    configs: ['/etc/krb5.conf'],
    listSeparator: posix.delimiter,
    keytab: '/etc/krb5.keytab',
    temporary: variable('TMPDIR') ?? '/tmp',
  }
}

/**
 * Configuration and keytab where MIT Kerberos for Windows has them, then where Java looks; the cache where Java's kinit puts it: the home
 * folder is private by its access list, and that of MIT (`API:`) lies in another process.
 */
function windowsPlaces({ variable, home, temporary, user }: PlaceFacts): Places {
  const windows = variable('windir') ?? variable('SystemRoot') ?? 'C:\\Windows'
  const data = variable('ProgramData') ?? 'C:\\ProgramData'
  const name = user()
  return {
    cache: `FILE:${win32.join(home(), name === undefined ? 'krb5cc' : `krb5cc_${name}`)}`,
    configs: [win32.join(data, 'MIT', 'Kerberos5', 'krb5.ini'), win32.join(windows, 'krb5.ini')],
    listSeparator: win32.delimiter, // drives have colons
    keytab: win32.join(windows, 'krb5kt'),
    temporary: temporary(),
  }
}

/** Of the effective user; undefined where the uid has no name, as in many containers. Never what the environment says. */
export function userName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
