/** Makes valid tickets, authenticators and tokens, of which a test may bend one field: the messages and crypto rooms, nothing of the exchanges. */
import { concat, uint16be, uint32le } from '../../src/bytes/bytes.ts'
import { Key } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import { encodeFrame, MECHANISM, type ReplayStore } from '../../src/gss/context.ts'
import { Krb5Acceptor } from '../../src/gss/krb5/index.ts'
import { NegotiateAcceptor } from '../../src/gss/spnego/index.ts'
import { encodeMechTypes, encodeNegTokenInit } from '../../src/gss/spnego/tokens.ts'
import {
  type AcceptorRules,
  type Credential,
  MemoryReplayStore,
  type OpenedTickets,
  ServiceKeys,
  type ServiceSelection,
  type Source,
} from '../../src/krb5/exchange/index.ts'
import { Keytab, KeytabEntry } from '../../src/krb5/formats/index.ts'
import {
  AP_OPTION,
  type Authenticator,
  decodeTicket,
  type EncTicketPart,
  encodeApReq,
  encodeAuthenticator,
  encodeEncTicketPart,
  encodeTicket,
  KEY_USAGE,
  NAME_TYPE,
  Principal,
  type PrincipalName,
} from '../../src/krb5/messages/index.ts'

export const REALM = 'EXAMPLE.TEST'
export const SERVICE: Principal = new Principal(['HTTP', 'web.example.test'], REALM, NAME_TYPE.NT_SRV_HST)
export const ALICE: Principal = new Principal(['alice'], REALM)
/** Microseconds: 2026-11-23 12:00:00. */
export const NOW: number = Date.UTC(2026, 10, 23, 12) * 1000
export const SECOND = 1e6
export const HOUR = 3600e6
export const SKEW = 300e6
export const AES: readonly number[] = [18, 17, 20, 19]
export const KEY_BYTES: Readonly<Record<number, number>> = { 17: 16, 18: 32, 19: 16, 20: 32 }

/** Octets that are never the same twice and always the same in the next run. */
export function counting(): (length: number) => Uint8Array {
  let state = 1
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    })
}

const random = counting()

export function source(now: () => number): Source {
  return { now, random }
}

export function someKey(enctype: number): Key {
  return new Key(enctype, random(KEY_BYTES[enctype] ?? 32))
}

export interface ServiceEntry {
  readonly principal?: Principal
  readonly kvno?: number
  readonly key: Key
  readonly shortKvno?: boolean
}

export function keytab(...entries: readonly ServiceEntry[]): Keytab {
  return Keytab.of(
    entries.map(
      ({ principal = SERVICE, kvno = 1, key, shortKvno = false }) =>
        new KeytabEntry({ principal, kvno, enctype: key.enctype, key: key.toBytes(), shortKvno }),
    ),
  )
}

/** What is wrong with a token: each part replaces the valid one. */
export interface Bent {
  readonly serviceKey?: Key
  /** Of the ticket, in the clear. */
  readonly kvno?: number | undefined
  readonly sname?: PrincipalName
  readonly realm?: string
  readonly ticketEtype?: number
  readonly ticket?: Partial<EncTicketPart>
  readonly authenticator?: Partial<Authenticator>
  readonly authenticatorKey?: Key
  readonly authenticatorEtype?: number
  readonly usage?: number
  readonly ticketUsage?: number
  readonly apOptions?: number
  readonly tokId?: number
  readonly now?: number
  /** The ticket of another token, as it is: only the authenticator is new. */
  readonly around?: Minted
}

export interface Minted {
  /** AP-REQ alone. */
  readonly apReq: Uint8Array
  /** Behind its frame (RFC 4121 §4.1). */
  readonly raw: Uint8Array
  /** Within NegTokenInit. */
  readonly spnego: Uint8Array
  readonly sessionKey: Key
  readonly credential: Credential
}

/** The checksum of RFC 4121 §4.1.1: mutual, replay, sequence, confidential and integrity. */
export function gssChecksum(binding: Uint8Array = new Uint8Array(16), flags = 62): Uint8Array {
  return concat(uint32le(16), binding, uint32le(flags))
}

export function mint(serviceKey: Key, bent: Bent = {}): Minted {
  const now = bent.now ?? NOW
  const sessionKey = bent.around?.sessionKey ?? someKey(18)
  const part: EncTicketPart = {
    flags: 0x40a80000,
    key: { keytype: sessionKey.enctype, keyvalue: sessionKey.toBytes() },
    crealm: REALM,
    cname: ALICE,
    transited: { type: 1, contents: new Uint8Array(0) },
    authtime: now - HOUR,
    starttime: now - HOUR,
    endtime: now + HOUR,
    renewTill: undefined,
    caddr: undefined,
    authorizationData: undefined,
    ...bent.ticket,
  }
  const key = bent.serviceKey ?? serviceKey
  const cipher = key.encrypt(bent.ticketUsage ?? KEY_USAGE.TICKET, encodeEncTicketPart(part), random(16))
  const encPart = { etype: bent.ticketEtype ?? key.enctype, kvno: 'kvno' in bent ? bent.kvno : 1, cipher }
  const ticket =
    bent.around?.credential.ticket.raw ??
    encodeTicket({ realm: bent.realm ?? REALM, sname: bent.sname ?? SERVICE, encPart })
  const plain = encodeAuthenticator({
    crealm: part.crealm,
    cname: part.cname,
    cksum: { type: 0x8003, checksum: gssChecksum() },
    ctime: now,
    subkey: undefined,
    seqNumber: 7,
    authorizationData: undefined,
    ...bent.authenticator,
  })
  const sealing = bent.authenticatorKey ?? sessionKey
  const apReq = encodeApReq({
    apOptions: bent.apOptions ?? AP_OPTION.MUTUAL_REQUIRED,
    ticket: { raw: ticket },
    authenticator: {
      etype: bent.authenticatorEtype ?? sealing.enctype,
      kvno: undefined,
      cipher: sealing.encrypt(bent.usage ?? KEY_USAGE.AP_REQ_AUTHENTICATOR, plain, random(16)),
    },
  })
  const raw = encodeFrame(MECHANISM.KRB5, concat(uint16be(bent.tokId ?? 0x0100), apReq))
  const credential: Credential = {
    client: ALICE,
    server: SERVICE,
    get ticket() {
      return decodeTicket(ticket) // which a bent one may not survive
    },
    sessionKey,
    flags: part.flags,
    authTime: part.authtime,
    startTime: part.authtime,
    endTime: part.endtime,
    renewTill: undefined,
    addresses: undefined,
    clockOffset: 0,
  }
  return { apReq, raw, spnego: inSpnego(raw), sessionKey, credential }
}

export function inSpnego(token: Uint8Array | undefined, mechTypes: readonly string[] = [MECHANISM.KRB5]): Uint8Array {
  return encodeNegTokenInit(encodeMechTypes(mechTypes), token)
}

export interface Setup {
  readonly keytab: Keytab
  readonly selection?: ServiceSelection
  readonly enctypes?: readonly number[]
  readonly trustedRealms?: readonly string[]
  readonly channelBindings?: Uint8Array | undefined
  readonly replayStore?: ReplayStore
  readonly startedAt?: number
  readonly now?: () => number
  readonly delegation?: boolean
  readonly opened?: OpenedTickets
}

/** An acceptor of its own for each call of `context`; they share keys and replay store as in `entries/wiring`. */
export function acceptor(setup: Setup): { context(): NegotiateAcceptor; rules: AcceptorRules; keys: ServiceKeys } {
  const { enctypes = AES, now = () => NOW, selection = { service: 'HTTP' } } = setup
  const keys = new ServiceKeys(setup.keytab, selection, enctypes, setup.opened)
  const rules = { keys, enctypes, clockSkew: SKEW, trustedRealms: setup.trustedRealms }
  const memory = new MemoryReplayStore({ now: () => now() / 1000, monotonic: () => 0 })
  // Does not say since when it remembers: then `startedAt` counts.
  const replayStore = setup.replayStore ?? { checkAndStore: (...all) => memory.checkAndStore(...all) }
  const startedAt = setup.startedAt ?? now() - HOUR
  return {
    rules,
    keys,
    context: () =>
      new NegotiateAcceptor(
        new Krb5Acceptor(
          () => ({
            rules,
            replayStore,
            delegation: setup.delegation ?? false,
            startedAt,
            source: source(now),
          }),
          { channelBindings: setup.channelBindings && [setup.channelBindings], bindingsRequired: false },
        ),
      ),
  }
}

/** The code of the error that a promise rejects with; anything but a KerberosError fails the test. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof KerberosError) return error.code
    throw error
  }
  return 'accepted'
}
