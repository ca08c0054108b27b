/** MIT krb5, "krb5.conf": the structure. A profile is sections of relations, each value knowing its file and line. */

import { type Entry, parseInto, type Section } from './profile-parser.ts'

/** A value and where it was written. */
export interface ProfileValue {
  readonly text: string
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/** Reads what a profile includes. Its owner opens files; paths are absolute. */
export interface ProfileFiles {
  /** The text of a regular file; throws when there is none. */
  readText(path: string): string
  /** The names, without the directory, of the regular files in a directory, in any order; throws when there is none. */
  listDir(path: string): readonly string[]
}

/**
 * Reads a profile.
 *
 * @param name the file's name, for messages and for values
 * @param files answers `include` and `includedir`; without it they are refused
 * @throws {ConfigError} `CONFIG_SYNTAX`, with file and line; `CONFIG_UNREADABLE` for what cannot be included
 */
export function parseProfile(text: string, name = 'krb5.conf', files?: ProfileFiles): Profile {
  return new Profile(parseInto(new Map(), text, name, files))
}

/** One profile of several files: values of the earlier come first, and what an earlier one marked final hides the later. */
export function mergeProfiles(profiles: readonly Profile[]): Profile {
  const root: Section = new Map()
  for (const profile of profiles) profile.addTo(root)
  return new Profile(root)
}

/** Sections, subsections and relations. A path names the section, any subsections, and last a relation. */
export class Profile {
  readonly #root: Section

  /** @param root what a parser made; see `parseProfile` */
  constructor(root: Section = new Map()) {
    this.#root = root
  }

  /** All values of a relation, in order. */
  values(...path: readonly string[]): readonly ProfileValue[] {
    return this.#section(path.slice(0, -1))?.get(path.at(-1) ?? '')?.values ?? []
  }

  /** The value that counts where there is to be one: the first. */
  value(...path: readonly string[]): ProfileValue | undefined {
    return this.values(...path)[0]
  }

  /** The names of the subsections of a section; of the sections, when the path is empty. */
  subsections(...path: readonly string[]): readonly string[] {
    return this.#names(path, ({ section }) => section !== undefined)
  }

  /** The names of the relations of a section. */
  relations(...path: readonly string[]): readonly string[] {
    return this.#names(path, ({ values }) => values.length > 0)
  }

  /** Adds all that is here behind what is there, unless that is final. */
  addTo(root: Section): void {
    merge(this.#root, root)
  }

  #section(path: readonly string[]): Section | undefined {
    let section: Section | undefined = this.#root
    for (const name of path) section = section?.get(name)?.section
    return section
  }

  #names(path: readonly string[], wanted: (entry: Entry) => boolean): string[] {
    return [...(this.#section(path) ?? [])].filter(([, entry]) => wanted(entry)).map(([name]) => name)
  }
}

/** As deep as the parser's bound on nesting. */
function merge(from: Section, into: Section): void {
  for (const [name, entry] of from) {
    let target = into.get(name)
    if (target?.final) continue
    if (target === undefined) {
      target = { values: [], section: undefined, final: false }
      into.set(name, target)
    }
    for (const value of entry.values) target.values.push(value)
    if (entry.section !== undefined) {
      target.section ??= new Map()
      merge(entry.section, target.section)
    }
    target.final = entry.final
  }
}
