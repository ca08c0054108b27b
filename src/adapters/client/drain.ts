import type { Readable } from 'node:stream'
import { MAX_DRAIN_MS, MAX_DRAINED_BYTES } from './resend.ts'

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
