import { UsageError } from '../../errors.ts'
import {
  type Authenticator,
  bareRefusal,
  type Decision,
  type HeaderList,
  type Identity,
  isSessionField,
  type NegotiateRequest,
} from '../../http/index.ts'

/**
 * Where a request carries whom it was accepted as. A token is good once, so a second `negotiate` on the same request (nested router, rewrite,
 * guard after middleware) takes what it finds. Nothing that comes over the wire can set a symbol, and it ends with the request.
 */
const IDENTITY: unique symbol = Symbol.for('spnego.identity')
/** Where it carries what ends its session. */
const SESSION: unique symbol = Symbol.for('spnego.session')
const ENDED: unique symbol = Symbol.for('spnego.session.ended')

interface Carrier {
  readonly [IDENTITY]?: Identity
  readonly [SESSION]?: () => Promise<HeaderList>
  readonly [ENDED]?: true
}

const KNOWN_KINDS: readonly string[] = ['accepted', 'anonymous', 'refused'] satisfies Decision['kind'][]

/** The decision about a request; what is none is a refusal. */
export async function decide(
  server: Authenticator<NegotiateRequest>,
  raw: object,
  request: NegotiateRequest,
): Promise<Decision> {
  const known = (raw as Carrier)[IDENTITY]
  const decision = await (known === undefined ? server.authenticate(request) : server.authorize(known, request))
  if (!KNOWN_KINDS.includes(decision.kind)) return bareRefusal('REJECTED') // check: A05
  const identity = decision.kind === 'accepted' ? decision.identity : undefined
  if (identity !== undefined) Object.defineProperty(raw, IDENTITY, { value: identity, configurable: true })
  if (known === undefined) {
    Object.defineProperty(raw, SESSION, { value: () => server.endSession(identity, request), configurable: true })
  }
  return decision
}

/** Ends the session that a request came with or began, and gives the fields that its response needs for that: none when no guard has sessions. */
export async function endSession(raw: object): Promise<HeaderList> {
  const end = (raw as Carrier)[SESSION]
  if (end === undefined) return []
  Object.defineProperty(raw, ENDED, { value: true, configurable: true })
  return end()
}

/** What the response of an accepted request carries when its handler has run: no cookie of a session that is over. */
export function headersAfter(raw: object, headers: HeaderList): HeaderList {
  return (raw as Carrier)[ENDED] === true ? headers.filter(([name]) => !isSessionField(name)) : headers
}

/** Whether a guard before has accepted it: then it is that one's to end. */
export function isAdmitted(raw: object): boolean {
  return (raw as Carrier)[IDENTITY] !== undefined
}

/** For whom the program knows as nobody. */
export function forget(raw: object): void {
  Reflect.deleteProperty(raw, IDENTITY)
}

/**
 * Who a request was accepted as; never what another middleware wrote on it.
 *
 * @param request the framework's request, or node:http's
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(request: object): Identity {
  const identity = (request as Carrier | undefined | null)?.[IDENTITY]
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
