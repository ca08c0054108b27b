/** MIT krb5, "krb5.conf": the settings that this package honours, each read from a profile and checked when asked for. */

import { quote, shorten } from '../../bytes/text.ts'
import { ConfigError, UsageError } from '../../errors.ts'
import { parseDuration } from './duration.ts'
import { DEFAULT_ENCTYPES, type EnctypeList, parseEnctypeList } from './enctype-list.ts'
import { type Profile, type ProfileValue, parseProfile } from './profile.ts'
import { parseServerAddress, type ServerAddress } from './server-address.ts'

/** Most servers of a realm that are tried; those behind are ignored. */
export const MAX_SERVERS = 16

const KDC_PORT = 88 // RFC 4120 §7.2.3
export const KPASSWD_PORT = 464 // RFC 3244 §2
const DEFAULT_CLOCK_SKEW_SECONDS = 300

/** What `%{uid}`, `%{TEMP}` and so on stand for. */
export interface PathTokens {
  get(name: string): string | undefined
}

type EnctypeSetting = 'permitted_enctypes' | 'default_tkt_enctypes' | 'default_tgs_enctypes'

/** Stands in [capaths] for no realm between. */
const DIRECT = '.'

/** krb5.conf. Each getter throws `ConfigError` `CONFIG_INVALID`, with file and line, when the value has a wrong form. */
export class Krb5Config {
  /** The whole file, for settings that have no getter. */
  readonly profile: Profile

  constructor(profile: Profile) {
    this.profile = profile
  }

  /**
   * Reads a text, which may include no files.
   *
   * @param name the file's name, for messages
   * @throws {ConfigError} `CONFIG_SYNTAX`, with file and line
   */
  static parse(text: string, name?: string): Krb5Config {
    if (typeof text !== 'string') throw new UsageError('OPTION_INVALID', 'Krb5Config.parse: expects a text')
    return new this(parseProfile(text, name))
  }

  get defaultRealm(): string | undefined {
    return this.#libdefault('default_realm')?.text
  }

  /** Whether tickets may be forwarded to another host. Default false. */
  get forwardable(): boolean {
    return this.#boolean('forwardable', false)
  }

  /** Whether a login is forwarded only to services that the KDC marks ok-as-delegate (RFC 5896 §2). Default false. */
  get enforceOkAsDelegate(): boolean {
    return this.#boolean('enforce_ok_as_delegate', false)
  }

  /** Default false. */
  get proxiable(): boolean {
    return this.#boolean('proxiable', false)
  }

  /** Whether SRV records are asked for KDCs that the file does not name. Default true. */
  get dnsLookupKdc(): boolean {
    return this.#boolean('dns_lookup_kdc', true)
  }

  /** Whether TXT records are asked for a host's realm. Default false. */
  get dnsLookupRealm(): boolean {
    return this.#boolean('dns_lookup_realm', false)
  }

  /** Whether the KDC's clock is followed where ours differs. Default true. */
  get kdcTimesync(): boolean {
    return this.#boolean('kdc_timesync', true)
  }

  get ticketLifetimeSeconds(): number | undefined {
    return this.#duration('ticket_lifetime')
  }

  get renewLifetimeSeconds(): number | undefined {
    return this.#duration('renew_lifetime')
  }

  /** Default 300. */
  get clockSkewSeconds(): number {
    return this.#duration('clockskew') ?? DEFAULT_CLOCK_SKEW_SECONDS
  }

  /** Messages longer than this go by TCP first. */
  get udpPreferenceLimit(): number | undefined {
    const value = this.#libdefault('udp_preference_limit')
    if (value === undefined) return undefined
    if (!/^\d{1,9}$/.test(value.text)) throw invalid(value, 'udp_preference_limit', 'a number of bytes')
    return Number(value.text)
  }

  get permittedEnctypes(): readonly number[] | undefined {
    return this.enctypeList('permitted_enctypes')?.enctypes
  }

  get defaultTktEnctypes(): readonly number[] | undefined {
    return this.enctypeList('default_tkt_enctypes')?.enctypes
  }

  get defaultTgsEnctypes(): readonly number[] | undefined {
    return this.enctypeList('default_tgs_enctypes')?.enctypes
  }

  /** The enctypes to log in with, in order of preference: those of `default_tkt_enctypes`, within `permitted_enctypes`. Default: AES. */
  get loginEnctypes(): readonly number[] {
    return this.#usable('default_tkt_enctypes')
  }

  /** The enctypes of session keys of services, likewise: `default_tgs_enctypes`. */
  get serviceEnctypes(): readonly number[] {
    return this.#usable('default_tgs_enctypes')
  }

  /** The enctypes that this package has of `permitted_enctypes`. Default: AES. */
  get usableEnctypes(): readonly number[] {
    return this.#usable('permitted_enctypes')
  }

  /** A KDC that is asked for no enctype at all answers that the account has none: the file is named instead. */
  #usable(name: EnctypeSetting): readonly number[] {
    const permitted = this.permittedEnctypes
    const wanted = this.enctypeList(name)?.enctypes ?? permitted ?? DEFAULT_ENCTYPES
    const usable = wanted.filter((one) => DEFAULT_ENCTYPES.includes(one) && (permitted ?? wanted).includes(one))
    if (usable.length > 0) return usable
    const written = this.#libdefault(name) === undefined ? 'permitted_enctypes' : name
    const value = this.#libdefault(written)
    if (value === undefined) return DEFAULT_ENCTYPES
    throw invalid(value, written, 'a list with one of aes256-cts, aes128-cts, aes256-sha2, aes128-sha2') // check: K84
  }

  /** A list of enctypes with the names in it that mean nothing to us; `undefined` when the file has none. */
  enctypeList(name: EnctypeSetting): EnctypeList | undefined {
    const value = this.#libdefault(name)
    if (value === undefined) return undefined
    const list = parseEnctypeList(value.text, { allowWeak: this.#boolean('allow_weak_crypto', false) })
    if (list.enctypes.length === 0) throw invalid(value, name, 'a list with an enctype that exists, such as aes')
    return list
  }

  /** `default_ccache_name` with its `%{…}` replaced. @param tokens `uid`, `TEMP` and so on to what they stand for */
  defaultCcacheName(tokens: PathTokens): string | undefined {
    return this.#path('default_ccache_name', tokens)
  }

  /** `default_keytab_name`, likewise. */
  defaultKeytabName(tokens: PathTokens): string | undefined {
    return this.#path('default_keytab_name', tokens)
  }

  /** `default_client_keytab_name`, likewise. */
  defaultClientKeytabName(tokens: PathTokens): string | undefined {
    return this.#path('default_client_keytab_name', tokens)
  }

  /** [domain_realm]: the host's own entry, then with and without leading dot those of its domains, the longest first. */
  realmOfHost(host: string): string | undefined {
    const name = host.toLowerCase().replace(/\.$/, '')
    if (/^[\d.]+$/.test(name) || name.includes(':')) return undefined // an address is in no domain
    for (let rest = name; rest !== ''; rest = parent(rest)) {
      const realm = this.profile.value('domain_realm', rest)?.text
      if (realm !== undefined && realm !== '') return realm
    }
    return undefined
  }

  /** [realms] `kdc`: where the realm's KDCs listen, without those behind an HTTPS proxy. */
  kdcs(realm: string): readonly ServerAddress[] {
    const values = this.profile.values('realms', realm, 'kdc')
    return values
      .filter((value) => !/^https:\/\//i.test(value.text))
      .slice(0, MAX_SERVERS)
      .map((value) => address(value, 'kdc', KDC_PORT))
  }

  /** [realms] `primary_kdc`, by its old name `master_kdc`: where passwords are changed first. */
  primaryKdcs(realm: string): readonly ServerAddress[] {
    const named = this.profile.values('realms', realm, 'primary_kdc')
    const values = named.length > 0 ? named : this.profile.values('realms', realm, 'master_kdc')
    return values.slice(0, MAX_SERVERS).map((value) => address(value, 'primary_kdc', KDC_PORT))
  }

  /** [realms] `kdc = https://…`: KDC proxies ([MS-KKDCP]). */
  kdcProxies(realm: string): readonly URL[] {
    const values = this.profile.values('realms', realm, 'kdc')
    return values
      .filter(isUrl)
      .slice(0, MAX_SERVERS)
      .map((value) => {
        if (/^https:/i.test(value.text) && URL.canParse(value.text)) return new URL(value.text)
        throw invalid(value, 'kdc', 'host, host:port or https://host/KdcProxy') // check: P80
      })
  }

  /** [realms] `kpasswd_server`; without it the hosts of `admin_server`, whose own port is that of another protocol. */
  kpasswdServers(realm: string): readonly ServerAddress[] {
    const own = this.profile.values('realms', realm, 'kpasswd_server').slice(0, MAX_SERVERS)
    if (own.length > 0) return own.map((value) => address(value, 'kpasswd_server', KPASSWD_PORT))
    const admin = this.profile.values('realms', realm, 'admin_server').slice(0, MAX_SERVERS)
    return admin.map((value) => ({ ...address(value, 'admin_server', KPASSWD_PORT), port: KPASSWD_PORT }))
  }

  /**
   * [capaths]: the realms between the client's and the server's, in that order.
   *
   * @returns empty when they trust each other directly; `undefined` when the file does not say
   */
  capaths(clientRealm: string, serverRealm: string): readonly string[] | undefined {
    const values = this.profile.values('capaths', clientRealm, serverRealm)
    if (values.length === 0) return undefined
    return values.map(({ text }) => text).filter((realm) => realm !== DIRECT)
  }

  #libdefault(name: string): ProfileValue | undefined {
    return this.profile.value('libdefaults', name)
  }

  #boolean(name: string, unset: boolean): boolean {
    const value = this.#libdefault(name)
    if (value === undefined) return unset
    const found = BOOLEANS.get(value.text.toLowerCase())
    if (found === undefined) throw invalid(value, name, 'true or false')
    return found
  }

  #duration(name: string): number | undefined {
    const value = this.#libdefault(name)
    if (value === undefined) return undefined
    const seconds = parseDuration(value.text)
    if (seconds === undefined || seconds < 0) throw invalid(value, name, 'a duration such as 10h, 1d 2h, 7:30 or 36000')
    return seconds
  }

  #path(name: string, tokens: PathTokens): string | undefined {
    const value = this.#libdefault(name)
    return value?.text.replace(/%\{([^}]*)(\}?)/g, (token: string, key: string, end: string) => {
      const replacement = key === 'null' ? '' : tokens.get(key)
      if (replacement !== undefined && end !== '') return replacement
      throw unknownToken(value, name, token)
    })
  }
}

/** The words of MIT's own reader. */
export const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['y', 'yes', 'true', 't', '1', 'on'].map((word) => [word, true] as const),
  ...['n', 'no', 'false', 'nil', '0', 'off'].map((word) => [word, false] as const),
])

/** `a.b.c` to `.b.c`, that to `b.c`, the last to nothing. */
function parent(name: string): string {
  const dot = name.indexOf('.')
  if (dot === 0) return name.slice(1)
  return dot === -1 ? '' : name.slice(dot)
}

function isUrl(value: ProfileValue): boolean {
  return /^[a-z]+:\/\//i.test(value.text)
}

function address(value: ProfileValue, name: string, defaultPort: number): ServerAddress {
  const found = parseServerAddress(value.text, defaultPort)
  if (found !== undefined) return found
  throw invalid(value, name, 'host, host:port with a port up to 65535, or [address]:port') // check: P80
}

function unknownToken(value: ProfileValue, name: string, token: string): ConfigError {
  const message = `${shorten(value.file)}:${value.line}: ${name} = ${quote(value.text)}: ${quote(token)} stands for nothing here`
  return new ConfigError('CONFIG_INVALID', message, {
    hint: 'Use %{uid}, %{euid}, %{USERID}, %{username}, %{TEMP} or %{null}, or write the name out.',
  })
}

function invalid(value: ProfileValue, name: string, expected: string): ConfigError {
  const message = `${shorten(value.file)}:${value.line}: ${name} = ${quote(value.text)} is not ${expected}`
  const comment = /[ \t][#;]/.test(value.text) ? ' A comment needs a line of its own.' : ''
  return new ConfigError('CONFIG_INVALID', message, { hint: `Write ${expected}.${comment}` })
}
