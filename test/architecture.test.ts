import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

/** Holds the table of rooms: who may import whom, who may touch the world, and what an entry may pull in. */

const SOURCE = fileURLToPath(new URL('../src/', import.meta.url))

/** Longest prefix first. */
const ROOMS = [
  'krb5/messages',
  'krb5/formats',
  'krb5/exchange',
  'krb5/preauth',
  'krb5/extensions',
  'krb5',
  'gss/context',
  'gss/bindings',
  'gss/krb5',
  'gss/spnego',
  'asn1',
  'crypto',
  'bytes',
  'errors',
  'options',
  'http',
  'sessions',
  'adapters/stores',
  'adapters',
  'system',
  'testing',
  'entries/wiring/credentials',
  'entries',
  'cli',
] as const
type Room = (typeof ROOMS)[number]

const PROTOCOL: readonly Room[] = ['krb5/messages', 'krb5/formats', 'krb5/exchange', 'krb5/preauth', 'krb5/extensions']

/** Besides `errors`, `bytes` and `options`. A type is not reached at run time; those are listed apart. */
const MAY_IMPORT: Readonly<Record<Room, readonly Room[]>> = {
  errors: [],
  bytes: [],
  options: [],
  asn1: [],
  crypto: [],
  'krb5/messages': ['asn1'],
  'krb5/formats': ['krb5/messages'],
  'krb5/exchange': [...PROTOCOL, 'crypto'],
  'krb5/preauth': [...PROTOCOL, 'crypto'],
  'krb5/extensions': [...PROTOCOL, 'crypto', 'asn1'],
  krb5: [...PROTOCOL, 'crypto'],
  'gss/context': ['asn1'],
  'gss/bindings': ['gss/context', 'asn1', 'crypto'],
  'gss/krb5': ['gss/context', 'gss/bindings', 'krb5', ...PROTOCOL, 'crypto', 'asn1'],
  'gss/spnego': ['gss/context', 'asn1'],
  http: ['gss/context', 'krb5/messages'],
  sessions: [],
  'adapters/stores': ['http', 'gss/context', 'krb5/exchange'],
  adapters: ['http', 'gss/context'],
  system: ['krb5/formats', 'krb5/extensions'],
  testing: ['krb5/messages', 'krb5/formats', 'krb5/extensions', 'crypto', 'asn1', 'system'],
  'entries/wiring/credentials': [...ROOMS.filter((room) => room !== 'cli')],
  entries: [...ROOMS.filter((room) => room !== 'cli')],
  cli: ['entries'],
}

const MAY_IMPORT_TYPES: Partial<Record<Room, readonly Room[]>> = {
  'gss/context': ['krb5/messages', 'krb5/exchange'],
  'gss/spnego': ['krb5/messages'],
  http: ['krb5/exchange', 'entries/wiring/credentials'],
  sessions: ['http'],
  adapters: ['krb5/messages', 'entries/wiring/credentials'],
  system: ['krb5', 'krb5/exchange', 'http'],
  testing: ['krb5'],
}

/** Rooms that may touch the world through Node's modules; `crypto` has `node:crypto` alone. */
const EDGES: readonly Room[] = [
  'system',
  'adapters/stores',
  'adapters',
  'testing',
  'entries/wiring/credentials',
  'entries',
  'cli',
]
const LEAVES: readonly Room[] = ['errors', 'bytes', 'options']

interface Import {
  readonly from: string
  readonly target: string
  readonly typeOnly: boolean
}

const files = (readdirSync(SOURCE, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'))

function importsOf(file: string): readonly Import[] {
  const text = readFileSync(join(SOURCE, file), 'utf8')
  const found = [...text.matchAll(/^(?:import|export)\s+(type\s+)?([^'"]*?from\s+)?'([^']+)'/gm)]
  return found.map(([, type, names, target]) => {
    const named = /^\{(.*)\}\s*from\s*$/s.exec((names ?? '').trim())?.[1]
    const onlyTypes = named?.split(',').every((name) => name.trim() === '' || /^type\s/.test(name.trim())) === true
    return { from: file, target: target as string, typeOnly: type !== undefined || onlyTypes }
  })
}

function roomOf(file: string): Room {
  const room = ROOMS.find((one) => file === `${one}.ts` || file.startsWith(`${one}/`))
  if (room === undefined) throw new Error(`${file} lies in no room`)
  return room
}

const imports = files.flatMap(importsOf)
const inside = imports
  .filter(({ target }) => target.startsWith('.'))
  .map((one) => ({ ...one, to: relative(SOURCE, join(SOURCE, dirname(one.from), one.target)) }))

describe('the house', () => {
  test('every import points to a room that the table allows', () => {
    const wrong = inside.filter(({ from, to, typeOnly }) => {
      const [here, there] = [roomOf(from), roomOf(to)]
      const allowed = here === there || LEAVES.includes(there) || MAY_IMPORT[here].includes(there)
      return !allowed && !(typeOnly && MAY_IMPORT_TYPES[here]?.includes(there) === true)
    })
    expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([])
  })

  test('a leaf imports leaves only', () => {
    const wrong = inside.filter(({ from, to }) => LEAVES.includes(roomOf(from)) && !LEAVES.includes(roomOf(to)))
    expect(wrong).toEqual([])
  })

  test('no two files import each other, in however many steps', () => {
    const edges = new Map<string, string[]>()
    for (const { from, to, typeOnly } of inside) if (!typeOnly) edges.set(from, [...(edges.get(from) ?? []), to])
    const done = new Set<string>()
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) throw new Error(`circle: ${[...trail, file].join(' -> ')}`)
      if (done.has(file)) return
      for (const next of edges.get(file) ?? []) visit(next, [...trail, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
  })

  test('node:crypto is used by the room crypto alone, other modules of Node by the edges alone', () => {
    const wrong = imports.filter(({ from, target, typeOnly }) => {
      if (!target.startsWith('node:') || typeOnly) return false
      return target === 'node:crypto' ? roomOf(from) !== 'crypto' : !EDGES.includes(roomOf(from))
    })
    expect(wrong).toEqual([])
  })

  test('clock, randomness, environment and timers are read by the edges alone', () => {
    const world =
      /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now|\bprocess\.\w|\bMath\.random|\bset(Timeout|Interval)\(|getRandomValues/
    // `http/pending.ts` ends abandoned negotiations; its timer is its own and keeps nothing alive.
    const allowed = ['http/pending.ts']
    const wrong = files.filter((file) => {
      const text = readFileSync(join(SOURCE, file), 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
      return !EDGES.includes(roomOf(file)) && !allowed.includes(file) && world.test(text)
    })
    expect(wrong).toEqual([])
  })

  test('no entry but the command line reaches a package at run time, until sessions are switched on', () => {
    const packages = imports.filter(({ target, typeOnly }) => {
      return !typeOnly && !target.startsWith('.') && !target.startsWith('node:')
    })
    expect(packages.filter(({ from }) => !['cli', 'sessions'].includes(roomOf(from)))).toEqual([])
    const sealed = packages.filter(({ from }) => roomOf(from) === 'sessions').map(({ target }) => target)
    expect(sealed.sort()).toEqual(['cookie', 'jose'])
    const reaching = inside.filter(
      ({ from, to, typeOnly }) => roomOf(to) === 'sessions' && roomOf(from) !== 'sessions' && !typeOnly,
    )
    expect(reaching).toEqual([])
  })

  test('spnego/fetch does not load the server, nor spnego/server the client', () => {
    const reached = (entry: string): ReadonlySet<string> => {
      const seen = new Set<string>()
      const visit = (file: string): void => {
        if (seen.has(file)) return
        seen.add(file)
        for (const { from, to, typeOnly } of inside) if (from === file && !typeOnly) visit(to)
      }
      visit(entry)
      return seen
    }
    expect([...reached('entries/fetch.ts')].filter((file) => file.startsWith('adapters/server'))).toEqual([])
    expect([...reached('entries/server.ts')].filter((file) => file.startsWith('adapters/client'))).toEqual([])
    expect([...reached('entries/server.ts')].filter((file) => file.startsWith('testing'))).toEqual([])
  })

  test('every room has a door that says what it knows', () => {
    for (const door of [
      'asn1',
      'crypto',
      'krb5/messages',
      'krb5/formats',
      'krb5/exchange',
      'krb5/extensions',
      'gss/krb5',
      'gss/spnego',
      'http',
      'sessions',
      'system',
      'testing',
    ]) {
      expect(readFileSync(join(SOURCE, door, 'index.ts'), 'utf8'), door).toMatch(
        /^\/\*\*[\s\S]*(knows|Knows)[\s\S]*\*\//,
      )
    }
  })
})
