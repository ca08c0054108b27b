import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdtempSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials, KerberosTicket, Krb5Config } from '../../src/entries/index.ts'
import { kinit, labFolder, Peer, removeFolder, run, runBeside, withEnvironment } from './lab.ts'

/** Two processes behind nginx, which asks them in turn, and Debian's redis-server behind both; tickets are MIT's. */

let base: string
let kdc: Peer
let redis: Peer
let keytab: string
let environment: Record<string, string>
let putBack: () => void
let newToken: () => Promise<string>

beforeAll(async () => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  redis = Peer.start('redis', base)
  keytab = join(base, 'http.keytab')
  copyFileSync(join(kdc.get('MIT_KEYTABS'), 'http.keytab'), keytab)
  chmodSync(keytab, 0o600)
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  putBack = withEnvironment(environment)
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
  const config = await Krb5Config.load(kdc.get('KRB5_CONFIG'))
  const credentials = Credentials.fromCache(cache)
  newToken = async () => (await KerberosTicket.for('HTTP@localhost', { credentials, config })).authorization
})

afterAll(() => {
  putBack?.()
  redis?.stop()
  kdc?.stop()
  removeFolder(base)
})

/** A process that serves, with a client of that kind. */
class Served {
  readonly port: number
  readonly #process: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#process = child
    this.port = port
  }

  static async start(client: string, redisPort = redis.get('REDIS_PORT')): Promise<Served> {
    const script = fileURLToPath(new URL('stores-server.mjs', import.meta.url))
    const env = { ...process.env, NODE_OPTIONS: '', CLIENT: client, KEYTAB: keytab, REDIS_PORT: redisPort }
    const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data')
    return new Served(child, Number(String(line)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.kill()
    await ended
  }
}

/** Two of them, and nginx. */
class Pair implements AsyncDisposable {
  readonly servers: readonly [Served, Served]
  readonly port: number
  readonly #nginx: Peer

  private constructor(servers: readonly [Served, Served], nginx: Peer) {
    this.servers = servers
    this.#nginx = nginx
    this.port = Number(nginx.get('NGINX_PORT'))
  }

  static async start(client: string): Promise<Pair> {
    const servers = [await Served.start(client), await Served.start(client)] as const
    const to = servers.flatMap(({ port }) => ['--to', String(port)])
    return new Pair(servers, Peer.start('nginx', mkdtempSync(join(base, 'n-')), ...to))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#nginx.stop()
    for (const server of this.servers) await server[Symbol.asyncDispose]()
  }
}

interface Answer {
  readonly status: number
  readonly process: string
  readonly retryAfter: string | undefined
  readonly ms: number
}

function get(port: number, authorization: string): Promise<Answer> {
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const headers = { host: `localhost:${port}`, authorization }
    const sent = request({ host: '127.0.0.1', port, agent: new Agent(), headers }, (response) => {
      response.resume()
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          process: String(response.headers['x-process']),
          retryAfter: response.headers['retry-after'],
          ms: performance.now() - started,
        }),
      )
    })
    sent.on('error', reject)
    sent.end()
  })
}

const CURL = ['-sS', '--max-time', '20', '--negotiate', '-u', ':']

/** A token of curl's, that no server has seen. */
async function curlsToken(): Promise<string> {
  let token = ''
  const server = createServer((req, res) => {
    token = req.headers.authorization ?? ''
    if (token === '') res.writeHead(401, { 'WWW-Authenticate': 'Negotiate' })
    res.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await runBeside('curl', [...CURL, `http://localhost:${(server.address() as AddressInfo).port}/`], environment)
  server.close()
  expect(token).toMatch(/^Negotiate Y/)
  return token
}

function cli(...words: string[]): string {
  const { status, stdout, stderr } = run('redis-cli', ['-p', redis.get('REDIS_PORT'), ...words], {})
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

/** How often Redis ran a command. */
function calls(command: string): number {
  return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(cli('INFO', 'commandstats'))?.[1] ?? 0)
}

async function statusOfNew(port: number): Promise<number> {
  return (await get(port, await newToken())).status
}

const ONE_OF_FIFTY = [200, ...Array.from({ length: 49 }, () => 401)]
const CLIENTS = ['ioredis', 'redis']

for (const client of CLIENTS) {
  describe(`[nginx] two processes with ${client}`, () => {
    let pair: Pair
    beforeAll(async () => {
      pair = await Pair.start(client)
    })
    afterAll(() => pair?.[Symbol.asyncDispose]())

    test('curl logs in, by way of either process', async () => {
      for (const { port } of [pair, ...pair.servers]) {
        const { stdout } = await runBeside('curl', [...CURL, `http://localhost:${port}/`], environment)
        expect(stdout).toBe('Hello alice@MIT.TEST')
      }
    })

    test('S46 fifty parallel copies of curl’s token: exactly one is accepted, whichever process', async () => {
      for (const token of [await curlsToken(), await newToken()]) {
        const answers = await Promise.all(Array.from({ length: 50 }, () => get(pair.port, token)))
        expect(answers.map(({ status }) => status).sort()).toEqual(ONE_OF_FIFTY)
        expect(new Set(answers.map((answer) => answer.process)).size).toBe(2)
      }
    })

    test('S46 a replay to the other process: 401', async () => {
      const token = await curlsToken()
      const [first, second] = pair.servers
      expect((await get(first.port, token)).status).toBe(200)
      expect((await get(second.port, token)).status).toBe(401)
      expect((await get(pair.port, token)).status).toBe(401)
    })
  })

  describe(`[redis-server] behind ${client}`, () => {
    let server: Served
    beforeAll(async () => {
      server = await Served.start(client)
      await sleep(100)
    })
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]()
    })

    test('a login is one round trip', async () => {
      await using proxy = await CountingProxy.start(Number(redis.get('REDIS_PORT')))
      await using counted = await Served.start(client, String(proxy.port))
      expect(await statusOfNew(counted.port)).toBe(200)
      const before = [calls('set'), calls('get')]
      proxy.sent = 0
      for (let i = 0; i < 20; i++) expect(await statusOfNew(counted.port)).toBe(200)
      expect(proxy.sent).toBe(20)
      expect([calls('set'), calls('get')]).toEqual(before.map((count) => count + 20))
    })

    test('S47 slow by five seconds: 503 within the deadline, no copy accepted then or after', async () => {
      const used = await newToken()
      expect((await get(server.port, used)).status).toBe(200)
      const lost = await newToken()
      const slow = runBeside('redis-cli', ['-p', redis.get('REDIS_PORT'), 'DEBUG', 'SLEEP', '5'], {})
      await sleep(200)
      for (const answer of await Promise.all([used, lost, await newToken()].map((one) => get(server.port, one)))) {
        expect([answer.status, answer.retryAfter]).toEqual([503, '5'])
        expect(answer.ms).toBeLessThan(3000) // 1 s is usual; Redis sleeps for five
      }
      await slow
      expect((await get(server.port, used)).status).toBe(401)
      expect((await get(server.port, lost)).status).toBe(401)
      expect(await statusOfNew(server.port)).toBe(200)
    })

    test('S48 full: 503, nothing dropped, and logins again when there is room', async () => {
      const used = await newToken()
      expect((await get(server.port, used)).status).toBe(200)
      cli('CONFIG', 'SET', 'maxmemory', '1') // without eviction: the default
      const refused = await get(server.port, await newToken())
      const copy = await get(server.port, used)
      cli('CONFIG', 'SET', 'maxmemory', '0')
      expect([refused.status, refused.retryAfter, copy.status]).toEqual([503, '5', 503])
      expect((await get(server.port, used)).status).toBe(401)
      expect(await statusOfNew(server.port)).toBe(200)
    })

    test('S48 one that may drop keys is refused from the start, until it may not', async () => {
      cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '100mb')
      await using other = await Served.start(client)
      expect(await statusOfNew(other.port)).toBe(503)
      cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction', 'maxmemory', '0')
      expect(await statusOfNew(other.port)).toBe(200)
    })

    test('S46 emptied by FLUSHALL: older tokens are refused, newer ones are not', async () => {
      const used = await newToken()
      const unused = await newToken()
      expect((await get(server.port, used)).status).toBe(200)
      cli('FLUSHALL')
      expect((await get(server.port, used)).status).not.toBe(200)
      expect((await get(server.port, used)).status).toBe(401)
      expect((await get(server.port, unused)).status).toBe(401)
      expect(await statusOfNew(server.port)).toBe(200)
    })

    test('S46 ended and started again at once, empty: no copy of what was accepted a moment before', async () => {
      const used = await newToken()
      const other = await newToken()
      for (const token of [used, other]) expect((await get(server.port, token)).status).toBe(200)
      redis.stop()
      Peer.start('redis', base)
      const end = performance.now() + 20_000
      let last = 0
      while (last !== 401 && performance.now() < end) {
        last = (await get(server.port, used)).status
        expect(last).not.toBe(200)
      }
      expect(last).toBe(401)
      expect((await get(server.port, other)).status).toBe(401) // which this Redis has never seen
      expect(await statusOfNew(server.port)).toBe(200)
    })
  })
}

/** How many writes of a client's arrive. */
class CountingProxy implements AsyncDisposable {
  sent = 0
  port = 0
  readonly #server = createTcpServer()

  static async start(to: number): Promise<CountingProxy> {
    const proxy = new CountingProxy()
    proxy.#server.on('connection', (client) => {
      const server = connect(to, '127.0.0.1')
      client.on('data', (bytes) => {
        proxy.sent++
        server.write(bytes)
      })
      server.on('data', (bytes) => client.write(bytes))
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        one.setNoDelay()
        one.on('error', () => {})
        one.on('close', () => other.destroy())
      }
    })
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    proxy.port = (proxy.#server.address() as AddressInfo).port
    return proxy
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
  }
}

describe('[redis-server] an outage of twenty seconds under load, and then an empty Redis', () => {
  interface Seen extends Answer {
    readonly kind: 'new' | 'copy'
    readonly made: number
    readonly at: number
  }

  /** New tokens and copies of accepted ones, all the time, through nginx. */
  async function load(port: number, accepted: string[], isOver: () => boolean): Promise<readonly Seen[]> {
    const seen: Seen[] = []
    const one = async (kind: Seen['kind'], token: string): Promise<void> => {
      const made = performance.now()
      const answer = await get(port, token)
      seen.push({ ...answer, kind, made, at: performance.now() })
      if (answer.status === 200) accepted.push(token)
    }
    const open = new Set<Promise<void>>()
    const start = (kind: Seen['kind'], token: string) => {
      const running = one(kind, token).finally(() => open.delete(running))
      open.add(running)
    }
    while (!isOver()) {
      start('new', await newToken())
      for (const token of [accepted[0], accepted.at(-1)]) if (token !== undefined) start('copy', token)
      await sleep(50)
    }
    await Promise.all(open)
    return seen
  }

  const seen: Record<string, readonly Seen[]> = {}
  /** Of copies of all that was accepted before, sent when all was over. */
  const late: Record<string, readonly number[]> = {}
  let stopped = 0
  let restarted = 0
  beforeAll(async () => {
    const pairs = await Promise.all(CLIENTS.map((client) => Pair.start(client)))
    await sleep(200)
    let isOver = false
    const accepted = pairs.map((): string[] => [])
    const loads = pairs.map(({ port }, i) => load(port, accepted[i] ?? [], () => isOver))
    await sleep(2000)
    const old = accepted.map((tokens) => [...tokens])
    redis.stop()
    stopped = performance.now()
    await sleep(20_000)
    restarted = performance.now()
    Peer.start('redis', base)
    await sleep(8000)
    isOver = true
    for (const [i, client] of CLIENTS.entries()) {
      seen[client] = (await loads[i]) ?? []
      const copies = (old[i] ?? []).map((token) => get(pairs[i]?.port ?? 0, token))
      late[client] = (await Promise.all(copies)).map(({ status }) => status)
    }
    for (const pair of pairs) await pair[Symbol.asyncDispose]()
  })

  for (const client of CLIENTS) {
    describe(client, () => {
      const of = (kind: Seen['kind']) => (seen[client] ?? []).filter((one) => one.kind === kind)
      const statuses = (some: readonly Seen[]) => [...new Set(some.map(({ status }) => status))].sort()

      test('S47 only 503 in between, with Retry-After', () => {
        const during = (seen[client] ?? []).filter(({ made, at }) => made > stopped && at < restarted)
        expect(during.length).toBeGreaterThan(100)
        expect(statuses(during)).toEqual([503])
        expect(new Set(during.map(({ retryAfter }) => retryAfter))).toEqual(new Set(['5']))
        expect(Math.max(...during.map(({ ms }) => ms))).toBeLessThan(3000)
      })

      test('S46 no copy is accepted, at any time', () => {
        expect(of('copy').length).toBeGreaterThan(100)
        expect(statuses(of('copy'))).toEqual([401, 503])
        expect(
          of('copy')
            .filter(({ made }) => made > restarted + 5000)
            .every(({ status }) => status === 401),
        ).toBe(true)
      })

      test('S46 nor of any token from before, afterwards', () => {
        expect(late[client]?.length).toBeGreaterThan(20)
        expect(new Set(late[client])).toEqual(new Set([401]))
      })

      test('S47 logins again by themselves', () => {
        expect(statuses(of('new').filter(({ at }) => at < stopped - 500))).toEqual([200])
        const after = of('new').filter(({ made }) => made > restarted + 5000)
        expect(after.length).toBeGreaterThan(10)
        expect(statuses(after)).toEqual([200])
      })
    })
  }
})
