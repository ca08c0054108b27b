import { expect, test } from 'vitest'
import { Attempts, attemptCounts } from '../../../src/http/attempts.ts'
import { MAX_COUNTED_KEYS } from '../../../src/http/failure-counts.ts'
import { ADDRESS_FACTOR } from '../../../src/http/networks.ts'

function start(most = 3) {
  const clock = { now: 0 }
  const counts = attemptCounts(() => clock.now, 0x5eed)
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
  ['2001:db8::1', '2001:0DB8:0:0:5::'],
  ['::ffff:a00:7', '10.0.0.7'],
  ['0:0:0:0:0:ffff:10.0.0.7', '::ffff:10.0.0.7'],
  ['::ffff:10.0.0.7', '10.0.0.7'],
  ['fe80::1%eth0', 'fe80::2%eth1'],
  ['10.0.0.7:4711', '10.0.0.7:4712'],
  ['[2001:db8:1:2::1]:4711', '[2001:db8:1:2::2]'],
])('S87, RFC 4291 §2.5.4: %s and %s are one network', (one, other) => {
  const { fails } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) fails(`user${i}`, one)
  expect(fails('other', other)).toBe(false)
})

test.each([
  ['10.0.0.7', '10.0.0.8'],
  ['::ffff:10.0.0.7', '::ffff:10.0.0.8'],
  ['::ffff:a00:7', '::ffff:a00:8'],
  ['2001:db8:1:2::1', '2001:db8:1:3::1'],
  ['1:2:3', '1:2:4'],
  ['unknown', 'unknown2'],
])('S87: %s and %s are two', (one, other) => {
  const { fails } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) fails(`user${i}`, one)
  expect([fails('other', one), fails('other', other)]).toEqual([false, true])
})

test('they are forgotten when the window is over', () => {
  const { fails, clock } = start(1)
  fails('alice')
  clock.now = 999
  expect(fails('alice')).toBe(false)
  clock.now = 1000
  expect(fails('alice')).toBe(true)
})

test('S87: memory is bounded, and what failed is not forgotten because others did', () => {
  const { fails, counts } = start(1)
  for (let i = 0; i < MAX_COUNTED_KEYS + 10; i++) fails(`user${i}`, `10.0.${i >> 8}.${i & 255}`)
  expect(counts.names.size).toBe(MAX_COUNTED_KEYS)
  expect(counts.addresses.size).toBe(MAX_COUNTED_KEYS)
  expect([0, 5, MAX_COUNTED_KEYS + 9].map((i) => fails(`user${i}`))).toEqual([false, false, false])
  expect(fails('somebody else')).toBe(true)
})

test.each([1, 2, 3, 5])('S87: a name that failed %d times is not forgotten because others came', (failures) => {
  const { fails } = start(failures)
  for (let i = 0; i < failures; i++) expect(fails('alice')).toBe(true)
  for (let i = 0; i < 2 * MAX_COUNTED_KEYS; i++) fails(`user${i}`)
  expect(fails('alice')).toBe(false)
})

test('S87: guesses between two floods of other names are counted together', () => {
  const { fails } = start(5)
  let guesses = 0
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 2; i++) if (fails('alice')) guesses++
    for (let i = 0; i < MAX_COUNTED_KEYS; i++) fails(`user${round} ${i}`)
  }
  expect(guesses).toBe(5)
})

test('S87: a table full of names that failed often keeps nobody out, and forgets in time', () => {
  const { fails, counts, clock } = start(5)
  for (let i = 0; i < MAX_COUNTED_KEYS; i++) for (let n = 0; n < 3; n++) fails(`user${i}`)
  let allowed = 0
  for (let i = 0; i < 50; i++) {
    fails(`passing${i}`)
    if (fails('alice')) allowed++
  }
  expect(allowed).toBe(5)
  for (let i = 0; i < 20_000; i++) fails(`other${i}`)
  expect(counts.names.size).toBe(MAX_COUNTED_KEYS)
  let others = 0
  for (let i = 0; i < 1000; i++) if (fails(`new${i}`)) others++
  expect(others).toBeGreaterThan(990) // the rest shares both of its counters
  expect(fails('alice')).toBe(false)
  clock.now += 1000
  expect(['alice', 'bob', 'user7'].map((name) => fails(name))).toEqual([true, true, true])
})

test('S87: what has ended makes room before anything that has not', () => {
  const { fails, counts, clock } = start(5)
  for (let i = 0; i < MAX_COUNTED_KEYS - 1; i++) for (let n = 0; n < 3; n++) fails(`old${i}`)
  clock.now = 999
  fails('alice')
  clock.now = 1500
  fails('bob')
  fails('carol')
  expect(counts.names.size).toBe(3)
})

test('S87: what is taken back is taken from the name that it was counted for, once dropped too', () => {
  const { attempts, fails, clock } = start(5)
  const takeBack = [1, 2].map(() => attempts.begin('alice', undefined))
  clock.now = 1000
  for (let i = 0; i < 4; i++) fails('alice') // in another window
  for (const undo of takeBack) undo?.()
  expect([fails('alice'), fails('alice')]).toEqual([true, false])
  const late = attempts.begin('bob', undefined)
  for (let i = 0; i < 3; i++) fails('bob')
  for (let i = 0; i < MAX_COUNTED_KEYS + 10; i++) for (let n = 0; n < 4; n++) fails(`user${i}`)
  late?.()
  expect([fails('bob'), fails('bob')]).toEqual([true, false]) // five with the one that is counted although it was none
})

test('S87, RFC 6177 §2: who has many networks of IPv6 has not ten times as many attempts in each', () => {
  const { fails } = start(1)
  let within56 = 0
  for (let i = 0; i < 256; i++) {
    for (let n = 0; n < 20; n++) if (fails(`user${i} ${n}`, `2001:db8:1:${(0x100 + i).toString(16)}::1`)) within56++
  }
  expect(within56).toBe(4 * ADDRESS_FACTOR)
  let within48 = within56
  for (let i = 0; i < 65_536; i += 64) {
    for (let n = 0; n < 10; n++) if (fails(`name${i} ${n}`, `2001:db8:1:${i.toString(16)}::1`)) within48++
  }
  expect(within48).toBe(16 * ADDRESS_FACTOR)
  expect(fails('other', '2001:db8:2::1')).toBe(true)
})

test('S87: what no KDC is asked about counts against its address alone', () => {
  const { attempts } = start(1)
  for (let i = 0; i < ADDRESS_FACTOR; i++) expect(attempts.begin(undefined, 'a')).toBeDefined()
  expect(attempts.begin(undefined, 'a')).toBeUndefined()
  expect(attempts.begin('alice', 'b')).toBeDefined()
  expect(attempts.begin(undefined, undefined)).toBeDefined()
})
