import type { IncomingMessage, ServerResponse } from 'node:http'
import { isListField, type Refusal } from '../../http/index.ts'
import { addField } from './on-head.ts'
import { isHttp2 } from './request-of.ts'

/** Most octets of a refused request's body that are read, so that its connection can carry the next one. */
export const MAX_DRAINED_BYTES = 65_536
/** How long they may take. */
const MAX_DRAIN_MS = 1_000
/** How long a client has to read the answer before its connection is closed over what it still sends (RFC 9112 §9.6). */
const LINGER_MS = 500

/** Answers a request that is not let through. Resolves when the response has ended. */
export async function refuse(req: IncomingMessage, res: ServerResponse, refusal: Refusal): Promise<void> {
  res.statusCode = refusal.status
  for (const [name, value] of refusal.headers) {
    if (isListField(name)) addField(res, name, value)
    else res.setHeader(name, value)
  }
  if (!hasUnreadBody(req)) return void res.end(refusal.body)
  if (isHttp2(req)) return void res.end(refusal.body, () => req.stream.close(0)) // NO_ERROR (RFC 9113 §8.1)

  // The whole answer goes out at once; the response ends only when it is known whether the connection lives.
  if (Number(req.headers['content-length']) > MAX_DRAINED_BYTES) res.setHeader('Connection', 'close')
  if (refusal.body.length > 0) res.write(refusal.body)
  else res.flushHeaders()
  const whole = await drained(req)
  res.end()
  if (!whole) req.socket.destroy() // check: S14
}

function hasUnreadBody(req: IncomingMessage): boolean {
  if (req.complete) return false
  if (isHttp2(req)) return true
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0 // RFC 9112 §6.3
}

/** Whether the rest of the body came within its bounds. What came is not kept. */
function drained(req: IncomingMessage): Promise<boolean> {
  return new Promise((resolve) => {
    let length = 0
    let timer = later(MAX_DRAIN_MS, stop)
    req.on('data', count)
    req.once('end', () => finish(true))
    req.once('close', () => finish(req.complete))
    req.once('error', () => finish(false))
    req.resume()

    function count(chunk: Uint8Array): void {
      length += chunk.length
      if (length > MAX_DRAINED_BYTES) stop() // check: S14
    }
    function stop(): void {
      req.off('data', count)
      req.pause()
      clearTimeout(timer)
      timer = later(LINGER_MS, () => finish(false))
    }
    function finish(whole: boolean): void {
      clearTimeout(timer)
      resolve(whole)
    }
  })
}

function later(delayMs: number, run: () => void): NodeJS.Timeout {
  return setTimeout(run, delayMs).unref()
}
