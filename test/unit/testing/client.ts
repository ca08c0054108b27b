import { utf8 } from '../../../src/bytes/bytes.ts'
import { ByteReader } from '../../../src/bytes/reader.ts'
import { CONFOUNDER_BYTES, enctype, Key, stringToKey } from '../../../src/crypto/index.ts'
import {
  type ApReq,
  type Authenticator,
  decodeEncKdcRepPart,
  decodeEncTicketPart,
  decodeEtypeInfo2,
  decodeKdcRep,
  decodeKrbError,
  type EncKdcRepPart,
  type EncTicketPart,
  type EtypeInfo2Entry,
  encodeApReq,
  encodeAuthenticator,
  encodeEncryptedData,
  encodeKdcReq,
  encodeKdcReqBody,
  encodePaEncTsEnc,
  type KdcRep,
  type KdcReqBody,
  KEY_USAGE,
  type KrbError,
  MESSAGE,
  PA,
  type PaData,
  Principal,
  type PrincipalName,
  readMethodData,
  type Ticket,
} from '../../../src/krb5/messages/index.ts'
import { Database, EmbeddedKdc } from '../../../src/testing/index.ts'

/** A client of a few lines, of messages and keys alone: what the real one gets wrong, this does not get wrong the same way. */

export const REALM = 'EXAMPLE.TEST'
/** 2026-03-01, a whole second. Microseconds. */
export const NOW: number = Date.UTC(2026, 2, 1, 12) * 1000
export const HOUR = 3600e6
export const ALL = [18, 17, 20, 19] as const
export const ALICE: PrincipalName = { nameType: 1, components: ['alice'] }
export const WEB: PrincipalName = { nameType: 3, components: ['HTTP', 'localhost'] }
export const TGS: PrincipalName = { nameType: 2, components: ['krbtgt', REALM] }

/** Octets that never repeat, the same in every run. */
export function repeatable(seed = 1): (length: number) => Uint8Array {
  let state = seed
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    })
}

export const random: (length: number) => Uint8Array = repeatable(7)

export interface Lab {
  readonly kdc: EmbeddedKdc
  readonly database: Database
  /** Of the KDC; the client's is `NOW` unless it says otherwise. */
  time: number
}

export function lab(faults: readonly string[] = [], enctypes: readonly number[] = ALL): Lab {
  const database = new Database(enctypes, repeatable())
  database.addUser(new Principal(['alice'], REALM), 'secret')
  database.addService(new Principal(['HTTP', 'localhost'], REALM))
  database.addService(new Principal(['k', REALM], REALM))
  const made = { database, time: NOW, kdc: undefined as unknown as EmbeddedKdc }
  made.kdc = new EmbeddedKdc({ realm: REALM, database, random: repeatable(3), faults, now: () => made.time })
  return made
}

export function bodyOf(changes: Partial<KdcReqBody> = {}): KdcReqBody {
  return {
    kdcOptions: 0,
    cname: ALICE,
    realm: REALM,
    sname: TGS,
    from: undefined,
    till: NOW + HOUR,
    rtime: undefined,
    nonce: 0x12345678,
    etype: ALL,
    addresses: undefined,
    encAuthorizationData: undefined,
    additionalTickets: undefined,
    ...changes,
  }
}

export function asReq(changes: Partial<KdcReqBody> = {}, padata: readonly PaData[] = []): Uint8Array {
  return encodeKdcReq({ type: MESSAGE.AS_REQ, padata, body: bodyOf(changes) })
}

const passwordKeys = new Map<string, Promise<Key>>()

export function passwordKey(etype = 18, password = 'secret', salt = `${REALM}alice`): Promise<Key> {
  const name = `${etype} ${password} ${salt}`
  const key = passwordKeys.get(name) ?? stringToKey(etype, password, utf8(salt))
  passwordKeys.set(name, key)
  return key
}

export function timestamp(key: Key, time: number = NOW): PaData {
  const cipher = key.encrypt(KEY_USAGE.PA_ENC_TIMESTAMP, encodePaEncTsEnc(time), random(CONFOUNDER_BYTES))
  return { type: PA.ENC_TIMESTAMP, value: encodeEncryptedData({ etype: key.enctype, kvno: undefined, cipher }) }
}

/** The answer, which has to be a KRB-ERROR. */
export async function refusal(kdc: EmbeddedKdc, request: Uint8Array): Promise<KrbError> {
  return decodeKrbError(await answer(kdc, request))
}

export async function answer(kdc: EmbeddedKdc, request: Uint8Array): Promise<Uint8Array> {
  const reply = await kdc.handle(request)
  if (reply === undefined) throw new Error('no answer')
  return reply
}

export function methodData({ eData }: KrbError): readonly PaData[] {
  return readMethodData(new ByteReader(eData ?? new Uint8Array(0)), 'METHOD-DATA')
}

export function hints(padata: readonly PaData[]): readonly EtypeInfo2Entry[] {
  const found = padata.find(({ type }) => type === PA.ETYPE_INFO2)
  return found === undefined ? [] : decodeEtypeInfo2(found.value)
}

/** A reply that was decrypted. */
export interface Granted {
  readonly reply: KdcRep
  readonly part: EncKdcRepPart
  readonly ticket: Ticket
  readonly sessionKey: Key
}

export function open(bytes: Uint8Array, type: KdcRep['type'], key: Key, usage: number): Granted {
  const reply = decodeKdcRep(bytes, type)
  const part = decodeEncKdcRepPart(key.decrypt(usage, reply.encPart.cipher), type)
  return { reply, part, ticket: reply.ticket, sessionKey: new Key(part.key.keytype, part.key.keyvalue) }
}

export async function login(
  { kdc, time }: Lab,
  changes: Partial<KdcReqBody> = {},
  more: PaData[] = [],
): Promise<Granted> {
  const [etype = 18] = changes.etype ?? ALL
  const key = await passwordKey(etype)
  const reply = await answer(kdc, asReq({ till: time + HOUR, ...changes }, [timestamp(key, time), ...more]))
  return open(reply, MESSAGE.AS_REP, key, KEY_USAGE.AS_REP)
}

/** What a TGS-REQ of a test does differently. */
export interface TgsChanges {
  readonly body?: Partial<KdcReqBody>
  readonly authenticator?: Partial<Authenticator>
  readonly apReq?: Partial<Omit<ApReq, 'ticket'>>
  readonly more?: readonly PaData[]
  /** Of the checksum and the authenticator. */
  readonly usages?: readonly [number, number]
  /** What becomes of the octets of the authenticator, and of the AP-REQ. */
  readonly plain?: (octets: Uint8Array) => Uint8Array
  readonly value?: (octets: Uint8Array) => Uint8Array
}

export function tgsReq(
  { ticket, sessionKey }: Pick<Granted, 'ticket' | 'sessionKey'>,
  changes: TgsChanges = {},
): Uint8Array {
  const body = bodyOf({ cname: undefined, sname: WEB, ...changes.body })
  const rawBody = encodeKdcReqBody(body)
  const [forChecksum, forAuthenticator] = changes.usages ?? [
    KEY_USAGE.TGS_REQ_AUTHENTICATOR_CHECKSUM,
    KEY_USAGE.TGS_REQ_AUTHENTICATOR,
  ]
  const plain = encodeAuthenticator({
    crealm: REALM,
    cname: ALICE,
    cksum: { type: enctype(sessionKey.enctype).checksumType, checksum: sessionKey.checksum(forChecksum, rawBody) },
    ctime: NOW,
    subkey: undefined,
    seqNumber: undefined,
    authorizationData: undefined,
    ...changes.authenticator,
  })
  const { plain: change = same, value: changeWhole = same } = changes
  const cipher = sessionKey.encrypt(forAuthenticator, change(plain), random(CONFOUNDER_BYTES))
  const authenticator = { etype: sessionKey.enctype, kvno: undefined, cipher }
  const value = changeWhole(encodeApReq({ apOptions: 0, ticket, authenticator, ...changes.apReq }))
  const padata = [{ type: PA.TGS_REQ, value }, ...(changes.more ?? [])]
  return encodeKdcReq({ type: MESSAGE.TGS_REQ, padata, body }, rawBody)
}

function same(octets: Uint8Array): Uint8Array {
  return octets
}

export async function getTicket({ kdc }: Lab, tgt: Granted, changes: TgsChanges = {}): Promise<Granted> {
  const reply = await answer(kdc, tgsReq(tgt, changes))
  return open(reply, MESSAGE.TGS_REP, tgt.sessionKey, KEY_USAGE.TGS_REP_SESSION_KEY)
}

/** What the service sees in its ticket. */
export async function inside({ database }: Lab, { ticket }: Granted): Promise<EncTicketPart> {
  const account = database.find(new Principal(ticket.sname.components, ticket.realm))
  const key = await account?.key(ticket.encPart.etype)
  if (key === undefined) throw new Error('no key')
  return decodeEncTicketPart(key.decrypt(KEY_USAGE.TICKET, ticket.encPart.cipher))
}
