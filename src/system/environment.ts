/** The environment variables of MIT krb5, and the tokens of its file names. */
import { userInfo } from 'node:os'
import type { PathTokens } from '../krb5/formats/index.ts'

/** A variable, unless this process runs with another user's rights: then its environment is that user's, not to be believed. */
export function environmentVariable(name: string): string | undefined {
  if (process.geteuid?.() !== process.getuid?.() || process.getegid?.() !== process.getgid?.()) return undefined
  const value = process.env[name]
  return value === '' ? undefined : value
}

/** What `%{uid}` and its like stand for in krb5.conf (MIT krb5, "Parameter expansion"). */
const TOKENS: ReadonlyMap<string, () => string | undefined> = new Map([
  ['uid', userId],
  ['USERID', userId],
  ['euid', () => String(process.geteuid?.() ?? 0)],
  ['username', userName],
  ['TEMP', () => environmentVariable('TMPDIR') ?? '/tmp'],
  ['null', () => ''],
])

/** Each is looked up when it is asked for: a user's name costs a look into the user database. */
export const pathTokens: PathTokens = { get: (name) => TOKENS.get(name)?.() }

function userId(): string {
  return String(process.getuid?.() ?? 0)
}

/** Of the effective user; undefined where the uid has no name, as in many containers. Never what the environment says. */
function userName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
