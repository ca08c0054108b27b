/** The environment variables of MIT krb5. */

/** A variable, unless this process runs with another user's rights: then its environment is that user's, not to be believed. */
export function environmentVariable(name: string): string | undefined {
  if (process.geteuid?.() !== process.getuid?.() || process.getegid?.() !== process.getgid?.()) return undefined
  const value = process.env[name]
  return value === '' ? undefined : value
}
