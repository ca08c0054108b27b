import { quote } from '../bytes/text.ts'
import type { Logger } from './logger.ts'

/** Least time between two warnings about one option. Milliseconds. */
const WARNING_PAUSE_MS = 60_000

/** A function of the program threw, or gave what it must not: the request is refused with 500. */
export class CallbackError extends Error {
  override readonly name = 'CallbackError'
  /** The option that the function was given as. */
  readonly option: string

  constructor(option: string, cause: unknown) {
    super(`${option} threw`, { cause })
    this.option = option
  }
}

/** The result of a function of the program, awaited when it is a promise. @throws {CallbackError} */
export async function called<T>(option: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw new CallbackError(option, error)
  }
}

/** As `called`, for functions that answer at once. @throws {CallbackError} */
export function calledNow<T>(option: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw new CallbackError(option, error)
  }
}

export interface ReportEffects {
  /** Emits a `SpnegoWarning`. */
  readonly warn: (message: string, code: string) => void
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
}

/** Tells the program of what its own functions threw: each option once a minute, whoever listens, and never by throwing. */
export class CallbackReports {
  readonly #effects: ReportEffects
  readonly #toldAt = new Map<string, number>()

  constructor(effects: ReportEffects) {
    this.#effects = effects
  }

  tell(option: string, cause: unknown): void {
    const now = this.#effects.monotonic()
    const last = this.#toldAt.get(option)
    if (last !== undefined && now - last < WARNING_PAUSE_MS) return
    this.#toldAt.set(option, now)
    const text = cause instanceof Error ? `${cause.name}: ${quote(cause.message)}` : quote(String(cause))
    this.#effects.warn(`${option} threw: ${text}`, 'CALLBACK_FAILED')
  }

  /** A logger whose own failures change nothing. */
  guarded(logger: Logger | undefined): Logger | undefined {
    if (logger === undefined) return undefined
    const guard = (level: keyof Logger) => (facts: object, message: string) => {
      try {
        logger[level](facts, message)
      } catch (error) {
        this.tell('logger', error)
      }
    }
    return { debug: guard('debug'), info: guard('info'), warn: guard('warn'), error: guard('error') }
  }
}
