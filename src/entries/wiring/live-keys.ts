import { listOf, quote } from '../../bytes/text.ts'
import { enctypeName } from '../../crypto/index.ts'
import { ConfigError, KerberosError } from '../../errors.ts'
import { OpenedTickets, ServiceKeys, type ServiceSelection, type TicketKeys } from '../../krb5/exchange/index.ts'
import { Keytab } from '../../krb5/formats/index.ts'
import type { Principal } from '../../krb5/messages/index.ts'
import { afterwards, keytabStamp, monotonic, readKeytabFile } from '../../system/index.ts'

/** Most names of the keytab that a message lists. */
const MAX_SHOWN_NAMES = 10
/** A negotiation that has begun may need the keys that it began with. */
const RETIRE_MS = 60_000

/** How long one look at a file lasts: under load, a look for each login would be a fifth of its cost. */
const LOOK_PAUSE_MS = 10

/**
 * The keys of an acceptor, as its keytab has them now: a file is looked at a hundred times a second at most, and read when it has changed. One that cannot be
 * read, or has no key of ours any more, changes nothing: whoever replaces it may not be done.
 */
export class LiveKeys {
  readonly #selection: ServiceSelection
  readonly #enctypes: readonly number[]
  readonly #file: string | undefined
  /** One for all names, and so one bound. */
  readonly #opened = new OpenedTickets()
  #keytab: Keytab
  #stamp: string | undefined
  #lookAgainAt = Number.NEGATIVE_INFINITY
  /** Of the file whose fault was told last. */
  #told: string | undefined
  #keys: ServiceKeys
  /** Those that a begun negotiation may need. */
  readonly #retired = new Set<ServiceKeys>()
  #isDisposed = false

  /** @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY` */
  constructor(keytab: string | Keytab, selection: ServiceSelection, enctypes: readonly number[]) {
    this.#selection = selection
    this.#enctypes = enctypes
    this.#file = keytab instanceof Keytab ? undefined : keytab
    this.#stamp = this.#file === undefined ? undefined : keytabStamp(this.#file)
    this.#keytab = keytab instanceof Keytab ? keytab : readKeytabFile(keytab)
    this.#keys = this.#select(this.#keytab, selection)
  }

  current(): ServiceKeys {
    this.#refresh()
    return this.#keys
  }

  /** The keys of one name: a view of the others, so that a client who makes up names costs nothing that is kept. @throws {ConfigError} `KEYTAB_NO_ENTRY` */
  of(name: Principal): TicketKeys {
    this.#refresh()
    if (this.#isDisposed) return this.#keys
    const found = this.#keys.named(name)
    if (found === undefined) throw noEntry([name], this.#keys.principals)
    if (found.size === 0) throw noUsableKey(this.#keytab, this.#enctypes) // check: F05
    return found
  }

  #refresh(): void {
    if (this.#file === undefined || this.#isDisposed || monotonic() < this.#lookAgainAt) return
    this.#lookAgainAt = monotonic() + LOOK_PAUSE_MS
    const stamp = keytabStamp(this.#file)
    if (stamp === undefined || stamp === this.#stamp) return
    this.#stamp = stamp
    try {
      const keytab = readKeytabFile(this.#file)
      const keys = this.#select(keytab, this.#selection)
      this.#retire(this.#keys)
      this.#keytab = keytab
      this.#keys = keys
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
      if (error.code === 'KEYTAB_UNREADABLE') this.#stamp = undefined // it may not be its own fault: EMFILE
      if (this.#told === stamp) return
      this.#told = stamp
      const text = `the keytab has changed and cannot be used; the keys that were there stay: ${error.message}`
      process.emitWarning(text, { type: 'SpnegoWarning', code: error.code })
    }
  }

  #select(keytab: Keytab, selection: ServiceSelection): ServiceKeys {
    const keys = new ServiceKeys(keytab, selection, this.#enctypes, this.#opened)
    if (keys.principals.length === 0) throw noEntry(selection, keytab.principals)
    if (keys.size === 0) throw noUsableKey(keytab, this.#enctypes) // check: F05
    return keys
  }

  #retire(keys: ServiceKeys): void {
    this.#retired.add(keys)
    afterwards(RETIRE_MS, () => {
      this.#retired.delete(keys)
      keys.dispose()
    })
  }

  /** Nothing is read after that, and nobody accepted. */
  dispose(): void {
    this.#isDisposed = true
    for (const keys of [this.#keys, ...this.#retired]) keys.dispose()
    this.#retired.clear()
  }
}

function noEntry(selection: ServiceSelection, principals: readonly Principal[]): ConfigError {
  const wanted =
    selection === 'any' ? 'any' : 'service' in selection ? `${selection.service}/…` : selection.map(String).join(', ')
  // A stranger's host may be the cause: no more names are looked at than are shown.
  const there = listOf(principals.slice(0, MAX_SHOWN_NAMES).map((one) => quote(one.toString())))
  return new ConfigError('KEYTAB_NO_ENTRY', `the keytab has no entry for ${quote(wanted)}; it has ${there}`, {
    hint: 'Export the service’s key into the keytab, or set the principal option to a name that is there.',
  })
}

function noUsableKey(keytab: Keytab, enctypes: readonly number[]): ConfigError {
  const there = listOf([...new Set(keytab.entries.map(({ enctype }) => enctypeName(enctype)))])
  const wanted = enctypes.map(enctypeName).join(', ')
  return new ConfigError('KEYTAB_NO_ENTRY', `the keytab has only keys of ${there}; permitted are ${wanted}`, {
    hint: 'Give the service account AES keys and export its keytab again.',
  })
}
