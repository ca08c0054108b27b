/** Most sessions that were ended and are remembered. */
export const MAX_ENDED_SESSIONS = 10_000
/** Most of them of one principal. */
export const MAX_ENDED_PER_PRINCIPAL = 100

/** What is needed of a session to know it again. Times are milliseconds since 1970. */
export interface EndedSession {
  readonly id: string
  readonly principal: string
  readonly startedAt: number
  readonly expiresAt: number
}

interface Remembered extends EndedSession {
  /** A store of revocations remembers it too. */
  isStored: boolean
}

/**
 * Sessions that were ended before their time (a process's own memory). Where there is no more room, sessions that began before the ones that are
 * forgotten count as ended too: first those of a principal with more than its share, then all. What a store of revocations remembers is lost only to
 * servers that do not ask it.
 */
export class EndedSessions {
  readonly #ended = new Map<string, Remembered>()
  /** Ids of a principal, oldest first. */
  readonly #byPrincipal = new Map<string, Set<string>>()
  readonly #lost = new ForgottenSessions()
  readonly #lostUnstored = new ForgottenSessions()

  /** @param asksStore the server asks a store of revocations too */
  has(session: EndedSession, asksStore: boolean): boolean {
    return this.#ended.has(session.id) || (asksStore ? this.#lostUnstored : this.#lost).includes(session) // check: S91
  }

  /**
   * @param isStored a store of revocations remembers the session too
   * @param now milliseconds since 1970
   */
  add({ id, principal, startedAt, expiresAt }: EndedSession, isStored: boolean, now: number): void {
    const known = this.#ended.get(id)
    if (known !== undefined) {
      known.isStored ||= isStored
      return
    }
    const ids = this.#byPrincipal.get(principal) ?? new Set()
    this.#byPrincipal.set(principal, ids.add(id))
    this.#ended.set(id, { id, principal, startedAt, expiresAt, isStored })
    const [own] = ids
    if (ids.size > MAX_ENDED_PER_PRINCIPAL && own !== undefined) {
      this.#forget(own, now, (lost, session) => lost.addOfPrincipal(session))
    }
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > MAX_ENDED_SESSIONS && oldest !== undefined) {
      this.#forget(oldest, now, (lost, session) => lost.addOfAll(session))
    }
  }

  #forget(id: string, now: number, note: (lost: ForgottenSessions, session: EndedSession) => void): void {
    const session = this.#ended.get(id) as Remembered
    this.#ended.delete(id)
    const ids = this.#byPrincipal.get(session.principal)
    ids?.delete(id)
    if (ids?.size === 0) this.#byPrincipal.delete(session.principal)
    if (session.expiresAt <= now) return
    note(this.#lost, session) // check: S91
    if (!session.isStored) note(this.#lostUnstored, session) // check: S91
  }
}

/** Ended sessions of which only this is left: none that began later is among them. */
class ForgottenSessions {
  readonly #untilByPrincipal = new Map<string, number>()
  #until = Number.NEGATIVE_INFINITY

  includes({ principal, startedAt }: EndedSession): boolean {
    if (startedAt <= this.#until) return true // check: S91
    return startedAt <= (this.#untilByPrincipal.get(principal) ?? Number.NEGATIVE_INFINITY) // check: S91
  }

  addOfAll({ startedAt }: EndedSession): void {
    this.#until = Math.max(this.#until, startedAt)
  }

  addOfPrincipal({ principal, startedAt }: EndedSession): void {
    const known = this.#untilByPrincipal.get(principal) ?? Number.NEGATIVE_INFINITY
    this.#untilByPrincipal.delete(principal)
    this.#untilByPrincipal.set(principal, Math.max(known, startedAt))
    const [oldest] = this.#untilByPrincipal
    if (this.#untilByPrincipal.size <= MAX_ENDED_SESSIONS || oldest === undefined) return
    this.#untilByPrincipal.delete(oldest[0])
    this.#until = Math.max(this.#until, oldest[1])
  }
}
