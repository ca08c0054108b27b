/** The option `proxy`: which proxies a client goes through, who logs in there, and how a stream leads through one. */
import { noConnection } from '../../http/client.ts'
import { type ClientSettings, clientSettings } from '../../http/client-options.ts'
import { loginFailed } from '../../http/proxied-login.ts'
import { HttpProxy, type OpenStream, type Proxies, type Way } from '../../http/proxy.ts'
import { type ProxyOptions, type ProxySettings, proxySettings, proxyUrl } from '../../http/proxy-options.ts'
import { invalid, ownOptions, rejectUnknown } from '../../options.ts'
import { bypassOf, openProxy, openTunnel, type ProxyVariable, proxyEnvironment } from '../../system/index.ts'
import type { Credentials } from './credentials.ts'
import { type ClientLoginOptions, initiatorContexts } from './initiator-contexts.ts'
import type { Observe } from './login-reporter.ts'

/** A proxy, and who logs in there. */
export interface ProxyLoginOptions extends ProxyOptions {
  /** Default: those of the client. */
  readonly credentials?: Credentials | undefined
  /** Whose credentials they must be. */
  readonly principal?: string | undefined
}

export interface ClientProxyOption {
  /**
   * A proxy to go through, with a Kerberos login of its own there when it asks (RFC 9110 §11.7): its URL, `'environment'` for what `HTTPS_PROXY`,
   * `HTTP_PROXY` and `NO_PROXY` say, or an object with name and user too. Default: none, and the environment is not read.
   */
  readonly proxy?: string | URL | ProxyLoginOptions | undefined
}

/** What the option says, and a proxy of that kind at any URL. */
export interface ProxyMaker {
  readonly said: ProxySettings
  make(url: URL): HttpProxy
}

/**
 * @param login of the client, for what the proxy has none of its own
 * @param keepsApart whether the connections are the client's own
 * @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN`
 */
export function proxyMaker(
  option: Exclude<ClientProxyOption['proxy'], undefined>,
  login: ClientLoginOptions,
  client: ClientSettings,
  keepsApart: boolean,
): ProxyMaker {
  const { credentials, principal, ...own } = proxyOptions(option)
  const said = proxySettings(own)
  const { targetName, preemptive, mutualAuthentication, tunnel: tunnelsAll } = said
  const { loginTimeoutMs, logger } = client
  const common = { loginTimeoutMs, logger, channelBindings: 'off' } as const
  const settings = clientSettings('proxy', { targetName, preemptive, mutualAuthentication, ...common })
  const whose =
    credentials === undefined
      ? { credentials: login.credentials, principal: principal ?? login.principal }
      : { credentials, principal }
  const contexts = initiatorContexts({ ...login, ...whose }, settings)
  return { said, make: (url) => new HttpProxy(url, settings, contexts, { tunnelsAll, keepsApart }) }
}

/** The proxies of a client, by its URL's scheme. */
export function proxiesOf({ said: { url, bypass = [] }, make }: ProxyMaker): Proxies {
  const at = url === 'environment' ? proxyEnvironment() : { http: url, https: url, bypass: [] }
  const isDirect = bypassOf([...bypass, ...at.bypass])
  const byOrigin = new Map<string, HttpProxy>()
  const proxyAt = (given: URL | ProxyVariable | undefined): HttpProxy | undefined => {
    if (given === undefined) return undefined
    const found = given instanceof URL ? given : proxyUrl(given.name, given.value)
    const proxy = byOrigin.get(found.origin) ?? make(found)
    byOrigin.set(found.origin, proxy)
    return proxy
  }
  const byProtocol = new Map([
    ['http:', proxyAt(at.http)],
    ['https:', proxyAt(at.https)],
  ])
  return {
    for: (to) => (isDirect(to) ? undefined : byProtocol.get(to.protocol)),
    at: ({ origin }) => byOrigin.get(origin),
  }
}

function proxyOptions(option: unknown): ProxyLoginOptions {
  if (typeof option === 'string' || option instanceof URL) return { url: option }
  if (typeof option !== 'object' || option === null) throw invalid('proxy', 'a URL or an object', option)
  const { url, targetName, preemptive, mutualAuthentication, tunnel, bypass, credentials, principal, ...unknown } =
    ownOptions('proxy', option as ProxyLoginOptions)
  rejectUnknown('proxy', unknown)
  return { url, targetName, preemptive, mutualAuthentication, tunnel, bypass, credentials, principal }
}

/**
 * How a stream is opened on a way: to its end through a tunnel, else to the proxy.
 *
 * @param observe is told of each login at the proxy
 */
export function streamsOf({ proxy, owner, isTunnel }: Way, observe: Observe): OpenStream {
  const open = isTunnel ? tunnelOf(proxy, owner, observe) : () => openProxy(proxy.url)
  return (target) =>
    open(target).catch((error) => {
      throw noConnection(error)
    })
}

function tunnelOf(proxy: HttpProxy, owner: Way['owner'], observe: Observe): OpenStream {
  return async (target) => {
    const login = proxy.login(owner, { signal: undefined })
    const tell = (status: number) => {
      const report = login.report()
      if (report?.attempted === true || report?.error !== undefined) observe(proxy.url, status, report)
    }
    const failed = () => {
      tell(407)
      return loginFailed(proxy.url, login.report()?.error)
    }
    const stream = await openTunnel(proxy.url, target, login, proxy.preemptive, failed)
    tell(200)
    return stream
  }
}
