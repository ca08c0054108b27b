import { expect } from 'vitest'
import { toHex } from '../../../../src/bytes/hex.ts'
import {
  decodeApRep,
  decodeApReq,
  decodeAuthenticator,
  decodeEncApRepPart,
  decodeEncKdcRepPart,
  decodeEncKrbCredPart,
  decodeEncKrbPrivPart,
  decodeEncTicketPart,
  decodeKdcRep,
  decodeKdcReq,
  decodeKrbCred,
  decodeKrbError,
  decodeKrbPriv,
  decodeTicket,
  encodeApRep,
  encodeApReq,
  encodeAuthenticator,
  encodeEncApRepPart,
  encodeEncKdcRepPart,
  encodeEncKrbCredPart,
  encodeEncKrbPrivPart,
  encodeEncTicketPart,
  encodeKdcRep,
  encodeKdcReq,
  encodeKrbCred,
  encodeKrbError,
  encodeKrbPriv,
  encodeTicket,
  MESSAGE,
} from '../../../../src/krb5/messages/index.ts'

/** Decodes a message by its first octet and encodes it again. */
export function again(bytes: Uint8Array): Uint8Array {
  switch ((bytes[0] as number) & 0x1f) {
    case MESSAGE.AS_REQ:
    case MESSAGE.TGS_REQ:
      return encodeKdcReq(decodeKdcReq(bytes))
    case MESSAGE.AS_REP: {
      const reply = decodeKdcRep(bytes, MESSAGE.AS_REP)
      expect(toHex(encodeTicket(reply.ticket))).toBe(toHex(reply.ticket.raw))
      return encodeKdcRep(reply)
    }
    case MESSAGE.TGS_REP:
      return encodeKdcRep(decodeKdcRep(bytes, MESSAGE.TGS_REP))
    case MESSAGE.KRB_ERROR:
      return encodeKrbError(decodeKrbError(bytes))
    case MESSAGE.AP_REQ:
      return encodeApReq(decodeApReq(bytes))
    case MESSAGE.AP_REP:
      return encodeApRep(decodeApRep(bytes))
    case MESSAGE.ENC_TICKET_PART:
      return encodeEncTicketPart(decodeEncTicketPart(bytes))
    case MESSAGE.AUTHENTICATOR:
      return encodeAuthenticator(decodeAuthenticator(bytes))
    case MESSAGE.ENC_AP_REP_PART:
      return encodeEncApRepPart(decodeEncApRepPart(bytes))
    case MESSAGE.ENC_AS_REP_PART:
      return encodeEncKdcRepPart(decodeEncKdcRepPart(bytes, MESSAGE.AS_REP), MESSAGE.AS_REP)
    case MESSAGE.ENC_TGS_REP_PART:
      return encodeEncKdcRepPart(decodeEncKdcRepPart(bytes, MESSAGE.TGS_REP), MESSAGE.TGS_REP)
    case MESSAGE.TICKET:
      return encodeTicket(decodeTicket(bytes))
    case MESSAGE.KRB_PRIV:
      return encodeKrbPriv(decodeKrbPriv(bytes))
    case MESSAGE.KRB_CRED:
      return encodeKrbCred(decodeKrbCred(bytes))
    case MESSAGE.ENC_KRB_PRIV_PART:
      return encodeEncKrbPrivPart(decodeEncKrbPrivPart(bytes))
    case MESSAGE.ENC_KRB_CRED_PART:
      return encodeEncKrbCredPart(decodeEncKrbCredPart(bytes))
    default:
      throw new Error(`no message starts with 0x${toHex(bytes.subarray(0, 1))}`)
  }
}
