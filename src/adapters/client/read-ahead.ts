import { PassThrough, Readable } from 'node:stream'
import { concat } from '../../bytes/bytes.ts'

/** A one-shot body, of which a part has been read: all of it, or a stream that begins with that part. */
export type Ahead = { readonly whole: Uint8Array } | { readonly rest: Readable }

/**
 * Reads a body that can be read once, as far as `most` octets, so that a short one can be sent twice.
 *
 * @throws whatever reading throws; then, and when the stream that it gives is destroyed, the body is ended
 */
export async function readAhead(body: AsyncIterable<unknown>, most: number): Promise<Ahead> {
  const iterator = body[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  for (let length = 0; length <= most; ) {
    const { done, value } = await iterator.next()
    if (done === true) return { whole: concat(...chunks) }
    const chunk = bytesOf(value)
    chunks.push(chunk)
    length += chunk.length
  }
  return { rest: Readable.from(resumed(chunks, iterator), { objectMode: false }) }
}

async function* resumed(chunks: Uint8Array[], iterator: AsyncIterator<unknown>): AsyncGenerator<Uint8Array> {
  try {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) yield chunk
    for (let { done, value } = await iterator.next(); done !== true; { done, value } = await iterator.next()) {
      yield bytesOf(value)
    }
  } finally {
    await iterator.return?.()
  }
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return new TextEncoder().encode(chunk)
  throw new TypeError('the stream of the body gave something else than bytes or text')
}

/** Also a stream of the old kind, which `form-data` still makes. */
export function iterable(stream: NodeJS.ReadableStream): AsyncIterable<unknown> {
  if (Symbol.asyncIterator in stream) return stream
  const through = new PassThrough()
  ;(stream as NodeJS.ReadableStream).on('error', (error) => through.destroy(error as Error)).pipe(through)
  return through
}

const MAX_DRAINED_BYTES = 65_536
const MAX_DRAIN_MS = 1000

/** The connection serves again only when this answer has been read; one that is long, or slow, is not worth it. Never throws. */
export async function drain(answer: Readable): Promise<void> {
  const timer = setTimeout(() => answer.destroy(), MAX_DRAIN_MS)
  try {
    let length = 0
    for await (const chunk of answer) {
      length += (chunk as Uint8Array).length
      if (length > MAX_DRAINED_BYTES) break
    }
  } catch {
    // The page was cut off: nobody wanted it.
  } finally {
    clearTimeout(timer)
  }
}
