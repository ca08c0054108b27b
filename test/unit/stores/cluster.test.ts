import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KerberosTicket } from '../../../src/entries/index.ts'
import { type Credentials, TestRealm } from '../../../src/entries/testing.ts'
import { build } from '../../build.ts'

/** Four real workers of `node:cluster` and their primary, against the embedded realm. */

const CHILD = fileURLToPath(new URL('cluster-child.mjs', import.meta.url))

let built: string
let realm: TestRealm
let credentials: Credentials
beforeAll(async () => {
  built = await build()
  realm = await TestRealm.start({ users: { alice: 'secret' } })
  credentials = await realm.login('alice')
}, 60_000)
afterAll(async () => {
  await realm.stop()
  await rm(built, { recursive: true, force: true })
})

interface Told {
  readonly pid?: number
  readonly port?: number
  readonly ownPort?: number
  readonly ended?: number
  readonly error?: { readonly name: string; readonly code: string; readonly hint: string; readonly message: string }
}
interface Up {
  readonly pid: number
  readonly port: number
  readonly ownPort: number
}

/** A primary with its workers; what they tell comes in order. */
class Cluster implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #told: Told[] = []

  constructor(settings: Record<string, string>) {
    const keytab = join(built, 'http.keytab')
    const environment = { BUILT: built, KEYTAB: keytab, WORKERS: '4', ...settings }
    this.#process = spawn(process.execPath, [CHILD], {
      env: { ...process.env, NODE_OPTIONS: '', ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream })
    lines.on('line', (line) => this.#told.push(JSON.parse(line) as Told))
  }

  async wait<T>(find: (told: readonly Told[]) => T | undefined): Promise<T> {
    const end = performance.now() + 15_000
    for (;;) {
      const found = find(this.#told)
      if (found !== undefined) return found
      if (performance.now() > end) throw new Error(`not told: ${JSON.stringify(this.#told)}`)
      await sleep(10)
    }
  }

  workers(count = 4): Promise<readonly Up[]> {
    return this.wait((told) => {
      const up = told.filter((one): one is Up => one.ownPort !== undefined)
      return up.length >= count ? up : undefined
    })
  }

  error(): Promise<NonNullable<Told['error']>> {
    return this.wait((told) => told.find(({ error }) => error !== undefined)?.error)
  }

  tell(command: string): void {
    this.#process.stdin?.write(`${command}\n`)
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGCONT')
    this.#process.kill('SIGKILL') // Node ends workers whose primary is gone
    await ended
  }
}

async function started(settings: Record<string, string>): Promise<Cluster> {
  const { writeFile } = await import('node:fs/promises')
  await writeFile(join(built, 'http.keytab'), realm.keytab('HTTP/localhost').toBytes(), { mode: 0o600 })
  return new Cluster(settings)
}

async function newToken(): Promise<string> {
  return (await KerberosTicket.for('HTTP@localhost', { credentials })).authorization
}

interface Answer {
  readonly status: number
  readonly worker: number
  readonly retryAfter: string | undefined
  readonly ms: number
}

/** One request, over a connection of its own unless an agent keeps one. */
function get(port: number, authorization: string, agent: Agent | false = false): Promise<Answer> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', agent, headers: { authorization } }, (response) => {
      response.resume()
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          worker: Number(response.headers['x-worker']),
          retryAfter: response.headers['retry-after'],
          ms: performance.now() - start,
        }),
      )
    })
    sent.on('error', reject)
    sent.end()
  })
}

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status).sort()
const ONE_OF_FIFTY = [200, ...Array.from({ length: 49 }, () => 401)]

for (const serialization of ['json', 'advanced']) {
  describe(`four workers, messages as ${serialization}`, () => {
    const settings = { PRIMARY: 'answers', SERIALIZATION: serialization }

    test('S46 fifty parallel copies of a token on one port: exactly one is accepted', async () => {
      await using cluster = await started(settings)
      const [{ port }] = (await cluster.workers()) as [Up]
      for (let round = 0; round < 3; round++) {
        const token = await newToken()
        const answers = await Promise.all(Array.from({ length: 50 }, () => get(port, token)))
        expect(statuses(answers)).toEqual(ONE_OF_FIFTY)
        expect(new Set(answers.map(({ worker }) => worker)).size).toBeGreaterThan(1)
      }
    })

    test('S46 the same, to each worker by name; and one after the other', async () => {
      await using cluster = await started(settings)
      const workers = await cluster.workers()
      const token = await newToken()
      const ports = Array.from({ length: 50 }, (_, i) => workers[i % 4]?.ownPort ?? 0)
      expect(statuses(await Promise.all(ports.map((port) => get(port, token))))).toEqual(ONE_OF_FIFTY)
      const later = await newToken()
      const inTurn: number[] = []
      for (const { ownPort } of workers) inTurn.push((await get(ownPort, later)).status)
      expect(inTurn).toEqual([200, 401, 401, 401])
    })
  })
}

describe('the primary', () => {
  test('S43 remembers longer than a worker lives: a new one accepts what is older than itself, and no replay', async () => {
    await using cluster = await started({ PRIMARY: 'answers' })
    const [first] = (await cluster.workers()) as [Up]
    const used = await newToken()
    const unused = await newToken()
    expect((await get(first.ownPort, used)).status).toBe(200)
    await sleep(1200) // longer than an authenticator may be older than what remembers it
    cluster.tell('fork')
    const fifth = (await cluster.workers(5))[4] as Up
    expect((await get(fifth.ownPort, used)).status).toBe(401)
    expect((await get(fifth.ownPort, unused)).status).toBe(200)
  })

  test('S47 that is silent: 503 within the deadline, nothing accepted, and logins again by themselves', async () => {
    await using cluster = await started({ PRIMARY: 'answers' })
    const [a, b] = (await cluster.workers()) as [Up, Up]
    const used = await newToken()
    expect((await get(a.ownPort, used)).status).toBe(200)
    const lost = await newToken()
    cluster.signal('SIGSTOP')
    const answers = await Promise.all([get(b.ownPort, used), get(a.ownPort, lost), get(b.ownPort, lost)])
    for (const { status, retryAfter, ms } of answers) {
      expect([status, retryAfter]).toEqual([503, '5'])
      expect(ms).toBeLessThan(20_000) // a watchdog: 1 s is usual
    }
    cluster.signal('SIGCONT')
    expect((await get(b.ownPort, used)).status).toBe(401)
    expect((await get(a.ownPort, lost)).status).toBe(401) // its question was answered, too late
    expect((await get(b.ownPort, await newToken())).status).toBe(200)
  })

  test('S47 that only claims to answer: 503', async () => {
    await using cluster = await started({ PRIMARY: 'only says so', WORKERS: '1' })
    const [only] = (await cluster.workers(1)) as [Up]
    expect((await get(only.ownPort, await newToken())).status).toBe(503)
  })

  test('S47 that is killed: its workers accept nothing any more', async () => {
    await using cluster = await started({ PRIMARY: 'answers' })
    const [a, b] = (await cluster.workers()) as [Up, Up]
    const used = await newToken()
    expect((await get(a.ownPort, used)).status).toBe(200)
    cluster.signal('SIGKILL')
    const outcome = (port: number, token: string) =>
      get(port, token).then(
        ({ status }) => status,
        () => 0,
      )
    const end = performance.now() + 10_000
    for (let last = -1; last !== 0 && performance.now() < end; await sleep(20)) {
      last = await outcome(b.ownPort, used)
      expect(last).not.toBe(200)
    }
    expect(await outcome(b.ownPort, await newToken())).toBe(0)
  })

  test('S47 that lets go of a worker: what still comes over its connections is 503', async () => {
    await using cluster = await started({ PRIMARY: 'answers', WORKERS: '1' })
    const [only] = (await cluster.workers(1)) as [Up]
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    expect((await get(only.ownPort, await newToken(), agent)).status).toBe(200)
    const next = await newToken()
    cluster.tell(`disconnect ${only.pid}`)
    await sleep(300)
    expect(await get(only.ownPort, next, agent)).toMatchObject({ status: 503, retryAfter: '5' })
    agent.destroy()
  })

  test('S48 whose store is full: 503', async () => {
    await using cluster = await started({ PRIMARY: 'answers for two', WORKERS: '2' })
    const [a, b] = (await cluster.workers(2)) as [Up, Up]
    const used = await newToken()
    const asked: number[] = []
    for (const token of [used, await newToken(), await newToken()]) asked.push((await get(a.ownPort, token)).status)
    expect(asked).toEqual([200, 200, 503])
    expect((await get(b.ownPort, used)).status).toBe(401)
  })

  test('S46 and a worker survive messages that are none of theirs', async () => {
    await using cluster = await started({ PRIMARY: 'answers', WORKERS: '1' })
    const [only] = (await cluster.workers(1)) as [Up]
    cluster.tell('rubbish')
    expect((await get(only.ownPort, await newToken())).status).toBe(200)
  })
})

describe('without a primary that answers', () => {
  const LINE = 'if (cluster.isPrimary) useClusterReplayStore()'

  test('S49 a worker does not start, and the hint is the line to write', async () => {
    await using cluster = await started({ WORKERS: '1' })
    const { name, code, hint } = await cluster.error()
    expect([name, code]).toEqual(['ConfigError', 'REPLAY_STORE_NEEDED'])
    expect(hint).toContain(LINE)
    expect(hint).toContain("import cluster from 'node:cluster'")
    expect(hint).toContain("import { useClusterReplayStore } from 'spnego/server'")
  })

  test('S49 nor with a memory of its own, whatever the primary does', async () => {
    await using alone = await started({ WORKERS: '1', STORE: 'memory' })
    await using served = await started({ WORKERS: '1', STORE: 'memory', PRIMARY: 'answers' })
    for (const { code, hint } of [await alone.error(), await served.error()]) {
      expect(code).toBe('REPLAY_STORE_NEEDED')
      expect(hint).toContain(LINE)
    }
  })

  test('dangerouslyPerProcess starts, and accepts a token once in each process', async () => {
    await using cluster = await started({ WORKERS: '2', STORE: 'danger' })
    const [a, b] = (await cluster.workers(2)) as [Up, Up]
    const token = await newToken()
    const asked: number[] = []
    for (const { ownPort } of [a, b, a]) asked.push((await get(ownPort, token)).status)
    expect(asked).toEqual([200, 200, 401])
  })
})
