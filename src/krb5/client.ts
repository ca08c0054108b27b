/**
 * Drives the exchanges against real KDCs: which KDC, over which protocol, for how long.
 *
 * Declares what it needs of the world (`Transport`, `World`); `system` and tests provide it.
 */
import { ByteReader } from '../bytes/reader.ts'
import { listOf, quote } from '../bytes/text.ts'
import type { Key } from '../crypto/index.ts'
import { ConfigError, KerberosError, MalformedError, malformed, NetworkError } from '../errors.ts'
import type { Exchange, KeyRequest, Source } from './exchange/index.ts'
import type { CredentialCacheFile, Keytab, Krb5Config, ServerAddress } from './formats/index.ts'
import { type Locator, type RealmService, ServerLocator } from './locate.ts'
import { decodeKdcRep, decodeKrbError, ERROR, MESSAGE, type Principal } from './messages/index.ts'
import {
  type Attempt,
  type AttemptOptions,
  type Failure,
  firstAnswer,
  isBroken,
  NoAnswer,
  type Protocol,
  SilentServers,
} from './patience.ts'

export { PATIENCE_MS, type Protocol } from './patience.ts'

/** Octets, or what makes them of the sender's own address: 4 or 16 octets, known once there is a connection. */
export type Message = Uint8Array | ((sender: Uint8Array) => Uint8Array)

export interface TransportOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /**
   * `onSilent` is called once, when no answer has come within `silentAfterMs`; the exchange goes on until its
   * time is up.
   */
  readonly silentAfterMs?: number
  onSilent?(): void
  /** Whether octets may be the answer; a datagram that is not is ignored, as if it had never come. */
  isReply(bytes: Uint8Array): boolean
}

/** One message to one address and its answer. Rejects with any error when there is none. */
export interface Transport {
  exchange(to: ServerAddress, protocol: Protocol, message: Message, options: TransportOptions): Promise<Uint8Array>
}

/** Whose cache may be read beside the user's own and root's: any user's, or that of a uid. */
export type ForeignOwner = true | number

/** Files that hold credentials. A name is what `KRB5CCNAME` or `KRB5_KTNAME` may say; undefined is the default. */
export interface CredentialFiles {
  /**
   * The full name (`FILE:/path`, `MEMORY:name`, `DIR::/folder/file`) of a cache, whether it exists or not; of a collection that of the
   * wanted principal, else the one in use. Cheap: asked for every ticket.
   */
  cacheName(name: string | undefined, config: Krb5Config, isWanted?: (principal: Principal) => boolean): string
  /** Where a new login goes: in a collection into the principal's own cache, or a new one, which then is in use. */
  saveCache(name: string | undefined, config: Krb5Config, cache: Omit<CredentialCacheFile, 'version'>): Promise<void>
  /** All caches of a collection, the one in use first; without a collection the one cache, if it is there. */
  cacheNames(name: string | undefined, config: Krb5Config): readonly string[]
  /** Makes a cache of a collection the one in use. @throws {UsageError} `OPTION_INVALID` for any other */
  switchCache(name: string): void
  /** Changes whenever the cache does; undefined when there is none. Cheap: asked for every ticket. */
  cacheStamp(name: string): string | undefined
  /**
   * @param isAsked `isAskedFor` of the name that led here. Default: true
   * @param foreignOwner counts only for a name that was asked for
   */
  readCache(name: string, isAsked?: boolean, foreignOwner?: ForeignOwner): Promise<CredentialCacheFile>
  /**
   * Whether program or environment named a cache. One that neither named must belong to the user of this
   * process.
   */
  isAskedFor(name: string | undefined): boolean
  /**
   * A new file of mode 0600, renamed into place. With the stamp of the cache that was read, it keeps that
   * file's owner and mode, and is written only as long as that file has the stamp: false, and nothing is
   * written, when another process changed it meanwhile.
   */
  writeCache(name: string, cache: Omit<CredentialCacheFile, 'version'>, stamp?: string): Promise<boolean>
  /** Overwrites and removes; false when there was none. */
  destroyCache(name: string): Promise<boolean>
  readKeytab(name: string | undefined, config: Krb5Config): Promise<Keytab>
  /** Changes with the file of a keytab; undefined when none can be seen. */
  keytabStamp(name: string | undefined, config: Krb5Config): string | undefined
  clientKeytabStamp(config: Krb5Config): string | undefined
  /** The client keytab (`KRB5_CLIENT_KTNAME`, krb5.conf), or undefined when there is none. */
  readClientKeytab(config: Krb5Config): Promise<Keytab | undefined>
}

/** Everything outside of this process's memory. */
export interface World {
  readonly source: Source
  /** Milliseconds that never go back. */
  monotonic(): number
  /** Runs something later, unless cancelled. */
  after(delayMs: number, run: () => void): () => void
  readonly transport: Transport
  readonly locator: Locator
  readonly files: CredentialFiles
  loadConfig(): Promise<Krb5Config>
}

/** Timers fire a little early by the other clock. */
const TIMER_TOLERANCE_MS = 10

/** The time and patience of one whole call, however many messages it takes. */
export interface Deadline {
  /** On the monotonic clock. */
  readonly at: number
  readonly signal: AbortSignal | undefined
}

/** A request to one kind of server, and what may be its answer. */
export interface Inquiry {
  readonly service: RealmService
  readonly realm: string
  readonly message: Message
  /** UDP is tried first for messages that are no longer, when the configuration says so. */
  readonly length: number
  /** Whether a datagram may be the answer; one that is not is passed over, as if it had never come. */
  isReply(bytes: Uint8Array): boolean
  /** Whether octets can be read as an answer at all. */
  isAnswer(bytes: Uint8Array): boolean
}

/** Where a message goes, when not to the servers of the realm in their order, and who answered it. */
export interface Route {
  readonly only?: readonly ServerAddress[] | undefined
  onAnswer?(by: ServerAddress): void
}

/** RFC 4120 §7.2: a request to the realm's KDCs. */
export function kdcInquiry(realm: string, message: Uint8Array): Inquiry {
  return {
    service: 'kdc',
    realm,
    message,
    length: message.length,
    isReply: (bytes) => mayAnswer(bytes, message, realm),
    isAnswer: (bytes) => mayAnswer(bytes, message, undefined),
  }
}

/** Sends to the servers of a realm in the order of krb5.conf or the DNS, those that were silent lately last. */
export class RealmSender {
  readonly #world: Pick<World, 'transport' | 'monotonic'>
  readonly #locator: ServerLocator
  readonly #silent: SilentServers

  constructor(world: Pick<World, 'transport' | 'monotonic' | 'locator' | 'source'>) {
    this.#world = world
    this.#locator = new ServerLocator(world)
    this.#silent = new SilentServers(() => world.monotonic())
  }

  /**
   * @throws {ConfigError} `KDC_UNKNOWN`
   * @throws {NetworkError} `KDC_UNREACHABLE` or `KDC_TIMEOUT`, naming each server with its failure
   * @throws {KerberosError} `ABORTED`
   */
  async send(config: Krb5Config, inquiry: Inquiry, deadline: Deadline, route: Route = {}): Promise<Uint8Array> {
    const { service, realm } = inquiry
    const left = () => deadline.at - this.#world.monotonic()
    const addresses = route.only ?? (await this.#locator.locate(service, realm, config, left()))
    if (addresses.length === 0) throw kdcUnknown(realm, config)
    let isWritten = false
    const written = { ...inquiry, message: noting(inquiry.message, () => (isWritten = true)) }
    const senders = new Map<Uint8Array, ServerAddress>()
    const ask = async (attempt: Attempt, options: AttemptOptions) => {
      const reply = await this.#ask(attempt, written, options, left)
      senders.set(reply, attempt.address)
      return reply
    }
    try {
      const reply = await firstAnswer({
        attempts: this.#silent.inOrder(addresses, protocolsFor(config, inquiry)),
        silent: this.#silent,
        left,
        signal: deadline.signal,
        ask,
        isWritten: service === 'kpasswd' ? () => isWritten : undefined,
      })
      const sender = senders.get(reply)
      if (sender !== undefined) route.onAnswer?.(sender)
      return reply
    } catch (error) {
      if (deadline.signal?.aborted === true) throw aborted(deadline.signal)
      if (!(error instanceof NoAnswer)) throw error
      throw this.#failureOf(error, inquiry, left() <= TIMER_TOLERANCE_MS)
    }
  }

  async #ask(
    { address, protocol }: Attempt,
    inquiry: Inquiry,
    options: AttemptOptions,
    left: () => number,
  ): Promise<Uint8Array> {
    const { transport } = this.#world
    const { message, isReply } = inquiry
    let reply = await transport.exchange(address, protocol, message, { ...options, isReply })
    if (protocol === 'udp' && inquiry.service === 'kdc' && isTooBig(reply)) {
      // RFC 4120 §7.2.1: the same request once more over TCP, to the same KDC.
      reply = await transport.exchange(address, 'tcp', message, { ...options, timeoutMs: Math.max(1, left()), isReply })
    }
    if (!inquiry.isAnswer(reply)) throw nonsense()
    return reply
  }

  #failureOf({ failures, writtenTo }: NoAnswer, { realm, service }: Inquiry, isLate: boolean): KerberosError {
    const list = failures.map(
      ({ attempt, error }) => `${nameOf(attempt.address)} (${attempt.protocol}): ${reasonOf(error)}`,
    )
    if (writtenTo !== undefined) return answerLost(realm, writtenTo, list)
    // A server that talks nonsense does not keep the caller from the next; it is told when no other answers.
    const broken = failures.find(({ error }) => isBroken(error))
    return broken === undefined ? unreachable(realm, service, list, isLate) : noServer(realm, service, broken, list)
  }
}

/** TCP first; UDP first for messages up to `udp_preference_limit` where it is set (MIT krb5.conf). */
function protocolsFor(config: Krb5Config, { length }: Inquiry): (address: ServerAddress) => readonly Protocol[] {
  const limit = config.udpPreferenceLimit
  const both: readonly Protocol[] = limit !== undefined && length <= limit ? ['udp', 'tcp'] : ['tcp', 'udp']
  return ({ transport }) => (transport === undefined ? both : [transport])
}

/** The same message, telling when it is written: a transport asks for it then, and not before. */
function noting(message: Message, onWrite: () => void): Message {
  if (typeof message !== 'function') return message
  return (sender) => {
    const bytes = message(sender)
    onWrite()
    return bytes
  }
}

/** Runs an exchange to its end. */
export async function drive<T>(
  exchange: Exchange<T>,
  answer: {
    send(realm: string, message: Uint8Array): Promise<Uint8Array>
    derive(request: KeyRequest): Promise<Key>
  },
): Promise<T> {
  let step = exchange.next()
  while (step.done !== true) {
    const effect = step.value
    const result =
      effect.kind === 'send' ? await answer.send(effect.realm, effect.message) : await answer.derive(effect.request)
    step = exchange.next(result)
  }
  return step.value
}

/** Whether octets decode as an answer to the request, or as an error (of that realm, if given). Nothing more can be known without a key. */
function mayAnswer(bytes: Uint8Array, message: Uint8Array, realm: string | undefined): boolean {
  const requestType = new ByteReader(message).byte('request') & 0x1f
  try {
    if (bytes[0] === (0x60 | MESSAGE.KRB_ERROR)) {
      const error = decodeKrbError(bytes)
      return realm === undefined || error.realm === realm
    }
    decodeKdcRep(bytes, requestType === MESSAGE.AS_REQ ? MESSAGE.AS_REP : MESSAGE.TGS_REP)
    return true
  } catch {
    return false
  }
}

function nonsense(): MalformedError {
  return malformed('what it answered is neither a reply nor an error')
}

function isTooBig(reply: Uint8Array): boolean {
  if (reply[0] !== (0x60 | MESSAGE.KRB_ERROR)) return false
  return decodeKrbError(reply).errorCode === ERROR.KRB_ERR_RESPONSE_TOO_BIG
}

export function nameOf({ host, port }: ServerAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** A system error's code, or our own text; never a stack. */
function reasonOf(error: unknown): string {
  if (error instanceof KerberosError) return error.message
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : String(error)
}

export function aborted(signal: AbortSignal): NetworkError {
  return new NetworkError('ABORTED', 'the call was aborted by its AbortSignal', { cause: signal.reason })
}

/** Most realms that a hint lists. */
const MAX_SHOWN_REALMS = 10

function kdcUnknown(realm: string, config: Krb5Config): ConfigError {
  const isProxied = config.kdcProxies(realm).length > 0
  const message = isProxied
    ? `krb5.conf names KDC proxies alone for the realm ${quote(realm)}, which are not asked`
    : `neither krb5.conf nor the DNS names a KDC for the realm ${quote(realm)}`
  const hint = isProxied
    ? `Add "kdc = host" to ${realm} under [realms] in krb5.conf, a KDC that can be reached directly.`
    : realmHint(realm, config)
  return new ConfigError('KDC_UNKNOWN', message, { hint })
}

/** A realm is compared letter by letter (RFC 4120 §6.1): one in another case is the usual mistake. */
function realmHint(realm: string, { profile }: Krb5Config): string {
  const known = profile.subsections('realms')
  const near = known.find((one) => one.toLowerCase() === realm.toLowerCase())
  if (near !== undefined) return `krb5.conf has ${quote(near)}: write the realm in the same letters.`
  const others =
    known.length === 0 ? '' : ` It has ${listOf(known.slice(0, MAX_SHOWN_REALMS).map((one) => quote(one)))}.`
  return `Add "${realm} = { kdc = host }" under [realms] in krb5.conf, or set KRB5_CONFIG to a file that has it.${others}`
}

const NAMES: Readonly<Record<RealmService, string>> = { kdc: 'KDC', kpasswd: 'password server' }
const HINTS: Readonly<Record<RealmService, string>> = {
  kdc: 'Check the kdc addresses in krb5.conf, the network and the firewall (port 88).',
  kpasswd: 'Check kpasswd_server in krb5.conf, the network and the firewall (port 464).',
}

function unreachable(realm: string, service: RealmService, failures: readonly string[], isLate: boolean): NetworkError {
  const list = failures.length === 0 ? 'none was asked in time' : listOf(failures, '; ')
  const code = isLate ? 'KDC_TIMEOUT' : 'KDC_UNREACHABLE'
  const what = isLate ? 'answered in time' : 'can be reached'
  return new NetworkError(code, `no ${NAMES[service]} of ${quote(realm)} ${what}: ${list}`, { hint: HINTS[service] })
}

/** Something listens there, but no server of a realm. */
function noServer(realm: string, service: RealmService, broken: Failure, failures: readonly string[]): KerberosError {
  const message = `no ${NAMES[service]} of ${quote(realm)} answered in Kerberos: ${listOf(failures, '; ')}`
  const { address, protocol } = broken.attempt
  const hint = `No ${NAMES[service]} listens at ${nameOf(address)} (${protocol}): correct the address in krb5.conf or the DNS.`
  const cause = broken.error
  const isLength = cause instanceof KerberosError && cause.code === 'KDC_REPLY_TOO_LONG'
  if (isLength) return new NetworkError('KDC_REPLY_TOO_LONG', message, { cause, hint })
  return new MalformedError('MALFORMED', message, { cause, hint })
}

function answerLost(realm: string, { address, protocol }: Attempt, failures: readonly string[]): NetworkError {
  const server = `${nameOf(address)} (${protocol})`
  return new NetworkError(
    'KDC_TIMEOUT',
    `the password server of ${quote(realm)} at ${server} was sent the new password and gave no answer: ${listOf(failures, '; ')}`,
    { hint: 'Either password may count: log in with the new one, and with the old one when that fails.' },
  )
}
