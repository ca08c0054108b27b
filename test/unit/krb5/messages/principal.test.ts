import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KerberosError } from '../../../../src/errors.ts'
import { NAME_TYPE, Principal } from '../../../../src/krb5/messages/principal.ts'
import { foreignFile } from '../formats/vectors.ts'

describe('RFC 4120 §6.2: principal names', () => {
  test.each([
    ['alice@R', ['alice'], 'R'],
    ['HTTP/h.example@R', ['HTTP', 'h.example'], 'R'],
    ['a/b/c@R', ['a', 'b', 'c'], 'R'],
    ['alice', ['alice'], ''],
    ['a\\@b\\/c@R', ['a@b/c'], 'R'],
    ['a\\n\\t\\b\\0\\\\@R', ['a\n\t\b\0\\'], 'R'],
    ['a@/COM/R', ['a'], '/COM/R'],
    ['toString@__proto__', ['toString'], '__proto__'],
  ])('%s', (text, components, realm) => {
    const principal = Principal.parse(text)
    expect([principal.components, principal.realm]).toEqual([components, realm])
    expect(Principal.parse(principal.toString()).equals(principal)).toBe(true)
  })

  test('the default realm is taken where there is none, and the realm is kept in text and JSON', () => {
    expect(String(Principal.parse('alice', 'R'))).toBe('alice@R')
    expect(String(Principal.parse('alice@S', 'R'))).toBe('alice@S')
    expect(JSON.stringify({ who: Principal.parse('a/b@R') })).toBe('{"who":"a/b@R"}')
    expect(Principal.parse('a/b@R').name).toBe('a/b')
  })

  test.each(['', '@R', 'a@', 'a@b@c', '/a@R', 'a/@R', 'a//b@R', 'a\\', 'x'.repeat(5000)])('%j is refused', (text) => {
    expect(() => Principal.parse(text)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  })

  test('names are equal by components and realm, case and all, whatever their type', () => {
    const name = new Principal(['a', 'b'], 'R', NAME_TYPE.NT_SRV_HST)
    expect(name.equals(Principal.parse('a/b@R'))).toBe(true)
    for (const other of ['a/b@r', 'A/b@R', 'a@R', 'a/b/c@R', 'a\\/b@R']) {
      expect(name.equals(Principal.parse(other)), other).toBe(false)
    }
    expect(name.sameName(Principal.parse('a/b@S'))).toBe(true)
    expect(new Principal(['é'], 'R').equals(new Principal(['e\u0301'], 'R'))).toBe(false)
  })

  test('components cannot be changed, neither directly nor through the array that was given', () => {
    const components = ['a']
    const principal = new Principal(components, 'R')
    components.push('b')
    expect(principal.components).toEqual(['a'])
    expect(Object.isFrozen(principal.components)).toBe(true)
  })

  test('parse(toString(x)) is x', () => {
    const part = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), part, (components, realm) => {
        expect(Principal.parse(new Principal(components, realm).toString())).toMatchObject({ components, realm })
      }),
    )
  })

  test('any text is read or refused', () => {
    const text = fc.stringMatching(/^[a@/\\n0]{0,12}$/)
    fc.assert(
      fc.property(text, (value) => {
        try {
          Principal.parse(value)
        } catch (error) {
          expect(error).toBeInstanceOf(KerberosError)
        }
      }),
    )
  })
})

interface Strings {
  readonly sets: {
    readonly principal_name: {
      readonly records: readonly { input: string; unparsed?: string; default_realm?: string }[]
    }
  }
}
const foreign = foreignFile<Strings>('strings_config')?.sets.principal_name.records

test.skipIf(foreign === undefined)("t_ref_kerb: MIT's own names come out as MIT writes them", () => {
  for (const { input, unparsed, default_realm } of foreign ?? []) {
    if (unparsed !== undefined) expect(Principal.parse(input, default_realm).toString()).toBe(unparsed)
  }
})

test('control characters are escaped, and read back', () => {
  const name = new Principal(['a\x1b[31m\rb\x85', 'x\n\0'], 'R\x7f')
  expect(name.toString()).toBe('a\\x1b[31m\\x0db\\x85/x\\n\\0@R\\x7f')
  expect(Principal.parse(name.toString()).equals(name)).toBe(true)
  expect(Principal.parse('a\\x41b').components).toEqual(['ax41b'])
})

test('what is no text is no name', () => {
  for (const value of [42, undefined, null])
    expect(() => Principal.parse(value as never)).toThrow(/a principal name is text/)
})

test('every code point, alone and before what looks like an escape, reads back as the same name and shows no control', () => {
  const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u
  for (let first = 0; first < 0x110000; first += 16) {
    const characters = Array.from({ length: 16 }, (_, i) => String.fromCodePoint(first + i))
    const components = [characters.join(''), ...characters.map((one) => `${one}x1bu202en0${one}`), '\\']
    const name = new Principal(components, `R${characters.join('@')}`)
    const text = name.toString()
    if (controls.test(text)) throw new Error(`U+${first.toString(16)}`)
    if (!Principal.parse(text).equals(name)) throw new Error(`U+${first.toString(16)} is another name`)
  }
  expect(new Principal(['\r\n\u202e\t\0'], 'R').toString()).toBe('\\x0d\\n\\u202e\\t\\0@R')
})

test('an escape that is not written reads as MIT reads it: the character itself', () => {
  for (const text of ['x41', 'u0041', 'x0a', 'u000a', 'x1B', 'u2', 'x', 'u200z', 'q']) {
    expect(Principal.parse(`\\${text}`).components).toEqual([text])
  }
})
