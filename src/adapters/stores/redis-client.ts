import { UsageError } from '../../errors.ts'
import { invalid } from '../../options.ts'

/** What is needed of a client of `ioredis` 5 or 6. */
export interface IoredisClient {
  pipeline(commands: string[][]): { exec(): Promise<[error: Error | null, result: unknown][] | null> }
  on(event: string, listener: () => void): unknown
}

/** What is needed of a client of `redis` (node-redis) 4, 5 or 6. */
export interface NodeRedisClient {
  sendCommand(words: string[]): Promise<unknown>
  on(event: string, listener: () => void): unknown
}

export type RedisClient = IoredisClient | NodeRedisClient

/** One reply: its value, or the error in its place. */
export type Reply = { readonly value: unknown; readonly error?: undefined } | { readonly error: unknown }

/** A connection to Redis, whoever made it. */
export interface Connection {
  /** Sends the commands in one write, to one server, in this order; gives as many replies. Rejects when it cannot. */
  send(commands: string[][]): Promise<readonly Reply[]>
  /** Calls when the connection was lost, and when there is a new one; maybe more often. */
  onChange(changed: (isUp: boolean) => void): void
}

/** Knows a client by its shape: neither package is loaded here. */
export function connectionOf(client: unknown): Connection {
  if (typeof client !== 'object' || client === null) throw notAClient(client)
  if (isMany(client)) throw ofMany()
  if (has(client, 'pipeline') && has(client, 'on')) return ofIoredis(client as IoredisClient)
  if (has(client, 'sendCommand') && has(client, 'on')) return ofNodeRedis(client as NodeRedisClient)
  throw notAClient(client)
}

function ofIoredis(client: IoredisClient): Connection {
  return {
    async send(commands) {
      // Its pipeline knows commands by its own methods, which are in lower case.
      const lower = commands.map(([command = '', ...words]) => [command.toLowerCase(), ...words])
      const replies = await client.pipeline(lower).exec()
      return (replies ?? []).map(([error, value]) => (error === null ? { value } : { error }))
    },
    onChange: (changed) => listen(client, ['close', 'end'], changed),
  }
}

function ofNodeRedis(client: NodeRedisClient): Connection {
  return {
    // What is sent in one turn of the event loop goes in one write: node-redis has no other pipeline without a transaction.
    send: (commands) => Promise.all(commands.map((words) => reply(client.sendCommand(words)))),
    onChange: (changed) => listen(client, ['reconnecting', 'end'], changed),
  }
}

function reply(answer: Promise<unknown>): Promise<Reply> {
  return answer.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
}

function listen(client: RedisClient, lost: readonly string[], changed: (isUp: boolean) => void): void {
  for (const event of lost) client.on(event, () => changed(false))
  client.on('ready', () => changed(true))
}

function has(client: object, method: string): boolean {
  return typeof (client as Record<string, unknown>)[method] === 'function'
}

/** Clients of a Redis Cluster, and pools: a shard that is replaced forgets its part unseen, and a pool sends two commands over two connections. */
function isMany(client: object): boolean {
  return 'isCluster' in client ? client.isCluster === true : 'masters' in client || 'totalClients' in client
}

function ofMany(): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', 'redisReplayStore: a Redis Cluster, or a pool of clients', {
    hint: 'Give it one client of one Redis server: new Redis(url) of ioredis, or createClient({ url }) of redis.',
  })
}

function notAClient(found: unknown): UsageError {
  return invalid('redisReplayStore', 'a client of ioredis or redis', found)
}
