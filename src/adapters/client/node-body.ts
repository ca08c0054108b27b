import { Readable } from 'node:stream'
import { type BodySource, copyOf, ignore, readAhead } from './resend.ts'

/** A request’s body as undici and the clients on node:http take it. */
export interface NodeBody {
  /** Whether `take` works more than once; known after `prepare`. */
  readonly replayable: boolean
  /** Undefined where there is nothing to read: then the request can go at once. */
  readonly prepare?: ((most: number, signal?: AbortSignal) => Promise<void>) | undefined
  take(): unknown
  /** The request has failed: nobody reads on. */
  destroy(reason: unknown): void
}

/**
 * Text, bytes, forms and blobs are sent again as they are, bytes as they were. Streams and iterables are read ahead, since what they gave is
 * gone; a longer one can be sent once.
 */
export function nodeBody(body: unknown): NodeBody {
  if (typeof body === 'object' && body !== null && isOneShot(body)) return new OneShotBody(body)
  const kept = body instanceof ArrayBuffer || ArrayBuffer.isView(body) ? copyOf(body) : body
  return { replayable: true, take: () => kept, destroy: ignore }
}

/** In undici's order: what pipes is a stream, also when it calls itself a form. */
function isOneShot(body: object): boolean {
  if (isStream(body)) return true
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return false
  const isForm = (body as Record<symbol, unknown>)[Symbol.toStringTag] === 'FormData'
  return !isForm && (Symbol.asyncIterator in body || Symbol.iterator in body)
}

class OneShotBody implements NodeBody {
  readonly #source: BodySource
  #whole: Uint8Array | undefined
  #chunks: readonly Uint8Array[] = []

  constructor(body: object) {
    this.#source = sourceOf(body)
  }

  get replayable(): boolean {
    return this.#whole !== undefined
  }

  async prepare(most: number, signal?: AbortSignal): Promise<void> {
    const read = await readAhead(this.#source, most, signal, bytesOf)
    if (read.whole === undefined) this.#chunks = read.chunks
    else this.#whole = Buffer.from(read.whole.buffer)
  }

  take(): unknown {
    return this.#whole ?? rest(this.#chunks, this.#source)
  }

  destroy(reason: unknown): void {
    void this.#source.cancel(reason).catch(ignore)
  }
}

/** What was read already, then the rest as it comes. */
async function* rest(chunks: readonly Uint8Array[], source: BodySource): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
    for (;;) {
      const { done, value } = await source.read()
      if (done === true) return
      yield bytesOf(value)
    }
  } finally {
    void source.cancel(undefined).catch(ignore)
  }
}

/** undici writes text too. */
function bytesOf(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece
  if (typeof piece === 'string') return Buffer.from(piece)
  throw new TypeError('the body gave something else than text or a Uint8Array')
}

function sourceOf(body: object): BodySource {
  const iterator = iteratorOf(body)
  let giveUp: (reason: unknown) => void = ignore
  return {
    read: () =>
      new Promise((resolve, reject) => {
        giveUp = reject
        Promise.resolve(iterator.next()).then(resolve, reject)
      }),
    async cancel(reason) {
      giveUp(reason)
      if (!isStream(body)) return await iterator.return?.()
      body.on('error', ignore) // it may have no other listener, and is not to end the process
      return body.destroy?.(reason)
    },
  }
}

function iteratorOf(body: object): Iterator<unknown> | AsyncIterator<unknown> {
  const { [Symbol.asyncIterator]: inTime, [Symbol.iterator]: atOnce } = body as Partial<
    AsyncIterable<unknown> & Iterable<unknown>
  >
  if (inTime !== undefined) return inTime.call(body)
  if (atOnce !== undefined) return atOnce.call(body)
  const old = body as NodeJS.ReadableStream
  const pieces = new Readable().wrap(old)
  old.resume?.() // that of the package form-data gives nothing unasked
  return pieces[Symbol.asyncIterator]()
}

interface StreamLike {
  pipe(to: unknown): unknown
  on(event: string, listener: () => void): unknown
  destroy?(reason: unknown): unknown
}

export function isStream(body: object): body is StreamLike {
  const { pipe, on } = body as Partial<StreamLike>
  return typeof pipe === 'function' && typeof on === 'function'
}
