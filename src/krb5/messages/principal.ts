import { quote } from '../../bytes/text.ts'
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
 * A principal name (RFC 4120 §6.2): components and a realm. The text form is `component/component@REALM`; `/`, `@`, `\` and control
 * characters inside a part are escaped with a backslash, and the realm is always kept.
 */
export class Principal {
  readonly components: readonly string[]
  readonly realm: string
  /** One of `NAME_TYPE`, or another number from the wire. */
  readonly nameType: number
  #name: string | undefined

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
        if (++i >= text.length) throw invalid(text, 'ends with a backslash')
        const control = CONTROL_ESCAPE.exec(text.slice(i, i + 3))?.[1]
        if (control !== undefined) i += 2
        part +=
          control === undefined ? (ESCAPES[text[i] as string] ?? text[i]) : String.fromCharCode(parseInt(control, 16))
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
    return this.realm === '' ? this.name : `${this.name}@${escapePart(this.realm)}`
  }

  toJSON(): string {
    return this.toString()
  }
}

/** The escapes of MIT's and Heimdal's text form, both ways. */
const ESCAPES: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  n: '\n',
  t: '\t',
  b: '\b',
  '0': '\0',
})
const ESCAPED: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  '\n': '\\n',
  '\t': '\\t',
  '\b': '\\b',
  '\0': '\\0',
})

/** The other control characters, which those programs print as they are: `\x1b`. */
const CONTROL_ESCAPE = /^x([01][0-9a-f]|7f|[89][0-9a-f])$/

function escapePart(part: string): string {
  return part.replace(/[/@\\\u0000-\u001f\u007f-\u009f]/g, escapeCharacter)
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0)
  const isControl = code < 0x20 || code >= 0x7f
  return ESCAPED[character] ?? (isControl ? `\\x${code.toString(16).padStart(2, '0')}` : `\\${character}`)
}

function invalid(text: string, why: string): UsageError {
  return new UsageError('NAME_INVALID', `principal name ${quote(text)} ${why}`, {
    hint: 'Write name@REALM or service/host@REALM; put a backslash before / @ and \\ that belong to a name.',
  })
}
