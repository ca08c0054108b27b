/** Where the servers of a realm are: krb5.conf first, DNS where it names none (RFC 4120 §7.2.3). */

import type { Source } from './exchange/index.ts'
import { KPASSWD_PORT, type Krb5Config, MAX_SERVERS, type ServerAddress } from './formats/index.ts'
import { PATIENCE_MS } from './patience.ts'

/** Which of a realm's servers. */
export type RealmService = 'kdc' | 'kpasswd'

/** An SRV record (RFC 2782). */
export interface ServiceRecord {
  readonly host: string
  readonly port: number
  /** Lower ones first. */
  readonly priority: number
  /** Of one priority, those of a greater weight more often first. */
  readonly weight: number
}

/** The DNS. */
export interface Locator {
  /** The SRV records of a name; none when there are none, whatever the reason. */
  services(name: string, timeoutMs: number): Promise<readonly ServiceRecord[]>
}

/** RFC 4120 §7.2.3.2; the password service as MIT krb5 and Windows publish it. */
const NAMES: Readonly<Record<RealmService, string>> = { kdc: '_kerberos', kpasswd: '_kpasswd' }
/** How long the answer for a name is kept. */
const KEPT_MS = 60_000
/** Records that are looked at. */
const MAX_RECORDS = 64
/** A realm that can be a name in the DNS. */
const DOMAIN = /^(?=.{1,240}$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/i

interface LocatorWorld {
  readonly locator: Locator
  readonly source: Pick<Source, 'random'>
  /** Milliseconds. */
  monotonic(): number
}

interface Found {
  readonly at: number
  readonly addresses: Promise<readonly ServerAddress[]>
}

/** Finds servers; answers of the DNS are kept for a minute. */
export class ServerLocator {
  readonly #world: LocatorWorld
  readonly #found = new Map<string, Found>()

  constructor(world: LocatorWorld) {
    this.#world = world
  }

  /** At most `MAX_SERVERS`, in the order in which they are to be tried; empty when none is known. */
  async locate(
    service: RealmService,
    realm: string,
    config: Krb5Config,
    leftMs: number,
  ): Promise<readonly ServerAddress[]> {
    const named = service === 'kdc' ? config.kdcs(realm) : config.kpasswdServers(realm)
    if (named.length > 0) return named
    const resolved = config.dnsLookupKdc && DOMAIN.test(realm) ? await this.#resolve(service, realm, leftMs) : []
    if (resolved.length > 0 || service === 'kdc') return resolved
    // A domain controller changes passwords itself, and often nothing but its KDC is configured.
    const kdcs = await this.locate('kdc', realm, config, leftMs)
    return kdcs.map(({ host }) => ({ host, port: KPASSWD_PORT, transport: undefined }))
  }

  #resolve(service: RealmService, realm: string, leftMs: number): Promise<readonly ServerAddress[]> {
    const key = `${service} ${realm}`
    const now = this.#world.monotonic()
    const kept = this.#found.get(key)
    if (kept !== undefined && now - kept.at < KEPT_MS) return kept.addresses
    const addresses = this.#ask(service, realm, Math.min(leftMs, PATIENCE_MS))
    this.#found.set(key, { at: now, addresses })
    addresses.then((found) => found.length === 0 && this.#found.delete(key)) // failures are asked again
    return addresses
  }

  async #ask(service: RealmService, realm: string, timeoutMs: number): Promise<readonly ServerAddress[]> {
    const { locator } = this.#world
    const lists = await Promise.all(
      (['tcp', 'udp'] as const).map(async (transport) => {
        const records = await locator.services(`${NAMES[service]}._${transport}.${realm}`, timeoutMs)
        return this.#ordered(records).map(({ host, port }) => ({ host, port, transport }))
      }),
    )
    return lists.flat().slice(0, MAX_SERVERS)
  }

  /** RFC 2782: by priority, within one at random by weight. A target "." offers nothing; neither does port 0. */
  #ordered(records: readonly ServiceRecord[]): readonly ServiceRecord[] {
    const usable = records.filter(({ host, port }) => host !== '' && host !== '.' && port > 0) // check: K31
    const drawn = usable.slice(0, MAX_RECORDS).map((record) => ({ record, draw: this.#draw(record.weight) }))
    drawn.sort((a, b) => a.record.priority - b.record.priority || b.draw - a.draw)
    return drawn.map(({ record }) => record).slice(0, MAX_SERVERS)
  }

  /** The greatest of draws u^(1/weight) falls to each record as often as its weight says. */
  #draw(weight: number): number {
    const [a = 0, b = 0] = this.#world.source.random(2)
    return ((a * 256 + b + 0.5) / 65_536) ** (1 / Math.max(weight, 0.01))
  }
}
