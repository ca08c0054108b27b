import { isSupportedEnctype, Key } from '../../crypto/index.ts'
import type { Keytab, KeytabEntry } from '../formats/index.ts'
import type { Principal, PrincipalName } from '../messages/index.ts'
import { type OpenedTicket, OpenedTickets } from './opened-tickets.ts'

/** Most keys that are tried on one ticket, whatever the keytab holds. */
export const MAX_TRIAL_DECRYPTIONS = 4
/** Most key versions that a refusal lists. */
const MAX_SHOWN_VERSIONS = 10

/** Which entries of a keytab an acceptor uses: some names (without a realm: of any), any host of a service, or all. */
export type ServiceSelection = readonly Principal[] | { readonly service: string } | 'any'

/** A long-term key of the service, with its keytab entry's name: the one that counts. */
export interface ServiceKey {
  readonly principal: Principal
  readonly kvno: number
  readonly key: Key
}

/** Keys that may open a ticket: all of an acceptor, or those of one name among them. */
export interface TicketKeys {
  /** Names of the entries, each once. */
  readonly principals: readonly Principal[]
  /** Number of usable keys. */
  readonly size: number
  /**
   * The keys that may open a ticket, best first, at most four. The ticket's name in the clear only orders them. A version of 0 is no version
   * (RFC 4120 §5.2.9 leaves it optional; AD sends 0 for some accounts).
   */
  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[]
  /** Whether the keytab has that name outside of these keys: for the reason of a refusal only. */
  hasElsewhere(named: PrincipalName): boolean
  /** The newest versions that are there for an enctype, ten at the most: for the reason of a refusal only. */
  versions(enctype: number): readonly number[]
  /** A ticket that one of these keys has opened before, and was asked to remember. */
  opened(raw: Uint8Array): OpenedTicket | undefined
  /** Remembers a ticket that came with a right authenticator, from its second one on, for a while; `now` in microseconds since 1970. */
  remember(ticket: OpenedTicket, now: number): void
}

/**
 * The keys of one acceptor, made from its keytab once: each `Key` keeps its derived keys. Lookups cost the same whether the keytab has ten
 * entries or ten thousand.
 */
export class ServiceKeys implements TicketKeys {
  /** By what a ticket may say, see `labels`; the newest version first. */
  readonly #byLabel = new Map<string, ServiceKey[]>()
  readonly #all = new Set<ServiceKey>()
  readonly #opened: OpenedTickets
  readonly #others: ReadonlySet<string>
  /** By name, without the realm. */
  readonly #byName = new Map<string, Principal[]>()
  readonly principals: readonly Principal[]

  /** @param opened where the tickets are remembered; several of these may share it */
  constructor(
    keytab: Keytab,
    selection: ServiceSelection,
    enctypes: readonly number[],
    opened: OpenedTickets = new OpenedTickets(),
  ) {
    this.#opened = opened
    const names = new Map<string, Principal>()
    const others = new Set<string>()
    for (const entry of keytab.entries) {
      if (!isSelected(entry.principal, selection)) others.add(nameLabel(entry.principal))
      else {
        names.set(fullLabel(entry.principal, entry.principal.realm), entry.principal)
        if (enctypes.includes(entry.enctype) && isSupportedEnctype(entry.enctype)) this.#add(entry)
      }
    }
    for (const keys of this.#byLabel.values()) keys.sort((a, b) => b.kvno - a.kvno)
    this.principals = [...names.values()]
    for (const principal of this.principals) append(this.#byName, nameLabel(principal), principal)
    this.#others = others
  }

  #add(entry: KeytabEntry): void {
    const { principal, kvno, enctype } = entry
    const one: ServiceKey = { principal, kvno, key: new Key(enctype, entry.keyBytes()) }
    const name = fullLabel(principal, principal.realm)
    this.#all.add(one)
    append(this.#byLabel, name, one)
    for (const label of labels(enctype, kvno)) {
      append(this.#byLabel, label, one)
      append(this.#byLabel, `${label} ${name}`, one)
    }
  }

  get size(): number {
    return this.#all.size
  }

  /** The keys of one name, in any realm when it has none: a view, of which nothing is kept. Undefined: the keytab has no such name. */
  named(name: Principal): TicketKeys | undefined {
    const principals = this.#byName
      .get(nameLabel(name))
      ?.filter(({ realm }) => name.realm === '' || realm === name.realm)
    return principals === undefined || principals.length === 0 ? undefined : new NamedKeys(this, principals)
  }

  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[] {
    const [any, exact, low] = labels(enctype, kvno ?? 0)
    const version = kvno === undefined || kvno === 0 ? any : this.#byLabel.has(exact) ? exact : low
    const rest = this.#byLabel.get(version) ?? []
    if (rest.length < 2) return rest // nothing to order
    const first = this.#byLabel.get(`${version} ${fullLabel(named, realm)}`) ?? []
    // Strangers decide how often this runs: what cannot be tried is not even looked at.
    const few = new Set([...first.slice(0, MAX_TRIAL_DECRYPTIONS), ...rest.slice(0, MAX_TRIAL_DECRYPTIONS)])
    return [...few].slice(0, MAX_TRIAL_DECRYPTIONS) // check: S32
  }

  /** As `candidates`, of one entry's name. */
  candidatesOf(principal: Principal, enctype: number, kvno: number | undefined): readonly ServiceKey[] {
    const name = fullLabel(principal, principal.realm)
    const [any, exact, low] = labels(enctype, kvno ?? 0).map((label) => this.#byLabel.get(`${label} ${name}`))
    const found = kvno === undefined || kvno === 0 ? any : (exact ?? low)
    return found?.slice(0, MAX_TRIAL_DECRYPTIONS) ?? []
  }

  /** All keys of one entry's name. */
  keysOf(principal: Principal): readonly ServiceKey[] {
    return this.#byLabel.get(fullLabel(principal, principal.realm)) ?? []
  }

  hasElsewhere(named: PrincipalName): boolean {
    return this.#others.has(nameLabel(named))
  }

  /** Whether the keytab has that name at all. */
  has(named: PrincipalName): boolean {
    return this.#byName.has(nameLabel(named)) || this.hasElsewhere(named)
  }

  versions(enctype: number): readonly number[] {
    return versionsAmong(this.#byLabel.get(`${enctype}`) ?? [])
  }

  opened(raw: Uint8Array): OpenedTicket | undefined {
    return this.#opened.find(raw, this.#all)
  }

  remember(ticket: OpenedTicket, now: number): void {
    if (this.#all.has(ticket.serviceKey)) this.#opened.keepIfMetBefore(ticket, now)
  }

  dispose(): void {
    this.#opened.forget(this.#all)
    for (const { key } of this.#all) key.dispose()
    this.#all.clear()
    this.#byLabel.clear()
  }
}

/** The keys of one name among those of an acceptor. */
class NamedKeys implements TicketKeys {
  readonly #all: ServiceKeys
  readonly principals: readonly Principal[]

  constructor(all: ServiceKeys, principals: readonly Principal[]) {
    this.#all = all
    this.principals = principals
  }

  get size(): number {
    return this.principals.reduce((sum, principal) => sum + this.#all.keysOf(principal).length, 0)
  }

  candidates(enctype: number, kvno: number | undefined, _named: PrincipalName, realm: string): readonly ServiceKey[] {
    const first = this.principals.filter((principal) => principal.realm === realm)
    const ordered = new Set([...first, ...this.principals])
    const found = [...ordered].flatMap((principal) => this.#all.candidatesOf(principal, enctype, kvno))
    return found.slice(0, MAX_TRIAL_DECRYPTIONS) // check: S32
  }

  hasElsewhere(named: PrincipalName): boolean {
    return this.#all.has(named) && !this.principals.some((principal) => principal.sameName(named))
  }

  versions(enctype: number): readonly number[] {
    const keys = this.principals.flatMap((principal) => this.#all.keysOf(principal))
    return versionsAmong(keys.filter(({ key }) => key.enctype === enctype).sort((a, b) => b.kvno - a.kvno))
  }

  opened(raw: Uint8Array): OpenedTicket | undefined {
    const found = this.#all.opened(raw)
    if (found === undefined) return undefined
    return this.principals.some((principal) => principal.equals(found.serviceKey.principal)) ? found : undefined // check: S98
  }

  remember(ticket: OpenedTicket, now: number): void {
    this.#all.remember(ticket, now)
  }
}

function versionsAmong(keys: readonly ServiceKey[]): readonly number[] {
  const found = new Set<number>()
  for (const { kvno } of keys) {
    found.add(kvno)
    if (found.size >= MAX_SHOWN_VERSIONS) break
  }
  return [...found]
}

function isSelected(principal: Principal, selection: ServiceSelection): boolean {
  if (selection === 'any') return true
  if ('service' in selection) {
    if (principal.components[0] !== selection.service) return false // check: S23
    return principal.components.length > 1
  }
  return selection.some((name) => (name.realm === '' ? name.sameName(principal) : name.equals(principal)))
}

/** The components alone, so that no two names have one label. */
function nameLabel({ components }: { readonly components: readonly string[] }): string {
  return JSON.stringify(components)
}

function fullLabel(name: { readonly components: readonly string[] }, realm: string): string {
  return `${nameLabel(name)}@${realm}`
}

/** Any version, the very version, and its low eight bits, which is all that old keytabs and AD keep of it. */
function labels(enctype: number, kvno: number): readonly [any: string, exact: string, low: string] {
  return [`${enctype}`, `${enctype}=${kvno}`, `${enctype}~${kvno & 0xff}`]
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
