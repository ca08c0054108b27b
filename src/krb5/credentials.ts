/**
 * What somebody logs in with, and the tickets that came of it.
 *
 * One login and one request for each service ticket, however many callers wait. Tickets are kept in memory until shortly before their
 * end; those from a cache are written back to it, so that `klist` shows them.
 */

import { utf8 } from '../bytes/bytes.ts'
import { quote } from '../bytes/text.ts'
import { enctypeName, isSupportedEnctype, Key, stringToKey } from '../crypto/index.ts'
import { ConfigError, CredentialError, KerberosError, UsageError } from '../errors.ts'
import { aborted, type Deadline, drive, KdcSender, type World } from './client.ts'
import {
  asExchange,
  type Credential,
  type Exchange,
  type KeyRequest,
  type Source,
  tgsExchange,
  ticketGrantingService,
} from './exchange/index.ts'
import {
  CachedCredential,
  type CredentialCacheFile,
  cachedTicketFor,
  Keytab,
  type Krb5Config,
} from './formats/index.ts'
import { decodeTicket, Principal } from './messages/index.ts'

/** Default time for a whole login, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000
/** Default lifetime asked for, in seconds (MIT krb5.conf, ticket_lifetime). */
const DEFAULT_LIFETIME_SECONDS = 86_400
/** A ticket is not used in its last minute, or its last tenth when it lives for less than ten. Microseconds. */
const LAST_MOMENTS = 60e6

export type Origin =
  /** The default cache, or else the client keytab. */
  | { readonly kind: 'default'; readonly principal: string | undefined }
  | { readonly kind: 'cache'; readonly name: string | undefined; readonly principal: string | undefined }
  | { readonly kind: 'keytab'; readonly principal: string; readonly keytab: string | Keytab | undefined }
  | { readonly kind: 'password'; readonly principal: string; readonly password: Uint8Array }

export interface TicketOptions {
  readonly config?: Krb5Config | undefined
  /** For the whole call, 1 to 600 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** In order of preference; by default those of krb5.conf, else 18, 17, 20, 19. */
  readonly enctypes?: readonly number[] | undefined
  readonly clockSkewSeconds?: number | undefined
}

interface Call extends Deadline {
  readonly config: Krb5Config
  readonly enctypes: readonly number[]
  readonly clockSkew: number | undefined
}

export class CredentialStore {
  readonly #origin: Origin
  readonly #world: World
  readonly #config: Krb5Config | undefined
  readonly #sender: KdcSender
  readonly #tickets = new Map<string, Credential>()
  readonly #pending = new Map<string, Promise<Credential>>()
  /** The state of the cache file that `#tickets` came from. */
  #stamp: string | undefined

  /** The clock and the randomness of whoever logs in: his authenticators are made by them too. */
  get source(): Source {
    return this.#world.source
  }

  /** @param config belongs to these credentials; a caller's own option beats it */
  constructor(origin: Origin, world: World, config?: Krb5Config) {
    this.#origin = origin
    this.#world = world
    this.#config = config
    this.#sender = new KdcSender(world)
  }

  /** The ticket-granting ticket. */
  async getTicketGrantingTicket(options: TicketOptions = {}): Promise<Credential> {
    const call = await this.#call(options)
    return this.#once('krbtgt', call, () => this.#ticketGrantingTicket(call))
  }

  /**
   * A ticket for a service; its realm, when empty, is that of its host in krb5.conf, else the user's.
   *
   * @throws {CredentialError} `NO_CREDENTIALS`, `TICKET_EXPIRED`, `CACHE_…`
   * @throws {KdcError} the KDC's refusal
   * @throws {NetworkError} `KDC_UNREACHABLE`, `KDC_TIMEOUT`, `ABORTED`
   */
  async getTicket(service: Principal, options: TicketOptions = {}): Promise<Credential> {
    const call = await this.#call(options)
    this.#forgetWhenCacheChanged(call.config)
    const host = service.components[1]
    const realm = service.realm || (host === undefined ? undefined : call.config.realmOfHost(host)) || ''
    const named = new Principal(service.components, realm, service.nameType)
    const key = `${named.toString()} ${call.enctypes.join()}`
    const kept = this.#tickets.get(key)
    if (kept !== undefined && this.#isUsable(kept)) return kept
    return this.#once(key, call, () => this.#serviceTicket(named, key, call))
  }

  /** Writes all tickets to a credential cache. */
  async save(name: string, options: TicketOptions = {}): Promise<void> {
    const call = await this.#call(options)
    const tgt = await this.getTicketGrantingTicket(options)
    const services = [...this.#tickets.values()].filter((one) => one !== tgt)
    const { files } = this.#world
    await files.writeCache(files.cacheName(name, call.config), {
      kdcOffset: undefined,
      unknownHeader: [],
      principal: tgt.client,
      credentials: [tgt, ...services].map(toCached),
    })
  }

  async #call(options: TicketOptions): Promise<Call> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const at = this.#world.monotonic() + timeoutMs
    const config = options.config ?? this.#config ?? (await this.#world.loadConfig())
    const enctypes = options.enctypes ?? config.permittedEnctypes?.filter(isSupportedEnctype) ?? [18, 17, 20, 19]
    const clockSkew = (options.clockSkewSeconds ?? config.clockSkewSeconds) * 1e6
    return { at, signal: options.signal, config, enctypes, clockSkew }
  }

  /** Callers that want the same wait for the same; each leaves when its own signal says so. */
  #once(key: string, call: Call, start: () => Promise<Credential>): Promise<Credential> {
    if (call.signal?.aborted === true) return Promise.reject(aborted(call.signal))
    let running = this.#pending.get(key)
    if (running === undefined) {
      running = start().finally(() => this.#pending.delete(key))
      this.#pending.set(key, running)
    }
    return untilAborted(running, call.signal)
  }

  #isUsable({ startTime, endTime }: Credential): boolean {
    const margin = Math.min(LAST_MOMENTS, (endTime - startTime) / 10)
    return this.#world.source.now() < endTime - margin
  }

  async #serviceTicket(service: Principal, key: string, call: Call): Promise<Credential> {
    const cached = await this.#fromCache(service, call)
    if (cached !== undefined) {
      this.#tickets.set(key, cached)
      return cached
    }
    const tgt = await this.#once('krbtgt', { ...call, signal: undefined }, () => this.#ticketGrantingTicket(call))
    const realm = service.realm || tgt.client.realm
    if (realm !== tgt.server.realm) throw otherRealm(service, realm, tgt.server.realm)
    const server = new Principal(service.components, realm, service.nameType)
    const request = { tgt, server, enctypes: call.enctypes, clockSkew: call.clockSkew, source: this.#world.source }
    const ticket = await this.#drive(tgsExchange(request), call)
    this.#tickets.set(key, ticket)
    await this.#writeBack(ticket, call)
    return ticket
  }

  async #ticketGrantingTicket(call: Call): Promise<Credential> {
    this.#forgetWhenCacheChanged(call.config)
    const kept = this.#tickets.get('krbtgt')
    if (kept !== undefined && this.#isUsable(kept)) return kept
    const ticket = await this.#logIn(call)
    this.#tickets.set('krbtgt', ticket)
    return ticket
  }

  async #logIn(call: Call): Promise<Credential> {
    const origin = this.#origin
    switch (origin.kind) {
      case 'password':
        return this.#authenticate(this.#principal(origin.principal, call), call, call.enctypes, (request) =>
          stringToKey(request.enctype, origin.password, utf8(request.salt), request.iterations),
        )
      case 'keytab':
        return this.#logInByKeytab(origin.principal, await this.#keytab(origin.keytab, call), call)
      case 'cache':
        return this.#fromCacheOrThrow(call)
      case 'default':
        return this.#fromCacheOrClientKeytab(origin.principal, call)
    }
  }

  async #fromCacheOrClientKeytab(principal: string | undefined, call: Call): Promise<Credential> {
    try {
      return await this.#fromCacheOrThrow(call)
    } catch (error) {
      const keytab = await this.#world.files.readClientKeytab(call.config)
      if (keytab === undefined) throw error
      const name = principal ?? keytab.principals[0]?.toString()
      if (name === undefined) throw error
      return this.#logInByKeytab(name, keytab, call)
    }
  }

  #keytab(keytab: string | Keytab | undefined, call: Call): Promise<Keytab> {
    if (keytab instanceof Keytab) return Promise.resolve(keytab)
    return this.#world.files.readKeytab(keytab, call.config)
  }

  #principal(text: string, { config }: Call): Principal {
    const principal = Principal.parse(text, config.defaultRealm)
    if (principal.realm === '') throw realmUnknown(text)
    return principal
  }

  #logInByKeytab(name: string, keytab: Keytab, call: Call): Promise<Credential> {
    const principal = this.#principal(name, call)
    const there = new Set(keytab.entriesFor(principal).map((entry) => entry.enctype))
    const enctypes = call.enctypes.filter((enctype) => there.has(enctype))
    if (enctypes.length === 0) throw noEntry(principal, keytab, there)
    return this.#authenticate(principal, call, enctypes, async ({ enctype, kvno }) => {
      const entry = keytab.find(principal, enctype, kvno) ?? keytab.find(principal, enctype)
      if (entry === undefined) throw noEntry(principal, keytab, there)
      return new Key(entry.enctype, entry.keyBytes())
    })
  }

  #authenticate(
    client: Principal,
    call: Call,
    enctypes: readonly number[],
    derive: (request: KeyRequest) => Promise<Key>,
  ): Promise<Credential> {
    const { config, clockSkew } = call
    const exchange = asExchange({
      client,
      enctypes,
      lifetime: (config.ticketLifetimeSeconds ?? DEFAULT_LIFETIME_SECONDS) * 1e6,
      renewLifetime: (config.renewLifetimeSeconds ?? 0) * 1e6,
      forwardable: config.forwardable,
      proxiable: config.proxiable,
      clockSkew,
      source: this.#world.source,
    })
    return this.#drive(exchange, call, derive)
  }

  #drive(
    exchange: Exchange<Credential>,
    call: Call,
    derive: (request: KeyRequest) => Promise<Key> = noKey,
  ): Promise<Credential> {
    // The waiting callers have their own signals: one that leaves must not end the work of the others.
    const deadline = { at: call.at, signal: undefined }
    return drive(exchange, {
      send: (realm, message) => this.#sender.send(call.config, realm, message, deadline),
      derive,
    })
  }

  // ── the cache these credentials came from ──

  #cacheName(config: Krb5Config): string | undefined {
    const { kind } = this.#origin
    if (kind !== 'cache' && kind !== 'default') return undefined
    return this.#world.files.cacheName(kind === 'cache' ? this.#origin.name : undefined, config)
  }

  /** After `kinit` or `kdestroy` the cache may be another user's: nothing that was read before counts any more. */
  #forgetWhenCacheChanged(config: Krb5Config): void {
    const name = this.#cacheName(config)
    if (name === undefined) return
    const stamp = this.#world.files.cacheStamp(name)
    if (stamp === this.#stamp) return
    this.#tickets.clear()
    this.#stamp = stamp
  }

  async #readCache(call: Call): Promise<CredentialCacheFile | undefined> {
    const name = this.#cacheName(call.config)
    if (name === undefined) return undefined
    const cache = await this.#world.files.readCache(name)
    const { kind } = this.#origin
    const wanted = kind === 'cache' || kind === 'default' ? this.#origin.principal : undefined
    if (wanted !== undefined && !this.#principal(wanted, call).equals(cache.principal)) {
      throw new CredentialError(
        'NO_CREDENTIALS',
        `${quote(name)} holds tickets of ${cache.principal}, not of ${quote(wanted)}`,
        {
          hint: `Run kinit ${wanted}, or drop the principal option.`,
        },
      )
    }
    return cache
  }

  /** A service ticket that the cache holds already; undefined when there is none that can be used, whatever the reason. */
  async #fromCache(service: Principal, call: Call): Promise<Credential | undefined> {
    const cache = await this.#readCache(call).catch((error) => {
      if (error instanceof KerberosError) return undefined
      throw error
    })
    if (cache === undefined) return undefined
    const server = new Principal(service.components, service.realm || cache.principal.realm, service.nameType)
    const found = cachedTicketFor(cache, server, cache.principal)
    if (found === undefined || !call.enctypes.includes(found.enctype)) return undefined
    const credential = fromCached(found)
    return this.#isUsable(credential) ? credential : undefined
  }

  async #fromCacheOrThrow(call: Call): Promise<Credential> {
    const cache = await this.#readCache(call)
    const name = this.#cacheName(call.config)
    const server = cache && ticketGrantingService(cache.principal.realm)
    const found = cache && server && cachedTicketFor(cache, server, cache.principal)
    if (found === undefined) {
      throw new CredentialError('NO_CREDENTIALS', `${quote(name ?? '')} holds no ticket-granting ticket`, {
        hint: 'Run kinit or spnego login.',
      })
    }
    const now = this.#world.source.now()
    if (found.endTime * 1e6 <= now) {
      const minutes = Math.round((now / 1e6 - found.endTime) / 60)
      throw new CredentialError('TICKET_EXPIRED', `the ticket of ${found.client} expired ${minutes} minutes ago`, {
        hint: 'Run kinit or spnego login again.',
      })
    }
    return fromCached(found)
  }

  /** Failing to write is no reason to withhold a ticket: the next process fetches its own. */
  async #writeBack(ticket: Credential, call: Call): Promise<void> {
    const name = this.#cacheName(call.config)
    if (name === undefined || this.#world.files.cacheStamp(name) !== this.#stamp) return
    try {
      const cache = await this.#world.files.readCache(name)
      if (!cache.principal.equals(ticket.client)) return
      await this.#world.files.writeCache(name, { ...cache, credentials: [...cache.credentials, toCached(ticket)] })
      this.#stamp = this.#world.files.cacheStamp(name)
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
    }
  }
}

async function noKey(): Promise<Key> {
  throw new UsageError('OPTION_INVALID', 'this exchange asks for no long-term key')
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = () => reject(aborted(signal))
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

function fromCached(found: CachedCredential): Credential {
  const startTime = (found.startTime || found.authTime) * 1e6
  return {
    client: found.client,
    server: found.server,
    ticket: decodeTicket(found.ticket),
    sessionKey: new Key(found.enctype, found.keyBytes()),
    flags: found.flags,
    authTime: found.authTime * 1e6,
    startTime,
    endTime: found.endTime * 1e6,
    renewTill: found.renewTill === 0 ? undefined : found.renewTill * 1e6,
    addresses: found.addresses.map(({ type, data }) => ({ addressType: type, address: data })),
  }
}

function toCached(credential: Credential): CachedCredential {
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

function realmUnknown(text: string): ConfigError {
  return new ConfigError('REALM_UNKNOWN', `no realm is known for ${quote(text)}`, {
    hint: 'Write name@REALM, or set default_realm in krb5.conf.',
  })
}

function otherRealm(service: Principal, realm: string, mine: string): CredentialError {
  return new CredentialError(
    'REALM_NOT_REACHABLE',
    `${quote(service.name)} lies in the realm ${quote(realm)}, and the ticket is of ${quote(mine)}`,
    { hint: `Log in to ${realm}, or correct [domain_realm] in krb5.conf.` },
  )
}

function noEntry(principal: Principal, keytab: Keytab, there: ReadonlySet<number>): ConfigError {
  const names = keytab.principals.slice(0, 10).map(String).join(', ')
  const found =
    there.size === 0
      ? `no entry for ${quote(principal.toString())}; it has ${names}`
      : `only ${[...there].map(enctypeName).join(', ')} for ${quote(principal.toString())}`
  return new ConfigError('KEYTAB_NO_ENTRY', `the keytab has ${found}`, {
    hint: 'Name a principal that the keytab has, or export AES keys into it.',
  })
}
