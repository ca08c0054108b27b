import { describe, expect, test } from 'vitest'
import { Krb5Config } from '../../../src/krb5/formats/index.ts'
import { ServerLocator, type ServiceRecord } from '../../../src/krb5/locate.ts'
import { systemLocator, systemSource } from '../../../src/system/index.ts'

const record = (host: string, more: Partial<ServiceRecord> = {}): ServiceRecord => ({
  host,
  port: 88,
  priority: 0,
  weight: 0,
  ...more,
})

function dns(records: Readonly<Record<string, readonly ServiceRecord[]>>): {
  asked: string[]
  locator: ServerLocator
  clock: { now: number }
} {
  const asked: string[] = []
  const clock = { now: 0 }
  const locator = new ServerLocator({
    source: systemSource(),
    monotonic: () => clock.now,
    locator: {
      async services(name) {
        asked.push(name)
        return records[name] ?? []
      },
    },
  })
  return { asked, locator, clock }
}

const NONE = Krb5Config.parse('')
const hosts = (found: readonly { host: string; port: number; transport: unknown }[]) =>
  found.map(({ host, port, transport }) => `${transport ?? 'any'}/${host}:${port}`)

describe('RFC 4120 §7.2.3.2: KDCs by DNS', () => {
  test('SRV records of TCP and UDP, when krb5.conf names none', async () => {
    const { locator, asked } = dns({
      '_kerberos._tcp.CORP.EXAMPLE': [record('kdc1.corp.example')],
      '_kerberos._udp.CORP.EXAMPLE': [record('kdc2.corp.example', { port: 750 })],
    })
    const found = await locator.locate('kdc', 'CORP.EXAMPLE', NONE, 1000)
    expect(hosts(found)).toEqual(['tcp/kdc1.corp.example:88', 'udp/kdc2.corp.example:750'])
    expect(asked).toEqual(['_kerberos._tcp.CORP.EXAMPLE', '_kerberos._udp.CORP.EXAMPLE'])
  })

  test('krb5.conf comes first, dns_lookup_kdc = false and a realm that is no domain ask nothing', async () => {
    const { locator, asked } = dns({ '_kerberos._tcp.CORP.EXAMPLE': [record('kdc1')] })
    const named = Krb5Config.parse('[realms]\n CORP.EXAMPLE = {\n kdc = tcp/here:1088\n }')
    expect(hosts(await locator.locate('kdc', 'CORP.EXAMPLE', named, 1000))).toEqual(['tcp/here:1088'])
    const off = Krb5Config.parse('[libdefaults]\n dns_lookup_kdc = false')
    expect(await locator.locate('kdc', 'CORP.EXAMPLE', off, 1000)).toEqual([])
    for (const realm of ['A B', 'x'.repeat(300), 'a/b', '', '.', 'a..b']) {
      expect(await locator.locate('kdc', realm, NONE, 1000), realm).toEqual([])
    }
    expect(asked).toEqual([])
  })

  test('RFC 2782: by priority, and of one priority by weight', async () => {
    const first = new Map<string, number>()
    for (let i = 0; i < 300; i++) {
      const { locator } = dns({
        '_kerberos._tcp.R': [
          record('last', { priority: 9, weight: 65_535 }),
          record('heavy', { priority: 1, weight: 90 }),
          record('light', { priority: 1, weight: 10 }),
        ],
      })
      const [one, , three] = await locator.locate('kdc', 'R', NONE, 1000)
      expect(three?.host).toBe('last')
      first.set(one?.host ?? '', (first.get(one?.host ?? '') ?? 0) + 1)
    }
    expect(first.get('heavy')).toBeGreaterThan(200)
    expect(first.get('light')).toBeGreaterThan(0)
  })

  test('K31 a thousand targets, the target ".", port 0: sixteen usable ones at most', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => record(`kdc${i}`))
    const { locator } = dns({ '_kerberos._tcp.R': many, '_kerberos._udp.R': many })
    expect(await locator.locate('kdc', 'R', NONE, 1000)).toHaveLength(16)
    const bad = dns({ '_kerberos._tcp.R': [record('.'), record(''), record('zero', { port: 0 }), record('good')] })
    expect(hosts(await bad.locator.locate('kdc', 'R', NONE, 1000))).toEqual(['tcp/good:88'])
  })

  test('an answer is kept for a minute, none is asked for again', async () => {
    const { locator, asked, clock } = dns({ '_kerberos._tcp.R': [record('kdc1')] })
    await Promise.all([locator.locate('kdc', 'R', NONE, 1000), locator.locate('kdc', 'R', NONE, 1000)])
    expect(asked).toHaveLength(2)
    clock.now = 61_000
    await locator.locate('kdc', 'R', NONE, 1000)
    expect(asked).toHaveLength(4)
    for (let i = 0; i < 3; i++) await locator.locate('kdc', 'NONE', NONE, 1000)
    expect(asked).toHaveLength(10)
  })

  test('a resolver that knows nothing gives nothing, and no error', async () => {
    expect(await systemLocator.services('_kerberos._tcp.nowhere.invalid', 200)).toEqual([])
  })
})

describe('RFC 3244 §2: the password service', () => {
  test('kpasswd_server, else the host of admin_server, else SRV, else the KDCs’ hosts, all at port 464', async () => {
    const of = async (text: string, records = {}) => {
      const { locator } = dns(records)
      return hosts(await locator.locate('kpasswd', 'R', Krb5Config.parse(`[realms]\n R = {\n ${text}\n }`), 1000))
    }
    expect(await of('kpasswd_server = a:1464\n kdc = k')).toEqual(['any/a:1464'])
    expect(await of('admin_server = b:749\n kdc = k')).toEqual(['any/b:464'])
    expect(await of('kdc = k', { '_kpasswd._udp.R': [record('c', { port: 464 })] })).toEqual(['udp/c:464'])
    expect(await of('kdc = tcp/k:1088')).toEqual(['any/k:464'])
  })
})
