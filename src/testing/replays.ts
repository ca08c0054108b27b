import { toHex } from '../bytes/hex.ts'
import { sha256 } from '../crypto/index.ts'
import { ERROR } from '../krb5/messages/index.ts'
import { Refusal } from './krb-error.ts'
import { CLOCK_SKEW } from './tickets.ts'

/** An authenticator may lie a skew ahead and stays good for a skew behind: then it can be forgotten. Microseconds. */
const LIFE: number = 2 * CLOCK_SKEW
/** Most authenticators of one `LIFE`. */
const MAX_AUTHENTICATORS = 1_000_000
/** Replies that are kept for a request that comes again, and for how long, in microseconds. */
const MAX_REPLIES = 256
const REPLY_LIFE = 120e6

/** The authenticators that were accepted (RFC 4120 §3.2.3): in two generations, of which the older is dropped as a whole. */
export class Replays {
  #young = new Set<string>()
  #old = new Set<string>()
  #since = 0

  /** @param now microseconds since 1970 @throws {Refusal} when there is no room: nothing is accepted then */
  isNew(cipher: Uint8Array, now: number): boolean {
    this.#age(now)
    const name = digest(cipher)
    if (this.#young.has(name) || this.#old.has(name)) return false
    if (this.#young.size >= MAX_AUTHENTICATORS) throw new Refusal(ERROR.KDC_ERR_SVC_UNAVAILABLE)
    this.#young.add(name)
    return true
  }

  #age(now: number): void {
    if (now - this.#since < LIFE) return
    this.#old = this.#young
    this.#young = new Set()
    this.#since = now
  }
}

/**
 * The last replies, each by its request. A datagram is sent again when its answer was lost, or over TCP when it was too big: "an
 * identical request" gets a reply "rather than a replay error" (RFC 4120 §3.1.2).
 */
export class RecentReplies {
  readonly #replies = new Map<string, { readonly reply: Uint8Array; readonly at: number }>()

  find(request: Uint8Array, now: number): Uint8Array | undefined {
    const found = this.#replies.get(digest(request))
    return found !== undefined && Math.abs(now - found.at) <= REPLY_LIFE ? found.reply : undefined
  }

  add(request: Uint8Array, reply: Uint8Array, now: number): void {
    for (const oldest of this.#replies.keys()) {
      if (this.#replies.size < MAX_REPLIES) break
      this.#replies.delete(oldest)
    }
    this.#replies.set(digest(request), { reply: new Uint8Array(reply), at: now }) // a copy: messages lie in a pool
  }
}

function digest(bytes: Uint8Array): string {
  return toHex(sha256(bytes).subarray(0, 16))
}
