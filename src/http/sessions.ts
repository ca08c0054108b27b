import { KerberosError, VerificationError } from '../errors.ts'
import { Principal } from '../krb5/messages/principal.ts'
import { mustBeNow } from '../options.ts'
import type { HeaderList } from './decision.ts'
import type { EndedSession, EndedSessions } from './ended-sessions.ts'
import { type Identity, makeIdentity, type Proof, proofOf } from './identity.ts'
import type { LocalNamer } from './local-names.ts'
import { fieldValues, hostsOf, type NegotiateRequest } from './request.ts'
import type { SessionSettings } from './session-options.ts'

/** Most sessions that are kept open; one more closes the one that was not used for longest. */
export const MAX_OPEN_SESSIONS = 10_000
/** A longer cookie is none of ours: RFC 6265 §6.1 asks browsers for no more. */
export const MAX_COOKIE_CHARACTERS = 4096

/** What a cookie says, sealed. Times are milliseconds since 1970. */
export interface Session extends EndedSession {
  readonly name: string
  readonly realm: string
  readonly channelBound: boolean
  readonly proof: SessionProof
}

/** How the login was proven that began a session: each server that gets its cookie decides whether it would have accepted that. */
export interface SessionProof {
  readonly mechanism: Proof['mechanism']
  /** Text of the keytab entry whose key opened the ticket. */
  readonly service: string | undefined
  readonly isDirect: boolean
  readonly isPathChecked: boolean
}

export interface OpenSession {
  readonly session: Session
  /** Sealed with a key that is on its way out. */
  readonly isOld: boolean
}

/** Seals and opens cookies: the room `sessions`. */
export interface SessionSealer {
  seal(session: Session, audience: string): Promise<string>
  /** Undefined: none of our keys opens it, or it is for something else. */
  open(text: string, audience: string): Promise<OpenSession | undefined>
  /** The first cookie of that name (RFC 6265 §4.2). */
  readCookie(fields: readonly string[], name: string): string | undefined
  /** A Set-Cookie line (RFC 6265 §4.1), for the whole host. */
  writeCookie(name: string, value: string, attributes: CookieAttributes): string
  newId(): string
}

export interface CookieAttributes {
  readonly secure: boolean
  readonly sameSite: 'lax' | 'strict' | 'none'
  /** Makes the browser forget it. */
  readonly remove?: boolean
}

export type FoundSession =
  | { readonly kind: 'known'; readonly identity: Identity }
  | { readonly kind: 'over'; readonly reason: 'SESSION_EXPIRED' | 'SESSION_REFUSED' }

export interface SessionParts {
  /** Whose tickets count depends on the request: then a session is for the host that it began at. */
  readonly perHost: boolean
  /** Gives the same one each time. */
  readonly load: () => Promise<SessionSealer>
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly ended: EndedSessions
  readonly localName: LocalNamer
}

/** Logins that outlive their request: a sealed cookie says who it is, so that any process with the key knows him. */
export class Sessions {
  readonly #settings: SessionSettings
  readonly #perHost: boolean
  readonly #load: () => Promise<SessionSealer>
  #sealer: SessionSealer | undefined
  readonly #now: () => number
  /** By what the cookie is for, and its text; the least recently used first. */
  readonly #open = new Map<string, OpenSession>()
  readonly #ended: EndedSessions
  readonly #localName: LocalNamer
  readonly #byIdentity = new WeakMap<Identity, OpenSession>()

  constructor(settings: SessionSettings, parts: SessionParts) {
    this.#settings = settings
    this.#perHost = parts.perHost
    this.#load = parts.load
    this.#now = parts.now
    this.#ended = parts.ended
    this.#localName = parts.localName
  }

  /** Who the request's cookie says it is. Undefined: it has none. @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` */
  async find(request: NegotiateRequest): Promise<FoundSession | undefined> {
    const sealer = await this.#ready()
    const text = this.#cookieOf(request, sealer)
    if (text === undefined) return undefined
    const found = await this.#opened(text, request, sealer)
    if (found === undefined) return { kind: 'over', reason: 'SESSION_REFUSED' } // check: S89
    const { session } = found
    if (session.expiresAt <= this.#now()) return { kind: 'over', reason: 'SESSION_EXPIRED' } // check: S90
    if (await this.#isRevoked(session)) return { kind: 'over', reason: 'SESSION_REFUSED' } // check: S91
    const identity = identityOf(session, this.#localName)
    this.#byIdentity.set(identity, found)
    return { kind: 'known', identity }
  }

  /** The cookie of a login; of a session that goes on none, unless its key is on its way out. */
  async begin(identity: Identity, request: NegotiateRequest): Promise<HeaderList> {
    const known = this.#byIdentity.get(identity)
    if (known?.isOld === false) return []
    const sealer = await this.#ready()
    const session = known?.session ?? this.#sessionOf(identity, sealer)
    if (session.expiresAt <= this.#now() || (await this.#hasAsGood(request, session, sealer))) return []
    const audience = this.#audienceOf(request)
    const text = await sealer.seal(session, audience)
    const open = { session, isOld: false }
    this.#byIdentity.set(identity, open)
    this.#keep(`${audience}=${text}`, open)
    return this.#setCookie(request, text, sealer)
  }

  /** Ends the session that the request came with, and the one that its login began. Who copied the cookie has nothing, as far as it is told. @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` */
  async end(identity: Identity | undefined, request: NegotiateRequest): Promise<HeaderList> {
    const sealer = await this.#ready()
    const text = this.#cookieOf(request, sealer)
    const carried = text === undefined ? undefined : await this.#opened(text, request, sealer)
    const begun = identity && this.#byIdentity.get(identity)
    for (const one of new Set([carried?.session, begun?.session])) if (one !== undefined) await this.#revoke(one)
    return this.#setCookie(request, '', sealer, true)
  }

  #sessionOf(identity: Identity, sealer: SessionSealer): Session {
    const { principal, name, realm, channelBound, expiresAt } = identity
    const startedAt = this.#now()
    return {
      id: sealer.newId(),
      principal,
      name,
      realm,
      channelBound,
      proof: sealedProof(proofOf(identity)),
      startedAt,
      expiresAt: Math.min(expiresAt.getTime(), startedAt + this.#settings.maxAgeSeconds * 1000),
    }
  }

  /** Clients that send a token with every request need no new cookie with every answer. */
  async #hasAsGood(
    request: NegotiateRequest,
    { principal, channelBound, expiresAt, proof }: Session,
    sealer: SessionSealer,
  ): Promise<boolean> {
    const text = this.#cookieOf(request, sealer)
    const carried = text === undefined ? undefined : await this.#opened(text, request, sealer)
    if (carried === undefined || carried.isOld) return false
    const { session } = carried
    const isSame =
      session.principal === principal &&
      session.channelBound === channelBound &&
      JSON.stringify(session.proof) === JSON.stringify(proof)
    const now = this.#now()
    const isLongEnough = session.expiresAt - now > (expiresAt - now) / 2
    return isSame && isLongEnough && !(await this.#isRevoked(session).catch(() => true)) // who has proven himself needs no word of the store
  }

  #cookieOf(request: NegotiateRequest, sealer: SessionSealer): string | undefined {
    const fields = fieldValues(request.headers, 'cookie')
    const name = this.#nameFor(request)
    if (!fields.some((field) => field.includes(name))) return undefined
    const text = sealer.readCookie(fields, name)
    return text === '' || text === undefined || text.length > MAX_COOKIE_CHARACTERS ? undefined : text
  }

  async #ready(): Promise<SessionSealer> {
    this.#sealer ??= await this.#load()
    return this.#sealer
  }

  async #opened(text: string, request: NegotiateRequest, sealer: SessionSealer): Promise<OpenSession | undefined> {
    const audience = this.#audienceOf(request)
    const known = this.#open.get(`${audience}=${text}`)
    const found = known ?? (await sealer.open(text, audience))
    if (found !== undefined) this.#keep(`${audience}=${text}`, found)
    return found
  }

  #keep(cookie: string, found: OpenSession): void {
    this.#open.delete(cookie)
    this.#open.set(cookie, found)
    const [oldest] = this.#open.keys()
    if (this.#open.size > MAX_OPEN_SESSIONS && oldest !== undefined) this.#open.delete(oldest)
  }

  async #isRevoked(session: Session): Promise<boolean> {
    const { id, startedAt } = session
    const { revocations } = this.#settings
    if (this.#ended.has(session, revocations !== undefined)) return true // check: S91
    if (revocations === undefined) return false
    const isRevoked = (await answerOf(() => revocations.isRevoked(id))) === true
    if (isRevoked) this.#ended.add(session, true, this.#now())
    const since = await answerOf(() => mustBeNow('rememberedSince', revocations.rememberedSince?.()) ?? 0)
    return isRevoked || !(startedAt >= since) // check: S91
  }

  async #revoke(session: Session): Promise<void> {
    const { revocations } = this.#settings
    this.#ended.add(session, revocations !== undefined, this.#now())
    await answerOf(() => revocations?.revoke(session.id, session.expiresAt))
  }

  /** RFC 6265bis §4.1.3.2: `__Host-` binds the cookie to this very host, and only over https can it be set. */
  #nameFor(request: NegotiateRequest): string {
    return request.secure === true ? `__Host-${this.#settings.cookieName}` : this.#settings.cookieName
  }

  /** What is sealed for one is nobody's elsewhere. */
  #audienceOf(request: NegotiateRequest): string {
    const name = this.#nameFor(request)
    return this.#perHost ? `${name} ${hostsOf(request).join()}` : name // check: S89
  }

  #setCookie(request: NegotiateRequest, value: string, sealer: SessionSealer, remove = false): HeaderList {
    const { sameSite } = this.#settings
    const attributes = { secure: request.secure === true, sameSite, remove }
    return [['Set-Cookie', sealer.writeCookie(this.#nameFor(request), value, attributes)]]
  }
}

/** Of the store of revocations. @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` */
async function answerOf<T>(ask: () => T | Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw error instanceof KerberosError ? error : storeUnavailable(error) // check: S47
  }
}

function storeUnavailable(cause: unknown): VerificationError {
  const message = 'the store of ended sessions does not answer'
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', message, {
    cause,
    hint: 'Check the store of sessions.revocations.',
  })
}

function identityOf(session: Session, localName: LocalNamer): Identity {
  const { principal, name, realm, channelBound, expiresAt, proof } = session
  const fields = {
    principal,
    name,
    realm,
    localName: localName(Principal.parse(principal)),
    mechanism: 'session',
    channelBound,
    expiresAt: new Date(expiresAt),
    delegated: undefined,
  } as const
  return makeIdentity(fields, openedProof(proof, realm))
}

function sealedProof({ mechanism, login }: Proof = { mechanism: 'negotiate', login: undefined }): SessionProof {
  const { service, isDirect = false, isPathChecked = false } = login ?? {}
  return { mechanism, service: service?.toString(), isDirect, isPathChecked }
}

function openedProof({ mechanism, service, isDirect, isPathChecked }: SessionProof, crealm: string): Proof {
  const login =
    service === undefined ? undefined : { service: Principal.parse(service), crealm, isDirect, isPathChecked }
  return { mechanism, login }
}
