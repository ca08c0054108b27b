import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Identity } from '../../../src/http/identity.ts'
import { type Attributes, requiredAttributes } from '../../../src/http/required-attributes.ts'
import { fakeServer, negotiateField, request } from './fake-acceptor.ts'

const ALICE = {
  principal: 'alice@CORP',
  name: 'alice',
  realm: 'CORP',
  mechanism: 'negotiate',
  channelBound: true,
} as Identity
const holds = (rule: string, attributes: Attributes) => requiredAttributes(rule, () => attributes)(ALICE)

describe('MAG-09: one attribute', () => {
  const indicators = { 'auth-indicators': ['na1', 'na2'] }
  test.each([
    ['auth-indicators=na1', true],
    ['auth-indicators=na2', true],
    ['auth-indicators:=bmEx', true],
    ['auth-indicators=foo', false],
    ['auth-indicators=*', true],
    ['others=*', false],
    ['(auth-indicators=foo and auth-indicators=na2) or auth-indicators=na3', false],
    ['(auth-indicators=foo or auth-indicators=na2) and auth-indicators=na1', true],
    ['((auth-indicators=na1))', true],
    ['auth-indicators=na1 AND auth-indicators=na2', true],
    ['constructor=*', false],
    ['toString=*', false],
  ])('%s: %s', (rule, expected) => {
    expect(holds(rule, indicators)).toBe(expected)
  })
})

test('MAG: a value that only begins alike does not do, in either direction', () => {
  expect(holds('group=administrators', { group: 'admin' })).toBe(false)
  expect(holds('group=admin', { group: 'administrators' })).toBe(false)
  expect(holds('group=admin', { group: ['', 'adm'] })).toBe(false)
})

test('MAG-18 to MAG-76: neither word binds closer, what comes later is asked as one', () => {
  const letters = fc.constantFrom('a', 'b', 'c')
  fc.assert(
    fc.property(
      fc.array(fc.tuple(letters, fc.constantFrom('and', 'or')), { minLength: 1, maxLength: 6 }),
      fc.subarray(['a', 'b', 'c']),
      (parts, there) => {
        const rule = parts.map(([name, word], i) => `${name}=1${i + 1 < parts.length ? ` ${word} ` : ''}`).join('')
        const expected = parts.reduceRight<boolean | undefined>((rest, [name, word]) => {
          const own = there.includes(name)
          return rest === undefined ? own : word === 'and' ? own && rest : own || rest
        }, undefined)
        expect(holds(rule, Object.fromEntries(there.map((name) => [name, '1'])))).toBe(expected)
      },
    ),
  )
  expect(holds('a=1 and b=1 or c=1', { c: '1' })).toBe(false)
  expect(holds('(a=1 and b=1) or c=1', { c: '1' })).toBe(true)
})

test.each([
  '(a=)',
  '(a=1 b=1)',
  '((a=1 or b=1)',
  'a=1 or',
  'a or b',
  '((a=1)or b=1)',
  'a=1  and b=1',
  'a=1)',
  '',
  ' a=1',
  'a=1 ',
  '=1',
  'a:=*',
  `${'('.repeat(100)}a=1${')'.repeat(100)}`,
])('MAG-18 to MAG-76: %j is no rule', (rule) => {
  expect(() => requiredAttributes(rule)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
})

test('of an identity, in authorize', async () => {
  const rule = requiredAttributes('realm=EXAMPLE.ORG and (name=alice or name=bob) and channel-bound=true')
  const { core } = fakeServer({ authorize: rule })
  const kind = async (token: string) => (await core.authenticate(request(negotiateField(token)))).kind
  expect([await kind('alice'), await kind('bob'), await kind('carol'), await kind('alic')]).toEqual([
    'accepted',
    'accepted',
    'refused',
    'refused',
  ])
})

test('whatever is written, it is a rule or an error of ours', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', '=', '1', '(', ')', ' ', 'and', ' and ', ' or ', ':=', '*') }),
      (text) => {
        try {
          expect(typeof holds(text, { a: '1' })).toBe('boolean')
        } catch (error) {
          expect(error).toMatchObject({ code: 'OPTION_INVALID' })
        }
      },
    ),
  )
})
