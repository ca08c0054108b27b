/** Results of a program's functions that must be there at once, and may be promises all the same: their rejections must not end the process. */

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
