import { KerberosError, VerificationError } from '../errors.ts'
import type { HeaderList, Identity } from './decision.ts'
import { fieldValues, hostsOf, isSecure, type NegotiateRequest } from './request.ts'
import type { SessionSettings } from './session-options.ts'

/** Most sessions that are kept open; one more closes the one that was not used for longest. */
export const MAX_OPEN_SESSIONS = 10_000
/** Most sessions that were ended and are remembered; one more ends those that began before the first of them. */
export const MAX_ENDED_SESSIONS = 10_000
/** A longer cookie is none of ours: RFC 6265 §6.1 asks browsers for no more. */
export const MAX_COOKIE_CHARACTERS = 4096

/** What a cookie says, sealed. Times are milliseconds since 1970. */
export interface Session {
  /** For revocation: 16 random octets as base64url. */
  readonly id: string
  readonly principal: string
  readonly name: string
  readonly realm: string
  readonly localName: string | undefined
  readonly channelBound: boolean
  readonly startedAt: number
  readonly expiresAt: number
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

export type FoundSession = { readonly identity: Identity } | { readonly reason: 'SESSION_EXPIRED' | 'SESSION_REFUSED' }

/** Logins that outlive their request: a sealed cookie says who it is, so that any process with the key knows him. */
export class Sessions {
  readonly #settings: SessionSettings
  readonly #perHost: boolean
  readonly #load: () => Promise<SessionSealer>
  #sealer: SessionSealer | undefined
  readonly #now: () => number
  /** By what the cookie is for, and its text; the least recently used first. */
  readonly #open = new Map<string, OpenSession>()
  /** Known to have ended before their time, by id. */
  readonly #ended = new Map<string, Session>()
  /** Which of those that began until then were ended is forgotten. */
  #endedUntil = Number.NEGATIVE_INFINITY
  readonly #byIdentity = new WeakMap<Identity, OpenSession>()

  /**
   * @param perHost whose tickets count depends on the request: then a session is for the host that it began at
   * @param load gives the same one each time
   * @param now milliseconds since 1970
   */
  constructor(settings: SessionSettings, perHost: boolean, load: () => Promise<SessionSealer>, now: () => number) {
    this.#settings = settings
    this.#perHost = perHost
    this.#load = load
    this.#now = now
  }

  /** Who the request's cookie says it is. Undefined: it has none. @throws {VerificationError} `REPLAY_STORE_UNAVAILABLE` */
  async find(request: NegotiateRequest): Promise<FoundSession | undefined> {
    const sealer = await this.#ready()
    const text = this.#cookieOf(request, sealer)
    if (text === undefined) return undefined
    const found = await this.#opened(text, request, sealer)
    if (found === undefined) return { reason: 'SESSION_REFUSED' } // check: S89
    const { session } = found
    if (session.expiresAt <= this.#now()) return { reason: 'SESSION_EXPIRED' } // check: S90
    if (await this.#isRevoked(session)) return { reason: 'SESSION_REFUSED' } // check: S91
    const identity = identityOf(session)
    this.#byIdentity.set(identity, found)
    return { identity }
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
    // A Set-Cookie keeps no cache from storing the response, and giving it to the next one (RFC 9111 §7.3).
    return [...this.#setCookie(request, text, sealer), ['Cache-Control', 'private']]
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

  #sessionOf({ principal, name, realm, localName, channelBound, expiresAt }: Identity, sealer: SessionSealer): Session {
    const startedAt = this.#now()
    return {
      id: sealer.newId(),
      principal,
      name,
      realm,
      localName,
      channelBound,
      startedAt,
      expiresAt: Math.min(expiresAt.getTime(), startedAt + this.#settings.maxAgeSeconds * 1000),
    }
  }

  /** Clients that send a token with every request need no new cookie with every answer. */
  async #hasAsGood(
    request: NegotiateRequest,
    { principal, localName, channelBound, expiresAt }: Session,
    sealer: SessionSealer,
  ): Promise<boolean> {
    const text = this.#cookieOf(request, sealer)
    const carried = text === undefined ? undefined : await this.#opened(text, request, sealer)
    if (carried === undefined || carried.isOld) return false
    const { session } = carried
    const isSame =
      session.principal === principal && session.localName === localName && session.channelBound === channelBound
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
    if (this.#ended.has(id) || startedAt <= this.#endedUntil) return true // check: S91
    if (revocations === undefined) return false
    const isRevoked = (await answerOf(() => revocations.isRevoked(id))) === true
    if (isRevoked) this.#remember(session)
    return isRevoked || startedAt < (revocations.rememberedSince?.() ?? 0) // check: S91
  }

  async #revoke(session: Session): Promise<void> {
    this.#remember(session)
    await answerOf(() => this.#settings.revocations?.revoke(session.id, session.expiresAt))
  }

  /** Nothing that was ended goes on because others were ended after it. */
  #remember(session: Session): void {
    const [oldest] = this.#ended.values()
    this.#ended.set(session.id, session)
    if (this.#ended.size <= MAX_ENDED_SESSIONS || oldest === undefined) return
    this.#ended.delete(oldest.id)
    if (this.#settings.revocations !== undefined || oldest.expiresAt <= this.#now()) return // a store knows it still, or nobody asks
    this.#endedUntil = Math.max(this.#endedUntil, oldest.startedAt) // check: S91
  }

  /** RFC 6265bis §4.1.3.2: `__Host-` binds the cookie to this very host, and only over https can it be set. */
  #nameFor(request: NegotiateRequest): string {
    return isSecure(request) === true ? `__Host-${this.#settings.cookieName}` : this.#settings.cookieName
  }

  /** What is sealed for one is nobody's elsewhere. */
  #audienceOf(request: NegotiateRequest): string {
    const name = this.#nameFor(request)
    return this.#perHost ? `${name} ${hostsOf(request).join()}` : name // check: S89
  }

  #setCookie(request: NegotiateRequest, value: string, sealer: SessionSealer, remove = false): HeaderList {
    const { sameSite } = this.#settings
    const attributes = { secure: isSecure(request) === true, sameSite, remove }
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

function identityOf({ principal, name, realm, localName, channelBound, expiresAt }: Session): Identity {
  return Object.freeze({
    principal,
    name,
    realm,
    localName,
    mechanism: 'session',
    channelBound,
    expiresAt: new Date(expiresAt),
    delegated: undefined,
  })
}
