/** Requests of undici to a proxy that reads them (RFC 9112 §3.2.2). */

import type { FieldValues, TokenFields } from '../../http/client.ts'
import { MAX_DRAIN_MS, MAX_DRAINED_BYTES } from './resend.ts'
import { Fields, type ParsedFields, type RawFields } from './undici-fields.ts'
import { type DispatchOptions, OutgoingHeaders, urlOf } from './undici-request.ts'

interface Dispatching {
  dispatch(options: object, handler: object): boolean
}

/** What a dispatcher is to be asked in place of a request: its URL goes to the proxy, and the tokens with it. */
export function inAbsoluteForm(
  options: DispatchOptions,
  headers: OutgoingHeaders,
  url: URL,
  proxy: URL,
  tokens: TokenFields,
): object {
  const host = headers.has('host') ? {} : { host: url.host }
  const path = `${url.origin}${url.pathname}${url.search}`
  return { ...options, origin: proxy.origin, path, headers: headers.with({ ...host, ...tokens }) }
}

/** A proxy's 407, which is no answer to the request that was sent through it. */
export class ProxyAnswer extends Error {
  readonly fields: FieldValues

  constructor(fields: FieldValues) {
    super('the proxy asks for a login')
    this.fields = fields
  }
}

/**
 * For fetch, which has no response of status 407 (Fetch standard, HTTP-network-or-cache fetch): such a request fails with a `ProxyAnswer`, when its
 * page has been read, so that the connection serves again.
 *
 * @param authorization what the proxy gets
 */
export function throughProxy(dispatcher: Dispatching, proxy: URL, authorization: string | undefined): Dispatching {
  const tokens: TokenFields = authorization === undefined ? {} : { 'proxy-authorization': authorization }
  return {
    dispatch(options: DispatchOptions, handler) {
      const url = urlOf(options)
      if (url === undefined) throw new TypeError('the request has no URL')
      const headers = new OutgoingHeaders(options.headers)
      const forwarded = inAbsoluteForm(options, headers, url, proxy, tokens)
      return dispatcher.dispatch(forwarded, withoutPagesOfProxy(handler as Handler))
    },
  }
}

type Listener = (...values: readonly unknown[]) => unknown
type Handler = Readonly<Record<string, Listener | undefined>>
interface Aborting {
  abort(reason: unknown): void
}

/** Both handler APIs of undici, as far as an answer is concerned. */
function withoutPagesOfProxy(handler: Handler): object {
  let answer: ProxyAnswer | undefined
  let length = 0
  let abort: (reason: unknown) => void = () => {}
  let timer: NodeJS.Timeout | undefined
  const asked = (fields: Fields) => {
    answer = new ProxyAnswer((name) => fields.values(name))
    timer = setTimeout(abort, MAX_DRAIN_MS, answer)
  }
  const skip = (chunk: Uint8Array): true => {
    length += chunk.length
    if (length > MAX_DRAINED_BYTES) abort(answer)
    return true
  }
  const own = {
    onConnect(this: Handler, stop: (reason: unknown) => void, ...more: readonly unknown[]) {
      abort = stop
      return handler['onConnect']?.call(this, stop, ...more)
    },
    onHeaders(this: Handler, status: number, raw: RawFields, ...more: readonly unknown[]) {
      if (status !== 407) return handler['onHeaders']?.call(this, status, raw, ...more)
      asked(Fields.ofRaw(raw))
      return true
    },
    onData(this: Handler, chunk: Uint8Array) {
      return answer === undefined ? handler['onData']?.call(this, chunk) : skip(chunk)
    },
    onComplete(this: Handler, ...values: readonly unknown[]) {
      return answer === undefined ? handler['onComplete']?.apply(this, [...values]) : this['onError']?.(answer)
    },
    onError(this: Handler, error: unknown) {
      clearTimeout(timer)
      return handler['onError']?.call(this, answer ?? error) // a page that was cut off was for nobody
    },
    onRequestStart(this: Handler, controller: Aborting, ...more: readonly unknown[]) {
      abort = (reason) => controller.abort(reason)
      return handler['onRequestStart']?.call(this, controller, ...more)
    },
    onResponseStart(
      this: Handler,
      controller: Aborting & { rawHeaders?: RawFields | null },
      status: number,
      parsed: ParsedFields,
      ...more: readonly unknown[]
    ) {
      if (status !== 407) return handler['onResponseStart']?.call(this, controller, status, parsed, ...more)
      asked(Fields.ofParsed(parsed, controller.rawHeaders))
      return undefined
    },
    onResponseData(this: Handler, controller: Aborting, chunk: Uint8Array) {
      return answer === undefined ? handler['onResponseData']?.call(this, controller, chunk) : skip(chunk)
    },
    onResponseEnd(this: Handler, controller: Aborting, ...more: readonly unknown[]) {
      return answer === undefined
        ? handler['onResponseEnd']?.call(this, controller, ...more)
        : this['onResponseError']?.(controller, answer)
    },
    onResponseError(this: Handler, controller: Aborting, error: unknown) {
      clearTimeout(timer)
      return handler['onResponseError']?.call(this, controller, answer ?? error)
    },
  }
  const kept = Object.entries(own).filter(([name]) => typeof handler[name] === 'function')
  return Object.assign(Object.create(handler) as object, Object.fromEntries(kept))
}
