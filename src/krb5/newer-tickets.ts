/**
 * Tickets that were fetched beside cached ones which a service had refused: its key may have changed since. The word of a server
 * is not authenticated, so that it makes the client ask the KDC now and then, and nothing more.
 */
import { KerberosError } from '../errors.ts'
import type { Credential } from './exchange/index.ts'

/** At most one is fetched in so many milliseconds, for each service and client. */
export const NEWER_TICKET_PAUSE_MS = 60_000
/** Most services that are remembered. */
const MAX_REMEMBERED = 1024

interface Newer {
  /** On the monotonic clock, in milliseconds. */
  readonly at: number
  /** Shared by all whose ticket was refused; undefined from when it was refused too. */
  ticket: Promise<Credential | undefined> | undefined
}

export class NewerTickets {
  readonly #now: () => number
  readonly #byKey = new Map<string, Newer>()

  /** @param now the monotonic clock, in milliseconds */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The ticket that `fetch` gives, or gave in the last minute; undefined when the KDC gave none, or the service refused it. */
  async get(key: string, fetch: () => Promise<Credential>): Promise<Credential | undefined> {
    const known = this.#byKey.get(key)
    const isRecent = known !== undefined && this.#now() - known.at < NEWER_TICKET_PAUSE_MS
    if (isRecent) return known.ticket // check: C76
    const ticket = fetch().catch((error: unknown) => {
      if (!(error instanceof KerberosError)) throw error
      return undefined // the refusal that led here says more
    })
    this.#byKey.delete(key)
    this.#byKey.set(key, { at: this.#now(), ticket })
    const [oldest] = this.#byKey.keys()
    if (this.#byKey.size > MAX_REMEMBERED && oldest !== undefined) this.#byKey.delete(oldest)
    return ticket
  }

  /** The service has refused it, or it is kept elsewhere. */
  drop(key: string): void {
    const known = this.#byKey.get(key)
    if (known !== undefined) known.ticket = undefined
  }
}
