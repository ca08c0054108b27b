import { utf8 } from '../bytes/bytes.ts'
import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import { MAX_TOKEN_BYTES, type ReplayStore } from '../gss/context.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { booleanOf, integerIn, invalid, oneOf, optional, ownOptions, rejectUnknown, stringOf } from '../options.ts'
import { type BasicOptions, type BasicSettings, basicSettings } from './basic-options.ts'
import type { CrossSiteRule } from './cross-site.ts'
import type { ProxyTrust } from './forwarded.ts'
import type { Identity } from './identity.ts'
import { type LocalNamer, type LocalNames, localNamer, NO_LOCAL_NAMES } from './local-names.ts'
import { type Logger, loggerOf } from './logger.ts'
import type { NegotiateRequest } from './request.ts'
import { mustBeField } from './response-fields.ts'
import { type SessionOptions, type SessionSettings, sessionSettings } from './session-options.ts'
import { ORIGIN, PROXY, type Side } from './side.ts'

/** Whose tickets are accepted: names of keytab entries, or of all that serve one service. */
export type AcceptedNames =
  | 'any'
  | string
  | Principal
  | { readonly service: string }
  | readonly (string | Principal)[]
  | ((request: NegotiateRequest) => string | Principal)

/** The options that the acceptor behind the contexts is made from; here they are only held to their types. */
export interface AcceptorOptions {
  /** A path, or a `Keytab`. Default `KRB5_KTNAME`, else `/etc/krb5.keytab`. A file counts as it is, within ten milliseconds; one that cannot be used changes nothing. */
  readonly keytab?: string | object | undefined
  /** Default `{ service: 'HTTP' }`: any entry `HTTP/…` (RFC 4559 §4). `'any'` accepts tickets for every service of the keytab. */
  readonly principal?: AcceptedNames | undefined
  /** Default: in memory; in a worker of `node:cluster` the primary's, when that called `useClusterReplayStore()`. */
  readonly replayStore?: ReplayStore | undefined
  /**
   * Realms whose clients are accepted beside the keytab entry's own; `[]` for none. Default: those whose path the KDC has checked
   * (transited-policy-checked, RFC 4120 §2.7).
   */
  readonly trustedRealms?: readonly string[] | undefined
  /** Largest clock difference, in seconds, 0 to 3600. Default 300 (RFC 4120 §8.2). */
  readonly clockSkewSeconds?: number | undefined
  /** Largest token, decoded, 1 to 65 535. Default 65 535. */
  readonly maxTokenBytes?: number | undefined
  /**
   * Whether a login must be tied to this TLS connection by the server's certificate (`tls-server-end-point`, RFC 5929 §4): `'accept'` refuses one
   * that is tied to another, `'required'` also one that is tied to none, `'off'` does not look. Default `'accept'`; over plain http, or where the
   * certificate cannot be seen, it finds nothing to compare.
   */
  readonly channelBindings?: 'off' | 'accept' | 'required' | undefined
  /** Where TLS ends elsewhere: the certificates that clients may see there, each PEM or DER. Default: that of the request's own connection. */
  readonly certificate?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined
  /**
   * Whether a login that the client forwards is taken (RFC 4121 §4.1.1): `identity.delegated`, with which the program *is* the user. Default false:
   * dropped unread.
   */
  readonly delegation?: boolean | undefined
  /** Numbers of the enctypes that are accepted. Default the AES ones (RFC 3962, RFC 8009). */
  readonly enctypes?: readonly number[] | undefined
}

/** Why a request was refused, or went on without an identity. Holds no token. */
export interface Failure {
  /** A code of `ERROR_CODES`: the contract. */
  readonly reason: string
  readonly message: string
  readonly hint: string | undefined
  /** Of the answer; undefined when `required` said no and the request went on; 500 when a function of the program threw. */
  readonly status: 400 | 401 | 403 | 407 | 500 | 503 | undefined
  /** Who was refused, when it is proven: only with `FORBIDDEN`. */
  readonly principal: string | undefined
  readonly method: string
  /** Of the URL, without the query. */
  readonly path: string
}

/** The body of a refusal, or the whole of it but for the fields that HTTP asks for. */
export type Page =
  | string
  | { readonly body: string | Uint8Array; readonly contentType?: string | undefined }
  | WritePage
export type WritePage = (failure: Failure, request: NegotiateRequest) => WrittenPage | Promise<WrittenPage>
export interface WrittenPage {
  /** 401 (407 of a proxy) and 403 may be exchanged for each other. */
  readonly status?: 401 | 403 | 407 | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body: string | Uint8Array
  readonly contentType?: string | undefined
}

export interface NegotiateServerOptions extends AcceptorOptions {
  /**
   * Whether requests without an identity are refused; only `false` lets them through. Authentication is tried in any case. Default true.
   */
  readonly required?: boolean | ((request: NegotiateRequest) => boolean | Promise<boolean>) | undefined
  /** Unsafe requests of browsers for other sites' pages: refused, allowed, or allowed for these origins. Default `'refuse'`. */
  readonly crossSite?: 'refuse' | 'allow' | readonly string[] | undefined
  /** Body of a 401. Default `Unauthorized`, text/plain; for a browser a page that says what its user can do. */
  readonly unauthorized?: Page | undefined
  /** Body of a 403. Default `Forbidden`, text/plain. */
  readonly forbidden?: Page | undefined
  /** Status for a token that was read and refused. Default 401; of a password always that, so that browsers ask again. */
  readonly failureStatus?: 401 | 403 | undefined
  /** Whether that identity may go on; anything but `true` is 403. Default: everyone. */
  readonly authorize?: ((identity: Identity, request: NegotiateRequest) => boolean | Promise<boolean>) | undefined
  /** Makes `identity.localName`: by stripping realms, or by the rules of krb5.conf. Default: there is none. */
  readonly localNames?: LocalNames | undefined
  /**
   * Whether a login lasts beyond its request, in a sealed cookie (RFC 7516): it ends with the ticket at the latest. A fresh `Authorization` beats it.
   * `true`: with a key of this process. Not of a proxy. Default false.
   */
  readonly sessions?: boolean | SessionOptions | undefined
  /**
   * Whether clients without a ticket may log in by password (RFC 7617): proven by the KDC and by a ticket for this server's own key. Over https, or on
   * this machine. Default false.
   */
  readonly basic?: boolean | BasicOptions | undefined
  /**
   * `true`: a client whose token was refused is not asked for another one, so that it goes on to a password or to its user. A function: whether this
   * request's client is not asked for one at all. Default false.
   */
  readonly challengeOnce?: boolean | ((request: NegotiateRequest) => boolean) | undefined
  /** Answers as a proxy does: 407, `Proxy-Authenticate` (RFC 9110 §11.7). `crossSite` and `sessions` are not a proxy's. Default false. */
  readonly proxy?: boolean | undefined
  /**
   * Whether a login counts for what comes after it on its connection (MS-N2HT §3.2), for clients that expect it. HTTP/1.1 alone, and never behind a
   * proxy, whose connections carry many clients. Default false.
   */
  readonly connectionBound?: boolean | undefined
  /**
   * Whether a proxy stands before this server that sets X-Forwarded-Proto and X-Forwarded-For, whatever the client sent; `'forward-auth'`: and asks about
   * requests that it keeps, in X-Forwarded-Method, -Uri and -Host. Negotiations of several tokens end there. Default false.
   */
  readonly trustProxy?: ProxyTrust | undefined
  /** Told of each refusal, and awaited. */
  readonly onFailure?: ((failure: Failure) => void | Promise<void>) | undefined
  readonly logger?: Logger | undefined
}

/** A page as it is sent. */
export interface FixedPage {
  readonly body: Uint8Array
  readonly contentType: string
}

export interface ServerSettings {
  /** As the caller gave them, held to their types: the entry makes the acceptor from them. */
  readonly acceptor: AcceptorOptions
  readonly maxTokenBytes: number
  readonly required: boolean | ((request: NegotiateRequest) => boolean | Promise<boolean>)
  readonly crossSite: CrossSiteRule
  /** Undefined: one line, or for a browser a page that says what its user can do. */
  readonly unauthorized: FixedPage | WritePage | undefined
  readonly forbidden: FixedPage | WritePage
  readonly failureStatus: 401 | 403 | 407
  readonly authorize: ((identity: Identity, request: NegotiateRequest) => boolean | Promise<boolean>) | undefined
  readonly localName: LocalNamer
  readonly sessions: SessionSettings | undefined
  readonly basic: BasicSettings | undefined
  readonly challengeOnce: boolean | ((request: NegotiateRequest) => boolean)
  readonly side: Side
  readonly connectionBound: boolean
  readonly trustProxy: ProxyTrust
  readonly onFailure: ((failure: Failure) => void | Promise<void>) | undefined
  readonly logger: Logger | undefined
}

/**
 * @throws {UsageError} `OPTION_UNKNOWN` for a name that is not here, `OPTION_INVALID` for a wrong type or range, `OPTION_CONFLICT` for two that exclude
 *   each other
 */
export function serverSettings(options?: NegotiateServerOptions): ServerSettings {
  const {
    required = true,
    unauthorized,
    forbidden = 'Forbidden',
    failureStatus = 401,
    authorize,
    localNames,
    onFailure,
    logger,
    ...others
  } = ownOptions('NegotiateServerOptions', options)
  const { login, rest } = loginSettings(others)
  const acceptor = acceptorOptions(rest)
  rejectConflicts(login, acceptor)
  return Object.freeze({
    ...login,
    acceptor,
    maxTokenBytes: acceptor.maxTokenBytes ?? MAX_TOKEN_BYTES,
    required: typeof required === 'boolean' ? required : functionOf('required', required, 'true, false or a function'),
    unauthorized: optional(unauthorized, () => pageOf('unauthorized', unauthorized as Page)),
    forbidden: pageOf('forbidden', forbidden),
    failureStatus: failureStatusOf(failureStatus) === 403 ? 403 : login.side.status,
    authorize: optional(authorize, () => functionOf('authorize', authorize)),
    localName: localNames === undefined ? NO_LOCAL_NAMES : localNamer(localNames),
    onFailure: optional(onFailure, () => functionOf('onFailure', onFailure)),
    logger: optional(logger, loggerOf),
  })
}

type LoginOption = 'crossSite' | 'sessions' | 'basic' | 'challengeOnce' | 'proxy' | 'connectionBound' | 'trustProxy'
type LoginSettings = Pick<ServerSettings, Exclude<LoginOption, 'proxy'> | 'side'>

/** How a client may log in, and for how long. */
function loginSettings(options: Omit<NegotiateServerOptions, 'required'>): {
  readonly login: LoginSettings
  readonly rest: AcceptorOptions
} {
  const { crossSite, sessions = false, basic = false, challengeOnce = false, ...others } = options
  const { proxy = false, connectionBound = false, trustProxy = false, ...rest } = others
  const isProxy = booleanOf('proxy', proxy)
  if (isProxy && crossSite !== undefined) throw conflict('crossSite', 'proxy', 'All its requests are for other sites.') // check: S84
  const isChosen = typeof challengeOnce === 'function'
  const login = {
    // What a browser sends through a proxy is for whatever site its page is of.
    crossSite: isProxy ? 'allow' : crossSiteRule(crossSite ?? 'refuse'),
    sessions: sessionSettings(sessions),
    basic: basicSettings(basic),
    challengeOnce: isChosen ? challengeOnce : booleanOf('challengeOnce', challengeOnce),
    side: isProxy ? PROXY : ORIGIN,
    connectionBound: booleanOf('connectionBound', connectionBound),
    trustProxy: trustProxy === 'forward-auth' ? trustProxy : booleanOf('trustProxy', trustProxy),
  } as const
  return { login, rest }
}

function rejectConflicts(
  { sessions, basic, side, connectionBound, trustProxy }: LoginSettings,
  acceptor: AcceptorOptions,
): void {
  if (connectionBound && trustProxy !== false) {
    throw conflict('connectionBound', 'trustProxy', 'A proxy’s connection carries many clients: set one of them.') // check: S85
  }
  if (sessions !== undefined && side === PROXY) {
    throw conflict('sessions', 'proxy', 'A proxy’s cookie would be sent to the origins.') // check: S85
  }
  if (trustProxy !== false && side === PROXY) {
    throw conflict('trustProxy', 'proxy', 'Clients speak to a proxy themselves.')
  }
  if (basic !== undefined && acceptor.channelBindings === 'required') {
    throw conflict('basic', 'channelBindings', 'A password is tied to no TLS connection: set one of them.') // check: S37
  }
}

function conflict(one: string, other: string, hint: string): UsageError {
  return new UsageError('OPTION_CONFLICT', `${one} and ${other} exclude each other`, { hint })
}

/** What is left when the server has taken its own: nothing may be left after these. */
function acceptorOptions(options: AcceptorOptions): AcceptorOptions {
  const { keytab, principal, replayStore, trustedRealms, clockSkewSeconds, ...more } = options
  const { maxTokenBytes, enctypes, channelBindings, certificate, delegation, ...unknown } = more
  rejectUnknown('NegotiateServerOptions', unknown)
  return Object.freeze({
    keytab: optional(keytab, (value) => (isObject(value) ? value : stringOf('keytab', value))),
    principal: optional(principal, () => namesOf(principal)),
    replayStore: optional(replayStore, () => replayStoreOf(replayStore)),
    trustedRealms: optional(trustedRealms, (value) => listOf('trustedRealms', value, stringOf)),
    clockSkewSeconds: optional(clockSkewSeconds, (value) => integerIn('clockSkewSeconds', value, 0, 3600)),
    maxTokenBytes: optional(maxTokenBytes, tokenBytes),
    channelBindings: optional(channelBindings, bindingsMode),
    certificate: optional(certificate, () => certificateOf(certificate)),
    delegation: optional(delegation, (value) => booleanOf('delegation', value)),
    enctypes: optional(enctypes, (value) =>
      listOf('enctypes', value, (name, item) => integerIn(name, item, 1, 0x7fffffff)),
    ),
  })
}

function tokenBytes(value: unknown): number {
  return integerIn('maxTokenBytes', value, 1, MAX_TOKEN_BYTES)
}

function bindingsMode(value: unknown): 'off' | 'accept' | 'required' {
  return oneOf('channelBindings', value, ['off', 'accept', 'required'])
}

/** Text or octets: whoever reads them finds what is no certificate. */
function certificateOf(value: AcceptorOptions['certificate']): AcceptorOptions['certificate'] {
  const each = Array.isArray(value) ? value : [value]
  const fits = each.length > 0 && each.every((one) => typeof one === 'string' || one instanceof Uint8Array)
  if (!fits) throw invalid('certificate', 'PEM, DER or a list of them', value)
  return value
}

function failureStatusOf(value: unknown): 401 | 403 {
  if (value !== 401 && value !== 403) throw invalid('failureStatus', '401 or 403', value)
  return value
}

function namesOf(value: AcceptedNames | undefined): AcceptedNames | undefined {
  if (typeof value === 'function' || isObject(value)) return Array.isArray(value) ? Object.freeze([...value]) : value
  return stringOf('principal', value)
}

function replayStoreOf(value: ReplayStore | undefined): ReplayStore {
  if (typeof value?.checkAndStore !== 'function') throw invalid('replayStore', 'an object with checkAndStore', value)
  return value
}

function crossSiteRule(value: unknown): CrossSiteRule {
  if (Array.isArray(value)) return listOf('crossSite', value, originOf)
  return oneOf('crossSite', value, ['refuse', 'allow']) === 'allow' ? 'allow' : []
}

/** As browsers write it (RFC 6454 §6.2), so that comparing is enough. */
function originOf(name: string, value: unknown): string {
  const text = stringOf(name, value)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.origin === 'null' || url.href !== `${url.origin}/`) {
    throw new UsageError('OPTION_INVALID', `${name}: ${quote(text)} is no origin`, {
      hint: 'Write scheme, host and port, and nothing else: https://portal.example.com',
    })
  }
  return url.origin
}

function pageOf(name: string, page: Page): FixedPage | WritePage {
  if (!['string', 'object', 'function'].includes(typeof page) || page === null) {
    throw invalid(name, 'text, { body, contentType } or a function', page)
  }
  if (typeof page === 'function') return page
  return fixedPage(name, isObject(page) ? page : { body: page })
}

const TEXT = 'text/plain; charset=utf-8'

/** Checks and encodes what an option or a function of the caller gave. */
export function fixedPage(name: string, page: { body: unknown; contentType?: string | undefined }): FixedPage {
  const { body, contentType = TEXT } = page
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) throw invalid(`${name}.body`, 'text or bytes', body)
  return Object.freeze({
    body: typeof body === 'string' ? utf8(body) : body,
    contentType: contentTypeOf(`${name}.contentType`, contentType),
  })
}

function contentTypeOf(name: string, value: unknown): string {
  const text = stringOf(name, value)
  mustBeField(name, 'Content-Type', text)
  return text
}

function functionOf<T>(name: string, value: T, expected = 'a function'): T {
  if (typeof value !== 'function') throw invalid(name, expected, value)
  return value
}

function listOf<T>(name: string, value: unknown, read: (name: string, item: unknown) => T): readonly T[] {
  if (!Array.isArray(value)) throw invalid(name, 'a list', value)
  return Object.freeze(value.map((item, i) => read(`${name}[${i}]`, item)))
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
