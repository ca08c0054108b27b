import { quote, shorten } from '../bytes/text.ts'
import { CredentialError, KerberosError, MalformedError } from '../errors.ts'
import { fromCached, toCached } from './cached-credential.ts'
import type { ForeignOwner, World } from './client.ts'
import { type Credential, clockOffset, ticketGrantingService } from './exchange/index.ts'
import {
  type CachedCredential,
  type CredentialCacheFile,
  cachedTicketFor,
  cachedTickets,
  type Krb5Config,
} from './formats/index.ts'
import { Principal } from './messages/index.ts'

/** How often a cache that others keep changing is read and written again before the tickets stay with this process alone. */
const WRITES = 3

/** The cache that credentials came from: other programs change it under our hands, and see what we add. */
export class CacheSource {
  readonly #world: Pick<World, 'files' | 'source'>
  readonly #name: string | undefined
  readonly #principal: string | undefined
  readonly #foreignOwner: ForeignOwner | undefined
  /** The state of the file at the last look. */
  #stamp: string | undefined
  readonly #unwritten: Credential[] = []
  #writing: Promise<void> = Promise.resolve()

  /**
   * @param principal whose cache it must be
   * @param foreignOwner who may own it; then nothing is written to it
   */
  constructor(
    world: Pick<World, 'files' | 'source'>,
    name: string | undefined,
    principal: string | undefined,
    foreignOwner?: ForeignOwner,
  ) {
    this.#world = world
    this.#name = name
    this.#principal = principal
    this.#foreignOwner = foreignOwner
  }

  /** After `kinit` or `kdestroy` it may be another user's: whether nothing that was read before counts any more. */
  hasChanged(config: Krb5Config): boolean {
    const stamp = this.#stampNow(config)
    const changed = stamp !== this.#stamp
    this.#stamp = stamp
    return changed
  }

  /** A service ticket that is there already; undefined when there is none that can be used, whatever the reason. */
  async serviceTicket(
    service: Principal,
    enctypes: readonly number[],
    config: Krb5Config,
  ): Promise<Credential | undefined> {
    try {
      const cache = await this.#read(config)
      const server = new Principal(service.components, service.realm || cache.principal.realm, service.nameType)
      const found = cachedTicketFor(cache, server, cache.principal)
      return found !== undefined && enctypes.includes(found.enctype)
        ? fromCached(found, offsetOf(cache, config))
        : undefined
    } catch (error) {
      if (error instanceof KerberosError) return undefined
      throw error
    }
  }

  /** @throws {CredentialError} `NO_CREDENTIALS`, `TICKET_EXPIRED`, `TICKET_NOT_YET_VALID`, `CACHE_…` */
  async ticketGrantingTicket(config: Krb5Config, clockSkew: number): Promise<Credential> {
    const cache = await this.#read(config)
    const service = ticketGrantingService(cache.principal.realm)
    const found = cachedTicketFor(cache, service, cache.principal)
    if (found === undefined) {
      const isPostdated = cachedTickets(cache).some(({ server, isSkey }) => !isSkey && server.equals(service))
      throw isPostdated ? notYetValid(cache.principal) : noTicket(this.#fullName(config))
    }
    const offset = offsetOf(cache, config)
    const now = this.#world.source.now() + offset
    if (found.endTime * 1e6 <= now) throw expired(cache.principal, now / 1e6 - found.endTime)
    if (found.startTime * 1e6 > now + clockSkew) throw notYetValid(cache.principal)
    return readable(found, offset, this.#fullName(config))
  }

  /**
   * Adds a ticket to the cache; those that come meanwhile are written together. Failing to write is no reason to withhold a ticket: the next
   * process fetches its own.
   */
  async writeBack(ticket: Credential, config: Krb5Config): Promise<void> {
    if (this.#foreignOwner !== undefined) return // check: F31
    this.#unwritten.push(ticket)
    this.#writing = this.#writing.then(() => this.#write(config))
    await this.#writing
  }

  async #write(config: Krb5Config): Promise<void> {
    const tickets = this.#unwritten.splice(0)
    const [first] = tickets
    if (first === undefined) return
    try {
      const name = this.#fullName(config)
      for (let write = 1; write <= WRITES; write++) if (await this.#add(name, tickets, first.client)) return
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
    }
  }

  /** False when somebody else changed the cache between our reading and our writing. */
  async #add(name: string, tickets: readonly Credential[], client: Principal): Promise<boolean> {
    const { files } = this.#world
    const stamp = files.cacheStamp(name) ?? '' // of none: one that comes now is another
    const isSeen = this.#stamp === keyed(name, stamp)
    const cache = await files.readCache(name, files.isAskedFor(this.#name))
    if (!cache.principal.equals(client)) return true // nobody's tickets but the user's own
    const isReplaced = ({ server, isConfig, isSkey }: CachedCredential) =>
      !isConfig && !isSkey && tickets.some((ticket) => ticket.server.equals(server))
    const others = cache.credentials.filter((one) => !isReplaced(one))
    const credentials = [...others, ...tickets.map(toCached)]
    if (!(await files.writeCache(name, { ...cache, credentials }, stamp))) return false
    // What somebody else wrote since our last look is still to be seen.
    if (isSeen) this.#stamp = this.#stampOf(name)
    return true
  }

  #fullName(config: Krb5Config): string {
    const wanted = this.#principal
    if (wanted === undefined) return this.#world.files.cacheName(this.#name, config)
    const principal = Principal.parse(wanted, config.defaultRealm)
    return this.#world.files.cacheName(this.#name, config, (other) => other.equals(principal))
  }

  /** Of a cache whose name leads nowhere there is no state; reading it says why. */
  #stampNow(config: Krb5Config): string | undefined {
    try {
      return this.#stampOf(this.#fullName(config))
    } catch (error) {
      if (error instanceof KerberosError) return undefined // check: K85
      throw error
    }
  }

  #stampOf(name: string): string | undefined {
    const stamp = this.#world.files.cacheStamp(name)
    return stamp && keyed(name, stamp)
  }

  async #read(config: Krb5Config): Promise<CredentialCacheFile> {
    const name = this.#fullName(config)
    const { files } = this.#world
    const cache = await files.readCache(name, files.isAskedFor(this.#name), this.#foreignOwner)
    const wanted = this.#principal
    if (wanted === undefined || Principal.parse(wanted, config.defaultRealm).equals(cache.principal)) return cache
    throw new CredentialError(
      'NO_CREDENTIALS',
      `${quote(name)} holds tickets of ${shorten(`${cache.principal}`)}, not of ${wanted}`,
      {
        hint: `Run kinit ${wanted}, or drop the principal option.`,
      },
    )
  }
}

/** @param name of the cache, for messages */
function readable(found: CachedCredential, offset: number, name: string): Credential {
  try {
    return fromCached(found, offset)
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause
    const message = `${quote(name)}: the ticket for ${shorten(`${found.server}`)} is malformed: ${cause.message}`
    throw new MalformedError('CACHE_MALFORMED', message, { cause, hint: 'Run kinit or spnego login again.' })
  }
}

/** With the name: a collection may have another cache in use than before. */
function keyed(name: string, stamp: string): string {
  return `${name} ${stamp}`
}

/** What the login that wrote the cache learned of the KDC's clock (MIT krb5, kdc_timesync). */
function offsetOf({ kdcOffset }: CredentialCacheFile, { kdcTimesync }: Krb5Config): number {
  if (kdcOffset === undefined || !kdcTimesync) return 0
  return clockOffset(kdcOffset.seconds * 1e6 + kdcOffset.microseconds, 0) ?? 0
}

function noTicket(name: string): CredentialError {
  return new CredentialError('NO_CREDENTIALS', `${quote(name)} holds no ticket-granting ticket`, {
    hint: 'Run kinit or spnego login.',
  })
}

function notYetValid(client: Principal): CredentialError {
  return new CredentialError(
    'TICKET_NOT_YET_VALID',
    `the ticket of ${shorten(`${client}`)} is postdated and not valid yet`,
    {
      hint: 'Validate it (kinit -v) when its time has come, or log in again.',
    },
  )
}

function expired(client: Principal, seconds: number): CredentialError {
  const minutes = Math.round(seconds / 60)
  return new CredentialError('TICKET_EXPIRED', `the ticket of ${shorten(`${client}`)} expired ${minutes} minutes ago`, {
    hint: 'Run kinit or spnego login again.',
  })
}
