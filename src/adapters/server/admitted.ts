import { UsageError } from '../../errors.ts'
import {
  type Authenticator,
  bareRefusal,
  type Decision,
  errorOf,
  type HeaderList,
  type Identity,
  isSessionField,
  type NegotiateRequest,
  type Refusal,
} from '../../http/index.ts'

/**
 * Where a request carries whom it was accepted as. A token is good once, so a second `negotiate` on the same request (nested router, rewrite,
 * guard after middleware) takes what it finds. Nothing that comes over the wire can set a symbol, and it ends with the request.
 */
const LOGIN: unique symbol = Symbol.for('spnego.login')

interface Login {
  admitted: Identity | undefined
  /** The guard that looked first, and whom it found: what lasts of the login is its to end. */
  readonly found: Identity | undefined
  readonly server: Authenticator<NegotiateRequest>
  readonly request: NegotiateRequest
  isEnded: boolean
}

interface Carrier {
  readonly [LOGIN]?: Login
}

const KNOWN_KINDS: readonly string[] = ['accepted', 'anonymous', 'refused'] satisfies Decision['kind'][]

/**
 * Throws what a function of the program threw, for frameworks whose handlers for errors answer it.
 *
 * @throws {Error} the cause of a refusal with 500
 */
export function throwFault(refusal: Refusal): void {
  if (refusal.status === 500) throw errorOf(refusal.cause)
}

/** The decision about a request; what is none is a refusal. @throws {Error} whatever the server threw */
export async function decide(
  server: Authenticator<NegotiateRequest>,
  raw: object,
  request: NegotiateRequest,
): Promise<Decision> {
  const known = (raw as Carrier)[LOGIN]?.admitted
  const decision = await asked(() =>
    known === undefined ? server.authenticate(request) : server.authorize(known, request),
  )
  if (!KNOWN_KINDS.includes(decision.kind)) return bareRefusal('REJECTED') // check: A05
  const identity = decision.kind === 'accepted' ? decision.identity : undefined
  const login = (raw as Carrier)[LOGIN] // another guard may have been faster
  if (login?.admitted === undefined) {
    const value: Login = { admitted: identity, found: identity, server, request, isEnded: login?.isEnded ?? false }
    Object.defineProperty(raw, LOGIN, { value, configurable: true })
  } else if (identity !== undefined) {
    login.admitted = identity
  }
  return decision
}

async function asked(ask: () => Promise<Decision>): Promise<Decision> {
  try {
    return await ask()
  } catch (error) {
    throw errorOf(error)
  }
}

/** Ends the session that a request came with or began, and gives the fields that its response needs for that: none when no guard has sessions. */
export async function endSession(raw: object): Promise<HeaderList> {
  const login = (raw as Carrier)[LOGIN]
  if (login === undefined) return []
  login.isEnded = true
  return login.server.endSession(login.found, login.request)
}

/** What the response of an accepted request carries when its handler has run: no cookie of a session that is over. */
export function headersAfter(raw: object, headers: HeaderList): HeaderList {
  const isEnded = (raw as Carrier)[LOGIN]?.isEnded === true
  return isEnded ? headers.filter(([name]) => !isSessionField(name)) : headers
}

/** Whether a guard before has accepted it: then it is that one's to end. */
export function isAdmitted(raw: object): boolean {
  return (raw as Carrier)[LOGIN]?.admitted !== undefined
}

/** For whom the program knows as nobody. */
export function forget(raw: object): void {
  const login = (raw as Carrier)[LOGIN]
  if (login !== undefined) login.admitted = undefined
}

/**
 * Who a request was accepted as; never what another middleware wrote on it.
 *
 * @param request the framework's request, or node:http's
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(request: object): Identity {
  const identity = (request as Carrier | undefined | null)?.[LOGIN]?.admitted
  if (identity !== undefined) return identity
  throw new UsageError('NOT_AUTHENTICATED', 'this request carries no identity', {
    hint: 'Put negotiate() before the handler, with required not false.',
  })
}

/** What a request lives as long as: a response (HTTP/2's shows its stream alone), or a socket. */
interface Lasting {
  readonly destroyed?: boolean
  readonly stream?: { readonly destroyed: boolean }
  once(event: 'close', listener: () => void): unknown
}

/** Ends what was forwarded for a request when that is over, which it may be already. */
export function endWith(lasting: Lasting, { delegated }: Identity): void {
  if (delegated === undefined) return
  if (lasting.destroyed === true || lasting.stream?.destroyed === true) delegated.release()
  else lasting.once('close', () => delegated.release()) // check: S71
}
