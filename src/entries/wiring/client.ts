/** The door of every client entry: one table of its options, and which entry honours which. */
import { UsageError } from '../../errors.ts'
import { CallbackReports } from '../../http/callbacks.ts'
import type { InitiatorContexts } from '../../http/client.ts'
import { type ClientHttpOptions, type ClientSettings, clientSettings } from '../../http/client-options.ts'
import type { Proxies } from '../../http/proxy.ts'
import { ownOptions } from '../../options.ts'
import { monotonic } from '../../system/index.ts'
import { type ClientLoginOptions, initiatorContexts } from './initiator-contexts.ts'
import { type ClientProxyOption, proxiesOf, proxyMaker } from './proxy.ts'

export type NegotiateClientOptions = ClientHttpOptions & ClientLoginOptions & ClientProxyOption

export type ClientEntry = 'fetch' | 'undici' | 'agent' | 'axios' | 'got'
export const CLIENT_ENTRIES: readonly ClientEntry[] = ['fetch', 'undici', 'agent', 'axios', 'got']

/** Where an entry cannot do what an option says, in words for the documentation, and which values it refuses. */
interface Limit {
  readonly text: string
  refuses(value: unknown): boolean
}

interface OptionRow {
  readonly default: string
  readonly meaning: string
  readonly limits?: Partial<Record<ClientEntry, Limit>>
}

const ANY: Limit = { text: 'refused', refuses: () => true }
const LISTED: Limit = { text: 'needs `origins`', refuses: () => false }

/** Every option of a client; the table of docs/options.md is made from it. */
export const CLIENT_OPTIONS: Readonly<Record<keyof NegotiateClientOptions, OptionRow>> = {
  credentials: {
    default: 'the user’s credential cache, else the client keytab',
    meaning: '`Credentials.fromCache`, `.fromKeytab` or `.fromPassword`',
  },
  principal: { default: 'the cache’s', meaning: 'whose credentials they must be; chooses in a collection' },
  service: { default: '`HTTP`', meaning: 'first component of the service’s name' },
  targetName: {
    default: 'the URL’s host',
    meaning:
      '`web1.corp`, `HTTP@web1.corp`, `HTTP/web1.corp@CORP`, `HTTP/web1.corp:8080`, an address, a `Principal`, or a function of the URL that gives one',
    limits: { undici: LISTED, agent: LISTED },
  },
  mutualAuthentication: {
    default: '`auto`',
    meaning: 'who must vouch for the server: `required`, `auto`, `optional`, `disabled`',
  },
  sanitizeErrors: { default: '`true`', meaning: 'whether an error page of a server that proved nothing is withheld' },
  preemptive: {
    default: '`false`; `true` when mutual authentication is required',
    meaning: 'a token with every request, unasked',
    limits: { agent: { text: 'always `true`', refuses: (value) => value === false } },
  },
  delegate: {
    default: '`false`',
    meaning:
      '`true` forwards the user’s login to `delegateTo`; `policy` where the KDC marks the service ok-as-delegate',
    limits: { undici: LISTED, agent: LISTED },
  },
  delegateTo: { default: 'for `policy`: as `origins`', meaning: 'origins that the login may be forwarded to' },
  channelBindings: {
    default: '`auto`',
    meaning: 'whether tokens are bound to the TLS connection: `auto`, `required`, `off`, or the application data',
    limits: { undici: { text: '`off` or the data; `auto` is `off`', refuses: (value) => value === 'required' } },
  },
  mechanism: { default: '`spnego`', meaning: '`krb5` sends raw Kerberos tokens' },
  origins: {
    default: 'the origin of the URL that the caller gave',
    meaning: 'origins that may see a token; `https://*.corp.example` for whole labels',
    limits: {
      undici: { text: 'default: any https origin', refuses: () => false },
      agent: { text: 'default: any https origin', refuses: () => false },
    },
  },
  insecureOrigins: { default: 'loopback', meaning: 'plain-http origins that may see a token' },
  proxy: {
    default: 'none',
    meaning:
      'a URL, `environment`, or `{ url, credentials, principal, targetName, preemptive, mutualAuthentication, tunnel, bypass }`',
    limits: { undici: { text: 'with its `connector()`', refuses: () => false } },
  },
  maxReplayBodyBytes: {
    default: '1 MiB',
    meaning: 'longest one-shot body that is kept to be sent twice; a longer one goes with a token at once',
    limits: { agent: ANY },
  },
  config: { default: 'krb5.conf (`KRB5_CONFIG`)', meaning: 'a `Krb5Config`' },
  loginTimeoutMs: { default: '10 000', meaning: 'for obtaining a token, never for the response' },
  clockSkewSeconds: { default: '`clockskew` of krb5.conf, else 300', meaning: 'largest difference to the KDC’s clock' },
  onCredentialExpired: { default: 'none', meaning: 'called when the login has expired and nothing here can renew it' },
  onLoginError: { default: '`return`', meaning: '`throw`: a login that fails on this side is thrown' },
  logger: { default: 'none', meaning: '`{ debug, info, warn, error }(object, message)`, as pino' },
}

/** What a client entry hands to its adapter. */
export interface ClientParts {
  readonly settings: ClientSettings
  readonly contexts: InitiatorContexts
  readonly proxies: Proxies | undefined
  /** Tells of what functions of the program threw where nobody waits for it. */
  readonly reports: CallbackReports
}

/**
 * Checks the options of an entry and makes what they ask for.
 *
 * @param where the function that the caller called
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`; `OPTION_UNSUPPORTED` for what this entry cannot honour; `ORIGINS_MISSING` where it sees
 * each redirect as a request of its own, and so cannot know whom an explicit name or login was meant for
 */
export function clientOf(entry: ClientEntry, where: string, options: NegotiateClientOptions | undefined): ClientParts {
  const own = ownOptions(where, options)
  const { credentials, principal, config, mechanism, clockSkewSeconds, onCredentialExpired, proxy, ...http } = own
  const reports = new CallbackReports({ warn: warning, monotonic })
  const said = clientSettings(where, http)
  const settings = Object.freeze({ ...said, logger: reports.guarded(said.logger) }) // check: C88
  for (const [name, { limits }] of Object.entries(CLIENT_OPTIONS)) {
    const limit = limits?.[entry]
    const value = own[name as keyof NegotiateClientOptions]
    if (value !== undefined && limit?.refuses(value) === true) throw unsupported(where, name, limit)
  }
  if (entry === 'undici' || entry === 'agent') needOrigins(where, settings)
  const login = { credentials, principal, config, mechanism, clockSkewSeconds, onCredentialExpired }
  const proxies = proxy === undefined ? undefined : proxiesOf(proxyMaker(proxy, login, settings, entry !== 'undici'))
  return { settings, contexts: initiatorContexts(login, settings), proxies, reports }
}

function warning(message: string, code: string): void {
  process.emitWarning(message, { type: 'SpnegoWarning', code })
}

function needOrigins(where: string, { origins, targetName, delegate }: ClientSettings): void {
  if (origins !== undefined || (targetName === undefined && delegate === false)) return
  throw originsMissing(where, targetName === undefined ? 'delegate' : 'targetName') // check: C03
}

function originsMissing(where: string, name: string): UsageError {
  return new UsageError('ORIGINS_MISSING', `${where}: ${name} needs origins, the ones that it is meant for`, {
    hint: "A redirect looks like any other request here. Write origins: ['https://web1.corp'].",
  })
}

function unsupported(where: string, name: string, { text }: Limit): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', `${where} cannot honour that value of ${name}: ${text}`, {
    hint: 'The table in docs/options.md says which entry honours which option.',
  })
}
