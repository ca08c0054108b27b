import { fromBase64 } from '../bytes/base64.ts'
import { UsageError } from '../errors.ts'
import { integerIn, invalid, oneOf, optional, ownOptions, rejectUnknown, stringOf } from '../options.ts'
import type { RevocationStore } from './revocation.ts'

/** Octets of a key: A256GCM's (RFC 7518 §5.3). */
export const SESSION_KEY_BYTES = 32
/** Most keys at once: each cookie names its own, so this bounds nothing but mistakes. */
const MAX_KEYS = 16
const DEFAULT_MAX_AGE_SECONDS = 8 * 3600
const MAX_MAX_AGE_SECONDS = 7 * 24 * 3600

export interface SessionOptions {
  /**
   * 32 octets each, or their base64 (`openssl rand -base64 32`). The first one seals, each of them opens: a new key goes in front, and the old one is
   * taken out when the last session that it sealed is over. Default: a random one, which ends with the process.
   */
  readonly keys?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined
  /** Longest life in seconds, 1 to 604 800. Default 28 800 (8 hours). A session ends with the ticket that began it at the latest. */
  readonly maxAgeSeconds?: number | undefined
  /** Name of the cookie; over https `__Host-` stands before it. Default `spnego`. */
  readonly cookieName?: string | undefined
  /** Whether a browser sends the cookie with requests for other sites' pages. Default `'lax'`: with links alone. */
  readonly sameSite?: 'lax' | 'strict' | 'none' | undefined
  /** Asked with each request; `redisReplayStore` is one. Default: what was ended is remembered in this process. */
  readonly revocations?: RevocationStore | undefined
}

export interface SessionSettings {
  /** Empty: a random one is to be made. */
  readonly keys: readonly Uint8Array[]
  readonly maxAgeSeconds: number
  readonly cookieName: string
  readonly sameSite: 'lax' | 'strict' | 'none'
  readonly revocations: RevocationStore | undefined
}

/** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` */
export function sessionSettings(value: boolean | SessionOptions): SessionSettings | undefined {
  if (value === false) return undefined
  const { keys, maxAgeSeconds, cookieName, sameSite, revocations, ...unknown } = ownOptions<SessionOptions>(
    'sessions',
    value === true ? {} : value,
  )
  rejectUnknown('sessions', unknown)
  return Object.freeze({
    keys: optional(keys, keysOf) ?? [],
    maxAgeSeconds: integerIn(
      'sessions.maxAgeSeconds',
      maxAgeSeconds ?? DEFAULT_MAX_AGE_SECONDS,
      1,
      MAX_MAX_AGE_SECONDS,
    ),
    cookieName: cookieNameOf(cookieName ?? 'spnego'),
    sameSite: oneOf('sessions.sameSite', sameSite ?? 'lax', ['lax', 'strict', 'none']),
    revocations: optional(revocations, () => revocationsOf(revocations)),
  })
}

function keysOf(value: unknown): readonly Uint8Array[] {
  const all = Array.isArray(value) ? value : [value]
  if (all.length === 0 || all.length > MAX_KEYS) throw invalid('sessions.keys', `1 to ${MAX_KEYS} keys`, value)
  return Object.freeze(all.map(keyOf))
}

/** A short key, or one that is a password, would seal what anybody can open by trying. */
function keyOf(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? decoded(value) : value
  if (!(bytes instanceof Uint8Array) || bytes.length !== SESSION_KEY_BYTES) {
    throw new UsageError(
      'OPTION_INVALID',
      `sessions.keys: expected keys of ${SESSION_KEY_BYTES} octets, or their base64`,
      {
        hint: 'Make one with `openssl rand -base64 32`, and give it to all processes that serve the same users.',
      },
    )
  }
  return new Uint8Array(bytes)
}

function decoded(text: string): Uint8Array | undefined {
  try {
    return fromBase64(text.trim())
  } catch {
    return undefined
  }
}

/** RFC 6265 §4.1.1: a token (RFC 9110 §5.6.2). */
function cookieNameOf(value: unknown): string {
  const name = stringOf('sessions.cookieName', value)
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(name)) throw invalid('sessions.cookieName', 'a short token', value)
  return name
}

function revocationsOf(value: RevocationStore | undefined): RevocationStore {
  const fits = typeof value?.revoke === 'function' && typeof value.isRevoked === 'function'
  if (!fits) throw invalid('sessions.revocations', 'an object with revoke and isRevoked', value)
  return value
}
