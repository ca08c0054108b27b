/** MIT krb5, "Keytab file format": versions 0x0501 and 0x0502 are read, 0x0502 is written. */

import { concat, uint16be, utf8 } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { quote, readUtf8 } from '../../bytes/text.ts'
import { ConfigError, MalformedError, malformed, UsageError } from '../../errors.ts'
import { NAME_TYPE, Principal } from '../messages/principal.ts'
import {
  bigEndian,
  type Integers,
  int16Field,
  int32Field,
  join,
  littleEndian,
  signed16,
  uint32Field,
} from './fields.ts'

/** Longest keytab that is read, in bytes. */
export const MAX_KEYTAB_BYTES: number = 16 * 1024 * 1024

const FORMAT = 5
/** "Zero-filled hole" or record: their length is a signed 32-bit number. */
const END_OF_FILE = 0

/** What an entry is made of. */
export interface KeytabEntryFields {
  readonly principal: Principal
  /** Version of the key, 0 to 2^32 - 1. */
  readonly kvno: number
  readonly enctype: number // open: see ETYPE for the ones we know
  readonly key: Uint8Array
  /** When the entry was made, to the second. Default: 1970. */
  readonly timestamp?: Date
  /** The file held only the low 8 bits of the version. Default: false. */
  readonly shortKvno?: boolean
}

/** One key of one principal. The key itself is not a property: no log, `inspect` or JSON shows it. */
export class KeytabEntry {
  readonly principal: Principal
  readonly kvno: number
  readonly enctype: number
  readonly timestamp: Date
  readonly #key: Uint8Array
  readonly #shortKvno: boolean

  constructor(fields: KeytabEntryFields) {
    this.principal = fields.principal
    this.kvno = fields.kvno
    this.enctype = fields.enctype
    this.timestamp = fields.timestamp ?? new Date(0)
    this.#key = new Uint8Array(fields.key) // `slice` of a Buffer would be a view
    this.#shortKvno = fields.shortKvno ?? false
    Object.freeze(this)
  }

  /** A copy of the key. */
  keyBytes(): Uint8Array {
    return this.#key.slice()
  }

  /** Whether the file held only the low 8 bits of `kvno`, so that 1 may stand for 257. */
  hasShortKvno(): boolean {
    return this.#shortKvno
  }

  /** Whether this key may be version `kvno`: the low 8 bits decide where the file holds no more. */
  matchesKvno(kvno: number): boolean {
    return this.kvno === kvno || (this.#shortKvno && this.kvno === (kvno & 0xff))
  }
}

/** The keys of a service, or of a user who logs in without a password. */
export class Keytab {
  readonly entries: readonly KeytabEntry[]
  readonly #byPrincipal: Map<string, KeytabEntry[]> = new Map()

  constructor(entries: readonly KeytabEntry[]) {
    this.entries = Object.freeze([...entries])
    for (const entry of this.entries) {
      const name = entry.principal.toString()
      const others = this.#byPrincipal.get(name)
      if (others === undefined) this.#byPrincipal.set(name, [entry])
      else others.push(entry)
    }
  }

  /** A keytab of these entries, in this order. */
  static of(entries: readonly KeytabEntry[]): Keytab {
    return new this(entries)
  }

  /**
   * Reads a keytab file.
   *
   * @param name the file's name, for messages
   * @throws {ConfigError} `KEYTAB_EMPTY` when there is no entry
   * @throws {MalformedError} `KEYTAB_MALFORMED`
   */
  static parse(bytes: Uint8Array, name = 'keytab'): Keytab {
    if (!(bytes instanceof Uint8Array)) throw new UsageError('OPTION_INVALID', 'Keytab.parse: expects a Uint8Array')
    const entries = readFile(bytes, name)
    if (entries.length === 0) throw empty(name) // check: F01
    return new this(entries)
  }

  /** The names in the file, each once, in order of appearance. */
  get principals(): readonly Principal[] {
    return [...this.#byPrincipal.values()].map(([first]) => (first as KeytabEntry).principal)
  }

  /** All entries of exactly this name and realm, in file order. */
  entriesFor(principal: Principal): readonly KeytabEntry[] {
    return this.#byPrincipal.get(principal.toString()) ?? []
  }

  /**
   * The name under which the file has a principal: exactly that one, else the first whose components differ in ASCII case alone, as Active
   * Directory compares them. Realms are compared byte by byte.
   */
  nameOf(principal: Principal): Principal | undefined {
    if (this.entriesFor(principal).length > 0) return principal
    return this.principals.find(
      ({ realm, components }) => realm === principal.realm && isSameButCase(components, principal),
    )
  }

  /** All entries whose first component of several is `service`, whatever host and realm, in file order. */
  entriesOfService(service: string): readonly KeytabEntry[] {
    return this.entries.filter(({ principal: { components } }) => components.length > 1 && components[0] === service)
  }

  /**
   * The key of a principal, enctype and version. Of several that match, a whole version beats an 8-bit one and the later entry the
   * earlier; without a version, or with 0, the highest version is taken.
   */
  find(principal: Principal, enctype: number, kvno?: number): KeytabEntry | undefined {
    let best: KeytabEntry | undefined
    for (const entry of this.entriesFor(principal)) {
      if (entry.enctype !== enctype) continue
      if (kvno === undefined || kvno === 0) {
        if (best === undefined || entry.kvno >= best.kvno) best = entry
      } else if (entry.matchesKvno(kvno) && (best === undefined || entry.kvno === kvno || best.kvno !== kvno)) {
        best = entry
      }
    }
    return best
  }

  /** The file, version 0x0502, every entry with its 32-bit version. */
  toBytes(): Uint8Array {
    return join([Uint8Array.of(FORMAT, 2), ...this.entries.map(encodeRecord)])
  }
}

/** Whether the components are a name's but for the case of ASCII letters. */
export function isSameButCase(components: readonly string[], other: Pick<Principal, 'components'>): boolean {
  const isSame = (one: string, i: number) => lowerAscii(one) === lowerAscii(other.components[i] ?? '')
  return components.length === other.components.length && components.every(isSame)
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

function readFile(bytes: Uint8Array, name: string): KeytabEntry[] {
  try {
    if (bytes.length > MAX_KEYTAB_BYTES) throw malformed(`longer than ${MAX_KEYTAB_BYTES} bytes`) // check: F01
    const from = new ByteReader(bytes)
    return from.remaining === 0 ? [] : readRecords(from)
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new MalformedError('KEYTAB_MALFORMED', `${quote(name)}: ${error.message}`, {
      hint: 'Export the keytab again, and copy it as a binary file.',
    })
  }
}

function readRecords(from: ByteReader): KeytabEntry[] {
  const integers = readVersion(from)
  const entries: KeytabEntry[] = []
  while (from.remaining > 0) {
    const what = `entry ${entries.length + 1}`
    const length = integers.uint32(from, `${what}: length`) | 0
    if (length === END_OF_FILE) break
    if (length < 0) {
      // The inverse of -2^31 is no 32-bit number, but it is one here, and no file is that long.
      from.take(-length, `hole after entry ${entries.length}`) // check: F02
      continue
    }
    entries.push(readEntry(from.within(length, what), integers, what))
  }
  return entries
}

/** Which byte order follows: version 1 is in that of its host, version 2 big-endian. */
function readVersion(from: ByteReader): Integers {
  const format = from.byte('version')
  const version = from.byte('version')
  if (format === FORMAT && version === 1) return littleEndian
  if (format === FORMAT && version === 2) return bigEndian
  throw malformed(`not a keytab: it starts with ${format}, ${version} instead of 5, 1 or 5, 2`) // check: F01
}

/** What the record has left behind the entry is the rest of a hole that it replaced. */
function readEntry(record: ByteReader, integers: Integers, what: string): KeytabEntry {
  const principal = readPrincipal(record, integers, what)
  const timestamp = new Date(integers.uint32(record, `${what}: timestamp`) * 1000)
  const shortKvno = record.byte(`${what}: key version`)
  const enctype = signed16(integers.uint16(record, `${what}: enctype`))
  const key = record.take(integers.uint16(record, `${what}: key length`), `${what}: key`)
  const longKvno = record.remaining >= 4 ? integers.uint32(record, `${what}: 32-bit key version`) : 0
  return longKvno === 0 // absent, says the format (release 1.14 and later write it)
    ? new KeytabEntry({ principal, timestamp, kvno: shortKvno, enctype, key, shortKvno: true })
    : new KeytabEntry({ principal, timestamp, kvno: longKvno, enctype, key })
}

function readPrincipal(record: ByteReader, integers: Integers, what: string): Principal {
  const old = integers === littleEndian
  const count = integers.uint16(record, `${what}: component count`) - (old ? 1 : 0) // version 1 counts the realm
  // Each has at least its length.
  if (count < 1 || count * 2 > record.remaining) throw malformed(`${what}: ${count} name components announced`) // check: F03
  const text = (part: string) => readUtf8(record.take(integers.uint16(record, part), part), part)
  const realm = text(`${what}: realm`)
  const components = Array.from({ length: count }, (_, i) => text(`${what}: component ${i + 1}`))
  const nameType = old ? NAME_TYPE.NT_UNKNOWN : integers.uint32(record, `${what}: name type`) | 0
  return new Principal(components, realm, nameType)
}

function encodeRecord(entry: KeytabEntry): Uint8Array {
  const { components, realm, nameType } = entry.principal
  const whole = concat(
    int16Field(components.length, 'component count'),
    data(utf8(realm), 'realm'),
    ...components.map((component) => data(utf8(component), 'component')),
    int32Field(nameType, 'name type'),
    uint32Field(Math.floor(entry.timestamp.getTime() / 1000), 'timestamp'),
    Uint8Array.of(entry.kvno & 0xff),
    int16Field(entry.enctype, 'enctype'),
    data(entry.keyBytes(), 'key'),
    uint32Field(entry.hasShortKvno() ? 0 : entry.kvno, 'key version'),
  )
  return concat(uint32Field(whole.length, 'entry length'), whole)
}

function data(bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length > 0xffff) throw new UsageError('OPTION_INVALID', `${what}: longer than 65535 bytes`)
  return concat(uint16be(bytes.length), bytes)
}

function empty(name: string): ConfigError {
  return new ConfigError('KEYTAB_EMPTY', `${quote(name)} holds no entry`, {
    hint: 'Export the key into it with kadmin ktadd, ktpass or ktutil.',
  })
}
