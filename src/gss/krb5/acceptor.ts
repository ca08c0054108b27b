import { concat, equal, uint16be } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { CONFOUNDER_BYTES, type Key } from '../../crypto/index.ts'
import { KerberosError, malformed, VerificationError } from '../../errors.ts'
import {
  type AcceptorRules,
  type Credential,
  clientInsistsOnBindings,
  makeApRep,
  newSubkey,
  type OpenedTicket,
  openKrbCred,
  random31,
  type Source,
  type VerifiedApReq,
  verifyApReq,
} from '../../krb5/exchange/index.ts'
import { ERROR, encodeKrbError, NAME_TYPE } from '../../krb5/messages/index.ts'
import { BINDING_HASH_BYTES, bindingHash } from '../bindings.ts'
import { decodeFrame, encodeFrame, MECHANISM, type ReplayStore, type Step } from '../context.ts'
import { decodeGssChecksum, GSS_CHECKSUM_TYPE, GSS_FLAG, type GssChecksum } from './checksum.ts'
import { Krb5Context, TOK_ID } from './context.ts'

/** How much older than the acceptor an authenticator may be, in microseconds: what it forgot it cannot recognise. */
const START_TOLERANCE = 1e6
const NO_BINDINGS = new Uint8Array(BINDING_HASH_BYTES)

/** What all connections share, as long as the keys do not change. */
export interface AcceptorSettings {
  readonly rules: AcceptorRules
  readonly replayStore: ReplayStore
  /** Whether forwarded tickets are opened; else they are dropped unread. */
  readonly delegation: boolean
  /** When the acceptor came to be, microseconds since 1970, by the same clock as `source`. */
  readonly startedAt: number
  readonly source: Source
}

/** What is one connection's. */
export interface ConnectionBindings {
  /** Application data of its channel bindings (RFC 5929), any of which may be meant; or none. */
  readonly channelBindings: readonly Uint8Array[] | undefined
  /** Whether a token without bindings is refused. Needs `channelBindings`. */
  readonly bindingsRequired: boolean
}

/** The acceptor's side of RFC 4121 §4.1: one token in, and with mutual authentication one out. */
export class Krb5Acceptor extends Krb5Context {
  readonly #settings: AcceptorSettings
  readonly #bindings: ConnectionBindings
  #errorToken: Uint8Array | undefined
  readonly #keys: Key[] = []
  /** Held while its session key protects messages. */
  #ticket: OpenedTicket | undefined
  #delegated: readonly Credential[] | undefined

  constructor(settings: AcceptorSettings, bindings: ConnectionBindings) {
    super()
    this.#settings = settings
    this.#bindings = bindings
  }

  /** What the client forwarded, when that is wanted. */
  get delegated(): readonly Credential[] | undefined {
    return this.#delegated
  }

  /** For the peer of a context that failed because of its clock; of no other (RFC 4120 §3.2.3). */
  get errorToken(): Uint8Array | undefined {
    return this.#errorToken
  }

  protected async advance(token: Uint8Array | undefined): Promise<Step> {
    const { mechanism, inner } = decodeFrame(token ?? new Uint8Array(0))
    if (mechanism !== MECHANISM.KRB5 && mechanism !== MECHANISM.MS_KRB5) throw malformed(`mechanism ${mechanism}`) // check: S07
    const from = new ByteReader(inner)
    const tokenId = from.uint16('TOK_ID')
    if (tokenId !== TOK_ID.AP_REQ) throw malformed('TOK_ID: not an AP-REQ') // check: S07
    const { source, rules } = this.#settings
    const now = source.now()
    const request = this.#verify(from.rest(), now)
    try {
      const { checksum, channelBound } = this.#checkChecksum(request)
      await this.#checkReplay(request, now, rules.clockSkew)
      const reply = this.#establish(request, checksum, channelBound)
      if (this.hasFailed) this.release() // disposed meanwhile: nobody else lets go of what was made since
      return { token: reply && encodeFrame(mechanism, ...reply), complete: true }
    } finally {
      request.opened.release()
    }
  }

  #verify(bytes: Uint8Array, now: number): VerifiedApReq {
    try {
      return verifyApReq(bytes, now, this.#settings.rules)
    } catch (error) {
      if (error instanceof VerificationError && error.code === 'CLOCK_SKEW') this.#errorToken = this.#skewToken(now)
      throw error
    }
  }

  /** RFC 4121 §4.1.1: the authenticator must have this checksum; it carries flags and bindings. */
  #checkChecksum(request: VerifiedApReq): { checksum: GssChecksum; channelBound: boolean } {
    const { cksum } = request.authenticator
    if (cksum?.type !== GSS_CHECKSUM_TYPE) throw noChecksum() // check: S37
    const checksum = decodeGssChecksum(cksum.checksum)
    const { channelBindings: ours, bindingsRequired } = this.#bindings
    if (ours === undefined) return { checksum, channelBound: false }
    const sent = !equal(checksum.bindingHash, NO_BINDINGS)
    const matches = ours.some((one) => equal(checksum.bindingHash, bindingHash(one)))
    if (sent && !matches) throw wrongBindings('differ') // check: S39
    if (!sent && bindingsRequired) throw wrongBindings('are missing, and this server requires them') // check: S37
    if (!sent && clientInsistsOnBindings(request)) throw wrongBindings('are missing, and the client always sends them') // check: S36
    return { checksum, channelBound: sent }
  }

  /** RFC 4120 §3.2.3. Only a client with a valid ticket comes this far, so strangers cannot fill the store. */
  async #checkReplay(request: VerifiedApReq, now: number, clockSkew: number): Promise<void> {
    const { ctime } = request.authenticator
    const expiresAt = (Math.max(ctime, now) + clockSkew) / 1000 + 1000
    const verdict = await this.#askStore(request, expiresAt)
    if (verdict !== 'fresh') throw replayed() // check: S40
    const age = this.#rememberedSince() - ctime
    if (!(age <= START_TOLERANCE)) throw beforeStart(age) // check: S43
  }

  /** Asked after the store's answer: only then it may have noticed that it has forgotten. */
  #rememberedSince(): number {
    const { replayStore, startedAt } = this.#settings
    const since = replayStore.rememberedSince?.()
    return since === undefined ? startedAt : since * 1000
  }

  /** A store that cannot answer is no reason to accept; its own error says why (RFC 4120 §3.2.3). */
  async #askStore({ replayKey, authenticator, client }: VerifiedApReq, expiresAt: number): Promise<'fresh' | 'replay'> {
    try {
      const details = { time: authenticator.ctime / 1000, client: client.toString() }
      const answer = this.#settings.replayStore.checkAndStore(replayKey, expiresAt, details)
      return typeof answer === 'string' ? answer : await answer
    } catch (error) {
      throw error instanceof KerberosError ? error : storeUnavailable(error) // check: S47
    }
  }

  #establish(request: VerifiedApReq, checksum: GssChecksum, channelBound: boolean): readonly Uint8Array[] | undefined {
    const { source } = this.#settings
    const { authenticator, sessionKey, subkey, ticket, client } = request
    if (subkey !== undefined) this.#keys.push(subkey)
    this.#delegated = this.#open(checksum.delegation, request) // check: S70
    const mutual = request.mutualRequired || (checksum.flags & GSS_FLAG.mutual) !== 0
    const sequence = random31(source)
    const base = subkey ?? sessionKey
    // RFC 4121 §2: the acceptor's own key makes the messages of two contexts differ, whatever the initiator does.
    const acceptorSubkey = mutual ? newSubkey(base.enctype, source) : undefined
    if (acceptorSubkey !== undefined) this.#keys.push(acceptorSubkey)
    else if (subkey === undefined) this.#ticket = request.opened.hold()
    const dropped = this.#delegated === undefined ? GSS_FLAG.delegate : 0
    this.establish({
      peer: client,
      flagBits: checksum.flags & ~dropped,
      channelBound,
      endTime: ticket.endtime,
      messageKeys: {
        key: acceptorSubkey ?? base,
        isAcceptor: true,
        acceptorSubkey: mutual,
        sendSequence: mutual ? sequence : (authenticator.seqNumber ?? 0),
        receiveSequence: authenticator.seqNumber ?? 0,
        random: (length) => source.random(length),
      },
    })
    if (!mutual) return undefined
    const confounder = source.random(CONFOUNDER_BYTES)
    const answer = { subkey: acceptorSubkey, seqNumber: sequence, confounder }
    return [uint16be(TOK_ID.AP_REP), makeApRep(request, answer)]
  }

  /** RFC 4121 §4.1.1 leaves open which key seals it: MIT, Windows and Heimdal take the session key, Java's subkey is tried too. */
  #open(delegation: Uint8Array | undefined, request: VerifiedApReq): readonly Credential[] | undefined {
    if (delegation === undefined || !this.#settings.delegation) return undefined
    const { sessionKey, subkey, client } = request
    return openKrbCred(delegation, subkey === undefined ? [sessionKey] : [sessionKey, subkey], client)
  }

  #skewToken(now: number): Uint8Array {
    const [service] = this.#settings.rules.keys.principals
    const error = encodeKrbError({
      ctime: undefined,
      stime: now,
      errorCode: ERROR.KRB_AP_ERR_SKEW,
      crealm: undefined,
      cname: undefined,
      realm: service?.realm ?? '',
      sname: service ?? { nameType: NAME_TYPE.NT_UNKNOWN, components: [] },
      eText: undefined,
      eData: undefined,
    })
    return encodeFrame(MECHANISM.KRB5, concat(uint16be(TOK_ID.ERROR), error))
  }

  protected override release(): void {
    super.release()
    for (const key of this.#keys.splice(0)) key.dispose()
    this.#ticket?.release()
    this.#ticket = undefined
    this.#delegated = undefined
  }
}

function noChecksum(): VerificationError {
  return new VerificationError('CHECKSUM_MISSING', 'the authenticator carries no GSS checksum')
}

function wrongBindings(how: string): VerificationError {
  return new VerificationError('BINDINGS_MISMATCH', `the channel bindings ${how}`, {
    hint: 'Something between client and server ends TLS, or somebody relays the login.',
  })
}

function beforeStart(age: number): VerificationError {
  const seconds = Math.ceil(age / 1e6)
  const message = `the token was made ${seconds} s before this server, or what remembers tokens for it, started`
  return new VerificationError('BEFORE_START', message, {
    hint: `Send a new one; if the client’s clock is slow, its tokens are accepted in ${seconds} s.`,
  })
}

function storeUnavailable(cause: unknown): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', 'the replay store does not answer', {
    cause,
    hint: 'Nothing is accepted until it does: check the store that the replayStore option names.',
  })
}

function replayed(): VerificationError {
  return new VerificationError('REPLAY', 'the token has been used before', {
    hint: 'Make a new token for each request; if no client did this, somebody copied one.',
  })
}
