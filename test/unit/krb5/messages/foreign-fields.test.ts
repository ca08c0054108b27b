import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fromHex, toHex } from '../../../../src/bytes/hex.ts'
import { ByteReader } from '../../../../src/bytes/reader.ts'
import {
  type AuthorizationElement,
  decodeApRep,
  decodeApReq,
  decodeAuthenticator,
  decodeEncApRepPart,
  decodeEncKdcRepPart,
  decodeEncKrbCredPart,
  decodeEncKrbPrivPart,
  decodeEncTicketPart,
  decodeEtypeInfo2,
  decodeKdcRep,
  decodeKdcReq,
  decodeKrbCred,
  decodeKrbError,
  decodeKrbPriv,
  decodePaEncTsEnc,
  decodeTicket,
  type EncryptedData,
  type EncryptionKey,
  type HostAddress,
  type KdcReq,
  type KrbCredInfo,
  MESSAGE,
  type PaData,
  type PrincipalName,
  readAuthorizationData,
  readEncryptedData,
  readEncryptionKey,
  readMethodData,
  type Ticket,
} from '../../../../src/krb5/messages/index.ts'
import { present, timeText } from '../../../recorded/fields.ts'
import { parseTrval } from './trval.ts'

/** What our decoders see in MIT's encodings, against MIT's own dump of them, in its labels. Read where they lie and never copied here. */
const path = join(process.env['SPNEGO_FOREIGN_VECTORS'] ?? '', 'asn1.json')

const unsigned = (flags: number) => flags >>> 0
const time = (microseconds: number | undefined) => (microseconds === undefined ? undefined : timeText(microseconds))
const micros = (microseconds: number | undefined) => (microseconds === undefined ? undefined : microseconds % 1e6)
const name = (value: PrincipalName | undefined) =>
  value && { 'name-type': value.nameType, 'name-string': value.components }
const key = ({ keytype, keyvalue }: EncryptionKey) => ({ keytype, keyvalue: toHex(keyvalue) })
const sealed = ({ etype, kvno, cipher }: EncryptedData) => ({ etype, kvno, cipher: toHex(cipher) })
const address = (value: HostAddress | undefined) =>
  value && { 'addr-type': value.addressType, address: toHex(value.address) }
const addresses = (value: readonly HostAddress[] | undefined) => value?.map(address)
const authData = (value: readonly AuthorizationElement[] | undefined) =>
  value?.map(({ adType, adData }) => ({ 'ad-type': adType, 'ad-data': toHex(adData) }))
const paData = (value: readonly PaData[]) =>
  value.map(({ type, value: data }) => ({ 'padata-type': type, 'pa-data': toHex(data) }))
const ticket = ({ realm, sname, encPart }: Ticket) => {
  return { 'tkt-vno': 5, realm, sname: name(sname), 'tkt-enc-part': sealed(encPart) }
}

function request({ type, padata, body }: KdcReq): unknown {
  return {
    pvno: 5,
    'msg-type': type,
    padata: paData(padata),
    'req-body': {
      'kdc-options': unsigned(body.kdcOptions),
      cname: name(body.cname),
      realm: body.realm,
      sname: name(body.sname),
      from: time(body.from),
      till: time(body.till),
      rtime: time(body.rtime),
      nonce: body.nonce,
      etype: body.etype,
      addresses: addresses(body.addresses),
      'enc-authorization-data': body.encAuthorizationData && sealed(body.encAuthorizationData),
      'additional-tickets': body.additionalTickets?.map(ticket),
    },
  }
}

function reply(bytes: Uint8Array, type: 11 | 13): unknown {
  const { padata, crealm, cname, ticket: its, encPart } = decodeKdcRep(bytes, type)
  return {
    pvno: 5,
    'msg-type': type,
    padata: paData(padata),
    crealm,
    cname: name(cname),
    ticket: ticket(its),
    'enc-part': sealed(encPart),
  }
}

function credInfo(info: KrbCredInfo): unknown {
  return {
    key: key(info.key),
    prealm: info.prealm,
    pname: name(info.pname),
    flags: info.flags === undefined ? undefined : unsigned(info.flags),
    authtime: time(info.authtime),
    startime: time(info.starttime), // MIT's spelling
    endtime: time(info.endtime),
    'renew-till': time(info.renewTill),
    srealm: info.srealm,
    sname: name(info.sname),
    caddr: addresses(info.caddr),
  }
}

function whole<T>(bytes: Uint8Array, read: (from: ByteReader, what: string) => T): T {
  const from = new ByteReader(bytes)
  const value = read(from, 'record')
  from.end('record')
  return value
}

const message: Readonly<Record<number, (bytes: Uint8Array) => unknown>> = {
  [MESSAGE.TICKET]: (bytes) => ticket(decodeTicket(bytes)),
  [MESSAGE.AUTHENTICATOR]: (bytes) => {
    const { crealm, cname, cksum, ctime, subkey, seqNumber, authorizationData } = decodeAuthenticator(bytes)
    return {
      'authenticator-vno': 5,
      crealm,
      cname: name(cname),
      cksum: cksum && { cksumtype: cksum.type, checksum: toHex(cksum.checksum) },
      cusec: micros(ctime),
      ctime: time(ctime),
      subkey: subkey && key(subkey),
      'seq-number': seqNumber,
      'authorization-data': authData(authorizationData),
    }
  },
  [MESSAGE.ENC_TICKET_PART]: (bytes) => {
    const part = decodeEncTicketPart(bytes)
    return {
      flags: unsigned(part.flags),
      key: key(part.key),
      crealm: part.crealm,
      cname: name(part.cname),
      transited: { flags: part.transited.type, key: toHex(part.transited.contents) }, // MIT's labels
      authtime: time(part.authtime),
      starttime: time(part.starttime),
      endtime: time(part.endtime),
      'renew-till': time(part.renewTill),
      caddr: addresses(part.caddr),
      'authorization-data': authData(part.authorizationData),
    }
  },
  [MESSAGE.AS_REQ]: (bytes) => request(decodeKdcReq(bytes)),
  [MESSAGE.AS_REP]: (bytes) => reply(bytes, MESSAGE.AS_REP),
  [MESSAGE.TGS_REQ]: (bytes) => request(decodeKdcReq(bytes)),
  [MESSAGE.TGS_REP]: (bytes) => reply(bytes, MESSAGE.TGS_REP),
  [MESSAGE.AP_REQ]: (bytes) => {
    const { apOptions, ticket: its, authenticator } = decodeApReq(bytes)
    return {
      pvno: 5,
      'msg-type': 14,
      'ap-options': unsigned(apOptions),
      ticket: ticket(its),
      authenticator: sealed(authenticator),
    }
  },
  [MESSAGE.AP_REP]: (bytes) => ({ pvno: 5, 'msg-type': 15, 'enc-part': sealed(decodeApRep(bytes).encPart) }),
  [MESSAGE.KRB_PRIV]: (bytes) => {
    const { etype, kvno, cipher } = decodeKrbPriv(bytes).encPart
    // trval goes on with the labels of the message inside of its enc-part.
    return { pvno: 5, 'msg-type': 21, 3: { pvno: etype, 'msg-type': kvno, 'enc-part': toHex(cipher) } }
  },
  [MESSAGE.KRB_CRED]: (bytes) => {
    const { tickets, encPart } = decodeKrbCred(bytes)
    return { pvno: 5, 'msg-type': 22, tickets: tickets.map(ticket), 'enc-part': sealed(encPart) }
  },
  [MESSAGE.ENC_TGS_REP_PART]: (bytes) => {
    const part = decodeEncKdcRepPart(bytes, MESSAGE.TGS_REP)
    return {
      key: key(part.key),
      'last-req': part.lastReq.map(({ type, value }) => ({ 'lr-type': type, 'lr-value': time(value) })),
      nonce: part.nonce,
      'key-expiration': time(part.keyExpiration),
      flags: unsigned(part.flags),
      authtime: time(part.authtime),
      starttime: time(part.starttime),
      enddtime: time(part.endtime), // MIT's spelling
      'renew-till': time(part.renewTill),
      srealm: part.srealm,
      sname: name(part.sname),
      caddr: addresses(part.caddr),
    }
  },
  [MESSAGE.ENC_AP_REP_PART]: (bytes) => {
    const { ctime, subkey, seqNumber } = decodeEncApRepPart(bytes)
    return { ctime: time(ctime), cusec: micros(ctime), subkey: subkey && key(subkey), 'seq-number': seqNumber }
  },
  [MESSAGE.ENC_KRB_PRIV_PART]: (bytes) => {
    const part = decodeEncKrbPrivPart(bytes)
    return {
      'user-data': toHex(part.userData),
      timestamp: time(part.timestamp),
      usec: micros(part.timestamp),
      'seq-number': part.seqNumber,
      's-address': address(part.senderAddress),
      'r-address': address(part.recipientAddress),
    }
  },
  [MESSAGE.ENC_KRB_CRED_PART]: (bytes) => {
    const part = decodeEncKrbCredPart(bytes)
    return {
      'ticket-info': part.ticketInfo.map(credInfo),
      nonce: part.nonce,
      timestamp: time(part.timestamp),
      usec: micros(part.timestamp),
      's-address': address(part.senderAddress),
      'r-address': address(part.recipientAddress),
    }
  },
  [MESSAGE.KRB_ERROR]: (bytes) => {
    const error = decodeKrbError(bytes)
    return {
      pvno: 5,
      'msg-type': 30,
      ctime: time(error.ctime),
      cusec: micros(error.ctime),
      stime: time(error.stime),
      susec: micros(error.stime),
      'error-code': error.errorCode,
      crealm: error.crealm,
      cname: name(error.cname),
      realm: error.realm,
      sname: name(error.sname),
      'e-text': error.eText,
      'e-data': error.eData && toHex(error.eData),
    }
  },
}

const methodData = (bytes: Uint8Array) =>
  whole(bytes, readMethodData).map(({ type, value }) => ({ 1: type, 2: toHex(value) }))
const etypeInfo2 = (bytes: Uint8Array) =>
  decodeEtypeInfo2(bytes).map(({ etype, salt, s2kparams }) => {
    return { 0: etype, 1: salt, 2: s2kparams && toHex(s2kparams) }
  })
const encData = (bytes: Uint8Array) => sealed(whole(bytes, readEncryptedData))

/** Records that are no message by themselves. */
const PARTS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  'asn1-keyblock': (bytes) => key(whole(bytes, readEncryptionKey)),
  'asn1-authorization-data': (bytes) => authData(whole(bytes, readAuthorizationData)),
  'asn1-padata-sequence': methodData,
  'asn1-padata-sequence-empty': methodData,
  'asn1-etype-info2': etypeInfo2,
  'asn1-etype-info2-only-1': etypeInfo2,
  'asn1-enc-data': encData,
  'asn1-enc-data-msb-set-kvno': encData,
  'asn1-enc-data-kvno-1': encData,
  'asn1-pa-enc-ts': (bytes) => ({ 0: time(decodePaEncTsEnc(bytes)), 1: micros(decodePaEncTsEnc(bytes)) }),
  'asn1-pa-enc-ts-no-usec': (bytes) => ({ 0: time(decodePaEncTsEnc(bytes)) }),
}

/** Where MIT's dump and our reading differ on purpose: the field that is replaced before the comparison. */
const OTHERWISE: Readonly<Record<string, readonly [label: string, ours: number | undefined, why: string]>> = {
  'asn1-enc-data-msb-set-kvno': ['kvno', 0xff000000, 'kvno is a UInt32 (RFC 4120 §5.2.9); trval prints it signed'],
  'asn1-enc-data-kvno-1': ['kvno', 0xffffffff, 'likewise'],
  'asn1-error-optionals-null': ['cusec', undefined, 'cusec without ctime says nothing'],
}

const SAM = 'SAM-2: expired pre-authentication'
const SFU = 'MS-SFU: not there'
const KDC_ONLY = 'authorization data that only a KDC makes'
const IAKERB = 'IAKERB: not there'
const FAST = 'FAST (RFC 6113): not there'
const OTP = 'OTP (RFC 6560): not there'
const SPAKE = 'SPAKE (RFC 9588): not there'
const PKINIT = 'PKINIT (RFC 4556): not there'
const INSIDE = 'KDC-REQ-BODY is read inside of its request'
const ETYPE_INFO = 'ETYPE-INFO is ignored: RFC 4120 §5.2.7.5 forbids it beside AES'
const SAFE = 'KRB-SAFE: nothing here sends or reads it'

const ABSENT: Readonly<Record<string, string>> = {
  'asn1-safe': SAFE,
  'asn1-safe-optionals-null': SAFE,
  'asn1-typed-data': 'TYPED-DATA: nothing here sends or reads it',
  'asn1-etype-info': ETYPE_INFO,
  'asn1-etype-info-only-1': ETYPE_INFO,
  'asn1-etype-info-no-info': ETYPE_INFO,
  'asn1-kdc-req-body': INSIDE,
  'asn1-kdc-req-body-optionals-null-except-second-ticket': INSIDE,
  'asn1-kdc-req-body-optionals-null-except-server': INSIDE,
  'asn1-sam-challenge-2': SAM,
  'asn1-sam-challenge-2-body': SAM,
  'asn1-sam-response-2': SAM,
  'asn1-enc-sam-response-enc-2': SAM,
  'asn1-pa-for-user': SFU,
  'asn1-pa-s4u-x509-user': SFU,
  'asn1-ad-kdcissued': KDC_ONLY,
  'asn1-cammac-optionals-null': KDC_ONLY,
  'asn1-cammac': KDC_ONLY,
  'asn1-iakerb-header': IAKERB,
  'asn1-iakerb-finished': IAKERB,
  'asn1-fast-response': FAST,
  'asn1-pa-fx-fast-reply': FAST,
  'asn1-secure-cookie': 'the inside of a KDC’s cookie, which is handed back as it came',
  'asn1-otp-tokeninfo-optionals-null': OTP,
  'asn1-otp-tokeninfo': OTP,
  'asn1-pa-otp-challenge-optionals-null': OTP,
  'asn1-pa-otp-challenge': OTP,
  'asn1-pa-otp-req-optionals-null': OTP,
  'asn1-pa-otp-req': OTP,
  'asn1-pa-otp-enc-req': OTP,
  'asn1-kkdcp-message': 'MS-KKDCP: not there',
  'asn1-spake-factor-optionals-null': SPAKE,
  'asn1-spake-factor': SPAKE,
  'asn1-pa-spake-support': SPAKE,
  'asn1-pa-spake-challenge': SPAKE,
  'asn1-pa-spake-response': SPAKE,
  'asn1-pa-spake-encdata': SPAKE,
  'asn1-pa-pk-as-req': PKINIT,
  'asn1-pa-pk-as-rep-dhinfo': PKINIT,
  'asn1-pa-pk-as-rep-enckeypack': PKINIT,
  'asn1-auth-pack': PKINIT,
  'asn1-kdc-dh-key-info': PKINIT,
  'asn1-reply-key-pack': PKINIT,
  'asn1-sp80056a-other-info': PKINIT,
  'asn1-pkinit-supp-pub-info': PKINIT,
  'asn1-ldap-seqof-key-data': 'LDAP key data: a KDC’s own',
}

interface Encoded {
  readonly id: string
  readonly hex: string
  readonly meaning: readonly string[]
}

describe.skipIf(!existsSync(path))('RFC 4120 §5: every field as MIT prints it (asn1)', () => {
  if (!existsSync(path)) return
  const { records } = JSON.parse(readFileSync(path, 'utf8')) as { readonly records: readonly Encoded[] }
  const read = records.filter(({ id }) => ABSENT[id] === undefined)

  test('41 are read, 46 have their reason', () => {
    expect(records.map(({ id }) => id)).toEqual(expect.arrayContaining(Object.keys(ABSENT)))
    expect([read.length, Object.keys(ABSENT).length, records.length]).toEqual([41, 46, 87])
  })

  for (const { id, hex, meaning } of read) {
    const otherwise = OTHERWISE[id]
    test(`${id}${otherwise === undefined ? '' : `: ${otherwise[2]}`}`, () => {
      const bytes = fromHex(hex)
      const fields = (PARTS[id] ?? message[(bytes[0] as number) & 0x1f])?.(bytes)
      const dumped = parseTrval(meaning)
      const expected = otherwise === undefined ? dumped : { ...(dumped as object), [otherwise[0]]: otherwise[1] }
      expect(fields).toBeDefined()
      expect(present(fields)).toEqual(present(expected))
    })
  }
})
