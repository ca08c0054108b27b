import { type BigIntStats, constants, createWriteStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { quote } from '../bytes/text.ts'
import { type Folder, filesHaveOwners, isTrustedOwner, openPlace, UnsafePathError } from './folder.ts'
import { notPlain } from './replace-file.ts'

/** What this process has open already (proc(5)); the links there are not such as a user makes. */
const OWN_DESCRIPTOR = /^\/(?:dev|proc\/self)\/fd\/\d+$/
const STDOUT = /^\/dev\/stdout$|^\/(?:dev|proc\/self)\/fd\/1$/
const STDERR = /^\/dev\/stderr$|^\/(?:dev|proc\/self)\/fd\/2$/
const FLAGS = constants.O_WRONLY | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0)

/**
 * Opens a file that a user names for output, empties it, and writes to it in place. Devices and FIFOs will
 * do.
 *
 * @throws {UnsafePathError} for a link of another user on the way, for a file that has another name
 *   elsewhere, and for one of another user in a folder where others may put it
 * @throws {Error} of the file system
 */
export async function openOutputFile(path: string): Promise<Writable> {
  if (STDOUT.test(path)) return process.stdout // a socket cannot be opened by its name
  if (STDERR.test(path)) return process.stderr
  if (OWN_DESCRIPTOR.test(path)) return createWriteStream(path)
  const { folder, name, path: found } = openPlace(path)
  try {
    const file = await open(folder.at(name), FLAGS, 0o666)
    try {
      await emptied(file, folder, found)
      return file.createWriteStream()
    } catch (error) {
      await file.close()
      throw error
    }
  } finally {
    folder.close()
  }
}

/** The looks are at what was opened; only then is anything of it lost. */
async function emptied(file: FileHandle, folder: Folder, path: string): Promise<void> {
  const status = await file.stat({ bigint: true })
  const isForeign = isSharedFolder(folder) && !isTrustedOwner(status.uid)
  if (isForeign) throw foreignFile(path, status) // check: F26
  if (!status.isFile()) return
  if (status.nlink > 1n) throw notPlain(path, status) // check: F21
  await file.truncate(0)
}

/**
 * Others than its owner may make files there (proc(5), protected_regular and protected_fifos, which need not
 * be set).
 */
function isSharedFolder({ status: { mode } }: Folder): boolean {
  return filesHaveOwners() && (mode & 0o022n) !== 0n
}

function foreignFile(path: string, { uid }: BigIntStats): UnsafePathError {
  return new UnsafePathError(
    `${quote(path)} belongs to the user ${uid}, in a folder where others make files`,
    `Remove ${quote(path)}, or name another file.`,
  )
}
