/** Time of an authenticator whose entry a replay cache keeps. Milliseconds. */
interface Kept {
  /** When the entry may go, since 1970. */
  readonly until: number
  /** How long after the authenticator's time, or after now if that is later, it is kept. */
  readonly slack: number
}

/**
 * How long a replay cache keeps an authenticator that acceptors with several clock skews share: as long as the widest of them would accept it, whoever
 * has accepted it.
 */
export class Retention {
  #widest = 0

  /** Announces an acceptor that accepts authenticators for so many milliseconds after their time. */
  widen(slack: number): void {
    // Ends come from microseconds in floating point: what differs by a fraction is the same.
    if (slack > this.#widest) this.#widest = Math.ceil(slack)
  }

  /**
   * @param expiresAt as long as the acceptor at hand needs it, milliseconds since 1970
   * @param time the authenticator's, undefined: not known
   */
  of(expiresAt: number, time: number | undefined, now: number): Kept {
    if (time === undefined) return { until: expiresAt, slack: 0 }
    const from = Math.max(time, now)
    this.widen(expiresAt - from) // check: S44
    return { until: from + this.#widest, slack: this.#widest }
  }
}
