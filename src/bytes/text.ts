import { malformed } from '../errors.ts'

/** Longest text from a peer that is shown, in characters. */
export const MAX_SHOWN_CHARACTERS = 256
/** Longest list that is shown, unless its first item is longer. */
const MAX_LISTED_CHARACTERS = 1000

/** Octets up to which a text is worth a loop in JavaScript. */
const MAX_SHORT_BYTES = 64

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Decodes strict UTF-8; what is not UTF-8 is malformed, so that two names never become one. */
export function readUtf8(bytes: Uint8Array, what: string): string {
  try {
    return shortAscii(bytes) ?? decoder.decode(bytes)
  } catch {
    throw malformed(`${what}: not UTF-8`)
  }
}

/** Names are short and mostly ASCII, which takes a part of what a decoder does. */
function shortAscii(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_SHORT_BYTES) return undefined
  let text = ''
  for (const octet of bytes) {
    if (octet >= 0x80) return undefined
    text += String.fromCharCode(octet)
  }
  return text
}

/** C0 and C1 controls, and what changes lines or directions (Unicode UAX #9 §2), as a class of a regular expression. */
export const CONTROLS = '\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069'
const UNSAFE = new RegExp(`[${CONTROLS}]`, 'g')
const UNSAFE_IN_QUOTES = new RegExp(`[${CONTROLS}"\\\\]`)

/**
 * Quotes text that came from a peer or a file: control characters are escaped, so that no log or terminal
 * obeys them. At most 256 characters are shown, escapes counted whole: a message that quotes several texts
 * stays short.
 */
export function quote(text: string): string {
  let shown = ''
  for (const character of text.slice(0, MAX_SHOWN_CHARACTERS + 1)) {
    const next = UNSAFE_IN_QUOTES.test(character) ? escapeCharacter(character) : character
    if (shown.length + next.length > MAX_SHOWN_CHARACTERS) return `"${shown}…"`
    shown += next
  }
  return `"${shown}"`
}

/** As `quote`, without quotation marks and length: for text that stands alone in a field of a log. */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, escapeCharacter)
}

/** As `quote`, of what is escaped already, such as a principal: cut at 256 characters. */
export function shorten(text: string): string {
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text
}

/** A list for a message: as many of its items as a reader takes in, and how many there are beside them. */
export function listOf(items: readonly string[], separator = ', '): string {
  let shown = items.slice(0, 1).join('')
  let count = 1
  for (const item of items.slice(1)) {
    if (shown.length + separator.length + item.length > MAX_LISTED_CHARACTERS) break
    shown += separator + item
    count++
  }
  return count < items.length ? `${shown} and ${items.length - count} more` : shown
}

function escapeCharacter(character: string): string {
  if (character === '"' || character === '\\') return `\\${character}`
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
