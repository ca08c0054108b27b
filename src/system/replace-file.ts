import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { toHex } from '../bytes/hex.ts'

/**
 * A new file beside the old one, 0600 whatever the umask, on disk before it takes the name: a reader sees the old or the new one whole.
 *
 * @param isStillWanted asked as late as can be: nothing renames only over what is unchanged, and Node has no locks
 * @returns whether it was replaced
 * @throws {Error} of the file system; the old file is untouched and nothing else is left behind
 */
export function replaceFile(path: string, bytes: Uint8Array, isStillWanted: () => boolean = () => true): boolean {
  const suffix = toHex(globalThis.crypto.getRandomValues(new Uint8Array(8)))
  const temporary = join(dirname(path), `.${suffix}.krb5cc`)
  try {
    const descriptor = openSync(temporary, 'wx', 0o600)
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    if (!isStillWanted()) return false // check: F13
    renameSync(temporary, path)
    return true
  } finally {
    removeQuietly(temporary)
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was renamed, or never made.
  }
}
