import type { Reply } from './redis-client.ts'

/** What is read of `INFO memory` and `INFO server`. A Redis that does not let this user ask, or knows no INFO, says nothing. */

/** Whether keys are dropped before their time when there is no more memory. */
export function mayEvict(memory: Reply | undefined): 'yes' | 'no' | 'unknown' {
  const most = field(memory, 'maxmemory')
  const policy = field(memory, 'maxmemory_policy')
  if (most === undefined || policy === undefined) return 'unknown'
  return most === '0' || policy === 'noeviction' ? 'no' : 'yes'
}

/** How long the server runs, at most a second too short. */
export function uptimeMs(server: Reply | undefined): number | undefined {
  const seconds = field(server, 'uptime_in_seconds')
  return seconds === undefined || !/^\d{1,12}$/.test(seconds) ? undefined : Number(seconds) * 1000
}

/** One line of the answer: `name:value`. */
function field(reply: Reply | undefined, name: string): string | undefined {
  if (reply === undefined || !('value' in reply) || typeof reply.value !== 'string') return undefined
  const line = reply.value.split(/\r?\n/).find((one) => one.startsWith(`${name}:`))
  return line?.slice(name.length + 1)
}
