import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { MemoryReplayStore } from '../../src/krb5/exchange/index.ts'

const START = Date.UTC(2026, 10, 23)
/** Milliseconds for which an entry is kept. */
const LIFE = 301_000
const SET_BACK: unknown = expect.objectContaining({ code: 'CLOCK_SET_BACK' })

/** Two clocks that obey the test. */
function clocks(): { wall: number; mono: number; advance(ms: number): void; now(): number; monotonic(): number } {
  return {
    wall: START,
    mono: 5,
    advance(ms) {
      this.wall += ms
      this.mono += ms
    },
    now() {
      return this.wall
    },
    monotonic() {
      return this.mono
    },
  }
}

function storeOn(clock: ReturnType<typeof clocks>, maxEntries = 1_000_000): MemoryReplayStore {
  return new MemoryReplayStore({ maxEntries, now: () => clock.now(), monotonic: () => clock.monotonic() })
}

const key = new Uint8Array(16)
const view = new DataView(key.buffer)
/** A key that is as good as random and belongs to the number. */
function keyOf(n: number): Uint8Array {
  view.setUint32(0, Math.imul(n, 0x9e3779b1) >>> 0)
  view.setUint32(4, n)
  return key
}

describe('S52 memory', () => {
  test('a million entries cost at most 32 octets each, and all of it comes back', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const base = store.bytes
    let most = 0
    for (let i = 0; i < 1_000_000; i++) {
      if (store.checkAndStore(keyOf(i), clock.wall + LIFE) !== 'fresh') throw new Error(`entry ${i}`)
      most = Math.max(most, store.bytes)
    }
    expect(store.size).toBe(1_000_000)
    expect(most).toBeLessThanOrEqual(32 * 1_000_000 + 32)
    for (const i of [0, 1, 767, 768, 500_000, 999_999])
      expect(store.checkAndStore(keyOf(i), clock.wall + LIFE)).toBe('replay')
    clock.advance(LIFE + 1)
    expect(store.checkAndStore(keyOf(1_000_001), clock.wall + LIFE)).toBe('fresh')
    expect(store.size).toBe(1)
    expect(store.bytes).toBe(base)
  })

  test('keys that all want the same slot are still told apart', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const all = Array.from({ length: 500 }, (_, i) =>
      Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? i & 255 : at === 14 ? i >> 8 : 255)),
    )
    for (const one of all) expect(store.checkAndStore(one, clock.wall + LIFE)).toBe('fresh')
    for (const one of all) expect(store.checkAndStore(one, clock.wall + LIFE)).toBe('replay')
  })

  test('a steady flow costs the same per login after an hour as at first', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const started = performance.now()
    for (let i = 0; i < 200_000; i++) {
      clock.advance(20) // 15 000 alive at any time, 50 expire each second
      if (store.checkAndStore(keyOf(i), clock.wall + LIFE) !== 'fresh') throw new Error(`entry ${i}`)
    }
    expect(store.size).toBeLessThan(4 * 15_050)
    expect(performance.now() - started).toBeLessThan(4000) // a watchdog: 0.1 s is usual
  })
})

describe('S48 full', () => {
  test('nothing alive is evicted; what has expired makes room within a second', () => {
    const clock = clocks()
    const store = storeOn(clock, 100)
    for (let i = 0; i < 100; i++) {
      store.checkAndStore(keyOf(i), clock.wall + LIFE)
      clock.advance(1000)
    }
    const refused = expect.objectContaining({ code: 'REPLAY_STORE_UNAVAILABLE' })
    expect(() => store.checkAndStore(keyOf(100), clock.wall + LIFE)).toThrow(refused)
    for (let i = 0; i < 100; i++) expect(store.checkAndStore(keyOf(i), clock.wall + LIFE)).toBe('replay')
    clock.advance(LIFE - 100_000 + 1001) // the first entries have ended
    expect(store.checkAndStore(keyOf(101), clock.wall + LIFE)).toBe('fresh')
  })
})

describe('S100 one account cannot fill the store for all', () => {
  test.each([160, 10_000])(
    '%d entries: from half on, who holds a sixteenth is refused, and others are not',
    (entries) => {
      const clock = clocks()
      const store = storeOn(clock, entries)
      let n = 0
      const login = (client: string) => store.checkAndStore(keyOf(n++), clock.wall + LIFE, { time: clock.wall, client })
      const refused = expect.objectContaining({ code: 'REPLAY_STORE_UNAVAILABLE' })
      for (let i = 0; i < entries / 2; i++) expect(login('mallory@EXAMPLE.TEST')).toBe('fresh')
      expect(() => login('mallory@EXAMPLE.TEST')).toThrow(refused)
      for (let i = 0; i < entries / 4; i++) expect(login(`user${i}@EXAMPLE.TEST`)).toBe('fresh')
      expect(() => login('mallory@EXAMPLE.TEST')).toThrow(refused)
      clock.advance(2 * LIFE + 2000)
      expect(login('bob')).toBe('fresh') // sweeps
      clock.advance(2 * LIFE + 2000)
      expect(login('mallory@EXAMPLE.TEST')).toBe('fresh')
    },
  )

  test('who logs in evenly for hours is refused only for what is alive', () => {
    const clock = clocks()
    const store = storeOn(clock, 1600)
    let n = 0
    const login = (client: string) => store.checkAndStore(keyOf(n++), clock.wall + LIFE, { time: clock.wall, client })
    for (let i = 0; i < 500; i++) {
      login('monitor@EXAMPLE.TEST') // 50 alive at a time
      clock.advance(LIFE / 50)
    }
    for (let i = 0; i < 850; i++) login(`user${i}@EXAMPLE.TEST`)
    expect(login('monitor@EXAMPLE.TEST')).toBe('fresh')
  })

  test('what has ended and is not swept yet refuses nobody', () => {
    const clock = clocks()
    const store = storeOn(clock, 1600)
    let n = 0
    const login = (client: string) => store.checkAndStore(keyOf(n++), clock.wall + LIFE, { time: clock.wall, client })
    for (let i = 0; i < 700; i++) login(`user${i}@EXAMPLE.TEST`)
    clock.advance(LIFE - 1000)
    for (let i = 0; i < 100; i++) login('alice@EXAMPLE.TEST')
    clock.advance(1001)
    expect(login('alice@EXAMPLE.TEST')).toBe('fresh')
    expect(store.size).toBe(101)
  })

  test('an account alone may use the half of it, and a store of a few entries all of it', () => {
    const clock = clocks()
    const store = storeOn(clock, 16)
    for (let i = 0; i < 16; i++) {
      expect(store.checkAndStore(keyOf(i), clock.wall + LIFE, { time: clock.wall, client: 'alice' })).toBe('fresh')
    }
  })
})

describe('S40 S44 acceptors with several clock skews share a store', () => {
  const WIDE = 901_000
  const NARROW = 61_000

  test.each([
    ['both were announced', true],
    ['they are known from their logins', false],
  ])(
    'a token that the narrow one accepted is known for as long as the wide one would accept it: %s',
    (_what, isAnnounced) => {
      const clock = clocks()
      const store = storeOn(clock)
      const from = (n: number, time: number, skew: number) =>
        store.checkAndStore(keyOf(n), Math.max(time, clock.wall) + skew, { time, client: 'alice' })
      if (isAnnounced) for (const skew of [NARROW, WIDE]) store.expectSkew(skew)
      const first = clock.wall
      expect(from(1, first, NARROW)).toBe('fresh')
      expect(from(2, first, WIDE)).toBe('fresh')
      expect(from(3, first, NARROW)).toBe('fresh')
      clock.advance(NARROW + 2000)
      from(4, clock.wall, NARROW) // sweeps
      if (isAnnounced) expect(from(1, first, WIDE)).toBe('replay')
      else expect(() => from(1, first, WIDE)).toThrow(SET_BACK) // it came before anything was known of the wide one
      expect(from(3, first, WIDE)).toBe('replay')
      clock.advance(600_000)
      expect(from(3, first, WIDE)).toBe('replay')
    },
  )

  test('a client whose clock is slow is accepted by the wide one, whatever the narrow one has accepted', () => {
    const clock = clocks()
    const store = storeOn(clock)
    for (const skew of [NARROW, WIDE]) store.expectSkew(skew)
    let n = 0
    for (let minute = 0; minute < 60; minute++) {
      for (const [time, skew] of [
        [clock.wall, NARROW],
        [clock.wall - 600_000, WIDE],
        [clock.wall + 300_000, WIDE],
      ] as const) {
        const client = String(time)
        expect(store.checkAndStore(keyOf(n++), Math.max(time, clock.wall) + skew, { time, client })).toBe('fresh')
      }
      clock.advance(60_000)
    }
  })
})

test('S43 a store that was made while the clock was behind remembers since it was made, not since then', () => {
  const clock = clocks()
  clock.wall = 0 // no clock yet
  const store = storeOn(clock)
  clock.advance(2000)
  clock.wall = START // NTP
  expect(store.rememberedSince()).toBe(START - 2000)
  clock.wall -= 600_000
  expect(store.rememberedSince()).toBe(START - 602_000)
})

describe('S44 a wall clock that is set', () => {
  test('back re-opens nothing, not even what was forgotten', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const expiresAt = clock.wall + LIFE
    expect(store.checkAndStore(keyOf(1), expiresAt)).toBe('fresh')
    clock.advance(LIFE + 1)
    store.checkAndStore(keyOf(2), clock.wall + LIFE) // sweeps
    expect(store.size).toBe(1)
    clock.wall -= LIFE + 1
    expect(store.checkAndStore(keyOf(1), expiresAt)).toBe('replay')
  })

  test('forward keeps what is alive', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const expiresAt = clock.wall + LIFE
    store.checkAndStore(keyOf(1), expiresAt)
    clock.wall += 10 * LIFE
    expect(store.checkAndStore(keyOf(1), expiresAt)).toBe('replay')
  })

  test('back, and the token comes with an expiry of the new clock: still refused', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const token = { time: clock.wall, client: 'alice' }
    expect(store.checkAndStore(keyOf(1), clock.wall + LIFE, token)).toBe('fresh')
    expect(store.checkAndStore(keyOf(3), clock.wall + LIFE)).toBe('fresh')
    clock.advance(700_000)
    store.checkAndStore(keyOf(2), clock.wall + LIFE, { time: clock.wall, client: 'bob' })
    clock.wall -= 600_000 // the token is 100 s old again
    expect(() => store.checkAndStore(keyOf(1), clock.wall + LIFE, token)).toThrow(SET_BACK)
    expect(store.checkAndStore(keyOf(3), clock.wall + LIFE)).toBe('replay')
  })

  test('back: exactly the times at which tokens were accepted are refused, and none after them', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const at = (time: number) =>
      store.checkAndStore(keyOf(time), Math.max(time, clock.wall) + LIFE, { time, client: 'a' })
    const first = clock.wall
    for (let second = 0; second <= 100; second++) {
      expect(at(clock.wall)).toBe('fresh')
      clock.advance(1000)
    }
    clock.advance(900_000)
    clock.wall = first
    expect(at(first - 1)).toBe('fresh')
    for (const time of [first, first + 1, first + 50_000, first + 100_000]) expect(() => at(time)).toThrow(SET_BACK)
    expect(at(first + 100_001)).toBe('fresh')
  })

  test.each([3600, 86_400, 7 * 86_400])(
    'ahead by %d s for one login, then right: only that login’s time is refused',
    (seconds) => {
      const clock = clocks()
      const store = storeOn(clock)
      let n = 0
      const login = (time = clock.wall) =>
        store.checkAndStore(keyOf(n++), Math.max(time, clock.wall) + LIFE, { time, client: 'a' })
      expect(login()).toBe('fresh')
      const early = clock.wall + seconds * 1000
      clock.wall = early
      expect(login()).toBe('fresh')
      clock.wall -= seconds * 1000
      for (let passed = 0; passed < seconds - 300; passed += 60) {
        clock.advance(60_000)
        expect(login()).toBe('fresh')
      }
      expect(() => login(early)).toThrow(SET_BACK)
      expect(login(early + 1)).toBe('fresh')
      clock.advance(600_000)
      expect(login()).toBe('fresh')
    },
  )

  test('a clock that drifts, and a machine that sleeps, refuse nobody', () => {
    const clock = clocks()
    const store = storeOn(clock)
    let n = 0
    for (let i = 0; i < 20_000; i++) {
      clock.advance(1000)
      clock.wall += i % 2000 < 1000 ? 1 : -1 // 1 000 ppm, to and fro
      if (i % 700 === 0) clock.wall += 60_000 // asleep: the monotonic clock stands still
      for (const late of [0, 299_000]) {
        const time = clock.wall - late
        if (i % 10 === 0)
          expect(store.checkAndStore(keyOf(n++), clock.wall + LIFE, { time, client: 'a' })).toBe('fresh')
      }
    }
  })

  test('back after an hour ahead locks nobody out for longer than that hour', () => {
    const clock = clocks()
    const store = storeOn(clock)
    const hour = 3_600_000
    clock.wall += hour
    for (let i = 0; i < 10; i++) store.checkAndStore(keyOf(i), clock.wall + LIFE)
    clock.wall -= hour
    let n = 100
    const fresh = () => store.checkAndStore(keyOf(n++), clock.wall + LIFE) === 'fresh'
    for (let minute = 0; minute < 75; minute++) {
      clock.advance(60_000)
      fresh()
    }
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(60_000)
      expect(fresh()).toBe(true)
    }
  })
})

test('a Map that forgets nothing agrees: nothing alive is accepted twice, nothing new is refused', () => {
  const action = fc.record({
    key: fc.nat({ max: 40 }),
    advance: fc.nat({ max: 200_000 }),
    life: fc.integer({ min: 1, max: LIFE }),
  })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
      const clock = clocks()
      const store = storeOn(clock)
      const ends = new Map<number, number>()
      for (const { key: n, advance, life } of actions) {
        clock.advance(advance)
        const known = ends.get(n)
        const verdict = store.checkAndStore(keyOf(n), clock.wall + life)
        if (known !== undefined && clock.mono < known) expect(verdict).toBe('replay')
        if (known === undefined) expect(verdict).toBe('fresh')
        if (verdict === 'fresh') ends.set(n, clock.mono + life)
      }
    }),
    { numRuns: 300 },
  )
})

test('S40 a key of another length, or no time, is the caller’s error: it would never be found again', () => {
  const store = storeOn(clocks())
  expect(() => store.checkAndStore(new Uint8Array(32), Date.now() + LIFE)).toThrow(UsageError)
  expect(() => store.checkAndStore(new Uint8Array(15), Date.now() + LIFE)).toThrow(UsageError)
  expect(() => store.checkAndStore(new Uint8Array(16), Number.NaN)).toThrow(UsageError)
  for (const maxEntries of [0, -1, 1.5, Number.NaN, 50_000_001]) {
    expect(() => storeOn(clocks(), maxEntries)).toThrow(UsageError)
  }
})
