import { isSupportedEnctype, Key } from '../../crypto/index.ts'
import type { Keytab, KeytabEntry } from '../formats/index.ts'
import { type Principal, type PrincipalName, principalOf } from '../messages/index.ts'
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

/**
 * The keys of one acceptor, made from its keytab once: each `Key` keeps its derived keys. Lookups cost the same whether the keytab has ten
 * entries or ten thousand.
 */
export class ServiceKeys {
  /** By what a ticket may say, see `labels`; the newest version first. */
  readonly #byLabel = new Map<string, ServiceKey[]>()
  readonly #all = new Set<ServiceKey>()
  readonly #opened: OpenedTickets
  readonly #others: ReadonlySet<string>
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
      if (!isSelected(entry.principal, selection)) others.add(entry.principal.name)
      else {
        names.set(entry.principal.toString(), entry.principal)
        if (enctypes.includes(entry.enctype) && isSupportedEnctype(entry.enctype)) this.#add(entry)
      }
    }
    for (const keys of this.#byLabel.values()) keys.sort((a, b) => b.kvno - a.kvno)
    this.principals = [...names.values()]
    this.#others = others
  }

  #add(entry: KeytabEntry): void {
    const one: ServiceKey = {
      principal: entry.principal,
      kvno: entry.kvno,
      key: new Key(entry.enctype, entry.keyBytes()),
    }
    this.#all.add(one)
    for (const label of labels(entry.enctype, entry.kvno)) {
      append(this.#byLabel, label, one)
      append(this.#byLabel, `${label} ${entry.principal}`, one)
    }
  }

  get size(): number {
    return this.#all.size
  }

  /**
   * The keys that may open a ticket, best first, at most four. The name in the clear only orders them: it decides nothing. A version of 0 is
   * no version (RFC 4120 §5.2.9 leaves it optional; AD sends 0 for some accounts).
   */
  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[] {
    const [any, exact, low] = labels(enctype, kvno ?? 0)
    const version = kvno === undefined || kvno === 0 ? any : this.#byLabel.has(exact) ? exact : low
    const rest = this.#byLabel.get(version) ?? []
    if (rest.length < 2) return rest // nothing to order
    const first = this.#byLabel.get(`${version} ${principalOf(named, realm)}`) ?? []
    // Strangers decide how often this runs: what cannot be tried is not even looked at.
    const few = new Set([...first.slice(0, MAX_TRIAL_DECRYPTIONS), ...rest.slice(0, MAX_TRIAL_DECRYPTIONS)])
    return [...few].slice(0, MAX_TRIAL_DECRYPTIONS) // check: S32
  }

  /** Whether the keytab has that name outside of the selection: for the reason of a refusal only. */
  hasElsewhere(named: PrincipalName): boolean {
    return this.#others.has(principalOf(named, '').name)
  }

  /** The newest versions that are there for an enctype, ten at the most: for the reason of a refusal only. */
  versions(enctype: number): readonly number[] {
    const found = new Set<number>()
    for (const { kvno } of this.#byLabel.get(`${enctype}`) ?? []) {
      found.add(kvno)
      if (found.size >= MAX_SHOWN_VERSIONS) break
    }
    return [...found]
  }

  /** A ticket that one of these keys has opened before, and was asked to remember. */
  opened(raw: Uint8Array): OpenedTicket | undefined {
    return this.#opened.find(raw, this.#all)
  }

  /** Remembers a ticket that came with a right authenticator, from its second one on, for a while; `now` in microseconds since 1970. */
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

function isSelected(principal: Principal, selection: ServiceSelection): boolean {
  if (selection === 'any') return true
  if ('service' in selection) {
    if (principal.components[0] !== selection.service) return false // check: S23
    return principal.components.length > 1
  }
  return selection.some((name) => (name.realm === '' ? name.sameName(principal) : name.equals(principal)))
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
