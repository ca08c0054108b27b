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

/**
 * What happened on the way to this response, of whichever client.
 *
 * @param response a response, or an error of axios, got or superagent that has one; what has none tells nothing
 * @returns undefined when no challenge came and nothing was sent
 */
export function negotiated(response: object | null | undefined): Negotiated | undefined {
  return reportOf(response) ?? reportOf(fieldsOf(response)['response'])
}

function reportOf(response: unknown): Negotiated | undefined {
  const fields = fieldsOf(response)
  const reports = [response, ...INNER.map((name) => fields[name])].map((one) => property<Negotiated>(one, NEGOTIATED))
  return reports.find((one) => one !== undefined) ?? property<Announced>(fields['context'], ANNOUNCED)?.report
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}

/** Gives a client's own error for a status its cause: why the login failed. */
export function setCause(error: unknown): void {
  if (!(error instanceof Error) || error.cause instanceof Error) return // got's has an empty object for a cause
  const cause = negotiated(error)?.error
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
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
