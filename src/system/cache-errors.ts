import { quote } from '../bytes/text.ts'
import { CredentialError } from '../errors.ts'
import { reasonOf, UnsafePathError } from './folder.ts'
import type { ReadErrors } from './read-file.ts'

export const cacheErrors: ReadErrors = {
  what: 'credential cache',
  missing: (message, cause) =>
    new CredentialError('CACHE_NOT_FOUND', message, {
      cause,
      hint: 'Run kinit or spnego login, check KRB5CCNAME, or pass credentials.',
    }),
  unreadable: (message, cause) =>
    new CredentialError('CACHE_UNREADABLE', message, {
      cause,
      hint: 'Check who owns the cache and that it is a regular file.',
    }),
}

/** @param failure an error of the file system, or of a path that is not to be followed */
export function cannotWrite(path: string, failure: unknown): CredentialError {
  const why = reasonOf(failure) ?? 'cannot be written'
  const hint =
    failure instanceof UnsafePathError
      ? failure.hint
      : 'Check that the folder exists and that this user may write to it.'
  return new CredentialError('CACHE_WRITE_FAILED', `credential cache ${quote(path)}: ${why}`, { cause: failure, hint })
}

/** What each kind of cache that lies out of reach needs, and the way around it. */
const OUT_OF_REACH: ReadonlyMap<string, string> = new Map([
  ['KEYRING', 'lies in the kernel’s keyring, which only native code can read'],
  ['KCM', 'is kept by a KCM daemon, which this version does not ask'],
  ['API', 'is kept by macOS, which hands it to native code alone'],
  ['MSLSA', 'is Windows’ own, which only native code can read'],
])

/** @param name whole, with its type */
export function outOfReach(type: string, name: string): CredentialError {
  const why = OUT_OF_REACH.get(type.toUpperCase()) ?? 'is of a kind that is not known here'
  return new CredentialError('CACHE_TYPE_UNSUPPORTED', `credential cache ${quote(name)} cannot be read: it ${why}`, {
    hint: 'Run kinit -c FILE:/path (or spnego login -c /path) and set KRB5CCNAME to it, or use a password, a keytab or the client keytab (KRB5_CLIENT_KTNAME).',
  })
}
