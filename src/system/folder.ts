import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
} from 'node:fs'
import { isAbsolute, join, parse, sep } from 'node:path'
import { quote } from '../bytes/text.ts'

/** Symbolic links that one path may lead through (Linux, path_resolution(7)). */
const MAX_LINKS = 40
/** Opens a folder without the right to list it (Linux, open(2)); Node has no name for it. */
const O_PATH = 0o10000000
const FOLDER_FLAGS = O_PATH | (constants.O_DIRECTORY ?? 0) | (constants.O_NOFOLLOW ?? 0)
/** Only for its owner. */
const PRIVATE_MODE = 0o700

/** A path that leads where another user wants it to lead. */
export class UnsafePathError extends Error {
  /** One sentence: what to do. */
  readonly hint: string

  constructor(message: string, hint: string) {
    super(message)
    this.hint = hint
  }
}

/** On Windows the mode is made up of one attribute, and access lists protect a file (libuv, fs__stat_impl). */
export function filesHaveOwners(): boolean {
  return process.geteuid !== undefined
}

/**
 * Every user may put a file in the place of another one there. Where files have no owner the mode says
 * nothing.
 */
export function isOpenToAll({ status: { mode } }: Folder): boolean {
  return filesHaveOwners() && (mode & 0o002n) !== 0n && (mode & 0o1000n) === 0n
}

/**
 * The user or root: their links and files are followed and written. Always true where files have no owner
 * (Windows).
 */
export function isTrustedOwner(uid: bigint): boolean {
  const user = process.geteuid?.()
  return user === undefined || uid === BigInt(user) || uid === 0n
}

/** A folder that stays the same one whatever happens to its path: on Linux held by a descriptor. */
export class Folder {
  /** Without symbolic links, for messages and where there are no descriptors. */
  readonly path: string
  readonly status: BigIntStats
  readonly #descriptor: number | undefined

  private constructor(path: string, status: BigIntStats, descriptor: number | undefined) {
    this.path = path
    this.status = status
    this.#descriptor = descriptor
  }

  /** The root of an absolute path, else the working directory. */
  static start(path: string, holds: boolean): Folder {
    const start = isAbsolute(path) ? parse(path).root : '.'
    const shown = isAbsolute(path) ? start : process.cwd()
    const descriptor = holds ? heldDescriptor(start) : undefined
    const status =
      descriptor === undefined ? lstatSync(shown, { bigint: true }) : fstatSync(descriptor, { bigint: true })
    return new Folder(shown, status, descriptor)
  }

  /** A path for an entry of this very folder: openat(2) and its like, which Node does not have. */
  at(name: string): string {
    return this.#descriptor === undefined ? join(this.path, name) : `/proc/self/fd/${this.#descriptor}/${name}`
  }

  /** Opens a folder in this one; never through a link. */
  enter(name: string): Folder {
    const path = join(this.path, name)
    if (this.#descriptor === undefined) {
      const status = lstatSync(path, { bigint: true })
      if (!status.isDirectory()) throw notFolder(path)
      return new Folder(path, status, undefined)
    }
    const descriptor = openSync(this.at(name), FOLDER_FLAGS)
    return new Folder(path, fstatSync(descriptor, { bigint: true }), descriptor)
  }

  /** As `enter`; a folder that is not there is made, for its owner only whatever the umask. */
  enterOrMake(name: string): Folder {
    if (this.statusOf(name) !== undefined) return this.enter(name)
    try {
      mkdirSync(this.at(name), PRIVATE_MODE)
    } catch (error) {
      if (reasonOf(error) === 'EEXIST') return this.enter(name) // of a process that was quicker
      throw error
    }
    const made = this.enter(name)
    chmodSync(made.at('.'), PRIVATE_MODE)
    return made
  }

  /** Of the entry itself, not of what a link names; undefined when there is none. */
  statusOf(name: string): BigIntStats | undefined {
    return lstatSync(this.at(name), { bigint: true, throwIfNoEntry: false })
  }

  /**
   * What a symbolic link names; undefined for any other entry. A link is followed only when the user or root
   * made it: Linux has the same rule for sticky folders (proc(5), protected_symlinks), which a path that was
   * resolved beforehand passes by.
   *
   * @throws {UnsafePathError} for a link of another user, and for one that is replaced at this moment
   */
  linkTarget(name: string): string | undefined {
    const before = this.statusOf(name)
    if (before?.isSymbolicLink() !== true) return undefined
    const target = readlinkSync(this.at(name))
    const { ino, uid } = this.statusOf(name) ?? {}
    const isTrusted = ino === before.ino && uid !== undefined && isTrustedOwner(uid)
    if (!isTrusted) throw foreignLink(join(this.path, name), before.uid) // check: F20
    return target
  }

  /** Where a folder is held by its path alone: whether that path still leads to it. */
  isUnchanged(): boolean {
    if (this.#descriptor !== undefined) return true
    const status = lstatSync(this.path, { bigint: true, throwIfNoEntry: false })
    return status !== undefined && isSameFile(status, this.status)
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
  }
}

/** A name in a folder: the end of a path, behind all of its links. */
export interface Place {
  readonly folder: Folder
  readonly name: string
  /** Without links, for messages. */
  readonly path: string
  /** A link led here that is itself the last name of the path asked for. */
  readonly isLinked: boolean
}

export interface WalkOptions {
  /** A link at the end of the path is the place itself, and not what it names. Default false. */
  readonly keepsLastLink?: boolean
  /** Folders are held by descriptors where the system has them. Default true; a test turns it off. */
  readonly holds?: boolean
}

/**
 * Walks a path name by name from a folder that is held, so that what was looked at is what is opened.
 *
 * @throws {UnsafePathError} when a link of another user lies on the way
 * @throws {Error} of the file system
 */
export function openPlace(path: string, { keepsLastLink = false, holds = true }: WalkOptions = {}): Place {
  const walk = new Walk(path, holds)
  return walk.orClosed(() => {
    for (;;) {
      const name = walk.nextName()
      const isLast = walk.isOver
      if (name === '..') walk.go(walk.folder.enter(name))
      else if (isLast && keepsLastLink) return walk.placeOf(name)
      else if (walk.followsLink(name)) continue
      else if (isLast) return walk.placeOf(name)
      else walk.go(walk.folder.enter(name))
    }
  })
}

/** As `openPlace`, to a folder, which is made when it is not there, with those above it. */
export function makeFolders(path: string): Folder {
  const walk = new Walk(path, true)
  return walk.orClosed(() => {
    while (!walk.isOver) {
      const name = walk.nextName()
      if (name !== '..' && walk.followsLink(name)) continue
      walk.go(walk.folder.enterOrMake(name))
    }
    return walk.folder
  })
}

/** The folder that was reached, and the names that are left. */
class Walk {
  folder: Folder
  readonly #asked: string
  readonly #holds: boolean
  #names: string[]
  #links = 0
  #isLinked = false

  constructor(path: string, holds: boolean) {
    this.#asked = path
    this.#holds = holds
    this.#names = namesOf(path)
    this.folder = Folder.start(path, holds)
  }

  get isOver(): boolean {
    return this.#names.length === 0
  }

  /** The result of a walk that reaches its end; of any other no folder stays open. */
  orClosed<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      this.folder.close()
      throw error
    }
  }

  nextName(): string {
    const name = this.#names.shift()
    if (name === undefined) throw new UnsafePathError(`${quote(this.#asked)} is a folder`, 'Name a file in it.')
    return name
  }

  placeOf(name: string): Place {
    return { folder: this.folder, name, path: join(this.folder.path, name), isLinked: this.#isLinked }
  }

  /** Puts a link's target before the names that are left; false for what is no link. */
  followsLink(name: string): boolean {
    const target = this.folder.linkTarget(name)
    if (target === undefined) return false
    if (++this.#links > MAX_LINKS) throw tooManyLinks(this.#asked)
    this.#isLinked ||= this.isOver
    this.#names.unshift(...namesOf(target))
    if (isAbsolute(target)) this.go(Folder.start(target, this.#holds))
    return true
  }

  go(next: Folder): void {
    this.folder.close()
    this.folder = next
  }
}

export function isSameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.dev === b.dev && a.ino === b.ino
}

/** Of an error of the file system its code; of a refused path the whole reason. */
export function reasonOf(error: unknown): string | undefined {
  if (error instanceof UnsafePathError) return error.message
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

function namesOf(path: string): string[] {
  const names = path.slice(isAbsolute(path) ? parse(path).root.length : 0).split(sep === '/' ? '/' : /[\\/]/)
  return names.filter((name) => name !== '' && name !== '.')
}

/**
 * Undefined where the names behind a descriptor cannot be reached: without Linux's /proc, or without the
 * right to it.
 */
function heldDescriptor(path: string): number | undefined {
  if (process.platform !== 'linux') return undefined
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, FOLDER_FLAGS)
    const reached = lstatSync(`/proc/self/fd/${descriptor}/.`, { bigint: true })
    if (isSameFile(reached, fstatSync(descriptor, { bigint: true }))) return descriptor
  } catch {
    // No /proc, or a runtime without such flags.
  }
  if (descriptor !== undefined) closeSync(descriptor)
  return undefined
}

function foreignLink(path: string, uid: bigint): UnsafePathError {
  return new UnsafePathError(
    `${quote(path)} is a symbolic link of the user ${uid}, which is not followed`,
    `Remove ${quote(path)}, or name the file that it leads to.`,
  )
}

function notFolder(path: string): Error {
  return Object.assign(new Error(`${quote(path)} is not a folder`), { code: 'ENOTDIR' })
}

function tooManyLinks(path: string): Error {
  return Object.assign(new Error(`${quote(path)}: too many links`), { code: 'ELOOP' })
}
