import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { quote } from '../bytes/text.ts'
import { CredentialError, type KerberosError } from '../errors.ts'
import type { ForeignOwner } from '../krb5/client.ts'
import {
  type CredentialCacheFile,
  decodeCredentialCache,
  encodeCredentialCache,
  MAX_CACHE_BYTES,
} from '../krb5/formats/index.ts'
import { cacheErrors, cannotWrite } from './cache-errors.ts'
import { openPlace, type Place, reasonOf, UnsafePathError } from './folder.ts'
import { errorCode, type FileStatus, readRegularFile } from './read-file.ts'
import { notPlain, replaceFile } from './replace-file.ts'

/** How often, and after how many milliseconds, a cache that ends in the middle is read again: MIT's programs write it in pieces. */
const READS = 5
const REREAD_MS = 10
/** Permissions of the group and of all others to write to a file (inode(7)). */
const OTHERS_MAY_WRITE = 0o022
/** The permission that a file's owner has to write to it (inode(7), S_IWUSR); on Windows the attribute read-only takes it away. */
const OWNER_MAY_WRITE = 0o200n

/** A file that cannot be looked at has no stamp; reading it says why. */
export function stampOf(path: string): string | undefined {
  try {
    return formatStamp(statSync(path, { bigint: true }))
  } catch {
    return undefined
  }
}

function formatStamp({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}`
}

/** @param foreignOwner whose cache may be read beside the user's own: any user's, or that uid's */
export function readCacheFile(path: string, foreignOwner?: ForeignOwner): Promise<CredentialCacheFile> {
  const look = (shown: string, status: FileStatus) => readableOwner(shown, status, foreignOwner)
  return readWhole(path, () => readRegularFile(path, MAX_CACHE_BYTES, cacheErrors, look))
}

/**
 * The cache of a name that neither program nor environment gave, such as /tmp/krb5cc_0: another user can be
 * the first to make a file or a link of that name, and so log in root's programs under a foreign name.
 */
export function readDefaultCacheFile(path: string): Promise<CredentialCacheFile> {
  return readWhole(path, () => {
    const place = placeToRead(path)
    try {
      return readRegularFile(place.folder.at(place.name), MAX_CACHE_BYTES, cacheErrors, ownOwner, path)
    } finally {
      place.folder.close()
    }
  })
}

async function readWhole(path: string, readBytes: () => Uint8Array): Promise<CredentialCacheFile> {
  for (let read = 1; ; read++) {
    const bytes = readBytes()
    try {
      return decodeCredentialCache(bytes, path)
    } catch (error) {
      if (read === READS) throw error
      await setTimeout(REREAD_MS)
    }
  }
}

function placeToRead(path: string): Place {
  try {
    return openPlace(path)
  } catch (cause) {
    const cache = `credential cache ${quote(path)}`
    if (errorCode(cause) === 'ENOENT') throw cacheErrors.missing(`${cache} does not exist`, cause)
    throw cacheErrors.unreadable(`${cache}: ${reasonOf(cause)}`, cause)
  }
}

/**
 * A cache belongs to its user, or to root: another user could log this one in under a foreign name. Root may
 * name any.
 */
function readableOwner(path: string, { uid: owner, mode }: FileStatus, foreignOwner: ForeignOwner | undefined): void {
  const user = process.geteuid?.()
  if (user === undefined || owner === user || owner === 0) return
  if (user === 0 && typeof foreignOwner !== 'number') return // a uid that root's program names binds root too
  const isAllowed = foreignOwner === true || foreignOwner === owner
  if (!isAllowed) throw foreignCache(path, owner, user) // check: F08 F31
  if ((mode & OTHERS_MAY_WRITE) !== 0) throw writableByOthers(path, owner) // check: F31
}

/** Root's own name is no name that root gave. */
function ownOwner(path: string, { uid: owner }: FileStatus): void {
  const user = process.geteuid?.()
  if (user === undefined || owner === user || owner === 0) return
  throw foreignCache(path, owner, user) // check: F25
}

function foreignCache(path: string, owner: number, user: number): KerberosError {
  const message = `credential cache ${quote(path)} belongs to the user ${owner}, not to ${user}`
  return new CredentialError('CACHE_UNREADABLE', message, {
    hint: `Log in as ${user}, or, if that user's tickets are meant: Credentials.fromCache(name, principal, { allowForeignOwner: ${owner} }).`,
  })
}

function writableByOthers(path: string, owner: number): KerberosError {
  const message = `credential cache ${quote(path)} of the user ${owner} can be written by others`
  return new CredentialError('CACHE_UNREADABLE', message, { hint: `Run chmod go-w ${quote(path)}.` })
}

/**
 * Replaces a cache whole (`replaceFile`). With the stamp of the cache that was read it is the same file with
 * a ticket more, so owner and mode stay; when the old one no longer has that stamp, `kdestroy` or `kinit` was
 * here since it was read: false, and what they did stays.
 */
export function writeCacheFile(name: string, cache: Omit<CredentialCacheFile, 'version'>, expected?: string): boolean {
  const bytes = encodeCredentialCache(cache)
  try {
    const place = openPlace(name)
    try {
      if (place.isLinked && place.folder.statusOf(place.name) === undefined) throw leadsNowhere(name)
      if (expected === undefined) return replaceFile(place, bytes)
      if (isReadOnly(place)) throw readOnly(name) // check: F30
      const isStillWanted = (status: BigIntStats | undefined) =>
        status !== undefined && formatStamp(status) === expected
      return replaceFile(place, bytes, { isStillWanted, keepsOwner: true })
    } finally {
      place.folder.close()
    }
  } catch (cause) {
    throw cannotWrite(name, cause)
  }
}

/** Its owner wants no ticket added. Replacing a file by rename(2) needs no right to the file itself. */
function isReadOnly({ folder, name }: Place): boolean {
  const status = folder.statusOf(name)
  return status !== undefined && (status.mode & OWNER_MAY_WRITE) === 0n
}

function readOnly(path: string): UnsafePathError {
  return new UnsafePathError(
    'may not be written by its owner',
    `Run chmod u+w ${quote(path)}, if tickets may be added.`,
  )
}

function leadsNowhere(path: string): UnsafePathError {
  return new UnsafePathError('is a link to a file that does not exist', `Remove ${quote(path)}, or make that file.`)
}

/** As `kdestroy` does: zeros over the tickets before the name goes. */
export function destroyCacheFile(path: string): boolean {
  try {
    const place = openPlace(path, { keepsLastLink: true })
    try {
      return destroyAt(place)
    } finally {
      place.folder.close()
    }
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false
    throw cacheErrors.unreadable(`credential cache ${quote(path)}: ${reasonOf(cause)}`, cause)
  }
}

function destroyAt({ folder, name, path }: Place): boolean {
  const status = folder.statusOf(name)
  if (status === undefined) return false
  if (!status.isFile()) throw notPlain(path, status) // a FIFO without a reader would block check: F06
  const descriptor = openSync(folder.at(name), constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const opened = fstatSync(descriptor, { bigint: true })
    if (!opened.isFile() || opened.nlink !== 1n) throw notPlain(path, opened) // check: F21
    writeSync(descriptor, Buffer.alloc(Math.min(Number(opened.size), MAX_CACHE_BYTES)))
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  unlinkSync(folder.at(name))
  return true
}
