import { utf8 } from '../../bytes/bytes.ts'
import { UsageError } from '../../errors.ts'
import { CredentialStore, type Origin } from '../../krb5/credentials.ts'
import type { Credential } from '../../krb5/exchange/index.ts'
import { Keytab, Krb5Config } from '../../krb5/formats/index.ts'
import { Principal } from '../../krb5/messages/index.ts'
import { integerIn, invalid, optional, ownOptions, rejectUnknown, stringOf } from '../../options.ts'
import { systemWorld } from './world.ts'

/** Longest time for one login, in milliseconds. */
export const MAX_TIMEOUT_MS = 600_000

export interface LoginOptions {
  readonly config?: Krb5Config | undefined
  /** For the whole login, 1 to 600 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** What credentials are used with. */
export interface CredentialsOptions {
  /** Default: krb5.conf (`KRB5_CONFIG`). The option `config` of a client or a call beats it. */
  readonly config?: Krb5Config | undefined
}

export interface CacheOptions extends CredentialsOptions {
  /**
   * Reads a cache that belongs to another user too: `true` for any user's, or one uid. For a cache that a sidecar or a group shares: it must be
   * readable for this process, and writable for its owner alone; nothing is written back to it. Only for a cache that is named. Default: the
   * cache must be the user's own or root's.
   */
  readonly allowForeignOwner?: true | number | undefined
}

/**
 * Who somebody is and how he proves it. Making one does nothing; the first use, or `login`, does. Tickets are kept and shared by all who use
 * the same object.
 */
export class Credentials {
  readonly #store: CredentialStore
  #isKept = false

  private constructor(store: CredentialStore) {
    this.#store = store
  }

  /**
   * The tickets of a credential cache, by default the user's own (`KRB5CCNAME`). With `principal` it must be that one's.
   *
   * @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN`, `NAME_INVALID`; `OPTION_CONFLICT` for `allowForeignOwner` without a name
   */
  static fromCache(name?: string, principal?: string, options?: CacheOptions): Credentials {
    const { config, allowForeignOwner, ...unknown } = ownOptions('fromCache', options)
    rejectUnknown('fromCache', unknown) // check: K86
    const foreignOwner = optional(allowForeignOwner, foreignOwnerOf)
    if (foreignOwner !== undefined && name === undefined) throw nameMissing() // check: F31
    return Credentials.#of(
      {
        kind: 'cache',
        name: optional(name, (value) => stringOf('name', value)),
        principal: optional(principal, principalText),
        foreignOwner,
      },
      config,
    )
  }

  /**
   * Logs in with a key of a keytab: a path, `FILE:path`, or a `Keytab`. A name that the keytab has in another case alone logs in as the keytab's.
   *
   * @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN`, `NAME_INVALID`
   */
  static fromKeytab(principal: string, keytab: string | Keytab, options?: CredentialsOptions): Credentials {
    const { config, ...unknown } = ownOptions('fromKeytab', options)
    rejectUnknown('fromKeytab', unknown) // check: K86
    const source = keytab instanceof Keytab ? keytab : stringOf('keytab', keytab)
    return Credentials.#of({ kind: 'keytab', principal: principalText(principal), keytab: source }, config)
  }

  /**
   * Logs in with a password: text as UTF-8, not normalized, or its bytes. The bytes are copied.
   *
   * @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN`, `NAME_INVALID`
   */
  static fromPassword(principal: string, password: string | Uint8Array, options?: CredentialsOptions): Credentials {
    const { config, ...unknown } = ownOptions('fromPassword', options)
    rejectUnknown('fromPassword', unknown) // check: K86
    const bytes = passwordBytes('password', password)
    return Credentials.#of({ kind: 'password', principal: principalText(principal), password: bytes }, config)
  }

  /** The user's cache, else the client keytab (`KRB5_CLIENT_KTNAME`). @internal */
  static ofUser(principal?: string): Credentials {
    return Credentials.#of({ kind: 'default', principal: optional(principal, principalText) })
  }

  /** As `fromPassword`, with a configuration and, in milliseconds, a clock of its own. @internal */
  static forRealm(principal: string, password: string, config: Krb5Config, now?: () => number): Credentials {
    const origin: Origin = { kind: 'password', principal, password: utf8(password) }
    return new Credentials(new CredentialStore(origin, systemWorld(now), config))
  }

  /** Tickets that somebody forwarded. @internal */
  static ofTickets(tickets: readonly Credential[], now?: () => number): Credentials {
    return new Credentials(new CredentialStore({ kind: 'tickets', tickets }, systemWorld(now)))
  }

  /** The tickets inside, for the other entries. @internal */
  static storeOf(credentials: Credentials): CredentialStore {
    return credentials.#store
  }

  /** Keeps a login that a client forwarded beyond the request that brought it. Who keeps one ends it with `dispose`. */
  keep(): this {
    this.#isKept = true
    return this
  }

  /** Forgets tickets, keys and passwords: from now on there is nothing to log in with (`NO_CREDENTIALS`). */
  dispose(): void {
    this.#store.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** The request that brought it is over. @internal */
  release(): void {
    if (!this.#isKept) this.dispose()
  }

  static #of(origin: Origin, config?: Krb5Config): Credentials {
    return new Credentials(new CredentialStore(origin, systemWorld(), optional(config, configOf)))
  }

  /**
   * Logs in now, when it has not; resolves to the ticket's end.
   *
   * @throws {KdcError} the KDC's refusal, by its RFC name (`KDC_ERR_PREAUTH_FAILED`: wrong password)
   * @throws {CredentialError} `NO_CREDENTIALS`, `TICKET_EXPIRED`, `CACHE_…`
   * @throws {NetworkError} `KDC_UNREACHABLE`, `KDC_TIMEOUT`, `ABORTED`
   */
  async login(options?: LoginOptions): Promise<{ principal: string; expiresAt: Date }> {
    const tgt = await this.#store.login(loginSettings(options))
    return { principal: tgt.client.toString(), expiresAt: new Date(tgt.endTime / 1000) }
  }

  /**
   * Changes the password of `fromPassword` at the realm's password service (RFC 3244), also an expired one, and goes on with the new one: two
   * round trips and one. The new password is sent once, to one server over one transport. After `KDC_TIMEOUT`
   * either password may count: the server may have got the message, and its answer was lost. So after an
   * answer that fails its checks; after a refusal the old one counts.
   *
   * @param newPassword text as UTF-8, not normalized, or its bytes, which are copied
   * @throws {CredentialError} `PASSWORD_NEEDED`, `PASSWORD_REFUSED` by the realm's rules, `PASSWORD_CHANGE_FAILED`
   * @throws {KdcError} the KDC's refusal, by its RFC name (`KDC_ERR_PREAUTH_FAILED`: wrong old password)
   * @throws {NetworkError} `KDC_UNREACHABLE`, `KDC_TIMEOUT`
   */
  async changePassword(newPassword: string | Uint8Array): Promise<void> {
    const bytes = passwordBytes('newPassword', newPassword)
    try {
      await this.#store.changePassword(bytes)
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * Writes the tickets to a credential cache; logs in first, when it has not. A file is a new one of mode 0600 renamed into place; in a
   * collection (`DIR:`) it is the principal's own or a new one, and becomes the one in use; `MEMORY:` ends with the process.
   *
   * @param name default: `KRB5CCNAME`, else `default_ccache_name` of krb5.conf, else `FILE:/tmp/krb5cc_<uid>` (Windows: `krb5cc_<user>` in the
   *   home folder)
   *
   * @throws {CredentialError} `CACHE_WRITE_FAILED`, `CACHE_TYPE_UNSUPPORTED`
   */
  async save(name?: string): Promise<void> {
    await this.#store.save(optional(name, (value) => stringOf('name', value)))
  }
}

/** A copy, as UTF-8. */
export function passwordBytes(name: string, password: unknown): Uint8Array {
  if (password instanceof Uint8Array) return new Uint8Array(password)
  if (typeof password !== 'string') throw invalid(name, 'a text or bytes', password)
  // It has no UTF-8 (RFC 3629 §3).
  if (/\p{Surrogate}/u.test(password)) throw invalid(name, 'a text without lone surrogates', password)
  return utf8(password)
}

function principalText(value: unknown): string {
  const text = stringOf('principal', value)
  Principal.parse(text)
  return text
}

/** Largest uid (Linux, credentials(7)); the last number means none. */
const MAX_UID = 0xfffffffe

function foreignOwnerOf(value: unknown): true | number {
  return value === true ? value : integerIn('allowForeignOwner', value, 0, MAX_UID)
}

function nameMissing(): UsageError {
  return new UsageError('OPTION_CONFLICT', 'allowForeignOwner is for a cache that is named, not for the default one', {
    hint: "Name the cache: Credentials.fromCache('FILE:/path', undefined, { allowForeignOwner: 1000 }).",
  })
}

export function configOf(value: unknown): Krb5Config {
  if (!(value instanceof Krb5Config)) throw invalid('config', 'a Krb5Config', value)
  return value
}

function loginSettings(options: LoginOptions | undefined): LoginOptions {
  const { config, timeoutMs, signal, ...unknown } = ownOptions('login', options)
  rejectUnknown('login', unknown)
  return Object.freeze({
    config: optional(config, configOf),
    signal,
    timeoutMs: optional(timeoutMs, (value) => integerIn('timeoutMs', value, 1, MAX_TIMEOUT_MS)),
  })
}
