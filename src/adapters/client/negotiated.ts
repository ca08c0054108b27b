import type { Negotiated } from '../../http/client.ts'

/** A registered symbol, so that an answer is found whichever copy of this package put it there. */
const NEGOTIATED: symbol = Symbol.for('spnego.negotiated')

/** Where clients on node:http keep the request or the message that a response of theirs is made of. */
const INNER: readonly string[] = ['req', 'request', 'res']

/**
 * What happened on the way to this response, of whichever client; undefined when no challenge came and nothing was sent.
 */
export function negotiated(response: object): Negotiated | undefined {
  const own = (response as Record<symbol, Negotiated | undefined>)[NEGOTIATED]
  if (own !== undefined) return own
  const inner = INNER.map((name) => (response as Record<string, unknown>)[name])
  return inner.map((one) => (one as Record<symbol, Negotiated> | null | undefined)?.[NEGOTIATED]).find(Boolean)
}

export function setNegotiated(response: object, report: Negotiated | undefined): void {
  if (report === undefined) return
  Object.defineProperty(response, NEGOTIATED, { value: report, enumerable: false, configurable: true })
}
