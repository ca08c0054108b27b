import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { utf8 } from '../bytes/bytes.ts'
import { toHex } from '../bytes/hex.ts'
import { quote } from '../bytes/text.ts'
import { KerberosError } from '../errors.ts'
import { type CredentialCacheFile, decodeCredentialCache, MAX_CACHE_BYTES } from '../krb5/formats/index.ts'
import { cacheErrors, cannotWrite } from './cache-errors.ts'
import { stampOf } from './cache-file.ts'
import { makeFolders, openPlace } from './folder.ts'
import { errorCode, readRegularFile } from './read-file.ts'
import { replaceFile } from './replace-file.ts'

/**
 * A collection of caches in a directory (MIT krb5, "Credential cache", DIR): files whose names begin with `tkt`, and `primary`, which names the one
 * that counts. `DIR:folder` is the collection, `DIR::folder/tktfile` one cache of it.
 */

type Principal = CredentialCacheFile['principal']

/** The file that names the cache in use. */
const PRIMARY_FILE = 'primary'
/** What every cache's file begins with, and the whole name of the first. */
const PREFIX = 'tkt'
const MAX_PRIMARY_BYTES = 1024
/** Caches of one collection that are looked at; those behind are ignored. */
const MAX_CACHES = 256

/** The cache in use. It need not exist. */
export function primaryOf(folder: string): string {
  return join(folder, primaryName(folder) ?? PREFIX)
}

function primaryName(folder: string): string | undefined {
  const path = join(folder, PRIMARY_FILE)
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  const text = readRegularFile(path, MAX_PRIMARY_BYTES, cacheErrors).toString('utf8')
  const name = text.replace(/\r?\n$/, '')
  if (isCacheName(name)) return name
  throw cacheErrors.unreadable(`${quote(path)} names no cache of its folder: ${quote(name)}`)
}

/** A file of this very folder. */
function isCacheName(name: string): boolean {
  return name.startsWith(PREFIX) && name === basename(name) && !/[\0\n]/.test(name)
}

/** The caches that are there, the one in use first. */
export function cachesIn(folder: string): readonly string[] {
  let names: readonly string[]
  try {
    names = readdirSync(folder).filter(isCacheName).sort().slice(0, MAX_CACHES)
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return []
    throw cacheErrors.unreadable(`credential cache folder ${quote(folder)}: ${errorCode(cause)}`, cause)
  }
  const primary = basename(primaryOf(folder))
  return [...names.filter((name) => name === primary), ...names.filter((name) => name !== primary)].map((name) =>
    join(folder, name),
  )
}

/** Principals whose caches are remembered; those behind are searched for each time. */
const MAX_FOUND = 64

interface FoundCache {
  readonly folder: string
  readonly path: string
  readonly principal: Principal
  /** Of the cache, and of the file that names the one in use. */
  readonly stamps: string
}

/**
 * Finds the caches of principals; one that was found is searched for again only when it, or the one in use,
 * has changed.
 */
export class CacheFinder {
  #found: readonly FoundCache[] = []

  /** The cache of a principal, or undefined when the collection has none. */
  find(folder: string, isWanted: (principal: Principal) => boolean): string | undefined {
    const known = this.#found.find((one) => one.folder === folder && isWanted(one.principal))
    if (known !== undefined && stampsOf(folder, known.path) === known.stamps) return known.path
    const found = search(folder, isWanted)
    this.#found = this.#found.filter((one) => one !== known).slice(-MAX_FOUND + 1)
    if (found !== undefined) this.#found = [...this.#found, found]
    return found?.path
  }
}

function stampsOf(folder: string, path: string): string {
  return `${stampOf(join(folder, PRIMARY_FILE))} ${stampOf(path)}`
}

/** Files that are no caches are passed over. */
function search(folder: string, isWanted: (principal: Principal) => boolean): FoundCache | undefined {
  for (const path of cachesIn(folder)) {
    const stamps = stampsOf(folder, path) // before it is read: what changes meanwhile is seen the next time
    const principal = principalIn(path)
    if (principal !== undefined && isWanted(principal)) return { folder, path, principal, stamps }
  }
  return undefined
}

function principalIn(path: string): Principal | undefined {
  try {
    return decodeCredentialCache(readRegularFile(path, MAX_CACHE_BYTES, cacheErrors), path).principal
  } catch (error) {
    if (error instanceof KerberosError) return undefined
    throw error
  }
}

/** A name that is free: the first cache is the primary one. */
export function freshCacheIn(folder: string): string {
  const primary = primaryOf(folder)
  if (statSync(primary, { throwIfNoEntry: false }) === undefined) return primary
  return join(folder, PREFIX + toHex(globalThis.crypto.getRandomValues(new Uint8Array(6))))
}

/** Only for its owner: MIT krb5 makes it so too. */
export function makeFolder(folder: string): void {
  try {
    makeFolders(folder).close()
  } catch (cause) {
    throw cannotWrite(folder, cause)
  }
}

/** Makes a cache the one in use. A reader sees the old name or the new one. */
export function switchTo(path: string): void {
  const primary = join(dirname(path), PRIMARY_FILE)
  try {
    const place = openPlace(primary)
    try {
      replaceFile(place, utf8(`${basename(path)}\n`))
    } finally {
      place.folder.close()
    }
  } catch (cause) {
    throw cannotWrite(primary, cause)
  }
}
