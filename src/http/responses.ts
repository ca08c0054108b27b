import { toBase64 } from '../bytes/base64.ts'
import { UsageError } from '../errors.ts'
import type { HeaderList, Refusal } from './decision.ts'
import { helpPage, wantsHtml } from './help-page.ts'
import type { NegotiateRequest } from './request.ts'
import { type Failure, type FixedPage, fixedPage, type ServerSettings, type WrittenPage } from './server-options.ts'

/** What a client of a replay store that is full or unreachable waits before it tries again. */
const RETRY_AFTER_SECONDS = 5

/** RFC 4559 §4.1: the scheme alone, or with a token. */
export function challengeField(token: Uint8Array | undefined): readonly [string, string] {
  return ['WWW-Authenticate', token === undefined ? 'Negotiate' : `Negotiate ${toBase64(token)}`]
}

/** The refused request's response: one challenge line, the page of its status, its length, and never from a cache. */
export async function refusal(
  failure: Failure & { readonly status: 401 | 403 | 503 },
  token: Uint8Array | undefined,
  request: NegotiateRequest,
  settings: ServerSettings,
): Promise<Refusal> {
  const { status, headers, page } = await pageFor(failure, request, settings)
  const challenge: HeaderList = status === 401 || token !== undefined ? [challengeField(token)] : [] // RFC 9110 §15.5.2
  const retry: HeaderList = status === 503 ? [['Retry-After', String(RETRY_AFTER_SECONDS)]] : [] // RFC 9110 §15.6.4
  return {
    kind: 'refused',
    status,
    reason: failure.reason,
    headers: [
      ...challenge,
      ...retry,
      ['Content-Type', page.contentType],
      ['Content-Length', String(page.body.length)],
      ['Cache-Control', 'no-store'], // RFC 9111 §5.2.2.5
      ['Vary', 'Authorization'],
      ...headers,
    ],
    body: page.body,
  }
}

interface ChosenPage {
  readonly status: 401 | 403 | 503
  readonly headers: HeaderList
  readonly page: FixedPage
}

async function pageFor(
  failure: Failure & { readonly status: 401 | 403 | 503 },
  request: NegotiateRequest,
  settings: ServerSettings,
): Promise<ChosenPage> {
  const { status } = failure
  if (status === 503) return { status, headers: [], page: fixedPage('503', { body: 'Service Unavailable' }) }
  const name = status === 401 ? 'unauthorized' : 'forbidden'
  const page = settings[name] ?? defaultPage(failure.reason, request)
  if (typeof page !== 'function') return { status, headers: [], page }
  return writtenPage(name, await page(failure, request), status)
}

const UNAUTHORIZED: FixedPage = fixedPage('unauthorized', { body: 'Unauthorized' })

function defaultPage(reason: string, request: NegotiateRequest): FixedPage {
  return wantsHtml(request) ? helpPage(reason, request) : UNAUTHORIZED
}

/** Fields that are ours: what a page says about them is not heard. */
const OUR_FIELDS: readonly string[] = ['content-type', 'content-length', 'transfer-encoding', 'cache-control']

function writtenPage(name: string, written: WrittenPage, asked: 401 | 403): ChosenPage {
  const { status = asked, headers = {}, body, contentType } = written
  if (status !== 401 && status !== 403) throw new UsageError('OPTION_INVALID', `${name}: its status is not 401 or 403`)
  const fields = Object.entries(headers)
  const [, type] = fields.find(([field]) => field.toLowerCase() === 'content-type') ?? []
  return {
    status,
    headers: fields.filter(([field]) => !OUR_FIELDS.includes(field.toLowerCase())),
    page: fixedPage(name, { body, contentType: contentType ?? type }),
  }
}
