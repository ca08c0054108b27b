import { quote } from '../../bytes/text.ts'
import { CredentialError, MalformedError } from '../../errors.ts'
import {
  Krb5Config as BaseConfig,
  Keytab as BaseKeytab,
  type CachedCredential,
  cachedTickets,
} from '../../krb5/formats/index.ts'
import { decodeTicket, Principal } from '../../krb5/messages/index.ts'
import { optional, stringOf } from '../../options.ts'
import { defaultKeytabName, loadProfile, readKeytabFile, systemFiles } from '../../system/index.ts'
import { loadProfileWithWarnings } from './loaded-config.ts'
import { type CachedTicket, ticketOf } from './ticket.ts'

function noneOf(principal: Principal, name: string | undefined): CredentialError {
  const where = name === undefined ? 'the collection' : quote(name)
  return new CredentialError('NO_CREDENTIALS', `${where} has no tickets of ${principal}`, {
    hint: `Run kinit ${principal} or spnego login ${principal}; spnego list -A shows what is there.`,
  })
}

/** The other tickets of a cache are good whatever this one is. */
function ticketEnctypeOf({ ticket }: CachedCredential): number | undefined {
  try {
    return decodeTicket(ticket).encPart.etype
  } catch (error) {
    if (error instanceof MalformedError) return undefined // check: F32
    throw error
  }
}

function fileName(value: unknown): string {
  return stringOf('name', value)
}

/** The keys of a service, or of a user who logs in without a password (MIT krb5, "Keytab file format"). */
export class Keytab extends BaseKeytab {
  /**
   * Reads a keytab: a path, `FILE:path`, or by default `KRB5_KTNAME`, else `default_keytab_name` of krb5.conf, else `/etc/krb5.keytab`.
   *
   * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`
   * @throws {MalformedError} `KEYTAB_MALFORMED`
   */
  static async load(name?: string): Promise<Keytab> {
    return readKeytabFile(optional(name, fileName) ?? defaultKeytabName(new BaseConfig(loadProfile())))
  }
}

/** The settings of krb5.conf; each value knows its file and line. */
export class Krb5Config extends BaseConfig {
  /**
   * Reads the files of a list between colons (Windows: semicolons), by default `KRB5_CONFIG`, else `/etc/krb5.conf` (Windows: `krb5.ini` in
   * `%ProgramData%\MIT\Kerberos5`, else in `%windir%`); the first wins for single values.
   *
   * @throws {ConfigError} `CONFIG_UNREADABLE`, `CONFIG_SYNTAX` with file and line
   */
  static async load(names?: string): Promise<Krb5Config> {
    return new Krb5Config(loadProfileWithWarnings(optional(names, fileName)))
  }
}

/** A credential cache as a caller may see it: whose it is and which tickets lie in it. */
export class CredentialCache {
  readonly principal: Principal
  readonly tickets: readonly CachedTicket[]

  private constructor(principal: Principal, tickets: readonly CachedTicket[]) {
    this.principal = principal
    this.tickets = tickets
  }

  /**
   * Reads a cache: `FILE:path`, a path, `DIR:folder` (the one in use), `MEMORY:name`, or by default `KRB5CCNAME`, else `default_ccache_name` of krb5.conf, else `FILE:/tmp/krb5cc_<uid>` (Windows: `krb5cc_<user>` in the home folder).
   *
   * @throws {CredentialError} `CACHE_NOT_FOUND`, `CACHE_UNREADABLE`, `CACHE_TYPE_UNSUPPORTED`
   * @throws {MalformedError} `CACHE_MALFORMED`
   */
  static async load(name?: string): Promise<CredentialCache> {
    const files = systemFiles()
    const cache = await files.readCache(CredentialCache.nameOf(name), files.isAskedFor(name))
    const tickets = cachedTickets(cache).map((found) =>
      ticketOf({
        client: found.client,
        server: found.server,
        enctype: found.enctype,
        ticketEnctype: ticketEnctypeOf(found),
        flags: found.flags,
        startTime: (found.startTime || found.authTime) * 1e6,
        endTime: found.endTime * 1e6,
        renewTill: found.renewTill === 0 ? undefined : found.renewTill * 1e6,
      }),
    )
    return new CredentialCache(cache.principal, tickets)
  }

  /**
   * Every cache of a collection, the one in use first: `DIR:folder`, or by default the user's own. Without a collection the one cache, if it is
   * there.
   */
  static names(name?: string): readonly string[] {
    return systemFiles().cacheNames(optional(name, fileName), new BaseConfig(loadProfile()))
  }

  /**
   * Makes a principal's cache of a collection the one in use.
   *
   * @throws {CredentialError} `NO_CREDENTIALS` when the collection has none of that principal
   * @throws {UsageError} `OPTION_INVALID` when there is no collection, `NAME_INVALID`
   */
  static async switch(principal: string, name?: string): Promise<void> {
    const config = new BaseConfig(loadProfile())
    const wanted = Principal.parse(stringOf('principal', principal), config.defaultRealm)
    const files = systemFiles()
    const found = files.cacheName(optional(name, fileName), config, (other) => other.equals(wanted))
    const cache = await files.readCache(found, files.isAskedFor(name))
    if (!cache.principal.equals(wanted)) throw noneOf(wanted, name)
    files.switchCache(found)
  }

  /** The full name (`FILE:/path`) of a cache, by default the user's own, whether it exists or not. */
  static nameOf(name?: string): string {
    return systemFiles().cacheName(optional(name, fileName), new BaseConfig(loadProfile()))
  }

  /** Overwrites a cache and removes it; resolves to whether there was one. */
  static async destroy(name?: string): Promise<boolean> {
    return systemFiles().destroyCache(CredentialCache.nameOf(name))
  }
}
