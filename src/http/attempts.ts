import { FailureCounts } from './failure-counts.ts'

/** An address may stand for many users: of a company, or of a proxy. */
export const ADDRESS_FACTOR = 10

/** Counts of failed attempts: names and addresses apart, so that a flood of one leaves the other alone. */
export interface AttemptCounts {
  readonly names: FailureCounts
  readonly addresses: FailureCounts
}

/** @param monotonic milliseconds that never go back */
export function attemptCounts(monotonic: () => number): AttemptCounts {
  return { names: new FailureCounts(monotonic), addresses: new FailureCounts(monotonic) }
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
    const network = address && networkOf(address)
    if (user !== undefined && this.#isTooMany(user)) return this.#over(user) // check: S87
    if (this.#isAddressTooMany(address)) return undefined // check: S87
    if (user !== undefined) names.add(user, this.#windowMs)
    if (network !== undefined) addresses.add(network, this.#windowMs)
    return () => {
      if (user !== undefined) names.takeBack(user)
      if (network !== undefined) addresses.takeBack(network)
    }
  }

  /**
   * Whether a question that is under way already, and counted, may be asked again meanwhile: as browsers do with one password. Not once anything else was
   * refused: guesses that cost nothing would go on until one is right.
   */
  mayJoin(user: string | undefined, address: string | undefined): boolean {
    if (user !== undefined && this.#counts.names.find(user)?.isOver === true) return false // check: S87
    return !this.#isAddressTooMany(address) // check: S87
  }

  #isTooMany(user: string): boolean {
    return (this.#counts.names.find(user)?.count ?? 0) >= this.#maxFailures
  }

  #isAddressTooMany(address: string | undefined): boolean {
    if (address === undefined) return false
    const { count = 0 } = this.#counts.addresses.find(networkOf(address)) ?? {}
    return count >= this.#maxFailures * ADDRESS_FACTOR
  }

  #over(user: string): undefined {
    this.#counts.names.markOver(user)
  }
}

/** Who has one address of IPv6 has all of its /64 (RFC 4291 §2.5.4); and each connection has a port, which some proxies write beside it. */
function networkOf(address: string): string {
  const alone = address.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1') // check: S87
  const plain = alone.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
  if (!plain.includes(':')) return plain
  const [head = '', tail] = plain.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0')
  return [...first, ...zeros, ...last].slice(0, 4).join(':').toLowerCase()
}
