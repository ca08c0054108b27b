/** MIT krb5, "krb5.conf": the grammar, line by line, as MIT's own parser reads it. */

import { quote } from '../../bytes/text.ts'
import { ConfigError } from '../../errors.ts'
import type { ProfileFiles, ProfileValue } from './profile.ts'

/** Longest file, in characters. */
export const MAX_PROFILE_CHARACTERS: number = 16 * 1024 * 1024
/** Longest line, in characters. */
export const MAX_LINE_CHARACTERS = 65_536
/** Most sections, subsections and values of one profile, its includes counted in. */
export const MAX_PROFILE_NODES = 100_000
/** Deepest subsection. MIT's own files reach 3. */
export const MAX_PROFILE_DEPTH = 32
/** Deepest include. */
export const MAX_INCLUDE_DEPTH = 10
/** Most files that one profile includes. */
export const MAX_INCLUDED_FILES = 1000

/** A section: names to what they hold. A `Map`, because `__proto__` is a name like any other. */
export type Section = Map<string, Entry>

/** One name: the values of the relations of that name and the subsection of that name, either of which may be missing. */
export interface Entry {
  readonly values: ProfileValue[]
  section: Section | undefined
  /** `name*`: what later lines and files say about this name is ignored. */
  final: boolean
}

/** Reads a text into a section, which it returns. */
export function parseInto(root: Section, text: string, name: string, files: ProfileFiles | undefined): Section {
  new FileParser({ root, files, nodes: 0, included: 0 }, name, [name]).parse(text)
  return root
}

/** What a file and those that it includes share. */
interface Shared {
  readonly root: Section
  readonly files: ProfileFiles | undefined
  nodes: number
  included: number
}

/** One file. An included file has its own: it starts outside any section, wherever the line that includes it stands. */
class FileParser {
  readonly #shared: Shared
  readonly #name: string
  /** The files whose including led here, this one last. */
  readonly #trail: readonly string[]
  /** The open section and subsections, outermost first. */
  readonly #open: { readonly entry: Entry; readonly section: Section; readonly line: number }[] = []
  /** Text before the first section is a comment. */
  #started = false
  /** `name =` was the last line: `{` must follow. */
  #awaitsBrace = false
  #line = 0

  constructor(shared: Shared, name: string, trail: readonly string[]) {
    this.#shared = shared
    this.#name = name
    this.#trail = trail
  }

  parse(text: string): void {
    if (text.length > MAX_PROFILE_CHARACTERS) throw this.#tooMuch(`${MAX_PROFILE_CHARACTERS} characters`) // check: P80
    let start = text.startsWith('\ufeff') ? 1 : 0
    while (start < text.length) {
      const newline = text.indexOf('\n', start)
      const end = newline === -1 ? text.length : newline
      this.#line++
      if (end - start > MAX_LINE_CHARACTERS) throw this.#tooMuch(`${MAX_LINE_CHARACTERS} in a line`) // check: P80
      this.#readLine(text.slice(start, end))
      start = end + 1
    }
    this.#close()
  }

  /** MIT takes a file that ends within braces; we take it for half a file. */
  #close(): void {
    if (this.#open.length > 1) throw this.#notClosed() // check: P80
  }

  #readLine(line: string): void {
    const directive = DIRECTIVE.exec(line)?.[1] // only at the very start of a line
    if (directive === 'module' && !this.#started) throw this.#moduleRefused() // check: P80
    this.#started ||= line.startsWith('[')
    if (directive === 'include') this.#include(trim(line.slice(7)))
    else if (directive === 'includedir') this.#includeDirectory(trim(line.slice(10)))
    else if (this.#started) this.#readContent(trim(line))
  }

  #readContent(content: string): void {
    if (this.#awaitsBrace) {
      if (!content.startsWith('{')) throw this.#braceMissing() // check: P80
      this.#awaitsBrace = false
    } else if (content.startsWith('[')) {
      this.#readSection(content)
    } else if (content.startsWith('}')) {
      this.#readEnd(content)
    } else if (content !== '' && !content.startsWith('#') && !content.startsWith(';')) {
      this.#readRelation(content)
    }
  }

  /** `[name]`, `[name]*`. */
  #readSection(content: string): void {
    const end = content.indexOf(']')
    const rest = trim(content.slice(end + 1))
    if (this.#open.length > 1) throw this.#notClosed() // check: P80
    if (end === -1 || (rest !== '' && rest !== '*')) throw this.#sectionMalformed() // check: P80
    this.#open.length = 0
    this.#enter(this.#shared.root, content.slice(1, end), rest === '*')
  }

  /** `}`, `}*`; as in MIT's parser, what follows does not matter. */
  #readEnd(content: string): void {
    if (this.#open.length < 2) throw this.#error('} without {', 'Remove the brace, or add the missing {.') // check: P80
    const entry = this.#open.pop()?.entry
    if (entry !== undefined && content.startsWith('}*')) entry.final = true
  }

  /** `name = value`, `name = {`, `name =` with `{` in the next line; `name*` is final. */
  #readRelation(content: string): void {
    const equals = content.indexOf('=')
    const tag = trim(content.slice(0, Math.max(equals, 0)))
    if (tag === '' || BLANK.test(tag)) throw this.#relationMalformed(content) // check: P80
    const star = tag.indexOf('*')
    const name = star === -1 ? tag : tag.slice(0, star)
    const section = (this.#open.at(-1) as { section: Section }).section
    const value = trim(content.slice(equals + 1))
    if (value === '' || value === '{') {
      this.#enter(section, name, star !== -1)
      this.#awaitsBrace = value === ''
    } else {
      this.#add(section, name, value.startsWith('"') ? this.#unquote(value) : this.#plain(value), star !== -1)
    }
  }

  /** MIT takes `{ kdc = x }` in one line for a text, and the KDC is never found. */
  #plain(value: string): string {
    if (value.startsWith('{')) throw this.#braceNotAlone() // check: P80
    return value
  }

  /** As in MIT's parser, what follows the closing quote does not matter. */
  #unquote(value: string): string {
    let text = ''
    for (let i = 1; i < value.length; i++) {
      let character = value[i] as string
      if (character === '"') return text
      if (character === '\\') {
        character = value[++i] ?? ''
        character = ESCAPES.get(character) ?? character
      }
      text += character
    }
    throw this.#error('the closing quote is missing', 'Close the quoted value in its line.') // check: P80
  }

  #enter(parent: Section, name: string, final: boolean): void {
    if (this.#open.length > MAX_PROFILE_DEPTH) throw this.#tooMuch(`depth ${MAX_PROFILE_DEPTH}`) // check: P80
    const entry = this.#entry(parent, name)
    entry.section ??= new Map()
    entry.final ||= final
    this.#open.push({ entry, section: entry.section, line: this.#line })
  }

  #add(section: Section, name: string, text: string, final: boolean): void {
    const entry = this.#entry(section, name)
    entry.values.push({ text, file: this.#name, line: this.#line })
    entry.final ||= final
  }

  /** The entry of that name; one that nobody will find, when the name is final already. */
  #entry(section: Section, name: string): Entry {
    if (++this.#shared.nodes > MAX_PROFILE_NODES) throw this.#tooMuch(`${MAX_PROFILE_NODES} entries`) // check: P80
    const found = section.get(name)
    if (found !== undefined && !found.final) return found
    const entry: Entry = { values: [], section: undefined, final: false }
    if (found === undefined) section.set(name, entry)
    return entry
  }

  #include(path: string): void {
    if (this.#trail.includes(path)) throw this.#circle(path) // check: P80
    if (this.#trail.length > MAX_INCLUDE_DEPTH) throw this.#tooMuch(`include depth ${MAX_INCLUDE_DEPTH}`) // check: P80
    if (++this.#shared.included > MAX_INCLUDED_FILES) throw this.#tooMuch(`${MAX_INCLUDED_FILES} includes`) // check: P80
    const text = this.#fromFiles(path, (files) => files.readText(path))
    new FileParser(this.#shared, path, [...this.#trail, path]).parse(text)
  }

  #includeDirectory(path: string): void {
    const directory = path.endsWith('/') ? path.slice(0, -1) : path
    const names = this.#fromFiles(path, (files) => files.listDir(directory === '' ? '/' : directory))
    for (const name of names.filter((name) => INCLUDED_NAME.test(name)).sort(byteOrder)) {
      this.#include(`${directory}/${name}`)
    }
  }

  #fromFiles<T>(path: string, read: (files: ProfileFiles) => T): T {
    if (!ABSOLUTE.test(path)) throw this.#relativePath(path) // check: P80
    const { files } = this.#shared
    if (files === undefined) throw this.#nothingToInclude() // check: P80
    try {
      return read(files)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new ConfigError('CONFIG_UNREADABLE', `${this.#name}:${this.#line}: cannot include ${quote(path)}: ${why}`, {
        cause,
        hint: 'Check that path and its permissions, or remove the include line.',
      })
    }
  }

  #error(what: string, hint: string): ConfigError {
    return new ConfigError('CONFIG_SYNTAX', `${this.#name}:${this.#line}: ${what}`, { hint })
  }

  #tooMuch(bound: string): ConfigError {
    return this.#error(`over the bound of ${bound}`, 'Check that this is krb5.conf; a real one is far smaller.')
  }

  #moduleRefused(): ConfigError {
    return this.#error('module loads native code', 'Put the settings into the file itself.')
  }

  #braceMissing(): ConfigError {
    return this.#error('a name without value must be followed by {', 'Give the name in the line above a value.')
  }

  #notClosed(): ConfigError {
    return this.#error(`the subsection of line ${this.#open.at(-1)?.line} is not closed`, 'Add the missing }.')
  }

  #sectionMalformed(): ConfigError {
    return this.#error('a section is written [name], alone in its line', 'Put comments into lines of their own.')
  }

  #relationMalformed(content: string): ConfigError {
    return this.#error(
      `expected name = value, found ${quote(content)}`,
      'A name has no blanks; a comment begins with #.',
    )
  }

  #braceNotAlone(): ConfigError {
    return this.#error('nothing may follow { in its line', 'Put each relation and the } into a line of its own.')
  }

  #circle(path: string): ConfigError {
    return this.#error(`${quote(path)} includes itself`, 'Remove one of the include lines of that circle.')
  }

  #relativePath(path: string): ConfigError {
    return this.#error(`${quote(path)} is not an absolute path`, 'Write the whole path.')
  }

  #nothingToInclude(): ConfigError {
    return this.#error('a text cannot include files', 'Load the configuration from its file, or paste the lines.')
  }
}

const DIRECTIVE = /^(include|includedir|module)[ \t\v\f\r]/
const BLANK = /[ \t\v\f\r]/
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['b', '\b'],
])

/** "Consisting entirely of alphanumeric characters, dashes, or underscores", or ending in .conf and not starting with a dot. */
const INCLUDED_NAME = /^(?:[A-Za-z0-9_-]+|[^./][^/]*\.conf)$/
/** Also as Windows writes it. */
const ABSOLUTE = /^(?:\/|[A-Za-z]:[\\/]|\\\\)/

/** The blanks of C, no others: a no-break space belongs to a value. Not a pattern: one would be quadratic in blanks. */
function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

/** Tab, newline, vertical tab, form feed, carriage return, space. */
function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}

function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
