import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { booleanOf, invalid, oneOf, optional } from '../options.ts'

/** A proxy, and the login there: another service than the server behind it, with a name and maybe a user of its own. */
export interface ProxyOptions {
  /**
   * `http://proxy.corp:3128`, or `https:` where the proxy itself speaks TLS. `'environment'`: what `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say
   * when the client is made, in small letters first. `HTTP_PROXY` is not believed in a CGI program, where the request may have set it.
   */
  readonly url: string | URL
  /** Whom the token is for. Default: `HTTP@` and the proxy's host. */
  readonly targetName?: string | Principal | undefined
  /** A token with the first CONNECT or request, unasked. Default `false`. */
  readonly preemptive?: boolean | undefined
  /** Whether the proxy must prove who it is; Squid cannot. A wrong proof is an error but for `'disabled'`. Default `'optional'`. */
  readonly mutualAuthentication?: 'required' | 'optional' | 'disabled' | undefined
  /** Whether http URLs go through a tunnel (CONNECT) too; then their servers see a login as without the proxy. Default `false`. */
  readonly tunnel?: boolean | undefined
  /** Hosts that are reached without it, as in `NO_PROXY`: `corp.example` with what is below it, `host:8080`, `10.0.0.0/8`, `*`. */
  readonly bypass?: readonly string[] | undefined
}

export interface ProxySettings {
  readonly url: URL | 'environment'
  readonly targetName: string | Principal | undefined
  readonly preemptive: boolean
  readonly mutualAuthentication: 'required' | 'optional' | 'disabled'
  readonly tunnel: boolean
  readonly bypass: readonly string[] | undefined
}

/** @throws {UsageError} `OPTION_INVALID` for a wrong type, or a URL with a password: that is never shown */
export function proxySettings(options: ProxyOptions): ProxySettings {
  const { url, targetName, preemptive = false, mutualAuthentication, tunnel = false, bypass } = options
  return Object.freeze({
    url: url === 'environment' ? url : proxyUrl('proxy', url),
    targetName: optional(targetName, nameOf),
    preemptive: booleanOf('proxy.preemptive', preemptive),
    mutualAuthentication: optional(mutualAuthentication, mutualOf) ?? 'optional',
    tunnel: booleanOf('proxy.tunnel', tunnel),
    bypass: optional(bypass, hostsOf),
  })
}

/** @param name what holds it: an option, or a variable of the environment */
export function proxyUrl(name: string, value: unknown): URL {
  const text = value instanceof URL ? value.href : value
  if (typeof text !== 'string' || !URL.canParse(text))
    throw invalid(name, 'a URL such as http://proxy.corp:3128', value)
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw otherScheme(name, url)
  if (url.username !== '' || url.password !== '') throw passwordInUrl(name)
  return new URL(url.origin)
}

function otherScheme(name: string, { protocol }: URL): UsageError {
  return new UsageError('OPTION_INVALID', `${name}: ${quote(protocol)} is no scheme of an HTTP proxy`, {
    hint: 'Write http://host:port, or https://host:port where the proxy itself speaks TLS.',
  })
}

function passwordInUrl(name: string): UsageError {
  return new UsageError(
    'OPTION_INVALID',
    `${name}: the URL holds a name or a password, which a Kerberos login has no use for`,
    {
      hint: 'Take it out of the URL; for another user than yours give the proxy credentials of its own.',
    },
  )
}

function mutualOf(value: unknown): ProxySettings['mutualAuthentication'] {
  return oneOf('proxy.mutualAuthentication', value, ['required', 'optional', 'disabled'])
}

function nameOf(value: unknown): string | Principal {
  const fits = (typeof value === 'string' && value !== '') || (typeof value === 'object' && value !== null)
  if (!fits) throw invalid('proxy.targetName', 'a name or a Principal', value)
  return value as string | Principal
}

function hostsOf(value: unknown): readonly string[] {
  const isList = Array.isArray(value) && value.every((host) => typeof host === 'string')
  if (!isList) throw invalid('proxy.bypass', "a list of hosts such as 'corp.example'", value)
  return Object.freeze([...value])
}
