import { UsageError } from '../../errors.ts'
import {
  type Authenticator,
  bareRefusal,
  type Decision,
  type Identity,
  type NegotiateRequest,
} from '../../http/index.ts'

/**
 * Where a request carries whom it was accepted as. A token is good once, so a second `negotiate` on the same request (nested router, rewrite,
 * guard after middleware) takes what it finds. Nothing that comes over the wire can set a symbol, and it ends with the request.
 */
const IDENTITY: unique symbol = Symbol.for('spnego.identity')

interface Carrier {
  readonly [IDENTITY]?: Identity
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
  if (decision.kind === 'accepted') {
    Object.defineProperty(raw, IDENTITY, { value: decision.identity, configurable: true })
  }
  return decision
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
