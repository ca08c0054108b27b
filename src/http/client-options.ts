import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { booleanOf, integerIn, invalid, oneOf, optional, ownOptions, rejectUnknown, stringOf } from '../options.ts'
import { type Logger, loggerOf } from './logger.ts'
import { isDelegable } from './loopback.ts'

export type MutualAuthentication = 'required' | 'auto' | 'optional' | 'disabled'

/** A host, `HTTP@host`, `HTTP/host@REALM`, a `Principal`, or a function of the URL that gives one of them, now or later. */
export type TargetName = string | Principal | ((url: URL) => string | Principal | Promise<string | Principal>)

/** What every client entry understands; each default is written here and nowhere else. */
export interface ClientHttpOptions {
  /** First component of the service's name. Default `'HTTP'`. */
  readonly service?: string | undefined
  /** Default: the URL's host, without port and without one trailing dot. */
  readonly targetName?: TargetName | undefined
  /** Who must vouch for the server: see the table in `mutual.ts`. Default `'auto'`. */
  readonly mutualAuthentication?: MutualAuthentication | undefined
  /** Whether an error page of a server that proved nothing is withheld. Default `true`. */
  readonly sanitizeErrors?: boolean | undefined
  /** A token with every request, unasked. Default `false`; `true` when mutual authentication is required. */
  readonly preemptive?: boolean | undefined
  /** Origins that may see a token, wildcards by whole label (`https://*.corp.example`). Default: that of the URL the caller gave. */
  readonly origins?: readonly string[] | undefined
  /** Plain-http origins that may see a token. Default: loopback; names below `localhost` only where connections are this package's own. */
  readonly insecureOrigins?: readonly string[] | undefined
  /**
   * Whether the user's login is forwarded, with which the server *is* the user everywhere: `true` to each of `delegateTo`, `'policy'` only where
   * the KDC marks the service ok-as-delegate (RFC 5896 §2). Over https or to loopback alone. Default `false`.
   */
  readonly delegate?: boolean | 'policy' | undefined
  /** Origins that the login may be forwarded to, as in `origins`. Needed for `delegate: true`; default for `'policy'`: as `origins`. */
  readonly delegateTo?: readonly string[] | undefined
  /**
   * Whether tokens are bound to the TLS connection by the server's certificate (`tls-server-end-point`, RFC 5929 §4). `'auto'` where it can be
   * seen, `'required'` everywhere else an error, `'off'`, or the application data itself. Default `'auto'`.
   */
  readonly channelBindings?: 'auto' | 'required' | 'off' | Uint8Array | undefined
  /** Longest one-shot body that is kept in order to be sent twice, 0 to 2^30 bytes. Default 1 MiB. */
  readonly maxReplayBodyBytes?: number | undefined
  /** For obtaining a token, never for the response, 1 to 600 000 milliseconds. Default 10 000. */
  readonly loginTimeoutMs?: number | undefined
  /** Whether a login that fails here is thrown or leaves the server's 401. Default `'return'`. */
  readonly onLoginError?: 'return' | 'throw' | undefined
  readonly logger?: Logger | undefined
}

export interface ClientSettings {
  readonly service: string
  readonly targetName: TargetName | undefined
  readonly mutualAuthentication: MutualAuthentication
  readonly sanitizeErrors: boolean
  readonly preemptive: boolean
  readonly origins: readonly string[] | undefined
  readonly insecureOrigins: readonly string[]
  readonly delegate: boolean | 'policy'
  readonly delegateTo: readonly string[] | undefined
  readonly channelBindings: 'auto' | 'required' | 'off' | Uint8Array
  readonly maxReplayBodyBytes: number
  readonly loginTimeoutMs: number
  readonly onLoginError: 'return' | 'throw'
  readonly logger: Logger | undefined
}

const DEFAULT_REPLAY_BODY_BYTES = 1024 * 1024
const MAX_REPLAY_BODY_BYTES = 2 ** 30

/**
 * Checks, fills in and freezes.
 *
 * @throws {UsageError} `OPTION_UNKNOWN` for a name that is left, `OPTION_INVALID` for a wrong type or range
 */
export function clientSettings(where: string, options: ClientHttpOptions | undefined): ClientSettings {
  const {
    service,
    targetName,
    mutualAuthentication,
    sanitizeErrors = true,
    preemptive,
    origins,
    insecureOrigins,
    delegate,
    delegateTo,
    channelBindings,
    maxReplayBodyBytes = DEFAULT_REPLAY_BODY_BYTES,
    loginTimeoutMs = 10_000,
    onLoginError = 'return',
    logger,
    ...unknown
  } = ownOptions(where, options)
  rejectUnknown(where, unknown)
  const mutual = optional(mutualAuthentication, mutualOf) ?? 'auto'
  return Object.freeze({
    service: optional(service, serviceOf) ?? 'HTTP',
    targetName: optional(targetName, targetNameOf),
    mutualAuthentication: mutual,
    sanitizeErrors: booleanOf('sanitizeErrors', sanitizeErrors),
    preemptive: optional(preemptive, (value) => booleanOf('preemptive', value)) ?? mutual === 'required',
    origins: optional(origins, (value) => originList('origins', value)),
    insecureOrigins: optional(insecureOrigins, (value) => originList('insecureOrigins', value)) ?? [],
    ...delegation(delegate, delegateTo),
    channelBindings: optional(channelBindings, bindingsOf) ?? 'auto',
    maxReplayBodyBytes: integerIn('maxReplayBodyBytes', maxReplayBodyBytes, 0, MAX_REPLAY_BODY_BYTES),
    loginTimeoutMs: integerIn('loginTimeoutMs', loginTimeoutMs, 1, 600_000),
    onLoginError: oneOf('onLoginError', onLoginError, ['return', 'throw']),
    logger: optional(logger, loggerOf),
  })
}

function bindingsOf(value: unknown): ClientSettings['channelBindings'] {
  if (value instanceof Uint8Array) return new Uint8Array(value)
  return oneOf<'auto' | 'required' | 'off'>('channelBindings', value, ['auto', 'required', 'off'])
}

function delegation(delegate: unknown, delegateTo: unknown): Pick<ClientSettings, 'delegate' | 'delegateTo'> {
  const how = delegate === 'policy' ? delegate : (optional(delegate, (value) => booleanOf('delegate', value)) ?? false)
  const to = optional(delegateTo, (value) => originList('delegateTo', value))
  if (how === true && to === undefined) throw delegateToMissing()
  const insecure = to?.find((pattern) => !isDelegable(new URL(pattern.replace('*.', ''))))
  if (insecure !== undefined) throw delegationInsecure(insecure) // check: C43
  return { delegate: how, delegateTo: to }
}

function delegateToMissing(): UsageError {
  return new UsageError('OPTION_INVALID', 'delegate: true needs delegateTo, the origins that may become the user', {
    hint: "Write delegateTo: ['https://web1.corp'], or delegate: 'policy'.",
  })
}

function delegationInsecure(pattern: string): UsageError {
  return new UsageError(
    'DELEGATION_INSECURE',
    `delegateTo: ${quote(pattern)} would get the user’s login over plain http`,
    {
      hint: 'Use https: whoever listens could take the login.',
    },
  )
}

function mutualOf(value: unknown): MutualAuthentication {
  return oneOf('mutualAuthentication', value, ['required', 'auto', 'optional', 'disabled'])
}

/** One component of a name: a separator in it would name another service, or another realm. */
function serviceOf(value: unknown): string {
  const text = stringOf('service', value)
  if (/[/@\\\s]/.test(text)) throw invalid('service', 'a name without /, @, \\ and white space', value)
  return text
}

function targetNameOf(value: unknown): TargetName {
  const fits = typeof value === 'string' ? value !== '' : typeof value === 'function' || typeof value === 'object'
  if (!fits || value === null) throw invalid('targetName', 'a name, a Principal or a function', value)
  return value as TargetName
}

/** `scheme://host` or `scheme://host:port`, the first label may be `*`. */
const ORIGIN = /^https?:\/\/(\*\.)?[^/?#@*\\\s]+\/?$/i

function originList(name: string, value: unknown): readonly string[] {
  const isList = Array.isArray(value) && value.every(isOrigin)
  if (!isList) throw invalid(name, "a list of origins such as 'https://web1.corp' or 'https://*.corp'", value)
  return Object.freeze([...value])
}

function isOrigin(value: unknown): boolean {
  return typeof value === 'string' && ORIGIN.test(value) && URL.canParse(value.replace('*.', ''))
}
