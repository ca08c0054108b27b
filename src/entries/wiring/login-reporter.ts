import { channel } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'
import type { Negotiated } from '../../http/client.ts'
import type { Logger } from '../../http/logger.ts'

/** Most pairs of code and origin that are remembered as warned of. */
const MAX_WARNED = 1000

/** Is told of each login: where, what the answer was, and what it came to. */
export type Observe = (url: URL, status: number, report: Negotiated) => void

/**
 * Tells what a login came to: the logger, `NODE_DEBUG=spnego`, the diagnostics channel `spnego:client`; and, when a 401 stayed a 401 because of
 * this side, one process warning for each code and origin. Nothing secret is in any of them.
 */
export function loginReporter(logger: Logger | undefined): Observe {
  const warned = new Set<string>()
  const events = channel('spnego:client')
  const debug = debuglog('spnego')
  return (url, status, { attempted, serverAuthenticated, principal, target, error }) => {
    const { origin } = url
    const facts = {
      origin,
      status,
      attempted,
      serverAuthenticated,
      principal,
      target,
      code: error?.code,
      hint: error?.hint,
    }
    if (events.hasSubscribers) events.publish(facts)
    debug(
      '%s %d %s as %s%s',
      origin,
      status,
      target ?? '-',
      principal ?? '-',
      error === undefined ? '' : `: ${error.code}`,
    )
    if (error === undefined) return logger?.debug(facts, status === 401 ? 'not logged in' : 'logged in')
    logger?.warn(facts, error.message)
    const key = `${error.code} ${origin}`
    if (status !== 401 || warned.has(key) || warned.size >= MAX_WARNED) return
    warned.add(key)
    const hint = error.hint === undefined ? '' : ` ${error.hint}`
    process.emitWarning(`login at ${origin} failed: ${error.message}.${hint}`, {
      type: 'SpnegoWarning',
      code: error.code,
    })
  }
}
