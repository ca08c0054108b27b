import { quote } from '../../bytes/text.ts'
import { UsageError } from '../../errors.ts'
import { NAME_TYPE, Principal } from '../../krb5/messages/index.ts'
import { invalid } from '../../options.ts'

/** Dotted quads as they come out of `URL`, and whatever has a colon, an IPv6 address or a port: host names have neither form. */
const ADDRESS = /^\d{1,3}(\.\d{1,3}){3}$|:|^\[/
/** Names of realms stand where other services have a host, and their letters count (RFC 4120 §6.1). */
const TICKET_GRANTING = 'krbtgt'

/** The name to ask for, and where the caller wrote another one, that. */
export interface ServiceTarget {
  readonly service: Principal
  /** Asked for when the KDC does not know `service`: its names are compared byte by byte at MIT and Heimdal. */
  readonly written: Principal | undefined
}

/**
 * The service that a text names: `HTTP@host` (RFC 2743 §4.1), `HTTP/host`, `HTTP/host@REALM`, or a bare host, which `service` precedes. One
 * trailing dot of the host is dropped and its letters are lower-cased, as DNS compares them. A host with a port, an address, and the realm
 * of `krbtgt` are taken as written. Nothing is looked up.
 *
 * @throws {UsageError} `NAME_INVALID`
 */
export function serviceTarget(target: string | Principal, service = 'HTTP'): ServiceTarget {
  if (target instanceof Principal) return { service: hostBased(target.components, target.realm), written: undefined }
  const { components, realm } = parsed(target, service)
  const [name = '', host, ...rest] = components
  if (host === undefined || host === '') throw noHost(target) // check: C61
  const written = hostBased(components, realm)
  if (name === TICKET_GRANTING || ADDRESS.test(host)) return { service: written, written: undefined } // check: K81
  const canonical = hostBased([name, hostName(host, target), ...rest], realm)
  return { service: canonical, written: canonical.equals(written) ? undefined : written }
}

/**
 * The service at the host of a URL, given as `HTTP@host`.
 *
 * @throws {UsageError} `NAME_INVALID`, `TARGET_IS_ADDRESS`
 */
export function serviceOfUrl(target: string): Principal {
  const { components, realm } = parsed(target, '')
  const [name = '', host = ''] = components
  const canonical = host.replace(/\.$/, '')
  if (ADDRESS.test(canonical)) throw isAddress(canonical) // check: C61
  return hostBased([name, hostName(host, target)], realm)
}

function parsed(target: unknown, service: string): Pick<Principal, 'components' | 'realm'> {
  if (typeof target !== 'string') throw invalid('target', 'a text or a Principal', target)
  const [, name, host] = /^([^/@\\]+)@([^/@\\]+)$/.exec(target) ?? []
  if (name !== undefined && host !== undefined) return { components: [name, host], realm: '' }
  return target.includes('/') ? Principal.parse(target) : { components: [service, target], realm: '' }
}

function hostBased(components: readonly string[], realm: string): Principal {
  return new Principal(components, realm, NAME_TYPE.NT_SRV_HST)
}

function hostName(text: string, target: string): string {
  const host = text.replace(/\.$/, '').toLowerCase()
  if (host.split('.').includes('')) throw emptyLabel(target) // check: C61
  return host
}

function isAddress(host: string): UsageError {
  return new UsageError('TARGET_IS_ADDRESS', `${quote(host)} is an address, and Kerberos names services by host name`, {
    hint: 'Use the host name in the URL, or set targetName to the service’s name.',
  })
}

function noHost(target: string): UsageError {
  return new UsageError('NAME_INVALID', `${quote(target)} names no host`, { hint: 'Write HTTP/host.example.com.' })
}

function emptyLabel(target: string): UsageError {
  return new UsageError('NAME_INVALID', `${quote(target)} has an empty label in its host name`, {
    hint: 'Write HTTP/host.example.com.',
  })
}
