import { statSync } from 'node:fs'
import { quote } from '../bytes/text.ts'
import { KerberosError, UsageError } from '../errors.ts'
import type { CredentialFiles, ForeignOwner } from '../krb5/client.ts'
import { type CredentialCacheFile, Keytab, type Krb5Config, MAX_KEYTAB_BYTES } from '../krb5/formats/index.ts'
import { CacheFinder, cachesIn, freshCacheIn, makeFolder, primaryOf, switchTo } from './cache-directory.ts'
import { outOfReach } from './cache-errors.ts'
import { destroyCacheFile, readCacheFile, readDefaultCacheFile, stampOf, writeCacheFile } from './cache-file.ts'
import { destroyMemoryCache, readMemoryCache, stampOfMemory, writeMemoryCache } from './cache-memory.ts'
import { environmentVariable } from './environment.ts'
import { filesHaveOwners } from './folder.ts'
import { pathTokens } from './path-tokens.ts'
import { defaultPlaces } from './places.ts'
import { configReadErrors, type FileStatus, readRegularFile } from './read-file.ts'

const keytabErrors = configReadErrors(
  'keytab',
  'KEYTAB_UNREADABLE',
  'KEYTAB_NOT_FOUND',
  'Check the keytab option or KRB5_KTNAME, and that this user may read the file.',
)

/** A keytab by the name that `KRB5_KTNAME` may give it: a path, `FILE:path` or `WRFILE:path`. */
export function readKeytabFile(name: string): Keytab {
  const path = keytabPath(name)
  return Keytab.parse(readRegularFile(path, MAX_KEYTAB_BYTES, keytabErrors, warnIfExposed), path)
}

/** Changes with the file; undefined as long as none can be seen, as after a process has given up its rights. Links are followed, so that it is the file which counts: Kubernetes changes links. */
export function keytabStamp(name: string): string | undefined {
  try {
    const status = statSync(keytabPath(name), { bigint: true })
    return [status.dev, status.ino, status.size, status.mtimeNs, status.ctimeNs].join()
  } catch {
    return undefined
  }
}

function keytabPath(name: string): string {
  return name.replace(/^(?:WR)?FILE:/, '')
}

/** Who reads a keytab is the service: it is used all the same, since many mounts of secrets leave no choice. */
function warnIfExposed(path: string, { mode }: FileStatus): void {
  if (!filesHaveOwners()) return // check: F33
  const text = `keytab ${quote(path)} can be read by every user of this machine: chmod o= it`
  if ((mode & 0o007) !== 0) process.emitWarning(text, { code: 'SPNEGO_KEYTAB_EXPOSED' }) // check: F07
}

/** krb5.conf names a client keytab for every user; few have one. */
function readKeytabIfThere(name: string): Keytab | undefined {
  try {
    return readKeytabFile(name)
  } catch (error) {
    if (error instanceof KerberosError && error.code === 'KEYTAB_NOT_FOUND') return undefined
    throw error
  }
}

/** The name of the keytab that a service uses when none is given. */
export function defaultKeytabName(config?: Krb5Config): string {
  return environmentVariable('KRB5_KTNAME') ?? config?.defaultKeytabName(pathTokens) ?? defaultPlaces().keytab
}

export function systemFiles(): CredentialFiles {
  const finder = new CacheFinder()
  return {
    cacheName: (name, config, isWanted) => {
      const full = fullName(name ?? defaultCacheName(config))
      return full.startsWith(COLLECTION) ? inCollection(full.slice(COLLECTION.length), finder, isWanted) : full
    },
    saveCache: async (name, config, cache) => {
      const full = fullName(name ?? defaultCacheName(config))
      const place = full.startsWith(COLLECTION)
        ? placeFor(full.slice(COLLECTION.length), finder, cache.principal)
        : full
      await storeOf(place).write(cache)
      if (place.startsWith(SUBSIDIARY)) switchTo(place.slice(SUBSIDIARY.length))
    },
    cacheNames: (name, config) => {
      const full = fullName(name ?? defaultCacheName(config))
      if (full.startsWith(COLLECTION)) return cachesIn(full.slice(COLLECTION.length)).map((path) => SUBSIDIARY + path)
      const isThere = storeOf(full).stamp() !== undefined
      return isThere ? [full] : []
    },
    switchCache: (name) => {
      if (!name.startsWith(SUBSIDIARY)) throw noCollection(name)
      switchTo(name.slice(SUBSIDIARY.length))
    },
    cacheStamp: (name) => storeOf(name).stamp(),
    readCache: async (name, isAsked = true, foreignOwner) => storeOf(name).read(isAsked, foreignOwner),
    isAskedFor: (name) => name !== undefined || environmentVariable('KRB5CCNAME') !== undefined,
    writeCache: async (name, cache, stamp) => storeOf(name).write(cache, stamp),
    destroyCache: async (name) => storeOf(name).destroy(),
    readKeytab: async (name, config) => readKeytabFile(name ?? defaultKeytabName(config)),
    keytabStamp: (name, config) => keytabStamp(name ?? defaultKeytabName(config)),
    clientKeytabStamp: (config) => {
      const name = environmentVariable('KRB5_CLIENT_KTNAME') ?? config.defaultClientKeytabName(pathTokens)
      return name === undefined ? undefined : keytabStamp(name)
    },
    readClientKeytab: async (config) => {
      const asked = environmentVariable('KRB5_CLIENT_KTNAME')
      if (asked !== undefined) return readKeytabFile(asked)
      const usual = config.defaultClientKeytabName(pathTokens)
      return usual === undefined ? undefined : readKeytabIfThere(usual)
    },
  }
}

function defaultCacheName(config: Krb5Config): string {
  const configured = environmentVariable('KRB5CCNAME') ?? config.defaultCcacheName(pathTokens)
  return configured ?? defaultPlaces().cache
}

const FILE = 'FILE:'
const MEMORY = 'MEMORY:'
const COLLECTION = 'DIR:'
const SUBSIDIARY = 'DIR::'

/** `TYPE:rest`; a name without a type is a file, and so is a Windows drive. */
function fullName(name: string): string {
  const type = /^([A-Za-z]{2,}):/.exec(name)?.[1]
  if (type === undefined) return FILE + name
  if (type === 'FILE' || type === 'MEMORY' || type === 'DIR') return name
  throw outOfReach(type, name)
}

/** The cache of a principal, else the one in use; of `DIR::path` that very one. */
function inCollection(
  rest: string,
  finder: CacheFinder,
  isWanted: Parameters<CacheFinder['find']>[1] | undefined,
): string {
  if (rest.startsWith(':')) return `${COLLECTION}${rest}`
  const found = isWanted === undefined ? undefined : finder.find(rest, isWanted)
  return `${SUBSIDIARY}${found ?? primaryOf(rest)}`
}

/** As `kinit` does: the principal's own cache, the first of an empty collection, or a new one. */
function placeFor(rest: string, finder: CacheFinder, principal: CredentialCacheFile['principal']): string {
  if (rest.startsWith(':')) return `${COLLECTION}${rest}`
  makeFolder(rest)
  const own = finder.find(rest, (other) => other.equals(principal))
  return `${SUBSIDIARY}${own ?? freshCacheIn(rest)}`
}

interface CacheStore {
  stamp(): string | undefined
  read(isAsked: boolean, foreignOwner: ForeignOwner | undefined): ReturnType<CredentialFiles['readCache']>
  write(cache: Parameters<CredentialFiles['writeCache']>[1], stamp?: string): boolean
  destroy(): boolean
}

/** What lies behind a full name. */
function storeOf(name: string): CacheStore {
  if (name.startsWith(MEMORY)) {
    const key = name.slice(MEMORY.length)
    return {
      stamp: () => stampOfMemory(key),
      read: async () => readMemoryCache(key),
      write: (cache, stamp) => writeMemoryCache(key, cache, stamp),
      destroy: () => destroyMemoryCache(key),
    }
  }
  const path = name.slice(name.startsWith(SUBSIDIARY) ? SUBSIDIARY.length : FILE.length)
  return {
    stamp: () => stampOf(path),
    read: (isAsked, foreignOwner) => (isAsked ? readCacheFile(path, foreignOwner) : readDefaultCacheFile(path)),
    write: (cache, stamp) => writeCacheFile(path, cache, stamp),
    destroy: () => destroyCacheFile(path),
  }
}

function noCollection(name: string): UsageError {
  return new UsageError('OPTION_INVALID', `${quote(name)} is not a cache of a collection`, {
    hint: 'Only DIR: has several caches of which one is in use: set KRB5CCNAME to DIR:/path.',
  })
}
