import { describe, expect, test } from 'vitest'
import { listOf, quote, shorten } from '../../src/bytes/text.ts'
import { ConfigError } from '../../src/errors.ts'
import { Krb5Config } from '../../src/krb5/formats/index.ts'

describe('what is shown of foreign text', () => {
  test('a quotation is short however much of it is escaped, and ends behind a whole escape', () => {
    for (const text of [
      '\u0001'.repeat(5000),
      '"'.repeat(5000),
      'a'.repeat(5000),
      `a${'\u202e'.repeat(300)}`,
      '😀'.repeat(400),
    ]) {
      const shown = quote(text)
      expect(shown.length).toBeLessThanOrEqual(256 + '"…"'.length)
      expect(shown).toMatch(/^"(?:\\u[0-9a-f]{4}|\\["\\]|[^"\\\u0000-\u001f])*…"$/)
      expect(shown).not.toMatch(/\p{Surrogate}/u)
    }
    expect(quote('a'.repeat(256))).toBe(`"${'a'.repeat(256)}"`)
    expect(quote('a\n"\\\u2066😀')).toBe('"a\\u000a\\"\\\\\\u2066😀"')
    expect(quote('')).toBe('""')
  })

  test('a name that is escaped already is cut alike', () => {
    expect(shorten('alice@R')).toBe('alice@R')
    expect(shorten('a'.repeat(5000))).toHaveLength(257)
  })

  test('a list says how many are left out', () => {
    expect(listOf([])).toBe('')
    expect(listOf(['a', 'b'])).toBe('a, b')
    expect(listOf(['a', 'b'], '; ')).toBe('a; b')
    const long = Array.from({ length: 50 }, (_, i) => `${i}`.padEnd(200, 'x'))
    expect(listOf(long)).toMatch(/^0x.* and 46 more$/)
    expect(listOf(long).length).toBeLessThan(1100)
  })

  test('CONFIG_INVALID stays under 2 000 characters, whatever the value', () => {
    const value = `%{${'\u0001'.repeat(5000)}}`
    const config = Krb5Config.parse(
      `[libdefaults]\n default_ccache_name = ${value}\n clockskew = ${value}\n`,
      'f'.repeat(4000),
    )
    for (const read of [() => config.defaultCcacheName(new Map()), () => config.clockSkewSeconds]) {
      const error = caught(read)
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
      expect(error.message.length).toBeLessThan(2000)
      expect(error.hint?.length ?? 0).toBeLessThan(2000)
    }
  })
})

function caught(run: () => unknown): ConfigError {
  try {
    run()
  } catch (error) {
    if (error instanceof ConfigError) return error
  }
  return expect.unreachable('nothing was thrown')
}
