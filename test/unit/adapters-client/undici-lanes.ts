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
  client(...interceptors: readonly Interceptor[]): Client
}

interface Dispatcher {
  compose(...interceptors: readonly Interceptor[]): object
  destroy(): Promise<unknown>
}
interface Api {
  readonly name: string
  readonly newAgent: () => Dispatcher
  readonly request?: (url: string, options: object) => Promise<undici6.Dispatcher.ResponseData>
  readonly fetch: (url: string, init: object) => Promise<unknown>
}

/** The Agent of the built-in fetch: it has one after a first look at anything of its undici. */
function builtIn(): Dispatcher {
  return new (globalDispatcher().constructor as new () => Dispatcher)()
}

const APIS: readonly Api[] = [
  {
    name: 'undici 6',
    newAgent: () => new undici6.Agent() as unknown as Dispatcher,
    request: (url, options) => undici6.request(url, options),
    fetch: (url, init) => undici6.fetch(url, init),
  },
  {
    name: 'undici 7',
    newAgent: () => new undici7.Agent() as unknown as Dispatcher,
    request: (url, options) => undici7.request(url, options) as unknown as Promise<undici6.Dispatcher.ResponseData>,
    fetch: (url, init) => undici7.fetch(url, init),
  },
  { name: 'built-in', newAgent: builtIn, fetch: (url, init) => globalThis.fetch(url, init) },
]

export const LANES: readonly Lane[] = APIS.flatMap((api) => [...requestLane(api), fetchLane(api)])

function requestLane({ name, newAgent, request }: Api): readonly Lane[] {
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
  return [{ name: `${name}.request`, isFetch: false, client }]
}

function fetchLane({ name, newAgent, fetch }: Api): Lane {
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
  return { name: `${name}.fetch`, isFetch: true, client }
}

/** fetch wraps what a dispatcher says. */
export function reasonOf(error: unknown): unknown {
  return error instanceof TypeError && error.cause !== undefined ? error.cause : error
}
