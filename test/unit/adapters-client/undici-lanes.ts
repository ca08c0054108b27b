import { Readable } from 'node:stream'
import * as undici6 from 'undici6'
import * as undici7 from 'undici7'
import type { Interceptor, Negotiated } from '../../../src/entries/undici.ts'
import { negotiated } from '../../../src/entries/undici.ts'
import { globalDispatcher } from './global-dispatcher.ts'

export interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
  readonly signal?: AbortSignal
}

export interface Answered {
  readonly status: number
  header(name: string): string | undefined
  text(): Promise<string>
  readonly stream: Readable
  /** Undefined under fetch, which shows no context. */
  readonly report: Negotiated | undefined
}

/** A dispatcher with interceptors, and a way to use it. */
export interface Client extends AsyncDisposable {
  send(url: string, asked?: Asked): Promise<Answered>
}

/** One undici and one of its functions. */
export interface Lane {
  readonly name: string
  readonly isFetch: boolean
  /** The forms that its undici takes. */
  readonly Form: typeof FormData
  client(...interceptors: readonly Interceptor[]): Client
}

interface Dispatcher {
  compose(...interceptors: readonly Interceptor[]): object
  destroy(): Promise<unknown>
}
interface Api {
  readonly name: string
  readonly Form: typeof FormData
  readonly newAgent: () => Dispatcher
  readonly request?: (url: string, options: object) => Promise<undici6.Dispatcher.ResponseData>
  readonly fetch: (url: string, init: object) => Promise<unknown>
}

/** The Agent of the built-in fetch: it has one after a first look at anything of its undici. */
function builtIn(): Dispatcher {
  return new (globalDispatcher().constructor as new () => Dispatcher)()
}

/** Where the matrix has undici 8, which Node 20 cannot load. */
const UNDICI8 = process.env['SPNEGO_UNDICI8']

function apiOf(name: string, { Agent, FormData: Form, request, fetch }: typeof undici7): Api {
  return {
    name,
    Form: Form as unknown as typeof FormData,
    newAgent: () => new Agent() as unknown as Dispatcher,
    request: (url, options) => request(url, options) as unknown as Promise<undici6.Dispatcher.ResponseData>,
    fetch: (url, init) => fetch(url, init),
  }
}

/** undici 8 is tried alone: loading it installs its dispatcher, which the built-in fetch of Node 22 and 24 cannot use. */
const ALONE = UNDICI8 === undefined ? undefined : [apiOf('undici 8', (await import(UNDICI8)) as typeof undici7)]

const APIS: readonly Api[] = ALONE ?? [
  apiOf('undici 6', undici6 as unknown as typeof undici7),
  apiOf('undici 7', undici7),
  { name: 'built-in', Form: FormData, newAgent: builtIn, fetch: (url, init) => globalThis.fetch(url, init) },
]

export const LANES: readonly Lane[] = APIS.flatMap((api) => [...requestLane(api), fetchLane(api)])

function requestLane({ name, Form, newAgent, request }: Api): readonly Lane[] {
  if (request === undefined) return []
  const client = (...interceptors: readonly Interceptor[]): Client => {
    const agent = newAgent()
    const dispatcher = agent.compose(...interceptors)
    return {
      async send(url, asked = {}) {
        const response = await request(url, { ...asked, dispatcher })
        const { statusCode, headers, body } = response
        return {
          status: statusCode,
          header: (field) => headers[field]?.toString(),
          text: () => body.text(),
          stream: body as unknown as Readable,
          report: negotiated(response),
        }
      },
      [Symbol.asyncDispose]: async () => void (await agent.destroy()),
    }
  }
  return [{ name: `${name}.request`, isFetch: false, Form, client }]
}

function fetchLane({ name, Form, newAgent, fetch }: Api): Lane {
  const client = (...interceptors: readonly Interceptor[]): Client => {
    const agent = newAgent()
    const dispatcher = agent.compose(...interceptors)
    return {
      async send(url, asked = {}) {
        const response = (await fetch(url, { ...asked, duplex: 'half', dispatcher })) as Response
        return {
          status: response.status,
          header: (field) => response.headers.get(field) ?? undefined,
          text: () => response.text(),
          get stream() {
            return Readable.fromWeb(response.body as never)
          },
          report: negotiated(response),
        }
      },
      [Symbol.asyncDispose]: async () => void (await agent.destroy()),
    }
  }
  return { name: `${name}.fetch`, isFetch: true, Form, client }
}

/** fetch wraps what a dispatcher says. */
export function reasonOf(error: unknown): unknown {
  return error instanceof TypeError && error.cause !== undefined ? error.cause : error
}
