import { BlockList, isIP, isIPv6 } from 'node:net'

/** What the environment says of proxies; the values as they stand there. */
export interface ProxyEnvironment {
  readonly http: ProxyVariable | undefined
  readonly https: ProxyVariable | undefined
  readonly bypass: readonly string[]
}

export interface ProxyVariable {
  readonly name: string
  readonly value: string
}

/**
 * `http_proxy`, `https_proxy` and `no_proxy`, in small letters first. `HTTP_PROXY` is not read where `REQUEST_METHOD` is set: a CGI program has it
 * from the request's field `Proxy` (CVE-2016-5385).
 */
export function proxyEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ProxyEnvironment {
  const variable = (...names: readonly string[]): ProxyVariable | undefined => {
    for (const name of names) {
      const value = environment[name]?.trim()
      if (value !== undefined && value !== '')
        return { name, value: /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}` }
    }
    return undefined
  }
  const isCgi = environment['REQUEST_METHOD'] !== undefined
  const none = environment['no_proxy'] ?? environment['NO_PROXY'] ?? ''
  return {
    http: isCgi ? variable('http_proxy') : variable('http_proxy', 'HTTP_PROXY'),
    https: variable('https_proxy', 'HTTPS_PROXY'),
    bypass: none.split(/[\s,]+/).filter((host) => host !== ''),
  }
}

/**
 * Whether a URL is reached without a proxy, by the rules that curl and Go share: a name stands for itself and what is below it, with a port for
 * that port alone; an address or a network (`10.0.0.0/8`) for addresses; `*` for everything. What cannot be read stands for nothing.
 */
export function bypassOf(hosts: readonly string[]): (url: URL) => boolean {
  const rules = hosts.map(ruleOf)
  return (url) =>
    rules.some((matches) => matches(hostOf(url.hostname), Number(url.port || (url.protocol === 'https:' ? 443 : 80))))
}

type Rule = (host: string, port: number) => boolean

function ruleOf(text: string): Rule {
  if (text === '*') return () => true
  const network = networkOf(text)
  if (network !== undefined) return (host) => isIP(host) !== 0 && network.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')
  const [, name = '', ownPort] = /^(.*?)(?::(\d+))?$/.exec(isIPv6(text) ? `[${text}]` : text) ?? []
  const wanted = hostOf(name.replace(/^\*?\./, ''))
  const fits = (host: string) => host === wanted || (isIP(host) === 0 && wanted !== '' && host.endsWith(`.${wanted}`))
  return (host, port) => fits(host) && (ownPort === undefined || Number(ownPort) === port)
}

function networkOf(text: string): BlockList | undefined {
  const [, address = '', prefix] = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(text) ?? []
  const family = isIP(address)
  if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128)) return undefined
  const list = new BlockList()
  list.addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6')
  return list
}

/** Without brackets, one trailing dot, and case. */
function hostOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}
