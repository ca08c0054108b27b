import { expect, test } from 'vitest'
import { ADDRESS_FACTOR, Attempts, attemptCounts } from '../../../src/http/attempts.ts'
import { MAX_COUNTED_KEYS } from '../../../src/http/failure-counts.ts'

function start(most = 3) {
  const clock = { now: 0 }
  const counts = attemptCounts(() => clock.now)
  const attempts = new Attempts(most, 1000, counts)
  return {
    clock,
    counts,
    fails: (user: string, address?: string) => attempts.begin(user, address) !== undefined,
    attempts,
  }
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

test('memory is bounded, and what goes are the names that failed once', () => {
  const { fails, counts } = start(1)
  for (let i = 0; i < MAX_COUNTED_KEYS + 10; i++) fails(`user${i}`, `10.0.${i >> 8}.${i & 255}`)
  expect(counts.names.size).toBe(MAX_COUNTED_KEYS)
  expect(counts.addresses.size).toBe(MAX_COUNTED_KEYS)
  expect(fails('user0')).toBe(true)
  expect(fails(`user${MAX_COUNTED_KEYS + 9}`)).toBe(false)
})

test.each([2, 3, 5])('S87: a name that failed %d times is not forgotten because others came', (failures) => {
  const { fails } = start(failures)
  for (let i = 0; i < failures; i++) expect(fails('alice')).toBe(true)
  for (let i = 0; i < 2 * MAX_COUNTED_KEYS; i++) fails(`user${i}`)
  expect(fails('alice')).toBe(false)
})

test('S87: a table full of names that failed often counts new ones together, keeps nobody out, and forgets in time', () => {
  const { fails, counts, clock } = start(5)
  for (let i = 0; i < MAX_COUNTED_KEYS; i++) for (let n = 0; n < 3; n++) fails(`user${i}`)
  expect(fails('alice')).toBe(true)
  let allowed = 1
  for (let i = 0; i < 50; i++) {
    fails(`passing${i}`) // would push out the only name that failed less often
    if (fails('alice')) allowed++
  }
  expect(allowed).toBeLessThanOrEqual(5)
  expect(fails('bob')).toBe(true)
  for (let i = 0; i < 20_000; i++) fails(`other${i}`)
  expect(counts.names.size).toBeLessThanOrEqual(MAX_COUNTED_KEYS + 4096)
  expect(fails('user7')).toBe(true) // the fourth of five
  clock.now += 1000
  expect(['alice', 'bob', 'carol', 'user7'].map((name) => fails(name))).toEqual([true, true, true, true])
})

test('S87: what no KDC is asked about counts against its address alone', () => {
  const { attempts } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) expect(attempts.begin(undefined, 'a')).toBeDefined()
  expect(attempts.begin(undefined, 'a')).toBeUndefined()
  expect(attempts.begin('alice', 'b')).toBeDefined()
  expect(attempts.begin(undefined, undefined)).toBeDefined()
})
