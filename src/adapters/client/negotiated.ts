import type { Negotiated } from '../../http/client.ts'

/** A registered symbol, so that an answer is found whichever copy of this package put it there. */
const NEGOTIATED: symbol = Symbol.for('spnego.negotiated')

/** What happened on the way to this response; undefined when no challenge came and nothing was sent. */
export function negotiated(response: object): Negotiated | undefined {
  return (response as Record<symbol, Negotiated | undefined>)[NEGOTIATED]
}

export function setNegotiated(response: object, report: Negotiated | undefined): void {
  if (report === undefined) return
  Object.defineProperty(response, NEGOTIATED, { value: report, enumerable: false, configurable: true })
}
