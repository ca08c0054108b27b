/** `spnego/redis`: one memory for servers on many hosts. */
import { type RedisReplayStoreOptions, RedisStore } from '../adapters/stores/redis.ts'
import type { RedisClient } from '../adapters/stores/redis-client.ts'

export type { RedisReplayStoreOptions, RedisStore } from '../adapters/stores/redis.ts'
export type { IoredisClient, NodeRedisClient, RedisClient } from '../adapters/stores/redis-client.ts'
export type { ReplayStore } from '../gss/context.ts'
export type { RevocationStore } from '../http/index.ts'

/**
 * The replay store of servers on many hosts, or of many processes: in one Redis. A check is one round trip, `SET … NX PX` with the read of a marker
 * behind it, which those of one turn of the event loop share; without an answer in time, and when Redis is full or was lost meanwhile, the login is a 503, and the next one is tried again.
 *
 * A Redis that has lost its memory counts from then on: older tokens are refused (`BEFORE_START`). One that may drop keys early is refused.
 *
 * @param client of `ioredis` (5, 6) or of `redis` (4, 5, 6), for one server; it is neither connected nor closed here
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `OPTION_UNSUPPORTED` for a client of a Redis Cluster or a pool
 */
export function redisReplayStore(client: RedisClient, options: RedisReplayStoreOptions = {}): RedisStore {
  return new RedisStore(client, options)
}
