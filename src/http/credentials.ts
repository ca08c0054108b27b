import { fromBase64 } from '../bytes/base64.ts'
import { readUtf8 } from '../bytes/text.ts'
import { checkTokenSize, MAX_TOKEN_BYTES } from '../gss/context.ts'
import { MAX_HEADER_CHARACTERS, readChallenges, unreadable } from './challenge.ts'

/** What an Authorization header offers. */
export type Credential =
  | { readonly kind: 'none' }
  | { readonly kind: 'other'; readonly scheme: string }
  | { readonly kind: 'negotiate'; readonly token: Uint8Array }

/** RFC 7617 §2 */
export interface UserPassword {
  readonly user: string
  readonly password: string
}

/** Longest name, and longest password, in characters. */
const MAX_USER_CHARACTERS = 256
const MAX_PASSWORD_CHARACTERS = 1024

const SCHEME = 'negotiate'
const SPACE = 0x20

/**
 * Reads Authorization (RFC 9110 §11.6.2), of which a request has one with one credential; behind `Negotiate` stands the token in
 * base64 (RFC 4559 §4.2). Its size is bounded before it is decoded.
 *
 * @param values every field of that name, in order
 * @throws {MalformedError} `TOKEN_MALFORMED` for anything else
 */
export function parseCredentials(
  values: readonly string[] | undefined,
  maxTokenBytes: number = MAX_TOKEN_BYTES,
): Credential {
  const [value, second] = values ?? []
  if (value === undefined) return { kind: 'none' }
  // Node keeps the first of two and some proxies the last: whoever sends two hopes that we read another one than they did.
  if (second !== undefined) throw unreadable('more than one Authorization') // check: S10
  if (value.length > MAX_HEADER_CHARACTERS) throw unreadable(`over ${MAX_HEADER_CHARACTERS} characters`) // check: S82
  if (!isNegotiate(value)) return otherScheme(value)
  let start = SCHEME.length
  while (value.charCodeAt(start) === SPACE) start++
  return { kind: 'negotiate', token: decodeToken(value.slice(start), maxTokenBytes) }
}

function isNegotiate(value: string): boolean {
  if (value.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return false
  return value.length === SCHEME.length || value.charCodeAt(SCHEME.length) === SPACE
}

function decodeToken(text: string, maxTokenBytes: number): Uint8Array {
  if (text === '') throw unreadable('Negotiate without a token') // check: S01
  const most = Math.ceil(maxTokenBytes / 3) * 4
  if (text.length > most) throw unreadable(`a token of ${text.length} characters, over ${most}`) // check: S82
  const token = canonical(text)
  checkTokenSize(token, maxTokenBytes) // the padding may hide two octets
  return token
}

function canonical(text: string): Uint8Array {
  try {
    return fromBase64(text)
  } catch {
    throw unreadable('the token is not canonical base64') // RFC 4648 §3.5
  }
}

/** Another scheme is none of our business, as long as it is one and alone. */
function otherScheme(value: string): Credential {
  const [credential, second] = readChallenges(value)
  if (second !== undefined) throw unreadable('more than one credential') // check: S10
  if (credential === undefined || credential.scheme.toLowerCase() === SCHEME) throw unreadable('stray commas or blanks')
  return { kind: 'other', scheme: credential.scheme }
}

/**
 * Reads `Basic` (RFC 7617 §2): name and password, in UTF-8, between them the first colon.
 *
 * @param value of a field that `parseCredentials` took for one credential of that scheme
 * @throws {MalformedError} `TOKEN_MALFORMED`
 */
export function parseBasic(value: string): UserPassword {
  const text = readUtf8(canonical(value.slice('basic'.length).trim()), 'Basic')
  const colon = text.indexOf(':')
  if (colon === -1) throw unreadable('Basic without a colon')
  const [user, password] = [text.slice(0, colon), text.slice(colon + 1)]
  if (user.length > MAX_USER_CHARACTERS || password.length > MAX_PASSWORD_CHARACTERS)
    throw unreadable('Basic, too long')
  // RFC 7617 §2: neither holds control characters.
  if (/\p{Cc}/u.test(text)) throw unreadable('Basic with control characters')
  return { user, password }
}
