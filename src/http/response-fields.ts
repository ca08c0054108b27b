import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'

/** How fields of ours stand beside those that an application sets on its response. */

/** The response fields that are lists, so that ours stands beside the application's (RFC 9110 §5.3). */
export function isListField(name: string): boolean {
  return isChallengeField(name) || isSessionField(name) || name.toLowerCase() === 'vary'
}

/** What asks for credentials (RFC 9110 §11.6.1, §11.7.1). */
export function isChallengeField(name: string): boolean {
  return /^(www|proxy)-authenticate$/i.test(name)
}

/** What makes a login last beyond its response (RFC 6265 §4.1). */
export function isSessionField(name: string): boolean {
  return name.toLowerCase() === 'set-cookie'
}

/** What caches go by: ours depends on what the application says, so it is added when the head is written. */
export function isCacheField(name: string): boolean {
  return /^(vary|cache-control)$/i.test(name)
}

/** Directives beside which `private` has nothing to say: the application has decided. With names of fields `private` is for those alone (RFC 9111 §5.2.2.7). */
const DECIDED = /^(private$|no-store$|public$|s-maxage(=|$))/i // check: S108

/**
 * The lines of a list field with one more of ours: undefined when they say it already.
 *
 * A login's response is for its user alone: `private` joins what the application says of caches, unless that has decided. Names in Vary stand there
 * once, and `*` says more than any name (RFC 9110 §12.5.5).
 */
export function withField(name: string, lines: readonly string[], ours: string): readonly string[] | undefined {
  if (lines.includes(ours)) return undefined
  if (!isCacheField(name)) return [...lines, ours]
  const items = lines.flatMap(itemsOf)
  if (name.toLowerCase() === 'cache-control') {
    return items.some((directive) => DECIDED.test(directive)) ? undefined : [[...lines, ours].join(', ')]
  }
  const there = items.map((item) => item.toLowerCase())
  const missing = ours.split(', ').filter((field) => !there.includes(field.toLowerCase()))
  return there.includes('*') || missing.length === 0 ? undefined : [[...lines, ...missing].join(', ')]
}

/** What stands between the commas of a list that are not quoted (RFC 9110 §5.6.1, §5.6.4). */
function itemsOf(line: string): readonly string[] {
  const items = line.match(/(?:[^",]|"(?:[^"\\]|\\.)*"?)+/g) ?? []
  return items.map((item) => item.trim().replace(/\s*=\s*/, '='))
}

/** @throws {UsageError} `OPTION_INVALID` for what is no field of a response (RFC 9110 §5.1, §5.5) */
export function mustBeField(option: string, field: string, value: unknown): void {
  const isName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(field)
  if (isName && typeof value === 'string' && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return
  throw new UsageError('OPTION_INVALID', `${option}: ${quote(field)} is no header field, or its value is none`, {
    hint: 'Names are tokens; values are text of one line.',
  })
}
