import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fromBase64, toBase64 } from '../../src/bytes/base64.ts'
import type { NegotiateFetchOptions } from '../../src/entries/fetch.ts'
import { type Acceptor, Credentials, createAcceptor, Krb5Config } from '../../src/entries/index.ts'
import { TestRealm } from '../../src/entries/testing.ts'
import { CLIENTS, type Client } from '../unit/adapters-client/clients.ts'
import { CHALLENGE, type Script, Site, type Tls } from '../unit/http-client/site.ts'
import { vectors } from '../vectors.ts'

/**
 * A server that authenticates the connection, as IIS may: after a login, whatever comes on that connection is that user's, also what brings no token
 * or another's. Who shares a connection with somebody else is taken for him.
 */

const OTHER_NAME = 'web1.corp.example'

let realm: TestRealm
let acceptors: readonly (readonly [string, Acceptor])[]
let users: { readonly alice: Credentials; readonly bob: Credentials }

beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const services = ['HTTP/localhost', `HTTP/${OTHER_NAME}`]
  const passwords = { alice: 'secret', bob: 'builder' }
  realm = await TestRealm.start({ users: passwords, services, okAsDelegate: ['HTTP/localhost'] })
  const open = async (service: string) =>
    [service, await createAcceptor({ keytab: realm.keytab(service), principal: service, delegation: true })] as const
  acceptors = await Promise.all(services.map(open))
  users = { alice: await realm.login('alice'), bob: await realm.login('bob') }
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  vi.restoreAllMocks()
  for (const [, acceptor] of acceptors) await acceptor.close()
  await realm.stop()
})

/** What a login says: who, to whom, and whether the login went along. */
async function accept(token: string): Promise<{ who: string; proof: string }> {
  for (const [service, acceptor] of acceptors) {
    const context = acceptor.createContext()
    const step = await context.step(fromBase64(token, 'token')).catch(() => undefined)
    if (step === undefined) continue
    const forwarded = context.flags.has('delegate') ? ', forwarded' : ''
    return { who: `${context.peer} at ${service}${forwarded}`, proof: toBase64(step.token ?? new Uint8Array()) }
  }
  throw new Error('nobody accepts the token')
}

interface BoundServer {
  readonly script: Script
  /** Requests on a connection that had a user already. */
  readonly ridden: () => number
  /** Logins on a connection of somebody else's. */
  readonly shared: readonly string[]
}

/** Below /public nobody needs a login; below /refused a login is refused after the connection has become its user's. */
function boundServer(chance: () => number): BoundServer {
  const owners = new Map<number, string>()
  const shared: string[] = []
  let ridden = 0
  return {
    shared,
    ridden: () => ridden,
    script: async ({ token, connection, url }) => {
      if (chance() < 0.5) await setTimeout(chance() * 4)
      const close: Record<string, string> = chance() < 0.05 ? { connection: 'close' } : {}
      const accepted = token === undefined ? undefined : await accept(token)
      const owner = owners.get(connection)
      if (owner !== undefined) ridden++
      if (owner !== undefined && owner !== accepted?.who) shared.push(`${accepted?.who ?? 'nobody'} as ${owner}`)
      if (owner === undefined && accepted !== undefined) owners.set(connection, accepted.who)
      const proof = accepted && { 'www-authenticate': `Negotiate ${accepted.proof}` }
      if (url.startsWith('/refused') && accepted !== undefined) return { ...CHALLENGE, body: 'no' }
      const who = owner ?? accepted?.who
      if (who === undefined && !url.startsWith('/public')) return CHALLENGE
      return { headers: { ...proof, ...close }, body: who ?? 'nobody' }
    },
  }
}

/** The users of a client; `nobody` has one that never logs in. */
type User = 'alice' | 'bob' | 'alice, forwarding her login' | 'nobody'
const USERS: readonly User[] = ['alice', 'bob', 'alice, forwarding her login', 'nobody']

/** Who asks, by which name of the server, and who that is there. One client of alice's asks by both names. */
interface Caller {
  readonly user: User
  readonly query: string
  readonly who: string
}

const CALLERS: readonly Caller[] = [
  { user: 'alice', query: '', who: 'alice@EXAMPLE.TEST at HTTP/localhost' },
  { user: 'alice', query: `?${OTHER_NAME}`, who: `alice@EXAMPLE.TEST at HTTP/${OTHER_NAME}` },
  { user: 'bob', query: '', who: 'bob@EXAMPLE.TEST at HTTP/localhost' },
  { user: 'alice, forwarding her login', query: '', who: 'alice@EXAMPLE.TEST at HTTP/localhost, forwarded' },
  { user: 'nobody', query: '', who: 'nobody' },
]

function optionsOf(user: User, origin: string): NegotiateFetchOptions | undefined {
  const { alice, bob } = users
  const own = { config: realm.config, origins: [origin] }
  switch (user) {
    case 'alice':
      return { ...own, credentials: alice, targetName: ({ search }) => `HTTP@${search.slice(1) || 'localhost'}` }
    case 'bob':
      return { ...own, credentials: bob }
    case 'alice, forwarding her login':
      return { ...own, credentials: alice, delegate: true, delegateTo: [origin] }
    case 'nobody':
      return undefined
  }
}

/** `STATUS body` of a GET. */
type Get = (url: string) => Promise<string>

/** A client library: one row each. */
interface Row {
  readonly name: string
  /** A token goes with every request, so that no request of a user is anonymous. */
  readonly unasked: boolean
  /** Makes a client; without options one that never logs in. */
  client(options: NegotiateFetchOptions | undefined): Get
}

/** Of the same clients: a caller who never logs in has one without this package, over connections of his own. */
function rowsOf({ name, answers, open }: Client): readonly Row[] {
  const plain: Get = async (url) => {
    const response = await globalThis.fetch(url)
    return `${response.status} ${await response.text()}`
  }
  const row = (preemptive: boolean): Row => ({
    name: preemptive ? `${name}, preemptive` : name,
    unasked: preemptive,
    client(options) {
      if (options === undefined) return plain
      const call = open(preemptive ? { ...options, preemptive } : options)
      return async (url) => {
        const { status, text } = await call(url)
        return `${status} ${text}`
      }
    },
  })
  return answers ? [row(false), row(true)] : [row(true)]
}

const ROWS: readonly Row[] = CLIENTS.filter(({ owns }) => owns).flatMap(rowsOf)

const PATHS = ['/private', '/public', '/refused'] as const

/** What each caller must be told there. */
function expected({ user, who }: Caller, path: (typeof PATHS)[number], unasked: boolean): string {
  if (path === '/public') return `200 ${unasked ? who : 'nobody'}`
  if (user === 'nobody') return '401 who are you?'
  return path === '/refused' ? '401 no' : `200 ${who}`
}

/** mulberry32: the same order in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The more clients, the more connections before one is used again. */
const requestsOf = (rows: readonly Row[]): number => 120 + 60 * rows.length
const AT_ONCE = 12

/** Callers of all rows, mixed at random, at one server; returns what was answered wrongly. */
async function mixed(rows: readonly Row[], tls: Tls | undefined, seed: number) {
  const chance = seeded(seed)
  const server = boundServer(chance)
  await using site = await Site.start(server.script, tls)
  const clients = rows.map((row) => {
    const gets = new Map(USERS.map((user) => [user, row.client(optionsOf(user, site.url))]))
    return { ...row, get: (user: User, url: string) => gets.get(user)?.(url) }
  })
  const pick = <T>(from: readonly T[]) => from[Math.floor(chance() * from.length)] as T
  const wrong: string[] = []
  let left = requestsOf(rows)
  const work = async () => {
    while (left-- > 0) {
      const { name, get, unasked } = pick(clients)
      const caller = pick(CALLERS)
      const path = chance() < 0.6 ? '/private' : pick(PATHS)
      const answer = await get(caller.user, `${site.url}${path}${caller.query}`)?.catch(String)
      const wanted = expected(caller, path, unasked)
      if (answer !== wanted) wrong.push(`${name}: ${caller.user} ${path}: ${answer} instead of ${wanted}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return { wrong, shared: server.shared, ridden: server.ridden(), requests: site.seen.length, opened: site.connections }
}

function certificate(): Tls {
  const { certificate_b64: body, key_pem: key } =
    vectors<{ id: string; certificate_b64: string; key_pem: string }>('certificates').find(
      ({ id }) => id === 'rsa-sha256',
    ) ?? {}
  if (body === undefined || key === undefined) throw new Error('no certificate')
  return { key, cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----` }
}

describe.each([
  ['http', undefined],
  ['https', certificate()],
])('C50 C51 C52 C53 a server that authenticates the connection, %s', (_, tls) => {
  const each: (readonly [string, readonly Row[]])[] = ROWS.map((row) => [row.name, [row]])
  test.each([...each, ['all of them', ROWS] as const])('%s: nobody is taken for another', async (_name, rows) => {
    const { wrong, shared, ridden, requests, opened } = await mixed(rows, tls, 1)
    expect(wrong).toEqual([])
    expect(shared).toEqual([])
    // Else nothing was proved: most connections were used again, and many by their user.
    expect(opened).toBeLessThan(requests / 3)
    expect(ridden).toBeGreaterThan(requestsOf(rows) / 4)
  })
})

describe('the user’s default cache, at such a server', () => {
  let before: string | undefined
  let cache: string
  beforeAll(async () => {
    before = process.env['KRB5CCNAME']
    cache = `FILE:${join(await mkdtemp(join(tmpdir(), 'cache-')), 'cc')}`
    process.env['KRB5CCNAME'] = cache
  })
  afterAll(() => {
    if (before === undefined) delete process.env['KRB5CCNAME']
    else process.env['KRB5CCNAME'] = before
  })

  /** A login that the KDC will not forward: so the same user comes once with it, once without. */
  async function unforwardable(): Promise<Credentials> {
    const text = await readFile(realm.environment.KRB5_CONFIG, 'utf8')
    const config = Krb5Config.parse(text.replace('forwardable = true', 'forwardable = false'))
    const credentials = Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret')
    await credentials.login({ config })
    return credentials
  }

  test.each(ROWS)('C52 $name: it changes hands while requests are under way, and no connection does', async (row) => {
    const server = boundServer(seeded(2))
    await using site = await Site.start(server.script)
    const get = row.client({ config: realm.config, origins: [site.url], delegate: 'policy', delegateTo: [site.url] })
    const ask = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, i) => get(`${site.url}/${i % 4 === 0 ? 'public' : 'private'}`)))
    const logins = [
      [users.alice, '200 alice@EXAMPLE.TEST at HTTP/localhost, forwarded'],
      [users.bob, '200 bob@EXAMPLE.TEST at HTTP/localhost, forwarded'],
      [await unforwardable(), '200 alice@EXAMPLE.TEST at HTTP/localhost'],
      [users.alice, '200 alice@EXAMPLE.TEST at HTTP/localhost, forwarded'],
    ] as const
    await users.alice.save(cache)
    const anybody = ['200 nobody', ...logins.map(([, answer]) => answer)]
    for (const [credentials, answer] of logins) {
      const underWay = ask(12)
      await credentials.save(cache)
      for (const one of await underWay) expect(anybody).toContain(one)
      const wanted = new Set(row.unasked ? [answer] : [answer, '200 nobody'])
      for (let i = 0; i < 3; i++) expect(new Set(await ask(8))).toEqual(wanted)
    }
    expect(server.shared).toEqual([])
    expect(server.ridden()).toBeGreaterThan(30)
  })
})
