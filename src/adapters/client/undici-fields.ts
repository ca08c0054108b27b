/** Fields of a response as undici's two handler APIs show them: in pairs with their octets (version 6), or as an object (since 7). */

/** Octets as undici 6 gives them; its own wrappers make text, and lists of values, of them. */
export type RawFields = readonly unknown[]
export type ParsedFields = Readonly<Record<string, string | string[]>>

/** Either form; the other is made when it is asked for. */
export class Fields {
  #raw: RawFields | undefined
  #parsed: ParsedFields | undefined

  private constructor(raw: RawFields | undefined, parsed: ParsedFields | undefined) {
    this.#raw = raw
    this.#parsed = parsed
  }

  static ofRaw(raw: RawFields | null | undefined): Fields {
    return new Fields(raw ?? [], undefined)
  }

  /** @param raw what they were made of, if that is known: they lack the octets */
  static ofParsed(parsed: ParsedFields | null | undefined, raw?: RawFields | null | undefined): Fields {
    return new Fields(raw ?? undefined, parsed ?? {})
  }

  get raw(): RawFields {
    this.#raw ??= rawOf(this.parsed)
    return this.#raw
  }

  get parsed(): ParsedFields {
    this.#parsed ??= parsedOf(this.#raw ?? [])
    return this.#parsed
  }

  /** With this value alone under a name in lower case; the octets of the others stay. */
  with(name: string, value: string): Fields {
    const parsed = { ...this.parsed, [name]: value }
    const raw = this.#raw
    if (raw === undefined) return Fields.ofParsed(parsed)
    const kept = raw.filter((_, i) => textOf(raw[i - (i % 2)]).toLowerCase() !== name)
    return new Fields([...kept, Buffer.from(name), Buffer.from(value, 'latin1')], parsed)
  }

  /** @param name in lower case, as both undicis have it */
  values(name: string): readonly string[] {
    const value = Object.hasOwn(this.parsed, name) ? this.parsed[name] : undefined
    if (value === undefined) return []
    return typeof value === 'string' ? [value] : value
  }
}

/** As undici 7 makes them for a handler of version 6. */
function rawOf(parsed: ParsedFields): RawFields {
  return Object.entries(parsed).flatMap(([name, value]) => [
    Buffer.from(name, 'latin1'),
    typeof value === 'string' ? Buffer.from(value, 'latin1') : value.map((one) => Buffer.from(one, 'latin1')),
  ])
}

/** As undici makes them for its own callers: UTF-8, a list where a name comes twice. */
function parsedOf(raw: RawFields): ParsedFields {
  const found = new Map<string, string | string[]>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = textOf(raw[i]).toLowerCase()
    const value = raw[i + 1]
    const values = Array.isArray(value) ? value.map(textOf) : textOf(value)
    const before = found.get(name)
    found.set(name, before === undefined ? values : [before, values].flat())
  }
  return Object.fromEntries(found)
}

function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value)
}
