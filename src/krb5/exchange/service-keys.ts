import { isSupportedEnctype, Key } from '../../crypto/index.ts'
import type { Keytab, KeytabEntry } from '../formats/index.ts'
import type { Principal, PrincipalName } from '../messages/index.ts'
import { type OpenedTicket, OpenedTickets } from './opened-tickets.ts'

/** Most keys that are tried on one ticket, whatever the keytab holds. */
export const MAX_TRIAL_DECRYPTIONS = 16
/** Most names, and most keys of a name, that a refusal lists. */
const MAX_SHOWN = 10

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
   * The keys that may open a ticket, best first, at most `MAX_TRIAL_DECRYPTIONS`. The ticket's name and version in the clear only order them: its name
   * with that version, with other versions (newest first), the name in another case where the keytab has no exact entry, other names. A version of 0 is
   * no version (RFC 4120 §5.2.9 leaves it optional; AD sends 0 for some accounts).
   */
  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[]
  /** Whether the keytab has that name outside of these keys: for the reason of a refusal only. */
  hasElsewhere(named: PrincipalName): boolean
  /** The newest keys that are there for a name, ten at the most, whatever their enctype: for the reason of a refusal only. */
  keysNamed(named: PrincipalName, realm: string): readonly ServiceKey[]
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
  /** By `labels`, alone and with the entry's name, as it is and without case; the newest version first. */
  readonly #byLabel = new Map<string, ServiceKey[]>()
  readonly #all = new Set<ServiceKey>()
  readonly #opened: OpenedTickets
  readonly #others: ReadonlySet<string>
  /** By name, without the realm; as it is and without case. */
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
    const isSelected = selector(selection, keytab.principals)
    for (const entry of keytab.entries) {
      if (!isSelected(entry.principal)) others.add(nameLabel(entry.principal))
      else {
        names.set(fullLabel(entry.principal, entry.principal.realm), entry.principal)
        if (enctypes.includes(entry.enctype) && isSupportedEnctype(entry.enctype)) this.#add(entry)
      }
    }
    for (const keys of this.#byLabel.values()) keys.sort((a, b) => b.kvno - a.kvno)
    this.principals = [...names.values()]
    for (const principal of this.principals) {
      append(this.#byName, nameLabel(principal), principal)
      append(this.#byName, withoutCase(nameLabel(principal)), principal)
    }
    this.#others = others
  }

  #add(entry: KeytabEntry): void {
    const { principal, kvno, enctype } = entry
    const one: ServiceKey = { principal, kvno, key: new Key(enctype, entry.keyBytes()) }
    const name = nameLabel(principal)
    this.#all.add(one)
    append(this.#byLabel, at(name, principal.realm), one)
    for (const label of labels(enctype, kvno)) {
      append(this.#byLabel, label, one)
      append(this.#byLabel, `${label} ${at(name, principal.realm)}`, one)
      append(this.#byLabel, `${label} ${at(withoutCase(name), principal.realm)}`, one)
    }
  }

  get size(): number {
    return this.#all.size
  }

  /**
   * The keys of one name, in any realm when it has none, and in another case when no entry has it as it is: a view, of which nothing is kept.
   * Undefined: the keytab has no such name.
   */
  named(name: Principal): TicketKeys | undefined {
    const label = nameLabel(name)
    const found = this.#byName.get(label) ?? this.#byName.get(withoutCase(label)) ?? []
    const principals = found.filter(({ realm }) => name.realm === '' || realm === name.realm)
    return principals.length === 0 ? undefined : new NamedKeys(this, principals)
  }

  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[] {
    const all = this.#byLabel.get(`${enctype}`) ?? []
    if (all.length < 2) return all // nothing to order
    const name = nameLabel(named)
    const exact = this.#ordered(enctype, kvno, ` ${at(name, realm)}`)
    const few = new Set(exact.length > 0 ? exact : this.#ordered(enctype, kvno, ` ${at(withoutCase(name), realm)}`))
    for (const one of this.#ordered(enctype, kvno, '')) few.add(one)
    return [...few].slice(0, MAX_TRIAL_DECRYPTIONS) // check: S32
  }

  /** As `candidates`, of one entry's name. */
  candidatesOf({ components, realm }: Principal, enctype: number, kvno: number | undefined): readonly ServiceKey[] {
    return this.#ordered(enctype, kvno, ` ${fullLabel({ components }, realm)}`)
  }

  /** Strangers decide how often this runs: no more is looked at than may be tried. */
  #ordered(enctype: number, kvno: number | undefined, name: string): readonly ServiceKey[] {
    const few = new Set<ServiceKey>()
    const [any, exact, low] = labels(enctype, kvno ?? 0)
    for (const label of kvno === undefined || kvno === 0 ? [any] : [exact, low, any]) {
      for (const one of (this.#byLabel.get(`${label}${name}`) ?? []).slice(0, MAX_TRIAL_DECRYPTIONS)) few.add(one)
    }
    return [...few].slice(0, MAX_TRIAL_DECRYPTIONS)
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

  keysNamed(named: PrincipalName, realm: string): readonly ServiceKey[] {
    return (this.#byLabel.get(fullLabel(named, realm)) ?? []).slice(0, MAX_SHOWN)
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

  keysNamed(named: PrincipalName, realm: string): readonly ServiceKey[] {
    const principal = this.principals.find((one) => one.realm === realm && one.sameName(named))
    return principal === undefined ? [] : this.#all.keysOf(principal).slice(0, MAX_SHOWN)
  }

  opened(raw: Uint8Array): OpenedTicket | undefined {
    const found = this.#all.opened(raw)
    if (found === undefined) return undefined
    if (!this.principals.some((principal) => principal.equals(found.serviceKey.principal))) return undefined // check: S98
    return found
  }

  remember(ticket: OpenedTicket, now: number): void {
    this.#all.remember(ticket, now)
  }
}

/** The names that a selection takes of those in a keytab. */
function selector(selection: ServiceSelection, principals: readonly Principal[]): (principal: Principal) => boolean {
  if (selection === 'any') return () => true
  if ('service' in selection) {
    const { service } = selection
    return ({ components }) => components.length > 1 && components[0] === service // check: S23
  }
  const taken = new Set(selection.flatMap((name) => namesTaken(name, principals)))
  return (principal) => taken.has(fullLabel(principal, principal.realm))
}

/** The entries of exactly that name; without any, those that differ in ASCII case alone. Realms are compared as they are. */
function namesTaken(name: Principal, principals: readonly Principal[]): readonly string[] {
  const inRealm = principals.filter(({ realm }) => name.realm === '' || realm === name.realm)
  const exact = inRealm.filter((principal) => principal.sameName(name))
  const label = withoutCase(nameLabel(name))
  const found = exact.length > 0 ? exact : inRealm.filter((principal) => withoutCase(nameLabel(principal)) === label)
  return found.map((principal) => fullLabel(principal, principal.realm))
}

/** The components alone, so that no two names have one label. */
function nameLabel({ components }: { readonly components: readonly string[] }): string {
  return JSON.stringify(components)
}

function fullLabel(name: { readonly components: readonly string[] }, realm: string): string {
  return at(nameLabel(name), realm)
}

function at(label: string, realm: string): string {
  return `${label}@${realm}`
}

/** As Active Directory compares service names; a label without case is no label of a name, whatever its letters. */
function withoutCase(label: string): string {
  return `~${label.replace(/[A-Z]/g, (letter) => letter.toLowerCase())}`
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
