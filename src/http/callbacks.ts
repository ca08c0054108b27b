import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import { handleRejection, mustBeNow, untilAborted } from '../options.ts'
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

/** As `called`, for functions that answer at once. @throws {CallbackError} also for a promise */
export function calledNow<T>(option: string, call: () => T): T {
  try {
    return mustBeNow(option, call())
  } catch (error) {
    throw new CallbackError(option, error)
  }
}

/**
 * As `called`, for a client, whose caller is told; who gives up waits no longer.
 *
 * @throws {UsageError} `CALLBACK_FAILED`, with what was thrown as its cause
 * @throws the reason of the signal
 */
export async function calledForCaller<T>(
  option: string,
  call: () => T | Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const told = async () => {
    try {
      return await call()
    } catch (cause) {
      throw callbackFailed(option, cause) // check: C88
    }
  }
  return untilAborted(told(), signal)
}

function callbackFailed(option: string, cause: unknown): UsageError {
  return new UsageError('CALLBACK_FAILED', `${option} threw: ${textOf(cause)}`, {
    cause,
    hint: `The function is the program's own, given as the option ${option}.`,
  })
}

/**
 * What was thrown, for handlers of errors: frameworks read a falsy value, and texts such as Express's `'route'`, as "go on".
 *
 * @returns the value itself when it is an error; else one whose `cause` it is
 */
export function errorOf(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown // check: A04
  return new Error('a value that is no error was thrown: it is the cause of this one', { cause: thrown })
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
    this.#effects.warn(`${option} threw: ${textOf(cause)}`, 'CALLBACK_FAILED')
  }

  /** A logger whose own failures change nothing. */
  guarded(logger: Logger | undefined): Logger | undefined {
    if (logger === undefined) return undefined
    const guard = (level: keyof Logger) => (facts: object, message: string) => {
      try {
        const result: unknown = logger[level](facts, message)
        handleRejection(result, (error) => this.tell('logger', error))
      } catch (error) {
        this.tell('logger', error)
      }
    }
    return { debug: guard('debug'), info: guard('info'), warn: guard('warn'), error: guard('error') }
  }
}

/** Of anything that can be thrown: what has no text, or throws when it is asked for one, is named by its type. */
function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.name}: ${quote(thrown.message)}` : quote(String(thrown))
  } catch {
    return `a value of type ${typeof thrown}`
  }
}
