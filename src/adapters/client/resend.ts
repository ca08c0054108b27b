/** What a client needs that may send a request twice: its body kept, the first answer out of the way. */
import { concat } from '../../bytes/bytes.ts'
import { UsageError } from '../../errors.ts'

/** A connection serves again only when the refused answer's page has been read; one that is long, or slow, is not worth it. */
export const MAX_DRAINED_BYTES = 65_536
export const MAX_DRAIN_MS = 1000

/** Gives a one-shot body piece by piece. */
export interface BodySource {
  read(): Promise<{ readonly done?: boolean | undefined; readonly value?: unknown }>
  /** Also ends a `read` that is under way. */
  cancel(reason: unknown): Promise<unknown>
}

/** What was read of a body: all of it, or the beginning of one that is longer than what is kept. */
export type ReadAhead =
  | { readonly whole: Uint8Array<ArrayBuffer> }
  | { readonly whole: undefined; readonly chunks: readonly Uint8Array[] }

/**
 * Reads a body up to `most` octets.
 *
 * @param bytesOf what the client takes for a piece of a body; throws for anything else
 * @throws the reason of the signal, or the body's own error; then the source is cancelled
 */
export async function readAhead(
  source: BodySource,
  most: number,
  signal: AbortSignal | undefined,
  bytesOf: (piece: unknown) => Uint8Array,
): Promise<ReadAhead> {
  const stop = () => void source.cancel(signal?.reason).catch(ignore)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    return await readUpTo(source, most, signal, bytesOf)
  } catch (error) {
    void source.cancel(error).catch(ignore)
    throw error
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

async function readUpTo(
  source: BodySource,
  most: number,
  signal: AbortSignal | undefined,
  bytesOf: (piece: unknown) => Uint8Array,
): Promise<ReadAhead> {
  const chunks: Uint8Array[] = []
  let length = 0
  while (length <= most) {
    signal?.throwIfAborted()
    const { done, value } = await source.read()
    signal?.throwIfAborted()
    if (done === true) return { whole: concat(...chunks) as Uint8Array<ArrayBuffer> }
    const chunk = bytesOf(value)
    if (chunk.length > 0) chunks.push(chunk)
    length += chunk.length
  }
  return { whole: undefined, chunks }
}

/** The caller may change his own while the first answer is on its way. */
export function copyOf(bytes: ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes.slice())
  return Uint8Array.from(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}

export function notReplayable({ origin }: URL): UsageError {
  return new UsageError('BODY_NOT_REPLAYABLE', `${origin} asked for a login after a one-shot body had been sent`, {
    hint: 'Send text or bytes, raise maxReplayBodyBytes, or make a ticket available so that the token goes first; behind a proxy take https, or proxy: { tunnel: true }.',
  })
}

export function ignore(): void {}
