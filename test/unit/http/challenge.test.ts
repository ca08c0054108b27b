import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedError } from '../../../src/errors.ts'
import { negotiateTokens } from '../../../src/http/challenge.ts'
import { type Challenge, parseChallenges, parseCredentials } from '../../../src/http/index.ts'

function plain(challenges: readonly Challenge[]): unknown[] {
  return challenges.map(({ scheme, token68, parameters }) => [scheme, token68, Object.fromEntries(parameters)])
}

describe('RFC 9110 §11.6.1: WWW-Authenticate', () => {
  test.each<[string | string[], unknown[]]>([
    ['', []],
    [' , ,', []],
    ['Negotiate', [['Negotiate', undefined, {}]]],
    ['negotiate ', [['negotiate', undefined, {}]]],
    ['Negotiate oYG2MIGz==', [['Negotiate', 'oYG2MIGz==', {}]]],
    [
      'Negotiate \t,\tNTLM',
      [
        ['Negotiate', undefined, {}],
        ['NTLM', undefined, {}],
      ],
    ],
    [
      ['Negotiate YII=', 'Basic realm="x"'],
      [
        ['Negotiate', 'YII=', {}],
        ['Basic', undefined, { realm: 'x' }],
      ],
    ],
    [
      'Negotiate YII=, Basic realm="a, Negotiate b"',
      [
        ['Negotiate', 'YII=', {}],
        ['Basic', undefined, { realm: 'a, Negotiate b' }],
      ],
    ],
    [
      'Basic Realm = "q\\"\\\\" , charset=UTF-8,Negotiate',
      [
        ['Basic', undefined, { realm: 'q"\\', charset: 'UTF-8' }],
        ['Negotiate', undefined, {}],
      ],
    ],
    [
      'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
      [
        ['Newauth', undefined, { realm: 'apps', type: '1', title: 'Login to "apps"' }],
        ['Basic', undefined, { realm: 'simple' }],
      ],
    ],
    ['Digest , realm=""', [['Digest', undefined, { realm: '' }]]],
    [
      'A b=,C',
      [
        ['A', 'b=', {}],
        ['C', undefined, {}],
      ],
    ],
    ['Basic __proto__=x', [['Basic', undefined, Object.fromEntries([['__proto__', 'x']])]]],
    ['Basic realm="Zürich"', [['Basic', undefined, { realm: 'Zürich' }]]],
  ])('%j', (field, expected) => {
    expect(plain(parseChallenges(field))).toEqual(expected)
  })

  test.each([
    ['a token68 and parameters', 'Negotiate abc, realm="x"'],
    ['no comma', 'Negotiate Basic realm="x"'],
    ['no comma behind a value', 'Basic realm="x" Negotiate'],
    ['no comma behind a token68', 'Negotiate abc def'],
    ['no scheme', '="x"'],
    ['no value', 'Digest realm="x", nonce='],
    ['the same parameter twice', 'Basic realm="x", REALM="y"'],
    ['a control character', 'Basic realm="a\nb"'],
    ['a tab for the space', 'Negotiate\tabc'],
  ])('%s is malformed', (_what, field) => {
    expect(() => parseChallenges(field)).toThrow(MalformedError)
  })

  test.each(['Basic realm="x', 'Basic realm="x\\', 'Basic realm="x\\"'])('P42: %s does not end', (field) => {
    expect(() => parseChallenges(field)).toThrow(/does not end/)
  })

  test('P40: more than 98 304 characters are not read, in one field or several', () => {
    const field = 'Negotiate,'.repeat(9_830)
    expect(parseChallenges(field)).toHaveLength(9_830)
    expect(() => parseChallenges([field, field])).toThrow(/over 98304/)
    expect(() => parseChallenges(`${field}Basic`)).toThrow(/over 98304/)
  })

  test.each<[string, (n: number) => string]>([
    ['C15 P40: challenges', (n) => 'Negotiate,'.repeat(n / 10)],
    ['C15 P41: blanks', (n) => `Negotiate${' '.repeat(n)}`],
    ['P41: blanks before no value', (n) => `Negotiate a${' '.repeat(n)}b`],
    ['P42: backslashes', (n) => `Basic realm="${'\\'.repeat(n)}`],
    ['P42: quotes', (n) => `Basic ${'a="\\""'.repeat(n / 6)}`],
    ['P40: words', (n) => 'a a,'.repeat(n / 4)],
    ['P40: parameters', (n) => `A ${Array.from({ length: n / 8 }, (_, i) => `p${i} = 1`).join(',')}`],
  ])('%s take time in proportion', (_what, make) => {
    for (const text of [make(24_000), make(48_000)]) {
      const counter = new Counter(text)
      try {
        parseChallenges([counter as unknown as string])
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError)
      }
      expect(counter.steps).toBeLessThan(8 * text.length)
    }
  })

  test('nothing but a MalformedError comes of any text', () => {
    const word = fc.constantFrom('Negotiate', 'a', '=', '"', '\\', ',', ' ', '\t', 'realm', '\0', 'é', '==')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join('')),
        ),
        (text) => {
          for (const parse of [() => parseChallenges(text), () => parseCredentials([text])]) {
            try {
              parse()
            } catch (error) {
              expect(error).toMatchObject({ name: 'MalformedError', code: 'TOKEN_MALFORMED' })
            }
          }
        },
      ),
    )
  })

  test('what is written by the grammar is read back', () => {
    const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}$/)
    const parameters = fc.dictionary(
      token.map((name) => name.toLowerCase()),
      fc.stringMatching(/^[\t -~]{0,8}$/),
    )
    const challenge = fc.oneof(
      fc.record({
        scheme: token,
        token68: fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,8}={0,2}$/),
        parameters: fc.constant({}),
      }),
      fc.record({ scheme: token, token68: fc.constant(undefined), parameters }),
    )
    fc.assert(
      fc.property(fc.array(challenge), fc.constantFrom(', ', ',', ' ,, '), (challenges, comma) => {
        const text = challenges.map(({ scheme, token68, parameters }) => {
          const values = Object.entries(parameters).map(
            ([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`,
          )
          return token68 === undefined && values.length === 0 ? scheme : `${scheme} ${token68 ?? values.join(comma)}`
        })
        expect(plain(parseChallenges(text.join(comma)))).toEqual(
          challenges.map(({ scheme, token68, parameters }) => [scheme, token68, { ...parameters }]),
        )
      }),
    )
  })
})

describe('Negotiate beside challenges that break the grammar', () => {
  test.each<[readonly string[], readonly (string | undefined)[]]>([
    [['Basic realm=Secure Area', 'Negotiate'], [undefined]],
    [['Negotiate YII=', 'Basic realm=Secure Area'], ['YII=']],
    [['Basic realm=Secure Area, Negotiate'], [undefined]],
    [['negotiate , Bearer authorization_uri=https://login.example/x?y=z&a=b'], [undefined]],
    [['Digest realm="a" nonce="b" qop="auth"', 'NEGOTIATE oYG+/w=='], ['oYG+/w==']],
    [['Digest realm="a, Negotiate abc" nonce="b"', 'Negotiate'], [undefined]],
    [['Basic realm=x y, Negotiate aGk=, Negotiate aG8='], ['aGk=', 'aG8=']],
    [['Basic realm="Secure Area"', 'Negotiate'], [undefined]],
  ])('P43 %j', (fields, tokens) => {
    expect(negotiateTokens(fields)).toEqual(tokens)
  })

  test.each([
    [['Basic realm=Secure Area']],
    [['Basic realm="Secure, Negotiate, Area" x']],
    [['Basic realm="Secure, Negotiate']],
    [['Basic realm="Secure\\", Negotiate, Area" x']],
    [['X-Auth Negotiate abc def']],
    [['Foo a=b c, Negotiate x=y']],
    [['Foo a=b c, Negotiate a b']],
    [['Foo a=b c, Negotiate=']],
    [['Foo a=b c, xNegotiate']],
    [['Negotiate !!!']],
  ])('P43 %j: nothing within quotes or within another challenge is one', (fields) => {
    expect(() => negotiateTokens(fields)).toThrow(expect.objectContaining({ code: 'TOKEN_MALFORMED' }))
  })

  test('P43 what follows the grammar is read as ever', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 3 }), (fields) => {
        let strict: unknown
        try {
          strict = parseChallenges(fields).filter(({ scheme }) => scheme.toLowerCase() === 'negotiate')
        } catch {
          return
        }
        expect(negotiateTokens(fields)).toEqual((strict as { token68: unknown }[]).map(({ token68 }) => token68))
      }),
    )
  })

  test('P40 a field over the bound is not searched', () => {
    const long = `Basic realm=a b, ${'x'.repeat(98_304)}, Negotiate`
    expect(() => negotiateTokens([long])).toThrow(expect.objectContaining({ code: 'TOKEN_MALFORMED' }))
  })
})

/** A text that counts how often it is looked at. */
class Counter {
  readonly #text: string
  steps = 0

  constructor(text: string) {
    this.#text = text
  }
  get length(): number {
    return this.#text.length
  }
  charCodeAt(at: number): number {
    this.steps++
    return this.#text.charCodeAt(at)
  }
  slice(from: number, to: number): string {
    return this.#text.slice(from, to)
  }
}
