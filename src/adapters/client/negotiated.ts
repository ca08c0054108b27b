import type { Negotiated } from '../../http/client.ts'

/** Registered symbols, so that an answer is found whichever copy of this package put it there. */
const NEGOTIATED: symbol = Symbol.for('spnego.negotiated')
const ANNOUNCED: symbol = Symbol.for('spnego.announced')

/** What stands for a report in a context that is there, and may be copied, before there is a response. */
interface Announced {
  report: Negotiated | undefined
}

/** Where clients on node:http keep the request or the message that a response of theirs is made of. */
const INNER: readonly string[] = ['req', 'request', 'res']

/** What happened on the way to this response, of whichever client; undefined when no challenge came and nothing was sent. */
export function negotiated(response: object): Negotiated | undefined {
  const fields = response as Readonly<Record<string, unknown>>
  const reports = [response, ...INNER.map((name) => fields[name])].map((one) => property<Negotiated>(one, NEGOTIATED))
  return reports.find((one) => one !== undefined) ?? property<Announced>(fields['context'], ANNOUNCED)?.report
}

function property<T>(of: unknown, name: symbol): T | undefined {
  return typeof of === 'object' && of !== null ? (of as Record<symbol, T | undefined>)[name] : undefined
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
