import {
  type BigIntStats,
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { toHex } from '../bytes/hex.ts'
import { quote } from '../bytes/text.ts'
import { type Folder, isOpenToAll, isSameFile, type Place, UnsafePathError } from './folder.ts'

export interface Replacement {
  /**
   * Asked as late as possible, with the status of the file that is there: rename(2) has no condition, and
   * Node has no locks.
   */
  readonly isStillWanted?: (status: BigIntStats | undefined) => boolean
  /**
   * The new file has owner, group and mode of the old one, or there is no new file. Default: the writer's,
   * 0600.
   */
  readonly keepsOwner?: boolean
}

/**
 * A new file beside the old one, 0600 whatever the umask, on disk before it takes the name: a reader sees the old or the new one whole.
 *
 * @returns whether it was replaced
 * @throws {UnsafePathError} for what is not a regular file of one name, and in a folder where every user may
 *   replace it
 * @throws {Error} of the file system; the old file is untouched and nothing else is left behind
 */
export function replaceFile(place: Place, bytes: Uint8Array, options: Replacement = {}): boolean {
  const { folder } = place
  if (isOpenToAll(folder)) throw openFolder() // check: F10
  mustBeReplaceable(place)
  const temporary = `.${toHex(globalThis.crypto.getRandomValues(new Uint8Array(8)))}.krb5cc`
  try {
    const descriptor = openSync(folder.at(temporary), 'wx', 0o600)
    try {
      return fill(descriptor, bytes, place, options) && take(descriptor, temporary, place, options)
    } finally {
      closeSync(descriptor)
    }
  } finally {
    removeQuietly(folder, temporary)
  }
}

/** False when the file whose owner the new one would have is gone, or is another one than was read. */
function fill(descriptor: number, bytes: Uint8Array, place: Place, options: Replacement): boolean {
  const { isStillWanted = () => true, keepsOwner = false } = options
  if (keepsOwner) {
    const old = place.folder.statusOf(place.name)
    if (old === undefined || !isStillWanted(old)) return false // check: F23
    giveTo(descriptor, old)
  }
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
  fsyncSync(descriptor)
  return true
}

/** On the descriptor: no name is looked up, so that no link can be in the way. */
function giveTo(descriptor: number, { uid, gid, mode }: BigIntStats): void {
  const own = fstatSync(descriptor, { bigint: true })
  const isOwners = own.uid === uid && own.gid === gid
  if (!isOwners) fchownSync(descriptor, Number(uid), Number(gid)) // check: F23
  fchmodSync(descriptor, Number(mode & 0o777n))
}

/**
 * All looks come directly before the rename: between the last one and it lies what only renameat2(2) could
 * exclude.
 */
function take(descriptor: number, temporary: string, place: Place, options: Replacement): boolean {
  const { folder, name } = place
  const { isStillWanted = () => true } = options
  const written = fstatSync(descriptor, { bigint: true })
  if (!isStillWanted(folder.statusOf(name))) return false // check: F13
  mustBeReplaceable(place)
  const found = folder.statusOf(temporary)
  if (found === undefined || !isSameFile(found, written)) throw replaced(place) // check: F22
  if (!folder.isUnchanged()) throw replaced(place) // check: F22
  renameSync(folder.at(temporary), folder.at(name))
  return true
}

/**
 * A link that has come since, a folder, a FIFO; and a file that has another name elsewhere, whose owner may
 * have given it this one.
 */
function mustBeReplaceable({ folder, name, path }: Place): void {
  const status = folder.statusOf(name)
  if (status === undefined) return
  const isPlain = status.isFile() && status.nlink === 1n
  if (!isPlain) throw notPlain(path, status) // check: F21
}

export function notPlain(path: string, status: BigIntStats): UnsafePathError {
  if (!status.isFile()) return new UnsafePathError(`${quote(path)} is not a regular file`, 'Name another file.')
  const message = `${quote(path)} has ${status.nlink} names (hard links)`
  return new UnsafePathError(message, `Remove ${quote(path)}, or name another file.`)
}

function openFolder(): UnsafePathError {
  const hint = 'Choose a folder of your own, or one that is sticky (chmod +t).'
  return new UnsafePathError('its folder is writable by every user and not sticky', hint)
}

function replaced({ path }: Place): UnsafePathError {
  return new UnsafePathError(`${quote(path)}: another process changes the folder at this moment`, 'Try again.')
}

function removeQuietly(folder: Folder, name: string): void {
  try {
    unlinkSync(folder.at(name))
  } catch {
    // It was renamed, or never made.
  }
}
