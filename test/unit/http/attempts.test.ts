import { expect, test } from 'vitest'
import { ADDRESS_FACTOR, Attempts, MAX_REMEMBERED } from '../../../src/http/attempts.ts'

function start(most = 3) {
  const clock = { now: 0 }
  const attempts = new Attempts(most, 1000, () => clock.now)
  return { clock, fails: (user: string, address?: string) => attempts.begin(user, address) !== undefined, attempts }
}

test('S87: a user has so many, from wherever they come', () => {
  const { fails } = start()
  expect(['a', 'b', 'c', 'd'].map((address) => fails('alice', address))).toEqual([true, true, true, false])
  expect(fails('bob', 'a')).toBe(true)
})

test('S87: they count while they are under way; one that was right was none', () => {
  const { attempts } = start(1)
  const first = attempts.begin('alice', 'a')
  expect(attempts.begin('alice', 'a')).toBeUndefined()
  first?.()
  expect(attempts.begin('alice', 'a')).toBeDefined()
})

test('S87: the question that is under way may be asked again, until another one was refused', () => {
  const { attempts, clock } = start(1)
  const first = attempts.begin('alice', 'a')
  expect(attempts.mayJoin('alice', 'a')).toBe(true)
  expect(attempts.begin('alice', 'b')).toBeUndefined()
  expect(attempts.mayJoin('alice', 'a')).toBe(false)
  first?.()
  attempts.begin('alice', 'a')
  expect(attempts.mayJoin('alice', 'a')).toBe(false) // nor the next one: else one guess would be free each time
  clock.now = 1000
  expect(attempts.mayJoin('alice', 'a')).toBe(true)
})

test('S87: nor from an address that has tried too often', () => {
  const { attempts } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) attempts.begin(`user${i}`, 'a')
  expect(['a', 'b'].map((address) => attempts.mayJoin('user1', address))).toEqual([false, true])
})

test('S87: an address has ten times as many', () => {
  const { fails } = start()
  for (let i = 0; i < 3 * ADDRESS_FACTOR; i++) expect(fails(`user${i}`, '10.0.0.7')).toBe(true)
  expect(fails('other', '10.0.0.7')).toBe(false)
  expect(fails('other', '10.0.0.8')).toBe(true)
  expect(fails('other', undefined)).toBe(true)
})

test.each([
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9'],
  ['2001:db8::1', '2001:0db8:0:0:5::'.replace('0db8', 'db8')],
  ['::ffff:10.0.0.7', '10.0.0.7'],
  ['fe80::1%eth0', 'fe80::2%eth1'],
  ['10.0.0.7:4711', '10.0.0.7:4712'],
  ['[2001:db8:1:2::1]:4711', '[2001:db8:1:2::2]'],
])('S87, RFC 4291 §2.5.4: %s and %s are one network', (one, other) => {
  const { fails } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) fails(`user${i}`, one)
  expect(fails('other', other)).toBe(false)
})

test('they are forgotten when the window is over', () => {
  const { fails, clock } = start(1)
  fails('alice')
  clock.now = 999
  expect(fails('alice')).toBe(false)
  clock.now = 1000
  expect(fails('alice')).toBe(true)
})

test('memory is bounded', () => {
  const { fails, attempts } = start(1)
  for (let i = 0; i < MAX_REMEMBERED + 10; i++) fails(`user${i}`)
  expect(attempts.size).toBe(MAX_REMEMBERED)
})
