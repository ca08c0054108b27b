import type { Negotiated } from '../../http/client.ts'

/** Registered symbols, so that an answer is found whichever copy of this package put it there. */
const NEGOTIATED: symbol = Symbol.for('spnego.negotiated')
const ANNOUNCED: symbol = Symbol.for('spnego.announced')

/** What stands for a report in a context that is there, and may be copied, before there is a response. */
interface Announced {
  report: Negotiated | undefined
}

/** What happened on the way to this response; undefined when no challenge came and nothing was sent. */
export function negotiated(response: object): Negotiated | undefined {
  const { [NEGOTIATED]: report, context } = response as Record<symbol, Negotiated | undefined> & { context?: unknown }
  if (report !== undefined || typeof context !== 'object' || context === null) return report
  return (context as Record<symbol, Announced | undefined>)[ANNOUNCED]?.report
}

export function setNegotiated(response: object, report: Negotiated | undefined): void {
  if (report === undefined) return
  Object.defineProperty(response, NEGOTIATED, { value: report, enumerable: false, configurable: true })
}

/**
 * For undici, whose `context` becomes that of the response: one of its own interceptors may make a copy of it first.
 *
 * @returns what takes the report when it is there
 */
export function announceNegotiated(context: object): (report: Negotiated | undefined) => void {
  const announced: Announced = { report: undefined }
  Object.assign(context, { [ANNOUNCED]: announced })
  return (report) => {
    announced.report = report
  }
}
