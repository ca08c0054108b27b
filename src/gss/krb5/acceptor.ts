import { concat, equal, uint16be } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { CONFOUNDER_BYTES, type Key } from '../../crypto/index.ts'
import { malformed, VerificationError } from '../../errors.ts'
import {
  type AcceptedLogin,
  type AcceptorRules,
  acceptedLogin,
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
import { AP_OPTION, decodeApReq, ERROR, encodeKrbError, NAME_TYPE } from '../../krb5/messages/index.ts'
import { BINDING_HASH_BYTES, bindingHash } from '../bindings.ts'
import { decodeFrame, encodeFrame, MECHANISM, type Step } from '../context.ts'
import { decodeGssChecksum, GSS_CHECKSUM_TYPE, GSS_FLAG, type GssChecksum } from './checksum.ts'
import { Krb5Context, TOK_ID } from './context.ts'
import { checkReplay, type ReplayRules } from './replay-check.ts'

const NO_BINDINGS = new Uint8Array(BINDING_HASH_BYTES)

/** What all connections share, as long as the keys do not change. */
export interface AcceptorSettings extends ReplayRules {
  readonly rules: AcceptorRules
  /** Whether forwarded tickets are opened; else they are dropped unread. */
  readonly delegation: boolean
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
  readonly #settingsOf: () => AcceptorSettings
  readonly #bindings: ConnectionBindings
  #errorToken: Uint8Array | undefined
  readonly #keys: Key[] = []
  /** Held while its session key protects messages. */
  #ticket: OpenedTicket | undefined
  #delegated: readonly Credential[] | undefined
  #login: AcceptedLogin | undefined

  /** @param settingsOf called when an AP-REQ has come: tokens of strangers that are none cost nothing that depends on their request */
  constructor(settingsOf: () => AcceptorSettings, bindings: ConnectionBindings) {
    super()
    this.#settingsOf = settingsOf
    this.#bindings = bindings
  }

  /** What the client forwarded, when that is wanted. */
  get delegated(): readonly Credential[] | undefined {
    return this.#delegated
  }

  /** What another acceptor needs to decide about this login too; of a complete context. */
  get login(): AcceptedLogin | undefined {
    return this.#login
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
    const settings = this.#settingsOf()
    const { rules, source } = settings
    const now = source.now()
    const request = this.#verify(from.rest(), now, settings)
    try {
      const { checksum, channelBound } = this.#checkChecksum(request)
      await checkReplay(request, now, rules.clockSkew, settings)
      const reply = this.#establish(request, checksum, channelBound, settings)
      if (this.hasFailed) this.release() // disposed meanwhile: nobody else lets go of what was made since
      return { token: reply && encodeFrame(mechanism, ...reply), complete: true }
    } finally {
      request.opened.release()
    }
  }

  #verify(bytes: Uint8Array, now: number, { rules }: AcceptorSettings): VerifiedApReq {
    try {
      return verifyApReq(bytes, now, rules)
    } catch (error) {
      const isSkewed = error instanceof VerificationError && error.code === 'CLOCK_SKEW'
      if (isSkewed && asksForMutual(bytes)) this.#errorToken = skewToken(now, rules)
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

  #establish(
    request: VerifiedApReq,
    { flags, delegation }: GssChecksum,
    channelBound: boolean,
    settings: AcceptorSettings,
  ): readonly Uint8Array[] | undefined {
    const { source } = settings
    const { authenticator, sessionKey, subkey, ticket, client } = request
    if (subkey !== undefined) this.#keys.push(subkey)
    this.#login = acceptedLogin(request)
    this.#delegated = settings.delegation ? openForwarded(delegation, request) : undefined // check: S70
    const mutual = request.mutualRequired || (flags & GSS_FLAG.mutual) !== 0
    const sequence = random31(source)
    const base = subkey ?? sessionKey
    // RFC 4121 §2: the acceptor's own key makes the messages of two contexts differ, whatever the initiator does.
    const acceptorSubkey = mutual ? newSubkey(base.enctype, source) : undefined
    if (acceptorSubkey !== undefined) this.#keys.push(acceptorSubkey)
    else if (subkey === undefined) this.#ticket = request.opened.hold()
    const dropped = this.#delegated === undefined ? GSS_FLAG.delegate : 0
    this.establish({
      peer: client,
      flagBits: flags & ~dropped,
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

  protected override release(): void {
    super.release()
    for (const key of this.#keys.splice(0)) key.dispose()
    this.#ticket?.release()
    this.#ticket = undefined
    this.#delegated = undefined
  }
}

/** RFC 4121 §4.1.1 leaves open which key seals it: MIT, Windows and Heimdal take the session key, Java's subkey is tried too. */
function openForwarded(delegation: Uint8Array | undefined, request: VerifiedApReq): readonly Credential[] | undefined {
  if (delegation === undefined) return undefined
  const { sessionKey, subkey, client } = request
  const tickets = openKrbCred(delegation, subkey === undefined ? [sessionKey] : [sessionKey, subkey], client)
  if (tickets.length === 0) return undefined // check: S72
  return tickets
}

/** Clients that expect no answer (RFC 4120 §3.2.2) take a token beside a 401 for a broken one: Chromium shows no page then. */
function asksForMutual(apReq: Uint8Array): boolean {
  return (decodeApReq(apReq).apOptions & AP_OPTION.MUTUAL_REQUIRED) !== 0
}

/** RFC 4120 §5.9.1, in the frame of RFC 4121 §4.1. */
function skewToken(now: number, { keys }: AcceptorRules): Uint8Array {
  const [service] = keys.principals
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

function noChecksum(): VerificationError {
  return new VerificationError('CHECKSUM_MISSING', 'the authenticator carries no GSS checksum')
}

function wrongBindings(how: string): VerificationError {
  return new VerificationError('BINDINGS_MISMATCH', `the channel bindings ${how}`, {
    hint: 'Something between client and server ends TLS, or somebody relays the login.',
  })
}
