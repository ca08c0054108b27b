import { quote } from '../bytes/text.ts'
import { MalformedError } from '../errors.ts'
import { invalid } from '../options.ts'

/** Longest Authorization or WWW-Authenticate that is read, all fields together: base64 of the largest token, and some room. */
export const MAX_HEADER_CHARACTERS = 98_304

/** One challenge, or one credential: they share a grammar (RFC 9110 §11.3, §11.4). */
export interface Challenge {
  /** As sent; compare it without regard to case (RFC 9110 §11.1). */
  readonly scheme: string
  readonly token68: string | undefined
  /** Names in lower case, values without quotes and escapes. */
  readonly parameters: ReadonlyMap<string, string>
}

/**
 * Reads WWW-Authenticate or Proxy-Authenticate (RFC 9110 §11.6.1): several fields, several challenges in one field. Takes time in
 * proportion to the length.
 *
 * @param field one field value, or several; each begins with a scheme
 * @returns the challenges in their order, schemes as sent
 * @throws {MalformedError} `TOKEN_MALFORMED` for what the grammar does not allow, or more than `MAX_HEADER_CHARACTERS`
 */
export function parseChallenges(field: string | readonly string[]): readonly Challenge[] {
  if (typeof field !== 'string' && !Array.isArray(field)) throw invalid('parseChallenges', 'a text or a list', field)
  const fields = typeof field === 'string' ? [field] : field
  const length = fields.reduce((sum, value) => sum + value.length, 0)
  if (length > MAX_HEADER_CHARACTERS) throw unreadable(`${length} characters, over ${MAX_HEADER_CHARACTERS}`) // check: P40
  return fields.flatMap(readChallenges)
}

/** A Negotiate challenge that stands alone between two commas (RFC 4559 §4.1): the token in base64, if any. */
const NEGOTIATE = /^negotiate(?: +([A-Za-z0-9+/]+={0,2}))?$/i

/**
 * The tokens of all Negotiate challenges; undefined for a bare one. Servers and proxies write challenges that break the grammar (`Basic realm=Secure
 * Area`, unquoted URLs, Digest without commas): beside those of a field, the Negotiate challenges that stand between two commas are found, outside of
 * quotes.
 *
 * @throws {MalformedError} `TOKEN_MALFORMED` when a field breaks the grammar and no such challenge is in any
 */
export function negotiateTokens(fields: readonly string[]): readonly (string | undefined)[] {
  try {
    return tokensOf(parseChallenges(fields))
  } catch (error) {
    const length = fields.reduce((sum, value) => sum + value.length, 0)
    if (!(error instanceof MalformedError) || length > MAX_HEADER_CHARACTERS) throw error // check: P40
    const found = fields.flatMap(tokensBesideOthers)
    if (found.length === 0) throw error
    return found
  }
}

function tokensBesideOthers(field: string): readonly (string | undefined)[] {
  try {
    return tokensOf(readChallenges(field))
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    return elementsOf(field).flatMap((element) => {
      const found = NEGOTIATE.exec(element)
      return found === null ? [] : [found[1]]
    })
  }
}

function tokensOf(challenges: readonly Challenge[]): readonly (string | undefined)[] {
  return challenges
    .filter(({ scheme }) => scheme.toLowerCase() === 'negotiate') // RFC 9110 §11.1: case-insensitive
    .map(({ token68 }) => token68)
}

/** What stands between commas outside of quotes. A quotation that does not end hides all that follows. */
function elementsOf(field: string): readonly string[] {
  const elements: string[] = []
  let start = 0
  let isQuoted = false
  for (let i = 0; i < field.length; i++) {
    const character = field[i]
    if (isQuoted && character === '\\') i++
    else if (character === '"') isQuoted = !isQuoted
    else if (character === ',' && !isQuoted) {
      elements.push(field.slice(start, i).trim())
      start = i + 1
    }
  }
  if (!isQuoted) elements.push(field.slice(start).trim())
  return elements
}

/** `#challenge`: a list whose elements may be empty (RFC 9110 §5.6.1). */
export function readChallenges(field: string): Challenge[] {
  const from = new FieldReader(field)
  const challenges: Challenge[] = []
  from.skipSeparators()
  while (!from.atEnd) challenges.push(readChallenge(from))
  return challenges
}

/** RFC 9110 §11.3: `challenge = auth-scheme [ 1*SP ( token68 / #auth-param ) ]`. The comma behind it is read too. */
function readChallenge(from: FieldReader): Challenge {
  const scheme = from.token('scheme')
  const parameters = new Map<string, string>()
  const token68 = from.skipSpaces() ? from.token68() : undefined
  let separated = from.skipSeparators()
  for (let name = nextName(); name !== undefined; name = nextName()) {
    if (parameters.has(name)) throw unreadable(`parameter ${quote(name)} occurs twice`) // RFC 9110 §11.2
    parameters.set(name, from.value())
    separated = from.skipSeparators()
    if (!separated) break
  }
  if (!separated) throw unreadable(`no comma after the challenge of ${quote(scheme)}`)
  return { scheme, token68, parameters }

  function nextName(): string | undefined {
    return token68 === undefined ? from.parameterName() : undefined
  }
}

const SPACE = 0x20
const TAB = 0x09
const COMMA = 0x2c
const EQUALS = 0x3d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const DELETE = 0x7f
const END = -1

const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
/** RFC 9110 §5.6.2 */
const TOKEN_CHARACTERS: ReadonlySet<number> = codes(`${ALPHANUMERIC}!#$%&'*+-.^_\`|~`)
/** RFC 9110 §11.2, without the `=` at the end. */
const TOKEN68_CHARACTERS: ReadonlySet<number> = codes(`${ALPHANUMERIC}-._~+/`)

/** A cursor over one field value. It goes back at most once over any stretch: over a word that turned out to be something else. */
class FieldReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length
  }

  token(what: string): string {
    const start = this.#at
    this.#skip(TOKEN_CHARACTERS)
    if (this.#at === start) throw unreadable(`expected a ${what} at character ${start}`) // RFC 9110 §5.6.2
    return this.#text.slice(start, this.#at)
  }

  /** Whether at least one SP was there (RFC 9110 §11.3). */
  skipSpaces(): boolean {
    const start = this.#at
    while (this.#peek() === SPACE) this.#at++
    return this.#at > start
  }

  /** Commas and white space of a list (RFC 9110 §5.6.1); whether an element may begin here, or the field ends. */
  skipSeparators(): boolean {
    let found = false
    for (let next = this.#peek(); next === COMMA || next === SPACE || next === TAB; next = this.#peek()) {
      found ||= next === COMMA
      this.#at++
    }
    return found || this.atEnd
  }

  /** RFC 9110 §11.2; undefined, and nothing read, when a parameter or nothing is there instead. */
  token68(): string | undefined {
    const start = this.#at
    this.#skip(TOKEN68_CHARACTERS)
    if (this.#at === start) return undefined
    while (this.#peek() === EQUALS) this.#at++
    const end = this.#at
    this.#skipWhitespace()
    const whole = this.atEnd || this.#peek() === COMMA
    this.#at = whole ? end : start
    return whole ? this.#text.slice(start, end) : undefined
  }

  /** The name and `=` of an auth-param (RFC 9110 §11.2), in lower case; undefined, and nothing read, before anything else. */
  parameterName(): string | undefined {
    const start = this.#at
    this.#skip(TOKEN_CHARACTERS)
    const end = this.#at
    this.#skipWhitespace()
    if (end === start || this.#peek() !== EQUALS) {
      this.#at = start
      return undefined
    }
    this.#at++
    this.#skipWhitespace()
    return this.#text.slice(start, end).toLowerCase()
  }

  value(): string {
    return this.#peek() === QUOTE ? this.#quotedString() : this.token('parameter value')
  }

  /** RFC 9110 §5.6.4 */
  #quotedString(): string {
    this.#at++
    const parts: string[] = []
    let start = this.#at
    for (let next = this.#peek(); next !== QUOTE; next = this.#peek()) {
      if (next === BACKSLASH) {
        parts.push(this.#text.slice(start, this.#at))
        start = ++this.#at // what is escaped is text, whatever it is
        next = this.#peek()
      }
      if (next === END) throw unreadable('a quoted string does not end') // check: P42
      if ((next < SPACE && next !== TAB) || next === DELETE) throw unreadable('control character in a quoted string')
      this.#at++
    }
    parts.push(this.#text.slice(start, this.#at++))
    return parts.join('')
  }

  #skip(characters: ReadonlySet<number>): void {
    while (characters.has(this.#peek())) this.#at++
  }

  /** OWS and BWS (RFC 9110 §5.6.3). */
  #skipWhitespace(): void {
    for (let next = this.#peek(); next === SPACE || next === TAB; next = this.#peek()) this.#at++
  }

  #peek(): number {
    return this.#at < this.#text.length ? this.#text.charCodeAt(this.#at) : END
  }
}

function codes(characters: string): ReadonlySet<number> {
  return new Set(Array.from(characters, (character) => character.charCodeAt(0)))
}

/** The error of header parsing: no part of the value is in it but a scheme or a parameter's name. */
export function unreadable(why: string): MalformedError {
  return new MalformedError('TOKEN_MALFORMED', `the authentication header cannot be read: ${why}`)
}
