import { CONFOUNDER_BYTES, type Key } from '../crypto/index.ts'
import {
  type AuthorizationData,
  type EncKdcRepPart,
  ERROR,
  encodeEncKdcRepPart,
  encodeEncTicketPart,
  encodeKdcRep,
  encodeTicket,
  type HostAddress,
  type KdcRep,
  type KdcReqBody,
  KEY_USAGE,
  type PaData,
  type PrincipalName,
  principalOf,
} from '../krb5/messages/index.ts'
import { type Account, type Database, type Random, randomKey } from './database.ts'
import type { Faults } from './faults.ts'
import { Refusal } from './krb-error.ts'

/** What the services of one realm share. */
export interface Kdc {
  readonly realm: string
  readonly database: Database
  readonly faults: Faults
  readonly random: Random
  /** Microseconds since 1970. */
  now(): number
}

/** Longest life of a ticket, and longest time for which it can be renewed. Microseconds. */
export const MAX_LIFETIME = 86_400e6
export const MAX_RENEWABLE_LIFETIME: number = 7 * MAX_LIFETIME
/** Largest difference of clocks (RFC 4120 §8.2). Microseconds. */
export const CLOCK_SKEW = 300e6

/** RFC 4120 §5.3 and §3.3.3.2: DOMAIN-X500-COMPRESS; nothing was crossed. */
const NO_REALMS_TRANSITED = { type: 1, contents: new Uint8Array(0) }

/** What a ticket will say. Times in microseconds, whole seconds. */
export interface Grant {
  readonly client: PrincipalName
  readonly clientRealm: string
  readonly server: Account
  /** Enctype of the new session key. */
  readonly sessionEnctype: number
  readonly flags: number
  readonly authtime: number
  readonly starttime: number
  readonly endtime: number
  readonly renewTill: number | undefined
  readonly addresses: readonly HostAddress[] | undefined
  readonly authorizationData: AuthorizationData | undefined
}

/** How the reply to one request is sealed. */
export interface Seal {
  readonly type: KdcRep['type']
  readonly key: Key
  readonly usage: number
  readonly kvno: number | undefined
  readonly padata: readonly PaData[]
  readonly encryptedPaData: readonly PaData[] | undefined
}

/** The account that a name stands for in the realm of the request (RFC 4120 §3.1.3, §3.3.3). */
export function lookUp(kdc: Kdc, name: PrincipalName | undefined, realm: string, unknown: number): Account {
  const account = name === undefined ? undefined : kdc.database.find(principalOf(name, realm))
  if (account === undefined) throw new Refusal(unknown) // check: K50
  return account
}

/** The first enctype of the client's list that the account has a key of (RFC 4120 §3.1.3, §3.3.3). */
export function chooseEnctype({ etype }: KdcReqBody, account: Account): number {
  const chosen = etype.find((id) => account.enctypes.includes(id))
  if (chosen === undefined) throw new Refusal(ERROR.KDC_ERR_ETYPE_NOSUPP)
  return chosen
}

/** KDC-REP with a new ticket and a new session key (RFC 4120 §3.1.3, §3.3.3). */
export async function encodeReply(kdc: Kdc, request: KdcReqBody, grant: Grant, seal: Seal): Promise<Uint8Array> {
  const { client, clientRealm, server, flags, authtime, starttime, endtime, renewTill, addresses } = grant
  const session = randomKey(grant.sessionEnctype, kdc.random)
  const key = { keytype: session.enctype, keyvalue: session.toBytes() }
  const srealm = server.principal.realm
  // As the client wrote it: the name type is a hint that some clients compare (RFC 4120 §6.2).
  const sname = kdc.faults.server(request.sname ?? server.principal, seal.type)
  const raw = await encodeSealedTicket(kdc, sname, grant, key)
  const part: EncKdcRepPart = {
    key,
    lastReq: [{ type: 0, value: authtime }], // RFC 4120 §5.4.2: no information
    nonce: request.nonce,
    keyExpiration: undefined,
    flags,
    authtime,
    starttime,
    endtime,
    renewTill,
    srealm,
    sname,
    caddr: addresses,
    encryptedPaData: seal.encryptedPaData,
  }
  const plain = encodeEncKdcRepPart(kdc.faults.part(part, request), seal.type)
  const cipher = seal.key.encrypt(seal.usage, plain, kdc.random(CONFOUNDER_BYTES))
  return encodeKdcRep({
    type: seal.type,
    padata: seal.padata,
    crealm: clientRealm,
    cname: kdc.faults.client(client),
    ticket: { raw },
    encPart: kdc.faults.sealed({ etype: seal.key.enctype, kvno: seal.kvno, cipher }, request),
  })
}

async function encodeSealedTicket(
  kdc: Kdc,
  sname: PrincipalName,
  { server, clientRealm, client, renewTill, addresses, ...grant }: Grant,
  key: EncKdcRepPart['key'],
): Promise<Uint8Array> {
  const { flags, authtime, starttime, endtime, authorizationData } = grant
  const plain = encodeEncTicketPart({
    flags,
    key,
    crealm: clientRealm,
    cname: client,
    transited: NO_REALMS_TRANSITED,
    authtime,
    starttime,
    endtime,
    renewTill,
    caddr: addresses,
    authorizationData,
  })
  const { key: serverKey, kvno } = await ticketKey(kdc, server)
  const cipher = serverKey.encrypt(KEY_USAGE.TICKET, plain, kdc.random(CONFOUNDER_BYTES))
  const encPart = { etype: serverKey.enctype, kvno, cipher }
  return encodeTicket({ realm: server.principal.realm, sname, encPart })
}

async function ticketKey(kdc: Kdc, server: Account): Promise<{ readonly key: Key; readonly kvno: number }> {
  const key = await strongestKey(server)
  const isOwn = server.principal.components[0] === 'krbtgt'
  if (isOwn || !kdc.faults.has('kvno-mismatch')) return { key, kvno: server.kvno }
  return { key: randomKey(key.enctype, kdc.random), kvno: server.kvno + 1 }
}

/** What the client can do plays no part in it: only the service opens its ticket (RFC 4120 §3.1.3). */
function strongestKey(server: Account): Promise<Key> {
  const [first] = server.enctypes
  const key = first === undefined ? undefined : server.key(first)
  if (key === undefined) throw new Refusal(ERROR.KDC_ERR_NULL_KEY)
  return key
}

/** KerberosTime has no fraction (RFC 4120 §5.2.3). */
export function wholeSecond(microseconds: number): number {
  return Math.floor(microseconds / 1e6) * 1e6
}
