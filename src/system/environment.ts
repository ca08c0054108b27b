/** The environment variables of MIT krb5, and the tokens of its file names. */

/** A variable, unless this process runs with another user's rights: then its environment is that user's, not to be believed. */
export function environmentVariable(name: string): string | undefined {
  if (process.geteuid?.() !== process.getuid?.() || process.getegid?.() !== process.getgid?.()) return undefined
  const value = process.env[name]
  return value === '' ? undefined : value
}

/** What `%{uid}` and its like stand for in krb5.conf (MIT krb5, "Parameter expansion"). */
export function pathTokens(): ReadonlyMap<string, string> {
  const uid = String(process.getuid?.() ?? 0)
  const temporary = environmentVariable('TMPDIR') ?? '/tmp'
  return new Map([
    ['uid', uid],
    ['USERID', uid],
    ['euid', String(process.geteuid?.() ?? 0)],
    ['TEMP', temporary],
    ['null', ''],
  ])
}
