/**
 * The two handler APIs of undici, that of version 6 and that since 7, in one form. What comes from a dispatcher may be told in either, and so may
 * what goes to the caller: they need not be of one version.
 */
import type { Duplex } from 'node:stream'
import { Fields, type ParsedFields, type RawFields } from './undici-fields.ts'

/** Holds the pace of an answer, or ends it. */
export interface Link {
  abort(reason: unknown): void
  pause(): void
  resume(): void
}

/** What a handler of version 7 holds of its request. */
export interface Controller extends Link {
  readonly aborted: boolean
  readonly reason: unknown
  readonly paused: boolean
  readonly rawHeaders: RawFields | null
  readonly rawTrailers: RawFields | null
}

export interface Head {
  readonly status: number
  readonly fields: Fields
  readonly reason: string | undefined
}

/** What only version 6 tells, about the request on its way. */
export type Progress = 'onBodySent' | 'onRequestSent' | 'onResponseStarted'

/** Whoever is told what becomes of a request. */
export interface Receiver {
  start(link: Link, context: object | undefined): void
  head(head: Head): void
  upgrade(head: Head, socket: Duplex): void
  data(chunk: Uint8Array): void
  end(trailers: Fields): void
  fail(error: unknown): void
  progress(name: Progress, chunk?: unknown): void
}

type OldResume = () => void
type NewController = Link & Partial<Controller>

/** A handler for a dispatcher of any version. Its own functions carry it: some interceptors take a handler apart. */
export function handlerOf(to: Receiver): object {
  let old = new OldLink(() => {})
  return {
    onConnect(abort: (reason: unknown) => void, context?: object | null) {
      old = new OldLink(abort)
      to.start(old, context ?? undefined)
    },
    onHeaders(status: number, raw: RawFields, resume: OldResume, reason?: string) {
      old.onResume = resume
      to.head({ status, fields: Fields.ofRaw(raw), reason })
      return !old.isPaused
    },
    onUpgrade(status: number | null, raw: RawFields | null, socket: Duplex) {
      // Over HTTP/2 undici 6 hands out the stream before there is a status.
      to.upgrade({ status: status ?? 101, fields: Fields.ofRaw(raw), reason: undefined }, socket)
    },
    onData(chunk: Uint8Array) {
      to.data(chunk)
      return !old.isPaused
    },
    onComplete: (raw: RawFields | null) => to.end(Fields.ofRaw(raw)),
    onError: (error: unknown) => to.fail(error),
    onBodySent: (chunk: unknown) => to.progress('onBodySent', chunk),
    onRequestSent: () => to.progress('onRequestSent'),
    onResponseStarted: () => to.progress('onResponseStarted'),

    onRequestStart: (controller: NewController, context?: object | null) => to.start(controller, context ?? undefined),
    onRequestUpgrade(controller: NewController, status: number, parsed: ParsedFields, socket: Duplex) {
      to.upgrade({ status, fields: Fields.ofParsed(parsed, controller.rawHeaders), reason: undefined }, socket)
    },
    onResponseStart(controller: NewController, status: number, parsed: ParsedFields, reason?: string) {
      to.head({ status, fields: Fields.ofParsed(parsed, controller.rawHeaders), reason })
    },
    onResponseData: (_: NewController, chunk: Uint8Array) => to.data(chunk),
    onResponseEnd: ({ rawTrailers }: NewController, parsed: ParsedFields) =>
      to.end(Fields.ofParsed(parsed, rawTrailers)),
    onResponseError: (_: NewController, error: unknown) => to.fail(error),
  }
}

/** Version 6 says "not now" by returning false, and is called back. */
class OldLink implements Link {
  isPaused = false
  onResume: OldResume = () => {}
  readonly abort: (reason: unknown) => void

  constructor(abort: (reason: unknown) => void) {
    this.abort = abort
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.onResume()
  }
}

/** The caller's handler, of any version. */
export interface Caller {
  start(controller: Controller, context: object): void
  head(controller: Controller, head: Head): void
  upgrade(controller: Controller, head: Head, socket: Duplex): void
  data(controller: Controller, chunk: Uint8Array): void
  end(controller: Controller, trailers: Fields): void
  fail(controller: Controller, error: unknown): void
  progress(name: Progress, chunk?: unknown): void
}

type Listener = (...args: readonly unknown[]) => unknown
type Handler = Readonly<Partial<Record<string, Listener>>>

/** Undefined for what is no handler: undici has the words for it. */
export function callerOf(handler: unknown): Caller | undefined {
  if (typeof handler !== 'object' || handler === null) return undefined
  const { onConnect, onError, onRequestStart } = handler as Handler
  // The wrapper of undici 7 speaks both, and hands the octets of fields on in the old one alone.
  if (typeof onConnect === 'function' && typeof onError === 'function') return oldCaller(handler as Handler)
  return typeof onRequestStart === 'function' ? newCaller(handler as Handler) : undefined
}

function oldCaller(handler: Handler): Caller {
  return {
    start(controller, context) {
      handler['onConnect']?.((reason: unknown) => controller.abort(reason), context)
    },
    head(controller, { status, fields, reason }) {
      const goesOn = handler['onHeaders']?.(status, fields.raw, () => controller.resume(), reason)
      if (goesOn === false) controller.pause()
    },
    upgrade(_, { status, fields }, socket) {
      handler['onUpgrade']?.(status, fields.raw, socket)
    },
    data(controller, chunk) {
      if (handler['onData']?.(chunk) === false) controller.pause()
    },
    end(_, { raw }) {
      handler['onComplete']?.(raw)
    },
    fail(_, error) {
      handler['onError']?.(error)
    },
    progress(name, chunk) {
      handler[name]?.(chunk)
    },
  }
}

function newCaller(handler: Handler): Caller {
  return {
    start(controller, context) {
      handler['onRequestStart']?.(controller, context)
    },
    head(controller, { status, fields, reason }) {
      handler['onResponseStart']?.(controller, status, fields.parsed, reason)
    },
    upgrade(controller, { status, fields }, socket) {
      handler['onRequestUpgrade']?.(controller, status, fields.parsed, socket)
    },
    data(controller, chunk) {
      handler['onResponseData']?.(controller, chunk)
    },
    end(controller, { parsed }) {
      handler['onResponseEnd']?.(controller, parsed)
    },
    fail(controller, error) {
      handler['onResponseError']?.(controller, error)
    },
    progress() {},
  }
}
