import { quote } from '../../bytes/text.ts'
import { UsageError } from '../../errors.ts'
import { NAME_TYPE, Principal } from '../../krb5/messages/index.ts'
import { invalid } from '../../options.ts'

/** Dotted quads as they come out of `URL`, and whatever has a colon: host names have neither form. */
const ADDRESS = /^\d{1,3}(\.\d{1,3}){3}$|:|^\[/

/**
 * The service that a text names: `HTTP@host` (RFC 2743 §4.1), `HTTP/host`, `HTTP/host@REALM`, or a bare host, which `service` precedes. One
 * trailing dot of the host is dropped and its letters are lower-cased, as DNS compares them; nothing is looked up.
 *
 * @throws {UsageError} `NAME_INVALID`, `TARGET_IS_ADDRESS`
 */
export function serviceName(target: string | Principal, service = 'HTTP'): Principal {
  if (target instanceof Principal) return new Principal(target.components, target.realm, NAME_TYPE.NT_SRV_HST)
  if (typeof target !== 'string') throw invalid('target', 'a text or a Principal', target)
  const hostBased = /^([^/@\\]+)@([^/@\\]+)$/.exec(target)
  const parsed = hostBased
    ? new Principal([hostBased[1] as string, hostBased[2] as string], '')
    : target.includes('/')
      ? Principal.parse(target)
      : new Principal([service, target], '')
  const [name = '', host, ...rest] = parsed.components
  if (host === undefined) throw noHost(target) // check: C61
  return new Principal([name, hostName(host, target), ...rest], parsed.realm, NAME_TYPE.NT_SRV_HST)
}

function hostName(text: string, target: string): string {
  const host = text.replace(/\.$/, '').toLowerCase()
  if (ADDRESS.test(host)) throw isAddress(host) // check: C61
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
