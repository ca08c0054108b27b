import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { toHex } from '../bytes/hex.ts'
import { quote } from '../bytes/text.ts'
import { CredentialError, KerberosError } from '../errors.ts'
import type { CredentialFiles } from '../krb5/client.ts'
import {
  type CredentialCacheFile,
  decodeCredentialCache,
  encodeCredentialCache,
  Keytab,
  type Krb5Config,
  MAX_CACHE_BYTES,
  MAX_KEYTAB_BYTES,
} from '../krb5/formats/index.ts'
import { environmentVariable, pathTokens } from './environment.ts'
import { configReadErrors, errorCode, type ReadErrors, readRegularFile } from './read-file.ts'

/** Where MIT krb5 keeps a service's keys. */
export const DEFAULT_KEYTAB_FILE = '/etc/krb5.keytab'

const keytabErrors = configReadErrors(
  'keytab',
  'KEYTAB_UNREADABLE',
  'KEYTAB_NOT_FOUND',
  'Check the keytab option or KRB5_KTNAME, and that this user may read the file.',
)

const cacheErrors: ReadErrors = {
  what: 'credential cache',
  missing: (message, cause) =>
    new CredentialError('CACHE_NOT_FOUND', message, {
      cause,
      hint: 'Run kinit or spnego login, check KRB5CCNAME, or pass credentials.',
    }),
  unreadable: (message, cause) =>
    new CredentialError('CACHE_UNREADABLE', message, {
      cause,
      hint: 'Check who owns the cache and that it is a regular file.',
    }),
}

/** A keytab by the name that `KRB5_KTNAME` may give it: a path, `FILE:path` or `WRFILE:path`. */
export function readKeytabFile(name: string): Keytab {
  const path = name.replace(/^(?:WR)?FILE:/, '')
  return Keytab.parse(readRegularFile(path, MAX_KEYTAB_BYTES, keytabErrors), path)
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
  return environmentVariable('KRB5_KTNAME') ?? config?.defaultKeytabName(pathTokens()) ?? DEFAULT_KEYTAB_FILE
}

export function systemFiles(): CredentialFiles {
  return {
    cacheName: (name, config) => fullCacheName(name ?? defaultCacheName(config)),
    cacheStamp: (name) => cacheStamp(cachePath(name)),
    readCache: async (name) => {
      const path = cachePath(name)
      return decodeCredentialCache(readRegularFile(path, MAX_CACHE_BYTES, cacheErrors), path)
    },
    writeCache: async (name, cache) => writeCache(cachePath(name), cache),
    destroyCache: async (name) => destroyCache(cachePath(name)),
    readKeytab: async (name, config) => readKeytabFile(name ?? defaultKeytabName(config)),
    readClientKeytab: async (config) => {
      const asked = environmentVariable('KRB5_CLIENT_KTNAME')
      if (asked !== undefined) return readKeytabFile(asked)
      const usual = config.defaultClientKeytabName(pathTokens())
      return usual === undefined ? undefined : readKeytabIfThere(usual)
    },
  }
}

function defaultCacheName(config: Krb5Config): string {
  const configured = environmentVariable('KRB5CCNAME') ?? config.defaultCcacheName(pathTokens())
  return configured ?? `FILE:/tmp/krb5cc_${process.getuid?.() ?? 0}`
}

/** `TYPE:rest`; a name without a type is a file, and so is a Windows drive. */
function fullCacheName(name: string): string {
  const type = /^([A-Za-z]{2,}):/.exec(name)?.[1]
  if (type === undefined) return `FILE:${name}`
  if (type === 'FILE') return name
  throw new CredentialError('CACHE_TYPE_UNSUPPORTED', `credential caches of type ${quote(type)} cannot be read`, {
    hint: 'Run kinit -c FILE:/path (or spnego login -c /path) and set KRB5CCNAME to it, or use a keytab or a password.',
  })
}

/** A file that cannot be looked at has no stamp; reading it says why. */
function cacheStamp(path: string): string | undefined {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true })
    return `${ino}:${size}:${mtimeNs}`
  } catch {
    return undefined
  }
}

function cachePath(name: string): string {
  return name.slice('FILE:'.length)
}

/** A new file beside the old one, 0600 whatever the umask, on disk before it takes the name: a reader sees the old or the new one whole. */
function writeCache(path: string, cache: Omit<CredentialCacheFile, 'version'>): void {
  const bytes = encodeCredentialCache(cache)
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
    renameSync(temporary, path)
  } catch (cause) {
    removeQuietly(temporary)
    throw new CredentialError('CACHE_WRITE_FAILED', `credential cache ${quote(path)}: ${errorCode(cause)}`, {
      cause,
      hint: 'Check that the folder exists and that this user may write to it.',
    })
  }
}

/** As `kdestroy` does: zeros over the tickets before the name goes. */
function destroyCache(path: string): boolean {
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

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was renamed, or never made.
  }
}
