/** How every options object is read: own properties only, unknown names and wrong types refused, nothing written to; and what its functions may give. */
import { quote } from './bytes/text.ts'
import { UsageError } from './errors.ts'

/** Refuses what is left of an options object after its known names were taken out, and everything that is no plain object. */
export function rejectUnknown(where: string, rest: object): void {
  const [name] = Object.keys(rest)
  if (name === undefined) return
  throw new UsageError('OPTION_UNKNOWN', `${where}: there is no option ${quote(name)}`, {
    hint: 'Check the spelling; an option that this version does not have is refused, not ignored.',
  })
}

/** A plain object whose properties are its own: inherited ones are not options. */
export function ownOptions<T extends object>(where: string, options: T | undefined): T {
  if (options === undefined) return {} as T
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalid(where, 'an object', options)
  return { ...options }
}

/** @param showText only where no secret can stand */
export function invalid(name: string, expected: string, found: unknown, showText = false): UsageError {
  const kind = found === null ? 'null' : Array.isArray(found) ? 'an array' : typeof found
  const plain = typeof found === 'number' || typeof found === 'boolean' ? String(found) : kind
  const shown = showText && typeof found === 'string' ? quote(found) : plain
  return new UsageError('OPTION_INVALID', `${name}: expected ${expected}, found ${shown}`)
}

export function integerIn(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalid(name, `an integer from ${least} to ${most}`, value)
  }
  return value
}

export function booleanOf(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value)
  return value
}

export function stringOf(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw invalid(name, 'a text', value)
  return value
}

/** One of a few words. */
export function oneOf<T extends string>(name: string, value: unknown, words: readonly T[]): T {
  const found = words.find((word) => word === value)
  if (found === undefined) throw invalid(name, words.map((word) => `'${word}'`).join(' or '), value, true)
  return found
}

export function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : read(value)
}

/** @throws {TypeError} for a promise, whose rejection is handled */
export function mustBeNow<T>(what: string, result: T): T {
  if (!handleRejection(result)) return result
  throw new TypeError(`${what} must answer at once, and gave a promise`)
}

/** Handles the rejection of a promise that nobody awaits. @returns whether it is one, or is used like one */
export function handleRejection(result: unknown, handle: (error: unknown) => void = () => {}): boolean {
  if (typeof result !== 'object' || result === null) return false
  if (typeof (result as Partial<Promise<unknown>>).then !== 'function') return false
  Promise.resolve(result).catch(handle) // check: A04
  return true
}

/** What a promise comes to, or the reason of the signal when that is first; then nobody is told of its rejection. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    const done = () => signal.removeEventListener('abort', abort)
    promise.then(resolve, reject).finally(done)
    if (signal.aborted) abort()
  })
}
