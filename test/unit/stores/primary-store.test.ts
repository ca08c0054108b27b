import cluster, { type Worker } from 'node:cluster'
import { EventEmitter } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  answerWorkers,
  type PrimaryChannel,
  PrimaryReplayStore,
  primaryAnswers,
} from '../../../src/adapters/stores/cluster.ts'
import { MOST_WAITING } from '../../../src/adapters/stores/questions.ts'
import { dangerouslyPerProcess, useClusterReplayStore } from '../../../src/entries/server.ts'
import { defaultReplayStore } from '../../../src/entries/wiring/replay-store.ts'
import { clockSetBack } from '../../../src/krb5/exchange/index.ts'

/** Both ends of the channel between a worker and its primary, each against a made-up other. */

const END = 1_900_000_000_000
const UNAVAILABLE = { code: 'REPLAY_STORE_UNAVAILABLE' }
const keyOf = (n: number) => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? n & 255 : i === 14 ? n >> 8 : i))

interface Sent {
  readonly spnegoReplay: string
  readonly id: number
  readonly keys: readonly string[]
  readonly ends: readonly number[]
}

/** A channel whose other end is the test. */
class Channel extends EventEmitter implements PrimaryChannel {
  readonly sent: Sent[] = []
  failure: Error | null = null

  send(message: unknown, _handle: undefined, _options: undefined, done: (error: Error | null) => void): void {
    this.sent.push(message as Sent)
    process.nextTick(done, this.failure)
  }

  answer(change: object = {}): void {
    const { spnegoReplay, id, keys } = this.sent.at(-1) as Sent
    this.emit('message', { spnegoReplay, id, since: 5, verdicts: 'f'.repeat(keys.length), ...change })
  }
}

describe('a worker', () => {
  let channel: Channel
  let store: PrimaryReplayStore
  beforeEach(() => {
    channel = new Channel()
    store = new PrimaryReplayStore(channel)
  })

  test('asks in one message for all that came in one turn, and hands each its own verdict', async () => {
    const checks = Array.from({ length: 64 }, (_, i) => store.checkAndStore(keyOf(i), END + i))
    await turn()
    expect(channel.sent.map(({ keys }) => keys.length)).toEqual([64])
    expect(channel.sent[0]?.ends).toEqual(checks.map((_, i) => END + i))
    channel.answer({ verdicts: Array.from({ length: 64 }, (_, i) => (i % 3 === 0 ? 'f' : 'r')).join('') })
    expect(await Promise.all(checks)).toEqual(checks.map((_, i) => (i % 3 === 0 ? 'fresh' : 'replay')))
    expect(store.rememberedSince()).toBe(5)
  })

  test('S44 is told that the clock was set back', async () => {
    const check = store.checkAndStore(keyOf(0), END, { time: END, client: 'alice@EXAMPLE.TEST' })
    await turn()
    expect(channel.sent[0]).toMatchObject({ times: [END], clients: ['alice@EXAMPLE.TEST'] })
    channel.answer({ verdicts: 'g' })
    await expect(check).rejects.toMatchObject({ code: 'CLOCK_SET_BACK' })
  })

  test('listens while it waits, and no longer', async () => {
    const check = store.checkAndStore(keyOf(1), END)
    await turn()
    expect(channel.listenerCount('message')).toBe(1)
    channel.answer()
    await check
    expect(channel.listenerCount('message')).toBe(0)
  })

  test('S46 takes no answer to another store of the same worker, nor to another question', async () => {
    const check = store.checkAndStore(keyOf(1), END)
    await turn()
    channel.answer({ spnegoReplay: 'another' })
    channel.answer({ id: 77 })
    for (const message of [null, undefined, 5, 'text', [], {}]) channel.emit('message', message)
    channel.answer({ verdicts: 'r' })
    expect(await check).toBe('replay')
  })

  test.each([
    { verdicts: 'ff' },
    { verdicts: '' },
    { verdicts: 'F' },
    { verdicts: ['f'] },
    { verdicts: undefined },
    { verdicts: 'x' },
  ])('S48 %j lets nobody in', async (change) => {
    const check = store.checkAndStore(keyOf(1), END)
    await turn()
    channel.answer(change)
    await expect(check).rejects.toMatchObject({ ...UNAVAILABLE, hint: expect.stringContaining('maxEntries') })
  })

  test('S47 a channel that is closed, or none', async () => {
    channel.failure = new Error('closed')
    await expect(store.checkAndStore(keyOf(1), END)).rejects.toMatchObject({ ...UNAVAILABLE, cause: channel.failure })
    expect(channel.listenerCount('message')).toBe(0)
    const nowhere = new PrimaryReplayStore(new EventEmitter())
    await expect(nowhere.checkAndStore(keyOf(1), END)).rejects.toMatchObject(UNAVAILABLE)
  })

  test('S47 an answer after the deadline changes nothing; the next question is heard', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const check = store.checkAndStore(keyOf(1), END).catch((error) => error)
    await turn()
    vi.advanceTimersByTime(1000)
    channel.answer()
    expect(await check).toMatchObject({ ...UNAVAILABLE, hint: expect.stringContaining('useClusterReplayStore()') })
    vi.useRealTimers()
    const next = store.checkAndStore(keyOf(2), END)
    await turn()
    channel.answer()
    expect(await next).toBe('fresh')
  })

  test('S47 waits with a bounded number of questions; what is over is refused at once, until answers come', async () => {
    const checks = Array.from({ length: MOST_WAITING }, (_, i) => store.checkAndStore(keyOf(i), END))
    await expect(store.checkAndStore(keyOf(0), END)).rejects.toMatchObject(UNAVAILABLE)
    await turn()
    channel.answer()
    await Promise.all(checks)
    const next = store.checkAndStore(keyOf(0), END)
    await turn()
    channel.answer()
    expect(await next).toBe('fresh')
  })
})

describe('a primary', () => {
  const announced = process.env['SPNEGO_CLUSTER_REPLAY_STORE']
  afterEach(() => {
    cluster.removeAllListeners('message')
    if (announced === undefined) delete process.env['SPNEGO_CLUSTER_REPLAY_STORE']
  })

  /** What it says to a message of a worker. */
  function reply(message: unknown): unknown {
    const answers: unknown[] = []
    const worker = { send: (answer: unknown) => answers.push(answer) } as unknown as Worker
    cluster.emit('message', worker, message)
    return answers[0]
  }
  const question = { spnegoReplay: 'w', id: 3, keys: ['00'.repeat(16)], ends: [END] }

  test('S46 says of each key whether it is new, and since when it remembers', () => {
    useClusterReplayStore({ now: () => 1_899_999_999_000 })
    const twice = { ...question, keys: [...question.keys, ...question.keys], ends: [END, END] }
    expect(reply(twice)).toEqual({ spnegoReplay: 'w', id: 3, since: 1_899_999_999_000, verdicts: 'fr' })
    expect(reply(question)).toMatchObject({ verdicts: 'r' })
  })

  test('is announced to its workers, and answers once however often it is told to', () => {
    expect(primaryAnswers()).toBe(false)
    useClusterReplayStore()
    useClusterReplayStore({ maxEntries: 1 })
    expect(primaryAnswers()).toBe(true)
    expect(cluster.listenerCount('message')).toBe(1)
  })

  test('S49 servers of the primary share what answers its workers, whichever began first', () => {
    const [one, other] = [() => END - 1000, () => END - 1000]
    useClusterReplayStore({ now: one })
    expect(defaultReplayStore(one).checkAndStore(new Uint8Array(16), END)).toBe('fresh')
    expect(reply(question)).toMatchObject({ verdicts: 'r' })
    cluster.removeAllListeners('message')
    expect(defaultReplayStore(other).checkAndStore(new Uint8Array(16), END)).toBe('fresh')
    useClusterReplayStore({ now: other })
    expect(reply(question)).toMatchObject({ verdicts: 'r' })
  })

  test('S44, S100 knows the times and the clients of authenticators, and who has no room', () => {
    const known = { ...question, times: [1_900_000_000_000], clients: ['alice@EXAMPLE.TEST'] }
    const check = vi.fn<(...all: unknown[]) => 'fresh'>(() => 'fresh')
    answerWorkers({ checkAndStore: check })
    expect(reply(known)).toMatchObject({ verdicts: 'f' })
    expect(reply(question)).toMatchObject({ verdicts: 'f' })
    const details = { time: 1_900_000_000_000, client: 'alice@EXAMPLE.TEST' }
    expect(check.mock.calls.map(([, , third]) => third)).toEqual([details, undefined])
    check.mockImplementation(() => {
      throw clockSetBack()
    })
    expect(reply(known)).toMatchObject({ verdicts: 'g' })
    for (const wrong of [{ times: [] }, { times: ['1'] }, { clients: [1] }, { clients: 'a' }]) {
      expect(reply({ ...known, ...wrong })).toBeUndefined()
    }
  })

  test('S48 full', () => {
    useClusterReplayStore({ maxEntries: 1 })
    const three = ['01', '02', '01'].map((text) => text.repeat(16))
    expect(reply({ ...question, keys: three, ends: [END, END, END] })).toMatchObject({ verdicts: 'fxr' })
  })

  test('S46 what is no question gets no answer and does no harm', () => {
    const check = vi.fn(() => 'fresh' as const)
    answerWorkers({ checkAndStore: check })
    const wrong = [
      { spnegoReplay: undefined },
      { spnegoReplay: 7 },
      { id: '3' },
      { keys: 'keys' },
      { keys: ['00'] },
      { keys: [question.keys] },
      { keys: [null] },
      { keys: ['zz'.repeat(16)] },
      { ends: [] },
      { ends: 'e' },
      { ends: [Number.NaN] },
      { ends: ['1'] },
      { keys: Array(MOST_WAITING + 1).fill('00'.repeat(16)), ends: Array(MOST_WAITING + 1).fill(END) },
    ]
    for (const change of wrong)
      expect(reply({ ...question, ...change }), JSON.stringify(change).slice(0, 80)).toBe(undefined)
    for (const message of [undefined, null, 1, 'text', [], {}]) expect(reply(message)).toBe(undefined)
    expect(check).not.toHaveBeenCalled()
    expect(reply(question)).toMatchObject({ verdicts: 'f' })
  })

  test('options are held to their types', () => {
    expect(() => useClusterReplayStore({ maxEntries: 0 })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    expect(() => useClusterReplayStore({ most: 1 } as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_UNKNOWN' }),
    )
    expect(() => dangerouslyPerProcess({ most: 1 } as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_UNKNOWN' }),
    )
    expect(primaryAnswers()).toBe(false)
  })
})

test('A30 nothing keeps the process alive', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const store = new PrimaryReplayStore(new Channel())
  void store.checkAndStore(keyOf(1), END).catch(() => {})
  await sleep(1)
  expect(timers()).toBeLessThanOrEqual(before)
})
