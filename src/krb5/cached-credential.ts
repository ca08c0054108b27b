import { enctypeName, isSupportedEnctype, Key } from '../crypto/index.ts'
import { CredentialError } from '../errors.ts'
import type { Credential } from './exchange/index.ts'
import { CachedCredential, type CredentialCacheFile } from './formats/index.ts'
import { decodeTicket } from './messages/index.ts'

/**
 * What a cache file holds, in seconds, as an exchange has it, in microseconds.
 *
 * @param offset the KDC's clock minus ours, in microseconds
 * @throws {CredentialError} `ENCTYPE_UNSUPPORTED`
 */
export function fromCached(found: CachedCredential, offset: number): Credential {
  if (!isSupportedEnctype(found.enctype)) throw unsupported(found)
  return {
    client: found.client,
    server: found.server,
    ticket: decodeTicket(found.ticket),
    sessionKey: new Key(found.enctype, found.keyBytes()),
    flags: found.flags,
    authTime: found.authTime * 1e6,
    startTime: (found.startTime || found.authTime) * 1e6,
    endTime: found.endTime * 1e6,
    renewTill: found.renewTill === 0 ? undefined : found.renewTill * 1e6,
    addresses: found.addresses.map(({ type, data }) => ({ addressType: type, address: data })),
    clockOffset: offset,
  }
}

export function toCached(credential: Credential): CachedCredential {
  const { client, server, sessionKey, flags, authTime, startTime, endTime, renewTill, addresses, ticket } = credential
  return new CachedCredential({
    client,
    server,
    enctype: sessionKey.enctype,
    key: sessionKey.toBytes(),
    authTime: authTime / 1e6,
    startTime: startTime / 1e6,
    endTime: endTime / 1e6,
    renewTill: (renewTill ?? 0) / 1e6,
    flags,
    addresses: (addresses ?? []).map(({ addressType, address }) => ({ type: addressType, data: address })),
    ticket: ticket.raw,
  })
}

/** The header field of a cache whose login noticed another time at the KDC. */
export function toKdcOffset({ clockOffset }: Credential): CredentialCacheFile['kdcOffset'] {
  if (clockOffset === 0) return undefined
  const seconds = Math.trunc(clockOffset / 1e6)
  return { seconds, microseconds: Math.trunc(clockOffset - seconds * 1e6) }
}

function unsupported({ server, enctype }: CachedCredential): CredentialError {
  const message = `the ticket for ${server} in the cache has a session key of ${enctypeName(enctype)}`
  return new CredentialError('ENCTYPE_UNSUPPORTED', message, {
    hint: 'Log in again with AES enctypes: permitted_enctypes in krb5.conf, and AES keys for the account.',
  })
}
