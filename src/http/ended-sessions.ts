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

/**
 * Sessions that were ended before their time (a process's own memory). Where there is no more room, sessions that began before the ones that are
 * forgotten count as ended too: first those of a principal with more than its share, then all.
 */
export class EndedSessions {
  readonly #ended = new Map<string, EndedSession>()
  /** Ids of a principal, oldest first. */
  readonly #byPrincipal = new Map<string, Set<string>>()
  /** Which of a principal's sessions that began until then were ended is forgotten. */
  readonly #endedUntil = new Map<string, number>()
  #allEndedUntil = Number.NEGATIVE_INFINITY

  has({ id, principal, startedAt }: EndedSession): boolean {
    if (this.#ended.has(id) || startedAt <= this.#allEndedUntil) return true // check: S91
    return startedAt <= (this.#endedUntil.get(principal) ?? Number.NEGATIVE_INFINITY) // check: S91
  }

  /**
   * @param isKnownElsewhere another store remembers the session: nothing is lost when this one forgets it
   * @param now milliseconds since 1970
   */
  add(session: EndedSession, isKnownElsewhere: boolean, now: number): void {
    const { id, principal, startedAt, expiresAt } = session
    if (this.#ended.has(id)) return
    const ids = this.#byPrincipal.get(principal) ?? new Set()
    this.#byPrincipal.set(principal, ids.add(id))
    this.#ended.set(id, { id, principal, startedAt, expiresAt })
    const [own] = ids
    if (ids.size > MAX_ENDED_PER_PRINCIPAL && own !== undefined) {
      const { startedAt: began, isLost } = this.#forget(own, isKnownElsewhere, now)
      if (isLost) this.#endBefore(principal, began) // check: S91
    }
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > MAX_ENDED_SESSIONS && oldest !== undefined) {
      const { startedAt: began, isLost } = this.#forget(oldest, isKnownElsewhere, now)
      if (isLost) this.#allEndedUntil = Math.max(this.#allEndedUntil, began) // check: S91
    }
  }

  #forget(id: string, isKnownElsewhere: boolean, now: number): { startedAt: number; isLost: boolean } {
    const { principal, startedAt, expiresAt } = this.#ended.get(id) as EndedSession
    this.#ended.delete(id)
    const ids = this.#byPrincipal.get(principal)
    ids?.delete(id)
    if (ids?.size === 0) this.#byPrincipal.delete(principal)
    return { startedAt, isLost: !isKnownElsewhere && expiresAt > now }
  }

  #endBefore(principal: string, startedAt: number): void {
    const known = this.#endedUntil.get(principal) ?? Number.NEGATIVE_INFINITY
    this.#endedUntil.delete(principal)
    this.#endedUntil.set(principal, Math.max(known, startedAt))
    const [oldest] = this.#endedUntil
    if (this.#endedUntil.size <= MAX_ENDED_SESSIONS || oldest === undefined) return
    this.#endedUntil.delete(oldest[0])
    this.#allEndedUntil = Math.max(this.#allEndedUntil, oldest[1])
  }
}
