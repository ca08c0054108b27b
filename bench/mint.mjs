// Tokens as an initiator would make them, around tickets minted with the service's own key: of any size, and as many different ones as wanted.
// MIT's acceptor takes them, too.
import { randomBytes } from 'node:crypto'
import { concat, uint16be, uint32le } from '../build/bytes/bytes.js'
import { Key } from '../build/crypto/index.js'
import { encodeFrame, MECHANISM } from '../build/gss/context.js'
import { encodeMechTypes, encodeNegTokenInit } from '../build/gss/spnego/tokens.js'
import {
  encodeApReq,
  encodeAuthenticator,
  encodeAuthorizationData,
  encodeEncTicketPart,
  encodeTicket,
} from '../build/krb5/messages/index.js'

/** RFC 4120 §7.5.1 */
const USAGE = { TICKET: 2, AUTHENTICATOR: 11 }
const DAY = 86_400e6
const now = () => Date.now() * 1000

/** A ticket of one client for a keytab's entry, whose cipher has about so many octets: what fills it lies in an AD-IF-RELEVANT. */
export function mintTicket(entry, cipherBytes, user = 'alice') {
  const session = new Key(entry.enctype, randomBytes(entry.keyBytes().length))
  const part = (filler) => ({
    flags: 0x40a40000,
    key: { keytype: session.enctype, keyvalue: session.toBytes() },
    crealm: entry.principal.realm,
    cname: { nameType: 1, components: [user] },
    transited: { type: 1, contents: new Uint8Array(0) },
    authtime: now(),
    starttime: now(),
    endtime: now() + DAY,
    renewTill: undefined,
    caddr: undefined,
    authorizationData:
      filler === 0
        ? undefined
        : [{ adType: 1, adData: encodeAuthorizationData([{ adType: 4711, adData: randomBytes(filler) }]) }],
  })
  const bare = encodeEncTicketPart(part(1)).length + 40
  const plain = encodeEncTicketPart(part(Math.max(cipherBytes - bare, 0)))
  const key = new Key(entry.enctype, entry.keyBytes())
  const cipher = key.encrypt(USAGE.TICKET, plain, randomBytes(16))
  const { realm } = entry.principal
  const encPart = { etype: entry.enctype, kvno: entry.kvno, cipher }
  return { session, realm, user, raw: encodeTicket({ realm, sname: entry.principal, encPart }) }
}

let last = 0

/** One SPNEGO token with mutual authentication, its authenticator fresh. */
export function mintToken({ session, realm, user, raw }) {
  last = Math.max(last + 1, now())
  const plain = encodeAuthenticator({
    crealm: realm,
    cname: { nameType: 1, components: [user] },
    cksum: { type: 0x8003, checksum: concat(uint32le(16), new Uint8Array(16), uint32le(62)) },
    ctime: last,
    subkey: { keytype: session.enctype, keyvalue: randomBytes(session.toBytes().length) },
    seqNumber: randomBytes(4).readUInt32BE() & 0x3fffffff,
    authorizationData: undefined,
  })
  const cipher = session.encrypt(USAGE.AUTHENTICATOR, plain, randomBytes(16))
  const apReq = encodeApReq({
    apOptions: 0x20000000,
    ticket: { raw },
    authenticator: { etype: session.enctype, kvno: undefined, cipher },
  })
  const frame = encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), apReq))
  return encodeNegTokenInit(encodeMechTypes([MECHANISM.KRB5]), frame)
}
