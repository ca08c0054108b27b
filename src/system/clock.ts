import type { Source } from '../krb5/exchange/index.ts'

/** Octets that are drawn at once: `getRandomValues` costs 4 µs a call, whatever its length. */
const POOL_BYTES = 4096
/** More than this, in microseconds, is no unevenness of two clocks: somebody has set one back. */
const SET_BACK = 1e6

/** The clock and the randomness of this machine. */
export function systemSource(): Source {
  let last = 0
  let pool = new Uint8Array(0)
  let used = 0
  return {
    now() {
      // Two authenticators of one client must differ (RFC 4120 §3.2.2), and Date.now() has milliseconds only.
      const fraction = Math.floor((performance.now() % 1) * 1000)
      const microseconds = Date.now() * 1000 + fraction
      // A clock that is set back is obeyed: else every ticket would be refused until it has caught up.
      last = microseconds > last || last - microseconds > SET_BACK ? microseconds : last + 1
      return last
    },
    random(length) {
      if (length > POOL_BYTES) return globalThis.crypto.getRandomValues(new Uint8Array(length))
      if (used + length > pool.length) {
        pool = globalThis.crypto.getRandomValues(new Uint8Array(POOL_BYTES))
        used = 0
      }
      const drawn = pool.slice(used, used + length)
      pool.fill(0, used, used + length) // what was handed out stays nowhere else
      used += length
      return drawn
    },
  }
}

/** For hashes whose collisions must not be known: 32 bits. */
export function randomSeed(): number {
  return globalThis.crypto.getRandomValues(new Uint32Array(1))[0] as number
}

/** Milliseconds that never go back. */
export function monotonic(): number {
  return performance.now()
}

/** Runs something later, when the process still lives: it does not wait for that. */
export function afterwards(delayMs: number, run: () => void): void {
  setTimeout(run, delayMs).unref()
}

/** Runs something later, unless cancelled. */
export function after(delayMs: number, run: () => void): () => void {
  const timer = setTimeout(run, Math.max(0, Math.ceil(delayMs)))
  return () => clearTimeout(timer)
}
