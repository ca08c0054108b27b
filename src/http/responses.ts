import { UsageError } from '../errors.ts'
import { called } from './callbacks.ts'
import type { HeaderList, Refusal } from './decision.ts'
import { helpPage, wantsHtml } from './help-page.ts'
import type { NegotiateRequest } from './request.ts'
import { mustBeField } from './response-fields.ts'
import { type Failure, type FixedPage, fixedPage, type ServerSettings, type WrittenPage } from './server-options.ts'
import { ORIGIN } from './side.ts'

/** What a client of a replay store that is full or unreachable, or of a silent KDC, waits before it tries again. */
const RETRY_AFTER_SECONDS = 5

/** What a refused request is answered beside its page. */
export interface Asked {
  readonly request: NegotiateRequest
  /** What asks for credentials, where the status does (RFC 9110 §15.5.2, §15.5.8): a page may choose another one. */
  readonly challenges: () => HeaderList
  /** What was proven or begun before it was refused goes with any status. */
  readonly token: HeaderList
  readonly retryAfterSeconds: number | undefined
}

/** The refused request's response: its challenges, the page of its status, its length, and never from a cache. */
export async function refusal(failure: Refused, asked: Asked, settings: ServerSettings): Promise<Refusal> {
  const { request, challenges, token, retryAfterSeconds } = asked
  const { status, headers, page } = await pageFor(failure, request, settings)
  const seconds = retryAfterSeconds ?? (status === 503 ? RETRY_AFTER_SECONDS : undefined)
  const retry: HeaderList = seconds === undefined ? [] : [['Retry-After', String(seconds)]] // RFC 9110 §10.2.3
  const vary = settings.sessions === undefined ? 'Authorization' : 'Authorization, Cookie'
  return {
    kind: 'refused',
    status,
    reason: failure.reason,
    headers: [
      ...(token.length > 0 ? token : status === settings.side.status ? challenges() : []),
      ...retry,
      ['Content-Type', page.contentType],
      ['Content-Length', String(page.body.length)],
      ['Cache-Control', 'no-store'], // RFC 9111 §5.2.2.5
      ...(settings.side === ORIGIN ? ([['Vary', vary]] as const) : []),
      ...headers,
    ],
    body: page.body,
  }
}

type Status = 400 | 401 | 403 | 407 | 503
type Refused = Failure & { readonly status: Status }

interface ChosenPage {
  readonly status: Status
  readonly headers: HeaderList
  readonly page: FixedPage
}

async function pageFor(failure: Refused, request: NegotiateRequest, settings: ServerSettings): Promise<ChosenPage> {
  const { status } = failure
  if (status === 400 || status === 503)
    return { status, headers: [], page: fixedPage(String(status), { body: WITHOUT_LOGIN[status] }) }
  const name = status === 403 ? 'forbidden' : 'unauthorized'
  const page = settings[name] ?? (settings.side === ORIGIN ? defaultPage(failure.reason, request) : PROXY_LOGIN)
  if (typeof page !== 'function') return { status, headers: [], page }
  return called(name, async () => writtenPage(name, await page(failure, request), status, settings))
}

/** What no login changes: the program has no page for it. */
const WITHOUT_LOGIN = { 400: 'Bad Request', 503: 'Service Unavailable' } as const
const UNAUTHORIZED: FixedPage = fixedPage('unauthorized', { body: 'Unauthorized' })
const PROXY_LOGIN: FixedPage = fixedPage('unauthorized', { body: 'Proxy Authentication Required' })

function defaultPage(reason: string, request: NegotiateRequest): FixedPage {
  return wantsHtml(request) ? helpPage(reason, request) : UNAUTHORIZED
}

/** Fields that are ours: what a page says about them is not heard. */
const OUR_FIELDS: readonly string[] = ['content-type', 'content-length', 'transfer-encoding', 'cache-control']

function writtenPage(name: string, written: WrittenPage, asked: Status, { side }: ServerSettings): ChosenPage {
  const { status: given, headers = {}, body, contentType } = written
  const allowed = [undefined, 403, side.status]
  if (!allowed.includes(given))
    throw new UsageError('OPTION_INVALID', `${name}: its status is not ${side.status} or 403`)
  const status = given ?? asked
  const fields = Object.entries(headers)
  for (const [field, value] of fields) mustBeField(`${name}.headers`, field, value)
  const [, type] = fields.find(([field]) => field.toLowerCase() === 'content-type') ?? []
  return {
    status,
    headers: fields.filter(([field]) => !OUR_FIELDS.includes(field.toLowerCase())),
    page: fixedPage(name, { body, contentType: contentType ?? type }),
  }
}
