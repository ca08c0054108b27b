/**
 * Regular expressions in time linear in the text: names come from strangers, and JavaScript's own take exponential time on some. The extended syntax
 * of POSIX (IEEE Std 1003.1, §9.4) without back references, and with octets beyond ASCII as they are.
 */
import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'

/** Largest program of one expression; `{m,n}` multiplies. */
const MAX_INSTRUCTIONS = 4096

type Test = (code: number) => boolean

type Instruction =
  | { readonly op: 'test'; readonly test: Test }
  | { readonly op: 'split'; readonly to: readonly [number, number] }
  | { readonly op: 'jump'; readonly to: number }
  | { readonly op: 'start' | 'end' | 'match' }

/** What an expression matched. */
export interface Match {
  readonly start: number
  readonly end: number
}

export class LinearPattern {
  readonly #program: readonly Instruction[]
  /** Places looked at since it was made. */
  steps = 0

  /** @throws {UsageError} `OPTION_INVALID` for what is no expression, or one that is too large */
  constructor(source: string) {
    this.#program = new Compiler(source).program()
  }

  /** Whether the whole text matches. */
  matches(text: string): boolean {
    const found = this.#run(text, 0, true)
    return found !== undefined && found.end === text.length
  }

  /** The first match from there on, and of those that start there the longest. */
  search(text: string, from: number): Match | undefined {
    return this.#run(text, from, false)
  }

  /** All ways are followed at once (Thompson, 1968); of those that meet the one counts that started first. */
  #run(text: string, from: number, anchored: boolean): Match | undefined {
    let best: Match | undefined
    let now = new Map<number, number>()
    for (let at = from; at <= text.length; at++) {
      if (at === from || (!anchored && best === undefined)) this.#follow(0, at, at, text, now)
      const next = new Map<number, number>()
      const code = text.charCodeAt(at)
      this.steps += now.size
      for (const [place, start] of now) {
        if (best !== undefined && start > best.start) continue
        const instruction = this.#program[place] as Instruction
        if (instruction.op === 'match') {
          if (best === undefined || start < best.start || at > best.end) best = { start, end: at }
        } else if (instruction.op === 'test' && at < text.length && instruction.test(code)) {
          this.#follow(place + 1, start, at + 1, text, next)
        }
      }
      now = next
      if (now.size === 0 && (anchored || best !== undefined)) break
    }
    return best
  }

  /** The places that are reached from one without reading. */
  #follow(from: number, start: number, at: number, text: string, into: Map<number, number>): void {
    const places = [from]
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      const known = into.get(place)
      if (known !== undefined && known <= start) continue
      into.set(place, start)
      const instruction = this.#program[place] as Instruction
      if (instruction.op === 'jump') places.push(instruction.to)
      else if (instruction.op === 'split') places.push(...instruction.to)
      else if (instruction.op === 'start' && at === 0) places.push(place + 1)
      else if (instruction.op === 'end' && at === text.length) places.push(place + 1)
    }
  }
}

/** By descent: alternatives of sequences of repeated atoms. */
class Compiler {
  readonly #source: string
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
  }

  program(): readonly Instruction[] {
    const code = this.#alternatives()
    if (this.#at < this.#source.length) throw this.#wrong('a bracket is closed that was not opened')
    return [...code, { op: 'match' }]
  }

  /** Places in the code of a part are counted from its beginning. */
  #alternatives(): readonly Instruction[] {
    let code = this.#sequence()
    while (this.#take('|')) {
      const other = this.#sequence()
      const over = code.length + 2
      code = joined([split(1, over)], code, [{ op: 'jump', to: other.length + 1 }], other)
    }
    return code
  }

  #sequence(): readonly Instruction[] {
    let code: readonly Instruction[] = []
    while (this.#at < this.#source.length && !/[|)]/.test(this.#peek()))
      code = this.#checked(joined(code, this.#repeated()))
    return code
  }

  #repeated(): readonly Instruction[] {
    let code = this.#atom()
    for (;;) {
      if (this.#take('*')) code = many(code, 0, undefined)
      else if (this.#take('+')) code = many(code, 1, undefined)
      else if (this.#take('?')) code = many(code, 0, 1)
      else if (this.#peek() === '{') code = this.#counted(code)
      else return code
      this.#checked(code)
    }
  }

  #counted(code: readonly Instruction[]): readonly Instruction[] {
    const [text, least = '', comma, most = ''] = /^\{(\d{1,3})(,?)(\d{0,3})\}/.exec(this.#source.slice(this.#at)) ?? []
    if (text === undefined) throw this.#wrong('{ begins no count')
    this.#at += text.length
    const upTo = comma === '' ? Number(least) : most === '' ? undefined : Number(most)
    if (upTo !== undefined && upTo < Number(least)) throw this.#wrong('a count ends before it begins')
    if (code.length * Math.max(Number(least), upTo ?? 0) > MAX_INSTRUCTIONS) throw this.#wrong('it is too large')
    return many(code, Number(least), upTo)
  }

  #atom(): readonly Instruction[] {
    const character = this.#next()
    switch (character) {
      case '(': {
        if (++this.#depth > 64) throw this.#wrong('it is too deep')
        const code = this.#alternatives()
        if (!this.#take(')')) throw this.#wrong('a bracket is not closed')
        this.#depth--
        return code
      }
      case '[':
        return [{ op: 'test', test: this.#set() }]
      case '.':
        return [{ op: 'test', test: () => true }]
      case '^':
        return [{ op: 'start' }]
      case '$':
        return [{ op: 'end' }]
      case '*':
      case '+':
      case '?':
      case '{':
        throw this.#wrong(`${character} repeats nothing`)
      case '\\':
        return [literal(this.#escaped())]
      default:
        return [literal(character)]
    }
  }

  #escaped(): string {
    const character = this.#next()
    if (/[A-Za-z0-9]/.test(character)) throw this.#wrong(`\\${character} is not known here`)
    return character
  }

  #set(): Test {
    const negated = this.#take('^')
    const ranges: [number, number][] = []
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      const low = this.#next()
      if (low === '[' && /[:.=]/.test(this.#peek())) throw this.#wrong('[: :] is not known here')
      const isRange = this.#peek() === '-' && this.#source[this.#at + 1] !== ']' && this.#take('-')
      const high = isRange ? this.#next() : low
      if (high < low) throw this.#wrong(`${low}-${high} is no range`)
      ranges.push([low.charCodeAt(0), high.charCodeAt(0)])
    }
    this.#at++
    return (code) => ranges.some(([low, high]) => code >= low && code <= high) !== negated
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #next(): string {
    const character = this.#source[this.#at++]
    if (character === undefined) throw this.#wrong('it ends too early')
    return character
  }

  #take(character: string): boolean {
    const isThere = this.#peek() === character
    if (isThere) this.#at++
    return isThere
  }

  #checked(code: readonly Instruction[]): readonly Instruction[] {
    if (code.length > MAX_INSTRUCTIONS) throw this.#wrong('it is too large')
    return code
  }

  #wrong(why: string): UsageError {
    return new UsageError('OPTION_INVALID', `localNames: the expression ${quote(this.#source)} cannot be used: ${why}`)
  }
}

function literal(character: string): Instruction {
  const wanted = character.charCodeAt(0)
  return { op: 'test', test: (code) => code === wanted }
}

/** Parts one after the other: what was counted from the beginning of each is counted from that of the first. */
function joined(...parts: readonly (readonly Instruction[])[]): readonly Instruction[] {
  const all: Instruction[] = []
  for (const part of parts) {
    const by = all.length
    for (const one of part) all.push(moved(one, by))
  }
  return all
}

function moved(one: Instruction, by: number): Instruction {
  if (one.op === 'jump') return { op: 'jump', to: one.to + by }
  if (one.op === 'split') return split(one.to[0] + by, one.to[1] + by)
  return one
}

function split(one: number, other: number): Instruction {
  return { op: 'split', to: [one, other] }
}

function many(code: readonly Instruction[], least: number, most: number | undefined): readonly Instruction[] {
  let all: readonly Instruction[] = []
  for (let i = 0; i < least; i++) all = joined(all, code)
  if (most === undefined) return joined(all, [split(1, code.length + 2)], code, [{ op: 'jump', to: -code.length - 1 }])
  for (let i = least; i < most; i++) all = joined(all, [split(1, code.length + 1)], code)
  return all
}
