/** MIT krb5, "Credential cache file format": versions 1 to 4 are read, 4 is written. */

import { concat, utf8 } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { quote, readUtf8 } from '../../bytes/text.ts'
import { MalformedError, malformed } from '../../errors.ts'
import { TICKET_FLAG } from '../messages/index.ts'
import { NAME_TYPE, Principal } from '../messages/principal.ts'
import {
  bigEndian,
  type Integers,
  int16Field,
  int32Field,
  join,
  littleEndian,
  signed16,
  uint8Field,
  uint32Field,
} from './fields.ts'

/** Longest credential cache that is read, in bytes. */
export const MAX_CACHE_BYTES: number = 16 * 1024 * 1024

const FORMAT = 5
/** Header field: the KDC's clock minus ours, two 32-bit numbers. */
const TAG_KDC_OFFSET = 1

/** Realm of the pseudo-credentials that hold settings of the cache. */
const CONFIG_REALM = 'X-CACHECONF:'
const CONFIG_NAME = 'krb5_ccache_conf_data'
/** What MIT krb5 1.18 and later turn that realm into to remove a setting. */
const REMOVED_CONFIG_REALM = 'X-RMED-CONF:'
/** "-1": the authentication time that MIT krb5 gives a removed ticket, beside an end of 0. */
const REMOVED_AUTH_TIME = 0xffffffff

/** A credential cache file, everything in file order. */
export interface CredentialCacheFile {
  /** The version that was read; `encodeCredentialCache` writes 4. */
  readonly version: 1 | 2 | 3 | 4
  /** The KDC's clock minus ours, when the header says so. */
  readonly kdcOffset: { readonly seconds: number; readonly microseconds: number } | undefined
  /** Header fields that we do not know. */
  readonly unknownHeader: readonly TypedBytes[]
  readonly principal: Principal
  /** Tickets, settings and removed ones: see `isConfig`, `isRemoved`, `cachedTickets`. */
  readonly credentials: readonly CachedCredential[]
}

/** An address, an authorization-data element, or a header field. */
export interface TypedBytes {
  readonly type: number // open
  readonly data: Uint8Array
}

/** What a credential is made of. Times are seconds since 1970, 0 to 2^32 - 1 (the year 2106); 0 means absent. */
export interface CachedCredentialFields {
  readonly client: Principal
  readonly server: Principal
  /** Of the session key. */
  readonly enctype: number
  readonly key: Uint8Array
  readonly authTime: number
  readonly startTime: number
  readonly endTime: number
  readonly renewTill: number
  /** Not 0: the ticket is encrypted in another ticket's session key (user to user). MIT krb5 writes 8. Default: 0. */
  readonly skey?: number
  /** Bit 0 of RFC 4120 §5.3 is the highest. */
  readonly flags: number
  readonly addresses?: readonly TypedBytes[]
  readonly authData?: readonly TypedBytes[]
  /** DER of the Ticket; of a setting, its value. */
  readonly ticket: Uint8Array
  readonly secondTicket?: Uint8Array
}

/** One credential. Key and tickets are not own properties: no log, `inspect` or JSON shows them. */
export class CachedCredential {
  readonly client: Principal
  readonly server: Principal
  readonly enctype: number
  readonly authTime: number
  readonly startTime: number
  readonly endTime: number
  readonly renewTill: number
  readonly skey: number
  readonly flags: number
  readonly addresses: readonly TypedBytes[]
  readonly authData: readonly TypedBytes[]
  readonly #key: Uint8Array
  readonly #ticket: Uint8Array
  readonly #secondTicket: Uint8Array

  constructor(fields: CachedCredentialFields) {
    this.client = fields.client
    this.server = fields.server
    this.enctype = fields.enctype
    this.authTime = fields.authTime
    this.startTime = fields.startTime
    this.endTime = fields.endTime
    this.renewTill = fields.renewTill
    this.skey = fields.skey ?? 0
    this.flags = fields.flags
    this.addresses = fields.addresses ?? []
    this.authData = fields.authData ?? []
    this.#key = new Uint8Array(fields.key) // `slice` of a Buffer would be a view
    this.#ticket = new Uint8Array(fields.ticket)
    this.#secondTicket = new Uint8Array(fields.secondTicket ?? [])
  }

  /** A copy of the session key. */
  keyBytes(): Uint8Array {
    return this.#key.slice()
  }

  /** DER of the Ticket; of a setting, its value. */
  get ticket(): Uint8Array {
    return this.#ticket
  }

  /** DER of the ticket whose key encrypts `ticket`; empty where there is none. */
  get secondTicket(): Uint8Array {
    return this.#secondTicket
  }

  /** The ticket is encrypted in another ticket's session key. */
  get isSkey(): boolean {
    return this.skey !== 0
  }

  /** A setting of the cache in the dress of a credential. */
  get isConfig(): boolean {
    return this.server.realm === CONFIG_REALM && this.server.components[0] === CONFIG_NAME
  }

  /** Struck out in place by MIT krb5. */
  get isRemoved(): boolean {
    return this.server.realm === REMOVED_CONFIG_REALM || (this.authTime === REMOVED_AUTH_TIME && this.endTime === 0)
  }
}

/** The credentials that are tickets, in file order. */
export function cachedTickets(cache: CredentialCacheFile): readonly CachedCredential[] {
  return cache.credentials.filter((credential) => !credential.isConfig && !credential.isRemoved)
}

/**
 * The ticket that a client may show to a server, optionally of one client; of several the last, which was
 * fetched last. Neither one that another ticket's key encrypts, which the server cannot open, nor one with
 * the flag INVALID, which no server takes (RFC 4120 §2.2).
 */
export function cachedTicketFor(
  cache: CredentialCacheFile,
  server: Principal,
  client?: Principal,
): CachedCredential | undefined {
  return cachedTickets(cache).findLast(
    (ticket) =>
      isPresentable(ticket) && ticket.server.equals(server) && (client === undefined || ticket.client.equals(client)),
  )
}

function isPresentable({ isSkey, flags }: CachedCredential): boolean {
  if (isSkey || (flags & TICKET_FLAG.invalid) !== 0) return false // check: K65
  return true
}

/** A setting of the cache (`fast_avail`, `pa_type`, `refresh_time`, …), optionally of one server; the last one counts. */
export function cachedConfig(cache: CredentialCacheFile, key: string, server?: Principal): Uint8Array | undefined {
  const name = server === undefined ? [CONFIG_NAME, key] : [CONFIG_NAME, key, server.toString()]
  const wanted = new Principal(name, CONFIG_REALM)
  return cache.credentials.findLast((credential) => credential.server.equals(wanted) && !credential.isRemoved)?.ticket
}

/** A setting of the cache as the credential that carries it. */
export function configCredential(
  client: Principal,
  key: string,
  value: Uint8Array,
  server?: Principal,
): CachedCredential {
  const name = server === undefined ? [CONFIG_NAME, key] : [CONFIG_NAME, key, server.toString()]
  return new CachedCredential({
    client,
    server: new Principal(name, CONFIG_REALM, NAME_TYPE.NT_PRINCIPAL),
    enctype: 0,
    key: new Uint8Array(0),
    authTime: 0,
    startTime: 0,
    endTime: 0,
    renewTill: 0,
    flags: 0,
    ticket: value,
  })
}

/**
 * Reads a credential cache file. It may end between two credentials, nowhere else.
 *
 * @param name the file's name, for messages
 * @throws {MalformedError} `CACHE_MALFORMED`
 */
export function decodeCredentialCache(bytes: Uint8Array, name = 'credential cache'): CredentialCacheFile {
  try {
    if (bytes.length > MAX_CACHE_BYTES) throw malformed(`longer than ${MAX_CACHE_BYTES} bytes`) // check: F14
    return readFile(new ByteReader(bytes))
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new MalformedError('CACHE_MALFORMED', `${quote(name)}: ${error.message}`, {
      hint: 'Run kinit or spnego login again, which writes a new one.',
    })
  }
}

/** Writes version 4; what `decodeCredentialCache` read from version 4 comes out byte for byte. */
export function encodeCredentialCache(cache: Omit<CredentialCacheFile, 'version'>): Uint8Array {
  const header = join([
    ...(cache.kdcOffset === undefined ? [] : [encodeKdcOffset(cache.kdcOffset)]),
    ...cache.unknownHeader.map(({ type, data }) =>
      concat(int16Field(type, 'header tag'), int16Field(data.length, 'header field'), data),
    ),
  ])
  return join([
    Uint8Array.of(FORMAT, 4),
    int16Field(header.length, 'header length'),
    header,
    encodePrincipal(cache.principal),
    ...cache.credentials.map(encodeCredential),
  ])
}

/** How a version is written. */
interface Layout extends Integers {
  readonly version: 1 | 2 | 3 | 4
}

function readFile(from: ByteReader): CredentialCacheFile {
  const layout = readVersion(from)
  const header = layout.version === 4 ? readHeader(from) : { kdcOffset: undefined, unknownHeader: [] }
  const principal = readPrincipal(from, layout, 'default principal')
  const credentials: CachedCredential[] = []
  while (from.remaining > 0) credentials.push(readCredential(from, layout, `credential ${credentials.length + 1}`))
  return { version: layout.version, ...header, principal, credentials }
}

/** Versions 1 and 2 are in the byte order of their host, 3 and 4 big-endian. */
function readVersion(from: ByteReader): Layout {
  const format = from.byte('version')
  const version = from.byte('version')
  if (format === FORMAT && (version === 1 || version === 2)) return { ...littleEndian, version }
  if (format === FORMAT && (version === 3 || version === 4)) return { ...bigEndian, version }
  throw malformed(`not a credential cache: it starts with ${format}, ${version} instead of 5 and 1 to 4`) // check: F14
}

function readHeader(from: ByteReader): Pick<CredentialCacheFile, 'kdcOffset' | 'unknownHeader'> {
  const header = from.within(from.uint16('header length'), 'header')
  const unknownHeader: TypedBytes[] = []
  let kdcOffset: CredentialCacheFile['kdcOffset']
  while (header.remaining > 0) {
    const type = header.uint16('header tag')
    const field = header.within(header.uint16('header field length'), 'header field')
    if (type === TAG_KDC_OFFSET && kdcOffset === undefined) {
      kdcOffset = { seconds: field.int32('clock offset'), microseconds: field.int32('clock offset') }
      field.end('clock offset')
    } else {
      unknownHeader.push({ type, data: new Uint8Array(field.rest()) })
    }
  }
  return { kdcOffset, unknownHeader }
}

function readPrincipal(from: ByteReader, layout: Layout, what: string): Principal {
  const old = layout.version === 1
  const nameType = old ? NAME_TYPE.NT_UNKNOWN : layout.uint32(from, `${what}: name type`) | 0
  const count = layout.uint32(from, `${what}: component count`) - (old ? 1 : 0) // version 1 counts the realm
  // Each has at least its length.
  if (count < 0 || count * 4 > from.remaining) throw malformed(`${what}: ${count} name components announced`) // check: F14
  const text = (part: string) => readUtf8(readData(from, layout, part), part)
  const realm = text(`${what}: realm`)
  const components = Array.from({ length: count }, (_, i) => text(`${what}: component ${i + 1}`))
  return new Principal(components, realm, nameType)
}

function readCredential(from: ByteReader, layout: Layout, what: string): CachedCredential {
  const uint32 = (field: string) => layout.uint32(from, `${what}: ${field}`)
  const client = readPrincipal(from, layout, `${what}: client`)
  const server = readPrincipal(from, layout, `${what}: server`)
  const enctype = signed16(layout.uint16(from, `${what}: enctype`))
  if (layout.version === 3) layout.uint16(from, `${what}: enctype`) // "a second time", says the format
  return new CachedCredential({
    client,
    server,
    enctype,
    key: readData(from, layout, `${what}: key`),
    authTime: uint32('authentication time'),
    startTime: uint32('start time'),
    endTime: uint32('end time'),
    renewTill: uint32('renewal end'),
    skey: from.byte(`${what}: is_skey`),
    flags: uint32('flags'),
    addresses: readList(from, layout, `${what}: addresses`),
    authData: readList(from, layout, `${what}: authorization data`),
    ticket: readData(from, layout, `${what}: ticket`),
    secondTicket: readData(from, layout, `${what}: second ticket`),
  })
}

function readList(from: ByteReader, layout: Layout, what: string): TypedBytes[] {
  const count = layout.uint32(from, what)
  // Each has at least type and length.
  if (count * 6 > from.remaining) throw malformed(`${what}: ${count} announced`) // check: F14
  return Array.from({ length: count }, () => {
    const type = signed16(layout.uint16(from, what))
    return { type, data: new Uint8Array(readData(from, layout, what)) }
  })
}

function readData(from: ByteReader, layout: Layout, what: string): Uint8Array {
  return from.take(layout.uint32(from, what), what)
}

function encodeKdcOffset({ seconds, microseconds }: { seconds: number; microseconds: number }): Uint8Array {
  return concat(
    int16Field(TAG_KDC_OFFSET, 'header tag'),
    int16Field(8, 'header field'),
    int32Field(seconds, 'clock offset'),
    int32Field(microseconds, 'clock offset'),
  )
}

function encodePrincipal({ nameType, components, realm }: Principal): Uint8Array {
  return concat(
    int32Field(nameType, 'name type'),
    uint32Field(components.length, 'component count'),
    encodeData(utf8(realm)),
    ...components.map((component) => encodeData(utf8(component))),
  )
}

function encodeCredential(credential: CachedCredential): Uint8Array {
  return concat(
    encodePrincipal(credential.client),
    encodePrincipal(credential.server),
    int16Field(credential.enctype, 'enctype'),
    encodeData(credential.keyBytes()),
    uint32Field(credential.authTime, 'authTime'),
    uint32Field(credential.startTime, 'startTime'),
    uint32Field(credential.endTime, 'endTime'),
    uint32Field(credential.renewTill, 'renewTill'),
    uint8Field(credential.skey, 'skey'),
    int32Field(credential.flags, 'flags'),
    encodeList(credential.addresses),
    encodeList(credential.authData),
    encodeData(credential.ticket),
    encodeData(credential.secondTicket),
  )
}

function encodeList(list: readonly TypedBytes[]): Uint8Array {
  const items = list.map(({ type, data }) => concat(int16Field(type, 'type'), encodeData(data)))
  return join([uint32Field(list.length, 'count'), ...items])
}

function encodeData(bytes: Uint8Array): Uint8Array {
  return concat(uint32Field(bytes.length, 'length'), bytes)
}
