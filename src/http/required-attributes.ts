/** Rules on who may go on, as mod_auth_gssapi's `GssapiRequiredNameAttributes` writes them, for the option `authorize`. */
import { fromBase64 } from '../bytes/base64.ts'
import { quote } from '../bytes/text.ts'
import { KerberosError, UsageError } from '../errors.ts'
import { stringOf } from '../options.ts'
import type { Identity } from './identity.ts'

/** Names of attributes, each with its values. */
export type Attributes = Readonly<Record<string, string | readonly string[] | undefined>>

/** Longest rule. */
const MAX_LENGTH = 4096

type Check = (attributes: Attributes) => boolean

/**
 * `requiredAttributes('realm=CORP and (name=alice or name=bob)')`: `name=value`, `name=*` for any value, `name:=base64`; joined by `and` and `or`, each
 * with one space around it. Neither binds closer: `a and b or c` is `a and (b or c)`, as there. A value must be equal; one of several is enough.
 *
 * @param rule over `principal`, `name`, `realm`, `local-name`, `mechanism` and `channel-bound`
 * @param more attributes of the program's own, by identity; of a name that is proven, the proven value counts
 * @throws {UsageError} `OPTION_INVALID` for what is no rule
 */
export function requiredAttributes(
  rule: string,
  more: (identity: Identity) => Attributes = () => ({}),
): (identity: Identity) => boolean {
  const check = new RuleReader(stringOf('requiredAttributes', rule)).rule()
  // What is proven stands above what the program adds under the same name.
  return (identity) => check({ ...more(identity), ...attributesOf(identity) }) === true // check: S107
}

function attributesOf({ principal, name, realm, localName, mechanism, channelBound }: Identity): Attributes {
  return { principal, name, realm, 'local-name': localName, mechanism, 'channel-bound': String(channelBound) }
}

class RuleReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
    if (text.length > MAX_LENGTH) throw this.#wrong('it is too long')
  }

  rule(): Check {
    const check = this.#alternatives(0)
    if (this.#at < this.#text.length) throw this.#wrong(`${quote(this.#text.slice(this.#at))} follows it`)
    return check
  }

  #alternatives(depth: number): Check {
    if (depth > 64) throw this.#wrong('it is too deep')
    const first = this.#take('(') ? this.#bracketed(depth) : this.#comparison()
    const [joined, word] = /^ (and|or|AND|OR) /.exec(this.#text.slice(this.#at)) ?? []
    if (joined === undefined || word === undefined) return first
    this.#at += joined.length
    const rest = this.#alternatives(depth + 1)
    const isAnd = word.toLowerCase() === 'and'
    return (attributes) => (isAnd ? first(attributes) && rest(attributes) : first(attributes) || rest(attributes))
  }

  #bracketed(depth: number): Check {
    const inner = this.#alternatives(depth + 1)
    if (!this.#take(')')) throw this.#wrong('a bracket is not closed')
    return inner
  }

  #comparison(): Check {
    const [text, name, operator, value] = /^([^\s()=:]+)(:?=)([^\s()]+)/.exec(this.#text.slice(this.#at)) ?? []
    if (text === undefined || name === undefined || value === undefined) throw this.#wrong('a name=value is missing')
    this.#at += text.length
    if (operator === '=' && value === '*') return (attributes) => valuesOf(attributes, name).length > 0
    const wanted = operator === '=' ? value : this.#decoded(value)
    return (attributes) => valuesOf(attributes, name).includes(wanted)
  }

  #decoded(value: string): string {
    try {
      return new TextDecoder().decode(fromBase64(value, 'value'))
    } catch (error) {
      if (error instanceof KerberosError) throw this.#wrong(`${quote(value)} is no base64`)
      throw error
    }
  }

  #take(character: string): boolean {
    const isThere = this.#text[this.#at] === character
    if (isThere) this.#at++
    return isThere
  }

  #wrong(why: string): UsageError {
    return new UsageError(
      'OPTION_INVALID',
      `requiredAttributes: ${quote(this.#text.slice(0, 200))} is no rule: ${why}`,
      {
        hint: "Write 'realm=CORP and (name=alice or name=bob)'.",
      },
    )
  }
}

function valuesOf(attributes: Attributes, name: string): readonly string[] {
  const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined
  return value === undefined ? [] : typeof value === 'string' ? [value] : value
}
