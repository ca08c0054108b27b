/** A login at a proxy for an agent that is not this package's. */

import { PROXY } from '../../http/client.ts'
import { clientSettings } from '../../http/client-options.ts'
import type { Logger } from '../../http/logger.ts'
import { loginFailed } from '../../http/proxied-login.ts'
import { ANYBODY, type HttpProxy } from '../../http/proxy.ts'
import { invalid, ownOptions, rejectUnknown } from '../../options.ts'
import type { ClientLoginOptions } from './initiator-contexts.ts'
import { loginReporter } from './login-reporter.ts'
import { type ProxyLoginOptions, proxyMaker } from './proxy.ts'

export interface ProxyAuthOptions extends ClientLoginOptions {
  /** The agent's proxy, with its name and whoever logs in there. */
  readonly proxy: string | URL | ProxyLoginOptions
  /** For obtaining a token, 1 to 600 000 milliseconds. Default 10 000. */
  readonly loginTimeoutMs?: number | undefined
  readonly logger?: Logger | undefined
}

/** What `https-proxy-agent` tells of a 407, as far as it is needed. */
export interface ProxyChallenge {
  readonly response: { readonly headers: Readonly<Record<string, string | string[] | undefined>> }
}

export type ProxyAuth = (challenge: ProxyChallenge) => Promise<{ headers: Record<string, string> }>

/** @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN` */
export function proxyAuthOf(where: string, options: ProxyAuthOptions): ProxyAuth {
  const { proxy: option, loginTimeoutMs, logger, ...login } = ownOptions(where, options)
  const { credentials, principal, config, mechanism, clockSkewSeconds, onCredentialExpired, ...unknown } = login
  rejectUnknown(where, unknown)
  const client = clientSettings(where, { loginTimeoutMs, logger })
  const { said, make } = proxyMaker(option, login, client, false)
  if (said.url === 'environment') throw invalid(`${where}: proxy`, 'the URL of the agent’s proxy', said.url, true)
  const proxy: HttpProxy = make(said.url)
  const observe = loginReporter(client.logger)
  return async ({ response: { headers } }) => {
    const once = proxy.login(ANYBODY, { signal: undefined })
    const next = await once.next(PROXY.status, (name) => [headers[name] ?? []].flat())
    const report = once.report()
    if (report !== undefined) observe(proxy.url, PROXY.status, report)
    const token = next.kind === 'resend' ? next.tokens[PROXY.credentials] : undefined
    if (token === undefined) throw loginFailed(proxy.url, report?.error)
    return { headers: { 'Proxy-Authorization': token } }
  }
}
