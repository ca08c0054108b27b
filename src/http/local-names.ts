/** Names of this system for principals: by their realm, or by the rules of krb5.conf's `auth_to_local`. */
import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import type { Principal } from '../krb5/messages/principal.ts'
import { invalid, ownOptions, rejectUnknown } from '../options.ts'
import { LinearPattern } from './linear-pattern.ts'

/** `{ stripRealm: ['EXAMPLE.COM'] }`, or `{ rules: ['RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*/
;/', 'DEFAULT'], realm: 'EXAMPLE.COM' }`. */
export type LocalNames =
  | {
      /** Names of one component in these realms, without the realm. */
      readonly stripRealm: readonly string[]
    }
  | {
      /** As in krb5.conf (MIT krb5, "auth_to_local"): the first that fits counts. The expression must fit the whole of what `[…]` makes. */
      readonly rules: readonly string[]
      /** For `DEFAULT`: names of one component in this realm, without it. */
      readonly realm?: string | undefined
    }

/** Undefined: there is none, and the program must not make one up. */
export type LocalNamer = (principal: Principal) => string | undefined

type Rule = LocalNamer

/** Most rules, and longest name that is looked at: together they bound what a stranger's name may cost. */
const MAX_RULES = 100
const MAX_NAME_LENGTH = 1024

/** Of a server without the option. */
export const NO_LOCAL_NAMES: LocalNamer = () => undefined

/** @throws {UsageError} `OPTION_INVALID`, `OPTION_UNKNOWN` */
export function localNamer(option: LocalNames): LocalNamer {
  const { stripRealm, rules, realm, ...unknown } = ownOptions('localNames', option as Partial<Record<string, unknown>>)
  rejectUnknown('localNames', unknown)
  if ((stripRealm === undefined) === (rules === undefined)) throw invalid('localNames', 'stripRealm or rules', option)
  if (stripRealm !== undefined) {
    const realms = listOf('localNames.stripRealm', stripRealm)
    return (principal) => (isPlain(principal) ? stripped(principal, realms) : undefined)
  }
  const texts = listOf('localNames.rules', rules)
  if (texts.length > MAX_RULES) throw invalid('localNames.rules', `at most ${MAX_RULES} rules`, texts.length)
  const all = texts.map((text) => ruleOf(text, realm))
  return (principal) => {
    if (!isPlain(principal)) return undefined
    for (const rule of all) {
      const name = rule(principal)
      if (name !== undefined) return name
    }
    return undefined
  }
}

/** A name with a separator inside could look like another one's, `alice\\@EXAMPLE.COM@EXAMPLE.COM` like alice's. */
function isPlain({ components, realm }: Principal): boolean {
  const parts = [...components, realm]
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return length <= MAX_NAME_LENGTH && parts.every((part) => part !== '' && !/[@/\\\p{Cc}]/u.test(part)) // check: S66
}

function stripped({ components, realm }: Principal, realms: readonly string[]): string | undefined {
  const [name] = components
  return components.length === 1 && name !== '' && realms.includes(realm) ? name : undefined // check: S66
}

function ruleOf(text: string, realm: unknown): Rule {
  if (text !== 'DEFAULT') return parseRule(text)
  if (typeof realm !== 'string' || realm === '')
    throw invalid('localNames.realm', 'the realm that DEFAULT is for', realm)
  return (principal) => stripped(principal, [realm])
}

/** `RULE:[n:string](expression)s/pattern/replacement/g`, all but the bracket optional. */
const RULE = /^RULE:\[(\d{1,2}):((?:[^\]\\$]|\$\d|\\.)*)\]/

interface Substitution {
  readonly pattern: LinearPattern
  readonly replacement: string
  readonly all: boolean
}

function parseRule(text: string): Rule {
  const [head, count, template] = RULE.exec(text) ?? []
  if (head === undefined || template === undefined) throw noRule(text, 'it does not begin with RULE:[n:string]')
  const components = Number(count)
  const tooHigh = [...template.matchAll(/\$(\d)/g)].find(([, digit]) => Number(digit) > components)
  if (tooHigh !== undefined) throw noRule(text, `${tooHigh[0]} is no component of ${components}`)
  let rest = text.slice(head.length)
  let selects: LinearPattern | undefined
  if (rest.startsWith('(')) {
    const end = closing(rest)
    if (end === undefined) throw noRule(text, 'a bracket is not closed')
    selects = new LinearPattern(rest.slice(1, end))
    rest = rest.slice(end + 1)
  }
  const substitutions: Substitution[] = []
  while (rest !== '') {
    const [whole, pattern, replacement, g] = /^s\/((?:[^/\\]|\\.)*)\/((?:[^/\\]|\\.)*)\/(g?)/.exec(rest) ?? []
    if (whole === undefined || pattern === undefined || replacement === undefined)
      throw noRule(text, `${quote(rest)} is no s/…/…/`)
    substitutions.push({
      pattern: new LinearPattern(pattern),
      replacement: replacement.replace(/\\(.)/g, '$1'),
      all: g === 'g',
    })
    rest = rest.slice(whole.length)
  }
  return (principal) => {
    if (principal.components.length !== components) return undefined // check: S66
    const name = template.replace(/\$(\d)/g, (_, digit: string) =>
      digit === '0' ? principal.realm : (principal.components[Number(digit) - 1] ?? ''),
    )
    if (selects?.matches(name) === false) return undefined // check: S66
    const mapped = substitutions.reduce(substituted, name)
    return mapped === '' ? undefined : mapped
  }
}

/** Where the bracket that begins a text ends: sets may hold brackets, and so may escapes. */
function closing(text: string): number | undefined {
  let depth = 0
  let inSet = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '\\' && !inSet) at++
    else if (character === '[' && !inSet) {
      inSet = true
      if (text[at + 1] === '^') at++
      if (text[at + 1] === ']') at++
    } else if (character === ']') inSet = false
    else if (character === '(' && !inSet) depth++
    else if (character === ')' && !inSet && --depth === 0) return at
  }
  return undefined
}

function substituted(text: string, { pattern, replacement, all }: Substitution): string {
  let result = ''
  let from = 0
  while (from <= text.length) {
    const found = pattern.search(text, from)
    if (found === undefined) break
    result += text.slice(from, found.start) + replacement
    // What matched nothing is passed over, or it would match for ever.
    const { end } = found
    from = end > found.start ? end : end + 1
    if (end === found.start) result += text.slice(end, from)
    if (!all) break
  }
  return result + text.slice(from)
}

function listOf(name: string, value: unknown): readonly string[] {
  const isList = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string' && one !== '')
  if (!isList) throw invalid(name, 'a list of texts', value)
  return [...value]
}

function noRule(text: string, why: string): UsageError {
  return new UsageError('OPTION_INVALID', `localNames: ${quote(text)} is no rule: ${why}`, {
    hint: 'Write RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*//, as in krb5.conf.',
  })
}
