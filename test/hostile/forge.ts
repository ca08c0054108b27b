import { fromBase64, toBase64 } from '../../src/bytes/base64.ts'
import { concat, uint16be } from '../../src/bytes/bytes.ts'
import { CONFOUNDER_BYTES, DEFAULT_ENCTYPES, type Key } from '../../src/crypto/index.ts'
import type { Keytab } from '../../src/entries/index.ts'
import { decodeFrame, encodeFrame, MECHANISM } from '../../src/gss/context.ts'
import { decodeNegTokenInit, encodeNegTokenResp, NEG_STATE, type NegTokenResp } from '../../src/gss/spnego/tokens.ts'
import { ServiceKeys, type VerifiedApReq, verifyApReq } from '../../src/krb5/exchange/index.ts'
import { encodeApRep, encodeEncApRepPart, encodeKrbError, KEY_USAGE } from '../../src/krb5/messages/index.ts'

/** What a server that has the key can find in a token. */
export function opened(token: string, keytab: Keytab): VerifiedApReq {
  const { mechToken } = decodeNegTokenInit(fromBase64(token, 'token'))
  const { inner } = decodeFrame(mechToken ?? new Uint8Array(0))
  const rules = {
    keys: new ServiceKeys(keytab, 'any', DEFAULT_ENCTYPES),
    enctypes: DEFAULT_ENCTYPES,
    clockSkew: 300e6,
    trustedRealms: undefined,
  }
  return verifyApReq(inner.subarray(2), Date.now() * 1000, rules)
}

/** An AP-REP for a request, right but for what is given. */
export function proofFor(
  { authenticator, sessionKey }: VerifiedApReq,
  wrong: { readonly key?: Key; readonly usage?: number; readonly ctime?: number } = {},
): Uint8Array {
  const key = wrong.key ?? sessionKey
  const part = encodeEncApRepPart({ ctime: wrong.ctime ?? authenticator.ctime, subkey: undefined, seqNumber: 7 })
  const cipher = key.encrypt(wrong.usage ?? KEY_USAGE.AP_REP, part, new Uint8Array(CONFOUNDER_BYTES))
  const apRep = encodeApRep({ encPart: { etype: key.enctype, kvno: undefined, cipher } })
  return encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0200), apRep))
}

/** KRB_AP_ERR_SKEW (37) from a server whose clock is said to be ten years ahead (RFC 4120 §5.9.1). */
export function skewError(request: VerifiedApReq): Uint8Array {
  const error = encodeKrbError({
    ctime: request.authenticator.ctime,
    stime: request.authenticator.ctime + 10 * 365 * 86_400e6,
    errorCode: 37,
    crealm: undefined,
    cname: undefined,
    realm: 'EXAMPLE.TEST',
    sname: { nameType: 2, components: ['HTTP', 'localhost'] },
    eText: 'set your clock',
    eData: undefined,
  })
  return encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0300), error))
}

/** accept-completed for Kerberos, but for what is given. */
export function response(value: Partial<NegTokenResp>): string {
  return toBase64(encodeNegTokenResp({ negState: NEG_STATE.ACCEPT_COMPLETED, supportedMech: MECHANISM.KRB5, ...value }))
}
