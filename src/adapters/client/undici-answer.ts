import type { Duplex } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { ignore, MAX_DRAIN_MS, MAX_DRAINED_BYTES } from './resend.ts'
import type { Fields } from './undici-fields.ts'
import type { Head, Link, Progress, Receiver } from './undici-handlers.ts'

/** The head of an answer, with the connection if that was handed over. */
export interface Begun {
  readonly head: Head
  readonly socket: Duplex | undefined
}

/** Who takes what follows the head. */
export interface Sink {
  data(chunk: Uint8Array): void
  end(trailers: Fields): void
  fail(error: unknown): void
}

/** What else a send tells. */
export interface Watcher {
  context(context: object): void
  progress(name: Progress, chunk: unknown): void
}

/** Longest page of a 401 that is kept while a ticket is fetched. What is longer is cut off: it is for nobody, unless the login fails. */
const MAX_KEPT_BYTES = 1024 * 1024

/**
 * The answer to one send. What follows its head is kept until the login has decided who takes it. Only a caller pauses it: undici 6 and 7 end the
 * process (`assert(!this.paused)`) when a server closes a connection that is paused, and some dispatchers heed no pause.
 */
export class Answer implements Receiver {
  /** Rejects when there is no answer. */
  readonly begun: Promise<Begun>
  #begin: (begun: Begun) => void = ignore
  #refuse: (error: unknown) => void = ignore
  readonly #hasToken: boolean
  readonly #watcher: Watcher | undefined
  readonly #kept: ((sink: Sink) => void)[] = []
  #link: Link | undefined
  #socket: Duplex | undefined
  #sink: Sink | undefined
  #sent = 0
  #isRefusal = false
  #keptBytes = 0
  #flows = false
  #isFlushing = false
  #givenUp: { readonly reason: unknown } | undefined

  constructor(hasToken: boolean, watcher: Watcher | undefined) {
    this.#hasToken = hasToken
    this.#watcher = watcher
    this.begun = new Promise((resolve, reject) => {
      this.#begin = resolve
      this.#refuse = reject
    })
    this.begun.catch(ignore) // when nobody waits any more
  }

  /** A dispatcher that begins again sends the same once more: a redirect or a retry behind us. */
  start(link: Link, context: object | undefined): void {
    if (this.#link !== undefined && this.#hasToken) this.#givenUp = { reason: sentTwice() } // check: C19
    this.#link = link
    if (context !== undefined) this.#watcher?.context(context)
    if (this.#givenUp !== undefined) link.abort(this.#givenUp.reason)
  }

  /** Interim answers are passed over: nobody has vouched for them. */
  head(head: Head): void {
    this.#isRefusal = head.status === 401 || head.status === 407
    if (head.status >= 200) this.#begin({ head, socket: undefined })
  }

  upgrade(head: Head, socket: Duplex): void {
    this.#socket = socket.on('error', ignore) // nobody listens yet
    this.#begin({ head, socket })
  }

  data(chunk: Uint8Array): void {
    this.#keep((sink) => sink.data(chunk))
    if (this.#sink !== undefined || !this.#isRefusal) return // any other answer is kept for no longer than a proof is checked
    this.#keptBytes += chunk.length
    if (this.#keptBytes > MAX_KEPT_BYTES) this.abort(new Error('the page of a 401 is too long to be kept'))
  }

  end(trailers: Fields): void {
    this.#keep((sink) => sink.end(trailers))
  }

  fail(error: unknown): void {
    this.#refuse(error)
    if (this.#sink === undefined) this.#kept.push((sink) => sink.fail(error))
    else this.#sink.fail(error)
  }

  /** The retries of undici 6 do not say that they begin again: it shows too late, but at least once. */
  progress(name: Progress, chunk?: unknown): void {
    if (name === 'onRequestSent' && this.#hasToken && ++this.#sent > 1) this.abort(sentTwice())
    this.#watcher?.progress(name, chunk)
  }

  abort(reason: unknown): void {
    this.#givenUp = { reason }
    this.#link?.abort(reason)
  }

  /** Says who takes the rest, from `resume` on. */
  pass(sink: Sink): void {
    this.#sink = sink
  }

  pause(): void {
    this.#flows = false
    this.#link?.pause()
  }

  resume(): void {
    this.#flows = true
    this.#flush()
    if (this.#flows) this.#link?.resume()
  }

  #keep(event: (sink: Sink) => void): void {
    this.#kept.push(event)
    this.#flush()
  }

  #flush(): void {
    if (this.#isFlushing || this.#sink === undefined) return
    this.#isFlushing = true
    while (this.#flows) {
      const event = this.#kept.shift()
      if (event === undefined) break
      event(this.#sink)
    }
    this.#isFlushing = false
  }

  /** Reads what is left, within bounds, so that the connection serves again; else gives it up. Never fails. */
  async discard(): Promise<void> {
    if (this.#socket !== undefined) return void this.#socket.destroy()
    await new Promise<void>((resolve) => this.#drain(resolve))
    await setImmediate() // undici takes the connection back in its next turn
  }

  #drain(done: () => void): void {
    const end = () => {
      clearTimeout(timer)
      done()
    }
    const giveUp = () => {
      end()
      this.abort(new Error('the rest of the answer is not wanted'))
    }
    const timer = setTimeout(giveUp, MAX_DRAIN_MS)
    let length = 0
    const data = (chunk: Uint8Array) => {
      length += chunk.length
      if (length > MAX_DRAINED_BYTES) giveUp()
    }
    this.pass({ data, end, fail: end })
    this.resume()
  }
}

function sentTwice(): Error {
  return new Error('a token is not sent twice: compose redirects and retries after the login, so that they come first')
}
