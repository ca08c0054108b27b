import { isSupportedEnctype, Key } from '../../crypto/index.ts'
import type { Keytab, KeytabEntry } from '../formats/index.ts'
import { type Principal, type PrincipalName, principalOf } from '../messages/index.ts'

/** Most keys that are tried on one ticket, whatever the keytab holds. */
export const MAX_TRIAL_DECRYPTIONS = 4

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
  /** By enctype; the newest version first. */
  readonly #byEnctype = new Map<number, ServiceKey[]>()
  /** `enctype:kvno mod 256`: old keytabs and AD keep eight bits of the version. */
  readonly #byVersion = new Map<string, ServiceKey[]>()
  readonly #others: ReadonlySet<string>
  readonly principals: readonly Principal[]

  constructor(keytab: Keytab, selection: ServiceSelection, enctypes: readonly number[]) {
    const names = new Map<string, Principal>()
    const others = new Set<string>()
    for (const entry of keytab.entries) {
      if (!isSelected(entry.principal, selection)) others.add(entry.principal.name)
      else {
        names.set(entry.principal.toString(), entry.principal)
        if (enctypes.includes(entry.enctype) && isSupportedEnctype(entry.enctype)) this.#add(entry)
      }
    }
    for (const keys of this.#byEnctype.values()) keys.sort((a, b) => b.kvno - a.kvno)
    this.principals = [...names.values()]
    this.#others = others
  }

  #add(entry: KeytabEntry): void {
    const one = { principal: entry.principal, kvno: entry.kvno, key: new Key(entry.enctype, entry.keyBytes()) }
    append(this.#byEnctype, entry.enctype, one)
    append(this.#byVersion, versionKey(entry.enctype, entry.kvno), one)
  }

  get size(): number {
    let size = 0
    for (const keys of this.#byEnctype.values()) size += keys.length
    return size
  }

  /**
   * The keys that may open a ticket, best first, at most four. The name in the clear only orders them: it decides nothing. A version of 0 is
   * no version (RFC 4120 §5.2.9 leaves it optional; AD sends 0 for some accounts).
   */
  candidates(enctype: number, kvno: number | undefined, named: PrincipalName, realm: string): readonly ServiceKey[] {
    const versioned = kvno !== undefined && kvno !== 0
    const found = (versioned ? this.#byVersion.get(versionKey(enctype, kvno)) : this.#byEnctype.get(enctype)) ?? []
    const label = principalOf(named, realm)
    const exact = versioned ? found.filter((one) => one.kvno === kvno) : found
    const usable = exact.length > 0 ? exact : found
    const first = usable.filter((one) => one.principal.equals(label))
    const rest = usable.filter((one) => !one.principal.equals(label))
    return [...first, ...rest].slice(0, MAX_TRIAL_DECRYPTIONS) // check: S32
  }

  /** Whether the keytab has that name outside of the selection: for the reason of a refusal only. */
  hasElsewhere(named: PrincipalName): boolean {
    return this.#others.has(principalOf(named, '').name)
  }

  /** The versions that are there for an enctype: for the reason of a refusal only. */
  versions(enctype: number): readonly number[] {
    return [...new Set((this.#byEnctype.get(enctype) ?? []).map((one) => one.kvno))]
  }

  dispose(): void {
    for (const keys of this.#byEnctype.values()) for (const { key } of keys) key.dispose()
    this.#byEnctype.clear()
    this.#byVersion.clear()
  }
}

function isSelected(principal: Principal, selection: ServiceSelection): boolean {
  if (selection === 'any') return true
  if (!('service' in selection)) {
    return selection.some((name) => (name.realm === '' ? name.sameName(principal) : name.equals(principal))) // check: S22
  }
  return principal.components.length > 1 && principal.components[0] === selection.service // check: S23
}

function versionKey(enctype: number, kvno: number): string {
  return `${enctype}:${kvno & 0xff}`
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
