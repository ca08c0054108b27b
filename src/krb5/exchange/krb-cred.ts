import { quote } from '../../bytes/text.ts'
import { CONFOUNDER_BYTES, type Key } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import {
  decodeEncKrbCredPart,
  decodeKrbCred,
  type EncryptedData,
  encodeEncKrbCredPart,
  encodeKrbCred,
  KEY_USAGE,
  type KrbCredInfo,
  Principal,
  principalOf,
  type Ticket,
} from '../messages/index.ts'
import type { Credential } from './credential.ts'
import type { Source } from './effects.ts'
import { keyFromWire } from './key-from-wire.ts'

/**
 * A KRB-CRED (RFC 4120 §3.6.1) that hands a ticket and its key to whoever holds the session key of the AP exchange. RFC 4121 §4.1.1 leaves the key
 * open; MIT and Windows take the ticket's session key.
 */
export function makeKrbCred(credential: Credential, sessionKey: Key, source: Source): Uint8Array {
  const { client, server, sessionKey: key, ticket } = credential
  const info: KrbCredInfo = {
    key: { keytype: key.enctype, keyvalue: key.toBytes() },
    prealm: client.realm,
    pname: client,
    flags: credential.flags,
    authtime: credential.authTime,
    starttime: credential.startTime,
    endtime: credential.endTime,
    renewTill: credential.renewTill,
    srealm: server.realm,
    sname: server,
    caddr: credential.addresses,
  }
  const plain = encodeEncKrbCredPart({
    ticketInfo: [info],
    nonce: undefined,
    timestamp: source.now(),
    senderAddress: undefined,
    recipientAddress: undefined,
  })
  const cipher = sessionKey.encrypt(KEY_USAGE.KRB_CRED, plain, source.random(CONFOUNDER_BYTES))
  return encodeKrbCred({ tickets: [ticket], encPart: { etype: sessionKey.enctype, kvno: undefined, cipher } })
}

/**
 * Opens what a client forwarded (RFC 4120 §3.6.2). The message lies in the authenticator's checksum: its freshness is that of the AP-REQ.
 *
 * @param keys that may have sealed it
 * @param client whose tickets they must be: a login forwards itself, nobody else's
 * @throws {MalformedError}
 * @throws {VerificationError} `INTEGRITY_FAILED`, `CLIENT_MISMATCH`, `ENCTYPE_REFUSED` when it is not sealed, `DELEGATION_REFUSED` when it lacks names or times, or holds
 *   another ticket than the client realm's own for its ticket-granting service
 */
export function openKrbCred(bytes: Uint8Array, keys: readonly Key[], client: Principal): readonly Credential[] {
  const { tickets, encPart } = decodeKrbCred(bytes)
  const { ticketInfo } = decodeEncKrbCredPart(decrypt(encPart, keys))
  if (ticketInfo.length !== tickets.length) throw incomplete('as many descriptions as tickets') // check: S72
  return tickets.map((ticket, i) => credentialOf(ticket, ticketInfo[i] as KrbCredInfo, client))
}

function decrypt({ etype, cipher }: EncryptedData, keys: readonly Key[]): Uint8Array {
  let failure: unknown = notSealed(etype)
  for (const key of keys.filter(({ enctype }) => enctype === etype)) {
    try {
      return key.decrypt(KEY_USAGE.KRB_CRED, cipher)
    } catch (error) {
      failure = error
    }
  }
  throw failure // check: S72
}

function credentialOf(ticket: Ticket, info: KrbCredInfo, client: Principal): Credential {
  const { pname, prealm, endtime, flags, authtime } = info
  if (pname === undefined || prealm === undefined) throw incomplete('the client’s name') // check: S72
  const named = principalOf(pname, prealm)
  if (!named.equals(client)) throw notHis(named, client) // check: S72
  if (endtime === undefined) throw incomplete('an end') // check: S72
  const server = principalOf(info.sname ?? ticket.sname, info.srealm ?? ticket.realm)
  const tgs = new Principal(['krbtgt', client.realm], client.realm)
  if (!server.equals(tgs) || !principalOf(ticket.sname, ticket.realm).equals(tgs)) throw notTgt(server, tgs) // check: S72
  const startTime = info.starttime ?? authtime ?? 0
  return {
    client: named,
    server,
    ticket,
    sessionKey: keyFromWire(info.key, 'KrbCredInfo.key'),
    flags: flags ?? 0,
    authTime: authtime ?? startTime,
    startTime,
    endTime: endtime,
    renewTill: info.renewTill,
    addresses: info.caddr,
    clockOffset: 0,
  }
}

function notSealed(etype: number): VerificationError {
  return new VerificationError(
    'ENCTYPE_REFUSED',
    `forwarded tickets lie under enctype ${etype}, not under the session key`,
  )
}

function incomplete(what: string): VerificationError {
  return new VerificationError('DELEGATION_REFUSED', `forwarded tickets came without ${what}`)
}

/** The KDC of any other name would be the client's choice. */
function notTgt(server: Principal, tgs: Principal): VerificationError {
  return new VerificationError(
    'DELEGATION_REFUSED',
    `a ticket for ${quote(server.toString())} was forwarded; expected ${quote(tgs.toString())}`,
    { hint: 'The client must forward the ticket-granting ticket of its own realm (RFC 4121 §4.1.1).' },
  )
}

function notHis(named: Principal, client: Principal): VerificationError {
  return new VerificationError(
    'CLIENT_MISMATCH',
    `${quote(client.toString())} forwarded the tickets of ${quote(named.toString())}`,
  )
}
