import { KerberosError } from '../errors.ts'
import type { BasicLogin } from './basic.ts'
import type { BoundConnections } from './bound-connections.ts'
import { calledNow } from './callbacks.ts'
import { type Credential, parseBasic, parseCredentials, type UserPassword } from './credentials.ts'
import type { HeaderList } from './decision.ts'
import type { Identity } from './identity.ts'
import type { Negotiation } from './negotiation.ts'
import type { Outcome, Refused } from './outcome.ts'
import { fieldValues, type NegotiateRequest } from './request.ts'
import type { ServerSettings } from './server-options.ts'
import type { Sessions } from './sessions.ts'
import { negotiateChallenge } from './side.ts'

interface Ways {
  readonly negotiation: Negotiation
  readonly basic: BasicLogin | undefined
  readonly sessions: Sessions | undefined
  readonly connections: BoundConnections | undefined
}

type Offer = Credential | { readonly kind: 'basic'; readonly login: BasicLogin; readonly credential: UserPassword }

/** All ways to log in: what a request offers, and what it is asked for. What it offers now beats what was proven before. */
export class Logins {
  readonly #settings: ServerSettings
  readonly #ways: Ways

  constructor(settings: ServerSettings, ways: Ways) {
    this.#settings = settings
    this.#ways = ways
  }

  async verify(request: NegotiateRequest): Promise<Outcome> {
    const { negotiation, connections } = this.#ways
    let offer: Offer
    try {
      offer = this.#read(request)
    } catch (error) {
      connections?.forget(request)
      const refused = negotiation.unreadable(request, error)
      return this.#offersPassword(request) ? { ...refused, scheme: 'basic' } : refused
    }
    if (offer.kind === 'none' || offer.kind === 'other') return this.#known(request, offer)
    const tried = connections?.forget(request)
    if (offer.kind === 'basic') return offer.login.verify(request, offer.credential)
    const outcome = await negotiation.step(request, offer.token)
    if (outcome.kind === 'proven') connections?.keep(request, outcome.identity, tried)
    return outcome
  }

  /** As far as what cannot be read shows it. */
  #offersPassword({ headers }: NegotiateRequest): boolean {
    return /^basic\b/i.test(fieldValues(headers, this.#settings.side.credentials)[0] ?? '')
  }

  #read({ headers }: NegotiateRequest): Offer {
    const { side, maxTokenBytes } = this.#settings
    const { basic: login } = this.#ways
    const values = fieldValues(headers, side.credentials)
    const credential = parseCredentials(values, maxTokenBytes)
    const isBasic = credential.kind === 'other' && credential.scheme.toLowerCase() === 'basic'
    if (!isBasic || login === undefined) return credential
    return { kind: 'basic', login, credential: parseBasic(values[0] as string) }
  }

  /** Who comes with nothing that is ours may be known already. */
  async #known(request: NegotiateRequest, credential: Credential): Promise<Outcome> {
    const { connections, sessions } = this.#ways
    const bound = connections?.find(request)
    if (bound !== undefined) return { kind: 'proven', identity: bound, token: undefined }
    const { status } = this.#settings.side
    if (sessions === undefined) return noCredentials(credential, status)
    try {
      const found = await sessions.find(request)
      if (found === undefined) return noCredentials(credential, status)
      if (found.kind === 'known') return { kind: 'proven', identity: found.identity, token: undefined }
      return { kind: 'refused', status, reason: found.reason, message: ENDED[found.reason] }
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
      const { code: reason, message, hint } = error
      return { kind: 'refused', status: 503, reason, message, hint } // check: S47
    }
  }

  /** What the next request may come with (RFC 9110 §11.6.1), the better way first. */
  challenges(request: NegotiateRequest, { scheme }: Refused): HeaderList {
    const { challengeOnce, side } = this.#settings
    const { basic } = this.#ways
    const isEnough =
      typeof challengeOnce === 'function'
        ? calledNow('challengeOnce', () => challengeOnce(request)) === true
        : challengeOnce && scheme === 'negotiate'
    const negotiate: HeaderList = isEnough ? [] : [negotiateChallenge(side)]
    return basic?.isOffered(request) === true ? [...negotiate, [side.challenge, basic.challenge]] : negotiate
  }

  get canLast(): boolean {
    return this.#ways.sessions !== undefined
  }

  /** What a response carries beside the token, so that the login lasts, and is nobody else's. */
  async begin(identity: Identity, request: NegotiateRequest): Promise<HeaderList> {
    const { sessions } = this.#ways
    return sessions === undefined ? [] : sessions.begin(identity, request)
  }

  /** Ends what lasts: the session and the connection's login. */
  async end(identity: Identity | undefined, request: NegotiateRequest): Promise<HeaderList> {
    this.#ways.connections?.forget(request)
    return (await this.#ways.sessions?.end(identity, request)) ?? []
  }
}

const ENDED = {
  SESSION_EXPIRED: 'the session is over',
  SESSION_REFUSED: 'the session cookie was altered, ended, or sealed with a key that is not here',
} as const

function noCredentials({ kind }: Credential, status: Refused['status']): Refused {
  const message = kind === 'none' ? 'no credentials' : 'the credentials are of another scheme'
  return { kind: 'refused', status, reason: 'NO_CREDENTIALS', message }
}
