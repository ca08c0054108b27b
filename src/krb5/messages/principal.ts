import { CONTROLS, quote } from '../../bytes/text.ts'
import { UsageError } from '../../errors.ts'

/** Name types (RFC 4120 §6.2). A hint for the KDC: never compared. */
export const NAME_TYPE = {
  NT_UNKNOWN: 0,
  NT_PRINCIPAL: 1,
  NT_SRV_INST: 2,
  NT_SRV_HST: 3,
  NT_ENTERPRISE: 10,
  NT_WELLKNOWN: 11,
} as const

/** Longest text form that is read, in characters. */
const MAX_NAME_CHARACTERS = 4096

/**
 * A principal name (RFC 4120 §6.2): components and a realm. The text form is `component/component@REALM`; `/`, `@`, `\`, control characters and those
 * that change the direction of text are escaped with a backslash inside a part, so that the text reads back as the same name and no log or terminal
 * obeys it. The realm is always kept.
 */
export class Principal {
  readonly components: readonly string[]
  readonly realm: string
  /** One of `NAME_TYPE`, or another number from the wire. */
  readonly nameType: number
  #name: string | undefined
  #text: string | undefined

  constructor(components: readonly string[], realm: string, nameType: number = NAME_TYPE.NT_PRINCIPAL) {
    this.components = Object.freeze([...components])
    this.realm = realm
    this.nameType = nameType
  }

  /**
   * Reads `name@REALM`; without `@REALM` the default realm is taken, or the realm stays empty.
   *
   * @throws {UsageError} `NAME_INVALID` for an empty part, a second `@`, or a trailing backslash
   */
  static parse(text: string, defaultRealm = ''): Principal {
    if (typeof text !== 'string') throw new UsageError('NAME_INVALID', `a principal name is text, not ${typeof text}`)
    if (text.length > MAX_NAME_CHARACTERS) throw invalid(text, 'is too long')
    const components: string[] = []
    let realm: string | undefined
    let part = ''
    for (let i = 0; i < text.length; i++) {
      const character = text[i] as string
      if (character === '\\') {
        const { character: escaped, length } = readEscape(text.slice(i + 1, i + 6))
        if (length === 0) throw invalid(text, 'ends with a backslash')
        part += escaped
        i += length
      } else if (character === '@') {
        if (realm !== undefined) throw invalid(text, 'has a second @')
        components.push(part)
        part = ''
        realm = ''
      } else if (character === '/' && realm === undefined) {
        components.push(part)
        part = ''
      } else {
        part += character
      }
    }
    if (realm === undefined) {
      components.push(part)
      realm = defaultRealm
    } else {
      if (part === '') throw invalid(text, 'has an empty realm')
      realm = part
    }
    if (components.some((component) => component === '')) throw invalid(text, 'has an empty component')
    return new Principal(components, realm, components.length > 1 ? NAME_TYPE.NT_SRV_INST : NAME_TYPE.NT_PRINCIPAL)
  }

  /** Byte-exact on components and realm; the name type does not count (RFC 4120 §6.2). */
  equals(other: Principal): boolean {
    return this.realm === other.realm && this.sameName(other)
  }

  /** As `equals`, without the realm. */
  sameName(other: { readonly components: readonly string[] }): boolean {
    return (
      this.components.length === other.components.length &&
      this.components.every((component, i) => component === other.components[i])
    )
  }

  /** The components alone, escaped. */
  get name(): string {
    this.#name ??= this.components.map(escapePart).join('/')
    return this.#name
  }

  toString(): string {
    this.#text ??= this.realm === '' ? this.name : `${this.name}@${escapePart(this.realm)}`
    return this.#text
  }

  toJSON(): string {
    return this.toString()
  }
}

/** The letters of MIT's and Heimdal's text form, both ways. */
const LETTERS: ReadonlyMap<string, string> = new Map([
  ['\n', 'n'],
  ['\t', 't'],
  ['\b', 'b'],
  ['\0', '0'],
])
const CHARACTERS: ReadonlyMap<string, string> = new Map([...LETTERS].map(([character, letter]) => [letter, character]))

const UNSAFE = new RegExp(`[/@\\\\${CONTROLS}]`, 'g')
const CONTROL = new RegExp(`[${CONTROLS}]`)
/** What `escapeCharacter` writes behind a backslash for a control without a letter. */
const HEX = /^(?:x([0-9a-f]{2})|u([0-9a-f]{4}))/

function escapePart(part: string): string {
  return part.replace(UNSAFE, escapeCharacter)
}

/** One rule: `\n`, `\t`, `\b`, `\0`; other controls `\x1b` or `\u202e`; what separates parts, and the backslash, behind a backslash. */
function escapeCharacter(character: string): string {
  const letter = LETTERS.get(character)
  if (letter !== undefined) return `\\${letter}`
  if (!CONTROL.test(character)) return `\\${character}`
  const hex = character.charCodeAt(0).toString(16)
  return hex.length <= 2 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`
}

/** What stands behind a backslash, and how long it is. Any other character is itself, as MIT reads it. */
function readEscape(text: string): { readonly character: string; readonly length: number } {
  const [whole, two, four] = HEX.exec(text) ?? []
  const control = whole === undefined ? '' : String.fromCharCode(Number.parseInt(two ?? four ?? '', 16))
  // Only what is written so is read so: `\x41` is x41.
  if (whole !== undefined && CONTROL.test(control) && !LETTERS.has(control)) {
    return { character: control, length: whole.length }
  }
  const [first = ''] = text
  return { character: CHARACTERS.get(first) ?? first, length: first.length }
}

function invalid(text: string, why: string): UsageError {
  return new UsageError('NAME_INVALID', `principal name ${quote(text)} ${why}`, {
    hint: 'Write name@REALM or service/host@REALM; put a backslash before / @ and \\ that belong to a name.',
  })
}
