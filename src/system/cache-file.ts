import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { quote } from '../bytes/text.ts'
import { KerberosError } from '../errors.ts'
import {
  type CredentialCacheFile,
  decodeCredentialCache,
  encodeCredentialCache,
  MAX_CACHE_BYTES,
} from '../krb5/formats/index.ts'
import { cacheErrors, cannotWrite } from './cache-errors.ts'
import { errorCode, type FileStatus, readRegularFile } from './read-file.ts'
import { replaceFile } from './replace-file.ts'

/** How often, and after how many milliseconds, a cache that ends in the middle is read again: MIT's programs write it in pieces. */
const READS = 5
const REREAD_MS = 10

/** A file that cannot be looked at has no stamp; reading it says why. */
export function stampOf(path: string): string | undefined {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true })
    return `${ino}:${size}:${mtimeNs}`
  } catch {
    return undefined
  }
}

export async function readCacheFile(path: string): Promise<CredentialCacheFile> {
  for (let read = 1; ; read++) {
    const bytes = readRegularFile(path, MAX_CACHE_BYTES, cacheErrors, trustedOwner)
    try {
      return decodeCredentialCache(bytes, path)
    } catch (error) {
      if (read === READS) throw error
      await setTimeout(REREAD_MS)
    }
  }
}

/**
 * Whoever may put a file where a cache is looked for could log this user in as himself: a cache belongs to its user, or to root. Root
 * may read everybody's.
 */
function trustedOwner(path: string, { uid: owner }: FileStatus): void {
  const mine = process.geteuid?.()
  if (mine === undefined || mine === 0 || owner === mine || owner === 0) return
  throw cacheErrors.unreadable(`credential cache ${quote(path)} belongs to the user ${owner}, not to ${mine}`) // check: F08
}

/**
 * Replaces a cache whole (`replaceFile`). When the old one no longer has the expected stamp, `kdestroy` or `kinit` was here since it was read: false, and what they did stays.
 */
export function writeCacheFile(name: string, cache: Omit<CredentialCacheFile, 'version'>, expected?: string): boolean {
  const bytes = encodeCredentialCache(cache)
  const path = behindLinks(name)
  mustBePrivate(dirname(path), path)
  try {
    return replaceFile(path, bytes, () => expected === undefined || stampOf(path) === expected)
  } catch (cause) {
    throw cannotWrite(path, errorCode(cause), cause)
  }
}

/** The link stays, and what it points to is replaced. */
function behindLinks(path: string): string {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? realpathSync(path) : path
  } catch (cause) {
    throw cannotWrite(path, errorCode(cause), cause)
  }
}

/** Where everybody may write and nobody's files are his own, another user would put his cache in the place of ours. */
function mustBePrivate(folder: string, path: string): void {
  const mode = statSync(folder, { throwIfNoEntry: false })?.mode ?? 0
  const isOpen = (mode & 0o002) !== 0 && (mode & 0o1000) === 0
  if (isOpen) throw cannotWrite(path, 'its folder is writable by everybody and not sticky') // check: F10
}

/** As `kdestroy` does: zeros over the tickets before the name goes. */
export function destroyCacheFile(path: string): boolean {
  try {
    const status = lstatSync(path, { throwIfNoEntry: false })
    if (status === undefined) return false
    if (!status.isFile()) throw notRegular(path) // a FIFO without a reader would block check: F06
    const descriptor = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      writeSync(descriptor, Buffer.alloc(Math.min(status.size, MAX_CACHE_BYTES)))
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    unlinkSync(path)
    return true
  } catch (cause) {
    if (cause instanceof KerberosError) throw cause
    throw cacheErrors.unreadable(`credential cache ${quote(path)}: ${errorCode(cause)}`, cause)
  }
}

function notRegular(path: string): KerberosError {
  return cacheErrors.unreadable(`credential cache ${quote(path)} is not a regular file`)
}
