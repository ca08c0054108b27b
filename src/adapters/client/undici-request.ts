import { UsageError } from '../../errors.ts'

/** What undici is asked to send: `Dispatcher.DispatchOptions`, as far as a login has to know it. */
export interface DispatchOptions {
  readonly origin?: string | URL | null | undefined
  readonly path?: unknown
  readonly method?: unknown
  readonly headers?: unknown
  readonly body?: unknown
}

/**
 * The URL of a request. Its host is that of the origin, also when the path begins with two slashes.
 *
 * @returns undefined for what undici refuses, and for a whole URL in place of a path: that goes to a proxy, and who answers is not known
 * @throws {UsageError} `OPTION_INVALID` without an origin
 */
export function urlOf({ origin, path }: DispatchOptions): URL | undefined {
  if (origin === undefined || origin === null) throw originMissing()
  if (typeof path !== 'string' || !path.startsWith('/') || !URL.canParse(origin)) return undefined
  const { protocol, origin: base } = new URL(origin)
  return protocol === 'http:' || protocol === 'https:' ? new URL(`${base}${path}`) : undefined
}

function originMissing(): UsageError {
  return new UsageError('OPTION_INVALID', 'a dispatcher with a login needs the origin of each request', {
    hint: "Compose an Agent, or write client.request({ origin: 'https://web1.corp', path: '/', method: 'GET' }).",
  })
}

/**
 * A request's header, read once: it may be an iterator.
 *
 * @throws {TypeError} for what undici takes for no header
 */
export class OutgoingHeaders {
  readonly #given: unknown
  readonly #pairs: readonly Pair[]

  constructor(headers: unknown) {
    this.#given = headers
    this.#pairs = pairsOf(headers)
  }

  /** undici leaves out what has no value. */
  has(name: string): boolean {
    return this.#pairs.some(([key, value]) => value !== undefined && String(key).toLowerCase() === name)
  }

  /** With these in place of what has their names. An object stays one, a list becomes one: interceptors behind us may know no other. */
  with(more: Readonly<Record<string, string>>): unknown {
    const others = this.#pairs.filter(([name]) => !(String(name).toLowerCase() in more))
    const all = [...others, ...Object.entries(more)]
    return isRecord(this.#given) ? Object.fromEntries(all) : all.flat()
  }
}

function isRecord(headers: unknown): headers is Record<string, unknown> {
  return typeof headers === 'object' && headers !== null && !(Symbol.iterator in headers)
}

type Pair = readonly [name: unknown, value: unknown]

/** An object, a list of names and values in turn, or anything that gives pairs: a Map, a Headers. */
function pairsOf(headers: unknown): readonly Pair[] {
  if (headers === undefined || headers === null) return []
  if (typeof headers !== 'object') throw new TypeError('headers must be an object or an array')
  if (isRecord(headers)) return Object.entries(headers)
  const items = [...(headers as Iterable<unknown>)]
  if (!Array.isArray(headers)) return items.map(pairOf)
  if (items.length % 2 !== 0) throw new TypeError('headers array must be even')
  return items.flatMap((name, i) => (i % 2 === 0 ? [[name, items[i + 1]] as const] : []))
}

function pairOf(item: unknown): Pair {
  if (!Array.isArray(item) || item.length !== 2) throw new TypeError('headers must be in key-value pair format')
  return [item[0], item[1]]
}
