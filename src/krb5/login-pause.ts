/**
 * A password or key that the KDC refused is not sent again at once: a service that is polled would lock its
 * own account.
 */
import { KdcError, type KdcErrorName } from '../errors.ts'
import type { Source } from './exchange/index.ts'
import { ERROR } from './messages/index.ts'

/** Milliseconds after the first refusal, and at most; each further one doubles them. */
export const FIRST_PAUSE_MS = 30_000
export const LONGEST_PAUSE_MS = 900_000

/** Refusals that the same password or key gets again, and that a KDC counts. */
const REFUSALS: readonly number[] = [
  ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN,
  ERROR.KDC_ERR_CLIENT_REVOKED,
  ERROR.KDC_ERR_KEY_EXPIRED,
  ERROR.KDC_ERR_PREAUTH_FAILED,
]

interface Clocks {
  readonly source: Pick<Source, 'now'>
  monotonic(): number
}

interface Refused {
  /** Of the password or key. */
  readonly key: string
  readonly error: KdcError
  readonly pauseMs: number
  /** On the monotonic clock, in milliseconds, and on that of the source, in microseconds. */
  readonly until: number
  readonly untilTime: number
}

/**
 * The last refusal, for a while. A KRB-ERROR is not authenticated, so that the pause always ends by itself:
 * by whichever clock is first, as one can be set back and the other stands still while the machine sleeps.
 */
export class LoginPause {
  readonly #clocks: Clocks
  #last: Refused | undefined

  constructor(clocks: Clocks) {
    this.#clocks = clocks
  }

  /** @throws {KdcError} the last refusal, when it was of the same password or key and not long ago */
  check(key: string): void {
    const last = this.#last
    if (last === undefined || last.key !== key) return
    const isOver = this.#clocks.monotonic() >= last.until || this.#clocks.source.now() >= last.untilTime
    if (!isOver) throw paused(last) // check: K64
  }

  /** The error to throw for one that a login ended with. */
  note(key: string, error: unknown): unknown {
    if (!(error instanceof KdcError) || !REFUSALS.includes(error.errorCode)) return error
    const before = this.#isRecent(key) ? (this.#last?.pauseMs ?? 0) : 0
    const pauseMs = Math.min(Math.max(before * 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)
    const until = this.#clocks.monotonic() + pauseMs
    const untilTime = this.#clocks.source.now() + pauseMs * 1000
    this.#last = { key, error, pauseMs, until, untilTime }
    return paused(this.#last)
  }

  /** Who was right, or did not try, for long after the last pause begins anew: a forged refusal now and then must not add up. */
  #isRecent(key: string): boolean {
    return this.#last?.key === key && this.#clocks.monotonic() < this.#last.until + LONGEST_PAUSE_MS // check: K64
  }

  clear(): void {
    this.#last = undefined
  }
}

function paused({ error, untilTime }: Refused): KdcError {
  const time = new Date(untilTime / 1000).toISOString()
  const message = `${error.message}; the same password or key is not sent again before ${time}`
  return new KdcError(error.errorCode, error.code as KdcErrorName, message, { cause: error, hint: error.hint })
}
