import { Krb5Config as BaseConfig, Keytab as BaseKeytab, cachedTickets } from '../../krb5/formats/index.ts'
import { decodeTicket, type Principal } from '../../krb5/messages/index.ts'
import { optional, stringOf } from '../../options.ts'
import { defaultKeytabName, loadProfile, readKeytabFile, systemFiles } from '../../system/index.ts'
import { type Ticket, ticketOf } from './ticket.ts'

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
   * Reads the files of a colon-separated list, by default `KRB5_CONFIG`, else `/etc/krb5.conf`; the first wins for single values.
   *
   * @throws {ConfigError} `CONFIG_UNREADABLE`, `CONFIG_SYNTAX` with file and line
   */
  static async load(names?: string): Promise<Krb5Config> {
    return new Krb5Config(loadProfile(optional(names, fileName)))
  }
}

/** A credential cache as a caller may see it: whose it is and which tickets lie in it. */
export class CredentialCache {
  readonly principal: Principal
  readonly tickets: readonly Ticket[]

  private constructor(principal: Principal, tickets: readonly Ticket[]) {
    this.principal = principal
    this.tickets = tickets
  }

  /**
   * Reads a cache: `FILE:path`, a path, or by default `KRB5CCNAME`, else `default_ccache_name` of krb5.conf, else `FILE:/tmp/krb5cc_<uid>`.
   *
   * @throws {CredentialError} `CACHE_NOT_FOUND`, `CACHE_UNREADABLE`, `CACHE_TYPE_UNSUPPORTED`
   * @throws {MalformedError} `CACHE_MALFORMED`
   */
  static async load(name?: string): Promise<CredentialCache> {
    const cache = await systemFiles().readCache(CredentialCache.nameOf(name))
    const tickets = cachedTickets(cache).map((found) =>
      ticketOf({
        client: found.client,
        server: found.server,
        enctype: found.enctype,
        ticketEnctype: decodeTicket(found.ticket).encPart.etype,
        flags: found.flags,
        startTime: (found.startTime || found.authTime) * 1e6,
        endTime: found.endTime * 1e6,
        renewTill: found.renewTill === 0 ? undefined : found.renewTill * 1e6,
      }),
    )
    return new CredentialCache(cache.principal, tickets)
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
