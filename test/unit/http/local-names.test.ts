import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LinearPattern } from '../../../src/http/linear-pattern.ts'
import { type LocalNames, localNamer } from '../../../src/http/local-names.ts'
import { Principal } from '../../../src/krb5/messages/principal.ts'

const localOf = (option: LocalNames, name: string) => localNamer(option)(Principal.parse(name))

describe('by stripping realms', () => {
  const option = { stripRealm: ['EXAMPLE.COM', 'CORP.EXAMPLE.COM'] }
  test.each([
    ['alice@EXAMPLE.COM', 'alice'],
    ['alice@CORP.EXAMPLE.COM', 'alice'],
    ['alice@OTHER.COM', undefined],
    ['alice@example.com', undefined],
    ['Alice@EXAMPLE.COM', 'Alice'],
    ['alice/admin@EXAMPLE.COM', undefined],
    ['HTTP/web.example.com@EXAMPLE.COM', undefined],
    ['alice\\@EXAMPLE.COM@EXAMPLE.COM', undefined],
    ['alice\\/admin@EXAMPLE.COM', undefined],
    ['al\\nice@EXAMPLE.COM', undefined],
  ])('S66 %s: %s', (name, local) => {
    expect(localOf(option, name)).toBe(local)
  })
})

describe('by rules, as krb5.conf has them', () => {
  const rows: readonly [rules: readonly string[], name: string, local: string | undefined][] = [
    [['RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*//'], 'alice@EXAMPLE.COM', 'alice'],
    [['RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*//'], 'alice@EVIL-EXAMPLE.COM.EVIL', undefined],
    [['RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*//'], 'alice@XEXAMPLE.COM', undefined],
    [['RULE:[1:$1@$0](.*@EXAMPLE\\.COM)s/@.*//'], 'alice/admin@EXAMPLE.COM', undefined],
    [['RULE:[2:$1;$2](^.*;admin$)s/;admin$//'], 'alice/admin@EXAMPLE.COM', 'alice'],
    [['RULE:[2:$1;$2](.*;admin)s/;admin//', 'DEFAULT'], 'bob@EXAMPLE.COM', 'bob'],
    [['RULE:[2:root]'], 'alice/admin@ANY.REALM', 'root'],
    [['RULE:[1:$1.$0]'], 'alice@X', 'alice.X'],
    [['RULE:[1:$1]s/a/o/'], 'banana@X', 'bonana'],
    [['RULE:[1:$1]s/a/o/g'], 'banana@X', 'bonono'],
    [['RULE:[1:$1]s/a/o/gs/n/m/'], 'banana@X', 'bomono'],
    [['RULE:[1:$1]s/x*/-/g'], 'abc@X', '-a-b-c-'],
    [['RULE:[1:$1](alice|bob)', 'RULE:[1:guest]'], 'carol@X', 'guest'],
    [['RULE:[1:$1]s/.*//'], 'alice@X', undefined],
    [['RULE:[1:$1]s/\\./_/g'], 'a.b.c@X', 'a_b_c'],
    [['RULE:[1:$1@$0]([a-z]+@(CORP|DEV)\\.EXAMPLE\\.COM)s/@.*//'], 'alice@DEV.EXAMPLE.COM', 'alice'],
    [['RULE:[1:$1@$0]([a-z)]+@X)s/@.*//'], 'a@X', 'a'],
    [['DEFAULT'], 'alice@EXAMPLE.COM', 'alice'],
    [['DEFAULT'], 'alice@OTHER.COM', undefined],
    [['DEFAULT'], 'alice/admin@EXAMPLE.COM', undefined],
  ]
  test.each(rows)('S66 %j and %s: %s', (rules, name, local) => {
    expect(localOf({ rules, realm: 'EXAMPLE.COM' }, name)).toBe(local)
  })

  test.each([
    ['alice@EXAMPLE.COM', 'alice'],
    ['Alice@EXAMPLE.COM', undefined],
    ['al\u0131ce@EXAMPLE.COM', undefined], // a dotless i
    ['\u212Aarl@EXAMPLE.COM', undefined], // a Kelvin sign
  ])('S67 letters are themselves: %s', (name, local) => {
    expect(localOf({ rules: ['RULE:[1:$1@$0]([a-z]*@EXAMPLE\\.COM)s/@.*//'] }, name)).toBe(local)
  })

  test.each([
    ['RULE:'],
    ['RULE:[x:$1]'],
    ['RULE:[1:$2]'],
    ['RULE:[1:$1'],
    ['RULE:[1:$1](a'],
    ['RULE:[1:$1](a))'],
    ['RULE:[1:$1](*)'],
    ['RULE:[1:$1]((a)\\1)'],
    ['RULE:[1:$1]([[:alpha:]])'],
    ['RULE:[1:$1]([z-a])'],
    ['RULE:[1:$1](a{3,2})'],
    ['RULE:[1:$1]((((a{99}){99}){99}){99})'],
    ['RULE:[1:$1]s/a/b'],
    ['RULE:[1:$1]s/a/b/x'],
    ['RULE:[1:$1]tail'],
    ['rule'],
    [''],
  ])('%j is none, and said so at once', (rule) => {
    expect(() => localNamer({ rules: [rule], realm: 'X' })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  test('DEFAULT needs its realm, and one of the two forms is enough', () => {
    for (const wrong of [
      { rules: ['DEFAULT'] },
      {},
      { rules: ['RULE:[1:a]'], stripRealm: ['X'] },
      { stripRealm: [] },
      { stripRealm: 'X' },
    ]) {
      expect(() => localNamer(wrong as never)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    }
    expect(() => localNamer({ stripRealms: ['X'] } as never)).toThrow(
      expect.objectContaining({ code: 'OPTION_UNKNOWN' }),
    )
  })
})

describe('an expression', () => {
  const letter = fc.constantFrom('a', 'b', 'c')
  const atom = fc.oneof(letter, fc.constantFrom('.', '[ab]', '[^a]', '(a|b)', '(ab)', '(a*b)', '(a|)', '^', '$'))
  const piece = fc
    .tuple(atom, fc.constantFrom('', '*', '+', '?', '{2}', '{1,2}', '{0,}'))
    .map(([one, count]) => (/[$^]/.test(one) && one.length === 1 ? one : one + count))
  const expression = fc
    .array(fc.array(piece, { maxLength: 4 }), { minLength: 1, maxLength: 3 })
    .map((all) => all.map((one) => one.join('')).join('|'))
  const text = fc.array(letter, { maxLength: 8 }).map((all) => all.join(''))

  test('matches as JavaScript’s own does', () => {
    fc.assert(
      fc.property(expression, text, (source, subject) => {
        expect(new LinearPattern(source).matches(subject)).toBe(new RegExp(`^(?:${source})$`, 's').test(subject))
      }),
      { numRuns: 3000 },
    )
  })

  test('is found where JavaScript’s own finds it, and there no shorter', () => {
    fc.assert(
      fc.property(expression, text, (source, subject) => {
        const ours = new LinearPattern(source).search(subject, 0)
        const theirs = new RegExp(source, 's').exec(subject)
        expect(ours?.start).toBe(theirs?.index)
        if (ours === undefined || theirs === null) return
        expect(ours.end - ours.start).toBeGreaterThanOrEqual(theirs[0].length)
      }),
      { numRuns: 3000 },
    )
  })

  test('whatever is written, it is one, or an error of ours', () => {
    const source = fc.string({ unit: fc.constantFrom(...'ab()[]{}*+?|^$\\.,-1') })
    fc.assert(
      fc.property(source, text, (written, subject) => {
        try {
          new LinearPattern(written).search(subject, 0)
        } catch (error) {
          expect(error).toMatchObject({ code: 'OPTION_INVALID' })
        }
      }),
      { numRuns: 2000 },
    )
  })

  test.each(['(a*)*b', '(a|aa)+b', '(a|a)*b', '(.*a){5}b', '([a-z]+)*@X'])(
    '%s: ten times the text, about ten times the steps',
    (source) => {
      const steps = (length: number) => {
        const pattern = new LinearPattern(source)
        pattern.matches('a'.repeat(length))
        pattern.search('a'.repeat(length), 0)
        return pattern.steps
      }
      expect(steps(1000) / steps(100)).toBeLessThan(12)
    },
  )
})
