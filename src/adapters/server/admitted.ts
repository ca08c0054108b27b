import { UsageError } from '../../errors.ts'
import {
  type Authenticator,
  bareRefusal,
  type Decision,
  type Identity,
  type NegotiateRequest,
} from '../../http/index.ts'

/**
 * The one thing that all servers of a process share: whom each request was accepted as. A token is good once, so a second `negotiate` on
 * the same request (nested router, rewrite, guard after middleware) takes what it finds. Keyed by the request object alone, and ends with it.
 */
const identities: WeakMap<object, Identity> = new WeakMap()

const KNOWN_KINDS: readonly string[] = ['accepted', 'anonymous', 'refused'] satisfies Decision['kind'][]

/** The decision about a request; what is none is a refusal. */
export async function decide(
  server: Authenticator<NegotiateRequest>,
  raw: object,
  request: NegotiateRequest,
): Promise<Decision> {
  const known = identities.get(raw)
  const decision = await (known === undefined ? server.authenticate(request) : server.authorize(known, request))
  if (!KNOWN_KINDS.includes(decision.kind)) return bareRefusal('REJECTED') // check: A05
  if (decision.kind === 'accepted') identities.set(raw, decision.identity)
  return decision
}

/**
 * Who a request was accepted as; never what another middleware wrote on it.
 *
 * @param request the framework's request, or node:http's
 * @throws {UsageError} `NOT_AUTHENTICATED` when no `negotiate` accepted it
 */
export function identityOf(request: object): Identity {
  const identity = identities.get(request)
  if (identity !== undefined) return identity
  throw new UsageError('NOT_AUTHENTICATED', 'this request carries no identity', {
    hint: 'Put negotiate() before the handler, with required not false.',
  })
}
