import { describe, expect, test } from 'vitest'
import {
  type EndedSession,
  EndedSessions,
  MAX_ENDED_PER_PRINCIPAL,
  MAX_ENDED_SESSIONS,
} from '../../../src/http/ended-sessions.ts'

const NOW = 1_000_000
const LATER = NOW + 3_600_000

const session = (id: string, principal: string, startedAt: number): EndedSession => ({
  id,
  principal,
  startedAt,
  expiresAt: LATER,
})

/** So many of other users that all before are forgotten. */
function flood(ended: EndedSessions, isStored: boolean): void {
  for (let i = 0; i <= MAX_ENDED_SESSIONS; i++) ended.add(session(`x${i}`, `user${i}`, NOW), isStored, NOW)
}

describe('a session that was ended stays ended, whatever is ended after it', () => {
  const first = session('first', 'alice', NOW - 10)

  test.each([
    ['without a store, and so are the others', false, false],
    ['without a store, and the others with one', false, true],
    ['with a store, and so are the others', true, true],
    ['with a store, and the others without one', true, false],
  ])('S91: it was ended by a server %s', (_what, isStored, areStored) => {
    const ended = new EndedSessions()
    ended.add(first, isStored, NOW)
    flood(ended, areStored)
    expect(ended.has(first, false)).toBe(true)
    if (!isStored) expect(ended.has(first, true)).toBe(true)
    expect(ended.has(session('new', 'alice', NOW + 1), false)).toBe(false)
  })

  test('S91: of a user who ends many, by servers with and without a store', () => {
    const ended = new EndedSessions()
    ended.add(first, false, NOW)
    for (let i = 0; i < MAX_ENDED_PER_PRINCIPAL; i++) ended.add(session(`x${i}`, 'alice', NOW - 5), true, NOW)
    for (const asksStore of [true, false]) {
      expect(ended.has(first, asksStore)).toBe(true)
      expect(ended.has(session('bob', 'bob', NOW - 10), asksStore)).toBe(false)
    }
  })

  test('S91: a session that a store remembers costs the servers that ask it nothing', () => {
    const ended = new EndedSessions()
    flood(ended, true)
    expect(ended.has(session('old', 'alice', NOW - 1), true)).toBe(false)
    expect(ended.has(session('old', 'alice', NOW - 1), false)).toBe(true)
  })

  test('S91: ended by two servers, of which the second has a store', () => {
    const ended = new EndedSessions()
    ended.add(first, false, NOW)
    ended.add(first, true, NOW)
    flood(ended, true)
    expect([ended.has(session('old', 'bob', NOW - 20), true), ended.has(first, false)]).toEqual([false, true])
  })

  test('one whose time is over is forgotten without a trace', () => {
    const ended = new EndedSessions()
    ended.add({ ...first, expiresAt: NOW }, false, NOW - 1)
    for (let i = 0; i < MAX_ENDED_SESSIONS; i++) ended.add(session(`x${i}`, `user${i}`, NOW), false, NOW)
    expect(ended.has(session('old', 'bob', NOW - 20), false)).toBe(false)
  })
})
