import { equal } from '../../bytes/bytes.ts'
import { MalformedError, VerificationError } from '../../errors.ts'
import { MECHANISM, type SecurityContext, type Step } from '../context.ts'
import { NegotiatedContext } from './context.ts'
import {
  decodeNegTokenResp,
  encodeMechTypes,
  encodeNegTokenInit,
  encodeNegTokenResp,
  NEG_STATE,
  type NegTokenResp,
} from './tokens.ts'

/** What is offered: always the same octets, which a MIC covers. */
const RAW_MECH_TYPES = encodeMechTypes([MECHANISM.KRB5])

/** Most tokens of the acceptor. Kerberos needs one; a demand for a MIC makes it two. */
const MAX_LEGS = 4

/**
 * The initiator's side of RFC 4178: Kerberos is the only mechanism offered, and its token goes along. There is nothing to downgrade to, so a MIC
 * over the list is exchanged only when the acceptor asks for it (RFC 4178 §5).
 */
export class SpnegoInitiator extends NegotiatedContext {
  protected readonly mechanism: SecurityContext
  #started = false
  #legs = 0
  #micSent = false

  constructor(mechanism: SecurityContext) {
    super()
    this.mechanism = mechanism
  }

  protected async advance(token: Uint8Array | undefined): Promise<Step> {
    if (!this.#started) {
      this.#started = true
      const first = await this.mechanism.step()
      return { token: encodeNegTokenInit(RAW_MECH_TYPES, first.token), complete: false }
    }
    if (++this.#legs > MAX_LEGS) throw new VerificationError('TOO_MANY_LEGS', `more than ${MAX_LEGS} tokens`) // check: C12
    if (token === undefined) throw new MalformedError('TOKEN_MALFORMED', 'NegTokenResp: nothing came')
    return this.#answer(decodeNegTokenResp(token))
  }

  async #answer(response: NegTokenResp): Promise<Step> {
    const { negState, supportedMech, responseToken, mechListMic } = response
    if (supportedMech !== undefined && !isKerberos(supportedMech)) throw notOffered(supportedMech) // check: C27
    if (negState === NEG_STATE.REJECT) return this.#rejected(responseToken)
    if (responseToken !== undefined && !this.mechanism.complete) await this.mechanism.step(responseToken)
    // Accepted, but the mechanism has no proof of the server: not complete, and nothing more will come.
    if (!this.mechanism.complete) return { token: undefined, complete: false }

    // Old Windows repeats the responseToken where the MIC belongs (MS-SPNG §3.1.5.1): that is no MIC.
    const mic =
      responseToken !== undefined && mechListMic && equal(mechListMic, responseToken) ? undefined : mechListMic
    if (mic !== undefined) this.mechanism.verifyMic(RAW_MECH_TYPES, mic) // check: C28
    // RFC 4178 §4.2.2: completed, or as some leave it out, nothing said; any other state asks for more.
    const isAccepted = negState === undefined || negState === NEG_STATE.ACCEPT_COMPLETED
    if (!isAccepted) return this.#goOn(negState === NEG_STATE.REQUEST_MIC, mic !== undefined) // check: C86
    return { token: undefined, complete: true }
  }

  /** RFC 4178 §5: our MIC where it is asked for, or for one that came, with which this side is done. */
  #goOn(isAsked: boolean, hasMic: boolean): Step {
    if (this.#micSent || !(isAsked || hasMic)) return { token: undefined, complete: false }
    this.#micSent = true
    const own = this.mechanism.getMic(RAW_MECH_TYPES)
    return { token: encodeNegTokenResp({ mechListMic: own }), complete: hasMic && !isAsked }
  }

  /** A rejection may carry the mechanism's own error token, which says why. */
  async #rejected(responseToken: Uint8Array | undefined): Promise<Step> {
    if (responseToken !== undefined && !this.mechanism.complete) await this.mechanism.step(responseToken)
    throw new VerificationError('REJECTED', 'the server rejected the ticket and gave no reason', {
      hint: 'Its log has the reason: wrong key, wrong name or a clock that is off are the usual ones.',
    })
  }
}

/** The number that Microsoft's first implementation had is the same mechanism (RFC 4178 Appendix C); what its token proves is checked all the same. */
function isKerberos(mechanism: string): boolean {
  return mechanism === MECHANISM.KRB5 || mechanism === MECHANISM.MS_KRB5
}

function notOffered(mechanism: string): VerificationError {
  return new VerificationError('MECHANISM_REFUSED', `the server chose mechanism ${mechanism}, which was not offered`)
}
