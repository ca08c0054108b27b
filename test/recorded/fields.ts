import { toHex } from '../../src/bytes/hex.ts'
import { ByteReader } from '../../src/bytes/reader.ts'
import {
  decodeApRep,
  decodeApReq,
  decodeEtypeInfo2,
  decodeKdcRep,
  decodeKdcReq,
  decodeKrbCred,
  decodeKrbError,
  type EncryptedData,
  type HostAddress,
  MESSAGE,
  PA,
  type PaData,
  type PrincipalName,
  readMethodData,
  type Ticket,
} from '../../src/krb5/messages/index.ts'

/** What a message says, in the words of the recordings: for comparison with what an independent decoder saw. */
export function fieldsOf(bytes: Uint8Array): unknown {
  const type = (bytes[0] as number) & 0x1f
  switch (type) {
    case MESSAGE.AS_REQ:
    case MESSAGE.TGS_REQ:
      return requestFields(bytes)
    case MESSAGE.AS_REP:
    case MESSAGE.TGS_REP: {
      const { padata, crealm, cname, ticket, encPart } = decodeKdcRep(bytes, type)
      return {
        message: type === MESSAGE.AS_REP ? 'AS-REP' : 'TGS-REP',
        padata: padata.map(paDataFields),
        crealm,
        cname: nameFields(cname),
        ticket: ticketFields(ticket),
        enc_part: sealedFields(encPart),
      }
    }
    case MESSAGE.AP_REQ: {
      const { apOptions, ticket, authenticator } = decodeApReq(bytes)
      return {
        message: 'AP-REQ',
        ap_options: flagFields(apOptions),
        ticket: ticketFields(ticket),
        authenticator: sealedFields(authenticator),
      }
    }
    case MESSAGE.AP_REP:
      return { message: 'AP-REP', enc_part: sealedFields(decodeApRep(bytes).encPart) }
    case MESSAGE.KRB_CRED: {
      const { tickets, encPart } = decodeKrbCred(bytes)
      return { message: 'KRB-CRED', tickets: tickets.map(ticketFields), enc_part: sealedFields(encPart) }
    }
    case MESSAGE.KRB_ERROR:
      return errorFields(bytes)
    default:
      throw new Error(`no message starts with 0x${toHex(bytes.subarray(0, 1))}`)
  }
}

function requestFields(bytes: Uint8Array): unknown {
  const { type, padata, body } = decodeKdcReq(bytes)
  return {
    message: type === MESSAGE.AS_REQ ? 'AS-REQ' : 'TGS-REQ',
    padata: padata.map(paDataFields),
    req_body: {
      kdc_options: flagFields(body.kdcOptions),
      cname: body.cname && nameFields(body.cname),
      realm: body.realm,
      sname: body.sname && nameFields(body.sname),
      from: body.from && timeText(body.from),
      till: timeText(body.till),
      rtime: body.rtime && timeText(body.rtime),
      nonce: body.nonce,
      etypes: body.etype,
      addresses: body.addresses?.map(addressFields),
      additional_tickets: body.additionalTickets?.length,
    },
  }
}

function errorFields(bytes: Uint8Array): unknown {
  const error = decodeKrbError(bytes)
  const { ctime, stime, eData } = error
  return {
    message: 'KRB-ERROR',
    ctime: ctime === undefined ? undefined : timeText(ctime),
    cusec: ctime === undefined ? undefined : ctime % 1e6,
    stime: timeText(stime),
    susec: stime % 1e6,
    error_code: error.errorCode,
    crealm: error.crealm,
    cname: error.cname && nameFields(error.cname),
    realm: error.realm,
    sname: nameFields(error.sname),
    e_text: error.eText,
    e_data_hex: eData && toHex(eData),
    e_data_padata: eData && readMethodData(new ByteReader(eData), 'METHOD-DATA').map(paDataFields),
  }
}

function paDataFields({ type, value }: PaData): unknown {
  const entries = type === PA.ETYPE_INFO2 ? decodeEtypeInfo2(value) : undefined
  return {
    type,
    value_hex: toHex(value),
    etype_info2: entries?.map(({ etype, salt, s2kparams }) => {
      return { etype, salt, s2kparams_hex: s2kparams && toHex(s2kparams) }
    }),
  }
}

export function nameFields({ nameType, components }: PrincipalName): unknown {
  return { type: nameType, name: components }
}

export function flagFields(flags: number): string {
  return (flags >>> 0).toString(16).padStart(8, '0')
}

function ticketFields({ realm, sname, encPart }: Ticket): unknown {
  return { realm, sname: nameFields(sname), ...sealedFields(encPart) }
}

function sealedFields({ etype, kvno, cipher }: EncryptedData): { etype: number; kvno?: number; cipher_len: number } {
  return { etype, ...(kvno === undefined ? {} : { kvno }), cipher_len: cipher.length }
}

function addressFields({ addressType, address }: HostAddress): unknown {
  return { type: addressType, hex: toHex(address) }
}

/** Microseconds as `20261122140416Z`. */
export function timeText(microseconds: number): string {
  return `${new Date(microseconds / 1000).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`
}

/** Without what is absent: recordings write null, or nothing, for a field that is not there, and for an empty list of padata. */
export function present(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(present)
  if (typeof value !== 'object' || value === null) return value
  const there = Object.entries(value).filter(
    ([, one]) => one !== undefined && one !== null && !(Array.isArray(one) && one.length === 0),
  )
  return Object.fromEntries(there.map(([name, one]) => [name, present(one)]))
}
