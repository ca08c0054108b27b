import { fromBase64, toBase64 } from '../bytes/base64.ts'
import { KerberosError, MutualAuthenticationError, malformed, UsageError, VerificationError } from '../errors.ts'
import { checkTokenSize, type SecurityContext } from '../gss/context.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { invalid } from '../options.ts'
import { calledForCaller } from './callbacks.ts'
import { negotiateTokens } from './challenge.ts'
import type { ClientSettings } from './client-options.ts'
import { isRequired, mutualVerdict, type Proof } from './mutual.ts'
import { delegationTo, originError } from './origins.ts'
import type { Way } from './proxy.ts'

/** Most tokens for one request, whatever the server answers. */
export const MAX_TOKENS_PER_REQUEST = 3

/** Who asks for a login: the server (RFC 9110 §11.6), or the proxy before it (§11.7). */
export interface Party {
  readonly status: 401 | 407
  readonly challenge: 'www-authenticate' | 'proxy-authenticate'
  readonly credentials: 'authorization' | 'proxy-authorization'
}

export const ORIGIN: Party = { status: 401, challenge: 'www-authenticate', credentials: 'authorization' }
export const PROXY: Party = { status: 407, challenge: 'proxy-authenticate', credentials: 'proxy-authorization' }

/** The values of a header field of a response, by its name in lower case. */
export type FieldValues = (name: string) => readonly string[]

/** Header fields with the tokens of one send. */
export type TokenFields = Readonly<Partial<Record<Party['credentials'], string>>>

/** Errors of opening a connection: no fault of the login that was to go over it. */
const withoutConnection = new WeakSet<object>()

/** @returns the same error, known from then on as one of a connection */
export function noConnection<E extends object>(error: E): E {
  withoutConnection.add(error)
  return error
}

/** What happened on the way to a response. */
export interface Negotiated {
  /** A token of ours was sent. */
  readonly attempted: boolean
  /** The context is complete and the AP-REP was verified. */
  readonly serverAuthenticated: boolean
  /** Who we said we are. */
  readonly principal: string | undefined
  /** HTTP/host@REALM */
  readonly target: string | undefined
  readonly mechanism: 'spnego' | 'krb5' | undefined
  readonly channelBound: boolean
  readonly delegated: boolean
  /** Why a 401 stayed a 401. */
  readonly error: KerberosError | undefined
  /** For message protection, when complete. */
  readonly context: SecurityContext | undefined
  /** The login at a proxy that handed the request on; absent for a tunnel, whose login is that of the connection. */
  readonly proxy?: Negotiated | undefined
}

/** A ticket for the server is there: who logs in where is known, and a context can begin. */
export interface OpenedLogin {
  readonly principal: string
  readonly target: string
  readonly mechanism: 'spnego' | 'krb5'
  /** The login goes along. */
  readonly delegated: boolean
  /** A new context, with the bindings of the connection that is to carry its token. */
  begin(channelBindings: Uint8Array | undefined): SecurityContext
  /** The same login with a ticket that is fetched now, after a server refused this one; undefined where that is no use, or not yet. */
  renewed?: ((signal: AbortSignal | undefined) => Promise<RenewedLogin | undefined>) | undefined
}

export interface RenewedLogin extends OpenedLogin {
  /** What the server made of its ticket: one that was accepted takes the place of the other. */
  settle(isAccepted: boolean): Promise<void>
}

/** What HTTP asks of GSS; the entry hands it in. */
export interface InitiatorContexts {
  open(
    target: string | Principal,
    options: { mutual: boolean; delegation: 'never' | 'policy' | 'always'; signal: AbortSignal | undefined },
  ): Promise<OpenedLogin>
}

/** @param owner whose token the connection is to carry: see `RequestLogin.owner` */
export type Bindings = (owner: string, signal: AbortSignal | undefined) => Promise<Uint8Array | undefined>

/** One request to one URL: a redirect makes a new one. */
export interface Hop {
  /** Who answers there. Default: the server itself. */
  readonly party?: Party | undefined
  readonly url: URL
  /** The URL that the caller gave. */
  readonly first: URL
  readonly cameFromHttps: boolean
  /** A certificate of the server is verified by whoever sends. */
  readonly certified: boolean
  /** The channel bindings of an owner's connections to this URL, which whoever sends can see and hold to; or none. */
  readonly bindings?: Bindings | undefined
  /** Whether whoever sends takes names below localhost to this machine, whatever the DNS says. */
  readonly keepsLocal?: boolean | undefined
  /** Whether whoever sends can keep what follows on one connection. */
  readonly canPin?: boolean | undefined
  /** `false` where nothing can be sent a second time: then a token goes with the first send or never. */
  readonly canResend?: boolean | undefined
  /** Whether the body, when it has been sent, can be sent once more; a function, as it may have to be read first. Default: it can. */
  readonly isReplayable?: (() => boolean) | undefined
  /** Whether whoever sends has used up the body when there turns out to be no connection. */
  readonly isOneShot?: boolean | undefined
  readonly signal: AbortSignal | undefined
}

/** What to do with a response. */
export type Next =
  | { readonly kind: 'deliver' }
  | { readonly kind: 'sanitize' }
  | { readonly kind: 'resend'; readonly tokens: TokenFields }

/** The login, or logins, of one request to one URL, as whoever sends it has to know them. */
export interface HopLogin {
  /** @param unasked whether a token is to go with the very first send, when there can be one */
  first(unasked: boolean): Promise<TokenFields>
  /** @throws {MutualAuthenticationError} by the table in `mutual.ts`; login errors under `onLoginError: 'throw'` */
  next(status: number, fields: FieldValues): Promise<Next>
  /** The token was not sent, and the connection that is to carry it shows another certificate, maybe: one for what it shows now. */
  rebound(): Promise<TokenFields>
  /** Whose token is sent where: a connection that carried it serves nobody and nothing else. */
  readonly owner: string | undefined
  /** What names the one connection that this login needs from now on. */
  readonly pin: object | undefined
  /** The channel bindings that a connection must have to carry the token. */
  readonly bound: Uint8Array | undefined
  /** How the server is reached, known from `first` on; undefined: straight. Whoever cannot go there (`ProxyOwnerChanged`) calls `rebound`. */
  readonly way: Way | undefined
  /** Undefined when no challenge came and nothing was sent. */
  report(): Negotiated | undefined
}

/**
 * The login of one request at one party (RFC 4559 §4.1). It belongs to one attempt of one request: nothing about a host is remembered, and each token has a
 * fresh authenticator that is sent once.
 */
export class RequestLogin implements HopLogin {
  readonly #hop: Hop
  readonly #party: Party
  readonly #settings: ClientSettings
  readonly #contexts: InitiatorContexts
  #forbidden: KerberosError | undefined
  #opened: OpenedLogin | undefined
  #context: SecurityContext | undefined
  #sent = 0
  #bound: Uint8Array | undefined
  #isPinned = false
  #challenged = false
  #proof: Proof = 'never-challenged'
  #error: KerberosError | undefined
  /** With a ticket that was fetched after a refusal, and that refusal. */
  #renewed: RenewedLogin | undefined
  #refusal: KerberosError | undefined

  constructor(hop: Hop, settings: ClientSettings, contexts: InitiatorContexts) {
    this.#hop = hop
    this.#party = hop.party ?? ORIGIN
    this.#settings = settings
    this.#contexts = contexts
    // A proxy is one because the caller said so.
    const { url, first, cameFromHttps } = hop
    this.#forbidden =
      this.#party === PROXY ? undefined : originError(url, first, cameFromHttps, settings, hop.keepsLocal === true)
  }

  async first(unasked: boolean): Promise<TokenFields> {
    if (!unasked || this.#forbidden !== undefined) return {}
    try {
      return await this.#firstToken()
    } catch (error) {
      // A proxy that was not to get a token unasked may never ask: then it needs no name.
      const isNeeded = this.#party === ORIGIN || this.#settings.preemptive
      const kept = this.#keep(error)
      if (this.#isHostWithoutName(kept))
        this.#error = undefined // it is one when the server asks
      else if (kept instanceof UsageError && isNeeded) throw kept
      return {}
    }
  }

  async next(status: number, fields: FieldValues): Promise<Next> {
    const tokens = tokensIn(fields(this.#party.challenge))
    if (status === this.#party.status) return this.#answer(tokens)
    await this.#verify(tokens)
    await this.#renewed?.settle(this.#proof === 'verified' || (this.#proof !== 'failed' && status < 400))
    const { mutualAuthentication, sanitizeErrors } = this.#settings
    const verdict = mutualVerdict(mutualAuthentication, this.#hop.certified, this.#proof, status)
    if (verdict === 'error') {
      this.#context?.dispose()
      throw this.#unproved()
    }
    return { kind: verdict === 'sanitize' && sanitizeErrors ? 'sanitize' : 'deliver' }
  }

  /** The final 401 is delivered as it came, with the reason in `negotiated(response).error`. */
  async #answer(tokens: Tokens): Promise<Next> {
    const next = await this.#answerTo(tokens)
    if (next.kind === 'deliver') await this.#renewed?.settle(false)
    return next
  }

  async #answerTo(tokens: Tokens): Promise<Next> {
    if (tokens instanceof KerberosError) return this.#giveUp(tokens, false)
    if (tokens.length === 0) return this.#sent > 0 ? this.#giveUp(refused(), false) : { kind: 'deliver' }
    this.#challenged = true
    if (this.#forbidden !== undefined) return this.#giveUp(this.#forbidden, true)
    if (this.#sent >= MAX_TOKENS_PER_REQUEST) return this.#giveUp(tooMany(), false) // check: C12
    const local = this.#context === undefined
    if (local && this.#error !== undefined) return this.#giveUp(this.#error, true) // none for the first send: none now
    try {
      return { kind: 'resend', tokens: local ? await this.#firstToken() : await this.#continue(tokens) }
    } catch (error) {
      const kept = this.#keep(error)
      const again = await this.#withRenewedTicket(kept)
      return again === undefined ? this.#giveUp(kept, local) : { kind: 'resend', tokens: again }
    }
  }

  /** Once more, where a ticket from earlier was refused: the service's key may have changed since. */
  async #withRenewedTicket(refusal: KerberosError): Promise<TokenFields | undefined> {
    const { canResend, isReplayable } = this.#hop
    const isOver = this.#refusal !== undefined || this.#sent >= MAX_TOKENS_PER_REQUEST
    if (isOver || this.#party !== ORIGIN || refusal.code !== 'REJECTED') return undefined
    if (canResend === false || isReplayable?.() === false) return undefined // check: C76
    this.#refusal = refusal
    try {
      this.#renewed = await this.#opened?.renewed?.(this.#hop.signal)
      if (this.#renewed === undefined) return undefined
      this.#context?.dispose()
      const tokens = await this.#firstToken()
      this.#error = undefined
      return tokens
    } catch (error) {
      this.#keep(error)
      return undefined
    }
  }

  /** What the caller did wrong is always thrown; what went wrong on this side only when asked for; a refusal of the server never. */
  #giveUp(last: KerberosError, local: boolean): Next {
    const error = this.#refusal ?? last // check: C76
    this.#error = error
    this.#context?.dispose()
    const isCallers = error instanceof UsageError && !this.#isHostWithoutName(error)
    if (isCallers || (local && this.#settings.onLoginError === 'throw')) throw error
    return { kind: 'deliver' }
  }

  /**
   * Whether the URL's host is none that Kerberos has names for, such as an address: no mistake of the caller's, since most servers there ask for no
   * login. Where one is required it is: nothing could prove who answers.
   */
  #isHostWithoutName({ code }: KerberosError): boolean {
    if (this.#settings.targetName !== undefined || isRequired(this.#settings)) return false // check: C73
    return code === 'TARGET_IS_ADDRESS' || code === 'NAME_INVALID'
  }

  async #firstToken(): Promise<TokenFields> {
    const { url, signal } = this.#hop
    const target = await this.#targetName()
    const mutual = this.#settings.mutualAuthentication !== 'disabled'
    const delegation =
      this.#party === PROXY
        ? 'never'
        : delegationTo(url, this.#hop.first, this.#settings, this.#hop.keepsLocal === true)
    this.#opened = this.#renewed ?? (await this.#contexts.open(target, { mutual, delegation, signal }))
    this.#context = this.#opened.begin(await this.#channelBindings(ownerOf(this.#opened)))
    const { token } = await this.#context.step()
    return this.#fieldsWith(token)
  }

  async #targetName(): Promise<string | Principal> {
    const { url, signal } = this.#hop
    const { service, targetName = `${service}@${url.hostname}` } = this.#settings
    if (typeof targetName !== 'function') return targetName
    const own = new URL(url) // what the function changes is no other request
    const found = await calledForCaller('targetName', () => targetName(own), signal)
    const fits = typeof found === 'string' || (typeof found === 'object' && found !== null)
    if (!fits) throw invalid('targetName: its result', 'a name or a Principal', found)
    return found
  }

  /** Those of the connection itself also say which connections may carry the token. */
  async #channelBindings(owner: string): Promise<Uint8Array | undefined> {
    const { channelBindings } = this.#settings
    if (channelBindings === 'off') return undefined
    if (typeof channelBindings === 'object') return channelBindings
    this.#bound = await this.#hop.bindings?.(owner, this.#hop.signal)
    if (this.#bound === undefined && channelBindings === 'required') throw noBindings(this.#hop.url) // check: C33
    return this.#bound
  }

  /** No token from now on, for this reason. */
  forbid(why: KerberosError): void {
    this.#forbidden ??= why
  }

  /** Another token for the same request, if there was one. */
  async again(): Promise<TokenFields> {
    if (this.#context === undefined) return {}
    this.#context.dispose()
    return this.#firstToken()
  }

  async rebound(): Promise<TokenFields> {
    if (this.#context !== undefined) this.#sent--
    return this.again()
  }

  /** A 401 with a token goes on with the same context; one without ends it: the server refused the ticket. */
  async #continue(tokens: Tokens): Promise<TokenFields> {
    const text = onlyToken(tokens)
    const context = this.#context
    if (text === undefined || context === undefined || context.complete) throw refused()
    const step = await context.step(decodeToken(text))
    if (step.token === undefined) throw refused()
    if (this.#hop.canResend === false) throw continueNeeded()
    if (this.#hop.canPin !== true || this.#isPinned) return this.#fieldsWith(step.token)
    // The server keeps its half on the connection (RFC 4559 §6), and in a pool nobody knows which one is next: once more, on one of our own.
    context.dispose()
    this.#isPinned = true
    return this.#firstToken()
  }

  #fieldsWith(token: Uint8Array | undefined): TokenFields {
    if (token === undefined) throw malformed('the mechanism has no token to send')
    this.#sent++
    return { [this.#party.credentials]: `Negotiate ${toBase64(token)}` }
  }

  /** Verified means: context complete and AP-REP checked; never merely that nothing was thrown. */
  async #verify(tokens: Tokens): Promise<void> {
    const context = this.#context
    this.#proof = this.#challenged ? 'none' : 'never-challenged'
    if (context === undefined || this.#settings.mutualAuthentication === 'disabled') return
    if (context.complete) {
      this.#proof = 'verified' // by an earlier 401: what followed was SPNEGO's MIC (RFC 4178 §5)
      return
    }
    try {
      const text = onlyToken(tokens)
      if (text === undefined) return
      const { token: owed } = await context.step(decodeToken(text))
      // Accepted without a token of the mechanism is no proof; and where one of ours should follow, the server is not done (RFC 4178 §4.2.2).
      if (context.complete && owed === undefined) this.#proof = 'verified' // check: C86
    } catch (error) {
      this.#keep(error)
      this.#proof = 'failed'
    }
  }

  #unproved(): MutualAuthenticationError {
    const { url } = this.#hop
    const how = this.#proof === 'failed' ? 'a wrong proof' : 'no proof'
    return new MutualAuthenticationError(`${url.origin} gave ${how} of its identity`, {
      cause: this.#error,
      hint: 'If the server cannot do mutual authentication, use https with a valid certificate, or set mutualAuthentication to "optional".',
    })
  }

  #keep(error: unknown): KerberosError {
    if (!(error instanceof KerberosError) || withoutConnection.has(error)) throw error
    this.#error = error
    return error
  }

  get owner(): string | undefined {
    return this.#opened === undefined ? undefined : ownerOf(this.#opened)
  }

  get pin(): object | undefined {
    return this.#isPinned ? this : undefined
  }

  get bound(): Uint8Array | undefined {
    return this.#bound
  }

  get way(): undefined {
    return undefined
  }

  report(): Negotiated | undefined {
    if (!this.#challenged && this.#sent === 0 && this.#error === undefined) return undefined
    const context = this.#context
    const complete = context?.complete === true
    return Object.freeze({
      attempted: this.#sent > 0,
      serverAuthenticated: this.#proof === 'verified',
      principal: this.#opened?.principal,
      target: this.#opened?.target,
      mechanism: this.#opened?.mechanism,
      channelBound: complete && context.flags.has('channel-bound'),
      delegated: complete && context.flags.has('delegate'),
      error: this.#error,
      context: complete ? context : undefined,
    })
  }
}

/** Undefined for a bare challenge; the error when the field cannot be read. */
type Tokens = readonly (string | undefined)[] | KerberosError

/** The tokens of all Negotiate challenges. A field that breaks the grammar is an error where one seems to be in it and none is found, else nothing. */
function tokensIn(fields: readonly string[]): Tokens {
  try {
    return negotiateTokens(fields)
  } catch (error) {
    if (!(error instanceof KerberosError)) throw error
    return fields.some((field) => /\bnegotiate\b/i.test(field)) ? error : []
  }
}

export function ownerOf({ principal, target, delegated }: OpenedLogin): string {
  return `${principal} ${target}${delegated ? ' delegated' : ''}`
}

function onlyToken(tokens: Tokens): string | undefined {
  if (tokens instanceof KerberosError) throw tokens
  const [text, ...more] = tokens.filter((token) => token !== undefined)
  if (more.length > 0) throw malformed('more than one Negotiate token in one response') // check: C24
  return text
}

function decodeToken(text: string): Uint8Array {
  const token = fromBase64(text, 'Negotiate token') // check: C17
  checkTokenSize(token)
  return token
}

function noBindings({ origin }: URL): UsageError {
  return new UsageError('BINDINGS_UNAVAILABLE', `no channel bindings are to be had for ${origin}`, {
    hint: 'Use https without a dispatcher of your own, and a certificate signed with RSA or ECDSA; or channelBindings: "auto".',
  })
}

function refused(): VerificationError {
  return new VerificationError('REJECTED', 'the server refused the token and gave no reason', {
    hint: 'Its log has the reason: wrong key, wrong name or a clock that is off are the usual ones.',
  })
}

export function continueNeeded(): VerificationError {
  return new VerificationError(
    'CONTINUE_NEEDED',
    'the server wants another token, and this request is sent only once',
    {
      hint: 'Use spnego/fetch, which sends it again on the same connection; behind a proxy https, or proxy: { tunnel: true }.',
    },
  )
}

export function tooMany(): VerificationError {
  return new VerificationError('TOO_MANY_LEGS', `the server asked for more than ${MAX_TOKENS_PER_REQUEST} tokens`)
}
