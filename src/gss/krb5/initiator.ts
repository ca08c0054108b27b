import { uint16be } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import type { Key } from '../../crypto/index.ts'
import { malformed, VerificationError } from '../../errors.ts'
import {
  type Credential,
  makeApReq,
  makeKrbCred,
  newSubkey,
  random31,
  type SentApReq,
  type Source,
  skewHint,
  verifyApRep,
} from '../../krb5/exchange/index.ts'
import {
  AUTHORIZATION_DATA,
  type AuthorizationData,
  decodeKrbError,
  ERROR,
  encodeAuthorizationData,
  kdcErrorName,
} from '../../krb5/messages/index.ts'
import { bindingHash } from '../bindings.ts'
import { decodeFrame, encodeFrame, type Flag, MECHANISM, type Step } from '../context.ts'
import { encodeGssChecksum, GSS_CHECKSUM_TYPE, GSS_FLAG } from './checksum.ts'
import { Krb5Context, TOK_ID } from './context.ts'

/** KERB_AP_OPTIONS_CBT (MS-KILE §3.2.5.8), little-endian: this client always sends bindings when it can. */
const AP_OPTIONS_CBT = Uint8Array.of(0, 0x40, 0, 0)

export interface InitiatorOptions {
  readonly credential: Credential
  readonly flags: readonly Flag[]
  /** Application data of the channel bindings (RFC 5929), or none. */
  readonly channelBindings: Uint8Array | undefined
  /** A forwarded ticket-granting ticket, when the flags have `'delegate'`. */
  readonly forwarded?: Credential | undefined
  readonly enctypes: readonly number[]
  readonly source: Source
}

/** The initiator's side of RFC 4121 §4.1: one token out, and with mutual authentication one in. */
export class Krb5Initiator extends Krb5Context {
  readonly #options: InitiatorOptions
  readonly #flagBits: number
  readonly #sequence: number
  #subkey: Key | undefined
  #sent: SentApReq | undefined

  constructor(options: InitiatorOptions) {
    super()
    this.#options = options
    this.#flagBits = options.flags.reduce((bits, flag) => bits | (flag in GSS_FLAG ? bitOf(flag) : 0), 0)
    this.#sequence = random31(options.source)
  }

  get #mutual(): boolean {
    return (this.#flagBits & GSS_FLAG.mutual) !== 0
  }

  protected async advance(token: Uint8Array | undefined): Promise<Step> {
    if (this.#sent !== undefined) return this.#verify(token, this.#sent)
    if (token !== undefined && token.length > 0) throw malformed('the acceptor of Kerberos has nothing to say first')
    return this.#start()
  }

  #start(): Step {
    const { credential, channelBindings, forwarded, source } = this.#options
    this.#subkey = newSubkey(credential.sessionKey.enctype, source)
    const checksum = encodeGssChecksum({
      bindingHash: bindingHash(channelBindings),
      flags: this.#flagBits,
      delegation: forwarded && makeKrbCred(forwarded, credential.sessionKey, source),
    })
    const { message, sent } = makeApReq({
      credential,
      mutual: this.#mutual,
      checksum: { type: GSS_CHECKSUM_TYPE, checksum },
      subkey: this.#subkey,
      seqNumber: this.#sequence,
      authorizationData: channelBindings === undefined ? undefined : insistOnBindings(),
      source,
    })
    this.#sent = sent
    if (!this.#mutual) this.#finish(undefined, this.#sequence)
    const token = encodeFrame(MECHANISM.KRB5, uint16be(TOK_ID.AP_REQ), message)
    return { token, complete: this.complete }
  }

  #verify(token: Uint8Array | undefined, sent: SentApReq): Step {
    const inner = unframe(token)
    const { credential, enctypes } = this.#options
    const reply = verifyApRep(inner, sent, credential.sessionKey, enctypes)
    this.#finish(reply.subkey, reply.seqNumber ?? this.#sequence)
    return { token: undefined, complete: true }
  }

  #finish(acceptorSubkey: Key | undefined, receiveSequence: number): void {
    const { credential, channelBindings, source } = this.#options
    this.establish({
      peer: credential.server,
      flagBits: this.#flagBits,
      channelBound: channelBindings !== undefined,
      endTime: credential.endTime,
      messageKeys: {
        key: acceptorSubkey ?? this.#subkey ?? credential.sessionKey,
        isAcceptor: false,
        acceptorSubkey: acceptorSubkey !== undefined,
        sendSequence: this.#sequence,
        receiveSequence,
        random: (length) => source.random(length),
      },
    })
  }

  protected override release(): void {
    super.release()
    this.#subkey?.dispose()
    this.#subkey = undefined
    this.#sent = undefined
  }
}

function bitOf(flag: Flag): number {
  return GSS_FLAG[flag as keyof typeof GSS_FLAG]
}

/** The AP-REP inside its frame; a KRB-ERROR becomes the error it stands for. */
function unframe(token: Uint8Array | undefined): Uint8Array {
  if (token === undefined) throw malformed('AP-REP: nothing came')
  const { mechanism, inner } = decodeFrame(token)
  if (mechanism !== MECHANISM.KRB5 && mechanism !== MECHANISM.MS_KRB5) throw malformed(`mechanism ${mechanism}`) // check: C29
  const from = new ByteReader(inner)
  const tokenId = from.uint16('TOK_ID')
  if (tokenId === TOK_ID.ERROR) throw refused(from.rest()) // check: C26
  if (tokenId !== TOK_ID.AP_REP) throw malformed(`TOK_ID 0x${tokenId.toString(16)} instead of an AP-REP`) // check: C29
  return from.rest()
}

/** A KRB-ERROR is not authenticated: it explains a refusal and changes nothing, not even the clock. */
function refused(bytes: Uint8Array): VerificationError {
  const error = decodeKrbError(bytes)
  const hint =
    error.errorCode === ERROR.KRB_AP_ERR_SKEW && error.ctime !== undefined
      ? skewHint(error.stime, error.ctime)
      : undefined
  return new VerificationError('REJECTED', `the server refused the ticket: ${kdcErrorName(error.errorCode)}`, { hint })
}

function insistOnBindings(): AuthorizationData {
  const inner = encodeAuthorizationData([{ adType: AUTHORIZATION_DATA.AP_OPTIONS, adData: AP_OPTIONS_CBT }])
  return [{ adType: AUTHORIZATION_DATA.IF_RELEVANT, adData: inner }]
}
