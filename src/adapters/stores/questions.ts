import { type KerberosErrorOptions, VerificationError } from '../../errors.ts'

/** Most questions that wait for one store: what a process can hold of requests that nobody answers. */
export const MOST_WAITING = 10_000
/** Milliseconds for one answer, by default. A request waits no longer for its 503. */
export const ANSWER_TIMEOUT_MS = 1000

/** Nothing is accepted when a store does not answer as it should (RFC 4120 §3.2.3): 503 over HTTP. */
export function unavailable(message: string, options?: KerberosErrorOptions): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', message, options)
}

export interface QuestionSettings {
  /** What is asked, for messages. */
  readonly whom: string
  readonly timeoutMs: number
  /** What to look at when no answer comes. */
  readonly hint: string
}

/**
 * Questions to a store in another process: each has one deadline, and only so many may be open. An answer that comes after the deadline is not
 * heard; its question counts as open until then, since whoever carries it still holds it.
 */
export class Questions {
  readonly #settings: QuestionSettings
  #open = 0

  constructor(settings: QuestionSettings) {
    this.#settings = settings
  }

  /**
   * @param question starts at once; it may ask `isLate` between its steps, and needs no next one then
   * @throws {VerificationError} rejects with `REPLAY_STORE_UNAVAILABLE`, whatever went wrong
   */
  ask<T>(question: (isLate: () => boolean) => Promise<T>): Promise<T> {
    const { whom, timeoutMs, hint } = this.#settings
    if (this.#open >= MOST_WAITING) return Promise.reject(this.#tooMany()) // check: S47
    this.#open++
    return new Promise<T>((resolve, reject) => {
      let isLate = false
      const late = () => {
        isLate = true
        reject(unavailable(`${whom} did not answer within ${timeoutMs} ms`, { hint }))
      }
      const timer = setTimeout(late, timeoutMs).unref() // check: S47
      const settled = () => {
        clearTimeout(timer)
        this.#open--
      }
      question(() => isLate).then(
        (answer) => {
          settled()
          resolve(answer)
        },
        (cause: unknown) => {
          settled()
          reject(cause instanceof VerificationError ? cause : unavailable(`${whom} did not answer`, { cause, hint }))
        },
      )
    })
  }

  #tooMany(): VerificationError {
    const { whom, hint } = this.#settings
    return unavailable(`${this.#open} questions wait for ${whom} already`, { hint })
  }
}
