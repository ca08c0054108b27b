import { concat } from '../../bytes/bytes.ts'

/** A body that can be sent as often as needed, or once. */
export interface SendableBody {
  /** The body of the next send; undefined when it has been used up. */
  take(): BodyInit | null | undefined
  /** Whether `take` works more than once. */
  readonly replayable: boolean
}

/** Text, bytes, forms and blobs are sent again as they are. A stream is kept up to `most` octets; a longer one can be sent once. */
export async function sendableBody(body: BodyInit | null | undefined, most: number): Promise<SendableBody> {
  if (body === null || body === undefined) return { take: () => null, replayable: true }
  if (!(body instanceof ReadableStream)) return { take: () => body, replayable: true }
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  while (length <= most) {
    const { done, value } = await reader.read()
    if (done) {
      const whole = concat(...chunks) as Uint8Array<ArrayBuffer>
      return { take: () => whole, replayable: true }
    }
    chunks.push(value)
    length += value.length
  }
  return once(chunks, reader)
}

/** What was read already, then the rest as it comes. */
function once(chunks: Uint8Array[], reader: ReadableStreamDefaultReader<Uint8Array>): SendableBody {
  let used = false
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const kept = chunks.shift()
      if (kept !== undefined) return controller.enqueue(kept)
      const { done, value } = await reader.read()
      if (done) controller.close()
      else controller.enqueue(value)
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
