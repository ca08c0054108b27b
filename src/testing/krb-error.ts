import { ERROR, encodeKrbError, type KdcReqBody, kdcErrorName, NAME_TYPE } from '../krb5/messages/index.ts'

/** A service's "no": becomes a KRB-ERROR. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly errorCode: number
  readonly eData: Uint8Array | undefined

  constructor(errorCode: number, eText: string = kdcErrorName(errorCode), eData?: Uint8Array) {
    super(eText)
    this.errorCode = errorCode
    this.eData = eData
  }
}

/** Why a message was refused, for whoever sent it. `about` is its body, as far as it could be read. */
export function krbError(
  kdc: { readonly realm: string; now(): number },
  refusal: Refusal,
  about?: KdcReqBody,
): Uint8Array {
  const { cname, sname, realm } = about ?? {}
  return encodeKrbError({
    ctime: undefined,
    stime: kdc.now(),
    errorCode: refusal.errorCode,
    crealm: cname === undefined ? undefined : realm,
    cname,
    realm: realm ?? kdc.realm,
    // RFC 4120 §5.9.1: not optional, even where the request had none.
    sname: sname ?? { nameType: NAME_TYPE.NT_SRV_INST, components: ['krbtgt', kdc.realm] },
    eText: refusal.message,
    eData: refusal.eData,
  })
}

/** RFC 4120 §7.2.1: the reply is too long for a datagram. */
export function responseTooBig(): Refusal {
  return new Refusal(ERROR.KRB_ERR_RESPONSE_TOO_BIG)
}

/** RFC 4120 §7.2.2: the length in front of a message is not one. */
export function fieldTooLong(): Refusal {
  return new Refusal(ERROR.KRB_ERR_FIELD_TOOLONG)
}
