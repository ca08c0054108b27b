import { quote } from '../../bytes/text.ts'
import { DEFAULT_ENCTYPES } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import type { ReplayStore, SecurityContext } from '../../gss/context.ts'
import { type AcceptorSettings, type ConnectionBindings, Krb5Acceptor, retentionMs } from '../../gss/krb5/index.ts'
import { NegotiateAcceptor } from '../../gss/spnego/index.ts'
import {
  type AcceptedLogin,
  type AcceptorRules,
  checkAcceptedLogin,
  type ServiceSelection,
} from '../../krb5/exchange/index.ts'
import { Keytab } from '../../krb5/formats/index.ts'
import { Principal } from '../../krb5/messages/index.ts'
import { booleanOf, integerIn, invalid, optional, ownOptions, rejectUnknown, stringOf } from '../../options.ts'
import { defaultKeytabName } from '../../system/index.ts'
import { Credentials } from './credentials.ts'
import { enctypeNumbers } from './kerberos-client.ts'
import { LiveKeys } from './live-keys.ts'
import { withOwnTokens } from './own-tokens.ts'
import { defaultReplayStore, mustBeShared } from './replay-store.ts'
import { sourceWithClock } from './world.ts'

/** One name, several, all of a service whatever the host, or all that the keytab has. */
export type AcceptedPrincipal =
  | string
  | Principal
  | readonly (string | Principal)[]
  | { readonly service: string }
  | 'any'

export interface AcceptorOptions {
  /** A path, `FILE:path`, or a `Keytab`. Default `KRB5_KTNAME`, else `/etc/krb5.keytab`. A change of the file counts within 10 ms. */
  readonly keytab?: string | Keytab | undefined
  /** Which entries of the keytab are used. Default `{ service: 'HTTP' }`; `'any'` lets tickets for other services in. */
  readonly principal?: AcceptedPrincipal | undefined
  /**
   * Default: a `MemoryReplayStore` that all acceptors of this process with the same `now` share; in a worker of `node:cluster` the primary's, by
   * `useClusterReplayStore()`.
   */
  readonly replayStore?: ReplayStore | undefined
  /**
   * Whether a forwarded login is taken: `context.delegated` then has it, and whoever holds it *is* the user. Default false: dropped unread.
   */
  readonly delegation?: boolean | undefined
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** What only the HTTP server offers, beside `AcceptorOptions`. */
export interface AcceptorPolicy extends AcceptorOptions {
  /** 0 to 3600. Default 300 (RFC 4120 §8.2). */
  readonly clockSkewSeconds?: number | undefined
  readonly enctypes?: readonly number[] | undefined
  /** Default: the service's realm, and realms whose path the KDC has checked. */
  readonly trustedRealms?: readonly string[] | undefined
}

/** A context of an acceptor, with what only that side may learn. */
export interface AcceptorContext extends SecurityContext {
  /** The client's login, when it was forwarded and the acceptor's `delegation` is on. Throws `CONTEXT_INCOMPLETE` before completion. */
  readonly delegated: Credentials | undefined
}

/** Owns keys, their schedules and the replay store; its contexts share them. */
export interface Acceptor {
  createContext(options?: { channelBindings?: Uint8Array }): AcceptorContext
  close(): Promise<void>
}

class OpenContext extends NegotiateAcceptor implements AcceptorContext {
  readonly #kerberos: Krb5Acceptor
  readonly #now: (() => number) | undefined
  #delegated: Credentials | undefined

  constructor(kerberos: Krb5Acceptor, now: (() => number) | undefined) {
    super(kerberos)
    this.#kerberos = kerberos
    this.#now = now
  }

  /** What another acceptor needs to decide about the login. Throws `CONTEXT_INCOMPLETE` before completion. */
  get login(): AcceptedLogin | undefined {
    this.mustBeComplete()
    return this.#kerberos.login
  }

  get delegated(): Credentials | undefined {
    this.mustBeComplete()
    const tickets = this.#kerberos.delegated
    this.#delegated ??= tickets && Credentials.ofTickets(tickets, this.#now)
    return this.#delegated
  }
}

/**
 * The keys of a service, ready to check tickets (RFC 4120 §3.2.3) behind SPNEGO or raw (RFC 4178, 4121).
 *
 * @throws {ConfigError} rejects with `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export async function createAcceptor(options: AcceptorOptions = {}): Promise<Acceptor> {
  const { keytab, principal, replayStore, delegation, now, ...unknown } = ownOptions('createAcceptor', options)
  rejectUnknown('createAcceptor', unknown)
  return openAcceptor({ keytab, principal, replayStore, delegation, now })
}

/** What is the same for all contexts. */
interface FixedSettings extends Omit<AcceptorSettings, 'rules'> {
  readonly rules: Omit<AcceptorSettings['rules'], 'keys'>
}

/** What is one connection's, or one request's. */
export interface ContextSettings extends ConnectionBindings {
  /** The one name whose tickets count, asked for once an AP-REQ has come; default: all that the acceptor serves. */
  readonly name?: (() => Principal | undefined) | undefined
}

/** Most warnings about versions: each stands for an entry of the keytab. */
const MAX_TOLD = 16

const UNBOUND: ConnectionBindings = { channelBindings: undefined, bindingsRequired: false }

/** As `createAcceptor`, at once: the keytab is read synchronously, so that a server fails at its start. */
export class OpenAcceptor implements Acceptor {
  readonly #keys: LiveKeys
  readonly #settings: FixedSettings
  readonly #now: (() => number) | undefined
  /** For the keys that were asked for last: mostly the same as now. */
  #settingsForKeys: AcceptorSettings | undefined

  constructor(keys: LiveKeys, settings: FixedSettings, now: (() => number) | undefined) {
    this.#keys = keys
    this.#settings = settings
    this.#now = now
  }

  createContext(options?: { channelBindings?: Uint8Array | undefined }): OpenContext {
    if (options === undefined) return withOwnTokens(this.contextFor(UNBOUND))
    const { channelBindings, ...unknown } = ownOptions('createContext', options)
    rejectUnknown('createContext', unknown)
    if (channelBindings !== undefined && !(channelBindings instanceof Uint8Array)) {
      throw invalid('channelBindings', 'bytes', channelBindings)
    }
    const bindings = channelBindings && [channelBindings]
    return withOwnTokens(this.contextFor({ channelBindings: bindings, bindingsRequired: false }))
  }

  contextFor(settings: ContextSettings): OpenContext {
    const { name } = settings
    return new OpenContext(new Krb5Acceptor(() => this.#settingsFor(name?.()), settings), this.#now)
  }

  /** What a ticket is held to, for the keys as they are now. */
  rulesFor(name?: Principal): AcceptorRules {
    return this.#settingsFor(name).rules
  }

  /** @throws {VerificationError} `WRONG_PRINCIPAL`, `REALM_NOT_TRUSTED`, `TRANSITED_REFUSED` when this acceptor would not have accepted it */
  recheck(login: AcceptedLogin | undefined, name: Principal | undefined): void {
    if (login === undefined) throw unknownLogin() // check: S102
    checkAcceptedLogin(login, this.rulesFor(name)) // check: S102
  }

  #settingsFor(name: Principal | undefined): AcceptorSettings {
    const keys = name === undefined ? this.#keys.current() : this.#keys.of(name)
    if (this.#settingsForKeys?.rules.keys !== keys) {
      this.#settingsForKeys = { ...this.#settings, rules: { ...this.#settings.rules, keys } }
    }
    return this.#settingsForKeys
  }

  async close(): Promise<void> {
    this.#keys.dispose()
  }
}

export function openAcceptor(policy: AcceptorPolicy): OpenAcceptor {
  const enctypes = optional(policy.enctypes, enctypeNumbers) ?? DEFAULT_ENCTYPES
  const clockSkewSeconds = integerIn('clockSkewSeconds', policy.clockSkewSeconds ?? 300, 0, 3600)
  const selection = selectionOf(policy.principal ?? { service: 'HTTP' })
  const source = sourceWithClock(clockOf(policy.now))
  const keytab = policy.keytab instanceof Keytab ? policy.keytab : keytabName(policy.keytab)
  const keys = new LiveKeys(keytab, selection, enctypes)
  const clockSkew = clockSkewSeconds * 1e6
  const replayStore = replayStoreOf(policy)
  replayStore.expectSkew?.(retentionMs(clockSkew))
  const settings = {
    rules: {
      enctypes,
      clockSkew,
      trustedRealms: optional(policy.trustedRealms, realmList),
      onOtherVersion: otherVersionWarning(),
    },
    replayStore,
    delegation: optional(policy.delegation, (value) => booleanOf('delegation', value)) ?? false,
    startedAt: source.now(),
    source,
  }
  return new OpenAcceptor(keys, settings, policy.now)
}

/** Made by something else than this package, or by another version of it. */
function unknownLogin(): VerificationError {
  return new VerificationError('WRONG_PRINCIPAL', 'nothing is known of how the login was accepted', {
    hint: 'Use one version of this package for all guards of a request.',
  })
}

/** Once for each name and version. */
function otherVersionWarning(): NonNullable<AcceptorRules['onOtherVersion']> {
  const told = new Set<string>()
  return ({ principal, kvno }, asked) => {
    const name = quote(principal.toString())
    const text = `a ticket of key version ${asked} for ${name} was opened by the key of version ${kvno}: remove keys that no longer count from the keytab, or correct their versions`
    if (told.has(text) || told.size >= MAX_TOLD) return
    told.add(text)
    process.emitWarning(text, { type: 'SpnegoWarning', code: 'SPNEGO_OTHER_KEY_VERSION' })
  }
}

function keytabName(value: string | undefined): string {
  return optional(value, (given) => stringOf('keytab', given)) ?? defaultKeytabName()
}

function selectionOf(value: unknown): ServiceSelection {
  if (value === 'any') return 'any'
  if (typeof value === 'string' || value instanceof Principal) return [acceptedName(value)]
  if (Array.isArray(value) && value.length > 0) return value.map(acceptedName)
  const { service, ...unknown } = ownOptions<{ service?: unknown }>('principal', value as object)
  rejectUnknown('principal', unknown)
  return { service: stringOf('principal.service', service) }
}

/** `HTTP/host@REALM`, `HTTP/host`, or `HTTP@host`: a service has a host, so what stands alone behind an @ is one. */
export function acceptedName(value: unknown): Principal {
  if (value instanceof Principal) return value
  const text = stringOf('principal', value)
  const [, service, host] = /^([^/@\\]+)@([^/@\\]+)$/.exec(text) ?? []
  return service === undefined || host === undefined ? Principal.parse(text) : new Principal([service, host], '')
}

function realmList(value: unknown): readonly string[] {
  const isList = Array.isArray(value) && value.every((realm) => typeof realm === 'string' && realm !== '')
  if (!isList) throw invalid('trustedRealms', 'a list of realms', value)
  return Object.freeze([...value])
}

function replayStoreOf({ replayStore, now }: AcceptorPolicy): ReplayStore {
  if (replayStore === undefined) return defaultReplayStore(now)
  if (typeof replayStore?.checkAndStore !== 'function') throw invalid('replayStore', 'a ReplayStore', replayStore)
  return mustBeShared(replayStore)
}

function clockOf(now: (() => number) | undefined): (() => number) | undefined {
  if (now !== undefined && typeof now !== 'function') throw invalid('now', 'a function', now)
  return now
}
