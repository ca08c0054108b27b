/** Most names and addresses that are remembered; one more forgets the one that failed first. */
export const MAX_REMEMBERED = 20_000
/** An address may stand for many users: of a company, or of a proxy. */
export const ADDRESS_FACTOR = 10

interface Failures {
  count: number
  /** On the monotonic clock. */
  endsAt: number
  /** Somebody tried beyond them. */
  isOver: boolean
}

/** Counts attempts to guess passwords, those under way included: whoever tries a thousand at once has tried a thousand. */
export class Attempts {
  readonly #maxFailures: number
  readonly #windowMs: number
  readonly #monotonic: () => number
  readonly #failures = new Map<string, Failures>()

  constructor(maxFailures: number, windowMs: number, monotonic: () => number) {
    this.#maxFailures = maxFailures
    this.#windowMs = windowMs
    this.#monotonic = monotonic
  }

  /** Names and addresses that are remembered. */
  get size(): number {
    return this.#failures.size
  }

  /** Counts one that begins. Undefined: it may not; else what takes it back when it was none. */
  begin(user: string, address: string | undefined): (() => void) | undefined {
    const byUser = `user ${user}`
    const byAddress = address === undefined ? undefined : `address ${networkOf(address)}`
    const most = this.#maxFailures * ADDRESS_FACTOR
    if (this.#count(byUser) >= this.#maxFailures) return this.#over(byUser) // check: S87
    if (byAddress !== undefined && this.#count(byAddress) >= most) return undefined // check: S87
    const taken = byAddress === undefined ? [byUser] : [byUser, byAddress]
    for (const key of taken) this.#add(key)
    return () => {
      for (const key of taken) this.#takeBack(key)
    }
  }

  /**
   * Whether a question that is under way already, and counted, may be asked again meanwhile: as browsers do with one password. Not once anything else was
   * refused: guesses that cost nothing would go on until one is the right one's.
   */
  mayJoin(user: string, address: string | undefined): boolean {
    const byUser = `user ${user}`
    if (this.#count(byUser) > 0 && this.#failures.get(byUser)?.isOver === true) return false // check: S87
    return address === undefined || this.#count(`address ${networkOf(address)}`) < this.#maxFailures * ADDRESS_FACTOR // check: S87
  }

  #over(key: string): undefined {
    const found = this.#failures.get(key)
    if (found !== undefined) found.isOver = true
  }

  #count(key: string): number {
    const found = this.#failures.get(key)
    if (found === undefined) return 0
    if (found.endsAt > this.#monotonic()) return found.count
    this.#failures.delete(key)
    return 0
  }

  #add(key: string): void {
    const count = this.#count(key) + 1
    const { endsAt = this.#monotonic() + this.#windowMs, isOver = false } = this.#failures.get(key) ?? {}
    this.#failures.set(key, { count, endsAt, isOver })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MAX_REMEMBERED && oldest !== undefined) this.#failures.delete(oldest)
  }

  #takeBack(key: string): void {
    const found = this.#failures.get(key)
    if (found === undefined) return
    found.count--
    if (found.count <= 0 && !found.isOver) this.#failures.delete(key)
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
