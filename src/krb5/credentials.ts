/**
 * What somebody logs in with, and the tickets that came of it.
 *
 * One login and one request for each service ticket, however many callers wait. Tickets are kept in memory until shortly before their
 * end, a login is renewed while it can be; those from a cache are written back to it, so that `klist` shows them.
 */

import { quote, shorten } from '../bytes/text.ts'
import { CredentialError, KdcError, KerberosError } from '../errors.ts'
import { CacheSource } from './cache-source.ts'
import { toCached, toKdcOffset } from './cached-credential.ts'
import { changePassword } from './change-password.ts'
import { type ForeignOwner, RealmSender, type World } from './client.ts'
import { type Credential, forwardExchange, renewExchange, type Source, tgsExchange } from './exchange/index.ts'
import { changePasswordService } from './extensions/index.ts'
import { Keytab, type Krb5Config } from './formats/index.ts'
import { type Call, driveToKdc, type LoginTarget, type LongTermOrigin, logIn } from './login.ts'
import { LoginPause } from './login-pause.ts'
import { ERROR, Principal, TICKET_FLAG } from './messages/index.ts'
import { NewerTickets } from './newer-tickets.ts'
import { SingleFlight } from './single-flight.ts'

/** Default time for a whole login, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000
/** A ticket is not used in its last minute, or its last tenth when it lives for less than ten. Microseconds. */
const LAST_MOMENTS = 60e6
/** After a renewal that failed the next is tried so much later, in milliseconds: the old ticket serves meanwhile. */
const RENEWAL_PAUSE_MS = 5000
/** How long the ticket for a password change shall last. */
const CHANGE_LIFETIME_SECONDS = 300

export type Origin =
  /** The default cache, or else the client keytab. */
  | { readonly kind: 'default'; readonly principal: string | undefined }
  | {
      readonly kind: 'cache'
      readonly name: string | undefined
      readonly principal: string | undefined
      readonly foreignOwner?: ForeignOwner | undefined
    }
  /** Somebody forwarded them. */
  | { readonly kind: 'tickets'; readonly tickets: readonly Credential[] }
  | LongTermOrigin

export interface TicketOptions {
  readonly config?: Krb5Config | undefined
  /** For the whole call, 1 to 600 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** In order of preference; by default those of krb5.conf, else 18, 17, 20, 19. */
  readonly enctypes?: readonly number[] | undefined
  readonly clockSkewSeconds?: number | undefined
  /** Of `getTicket`: the service's name as it was written, for a KDC that does not know the name asked for. In the same realm. */
  readonly written?: Principal | undefined
}

/** A ticket that is tried beside a kept one. */
export interface NewerTicket {
  readonly credential: Credential
  /** What the service made of it: one that was accepted takes the place of the kept one. */
  settle(isAccepted: boolean): Promise<void>
}

/** Tickets of one user, and what is being fetched for him. */
interface Generation {
  readonly tickets: Map<string, Credential>
  readonly flights: SingleFlight<Credential>
}

/** The key of the login among the tickets. */
const LOGIN = 'krbtgt'
/** Most tickets for services that are kept; the cache on disk, if there is one, keeps the others. */
const MAX_SERVICE_TICKETS = 1024

/** A ticket for a service; one more than are kept drops the one that came first. */
function keep({ tickets }: Generation, key: string, ticket: Credential): void {
  tickets.delete(key)
  tickets.set(key, ticket)
  if (tickets.size <= MAX_SERVICE_TICKETS) return
  const [first, second] = tickets.keys()
  const oldest = first === LOGIN ? second : first
  if (oldest !== undefined) tickets.delete(oldest)
}

/** The names that a ticket is asked for, in their order, and the key of that ticket. */
function namesOf(
  service: Principal,
  { written }: TicketOptions,
  { config, enctypes }: Call,
): { readonly names: readonly Principal[]; readonly key: string } {
  const host = service.components[1]
  const realm = service.realm || (host === undefined ? undefined : config.realmOfHost(host)) || ''
  const names = [service, ...(written === undefined ? [] : [written])].map(
    ({ components, nameType }) => new Principal(components, realm, nameType),
  )
  return { names, key: `${names.join(' ')} ${enctypes.join()}` }
}

export class CredentialStore {
  #origin: Origin
  readonly #world: World
  readonly #config: Krb5Config | undefined
  readonly #sender: RealmSender
  readonly #pause: LoginPause
  /** What is kept and what is under way: both are thrown away when the cache becomes another user's. */
  #kept: Generation
  readonly #newer: NewerTickets
  readonly #newerFlights: SingleFlight<Credential | undefined>
  /** Tickets for services that the KDC issued to this process. */
  readonly #fetched = new WeakSet<Credential>()
  /** Options of the calls that those were issued for. */
  readonly #issuedFor = new WeakSet<TicketOptions>()
  /** Where the tickets come from, when that is a cache. */
  #cache: CacheSource | undefined
  /** On the monotonic clock: no renewal, no look at the login before. */
  #renewAfter = Number.NEGATIVE_INFINITY
  #lookAgainAt = Number.NEGATIVE_INFINITY

  /** The clock and the randomness of whoever logs in: his authenticators are made by them too. */
  get source(): Source {
    return this.#world.source
  }

  /** @param config belongs to these credentials; a caller's own option beats it */
  constructor(origin: Origin, world: World, config?: Krb5Config) {
    this.#origin = origin
    this.#world = world
    this.#config = config
    this.#sender = new RealmSender(world)
    this.#pause = new LoginPause(world)
    this.#newer = new NewerTickets(() => world.monotonic())
    this.#newerFlights = new SingleFlight(world)
    this.#kept = this.#newGeneration()
    const { kind } = origin
    if (kind === 'cache') this.#cache = new CacheSource(world, origin.name, origin.principal, origin.foreignOwner)
    if (kind === 'default') this.#cache = new CacheSource(world, undefined, origin.principal)
  }

  /** As `getTicketGrantingTicket`, on a user's own demand: a pause after a refusal is over. */
  async login(options: TicketOptions = {}): Promise<Credential> {
    this.#pause.clear()
    return this.getTicketGrantingTicket(options)
  }

  /** The ticket-granting ticket. */
  async getTicketGrantingTicket(options: TicketOptions = {}): Promise<Credential> {
    const call = await this.#call(options)
    this.#lookAtCache(call)
    return this.#login(call)
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
    const { names, key } = namesOf(service, options, call)
    const generation = this.#kept
    const kept = generation.tickets.get(key)
    if (kept === undefined || !this.#isUsable(kept)) {
      const start = () => this.#serviceTicket(names, key, call, generation)
      const ticket = await generation.flights.run(key, call, start)
      if (this.#fetched.has(ticket)) this.#issuedFor.add(options)
      return ticket
    }
    if (this.#isHalfOver(kept)) this.#lookAfterLogin(call)
    return kept
  }

  /** Whether the KDC issued a ticket for the call of `getTicket` with these options, so that no other can be newer. */
  wasIssuedFor(options: TicketOptions): boolean {
    return this.#issuedFor.has(options)
  }

  /**
   * A ticket in place of a kept one that the service refused, since its key may have changed. The kept one stays until the service has accepted
   * this one: nothing is removed on a server's word.
   *
   * @returns undefined when none is to be had: the KDC gives none, or gave one in the last minute that was refused too
   */
  async getNewerTicket(
    service: Principal,
    refused: Credential,
    options: TicketOptions = {},
  ): Promise<NewerTicket | undefined> {
    const call = await this.#call(options)
    const { names, key } = namesOf(service, options, call)
    const generation = this.#kept
    const kept = generation.tickets.get(key)
    const isReplaced = kept !== undefined && kept !== refused && kept.client.equals(refused.client)
    if (isReplaced) return { credential: kept, settle: async () => {} }
    const whose = `${refused.client} ${key}`
    const patient = { ...call, signal: undefined }
    const fetch = () => this.#fetchFirstKnown(names, patient, generation)
    const credential = await this.#newerFlights.run(whose, call, () => this.#newer.get(whose, fetch))
    if (credential === undefined || !credential.client.equals(refused.client)) return undefined
    const settle = async (isAccepted: boolean) => {
      this.#newer.drop(whose)
      if (!isAccepted) return // check: C77
      keep(generation, key, credential)
      await this.#cache?.writeBack(credential, call.config)
    }
    return { credential, settle }
  }

  /**
   * A ticket-granting ticket to hand to a service (RFC 4120 §2.6): it *is* the user, so each service gets one of its own.
   *
   * @throws {CredentialError} `TICKET_NOT_FORWARDABLE`
   */
  async getForwardedTicket(service: Principal, options: TicketOptions = {}): Promise<Credential> {
    const call = await this.#call(options)
    this.#lookAtCache(call)
    const key = `${LOGIN} forwarded to ${service.toString()}`
    const generation = this.#kept
    const kept = generation.tickets.get(key)
    if (kept !== undefined && this.#isUsable(kept)) return kept
    return generation.flights.run(key, call, () => this.#forwardedTicket(key, call, generation))
  }

  /** Whether krb5.conf leaves delegation to the KDC's mark ok-as-delegate, whatever the caller wants. */
  async enforcesOkAsDelegate(options: TicketOptions = {}): Promise<boolean> {
    return (await this.#call(options)).config.enforceOkAsDelegate
  }

  /** What is under way ends by itself. */
  dispose(): void {
    const origin = this.#origin
    this.#origin = { kind: 'tickets', tickets: [] }
    this.#cache = undefined
    if (origin.kind === 'password') origin.password.fill(0)
    const tickets = origin.kind === 'tickets' ? origin.tickets : []
    for (const { sessionKey } of [...tickets, ...this.#kept.tickets.values()]) sessionKey.dispose()
    this.#kept = this.#newGeneration()
  }

  /** Writes all tickets to a credential cache, which in a collection becomes the one in use. */
  async save(name?: string, options: TicketOptions = {}): Promise<void> {
    const call = await this.#call(options)
    const tgt = await this.getTicketGrantingTicket(options)
    const services = [...this.#kept.tickets].filter(([key]) => !key.startsWith(LOGIN)).map(([, ticket]) => ticket)
    await this.#world.files.saveCache(name, call.config, {
      kdcOffset: toKdcOffset(tgt),
      unknownHeader: [],
      principal: tgt.client,
      credentials: [tgt, ...services].map(toCached),
    })
  }

  /**
   * Changes the password (RFC 3244) and goes on with the new one; an expired one can be changed too.
   *
   * @throws {CredentialError} `PASSWORD_NEEDED`, `PASSWORD_REFUSED`, `PASSWORD_CHANGE_FAILED`
   * @throws {KdcError} the KDC's refusal, `KDC_ERR_PREAUTH_FAILED` for a wrong old password
   * @throws {NetworkError} `KDC_TIMEOUT`: either password may count, as the answer was lost
   */
  async changePassword(newPassword: Uint8Array, options: TicketOptions = {}): Promise<void> {
    const call = await this.#call(options)
    const origin = this.#origin
    if (origin.kind !== 'password') throw passwordNeeded()
    const target = { service: changePasswordService, lifetimeSeconds: CHANGE_LIFETIME_SECONDS }
    this.#pause.clear()
    const credential = await this.#logInWith(origin, call, target)
    await changePassword(credential, newPassword, call, this.#world, this.#sender)
    if (this.#origin !== origin) return // disposed meanwhile, or changed by another call
    this.#origin = { ...origin, password: new Uint8Array(newPassword) }
    origin.password.fill(0)
  }

  async #call(options: TicketOptions): Promise<Call> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const at = this.#world.monotonic() + timeoutMs
    const config = options.config ?? this.#config ?? (await this.#world.loadConfig())
    const enctypes = options.enctypes ?? config.serviceEnctypes
    const loginEnctypes = options.enctypes ?? config.loginEnctypes
    const clockSkew = (options.clockSkewSeconds ?? config.clockSkewSeconds) * 1e6
    return { at, signal: options.signal, config, enctypes, loginEnctypes, clockSkew }
  }

  #newGeneration(): Generation {
    return { tickets: new Map(), flights: new SingleFlight(this.#world) }
  }

  /** After `kinit` nothing counts any more that was read, or asked for, before. */
  #lookAtCache({ config }: Call): void {
    if (this.#cache?.hasChanged(config) === true) this.#kept = this.#newGeneration()
  }

  #login(call: Call): Promise<Credential> {
    const generation = this.#kept
    return generation.flights.run(LOGIN, call, () => this.#ticketGrantingTicket(call, generation))
  }

  /** @param names of one service, the preferred one first */
  async #serviceTicket(names: readonly Principal[], key: string, call: Call, kept: Generation): Promise<Credential> {
    const cached = await this.#cachedTicket(names, call)
    const found = cached ?? (await this.#fetchFirstKnown(names, call, kept))
    keep(kept, key, found)
    if (cached !== undefined) return cached
    this.#fetched.add(found)
    await this.#cache?.writeBack(found, call.config)
    return found
  }

  async #cachedTicket(names: readonly Principal[], call: Call): Promise<Credential | undefined> {
    for (const name of names) {
      const cached = await this.#cache?.serviceTicket(name, call.enctypes, call.config)
      if (cached !== undefined && this.#isUsable(cached)) return cached
    }
    return undefined
  }

  /** Of the first name that the KDC knows; when it knows none, its refusal of the first. */
  async #fetchFirstKnown(names: readonly Principal[], call: Call, kept: Generation): Promise<Credential> {
    let refusal: unknown
    for (const name of names) {
      try {
        return await this.#fetchTicket(name, call, kept)
      } catch (error) {
        if (!isUnknownService(error)) throw error // check: K82
        refusal ??= error
      }
    }
    throw refusal
  }

  async #fetchTicket(service: Principal, call: Call, kept: Generation): Promise<Credential> {
    const tgt = await this.#loginFor(call, kept)
    const realm = service.realm || tgt.client.realm
    if (realm !== tgt.server.realm) throw otherRealm(service, realm, tgt.server.realm)
    const server = new Principal(service.components, realm, service.nameType)
    return driveToKdc(tgsExchange({ ...this.#request(tgt, call), server }), call, this.#sender)
  }

  async #forwardedTicket(key: string, call: Call, kept: Generation): Promise<Credential> {
    const tgt = await this.#loginFor(call, kept)
    if ((tgt.flags & TICKET_FLAG.forwardable) === 0) throw notForwardable(tgt) // check: C44
    const ticket = await driveToKdc(forwardExchange(this.#request(tgt, call)), call, this.#sender)
    keep(kept, key, ticket)
    return ticket
  }

  /** The login that something else waits for, whose own caller may leave. */
  #loginFor(call: Call, kept: Generation): Promise<Credential> {
    return kept.flights.run(LOGIN, { ...call, signal: undefined }, () => this.#ticketGrantingTicket(call, kept))
  }

  #request(tgt: Credential, { enctypes, clockSkew }: Call): Omit<Parameters<typeof tgsExchange>[0], 'server'> {
    return { tgt, enctypes, clockSkew, source: this.#world.source }
  }

  /** The one at hand, that one renewed, or a new one. */
  async #ticketGrantingTicket(call: Call, kept: Generation): Promise<Credential> {
    const known = kept.tickets.get(LOGIN)
    let ticket = known !== undefined && !this.#isOver(known) ? known : await this.#logIn(call)
    if (!this.#isUsable(ticket)) ticket = (await this.#renewedIfPossible(ticket, call)) ?? (await this.#logIn(call))
    else if (this.#isHalfOver(ticket)) this.#renewBeside(ticket, call, kept)
    kept.tickets.set(LOGIN, ticket)
    return ticket
  }

  async #logIn(call: Call): Promise<Credential> {
    const origin = this.#origin
    switch (origin.kind) {
      case 'password':
      case 'keytab':
        return this.#logInWith(origin, call)
      case 'tickets':
        return this.#fromTickets(origin.tickets)
      case 'cache':
        return this.#fromCache(call)
      case 'default':
        return this.#fromCache(call).catch((error) => this.#fromClientKeytab(origin.principal, call, error))
    }
  }

  #fromTickets(tickets: readonly Credential[]): Credential {
    const ticket = tickets.find(isLogin)
    if (ticket === undefined) throw noCredentials()
    if (this.#isOver(ticket)) throw expired(ticket)
    return ticket
  }

  async #fromCache({ config, clockSkew }: Call): Promise<Credential> {
    if (this.#cache === undefined) throw noCredentials()
    return this.#cache.ticketGrantingTicket(config, clockSkew)
  }

  /** Without a client keytab the cache's failure stands. */
  async #fromClientKeytab(principal: string | undefined, call: Call, failure: unknown): Promise<Credential> {
    const keytab = await this.#world.files.readClientKeytab(call.config).catch((error: unknown) => {
      throw neitherOf(failure, error)
    })
    const name = principal ?? keytab?.principals[0]?.toString()
    if (keytab === undefined || name === undefined) throw neitherOf(failure, undefined)
    const stamp = this.#world.files.clientKeytabStamp(call.config)
    return this.#logInWith({ kind: 'keytab', principal: name, keytab }, call, {}, stamp)
  }

  /**
   * A login with a password or key, unless the KDC refused it lately.
   *
   * @param stamp changes with the keytab file
   */
  async #logInWith(origin: LongTermOrigin, call: Call, target: LoginTarget = {}, stamp?: string): Promise<Credential> {
    const keytab = origin.kind === 'keytab' ? origin.keytab : undefined
    const isFile = origin.kind === 'keytab' && !(keytab instanceof Keytab)
    const state = isFile ? this.#world.files.keytabStamp(keytab as string | undefined, call.config) : stamp
    const key = `${Principal.parse(origin.principal, call.config.defaultRealm)} ${state}`
    this.#pause.check(key)
    try {
      const ticket = await logIn(origin, call, this.#world, this.#sender, target)
      this.#pause.clear()
      return ticket
    } catch (error) {
      throw this.#pause.note(key, error)
    }
  }

  /** Who lives on service tickets alone would notice too late that his login has ended with them. */
  #lookAfterLogin(call: Call): void {
    const now = this.#world.monotonic()
    if (now < this.#lookAgainAt) return
    this.#lookAgainAt = now + RENEWAL_PAUSE_MS
    this.#login({ ...call, signal: undefined }).catch(() => {})
  }

  /** Renewed while it is good, beside whoever uses it: nobody has to wait, and a KDC that is away does no harm yet. */
  #renewBeside(tgt: Credential, call: Call, kept: Generation): void {
    const now = this.#world.monotonic()
    if (!this.#canRenew(tgt) || now < this.#renewAfter) return
    this.#renewAfter = now + RENEWAL_PAUSE_MS
    const later = { ...call, at: now + DEFAULT_TIMEOUT_MS, signal: undefined } // the caller's own time may be nearly up
    void this.#renewedIfPossible(tgt, later).then((renewed) => {
      if (renewed !== undefined) kept.tickets.set(LOGIN, renewed)
    })
  }

  /** Undefined when it cannot be: whoever asked goes on without. */
  async #renewedIfPossible(tgt: Credential, call: Call): Promise<Credential | undefined> {
    if (!this.#canRenew(tgt)) return undefined
    try {
      const renewed = await driveToKdc(renewExchange(this.#request(tgt, call)), call, this.#sender)
      await this.#cache?.writeBack(renewed, call.config)
      return renewed
    } catch {
      return undefined
    }
  }

  /** A ticket that is over cannot be renewed (RFC 4120 §2.3), and one whose renewal ends with it gains nothing. */
  #canRenew(ticket: Credential): boolean {
    const { flags, endTime, renewTill = 0 } = ticket
    return (flags & TICKET_FLAG.renewable) !== 0 && renewTill > endTime && !this.#isOver(ticket)
  }

  #isUsable(ticket: Credential): boolean {
    const margin = Math.min(LAST_MOMENTS, (ticket.endTime - ticket.startTime) / 10)
    return this.#timeOf(ticket) < ticket.endTime - margin
  }

  #isHalfOver(ticket: Credential): boolean {
    return this.#timeOf(ticket) > (ticket.startTime + ticket.endTime) / 2
  }

  #isOver(ticket: Credential): boolean {
    return this.#timeOf(ticket) >= ticket.endTime
  }

  /** Now, by the clock of the KDC that issued it. */
  #timeOf({ clockOffset }: Credential): number {
    return this.#world.source.now() + clockOffset
  }
}

function isLogin({ server }: Credential): boolean {
  return server.components.length === 2 && server.components[0] === 'krbtgt'
}

/** Why there is no login: of a default cache that nothing here can read and of the client keytab both. */
function neitherOf(failure: unknown, ofKeytab: unknown): unknown {
  if (!(failure instanceof CredentialError) || failure.code !== 'CACHE_TYPE_UNSUPPORTED') return ofKeytab ?? failure
  const why = ofKeytab instanceof KerberosError ? ofKeytab.message : 'there is none'
  const { message, hint } = failure
  const options = { cause: ofKeytab ?? failure, hint }
  return new CredentialError('CACHE_TYPE_UNSUPPORTED', `${message}; the client keytab: ${why}`, options)
}

function isUnknownService(error: unknown): boolean {
  return error instanceof KdcError && error.errorCode === ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN
}

function noCredentials(): CredentialError {
  return new CredentialError('NO_CREDENTIALS', 'there is no ticket-granting ticket', {
    hint: 'Run kinit or spnego login.',
  })
}

function expired({ client }: Credential): CredentialError {
  return new CredentialError('TICKET_EXPIRED', `the ticket of ${shorten(`${client}`)} has expired`, {
    hint: 'It was forwarded: its user has to log in again.',
  })
}

function notForwardable({ client }: Credential): CredentialError {
  return new CredentialError('TICKET_NOT_FORWARDABLE', `the ticket of ${shorten(`${client}`)} may not be forwarded`, {
    hint: 'Log in with forwardable = true in krb5.conf (kinit -f), if the account may; or do not delegate.',
  })
}

function passwordNeeded(): CredentialError {
  return new CredentialError(
    'PASSWORD_NEEDED',
    'these credentials hold no password, and changing it needs the old one',
    {
      hint: 'Use Credentials.fromPassword, or spnego passwd.',
    },
  )
}

function otherRealm(service: Principal, realm: string, mine: string): CredentialError {
  return new CredentialError(
    'REALM_NOT_REACHABLE',
    `${quote(service.name)} lies in the realm ${quote(realm)}, and the ticket is of ${quote(mine)}`,
    { hint: `Log in to ${realm}, or correct [domain_realm] in krb5.conf.` },
  )
}
