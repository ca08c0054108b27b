import { toHex } from '../bytes/hex.ts'
import { quote } from '../bytes/text.ts'
import { type CredentialCacheFile, decodeCredentialCache, encodeCredentialCache } from '../krb5/formats/index.ts'
import { cacheErrors } from './cache-errors.ts'

/**
 * `MEMORY:name`: caches that end with the process (MIT krb5, "Credential cache"). A name means the same everywhere in it, as a path
 * does on the machine: this is the one store that clients share without being handed it.
 */
const caches = new Map<string, { readonly bytes: Uint8Array; readonly stamp: string }>()

export function stampOfMemory(name: string): string | undefined {
  return caches.get(name)?.stamp
}

export function readMemoryCache(name: string): CredentialCacheFile {
  const found = caches.get(name)
  if (found === undefined)
    throw cacheErrors.missing(`credential cache ${quote(`MEMORY:${name}`)} does not exist`, undefined)
  return decodeCredentialCache(found.bytes, `MEMORY:${name}`)
}

export function writeMemoryCache(
  name: string,
  cache: Omit<CredentialCacheFile, 'version'>,
  expected?: string,
): boolean {
  if (expected !== undefined && stampOfMemory(name) !== expected) return false
  const stamp = toHex(globalThis.crypto.getRandomValues(new Uint8Array(8)))
  caches.get(name)?.bytes.fill(0)
  caches.set(name, { bytes: encodeCredentialCache(cache), stamp })
  return true
}

export function destroyMemoryCache(name: string): boolean {
  caches.get(name)?.bytes.fill(0)
  return caches.delete(name)
}
