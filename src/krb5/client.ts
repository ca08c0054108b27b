/**
 * Drives the exchanges against real KDCs: which KDC, over which protocol, for how long.
 *
 * Declares what it needs of the world (`Transport`, `World`); `system` and tests provide it.
 */
import { ByteReader } from '../bytes/reader.ts'
import { quote } from '../bytes/text.ts'
import type { Key } from '../crypto/index.ts'
import { ConfigError, KerberosError, type MalformedError, malformed, NetworkError } from '../errors.ts'
import type { Exchange, KeyRequest, Source } from './exchange/index.ts'
import type { CredentialCacheFile, Keytab, Krb5Config, ServerAddress } from './formats/index.ts'
import { type Locator, type RealmService, ServerLocator } from './locate.ts'
import { decodeKdcRep, decodeKrbError, ERROR, MESSAGE, type Principal } from './messages/index.ts'

export type Protocol = 'tcp' | 'udp'

/** Octets, or what makes them of the sender's own address: 4 or 16 octets, known once there is a connection. */
export type Message = Uint8Array | ((sender: Uint8Array) => Uint8Array)

export interface TransportOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** Whether octets may be the answer; a datagram that is not is ignored, as if it had never come. */
  isReply(bytes: Uint8Array): boolean
}

/** One message to one address and its answer. Rejects with any error when there is none. */
export interface Transport {
  exchange(to: ServerAddress, protocol: Protocol, message: Message, options: TransportOptions): Promise<Uint8Array>
}

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
  /** @param isAsked `isAskedFor` of the name that led here. Default: true */
  readCache(name: string, isAsked?: boolean): Promise<CredentialCacheFile>
  /** Whether program or environment named a cache. One that nobody named must belong to the user of this process. */
  isAskedFor(name: string | undefined): boolean
  /**
   * A new file of mode 0600, renamed into place. With the stamp of the cache that was read, only as long as it has it: false, and nothing is
   * written, when somebody else changed it meanwhile.
   */
  writeCache(name: string, cache: Omit<CredentialCacheFile, 'version'>, stamp?: string): Promise<boolean>
  /** Overwrites and removes; false when there was none. */
  destroyCache(name: string): Promise<boolean>
  readKeytab(name: string | undefined, config: Krb5Config): Promise<Keytab>
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

/** What no KDC would send. */
const HOSTILE: readonly string[] = ['KDC_REPLY_TOO_LONG', 'MALFORMED']
/** Timers fire a little early by the other clock. */
const TIMER_TOLERANCE_MS = 10
/** Milliseconds for a KDC to answer while another is left to try. */
export const PATIENCE_MS = 1500
/** Milliseconds for which a KDC that did not answer is asked last. */
export const DEAD_FOR_MS = 60_000

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
  readonly #silentSince = new Map<string, number>()

  constructor(world: Pick<World, 'transport' | 'monotonic' | 'locator' | 'source'>) {
    this.#world = world
    this.#locator = new ServerLocator(world)
  }

  /**
   * @throws {ConfigError} `KDC_UNKNOWN`
   * @throws {NetworkError} `KDC_UNREACHABLE` or `KDC_TIMEOUT`, naming each KDC with its failure
   * @throws {KerberosError} `ABORTED`
   */
  async send(config: Krb5Config, inquiry: Inquiry, deadline: Deadline): Promise<Uint8Array> {
    const { service, realm, message, isReply } = inquiry
    const leftMs = deadline.at - this.#world.monotonic()
    const tries = this.#tries(await this.#locator.locate(service, realm, config, leftMs), config, inquiry)
    if (tries.length === 0) throw kdcUnknown(realm)
    const failures: string[] = []
    let hostile: KerberosError | undefined
    for (const [i, { address, protocol }] of tries.entries()) {
      const left = deadline.at - this.#world.monotonic()
      if (left <= 0) break
      const timeoutMs = i < tries.length - 1 ? Math.min(left, PATIENCE_MS) : left
      const options = { timeoutMs, signal: deadline.signal, isReply }
      try {
        let reply = await this.#world.transport.exchange(address, protocol, message, options)
        if (protocol === 'udp' && service === 'kdc' && isTooBig(reply)) {
          // RFC 4120 §7.2.1: the same request once more over TCP, to the same KDC.
          const rest = Math.max(1, deadline.at - this.#world.monotonic())
          const time = { ...options, timeoutMs: i < tries.length - 1 ? Math.min(rest, PATIENCE_MS) : rest }
          reply = await this.#world.transport.exchange(address, 'tcp', message, time)
        }
        if (!inquiry.isAnswer(reply)) throw nonsense(address)
        this.#silentSince.delete(nameOf(address))
        return reply
      } catch (error) {
        if (deadline.signal?.aborted === true) throw aborted(deadline.signal)
        // One KDC that talks nonsense must not keep us from the next; it is told when nobody else answers.
        const isHostile = error instanceof KerberosError && HOSTILE.includes(error.code)
        if (isHostile) hostile ??= error
        this.#silentSince.set(nameOf(address), this.#world.monotonic())
        failures.push(`${nameOf(address)} (${protocol}): ${reasonOf(error)}`)
      }
    }
    throw hostile ?? unreachable(realm, service, failures, deadline.at - TIMER_TOLERANCE_MS <= this.#world.monotonic())
  }

  /** TCP first; UDP first for messages up to `udp_preference_limit` where it is set (MIT krb5.conf). */
  #tries(
    addresses: readonly ServerAddress[],
    config: Krb5Config,
    { length }: Inquiry,
  ): { address: ServerAddress; protocol: Protocol }[] {
    const limit = config.udpPreferenceLimit
    const both: readonly Protocol[] = limit !== undefined && length <= limit ? ['udp', 'tcp'] : ['tcp', 'udp']
    const now = this.#world.monotonic()
    const isSilent = (address: ServerAddress) =>
      now - (this.#silentSince.get(nameOf(address)) ?? Number.NEGATIVE_INFINITY) < DEAD_FOR_MS
    const ordered = [...addresses.filter((one) => !isSilent(one)), ...addresses.filter(isSilent)]
    const tries = (protocols: (address: ServerAddress) => readonly Protocol[]) =>
      ordered.flatMap((address) => protocols(address).map((protocol) => ({ address, protocol })))
    const preferred = (address: ServerAddress) => (address.transport === undefined ? both : [address.transport])
    // Each KDC once before any is tried over the other protocol: a silent one must not cost twice.
    return [...tries((one) => preferred(one).slice(0, 1)), ...tries((one) => preferred(one).slice(1))]
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

function nonsense(address: ServerAddress): MalformedError {
  return malformed(`the answer of ${nameOf(address)} is neither a reply nor an error`)
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

function kdcUnknown(realm: string): ConfigError {
  return new ConfigError('KDC_UNKNOWN', `neither krb5.conf nor the DNS names a KDC for the realm ${quote(realm)}`, {
    hint: `Add "${realm} = { kdc = host }" under [realms] in krb5.conf, or set KRB5_CONFIG to a file that has it.`,
  })
}

function unreachable(realm: string, service: RealmService, failures: readonly string[], late: boolean): NetworkError {
  const what = service === 'kdc' ? 'KDC' : 'password server'
  const list = failures.length === 0 ? 'none was asked in time' : failures.join('; ')
  const hint =
    service === 'kdc'
      ? 'Check the kdc addresses in krb5.conf, the network and the firewall (port 88).'
      : 'Check kpasswd_server in krb5.conf, the network and the firewall (port 464).'
  if (late) return new NetworkError('KDC_TIMEOUT', `no ${what} of ${quote(realm)} answered in time: ${list}`, { hint })
  return new NetworkError('KDC_UNREACHABLE', `no ${what} of ${quote(realm)} can be reached: ${list}`, { hint })
}
