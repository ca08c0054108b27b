import { EventEmitter } from 'node:events'
import type { RedisClient } from '../../../src/entries/redis.ts'

/** A Redis of a few commands, and clients of the shapes of ioredis and of node-redis before it. Time is the test's. */
export class FakeRedis {
  readonly data: Map<string, { value: string; end: number }> = new Map()
  /** Milliseconds. */
  time = 1_900_000_000_000
  startedAt: number = this.time - 3_600_000
  maxmemory = '0'
  policy = 'noeviction'
  /** What each command gives instead of its reply; undefined: that. */
  instead: ((words: readonly string[]) => unknown) | undefined
  readonly commands: string[][] = []
  /** How often something was sent, whatever was in it. */
  writes = 0

  /** As after a restart without persistence. */
  restart(): void {
    this.data.clear()
    this.startedAt = this.time
  }

  run(words: readonly string[]): unknown {
    this.commands.push([...words])
    const instead = this.instead?.(words)
    if (instead instanceof Error) throw instead
    if (instead !== undefined) return instead === UNDEFINED ? undefined : instead
    const [command = '', key = '', value = '', ...rest] = words
    const found = this.data.get(key)
    const entry = found !== undefined && found.end > this.time ? found : undefined
    switch (command) {
      case 'INFO':
        return key === 'memory'
          ? `# Memory\r\nused_memory:1\r\nmaxmemory:${this.maxmemory}\r\nmaxmemory_policy:${this.policy}\r\n`
          : `# Server\r\nuptime_in_seconds:${Math.floor((this.time - this.startedAt) / 1000)}\r\n`
      case 'GET':
        return entry?.value ?? null
      case 'EXISTS':
        return entry === undefined ? 0 : 1
      case 'PTTL':
        return entry === undefined ? -2 : entry.end - this.time
      case 'SET': {
        if (rest.includes('NX') && entry !== undefined) return null
        this.data.set(key, { value, end: this.time + Number(rest[rest.indexOf('PX') + 1]) })
        return 'OK'
      }
      default:
        throw new Error(`ERR unknown command '${command}'`)
    }
  }
}

/** A reply that is not there at all. */
export const UNDEFINED: unique symbol = Symbol('undefined')

export interface FakeClient {
  readonly client: RedisClient & EventEmitter
  /** Replies wait until they are let go, or fail. */
  hold(): void
  letGo(error?: Error): void
  /** As each of the two tells it. */
  lose(): void
  restore(): void
}

class Gate {
  #waiting: ((error?: Error) => void)[] = []
  #isClosed = false

  async pass(): Promise<void> {
    if (!this.#isClosed) return
    await new Promise<void>((resolve, reject) =>
      this.#waiting.push((error) => (error === undefined ? resolve() : reject(error))),
    )
  }

  close(): void {
    this.#isClosed = true
  }

  open(error?: Error): void {
    this.#isClosed = false
    for (const settle of this.#waiting.splice(0)) settle(error)
  }
}

function fakeClient(client: RedisClient & EventEmitter, gate: Gate, lost: string): FakeClient {
  return {
    client,
    hold: () => gate.close(),
    letGo: (error) => gate.open(error),
    lose: () => void client.emit(lost),
    restore: () => void client.emit('ready'),
  }
}

/** Errors stand in the reply of their command; what befalls the connection befalls each. */
export function likeIoredis(redis: FakeRedis): FakeClient {
  const gate = new Gate()
  const one = ([method = '', ...words]: string[]): [Error | null, unknown] => {
    try {
      return [null, redis.run([method.toUpperCase(), ...words])]
    } catch (error) {
      return [error as Error, undefined]
    }
  }
  const client = Object.assign(new EventEmitter(), {
    isCluster: false,
    sendCommand: () => Promise.reject(new Error('takes a Command')),
    pipeline(commands: string[][]) {
      for (const [method = ''] of commands) if (!/^[a-z]+$/.test(method)) throw new TypeError(`${method}: no method`)
      return {
        async exec(): Promise<[Error | null, unknown][] | null> {
          redis.writes++
          try {
            await gate.pass()
          } catch (error) {
            return commands.map(() => [error as Error, undefined])
          }
          return commands.map(one)
        },
      }
    },
  })
  return fakeClient(client, gate, 'close')
}

/** Each command has a promise of its own. */
export function likeNodeRedis(redis: FakeRedis): FakeClient {
  const gate = new Gate()
  let isWriting = false
  const client = Object.assign(new EventEmitter(), {
    isReady: true,
    async sendCommand(words: string[]): Promise<unknown> {
      if (!isWriting) {
        isWriting = true
        redis.writes++
        setImmediate(() => {
          isWriting = false
        })
      }
      await gate.pass()
      return redis.run(words)
    },
  })
  return fakeClient(client, gate, 'reconnecting')
}
