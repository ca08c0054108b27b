/**
 * What somebody logs in with, and the tickets that came of it.
 *
 * One login and one request for each service ticket, however many callers wait. Tickets are kept in memory until shortly before their
 * end; those from a cache are written back to it, so that `klist` shows them.
 */

import { utf8 } from '../bytes/bytes.ts'
import { quote } from '../bytes/text.ts'
import { enctypeName, isSupportedEnctype, Key, stringToKey } from '../crypto/index.ts'
import { ConfigError, CredentialError, NetworkError, UsageError } from '../errors.ts'
import { CacheSource } from './cache-source.ts'
import { toCached } from './cached-credential.ts'
import { aborted, type Deadline, drive, KdcSender, type World } from './client.ts'
import {
  asExchange,
  type Credential,
  type Exchange,
  type KeyRequest,
  type Source,
  tgsExchange,
} from './exchange/index.ts'
import { Keytab, type Krb5Config } from './formats/index.ts'
import { Principal } from './messages/index.ts'

/** Default time for a whole login, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000
/** Default lifetime asked for, in seconds (MIT krb5.conf, ticket_lifetime). */
const DEFAULT_LIFETIME_SECONDS = 86_400
/** Beyond the deadline the sender itself reports which KDC was silent: its error is the better one. */
const GRACE_MS = 50
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
  /** Microseconds. */
  readonly clockSkew: number
}

/** Tickets of one user, and what is being fetched for him. */
interface Generation {
  readonly tickets: Map<string, Credential>
  readonly pending: Map<string, Promise<Credential>>
}

function newGeneration(): Generation {
  return { tickets: new Map(), pending: new Map() }
}

export class CredentialStore {
  readonly #origin: Origin
  readonly #world: World
  readonly #config: Krb5Config | undefined
  readonly #sender: KdcSender
  /** What is kept and what is under way: both are thrown away when the cache becomes another user's. */
  #kept: Generation = newGeneration()
  /** Where the tickets come from, when that is a cache. */
  readonly #cache: CacheSource | undefined

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
    const { kind } = origin
    const name = kind === 'cache' ? origin.name : undefined
    if (kind === 'cache' || kind === 'default') this.#cache = new CacheSource(world, name, origin.principal)
  }

  /** The ticket-granting ticket. */
  async getTicketGrantingTicket(options: TicketOptions = {}): Promise<Credential> {
    const call = await this.#call(options)
    this.#lookAtCache(call)
    return this.#once('krbtgt', call, (kept) => this.#ticketGrantingTicket(call, kept))
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
    this.#lookAtCache(call)
    const host = service.components[1]
    const realm = service.realm || (host === undefined ? undefined : call.config.realmOfHost(host)) || ''
    const named = new Principal(service.components, realm, service.nameType)
    const key = `${named.toString()} ${call.enctypes.join()}`
    const kept = this.#kept.tickets.get(key)
    if (kept !== undefined && this.#isUsable(kept)) return kept
    return this.#once(key, call, (now) => this.#serviceTicket(named, key, call, now))
  }

  /** Writes all tickets to a credential cache. */
  async save(name: string, options: TicketOptions = {}): Promise<void> {
    const call = await this.#call(options)
    const tgt = await this.getTicketGrantingTicket(options)
    const services = [...this.#kept.tickets.values()].filter((one) => one !== tgt)
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

  /** After `kinit` nothing counts any more that was read, or asked for, before. */
  #lookAtCache({ config }: Call): void {
    if (this.#cache?.hasChanged(config) === true) this.#kept = newGeneration()
  }

  /**
   * Callers that want the same wait for the same; each leaves when its own signal or deadline says so. Who has more time than the one who
   * began tries again when that one's time was up.
   */
  async #once(key: string, call: Call, start: (kept: Generation) => Promise<Credential>): Promise<Credential> {
    if (call.signal?.aborted === true) throw aborted(call.signal)
    const kept = this.#kept
    const joined = kept.pending.get(key)
    const running = joined ?? start(kept)
    if (joined === undefined) {
      kept.pending.set(key, running)
      const done = () => void kept.pending.delete(key)
      running.then(done, done)
    }
    try {
      return await this.#untilDeadline(running, call)
    } catch (error) {
      const late = error instanceof NetworkError && error.code === 'KDC_TIMEOUT'
      if (joined === undefined || !late || this.#world.monotonic() >= call.at) throw error
      return this.#once(key, call, start)
    }
  }

  #untilDeadline(running: Promise<Credential>, { signal, at }: Call): Promise<Credential> {
    return new Promise((resolve, reject) => {
      const abort = () => signal !== undefined && reject(aborted(signal))
      const cancel = this.#world.after(at - this.#world.monotonic() + GRACE_MS, () => reject(late()))
      signal?.addEventListener('abort', abort, { once: true })
      running.then(resolve, reject).finally(() => {
        cancel()
        signal?.removeEventListener('abort', abort)
      })
    })
  }

  #isUsable({ startTime, endTime }: Credential): boolean {
    const margin = Math.min(LAST_MOMENTS, (endTime - startTime) / 10)
    return this.#world.source.now() < endTime - margin
  }

  async #serviceTicket(service: Principal, key: string, call: Call, kept: Generation): Promise<Credential> {
    const cached = await this.#cache?.serviceTicket(service, call.enctypes, call.config)
    if (cached !== undefined && this.#isUsable(cached)) {
      kept.tickets.set(key, cached)
      return cached
    }
    const tgt = await this.#once('krbtgt', { ...call, signal: undefined }, (now) =>
      this.#ticketGrantingTicket(call, now),
    )
    const realm = service.realm || tgt.client.realm
    if (realm !== tgt.server.realm) throw otherRealm(service, realm, tgt.server.realm)
    const server = new Principal(service.components, realm, service.nameType)
    const request = { tgt, server, enctypes: call.enctypes, clockSkew: call.clockSkew, source: this.#world.source }
    const ticket = await this.#drive(tgsExchange(request), call)
    kept.tickets.set(key, ticket)
    await this.#cache?.writeBack(ticket, call.config)
    return ticket
  }

  async #ticketGrantingTicket(call: Call, kept: Generation): Promise<Credential> {
    const known = kept.tickets.get('krbtgt')
    if (known !== undefined && this.#isUsable(known)) return known
    const ticket = await this.#logIn(call)
    kept.tickets.set('krbtgt', ticket)
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
        return this.#fromCache(call)
      case 'default':
        return this.#fromCache(call).catch((error) => this.#fromClientKeytab(origin.principal, call, error))
    }
  }

  async #fromCache({ config, clockSkew }: Call): Promise<Credential> {
    if (this.#cache === undefined) throw new UsageError('OPTION_INVALID', 'these credentials have no cache')
    return this.#cache.ticketGrantingTicket(config, clockSkew)
  }

  /** Without a client keytab the cache's failure stands. */
  async #fromClientKeytab(principal: string | undefined, call: Call, failure: unknown): Promise<Credential> {
    const keytab = await this.#world.files.readClientKeytab(call.config)
    const name = principal ?? keytab?.principals[0]?.toString()
    if (keytab === undefined || name === undefined) throw failure
    return this.#logInByKeytab(name, keytab, call)
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
}

async function noKey(): Promise<Key> {
  throw new UsageError('OPTION_INVALID', 'this exchange asks for no long-term key')
}

function late(): NetworkError {
  return new NetworkError('KDC_TIMEOUT', 'a login that was under way already did not end in time', {
    hint: 'Check the kdc addresses in krb5.conf, the network and the firewall (port 88).',
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
  const names = keytab.principals
    .slice(0, 10)
    .map((one) => quote(one.toString()))
    .join(', ')
  const found =
    there.size === 0
      ? `no entry for ${quote(principal.toString())}; it has ${names}`
      : `only ${[...there].map(enctypeName).join(', ')} for ${quote(principal.toString())}`
  return new ConfigError('KEYTAB_NO_ENTRY', `the keytab has ${found}`, {
    hint: 'Name a principal that the keytab has, or export AES keys into it.',
  })
}
