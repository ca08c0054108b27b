import { quote } from '../bytes/text.ts'
import { DEFAULT_ENCTYPES, enctype } from '../crypto/index.ts'
import { UsageError } from '../errors.ts'
import { Principal } from '../krb5/messages/index.ts'
import { booleanOf, rejectUnknown } from '../options.ts'

export interface TestUser {
  readonly password: string
  /** Whether every login is refused with KDC_ERR_KEY_EXPIRED until the password is changed. Default false. */
  readonly passwordExpired?: boolean | undefined
}

export interface TestRealmOptions {
  /** Letters, digits, dots and dashes. Default EXAMPLE.TEST. */
  readonly realm?: string | undefined
  /** Names and passwords. Default none. */
  readonly users?: Readonly<Record<string, string | TestUser>> | undefined
  /** Names of services, which get random keys. Default HTTP/localhost. */
  readonly services?: readonly string[] | undefined
  /** Those of the services that the KDC marks ok-as-delegate (RFC 4120 §2.8). Default none. */
  readonly okAsDelegate?: readonly string[] | undefined
  /** Of every key, best liked first. Default 18, 17, 20, 19. */
  readonly enctypes?: readonly number[] | undefined
  /** TCP and UDP, on 127.0.0.1. Default any free one. */
  readonly port?: number | undefined
  /** Milliseconds since 1970. Default the system's clock. */
  readonly clock?: { now(): number } | undefined
  /** What the realm shall do wrong: names of `FAULTS`. Default nothing. */
  readonly faults?: readonly string[] | undefined
}

/** Checked and complete. */
export interface TestRealmSettings {
  readonly realm: string
  readonly users: readonly (Required<TestUser> & { readonly principal: Principal; readonly passwordExpired: boolean })[]
  readonly services: readonly Principal[]
  readonly okAsDelegate: readonly Principal[]
  readonly enctypes: readonly number[]
  readonly port: number
  readonly now: () => number
  readonly faults: readonly string[]
}

/**
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `NAME_INVALID` for a user or service that is no name, `ENCTYPE_UNSUPPORTED`
 */
export function testRealmSettings(options: TestRealmOptions): TestRealmSettings {
  if (!isRecord(options)) throw invalid('TestRealm.start: expects an object')
  const { realm, users, services, okAsDelegate, enctypes, port, clock, faults, ...unknown } = options
  rejectUnknown('TestRealmOptions', unknown)
  const name = realmName(realm ?? 'EXAMPLE.TEST')
  const named = texts('services', services ?? ['HTTP/localhost']).map((text) => nameIn(text, name))
  return Object.freeze({
    realm: name,
    users: userList(users ?? {}, name),
    services: named,
    okAsDelegate: texts('okAsDelegate', okAsDelegate ?? []).map((text) => oneOf(named, nameIn(text, name))),
    enctypes: enctypeList(enctypes ?? DEFAULT_ENCTYPES),
    port: portNumber(port ?? 0),
    now: clockOf(clock),
    faults: texts('faults', faults ?? []),
  })
}

/** Goes into krb5.conf and into a shell as it is, so it has no character that means something there (RFC 4120 §6.1, domain style). */
function realmName(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/.test(value)) return value
  throw invalid('realm: expects letters, digits, dots and dashes, such as EXAMPLE.TEST')
}

function userList(value: unknown, realm: string): TestRealmSettings['users'] {
  if (!isRecord(value)) throw invalid('users: expects an object of names and passwords')
  return Object.entries(value).map(([name, one]) => ({ principal: nameIn(name, realm), ...userOf(name, one) }))
}

function userOf(name: string, value: unknown): { password: string; passwordExpired: boolean } {
  if (!isRecord(value)) return { password: checkedPassword(name, value), passwordExpired: false }
  const { password, passwordExpired = false, ...unknown } = value
  const where = `users[${quote(name)}]`
  rejectUnknown(where, unknown)
  return { password: checkedPassword(name, password), passwordExpired: booleanOf(where, passwordExpired) }
}

function oneOf(services: readonly Principal[], service: Principal): Principal {
  if (services.some((one) => one.equals(service))) return service
  throw invalid(`okAsDelegate: ${quote(service.toString())} is not among the services`)
}

/** @throws {UsageError} `OPTION_INVALID` for what is no text, or none that UTF-8 has (RFC 3629 §3) */
export function checkedPassword(name: string, password: unknown): string {
  if (typeof password === 'string' && !/\p{Surrogate}/u.test(password)) return password
  throw invalid(`users[${quote(name)}]: expects a password of well-formed Unicode`)
}

/** A name of this realm, with or without the realm behind it. @throws {UsageError} `NAME_INVALID`, `OPTION_INVALID` */
export function nameIn(text: string, realm: string): Principal {
  const principal = Principal.parse(text, realm)
  if (principal.realm !== realm) throw invalid(`${quote(text)} is not in the realm ${realm}`)
  return principal
}

function enctypeList(value: unknown): readonly number[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid('enctypes: expects a list of at least one number')
  const list = value.map((one: unknown) => {
    if (typeof one !== 'number') throw invalid('enctypes: expects a list of numbers')
    return enctype(one).id
  })
  if (new Set(list).size !== list.length) throw invalid('enctypes: names one twice')
  return Object.freeze(list)
}

function portNumber(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65_535) return value
  throw invalid('port: expects an integer from 0, for any free one, to 65535')
}

function clockOf(value: unknown): () => number {
  if (value === undefined) return () => Date.now()
  if (isClock(value)) return () => value.now()
  throw invalid('clock: expects an object whose now() returns milliseconds since 1970')
}

function isClock(value: unknown): value is { now(): number } {
  if (typeof value !== 'object' || value === null || !('now' in value) || typeof value.now !== 'function') return false
  return Number.isFinite(value.now())
}

function texts(name: string, value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((one: unknown) => typeof one === 'string')) return [...value]
  throw invalid(`${name}: expects a list of texts`)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(message: string): UsageError {
  return new UsageError('OPTION_INVALID', message)
}
