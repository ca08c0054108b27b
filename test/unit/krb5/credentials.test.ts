import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { CredentialCache } from '../../../src/entries/index.ts'
import { type KerberosError, NetworkError } from '../../../src/errors.ts'
import type { World } from '../../../src/krb5/client.ts'
import { CredentialStore, type Origin } from '../../../src/krb5/credentials.ts'
import { CachedCredential, Keytab, KeytabEntry, Krb5Config } from '../../../src/krb5/formats/index.ts'
import { MESSAGE, NAME_TYPE, Principal, TICKET_FLAG } from '../../../src/krb5/messages/index.ts'
import { after, systemFiles, systemSource } from '../../../src/system/index.ts'
import type { FaultName } from '../../../src/testing/faults.ts'
import { Database, EmbeddedKdc } from '../../../src/testing/index.ts'

const REALM = 'EXAMPLE.TEST'
const WEB = new Principal(['HTTP', 'web.example.test'], REALM, NAME_TYPE.NT_SRV_HST)
const OTHER = new Principal(['HTTP', 'other.example.test'], REALM, NAME_TYPE.NT_SRV_HST)
const CONFIG_TEXT = `[libdefaults]\n default_realm = ${REALM}\n[realms]\n ${REALM} = {\n kdc = kdc.test\n }\n`
const CONFIG = Krb5Config.parse(CONFIG_TEXT, 'krb5.conf')

const TWO_KDCS = `[libdefaults]\n default_realm = ${REALM}\n[realms]\n ${REALM} = {\n kdc = first.test\n kdc = kdc.test\n }\n`
const ONE_KDC = Krb5Config.parse(
  TWO_KDCS.replace('first.test', 'tcp/kdc.test').replace(' kdc = kdc.test\n', ''),
  'krb5.conf',
)

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spnego-credentials-'))
  vi.stubEnv('KRB5CCNAME', join(folder, 'default'))
  vi.stubEnv('KRB5_CLIENT_KTNAME', '')
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  vi.unstubAllEnvs()
})

const cc = () => join(folder, 'cc')
const code = (value: string) => expect.objectContaining({ code: value })

interface Bench {
  readonly database: Database
  readonly kdc: EmbeddedKdc
  readonly world: World
  readonly requests: number[]
  readonly count: (type: number) => number
  offset: number
  /** Milliseconds that pass on the monotonic clock beside the true ones. */
  idle: number
  hold: Promise<void> | undefined
  fail: Error | undefined
  store(origin?: Partial<Origin> & { kind?: Origin['kind'] }): CredentialStore
}

/** A realm in memory: every message is counted, no socket is opened. */
function bench({
  clockOffset = 0,
  faults = [],
}: {
  readonly clockOffset?: number
  readonly faults?: readonly FaultName[]
} = {}): Bench {
  const { random } = systemSource()
  const database = new Database([18, 17], random)
  for (const user of ['alice', 'bob']) database.addUser(new Principal([user], REALM), `${user}'s secret`)
  for (const host of ['web', 'other', 'third'])
    database.addService(new Principal(['HTTP', `${host}.example.test`], REALM))
  const source = systemSource()
  const now = () => source.now() + made.offset
  const kdc = new EmbeddedKdc({ realm: REALM, database, faults, now: () => now() + clockOffset, random })
  const requests: number[] = []
  const made: Bench = {
    database,
    kdc,
    requests,
    count: (type) => requests.filter((one) => one === type).length,
    offset: 0,
    idle: 0,
    hold: undefined,
    fail: undefined,
    world: {
      source: { now, random },
      monotonic: () => performance.now() + made.idle,
      after,
      locator: { services: async () => [] },
      files: systemFiles(),
      loadConfig: async () => CONFIG,
      transport: {
        async exchange(_to, _protocol, given) {
          const message = typeof given === 'function' ? given(Uint8Array.of(127, 0, 0, 1)) : given
          requests.push((message[0] as number) & 0x1f)
          await made.hold
          if (made.fail !== undefined) throw made.fail
          return (await kdc.handle(message)) ?? new Uint8Array(0)
        },
      },
    },
    store: (origin = {}) =>
      new CredentialStore(
        { kind: 'password', principal: 'alice', password: utf8("alice's secret"), ...origin } as Origin,
        made.world,
        CONFIG,
      ),
  }
  return made
}

const { AS_REQ, TGS_REQ } = MESSAGE

describe('K32 one flight', () => {
  test('a hundred callers for one service: one login, one ticket', async () => {
    const one = bench()
    const store = one.store()
    const tickets = await Promise.all(Array.from({ length: 100 }, () => store.getTicket(WEB)))
    expect(new Set(tickets).size).toBe(1)
    expect(one.count(TGS_REQ)).toBe(1)
    expect(one.count(AS_REQ)).toBe(2) // without and with pre-authentication
    expect(await store.getTicket(WEB)).toBe(tickets[0])
    expect(one.count(TGS_REQ)).toBe(1)
  })

  test('three services at once: still one login', async () => {
    const one = bench()
    const store = one.store()
    const services = ['web', 'other', 'third'].map((host) => new Principal(['HTTP', `${host}.example.test`], REALM))
    await Promise.all([...services.map((service) => store.getTicket(service)), store.getTicketGrantingTicket()])
    expect(one.count(AS_REQ)).toBe(2)
    expect(one.count(TGS_REQ)).toBe(3)
  })

  test('tickets for more than a thousand services are not kept for ever: the first ones are fetched again', async () => {
    const made = bench()
    const hosts = Array.from({ length: 1100 }, (_, i) => new Principal(['HTTP', `h${i}.example.test`], REALM))
    for (const host of hosts) made.database.addService(host)
    const store = made.store()
    for (const host of hosts) await store.getTicket(host)
    const [before, first, last] = [made.count(MESSAGE.TGS_REQ), hosts[0] as Principal, hosts.at(-1) as Principal]
    await store.getTicket(last)
    expect(made.count(MESSAGE.TGS_REQ)).toBe(before)
    await store.getTicket(first)
    expect(made.count(MESSAGE.TGS_REQ)).toBe(before + 1)
    expect(made.count(MESSAGE.AS_REQ)).toBeLessThan(3)
  })

  test('a thousand callers for a hundred services: one login, a hundred tickets, all in the cache after a few writes', async () => {
    const one = bench()
    const hosts = Array.from({ length: 100 }, (_, i) => new Principal(['HTTP', `host${i}.example.test`], REALM))
    for (const host of hosts) one.database.addService(host)
    await one.store().save(cc())
    let writes = 0
    const { writeCache } = one.world.files
    const files = {
      ...one.world.files,
      writeCache: (name: string, cache: Parameters<typeof writeCache>[1]) => {
        writes++
        return writeCache(name, cache)
      },
    }
    const origin: Origin = { kind: 'cache', name: cc(), principal: undefined }
    const store = new CredentialStore(origin, { ...one.world, files }, CONFIG)
    const before = one.count(AS_REQ)
    const all = await Promise.all(Array.from({ length: 1000 }, (_, i) => store.getTicket(hosts[i % 100] as Principal)))
    expect(new Set(all).size).toBe(100)
    expect([one.count(AS_REQ) - before, one.count(TGS_REQ)]).toEqual([0, 100])
    const { credentials } = await systemFiles().readCache(`FILE:${cc()}`)
    expect(credentials).toHaveLength(101)
    expect(writes).toBeLessThan(50)
    expect((await one.store(origin).getTicket(hosts[42] as Principal)).endTime).toBe(all[42]?.endTime)
    expect(one.count(TGS_REQ)).toBe(100)
  })

  test('a failure is everybody’s who waited, and nobody’s who comes later', async () => {
    const one = bench()
    const store = one.store()
    one.fail = new Error('broken')
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => store.getTicket(WEB)))
    expect(results.every(({ status }) => status === 'rejected')).toBe(true)
    one.fail = undefined
    await store.getTicket(WEB)
  })

  test('who aborts leaves the others unharmed', async () => {
    const one = bench()
    const store = one.store()
    let release: () => void = () => {}
    one.hold = new Promise((resolve) => {
      release = resolve
    })
    const controller = new AbortController()
    const leaving = store.getTicket(WEB, { signal: controller.signal })
    const staying = store.getTicket(WEB)
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('gone'))
    await expect(leaving).rejects.toThrow(code('ABORTED'))
    release()
    expect((await staying).server.equals(WEB)).toBe(true)
    expect(one.count(TGS_REQ)).toBe(1)
  })

  test('an aborted signal starts nothing, and leaves no rejection behind', async () => {
    const one = bench()
    one.fail = new Error('broken')
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    await expect(one.store().getTicket(WEB, { signal: AbortSignal.abort() })).rejects.toThrow(code('ABORTED'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(one.requests).toEqual([])
  })
})

describe('K82 a name as it was written', () => {
  const WRITTEN = new Principal(['HTTP', 'Web.Example.test'], '', NAME_TYPE.NT_SRV_HST)
  const LOWER = new Principal(['HTTP', 'nowhere.example.test'], '', NAME_TYPE.NT_SRV_HST)

  test('is asked for once, kept under the name that was asked for, and found in a cache', async () => {
    const one = bench()
    one.database.addService(new Principal(['HTTP', 'Web.Example.test'], REALM))
    await one.store().save(cc())
    const cached = () => one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    const store = cached()
    const ticket = await store.getTicket(LOWER, { written: WRITTEN })
    expect(ticket.server.name).toBe('HTTP/Web.Example.test')
    expect(one.count(TGS_REQ)).toBe(2)
    expect(await store.getTicket(LOWER, { written: WRITTEN })).toBe(ticket)
    expect((await cached().getTicket(LOWER, { written: WRITTEN })).server.name).toBe('HTTP/Web.Example.test')
    expect(one.count(TGS_REQ)).toBe(2)
  })

  test('is not asked for when the first is known, nor after another refusal', async () => {
    const one = bench()
    await one.store().getTicket(WEB, { written: WRITTEN })
    expect(one.count(TGS_REQ)).toBe(1)
    const other = bench()
    const login = other.store()
    await login.getTicketGrantingTicket()
    const refused = login.getTicket(WEB, { written: WRITTEN, enctypes: [20] })
    await expect(refused).rejects.toThrow(code('KDC_ERR_ETYPE_NOSUPP'))
    expect(other.count(TGS_REQ)).toBe(1)
    const away = bench()
    const store = away.store()
    await store.getTicketGrantingTicket()
    away.fail = new Error('away')
    await expect(store.getTicket(LOWER, { written: WRITTEN })).rejects.toThrow(code('KDC_UNREACHABLE'))
    expect(away.count(TGS_REQ)).toBe(2) // one message, over TCP and UDP
  })
})

describe('K33 expiry', () => {
  test('a ticket is fetched again shortly before its end, and the login too', async () => {
    const one = bench()
    const store = one.store()
    const first = await store.getTicket(WEB)
    one.offset = 86_400e6 - 30e6
    const second = await store.getTicket(WEB)
    expect(second).not.toBe(first)
    expect(second.endTime).toBeGreaterThan(first.endTime)
    expect(one.count(AS_REQ)).toBe(4)
  })
})

describe('K28 a KDC of another time', () => {
  const HOUR = 3600e6

  test('three hours ahead: its clock is followed, for its tickets, into the cache and out of it', async () => {
    const one = bench({ clockOffset: 3 * HOUR })
    const store = one.store()
    const ticket = await store.getTicket(WEB)
    expect(Math.abs(ticket.clockOffset - 3 * HOUR)).toBeLessThan(2e6)
    expect(one.count(AS_REQ)).toBe(3) // without proof, by our clock, by its clock
    await store.save(cc())
    const cache = await systemFiles().readCache(`FILE:${cc()}`)
    expect(Math.abs((cache.kdcOffset?.seconds ?? 0) - 10_800)).toBeLessThan(2)
    const again = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    expect((await again.getTicket(OTHER)).clockOffset).toBeCloseTo(ticket.clockOffset, -7)
  })

  test('behind us too; a minute is not worth it', async () => {
    const behind = await bench({ clockOffset: -2 * HOUR })
      .store()
      .getTicket(WEB)
    expect(Math.abs(behind.clockOffset + 2 * HOUR)).toBeLessThan(2e6)
    expect((await bench({ clockOffset: 40e6 }).store().getTicket(WEB)).clockOffset).toBe(0)
  })

  test('forty years, or kdc_timesync = 0: refused with the difference', async () => {
    for (const clockOffset of [-40 * 365 * 24 * HOUR, 25 * HOUR]) {
      await expect(bench({ clockOffset }).store().getTicket(WEB)).rejects.toThrow(/KRB_AP_ERR_SKEW|NEVER_VALID/)
    }
    const strict = Krb5Config.parse(CONFIG_TEXT.replace('[realms]', ' kdc_timesync = 0\n[realms]'))
    const failure = await bench({ clockOffset: HOUR })
      .store()
      .getTicket(WEB, { config: strict })
      .catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'KRB_AP_ERR_SKEW', hint: expect.stringMatching(/3(599|600|601) s behind/) })
  })

  test('a cache that says forty years is read by our own clock', async () => {
    const one = bench()
    await one.store().save(cc())
    const cache = await systemFiles().readCache(`FILE:${cc()}`)
    await systemFiles().writeCache(`FILE:${cc()}`, { ...cache, kdcOffset: { seconds: -1.2e9, microseconds: 0 } })
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    expect((await store.getTicket(WEB)).clockOffset).toBe(0)
  })
})

describe('K33 renewal (RFC 4120 §2.3)', () => {
  const HOUR = 3600e6
  const RENEWABLE = Krb5Config.parse(
    `[libdefaults]\n default_realm = ${REALM}\n ticket_lifetime = 10h\n renew_lifetime = 3d\n[realms]\n ${REALM} = {\n kdc = kdc.test\n }\n`,
  )

  test('past half its life a login is renewed beside whoever uses it, and only once', async () => {
    const one = bench()
    const store = one.store()
    const first = await store.getTicketGrantingTicket({ config: RENEWABLE })
    one.offset = 6 * HOUR
    const now = await Promise.all(
      Array.from({ length: 10 }, () => store.getTicketGrantingTicket({ config: RENEWABLE })),
    )
    expect(new Set(now)).toEqual(new Set([first])) // nobody waits
    await vi.waitFor(() => expect(one.count(TGS_REQ)).toBe(1))
    const second = await vi.waitUntil(async () => {
      const found = await store.getTicketGrantingTicket({ config: RENEWABLE })
      return found === first ? undefined : found
    })
    expect(second.endTime - first.endTime).toBeGreaterThan(5 * HOUR)
    expect(second.renewTill).toBe(first.renewTill)
    expect([one.count(AS_REQ), one.count(TGS_REQ)]).toEqual([2, 1])
  })

  const ALL_FLAGS = Krb5Config.parse(
    `[libdefaults]\n default_realm = ${REALM}\n ticket_lifetime = 10h\n renew_lifetime = 3d\n forwardable = true\n proxiable = true\n[realms]\n ${REALM} = {\n kdc = kdc.test\n }\n`,
  )

  test('K80: the renewed ticket in the cache is forwardable, proxiable and renewable as long as the old one was', async () => {
    const one = bench()
    await one.store().save(cc(), { config: ALL_FLAGS })
    const saved = (await systemFiles().readCache(`FILE:${cc()}`)).credentials[0]
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    one.offset = 10 * HOUR - 30e6
    await store.getTicketGrantingTicket()
    const renewed = (await systemFiles().readCache(`FILE:${cc()}`)).credentials[0]
    expect(renewed?.endTime).toBeGreaterThan(saved?.endTime ?? Number.POSITIVE_INFINITY)
    const { forwardable, proxiable, renewable } = TICKET_FLAG
    expect((saved?.flags ?? 0) & (forwardable | proxiable | renewable)).toBe(forwardable | proxiable | renewable)
    const flags = (saved?.flags ?? 0) & ~TICKET_FLAG['enc-pa-rep'] // of an AS reply alone (RFC 6806 §11)
    expect([renewed?.flags, renewed?.renewTill]).toEqual([flags, saved?.renewTill])
    expect((await store.getForwardedTicket(WEB)).client.toString()).toBe(`alice@${REALM}`)
  })

  test('K80: nothing is asked for that the old ticket was not', async () => {
    const one = bench()
    await one.store().save(cc(), { config: RENEWABLE })
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    one.offset = 10 * HOUR - 30e6
    const renewed = await store.getTicketGrantingTicket()
    const { forwardable, proxiable, renewable } = TICKET_FLAG
    expect(renewed.flags & (forwardable | proxiable | renewable)).toBe(renewable)
  })

  test('K80: a forwarded ticket is proxiable and renewable as long as the login is', async () => {
    const store = bench().store()
    const tgt = await store.getTicketGrantingTicket({ config: ALL_FLAGS })
    const forwarded = await store.getForwardedTicket(WEB, { config: ALL_FLAGS })
    const asked = TICKET_FLAG.forwardable | TICKET_FLAG.proxiable | TICKET_FLAG.renewable
    expect([forwarded.flags & asked, forwarded.renewTill]).toEqual([asked, tgt.renewTill])
  })

  test('in its last moments whoever comes waits for the renewal; a cache gets it too', async () => {
    const one = bench()
    await one.store().save(cc(), { config: RENEWABLE })
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    one.offset = 10 * HOUR - 30e6
    const renewed = await store.getTicketGrantingTicket({ config: RENEWABLE })
    expect(renewed.endTime).toBeGreaterThan(one.world.source.now() + 9 * HOUR)
    const cache = await systemFiles().readCache(`FILE:${cc()}`)
    expect(cache.credentials.map(({ endTime }) => endTime * 1e6)).toEqual([renewed.endTime])
    expect(one.count(AS_REQ)).toBe(2)
  })

  test('who lives on one service ticket does not lose his login', async () => {
    const one = bench()
    await one.store().save(cc(), { config: RENEWABLE })
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    const first = await store.getTicket(WEB, { config: RENEWABLE })
    const before = one.count(TGS_REQ)
    const ends = async () => (await systemFiles().readCache(`FILE:${cc()}`)).credentials.map(({ endTime }) => endTime)
    const earliest = Math.min(...(await ends()))
    one.offset = 6 * HOUR
    for (let i = 0; i < 5; i++) expect(await store.getTicket(WEB, { config: RENEWABLE })).toBe(first)
    await vi.waitFor(async () => expect(Math.max(...(await ends()))).toBeGreaterThan(earliest + 5 * 3600))
    expect(one.count(TGS_REQ)).toBe(before + 1)
    one.offset = 12 * HOUR // first and its login are over
    expect((await store.getTicket(WEB, { config: RENEWABLE })).endTime).toBeGreaterThan(one.world.source.now())
    expect(one.count(AS_REQ)).toBe(2)
  })

  test('when it cannot be renewed a password logs in again, and a cache says that it has expired', async () => {
    const one = bench()
    const store = one.store()
    await store.save(cc(), { config: RENEWABLE })
    one.offset = 11 * HOUR
    expect((await store.getTicketGrantingTicket({ config: RENEWABLE })).endTime).toBeGreaterThan(one.world.source.now())
    expect([one.count(AS_REQ), one.count(TGS_REQ)]).toEqual([4, 0])
    const cached = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    await expect(cached.getTicket(WEB)).rejects.toThrow(code('TICKET_EXPIRED'))
  })

  test('a renewal that fails harms nobody, and is tried again five seconds later', async () => {
    const one = bench()
    const store = one.store()
    const first = await store.getTicketGrantingTicket({ config: RENEWABLE })
    one.offset = 6 * HOUR
    one.fail = new Error('away')
    for (let i = 0; i < 5; i++) {
      expect(await store.getTicketGrantingTicket({ config: RENEWABLE })).toBe(first)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(one.count(TGS_REQ)).toBe(2) // one renewal, over TCP and UDP
    one.idle = 5001
    one.fail = undefined
    await store.getTicketGrantingTicket({ config: RENEWABLE })
    await vi.waitFor(() => expect(one.count(TGS_REQ)).toBe(3))
  })

  test('a ticket that is not renewable is not renewed', async () => {
    const one = bench()
    const store = one.store()
    await store.getTicketGrantingTicket()
    one.offset = 20 * HOUR
    await store.getTicketGrantingTicket()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(one.count(TGS_REQ)).toBe(0)
  })
})

describe('a cache', () => {
  test('what was fetched is written back and read again by the next process', async () => {
    const one = bench()
    await one.store().save(cc())
    const before = one.requests.length
    await one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin).getTicket(WEB)
    expect(one.requests.length - before).toBe(1)
    const fresh = one.store({ kind: 'cache', name: cc(), principal: 'alice' } as Origin)
    expect((await fresh.getTicket(WEB)).server.equals(WEB)).toBe(true)
    expect(one.requests.length - before).toBe(1)
  })

  test('after another user’s login nothing of the old one is used', async () => {
    const one = bench()
    await one.store().save(cc())
    const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
    expect((await store.getTicket(WEB)).client.components).toEqual(['alice'])
    await one.store({ principal: 'bob', password: utf8("bob's secret") } as Origin).save(cc())
    expect((await store.getTicket(WEB)).client.components).toEqual(['bob'])
  })

  test('another principal’s, an expired one, none, one that cannot be reached', async () => {
    const one = bench()
    await one.store().save(cc())
    const from = (name: string, principal?: string) => one.store({ kind: 'cache', name, principal } as Origin)
    await expect(from(cc(), 'bob').getTicket(WEB)).rejects.toThrow(code('NO_CREDENTIALS'))
    await expect(from(join(folder, 'none')).getTicket(WEB)).rejects.toThrow(code('CACHE_NOT_FOUND'))
    symlinkSync('loop', join(folder, 'loop'))
    await expect(from(join(folder, 'loop')).getTicket(WEB)).rejects.toThrow(code('CACHE_UNREADABLE'))
    await expect(from('KCM:').getTicket(WEB)).rejects.toThrow(code('CACHE_TYPE_UNSUPPORTED'))
    one.offset = 86_401e6
    await expect(from(cc()).getTicket(WEB)).rejects.toThrow(code('TICKET_EXPIRED'))
  })

  test('the default: the cache of the principal that is asked for, or nobody’s', async () => {
    const one = bench()
    await one.store().save(join(folder, 'default'))
    const as = (principal: string | undefined) => one.store({ kind: 'default', principal } as Origin)
    expect((await as(undefined).getTicket(WEB)).client.components).toEqual(['alice'])
    expect((await as('alice').getTicket(WEB)).client.components).toEqual(['alice'])
    await expect(as('bob').getTicket(WEB)).rejects.toThrow(code('NO_CREDENTIALS'))
    await expect(as('bob').getTicketGrantingTicket()).rejects.toThrow(code('NO_CREDENTIALS'))
  })
})

describe('K64 a refused password or key is not sent again at once', () => {
  const SECOND = 1e6
  const wrong = (one: Bench) => one.store({ password: utf8('wrong secret') } as Origin)
  const refused = (store: CredentialStore) => store.getTicket(WEB).catch((error: unknown) => error)

  test('twenty requests: two messages, the same error, which says when the next try is', async () => {
    const one = bench()
    const store = wrong(one)
    for (let i = 0; i < 20; i++) expect(await refused(store)).toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
    expect(one.requests).toEqual([AS_REQ, AS_REQ])
    const { message, hint } = (await refused(store)) as KerberosError
    const time = /not sent again before (\S+)/.exec(message)?.[1] ?? ''
    expect(Math.abs(Date.parse(time) - Date.now() - 30_000)).toBeLessThan(20_000)
    expect(hint).toMatch(/Wrong password/)
  })

  test('the pause doubles from 30 s to 15 min, and always ends by itself, by either clock', async () => {
    const one = bench()
    const store = wrong(one)
    await refused(store)
    for (const seconds of [30, 60, 120, 240, 480, 900, 900]) {
      const before = one.count(AS_REQ)
      one.offset += (seconds - 2) * SECOND
      one.idle += (seconds - 2) * 1000
      await refused(store)
      expect(one.count(AS_REQ)).toBe(before)
      if (seconds % 60 === 0) one.offset += 3 * SECOND
      else one.idle += 3000
      await refused(store)
      expect(one.count(AS_REQ), `${seconds} s`).toBe(before + 2)
      one.offset += SECOND // both clocks agree again
    }
  })

  test('refusals that are far apart, as somebody may forge them, do not add up', async () => {
    const one = bench()
    const store = wrong(one)
    for (let i = 0; i < 4; i++) {
      await refused(store)
      one.offset += 3600 * SECOND
      one.idle += 3_600_000
    }
    await refused(store)
    const before = one.count(AS_REQ)
    one.offset += 31 * SECOND
    one.idle += 31_000
    await refused(store)
    expect(one.count(AS_REQ)).toBe(before + 2)
  })

  test('of a user that is unknown, an account that is locked, a password that has expired', async () => {
    for (const [principal, faults, code] of [
      ['carol', [], 'KDC_ERR_C_PRINCIPAL_UNKNOWN'],
      ['alice', ['account-locked'], 'KDC_ERR_CLIENT_REVOKED'],
      ['dora', [], 'KDC_ERR_KEY_EXPIRED'],
    ] as const) {
      const one = bench({ faults })
      one.database.addUser(new Principal(['dora'], REALM), 'old', { passwordExpired: true })
      const store = one.store({ principal, password: utf8('old') } as Origin)
      for (let i = 0; i < 5; i++) expect(await refused(store)).toMatchObject({ code })
      expect(one.requests.length, code).toBeLessThanOrEqual(2)
    }
  })

  test('an explicit login, new credentials and changePassword begin anew', async () => {
    const one = bench()
    const store = wrong(one)
    await refused(store)
    await expect(store.login()).rejects.toThrow(code('KDC_ERR_PREAUTH_FAILED'))
    expect(one.count(AS_REQ)).toBe(4)
    await expect(store.changePassword(utf8('new'))).rejects.toThrow(code('KDC_ERR_PREAUTH_FAILED'))
    expect(one.count(AS_REQ)).toBe(6)
    await refused(store)
    expect(one.count(AS_REQ)).toBe(6)
    await refused(wrong(one))
    expect(one.count(AS_REQ)).toBe(8)
    one.database.setPassword(new Principal(['alice'], REALM), 'wrong secret')
    await store.login()
    expect((await store.getTicket(WEB)).server.equals(WEB)).toBe(true)
  })

  const keytabOf = (secret: number) => {
    const key = new Uint8Array(32).fill(secret)
    const entry = { principal: new Principal(['alice'], REALM), kvno: 1, enctype: 18, key, timestamp: new Date(0) }
    return Keytab.of([new KeytabEntry(entry)]).toBytes()
  }

  test('a keytab file that changed, of the program and of the environment', async () => {
    const path = join(folder, 'alice.keytab')
    vi.stubEnv('KRB5_CLIENT_KTNAME', path)
    for (const origin of [
      { kind: 'keytab', principal: 'alice', keytab: path },
      { kind: 'default', principal: undefined },
    ] as const) {
      const one = bench()
      writeFileSync(path, keytabOf(1), { mode: 0o600 })
      const store = one.store(origin as Origin)
      for (let i = 0; i < 3; i++) expect(await refused(store)).toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
      expect(one.count(AS_REQ)).toBe(2)
      rmSync(path)
      writeFileSync(path, keytabOf(2), { mode: 0o600 })
      for (let i = 0; i < 3; i++) await refused(store)
      expect(one.count(AS_REQ)).toBe(4)
    }
  })

  test('no other failure is remembered', async () => {
    const one = bench()
    const store = one.store()
    one.fail = new Error('broken')
    for (let i = 0; i < 3; i++) await refused(store)
    expect(one.count(AS_REQ)).toBe(6) // over TCP and UDP
    one.fail = undefined
    await store.getTicket(WEB)
  })
})

describe('changePassword', () => {
  test('the bytes of the old password are overwritten, also while another login is under way', async () => {
    const one = bench()
    const password = utf8("alice's secret")
    const store = one.store({ password } as Origin)
    const fresh = utf8('a new secret')
    const busy = store.getTicketGrantingTicket()
    const { exchange } = one.world.transport
    one.world.transport.exchange = async (to, protocol, given, options) => {
      if (to.port !== 464) return exchange(to, protocol, given, options)
      const message = typeof given === 'function' ? given(Uint8Array.of(127, 0, 0, 1)) : given
      return (await one.kdc.passwords.handle(message)) ?? new Uint8Array(0)
    }
    await store.changePassword(fresh)
    expect([...password].every((byte) => byte === 0)).toBe(true)
    expect(fresh).toEqual(utf8('a new secret')) // the caller's own
    expect((await busy).client.toString()).toBe(`alice@${REALM}`)
    one.offset = 2 * 86_400e6
    await store.getTicket(WEB) // with the new one
  })
})

describe('K84 lists of enctypes in krb5.conf', () => {
  const withLines = (lines: string) => Krb5Config.parse(`${CONFIG_TEXT}[libdefaults]\n${lines}`, '/etc/krb5.conf')
  const KEYS = new Keytab([
    new KeytabEntry({ principal: new Principal(['alice'], REALM), kvno: 1, enctype: 18, key: new Uint8Array(32) }),
  ])

  test.each([
    ['permitted_enctypes = rc4-hmac', 'permitted_enctypes = "rc4-hmac"', 8],
    ['permitted_enctypes = des3-cbc-sha1 camellia', 'permitted_enctypes = "des3-cbc-sha1 camellia"', 8],
    ['default_tkt_enctypes = rc4-hmac', 'default_tkt_enctypes = "rc4-hmac"', 8],
    ['permitted_enctypes = aes256-cts\ndefault_tgs_enctypes = aes128-cts', 'default_tgs_enctypes = "aes128-cts"', 9],
  ])('%j holds nothing that can be used: the error names the line, and no KDC is asked', async (lines, named, line) => {
    const one = bench()
    const config = withLines(lines)
    for (const store of [one.store(), one.store({ kind: 'keytab', principal: 'alice', keytab: KEYS } as Origin)]) {
      const error = await store.getTicket(WEB, { config }).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', hint: expect.stringContaining('aes256') })
      expect(String(error)).toContain(`/etc/krb5.conf:${line}: ${named}`)
    }
    expect(one.requests).toEqual([])
  })

  test('default_tkt_enctypes are those of the login, default_tgs_enctypes those of services', async () => {
    const config = withLines('default_tkt_enctypes = aes128-cts rc4-hmac\ndefault_tgs_enctypes = aes256-cts')
    const store = bench().store()
    expect((await store.getTicketGrantingTicket({ config })).sessionKey.enctype).toBe(17)
    expect((await store.getTicket(WEB, { config })).sessionKey.enctype).toBe(18)
  })

  test('what can be used of permitted_enctypes bounds both', async () => {
    const config = withLines('permitted_enctypes = rc4-hmac aes128-cts\ndefault_tgs_enctypes = aes')
    const store = bench().store()
    expect((await store.getTicketGrantingTicket({ config })).sessionKey.enctype).toBe(17)
    expect((await store.getTicket(WEB, { config })).sessionKey.enctype).toBe(17)
  })
})

describe('other origins', () => {
  test('a wrong password has the KDC’s word', async () => {
    const one = bench()
    const store = one.store({ password: utf8('wrong secret') } as Origin)
    const error = await store.getTicket(WEB).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED' })
    expect(inspect([error, store], { depth: 9, showHidden: true })).not.toContain('wrong secret')
    expect(one.requests).toEqual([AS_REQ, AS_REQ])
  })

  test('a keytab without the principal, and one without its file', async () => {
    const one = bench()
    const from = (principal: string, keytab: string | Keytab) =>
      one.store({ kind: 'keytab', principal, keytab } as Origin)
    await expect(from('carol', new Keytab([])).getTicket(WEB)).rejects.toThrow(code('KEYTAB_NO_ENTRY'))
    await expect(from('alice', join(folder, 'no')).getTicket(WEB)).rejects.toThrow(code('KEYTAB_NOT_FOUND'))
  })

  describe('K83 the names and versions of a client’s keytab', () => {
    const BOB = new Principal(['bob'], REALM)
    async function keyOf(one: Bench, principal: Principal, kvno: number, name = principal): Promise<KeytabEntry> {
      const key = await one.database.find(principal)?.key(18)
      if (key === undefined) throw new Error('no key')
      return new KeytabEntry({ principal: name, kvno, enctype: 18, key: key.toBytes() })
    }
    const wrong = (principal: Principal, kvno: number) =>
      new KeytabEntry({ principal, kvno, enctype: 18, key: new Uint8Array(32) })
    const from = (one: Bench, principal: string, entries: readonly KeytabEntry[]) =>
      one.store({ kind: 'keytab', principal, keytab: new Keytab(entries) } as Origin)

    test.each(['BOB', `Bob@${REALM}`])('%s logs in as the bob of the keytab', async (asked) => {
      const one = bench()
      const login = await from(one, asked, [await keyOf(one, BOB, 1)]).getTicketGrantingTicket()
      expect(`${login.client}`).toBe(`bob@${REALM}`)
    })

    test('a name that is there exactly is preferred to one in another case', async () => {
      const one = bench()
      const upper = new Principal(['BOB'], REALM)
      one.database.addUser(upper, 'another secret')
      const entries = [await keyOf(one, BOB, 1), await keyOf(one, upper, 1)]
      expect(`${(await from(one, 'BOB', entries).getTicketGrantingTicket()).client}`).toBe(`BOB@${REALM}`)
    })

    test.each([0, 1, 7, 257])('version %i of the right key logs in', async (kvno) => {
      const one = bench()
      await from(one, 'bob', [await keyOf(one, BOB, kvno)]).getTicketGrantingTicket()
    })

    test('a realm in another case, another name: the names that are there, and the one to write', async () => {
      const one = bench()
      const entries = [await keyOf(one, BOB, 1), wrong(new Principal(['HTTP', 'web'], REALM), 1)]
      const realm = await from(one, 'bob@example.test', entries)
        .getTicket(WEB)
        .catch((error: unknown) => error)
      expect(realm).toMatchObject({ code: 'KEYTAB_NO_ENTRY', hint: expect.stringContaining(`"bob@${REALM}"`) })
      for (const asked of ['bobby', 'HTTP/bob', 'HTTP']) {
        const error = await from(one, asked, entries)
          .getTicket(WEB)
          .catch((reason: unknown) => reason)
        expect(error).toMatchObject({ code: 'KEYTAB_NO_ENTRY' })
        expect(String(error)).toContain(`"bob@${REALM}", "HTTP/web@${REALM}"`)
      }
      expect(one.requests).toEqual([])
    })

    test('the name is there, with an enctype that the login does not take', async () => {
      const one = bench()
      const rc4 = new KeytabEntry({ principal: BOB, kvno: 1, enctype: 23, key: new Uint8Array(16) })
      const error = await from(one, 'bob', [rc4])
        .getTicket(WEB)
        .catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'KEYTAB_NO_ENTRY', hint: expect.stringContaining('AES keys') })
      expect(String(error)).toMatch(/only .*rc4.* for "bob@EXAMPLE.TEST"; this login takes .*aes256/)
    })
  })

  test('a principal without a realm where krb5.conf has none; a realm without a KDC; a service of another realm', async () => {
    const one = bench()
    const config = Krb5Config.parse('', 'krb5.conf')
    await expect(one.store().getTicket(WEB, { config })).rejects.toThrow(code('REALM_UNKNOWN'))
    await expect(one.store({ principal: 'alice@NOWHERE.TEST' } as Origin).getTicket(WEB)).rejects.toThrow(
      code('KDC_UNKNOWN'),
    )
    const abroad = new Principal(['HTTP', 'web.other.test'], 'OTHER.TEST')
    await expect(one.store().getTicket(abroad)).rejects.toThrow(code('REALM_NOT_REACHABLE'))
    expect(one.count(TGS_REQ)).toBe(0)
  })

  test('a service that the KDC does not know', async () => {
    const unknown = new Principal(['HTTP', 'nobody.example.test'], REALM)
    await expect(bench().store().getTicket(unknown)).rejects.toThrow(code('KDC_ERR_S_PRINCIPAL_UNKNOWN'))
  })
})

describe('a cache of others', () => {
  test('RK#193: an expired cache beats neither a password nor the client keytab', async () => {
    const one = bench()
    const place = `FILE:${join(folder, 'default')}`
    await one.store().save(place)
    one.offset = 2 * 86_400e6
    const robot = new Principal(['robot'], REALM)
    const keys = one.database.addService(robot)
    const key = await keys.key(18)
    const entry = {
      principal: robot,
      kvno: 1,
      enctype: 18,
      key: key?.toBytes() ?? new Uint8Array(0),
      timestamp: new Date(),
    }
    writeFileSync(join(folder, 'client.keytab'), Keytab.of([new KeytabEntry(entry)]).toBytes(), { mode: 0o600 })
    const usual = () => one.store({ kind: 'default', principal: undefined } as Origin)
    await expect(usual().getTicket(WEB)).rejects.toThrow(code('TICKET_EXPIRED')) // nothing else is there
    vi.stubEnv('KRB5_CLIENT_KTNAME', join(folder, 'client.keytab'))
    expect(`${(await usual().getTicket(WEB)).client}`).toBe('robot@EXAMPLE.TEST')
    expect(`${(await one.store().getTicket(WEB)).client}`).toBe('alice@EXAMPLE.TEST')
    await expect(one.store({ kind: 'cache', name: undefined } as Origin).getTicket(WEB)).rejects.toThrow(
      code('TICKET_EXPIRED'),
    )
  })

  describe('K85 a default cache of a kind that cannot be read', () => {
    async function withKeytab(one: Bench): Promise<void> {
      const key = await one.database.find(new Principal(['bob'], REALM))?.key(18)
      const entry = { principal: new Principal(['bob'], REALM), kvno: 1, enctype: 18, key: key?.toBytes() ?? EMPTY }
      writeFileSync(join(folder, 'client.keytab'), Keytab.of([new KeytabEntry(entry)]).toBytes(), { mode: 0o600 })
      vi.stubEnv('KRB5_CLIENT_KTNAME', join(folder, 'client.keytab'))
    }
    const EMPTY = new Uint8Array(0)
    const KINDS = ['KCM:', 'KEYRING:persistent:0', 'API:1', 'MSLSA:', 'OTHER:x']

    test.each(KINDS)('%s: the client keytab logs in all the same', async (name) => {
      const one = bench()
      await withKeytab(one)
      vi.stubEnv('KRB5CCNAME', name)
      const byEnvironment = one.store({ kind: 'default', principal: undefined } as Origin)
      expect(`${(await byEnvironment.getTicket(WEB)).client}`).toBe(`bob@${REALM}`)
      vi.stubEnv('KRB5CCNAME', '')
      const config = Krb5Config.parse(`${CONFIG_TEXT}[libdefaults]\n default_ccache_name = ${name}`)
      const byFile = one.store({ kind: 'default', principal: undefined } as Origin)
      expect(`${(await byFile.getTicket(WEB, { config })).client}`).toBe(`bob@${REALM}`)
    })

    test('without a keytab, or with one that cannot be read, the error names both', async () => {
      const one = bench()
      vi.stubEnv('KRB5CCNAME', 'KEYRING:persistent:0')
      const usual = () => one.store({ kind: 'default', principal: undefined } as Origin).getTicket(WEB)
      await expect(usual()).rejects.toThrow(
        /"KEYRING:persistent:0" cannot be read: .*; the client keytab: there is none/,
      )
      vi.stubEnv('KRB5_CLIENT_KTNAME', join(folder, 'none.keytab'))
      await expect(usual()).rejects.toThrow(code('CACHE_TYPE_UNSUPPORTED'))
      await expect(usual()).rejects.toThrow(/KEYRING.*none\.keytab" does not exist/)
    })

    test('a cache that the program names is used or fails', async () => {
      const one = bench()
      await withKeytab(one)
      const named = one.store({ kind: 'cache', name: 'KCM:', principal: undefined } as Origin)
      await expect(named.getTicket(WEB)).rejects.toThrow(code('CACHE_TYPE_UNSUPPORTED'))
    })
  })

  describe('F32 an entry of a cache that is no DER', () => {
    const junk = Uint8Array.of(0x61, 0x05, 1, 2)
    /** The saved cache with another content for the tickets of some services. */
    async function spoil(isSpoilt: (server: Principal) => boolean): Promise<void> {
      const cache = await systemFiles().readCache(`FILE:${cc()}`)
      const credentials = cache.credentials.map((one) =>
        isSpoilt(one.server) ? new CachedCredential({ ...one, key: one.keyBytes(), ticket: junk }) : one,
      )
      await systemFiles().writeCache(`FILE:${cc()}`, { ...cache, credentials })
    }
    async function savedWith(...services: readonly Principal[]): Promise<Bench> {
      const one = bench()
      const store = one.store()
      for (const service of services) await store.getTicket(service)
      await store.save(cc())
      return one
    }
    const isOf = (service: Principal) => (server: Principal) => server.equals(service)

    test('keeps no other ticket from being used or listed', async () => {
      const one = await savedWith(WEB, OTHER)
      await spoil(isOf(OTHER))
      const before = one.count(TGS_REQ)
      const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
      await store.getTicket(WEB)
      expect(one.count(TGS_REQ)).toBe(before)
      const { tickets } = await CredentialCache.load(cc())
      expect(tickets.map(({ ticketEnctype }) => ticketEnctype)).toEqual([18, 18, undefined])
    })

    test('is fetched again when it is wanted, and takes its place', async () => {
      const one = await savedWith(WEB)
      await spoil(isOf(WEB))
      const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
      expect((await store.getTicket(WEB)).server.equals(WEB)).toBe(true)
      expect((await CredentialCache.load(cc())).tickets.map(({ ticketEnctype }) => ticketEnctype)).toEqual([18, 18])
    })

    test('is an error that names cache and ticket when it is the login', async () => {
      const one = await savedWith(WEB)
      await spoil(({ components }) => components[0] === 'krbtgt')
      const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
      const error = await store.getTicket(OTHER).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'CACHE_MALFORMED', hint: expect.stringContaining('kinit') })
      expect(String(error)).toContain(`${cc()}": the ticket for krbtgt/${REALM}@${REALM} is malformed`)
    })
  })

  test('F30: a cache that its owner may not write gets no ticket, and serves', async () => {
    const one = bench()
    await one.store().save(cc())
    const before = readFileSync(cc())
    for (const mode of [0o400, 0o440, 0o444]) {
      chmodSync(cc(), mode)
      const store = one.store({ kind: 'cache', name: cc(), principal: undefined } as Origin)
      expect((await store.getTicket(WEB)).server.name).toBe('HTTP/web.example.test')
      expect([readFileSync(cc()), statSync(cc()).mode & 0o777]).toEqual([before, mode])
    }
    await one.store().save(cc()) // a login that was asked for makes a new file
    expect(statSync(cc()).mode & 0o777).toBe(0o600)
  })

  test('a ticket that is fetched again takes the place of the old one', async () => {
    const made = bench()
    await made.store().save(cc())
    const cached = { kind: 'cache', name: cc(), principal: undefined } as const
    await made.store(cached).getTicket(WEB)
    made.offset = 23 * 3600e6 + 3595e6 // the last seconds: not to be used any more
    await made.store().save(join(folder, 'fresh'))
    const before = await systemFiles().readCache(`FILE:${cc()}`)
    const tgt = (await systemFiles().readCache(`FILE:${join(folder, 'fresh')}`)).credentials
    const services = before.credentials.filter((one) => one.server.equals(WEB))
    await systemFiles().writeCache(`FILE:${cc()}`, { ...before, credentials: [...tgt, ...services] })
    await made.store(cached).getTicket(WEB)
    const after = await systemFiles().readCache(`FILE:${cc()}`)
    expect(services).toHaveLength(1)
    expect(after.credentials.filter((one) => one.server.equals(WEB))).toHaveLength(1)
    expect(made.count(MESSAGE.TGS_REQ)).toBe(2)
  })

  test('a postdated ticket-granting ticket is refused here', async () => {
    const made = bench()
    await made.store().save(cc())
    made.offset = -3600e6
    const store = made.store({ kind: 'cache', name: cc(), principal: undefined })
    await expect(store.getTicket(WEB)).rejects.toThrow(code('TICKET_NOT_YET_VALID'))
    expect(made.count(MESSAGE.TGS_REQ)).toBe(0)
  })
})

describe('callers who meet', () => {
  test('a ticket that was under way when the cache became another user’s is used for nobody', async () => {
    const made = bench()
    await made.store().save(cc())
    const store = made.store({ kind: 'cache', name: cc(), principal: undefined })
    let release: () => void = () => {}
    made.hold = new Promise((resolve) => {
      release = resolve
    })
    const first = store.getTicket(WEB)
    await vi.waitFor(() => expect(made.requests.at(-1)).toBe(MESSAGE.TGS_REQ))
    made.hold = undefined // for those that come later
    const bob = made.store({ kind: 'password', principal: 'bob', password: utf8("bob's secret") })
    await bob.save(join(folder, 'bob'))
    await systemFiles().writeCache(`FILE:${cc()}`, await systemFiles().readCache(`FILE:${join(folder, 'bob')}`))
    await store.getTicket(new Principal(['HTTP', 'other.example.test'], REALM))
    release()
    expect((await first).client.toString()).toBe(`alice@${REALM}`)
    expect((await store.getTicket(WEB)).client.toString()).toBe(`bob@${REALM}`)
    expect((await store.getTicketGrantingTicket()).client.toString()).toBe(`bob@${REALM}`)
  })

  test('each leaves at its own deadline; one with more time tries again', async () => {
    const made = bench()
    made.hold = new Promise(() => {})
    const store = made.store()
    const patient = store.getTicketGrantingTicket({ timeoutMs: 60_000 })
    await expect(store.getTicketGrantingTicket({ timeoutMs: 30 })).rejects.toThrow(code('KDC_TIMEOUT'))
    expect(made.count(MESSAGE.AS_REQ)).toBe(1)
    void patient.catch(() => {})

    const late = bench()
    let asked = 0
    const world: World = {
      ...late.world,
      transport: {
        async exchange(to, protocol, message, options) {
          if (asked++ > 0) return late.world.transport.exchange(to, protocol, message, options)
          await new Promise((resolve) => setTimeout(resolve, options.timeoutMs))
          throw new NetworkError('KDC_TIMEOUT', 'no answer in time')
        },
      },
    }
    const origin: Origin = { kind: 'password', principal: 'alice', password: utf8("alice's secret") }
    const shared = new CredentialStore(origin, world, ONE_KDC)
    const hasty = shared.getTicketGrantingTicket({ timeoutMs: 50 })
    const slow = shared.getTicketGrantingTicket({ timeoutMs: 60_000 })
    await expect(hasty).rejects.toThrow(code('KDC_TIMEOUT'))
    expect((await slow).client.toString()).toBe(`alice@${REALM}`)
  })

  test('a KDC that answers nonsense over TCP does not keep anybody from the next', async () => {
    const made = bench()
    const world: World = {
      ...made.world,
      transport: {
        async exchange(to, protocol, message, options) {
          if (to.host === 'first.test') return Uint8Array.of(1, 2, 3)
          return made.world.transport.exchange(to, protocol, message, options)
        },
      },
    }
    const origin: Origin = { kind: 'password', principal: 'alice', password: utf8("alice's secret") }
    const two = Krb5Config.parse(TWO_KDCS, 'krb5.conf')
    const ticket = await new CredentialStore(origin, world, two).getTicketGrantingTicket()
    expect(ticket.client.toString()).toBe(`alice@${REALM}`)
    const alone = Krb5Config.parse(TWO_KDCS.replace(' kdc = kdc.test\n', ''), 'krb5.conf')
    await expect(new CredentialStore(origin, world, alone).getTicketGrantingTicket()).rejects.toThrow(code('MALFORMED'))
  })
})

describe('K91 a realm without a KDC', () => {
  const failure = async (realm: string, config = CONFIG) =>
    bench()
      .store({ principal: `alice@${realm}` } as Origin)
      .getTicketGrantingTicket({ config })
      .catch((error: unknown) => error)

  test('in another case than in krb5.conf: the letters to write', async () => {
    expect(await failure('example.test')).toMatchObject({
      code: 'KDC_UNKNOWN',
      hint: expect.stringContaining(`krb5.conf has "${REALM}"`),
    })
  })

  test('another one: those that are there', async () => {
    const hint = expect.stringMatching(/^Add "EXAMPLE\.TSET = .* It has "EXAMPLE\.TEST"\.$/)
    expect(await failure('EXAMPLE.TSET')).toMatchObject({ code: 'KDC_UNKNOWN', hint })
    const none = expect.not.stringContaining('It has')
    expect(await failure('X.TEST', Krb5Config.parse(''))).toMatchObject({ hint: none })
  })

  test('with KDC proxies alone: that is said', async () => {
    const config = Krb5Config.parse(CONFIG_TEXT.replace('kdc = kdc.test', 'kdc = https://kdc.test/KdcProxy'))
    const error = await failure(REALM, config)
    expect(error).toMatchObject({ code: 'KDC_UNKNOWN', message: expect.stringContaining('KDC proxies alone') })
  })
})

describe('K90 a replica that lags behind the primary KDC', () => {
  const PRIMARY = TWO_KDCS.replace(
    ' kdc = first.test\n kdc = kdc.test\n',
    ' kdc = replica.test\n primary_kdc = kdc.test\n',
  )

  /** Two KDCs, each with its own database, and the hosts that were sent a message. */
  function replicated(text = PRIMARY): {
    readonly primary: Bench
    readonly replica: Bench
    readonly asked: string[]
    store(origin?: Partial<Origin>, config?: Krb5Config): CredentialStore
  } {
    const [primary, replica] = [bench(), bench()]
    const asked: string[] = []
    const world: World = {
      ...primary.world,
      transport: {
        async exchange(to, protocol, message, options) {
          asked.push(to.host)
          const { transport } = (to.host === 'replica.test' ? replica : primary).world
          return transport.exchange(to, protocol, message, options)
        },
      },
    }
    const mine = { kind: 'password', principal: 'alice', password: utf8('the new secret') }
    const store = (origin: Partial<Origin> = {}, config = Krb5Config.parse(text)) =>
      new CredentialStore({ ...mine, ...origin } as Origin, world, config)
    return { primary, replica, asked, store }
  }
  const ALICE = new Principal(['alice'], REALM)

  test('a password that was changed, and a user who is new, log in there', async () => {
    for (const text of [PRIMARY, PRIMARY.replace('primary_kdc', 'master_kdc')]) {
      const { primary, asked, store } = replicated(text)
      primary.database.setPassword(ALICE, 'the new secret')
      await store().getTicketGrantingTicket()
      expect(asked).toEqual(['replica.test', 'replica.test', 'kdc.test', 'kdc.test'])
      primary.database.addUser(new Principal(['dora'], REALM), 'the new secret')
      await store({ principal: 'dora' } as Origin).getTicketGrantingTicket()
      expect(asked.slice(4)).toEqual(['replica.test', 'kdc.test', 'kdc.test'])
    }
  })

  test('a password that is wrong everywhere is sent twice, and the primary KDC has the last word', async () => {
    const { primary, replica, asked, store } = replicated()
    await expect(store().getTicketGrantingTicket()).rejects.toThrow(code('KDC_ERR_PREAUTH_FAILED'))
    expect([primary.count(AS_REQ), replica.count(AS_REQ)]).toEqual([2, 2])
    expect(asked).toHaveLength(4)
  })

  test('it is not asked again when it was the one that refused', async () => {
    const { asked, store } = replicated(PRIMARY.replace('replica.test', 'KDC.test'))
    await expect(store().getTicketGrantingTicket()).rejects.toThrow(code('KDC_ERR_PREAUTH_FAILED'))
    expect(asked).toEqual(['KDC.test', 'KDC.test'])
  })

  test('it is not asked after another failure', async () => {
    const { asked, store } = replicated()
    const withoutKeys = Krb5Config.parse(`${PRIMARY}[libdefaults]\n permitted_enctypes = aes-sha2\n`)
    await expect(store({}, withoutKeys).getTicketGrantingTicket()).rejects.toThrow(code('KDC_ERR_ETYPE_NOSUPP'))
    expect(asked).not.toContain('kdc.test')
  })

  test('when it cannot be reached the first refusal stands', async () => {
    const { primary, store } = replicated()
    primary.fail = new Error('away')
    await expect(store().getTicketGrantingTicket()).rejects.toThrow(code('KDC_ERR_PREAUTH_FAILED'))
  })
})
