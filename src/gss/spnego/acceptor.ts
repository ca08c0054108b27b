import { equal } from '../../bytes/bytes.ts'
import { MalformedError, VerificationError } from '../../errors.ts'
import { checkTokenSize, MAX_LEGS, MECHANISM, type SecurityContext, type Step, tokenKind } from '../context.ts'
import { NegotiatedContext } from './context.ts'
import { decodeNegTokenInit, decodeNegTokenResp, encodeNegTokenResp, NEG_STATE, type NegTokenInit } from './tokens.ts'

/** A mechanism that may have a token for the peer although it failed. */
export interface MechanismAcceptor extends SecurityContext {
  readonly errorToken: Uint8Array | undefined
}

/**
 * The acceptor's side of HTTP's Negotiate (RFC 4559 §4.1): SPNEGO (RFC 4178) over Kerberos, or a raw Kerberos token, answered in the same
 * dress. NTLM is recognised in order to be refused with its own reason.
 */
export class NegotiateAcceptor extends NegotiatedContext {
  readonly #kerberos: MechanismAcceptor
  #mode: 'new' | 'spnego' | 'raw' = 'new'
  /** What was offered, as it came; a copy, which holds nothing else of the token. */
  #rawMechTypes: Uint8Array | undefined
  #supportedMech: string | undefined
  #micNeeded = false
  #micSent = false
  #legs = 0

  constructor(kerberos: MechanismAcceptor) {
    super()
    this.#kerberos = kerberos
  }

  protected get mechanism(): SecurityContext {
    return this.#kerberos
  }

  /** For the peer of a context that failed, when it may know why. */
  get errorToken(): Uint8Array | undefined {
    const inner = this.#kerberos.errorToken
    if (inner === undefined || this.#mode !== 'spnego') return inner
    return encodeNegTokenResp({ negState: NEG_STATE.REJECT, responseToken: inner })
  }

  protected async advance(token: Uint8Array | undefined): Promise<Step> {
    if (token === undefined || token.length === 0) throw unreadable('the token is empty') // check: S02
    checkTokenSize(token) // check: S82
    if (++this.#legs > MAX_LEGS) throw new VerificationError('TOO_MANY_LEGS', `more than ${MAX_LEGS} tokens`) // check: S30
    if (this.#rawMechTypes !== undefined) return this.#continue(token, this.#rawMechTypes)
    switch (tokenKind(token)) {
      case 'spnego-init':
        return this.#negotiate(decodeNegTokenInit(token))
      case 'krb5':
        this.#mode = 'raw'
        return this.#kerberos.step(token)
      case 'ntlm':
        throw ntlm()
      case 'spnego-response':
        throw unreadable('it continues a negotiation that this server does not know') // check: S03
      case 'unknown':
        throw unreadable('it is neither SPNEGO nor Kerberos')
    }
  }

  async #negotiate(offer: NegTokenInit): Promise<Step> {
    this.#mode = 'spnego'
    const rawMechTypes = new Uint8Array(offer.rawMechTypes)
    this.#rawMechTypes = rawMechTypes
    const chosen = offer.mechTypes.find((mech) => mech === MECHANISM.KRB5 || mech === MECHANISM.MS_KRB5)
    if (chosen === undefined) throw offer.mechTypes.includes(MECHANISM.NTLM) ? ntlm() : noCommonMechanism() // check: S06
    this.#supportedMech = chosen // reflected as offered: Windows insists on its own number (RFC 4178 Appendix C)
    // The optimistic token belongs to the first mechanism; a MIC protects the list when another one is taken (RFC 4178 §5).
    const first = chosen === offer.mechTypes[0]
    this.#micNeeded = !first
    if (first && offer.mechToken !== undefined) return this.#feed(offer.mechToken, offer.mechListMic, rawMechTypes)
    const negState = first ? NEG_STATE.ACCEPT_INCOMPLETE : NEG_STATE.REQUEST_MIC
    return { token: encodeNegTokenResp({ negState, supportedMech: chosen }), complete: false }
  }

  async #continue(token: Uint8Array, rawMechTypes: Uint8Array): Promise<Step> {
    const { responseToken, mechListMic } = decodeNegTokenResp(token)
    if (responseToken === undefined && !this.#kerberos.complete) throw unreadable('it carries no Kerberos token') // check: S03
    return this.#feed(responseToken, mechListMic, rawMechTypes)
  }

  async #feed(token: Uint8Array | undefined, mic: Uint8Array | undefined, rawMechTypes: Uint8Array): Promise<Step> {
    const already = this.#kerberos.complete
    const step = token === undefined || already ? undefined : await this.#kerberos.step(token)
    const isMic = mic !== undefined && !(token !== undefined && equal(mic, token))
    if (isMic) {
      this.#kerberos.verifyMic(rawMechTypes, mic) // check: S09
      this.#micNeeded = false
    }
    const own = (isMic || this.#micNeeded) && !this.#micSent ? this.#kerberos.getMic(rawMechTypes) : undefined
    this.#micSent ||= own !== undefined
    const response = encodeNegTokenResp({
      negState: this.#micNeeded ? NEG_STATE.ACCEPT_INCOMPLETE : NEG_STATE.ACCEPT_COMPLETED,
      supportedMech: already ? undefined : this.#supportedMech,
      responseToken: step?.token,
      mechListMic: own,
    })
    return { token: response, complete: !this.#micNeeded }
  }
}

function unreadable(why: string): MalformedError {
  return new MalformedError('TOKEN_MALFORMED', `the Negotiate token cannot be read: ${why}`)
}

function ntlm(): VerificationError {
  return new VerificationError('NTLM_OFFERED', 'the client sent NTLM instead of Kerberos', {
    hint: 'It found no ticket for this host: check that it uses the service’s name (not an address), trusts this site, and has logged in.',
  })
}

function noCommonMechanism(): VerificationError {
  return new VerificationError('MECHANISM_REFUSED', 'the client offers no Kerberos')
}
