import { quote } from '../../bytes/text.ts'
import { CONFOUNDER_BYTES, enctypeName, hashStart, type Key } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import {
  ADDRESS_TYPE,
  ANONYMOUS_REALM,
  AP_OPTION,
  type ApReq,
  AUTHORIZATION_DATA,
  type Authenticator,
  decodeApReq,
  decodeAuthenticator,
  decodeEncTicketPart,
  type EncTicketPart,
  encodeApRep,
  encodeEncApRepPart,
  isAnonymousName,
  KEY_USAGE,
  type Principal,
  principalOf,
  TICKET_FLAG,
} from '../messages/index.ts'
import { checkCritical, findAuthorizationData } from './authorization-data.ts'
import { skewHint } from './kdc-error.ts'
import { keyFromWire } from './key-from-wire.ts'
import { OpenedTicket } from './opened-tickets.ts'
import { MAX_TRIAL_DECRYPTIONS, type ServiceKey, type TicketKeys } from './service-keys.ts'

/** HostAddress types that bind a ticket to a place (RFC 4120 §7.5.3). */
const IP_ADDRESS_TYPES: readonly number[] = Object.values(ADDRESS_TYPE)
/** Most names of the keytab that a refusal lists. */
const MAX_SHOWN_NAMES = 5
/** Octets of a replay key. */
export const REPLAY_KEY_BYTES = 16

export interface AcceptorRules {
  readonly keys: TicketKeys
  /** Permitted for ticket, session key and subkey alike. */
  readonly enctypes: readonly number[]
  /** Microseconds. */
  readonly clockSkew: number
  /** By default the service's own realm, and realms whose path the KDC has checked. */
  readonly trustedRealms: readonly string[] | undefined
  /** Told of a ticket that a key of another version than the ticket's opened: an old key stays valid until it is removed from the keytab. */
  readonly onOtherVersion?: ((used: ServiceKey, asked: number) => void) | undefined
}

/** An AP-REQ that passed every check of RFC 4120 §3.2.3 but the replay cache and the application's checksum. */
export interface VerifiedApReq {
  /** Built from the ticket alone. */
  readonly client: Principal
  /** The keytab entry's name; never the one that the ticket shows in the clear. */
  readonly service: Principal
  readonly ticket: EncTicketPart
  /** Held by whoever has this request, who must release it: the session key goes with it. */
  readonly opened: OpenedTicket
  readonly authenticator: Authenticator
  readonly sessionKey: Key
  readonly subkey: Key | undefined
  readonly mutualRequired: boolean
  /** From the cipher text of the verified authenticator: its other forms on the wire are malleable. */
  readonly replayKey: Uint8Array
}

/** RFC 4120 §3.2.3, what is cheap and needs no key first. */
export function verifyApReq(bytes: Uint8Array, now: number, rules: AcceptorRules): VerifiedApReq {
  const request = decodeApReq(bytes)
  if ((request.apOptions & AP_OPTION.USE_SESSION_KEY) !== 0) throw userToUser() // check: S34
  const opened = openTicket(request, rules)
  try {
    return verifyOpened(request, opened, now, rules)
  } catch (error) {
    opened.release()
    throw error
  }
}

/** All that is asked each time, of a ticket known from before as well. */
function verifyOpened(request: ApReq, opened: OpenedTicket, now: number, rules: AcceptorRules): VerifiedApReq {
  const { part: ticket, serviceKey, client } = opened
  checkTicket(ticket, serviceKey.principal, now, rules) // check: S28 S29
  const { sessionKey } = opened
  const authenticator = openAuthenticator(request, sessionKey)
  checkAuthenticator(authenticator, client, now, rules) // check: S20 S21
  const verified = {
    client,
    service: serviceKey.principal,
    ticket,
    opened,
    authenticator,
    sessionKey,
    subkey: authenticator.subkey && keyFromWire(authenticator.subkey, 'Authenticator.subkey'),
    mutualRequired: (request.apOptions & AP_OPTION.MUTUAL_REQUIRED) !== 0,
    replayKey: hashStart('sha256', request.authenticator.cipher, REPLAY_KEY_BYTES),
  }
  rules.keys.remember(opened, now)
  return verified
}

/** Held by the caller. */
function openTicket({ ticket }: ApReq, rules: AcceptorRules): OpenedTicket {
  const { encPart, sname, realm, raw } = ticket
  requireEnctype(encPart.etype, 'ticket', rules) // check: S33
  const known = rules.keys.opened(raw)
  if (known !== undefined) return known.hold()
  const candidates = rules.keys.candidates(encPart.etype, encPart.kvno, sname, realm)
  for (const serviceKey of candidates) {
    const plain = tryDecrypt(serviceKey.key, encPart.cipher)
    if (plain === undefined) continue
    if (isOtherVersion(encPart.kvno, serviceKey.kvno)) rules.onOtherVersion?.(serviceKey, encPart.kvno as number)
    return new OpenedTicket(raw, decodeEncTicketPart(plain), serviceKey)
  }
  throw noKey({ ticket }, rules.keys, candidates.length)
}

/** Old keytabs and AD keep eight bits of a version; 0 is none. */
function isOtherVersion(asked: number | undefined, used: number): boolean {
  return asked !== undefined && asked !== 0 && used !== 0 && (asked & 0xff) !== (used & 0xff)
}

function tryDecrypt(key: Key, cipher: Uint8Array): Uint8Array | undefined {
  try {
    return key.decrypt(KEY_USAGE.TICKET, cipher)
  } catch (error) {
    if (error instanceof VerificationError) return undefined
    throw error
  }
}

function checkTicket(ticket: EncTicketPart, service: Principal, now: number, rules: AcceptorRules): void {
  requireEnctype(ticket.key.keytype, 'session key', rules) // check: S33
  if (isAnonymous(ticket)) throw anonymousTicket() // check: S101
  if ((ticket.flags & TICKET_FLAG.invalid) !== 0) throw notYetValid('is marked invalid') // check: S28
  const start = ticket.starttime ?? ticket.authtime
  if (start > now + rules.clockSkew) throw notYetValid('starts in the future') // check: S29
  if (ticket.endtime < now - rules.clockSkew) throw expired(ticket.endtime, now) // check: S29
  if (ticket.endtime < start) throw expired(ticket.endtime, now) // check: S29
  checkRealm(acceptedLogin({ service, ticket }), rules) // check: S24 S25
  checkCritical(ticket.authorizationData, 'ticket') // check: S53
  const bound = ticket.caddr?.some(({ addressType }) => IP_ADDRESS_TYPES.includes(addressType)) === true
  if (bound) throw addressMismatch() // RFC 4120 §3.2.3; behind HTTP nobody knows the client’s address. check: S29
}

/** RFC 8062 §3: the flag, the name and the realm each mark a client that the KDC does not know. */
function isAnonymous({ flags, cname, crealm }: EncTicketPart): boolean {
  return (flags & TICKET_FLAG.anonymous) !== 0 || isAnonymousName(cname) || crealm === ANONYMOUS_REALM
}

/** What another acceptor needs to decide about a login that this one has accepted. */
export interface AcceptedLogin {
  /** The keytab entry whose key opened the ticket. */
  readonly service: Principal
  /** The client's realm. */
  readonly crealm: string
  /** No realm lies between the client's and the service's (RFC 4120 §2.7). */
  readonly isDirect: boolean
  /** The KDC has checked the path between the two (transited-policy-checked, RFC 4120 §2.7). */
  readonly isPathChecked: boolean
}

export function acceptedLogin({ service, ticket }: Pick<VerifiedApReq, 'service' | 'ticket'>): AcceptedLogin {
  const { crealm, transited, flags } = ticket
  const isPathChecked = (flags & TICKET_FLAG['transited-policy-checked']) !== 0
  return { service, crealm, isDirect: transited.contents.length === 0, isPathChecked }
}

/**
 * Whether this acceptor could have accepted a login that another one has: its service is among the keys, and its realm is trusted.
 *
 * @throws {VerificationError} `WRONG_PRINCIPAL`, `REALM_NOT_TRUSTED`, `TRANSITED_REFUSED`
 */
export function checkAcceptedLogin(login: AcceptedLogin, rules: Pick<AcceptorRules, 'keys' | 'trustedRealms'>): void {
  const { service } = login
  if (!rules.keys.principals.some((one) => one.equals(service))) throw servesAnother(service) // check: S102
  checkRealm(login, rules) // check: S102
}

/** RFC 4120 §2.7 and §3.2.3: a foreign realm speaks for its users only when the path to it was checked. */
function checkRealm(login: AcceptedLogin, { trustedRealms }: Pick<AcceptorRules, 'trustedRealms'>): void {
  const { service, crealm, isDirect, isPathChecked } = login
  if (crealm === service.realm && isDirect) return
  const trusted = trustedRealms === undefined || crealm === service.realm || trustedRealms.includes(crealm)
  if (!trusted) throw untrusted('REALM_NOT_TRUSTED', crealm) // check: S24
  const isTrustedDirectly = trustedRealms !== undefined && isDirect
  if (!isPathChecked && !isTrustedDirectly) throw untrusted('TRANSITED_REFUSED', crealm) // check: S25
}

function openAuthenticator({ authenticator }: ApReq, sessionKey: Key): Authenticator {
  if (authenticator.etype !== sessionKey.enctype) throw wrongEnctype('authenticator', authenticator.etype) // check: S33
  return decodeAuthenticator(sessionKey.decrypt(KEY_USAGE.AP_REQ_AUTHENTICATOR, authenticator.cipher))
}

function checkAuthenticator(found: Authenticator, client: Principal, now: number, rules: AcceptorRules): void {
  if (found.crealm !== client.realm || !client.sameName(found.cname)) throw clientMismatch() // check: S20 S21
  if (Math.abs(found.ctime - now) > rules.clockSkew) throw skewed(found.ctime, now) // check: S29
  checkCritical(found.authorizationData, 'authenticator') // check: S53b
  if (found.subkey !== undefined) requireEnctype(found.subkey.keytype, 'subkey', rules) // check: S33
}

/** RFC 4120 §5.5.2: the client's own time, under the session key. */
export function makeApRep(
  { authenticator, sessionKey }: VerifiedApReq,
  answer: { readonly subkey: Key | undefined; readonly seqNumber: number; readonly confounder: Uint8Array },
): Uint8Array {
  const { subkey, seqNumber, confounder } = answer
  const part = encodeEncApRepPart({
    ctime: authenticator.ctime,
    subkey: subkey === undefined ? undefined : { keytype: subkey.enctype, keyvalue: subkey.toBytes() },
    seqNumber,
  })
  const cipher = sessionKey.encrypt(KEY_USAGE.AP_REP, part, confounder.subarray(0, CONFOUNDER_BYTES))
  return encodeApRep({ encPart: { etype: sessionKey.enctype, kvno: undefined, cipher } })
}

/** MS-KILE §3.2.5.8: KERB_AP_OPTIONS_CBT tells that the client always sends channel bindings. */
export function clientInsistsOnBindings({ authenticator }: VerifiedApReq): boolean {
  const found = findAuthorizationData(authenticator.authorizationData, AUTHORIZATION_DATA.AP_OPTIONS)
  return found.some((options) => options.length === 4 && ((options[1] as number) & 0x40) !== 0)
}

function requireEnctype(etype: number, what: string, rules: AcceptorRules): void {
  if (!rules.enctypes.includes(etype)) throw wrongEnctype(what, etype)
}

function wrongEnctype(what: string, etype: number): VerificationError {
  return new VerificationError(
    'ENCTYPE_REFUSED',
    `the ${what} uses ${enctypeName(etype)}, which is not permitted here`,
    {
      hint: 'Give the service account AES keys and export its keytab again.',
    },
  )
}

function noKey({ ticket }: Pick<ApReq, 'ticket'>, keys: TicketKeys, tried: number): VerificationError {
  const { sname, realm, encPart } = ticket
  const label = quote(principalOf(sname, realm).toString())
  if (keys.hasElsewhere(sname)) {
    return new VerificationError('WRONG_PRINCIPAL', `the ticket is for ${label}, which this acceptor does not serve`, {
      hint: 'The keytab has that name, but the principal option excludes it.',
    })
  }
  const wanted = `${enctypeName(encPart.etype)}, key version ${encPart.kvno ?? 'not given'}`
  const there = keys.keysNamed(sname, realm)
  const bound = tried < MAX_TRIAL_DECRYPTIONS ? '' : `; ${tried} keys were tried, and no more are`
  const shown =
    there.length === 0 ? `the keytab has ${shownNames(keys)}` : `for that name the keytab has ${shownKeys(there)}`
  const message = `no key opens the ticket for ${label} (${wanted}); ${shown}${bound}`
  return new VerificationError('KEY_NOT_FOUND', message, { hint: noKeyHint(encPart.etype, there, label) })
}

function noKeyHint(etype: number, there: readonly ServiceKey[], label: string): string {
  if (there.length === 0) {
    return `Export the key of ${label} into the keytab, or let clients ask for a name that is there (the URL’s host, targetName).`
  }
  if (there.some(({ key }) => key.enctype === etype)) {
    return 'The account’s key is another one by now: export it into the keytab again; who has old tickets logs in again.'
  }
  return `Export a key of ${enctypeName(etype)} for that name too; in Active Directory msDS-SupportedEncryptionTypes says which enctypes tickets have.`
}

function shownNames({ principals }: TicketKeys): string {
  const names = principals.slice(0, MAX_SHOWN_NAMES).map((one) => quote(one.toString()))
  return principals.length > names.length
    ? `${names.join(', ')} and ${principals.length - names.length} more`
    : names.join(', ')
}

function shownKeys(keys: readonly ServiceKey[]): string {
  const enctypes = [...new Set(keys.map(({ key }) => key.enctype))]
  const ofEnctype = (enctype: number) => {
    const versions = keys.filter(({ key }) => key.enctype === enctype).map(({ kvno }) => kvno)
    return `${enctypeName(enctype)} of version ${versions.join(', ')}`
  }
  return enctypes.map(ofEnctype).join('; ')
}

function anonymousTicket(): VerificationError {
  return new VerificationError('ANONYMOUS_TICKET', 'the ticket is anonymous: the KDC does not know its client', {
    hint: 'Log in with an account (kinit name, not kinit -n); restrict_anonymous_to_tgt = true in kdc.conf makes the KDC refuse such tickets.',
  })
}

function servesAnother(service: Principal): VerificationError {
  const label = quote(service.toString())
  return new VerificationError('WRONG_PRINCIPAL', `the login is for ${label}, which this acceptor does not serve`, {
    hint: 'Add that name to the principal option and the keytab of this server, or log in here separately.',
  })
}

function notYetValid(why: string): VerificationError {
  return new VerificationError('TICKET_NOT_YET_VALID', `the ticket ${why}`, {
    hint: 'Check the clocks, or log in again.',
  })
}

function expired(endtime: number, now: number): VerificationError {
  const seconds = Math.round((now - endtime) / 1e6)
  return new VerificationError('TICKET_EXPIRED', `the ticket expired ${seconds} s ago`, {
    hint: 'Log in again (kinit).',
  })
}

function skewed(ctime: number, now: number): VerificationError {
  return new VerificationError('CLOCK_SKEW', 'the authenticator was made at another time than now', {
    hint: skewHint(ctime, now),
  })
}

function clientMismatch(): VerificationError {
  return new VerificationError('CLIENT_MISMATCH', 'ticket and authenticator name different clients')
}

function userToUser(): VerificationError {
  return new VerificationError('USER_TO_USER_REFUSED', 'the client asks for user-to-user authentication')
}

function addressMismatch(): VerificationError {
  return new VerificationError('ADDRESS_MISMATCH', 'the ticket is bound to network addresses', {
    hint: 'Log in without addresses: kinit -A, or noaddresses = true in krb5.conf.',
  })
}

function untrusted(code: 'REALM_NOT_TRUSTED' | 'TRANSITED_REFUSED', realm: string): VerificationError {
  return new VerificationError(code, `the client’s realm ${quote(realm)} is not trusted here`, {
    hint: 'List the realm in trustedRealms, or let the KDC check the path (transited-policy-checked).',
  })
}
