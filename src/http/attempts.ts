import { FailureCounts } from './failure-counts.ts'
import { type Network, networksOf } from './networks.ts'

/** Counts of failed attempts: names and addresses apart, so that a flood of one leaves the other alone. */
export interface AttemptCounts {
  readonly names: FailureCounts
  readonly addresses: FailureCounts
}

/**
 * @param monotonic milliseconds that never go back
 * @param seed a random integer of 32 bits
 */
export function attemptCounts(monotonic: () => number, seed: number): AttemptCounts {
  return { names: new FailureCounts(monotonic, seed), addresses: new FailureCounts(monotonic, seed) }
}

/** Bounds attempts to guess passwords, those under way included: a thousand at once are a thousand. */
export class Attempts {
  readonly #maxFailures: number
  readonly #windowMs: number
  readonly #counts: AttemptCounts

  /** @param counts may be shared with other servers, whose bounds may differ */
  constructor(maxFailures: number, windowMs: number, counts: AttemptCounts) {
    this.#maxFailures = maxFailures
    this.#windowMs = windowMs
    this.#counts = counts
  }

  /**
   * Counts an attempt that begins. Undefined: it may not; else what takes it back when it was none.
   *
   * @param user undefined: no KDC is asked, so nothing is learned about any user
   */
  begin(user: string | undefined, address: string | undefined): (() => void) | undefined {
    const { names, addresses } = this.#counts
    const networks = address === undefined ? [] : networksOf(address)
    if (user !== undefined && names.count(user) >= this.#maxFailures) return this.#over(user) // check: S87
    if (this.#isTooMany(networks)) return undefined // check: S87
    const counted = networks.map(({ name }) => addresses.add(name, this.#windowMs))
    if (user !== undefined) counted.push(names.add(user, this.#windowMs))
    return () => {
      for (const takeBack of counted) takeBack()
    }
  }

  /**
   * Whether a question that is under way already, and counted, may be asked again meanwhile: as browsers do with one password. Not once anything else was
   * refused: guesses that cost nothing would go on until one is right.
   */
  mayJoin(user: string | undefined, address: string | undefined): boolean {
    if (user !== undefined && this.#counts.names.isOver(user)) return false // check: S87
    return address === undefined || !this.#isTooMany(networksOf(address)) // check: S87
  }

  #over(user: string): undefined {
    this.#counts.names.markOver(user)
  }

  #isTooMany(networks: readonly Network[]): boolean {
    const { addresses } = this.#counts
    return networks.some(({ name, factor }) => addresses.count(name) >= this.#maxFailures * factor)
  }
}
