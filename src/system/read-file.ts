import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { quote } from '../bytes/text.ts'
import { ConfigError, type ErrorCode, type KerberosError } from '../errors.ts'

/** Who owns a file, and its permissions. */
export interface FileStatus {
  readonly uid: number
  readonly mode: number
}

/** How a file that cannot be read is reported. */
export interface ReadErrors {
  readonly what: string
  readonly missing: (message: string, cause: unknown) => KerberosError
  readonly unreadable: (message: string, cause?: unknown) => KerberosError
}

/**
 * Reads a whole regular file of at most `most` octets. Symbolic links are followed: Kubernetes mounts every secret behind two. A FIFO, a
 * device or a directory is refused without waiting for it.
 *
 * @param look at who owns the file and who may read it; throws when it is not to be believed
 * @param shown the path in messages
 */
export function readRegularFile(
  path: string,
  most: number,
  errors: ReadErrors,
  look?: (path: string, status: FileStatus) => void,
  shown: string = path,
): Buffer {
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) // a FIFO without a writer would block
  } catch (cause) {
    const code = errorCode(cause)
    const file = `${errors.what} ${quote(shown)}`
    if (code === 'ENOENT') throw errors.missing(`${file} does not exist`, cause)
    throw errors.unreadable(`${file} cannot be opened: ${code}`, cause)
  }
  try {
    look?.(shown, fstatSync(descriptor))
    return readDescriptor(descriptor, shown, most, errors)
  } finally {
    closeSync(descriptor)
  }
}

function readDescriptor(descriptor: number, path: string, most: number, errors: ReadErrors): Buffer {
  const status = fstatSync(descriptor)
  if (!status.isFile()) throw errors.unreadable(`${errors.what} ${quote(path)} is not a regular file`) // check: F06
  if (status.size > most) throw errors.unreadable(`${errors.what} ${quote(path)} is longer than ${most} octets`) // check: F06
  const whole = Buffer.alloc(status.size)
  let length = 0
  while (length < whole.length) {
    const got = readSync(descriptor, whole, length, whole.length - length, null)
    if (got === 0) break
    length += got
  }
  return whole.subarray(0, length)
}

export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

export function configReadErrors(what: string, code: ErrorCode, missing: ErrorCode, hint: string): ReadErrors {
  return {
    what,
    missing: (message, cause) => new ConfigError(missing, message, { cause, hint }),
    unreadable: (message, cause) => new ConfigError(code, message, { cause, hint }),
  }
}

/** The names in a folder, but for those of folders. */
export function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path).filter((name) => !isFolder(join(path, name)))
  } catch (cause) {
    throw new ConfigError('CONFIG_UNREADABLE', `configuration directory ${quote(path)}: ${errorCode(cause)}`, { cause })
  }
}

/** Behind links too; a link that leads nowhere is none, and reading it says so. */
function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
