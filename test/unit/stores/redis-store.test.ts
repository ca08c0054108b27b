import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { Cluster as IoredisCluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { createClient, createClientPool, createCluster } from 'redis'
import { createClient as createClient4 } from 'redis4'
import { createClient as createClient5 } from 'redis5'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { MOST_WAITING } from '../../../src/adapters/stores/questions.ts'
import { type RedisReplayStoreOptions, type RedisStore, redisReplayStore } from '../../../src/entries/redis.ts'
import { KerberosError } from '../../../src/errors.ts'
import { acceptor, codeOf, keytab, mint, someKey } from '../../hostile/mint.ts'
import { FakeRedis, likeIoredis, likeNodeRedis, UNDEFINED } from './fake-redis.ts'

const UNAVAILABLE = { code: 'REPLAY_STORE_UNAVAILABLE' }
const MINUTE = 60_000
const LIFE = 301_000
const keyOf = (n: number) => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? n & 255 : i === 14 ? n >> 8 : i))
const hexOf = (key: Uint8Array) => Buffer.from(key).toString('hex')

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
})

const SHAPES = { ioredis: likeIoredis, redis: likeNodeRedis }

for (const [name, shape] of Object.entries(SHAPES)) {
  describe(`a client like ${name}`, () => {
    function setup(options: RedisReplayStoreOptions = {}, redis: FakeRedis = new FakeRedis()) {
      const fake = shape(redis)
      const store = redisReplayStore(fake.client, { now: () => redis.time, ...options })
      const check = async (n: number) => store.checkAndStore(keyOf(n), redis.time + LIFE)
      return { redis, store, check, ...fake }
    }

    /** When Redis and the store have met: the time it takes is that of promises alone. */
    async function met(options?: RedisReplayStoreOptions) {
      const all = setup(options)
      await sleep(2)
      all.redis.commands.length = 0
      all.redis.writes = 0
      return all
    }

    test('a login is one round trip: SET NX PX, and the marker', async () => {
      const { redis, store, check } = await met()
      expect(await check(1)).toBe('fresh')
      expect(redis.writes).toBe(1)
      expect(redis.commands).toEqual([
        ['SET', `spnego:replay:${hexOf(keyOf(1))}`, '1', 'NX', 'PX', String(LIFE + MINUTE)],
        ['GET', 'spnego:replay:since'],
      ])
      expect(await check(1)).toBe('replay')
      expect(await store.checkAndStore(keyOf(2), redis.time - 5)).toBe('fresh')
    })

    test('S44 a wall clock that is set back re-opens nothing that this process had accepted', async () => {
      let host = 1_900_000_000_000
      const { redis, store } = await met({ now: () => host })
      let passed = 0
      const started = performance.now()
      vi.spyOn(performance, 'now').mockImplementation(() => started + passed)
      const token = { time: host, client: 'alice@EXAMPLE.TEST' }
      const show = () => store.checkAndStore(keyOf(7), Math.max(token.time, host) + LIFE, token)
      expect(await show()).toBe('fresh')
      expect(await show()).toBe('replay')
      passed = 10 * MINUTE
      redis.time += 10 * MINUTE // the entry is gone, and the clock of the host is set back by nine minutes
      host += MINUTE
      await expect(show()).rejects.toMatchObject({ code: 'CLOCK_SET_BACK' })
      const later = { time: host, client: 'alice@EXAMPLE.TEST' }
      expect(await store.checkAndStore(keyOf(8), host + LIFE, later)).toBe('fresh')
    })

    test('checks of one turn share a round trip, and each has its own verdict', async () => {
      const { redis, check } = await met()
      await check(3)
      redis.commands.length = 0
      redis.writes = 0
      const verdicts = await Promise.all([1, 2, 1, 3, 4].map(check))
      expect(verdicts).toEqual(['fresh', 'fresh', 'replay', 'replay', 'fresh'])
      expect(redis.writes).toBe(1)
      expect(redis.commands.map(([command]) => command)).toEqual(['SET', 'SET', 'SET', 'SET', 'SET', 'GET'])
    })

    test('S48 one that finds no room leaves the others of its turn alone', async () => {
      const { redis, check } = await met()
      const key = `spnego:replay:${hexOf(keyOf(2))}`
      redis.instead = (words) => (words[1] === key ? new Error('OOM command not allowed') : undefined)
      const outcomes = await Promise.allSettled([1, 2, 3].map(check))
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    })

    test('the prefix is the caller’s', async () => {
      const { redis, check } = await met({ prefix: 'a{b}:' })
      await check(1)
      expect(redis.commands.map(([, key]) => key)).toEqual([`a{b}:${hexOf(keyOf(1))}`, 'a{b}:since'])
    })

    test('S46 two stores on one Redis: one of fifty copies', async () => {
      const redis = new FakeRedis()
      const stores = [setup({}, redis), setup({}, redis)]
      await sleep(2)
      const verdicts = await Promise.all(Array.from({ length: 50 }, (_, i) => stores[i % 2]?.check(7)))
      expect(verdicts.filter((one) => one === 'fresh').length).toBe(1)
      expect(verdicts.filter((one) => one === 'replay').length).toBe(49)
    })

    test.each([UNDEFINED, '', 'ok', 'QUEUED', true, 1, 0, ['OK'], {}])('S46 %j is no answer to SET', async (value) => {
      const { redis, check } = await met()
      redis.instead = ([command]) => (command === 'SET' ? value : undefined)
      await expect(check(1)).rejects.toMatchObject(UNAVAILABLE)
    })

    test('S46 fewer replies than commands let nobody in', async () => {
      const { client, check } = await met()
      Object.assign(client, { pipeline: () => ({ exec: async () => [] }), sendCommand: async () => undefined })
      await expect(check(1)).rejects.toMatchObject(UNAVAILABLE)
      Object.assign(client, { pipeline: () => ({ exec: async () => null }) })
      await expect(check(2)).rejects.toMatchObject(UNAVAILABLE)
    })

    test('S46 a Redis that has lost its memory re-opens nothing, and counts from then on', async () => {
      const { redis, store, check } = await met()
      const began = redis.time
      expect(await check(1)).toBe('fresh')
      expect(store.rememberedSince()).toBe(began)
      redis.time += 10_000
      redis.data.clear()
      await expect(check(1)).rejects.toMatchObject({ ...UNAVAILABLE, message: expect.stringContaining('lost') })
      expect(store.rememberedSince()).toBe(redis.time + 1000)
      await sleep(2)
      expect(await check(2)).toBe('fresh')
      expect(await check(2)).toBe('replay')
    })

    test('S46 also when another host has noticed it first: older tokens are refused, newer ones are not', async () => {
      const { redis, store, check } = await met()
      const other = setup({}, redis)
      await other.check(9)
      expect(await check(1)).toBe('fresh')
      redis.time += 10_000
      redis.data.clear()
      await expect(other.check(2)).rejects.toMatchObject(UNAVAILABLE)
      await expect(check(1)).rejects.toMatchObject(UNAVAILABLE)
      expect(await tokensAround(redis.time, store)).toEqual(['BEFORE_START', 'accepted'])
    })

    test('S46 one that was started from a snapshot counts from its start, whatever its marker says', async () => {
      const { redis, store, restore } = await met()
      const base = performance.now() - redis.time
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => base + redis.time)
      redis.time += 1_000_000
      redis.startedAt = redis.time - 2_000
      restore()
      await sleep(2)
      clock.mockRestore()
      expect(store.rememberedSince()).toBe(redis.time - 2_000 + 1000)
    })

    test('S43 a second start of the server remembers what the first has accepted', async () => {
      const redis = new FakeRedis()
      const first = setup({}, redis)
      await sleep(2)
      const began = redis.time
      redis.time += 50_000
      const second = setup({}, redis)
      expect(second.store.rememberedSince()).toBe(undefined)
      await sleep(2)
      expect(second.store.rememberedSince()).toBe(began)
      expect(await first.check(1)).toBe('fresh')
      expect(await second.check(1)).toBe('replay')
    })

    test('S47 a Redis that does not answer: refused at the deadline; what comes late is not heard; then it goes on', async () => {
      const { hold, letGo, check } = await met({ timeoutMs: 50 })
      hold()
      const outcome = check(1).then(
        () => 'accepted',
        (error) => error,
      )
      await sleep(70)
      letGo()
      expect(await outcome).toMatchObject({ ...UNAVAILABLE, message: 'Redis did not answer within 50 ms' })
      await sleep(2)
      expect(await check(1)).toBe('replay')
      expect(await check(2)).toBe('fresh')
    })

    test('S47 one deadline for all steps; what nobody waits for any more is not sent', async () => {
      const redis = new FakeRedis()
      const { hold, letGo, client } = shape(redis)
      hold()
      const store = redisReplayStore(client, { now: () => redis.time, timeoutMs: 40 })
      const started = performance.now()
      await expect(store.checkAndStore(keyOf(1), redis.time + LIFE)).rejects.toMatchObject(UNAVAILABLE)
      expect(performance.now() - started).toBeLessThan(20 * 40)
      letGo()
      await sleep(5)
      expect(redis.data.has(`spnego:replay:${hexOf(keyOf(1))}`)).toBe(false)
      expect(await store.checkAndStore(keyOf(1), redis.time + LIFE)).toBe('fresh')
    })

    test('S47 what was given up makes room: thrice as many as may wait, in an outage', async () => {
      const redis = new FakeRedis()
      const { hold, letGo, client } = shape(redis)
      hold()
      const store = redisReplayStore(client, { now: () => redis.time, timeoutMs: 30 })
      for (let round = 0; round < 3; round++) {
        const checks = Array.from({ length: MOST_WAITING }, async (_, i) =>
          store.checkAndStore(keyOf(i), redis.time + LIFE),
        )
        expect((await Promise.allSettled(checks)).every(({ status }) => status === 'rejected')).toBe(true)
      }
      letGo()
      await sleep(5)
      expect(await store.checkAndStore(keyOf(1), redis.time + LIFE)).toBe('fresh')
    })

    test('S47 an answer over another connection than the question’s is none', async () => {
      const { hold, letGo, lose, check } = await met()
      hold()
      const outcome = check(1).catch((error) => error)
      await sleep(1)
      lose()
      letGo()
      expect(await outcome).toMatchObject({ ...UNAVAILABLE, message: expect.stringContaining('was lost') })
      expect(await check(2)).toBe('fresh')
    })

    test('S47 a connection that breaks: the cause is there; with the next one it goes on', async () => {
      const { hold, letGo, lose, restore, check } = await met()
      hold()
      const cause = new Error('ECONNRESET')
      const outcome = check(1).catch((error) => error)
      await sleep(1)
      letGo(cause)
      expect(await outcome).toMatchObject({ ...UNAVAILABLE, cause })
      lose()
      restore()
      expect(await check(2)).toBe('fresh')
    })

    test('S47 bounded: what is over it is refused at once, until Redis answers again', async () => {
      const { hold, letGo, check, redis } = await met({ timeoutMs: 5000 })
      hold()
      const waiting = Array.from({ length: MOST_WAITING }, (_, i) => check(i))
      await expect(check(1)).rejects.toMatchObject({ ...UNAVAILABLE, message: expect.stringContaining('wait') })
      letGo()
      expect(new Set(await Promise.all(waiting))).toEqual(new Set(['fresh']))
      expect(redis.writes).toBeLessThanOrEqual(MOST_WAITING)
      expect(await check(MOST_WAITING)).toBe('fresh')
    })

    test('S48 a full Redis: refused, with what to do; then it goes on', async () => {
      const { redis, check } = await met()
      redis.instead = ([command]) =>
        command === 'SET' ? new Error("OOM command not allowed when used memory > 'maxmemory'.") : undefined
      await expect(check(1)).rejects.toMatchObject({ ...UNAVAILABLE, hint: expect.stringContaining('maxmemory') })
      redis.instead = undefined
      expect(await check(1)).toBe('fresh')
    })

    test('S48 a Redis that may drop keys is refused; unless that is said to be wanted', async () => {
      const redis = new FakeRedis()
      Object.assign(redis, { maxmemory: '104857600', policy: 'allkeys-lru' })
      const hint = expect.stringContaining('maxmemory-policy noeviction')
      await expect(setup({}, redis).check(1)).rejects.toMatchObject({ ...UNAVAILABLE, hint })
      expect(redis.data.has(`spnego:replay:${hexOf(keyOf(1))}`)).toBe(false)
      expect(await setup({ dangerouslyAllowEviction: true }, redis).check(1)).toBe('fresh')
      redis.policy = 'noeviction'
      expect(await setup({}, redis).check(2)).toBe('fresh')
      Object.assign(redis, { maxmemory: '0', policy: 'allkeys-lru' }) // never full, so never drops
      expect(await setup({}, redis).check(3)).toBe('fresh')
    })

    test('a Redis that does not let INFO through: a warning, once, and it goes on', async () => {
      const warnings = vi.mocked(process.emitWarning)
      const redis = new FakeRedis()
      redis.instead = ([command]) => (command === 'INFO' ? new Error('NOPERM no permissions') : undefined)
      const { check, restore } = setup({}, redis)
      expect(await check(1)).toBe('fresh')
      restore()
      await sleep(2)
      expect(await check(2)).toBe('fresh')
      expect(warnings.mock.calls.length).toBe(1)
      expect(warnings.mock.calls[0]?.[0]).toContain('noeviction')
    })

    test('S46 without INFO each new connection counts as a restart: tokens and sessions from before are refused', async () => {
      const redis = new FakeRedis()
      redis.instead = ([command]) => (command === 'INFO' ? new Error('NOPERM no permissions') : undefined)
      const { store, check, lose, restore } = setup({}, redis)
      await sleep(2)
      expect(await check(1)).toBe('fresh')
      const snapshot = new Map(redis.data)
      redis.time += 10 * MINUTE
      expect(await check(2)).toBe('fresh')
      expect(store.rememberedSince()).toBe(redis.time - 10 * MINUTE)
      redis.data.clear() // killed, and started from its last snapshot
      for (const [key, value] of snapshot) redis.data.set(key, value)
      lose()
      restore()
      await sleep(2)
      expect(store.rememberedSince()).toBeGreaterThan(redis.time) // by the acceptor's tolerance
    })

    test('S43 a lost connection to the same Redis changes nothing of that', async () => {
      const { redis, store, check, lose, restore } = await met()
      const began = redis.time
      redis.time += 10_000
      for (const change of [lose, restore]) {
        change()
        expect(await check(redis.commands.length)).toBe('fresh')
        expect(store.rememberedSince()).toBe(began)
      }
    })

    test.each([
      ['GET', null],
      ['GET', 5],
      ['PTTL', -1],
      ['PTTL', 'x'],
      ['PTTL', null],
    ])('S46 a first look that is answered wrongly (%s: %j) lets nobody in', async (command, value) => {
      const redis = new FakeRedis()
      redis.instead = ([word]) => (word === command ? value : undefined)
      const { check } = setup({}, redis)
      if (value === null) redis.instead = ([word]) => (word === command ? UNDEFINED : undefined)
      await expect(check(1)).rejects.toMatchObject(UNAVAILABLE)
      redis.instead = undefined
      expect(await check(1)).toBe('fresh')
    })

    test('sessions: revoked until they would have ended', async () => {
      const { redis, store } = await met()
      expect(await store.isRevoked('abc-_9')).toBe(false)
      await store.revoke('abc-_9', redis.time + 5000)
      expect(redis.commands.at(-2)).toEqual(['SET', 'spnego:replay:revoked:abc-_9', '1', 'PX', String(5000 + MINUTE)])
      expect([await store.isRevoked('abc-_9'), await store.isRevoked('abc')]).toEqual([true, false])
      redis.time += 5000 + MINUTE
      expect(await store.isRevoked('abc-_9')).toBe(false)
    })

    test('S46 sessions: a Redis that has lost its memory is noticed with the answer', async () => {
      const { redis, store } = await met()
      await store.revoke('abc', redis.time + LIFE)
      redis.time += 10_000
      redis.data.clear()
      expect(await store.isRevoked('abc')).toBe(false)
      expect(store.rememberedSince()).toBe(redis.time + 1000) // so that older sessions count as ended
    })

    test('sessions: an outage, a full Redis and nonsense are errors, not answers', async () => {
      const { redis, store, hold, letGo } = await met({ timeoutMs: 30 })
      for (const value of [2, '1', true, 'OK', UNDEFINED, new Error('OOM command not allowed')]) {
        redis.instead = ([command]) => (command === 'EXISTS' || command === 'SET' ? value : undefined)
        await expect(store.isRevoked('a')).rejects.toMatchObject(UNAVAILABLE)
        if (value !== 'OK') await expect(store.revoke('a', redis.time + 1)).rejects.toMatchObject(UNAVAILABLE)
      }
      hold()
      await expect(store.isRevoked('a')).rejects.toMatchObject(UNAVAILABLE)
      letGo()
      for (const id of ['', 'a b', 'a:b', 'ü', 'a'.repeat(129), 5, undefined]) {
        await expect(store.isRevoked(id as string)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
        await expect(store.revoke(id as string, 1)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
      }
      await expect(store.revoke('a', Number.NaN)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    })

    test('nothing of an error but its code, message and hint speaks, and the key is no secret', async () => {
      const { redis, check } = await met()
      redis.instead = () => new Error('ERR anything')
      const error = await check(1).catch((one) => one)
      expect(error).toBeInstanceOf(KerberosError)
      expect(error.message).toBe('Redis answered with an error')
    })

    test('a Map that forgets by the clock agrees', async () => {
      const action = fc.record({
        key: fc.nat({ max: 20 }),
        advance: fc.nat({ max: 200_000 }),
        life: fc.integer({ min: 1, max: LIFE }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
          const { redis, store } = setup()
          await store.isRevoked('met')
          const ends = new Map<number, number>()
          for (const { key, advance, life } of actions) {
            redis.time += advance
            const known = (ends.get(key) ?? 0) > redis.time
            const verdict = await store.checkAndStore(keyOf(key), redis.time + life)
            expect(verdict).toBe(known ? 'replay' : 'fresh')
            if (!known) ends.set(key, redis.time + life + MINUTE)
          }
        }),
        { numRuns: 60 },
      )
    })
  })
}

const serviceKey = someKey(18)
/** A token of a moment before that time, and one of a moment after, at an acceptor with that store. */
async function tokensAround(time: number, replayStore: RedisStore): Promise<string[]> {
  const now = time * 1000
  const { context } = acceptor({ keytab: keytab({ key: serviceKey }), replayStore, now: () => now })
  const steps = [-1e3, 1e3].map((apart) => context().step(mint(serviceKey, { now: now + apart }).spnego))
  return Promise.all(steps.map(codeOf))
}

describe('clients', () => {
  const open: { disconnect(): void }[] = []
  afterEach(() => {
    for (const one of open.splice(0)) one.disconnect()
  })

  test('real ones are known by their shape, also before they are connected', () => {
    const settings = { lazyConnect: true, port: 1, retryStrategy: () => null }
    for (const client of [new Redis(settings), new Redis5(settings)]) {
      client.on('error', () => {})
      open.push(client)
      expect(redisReplayStore(client).rememberedSince()).toBe(undefined)
    }
    for (const client of [createClient(), createClient4(), createClient5()]) {
      expect(redisReplayStore(client).rememberedSince()).toBe(undefined)
    }
  })

  test('S47 one that was never connected is a 503 by its own words', async () => {
    const store = redisReplayStore(createClient())
    await expect(store.checkAndStore(keyOf(1), Date.now() + LIFE)).rejects.toMatchObject({
      ...UNAVAILABLE,
      cause: expect.objectContaining({ message: expect.stringContaining('closed') }),
    })
  })

  test('many servers are refused: each remembers its own part', () => {
    const cluster = new IoredisCluster([{ port: 1 }], { lazyConnect: true })
    for (const client of [cluster, createCluster({ rootNodes: [] }), createClientPool()]) {
      expect(() => redisReplayStore(client as never)).toThrow(expect.objectContaining({ code: 'OPTION_UNSUPPORTED' }))
    }
  })

  test.each([undefined, null, 5, 'redis://localhost', {}, [], { pipeline: true, on() {} }, { sendCommand() {} }])(
    '%j is no client',
    (client) => {
      expect(() => redisReplayStore(client as never)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    },
  )

  test('options are held to their types', () => {
    const { client } = likeIoredis(new FakeRedis())
    const wrong = [
      { prefix: '' },
      { prefix: 5 },
      { timeoutMs: 0 },
      { timeoutMs: 1.5 },
      { timeoutMs: 60_001 },
      { dangerouslyAllowEviction: 1 },
      { now: 5 },
    ]
    for (const options of wrong) {
      expect(() => redisReplayStore(client, options as never)).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID' }),
      )
    }
    expect(() => redisReplayStore(client, { timeout: 5 } as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_UNKNOWN' }),
    )
  })

  test('S40 a key of another length, or no time, is the caller’s error', () => {
    const store = redisReplayStore(likeIoredis(new FakeRedis()).client)
    expect(() => store.checkAndStore(new Uint8Array(15), Date.now())).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
    expect(() => store.checkAndStore(keyOf(1), Number.NaN)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})
