import { copyOf, readAhead } from './resend.ts'

/** A body that can be sent as often as needed, or once. */
export interface SendableBody {
  /** The body of the next send; undefined when it has been used up. */
  take(): BodyInit | null | undefined
  /** Whether `take` works more than once. */
  readonly replayable: boolean
}

export const NO_BODY: SendableBody = { take: () => null, replayable: true }

/**
 * Text, bytes, forms and blobs are sent again as they were when this was called. A stream is kept up to `most` octets; a longer one can be sent
 * once.
 *
 * @throws the reason of the signal, and then the stream is cancelled; TypeError for a stream of anything but bytes
 */
export async function sendableBody(
  body: BodyInit | null | undefined,
  most: number,
  signal: AbortSignal | undefined,
): Promise<SendableBody> {
  if (body === null || body === undefined) return NO_BODY
  if (!(body instanceof ReadableStream)) {
    const kept = copied(body)
    return { take: () => kept, replayable: true }
  }
  const reader: ReadableStreamDefaultReader<unknown> = body.getReader()
  const read = await readAhead(reader, most, signal, bytesOf)
  const { whole } = read
  return whole === undefined ? once([...read.chunks], reader) : { take: () => whole, replayable: true }
}

/** The caller may change his own while the first answer is on its way (Fetch standard, extract a body: a copy of the bytes). */
function copied(body: Exclude<BodyInit, ReadableStream>): BodyInit {
  if (body instanceof URLSearchParams) return new URLSearchParams(body)
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return copyOf(body)
  if (!(body instanceof FormData)) return body
  const form = new FormData()
  for (const [name, value] of body) form.append(name, value)
  return form
}

/** What was read already, then the rest as it comes. */
function once(chunks: Uint8Array[], reader: ReadableStreamDefaultReader<unknown>): SendableBody {
  let used = false
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const kept = chunks.shift()
      if (kept !== undefined) return controller.enqueue(kept)
      const { done, value } = await reader.read()
      if (done) controller.close()
      else controller.enqueue(bytesOf(value))
    },
    cancel: (reason) => reader.cancel(reason),
  })
  const take = () => {
    if (used) return undefined
    used = true
    return stream
  }
  return { take, replayable: false }
}

/** Fetch standard, incrementally read a body, step 3: chunks are Uint8Array. */
function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  throw new TypeError('the stream of the body gave something else than a Uint8Array')
}
