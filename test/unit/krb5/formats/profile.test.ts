import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mergeProfiles, type Profile, type ProfileFiles, parseProfile } from '../../../../src/krb5/formats/index.ts'
import {
  MAX_INCLUDE_DEPTH,
  MAX_INCLUDED_FILES,
  MAX_LINE_CHARACTERS,
  MAX_PROFILE_CHARACTERS,
  MAX_PROFILE_DEPTH,
  MAX_PROFILE_NODES,
} from '../../../../src/krb5/formats/profile-parser.ts'
import { fileOf, foreignFile, foreignVectors, refusal, survives } from './vectors.ts'

/** A file system of texts; a directory is what its files' names begin with. */
function disk(texts: Readonly<Record<string, string>>): ProfileFiles {
  const files = new Map(Object.entries(texts))
  return {
    readText(path) {
      const text = files.get(path)
      if (text === undefined) throw new Error('ENOENT')
      return text
    },
    listDir(path) {
      const inside = [...files.keys()].filter((name) => name.startsWith(`${path}/`))
      if (inside.length === 0) throw new Error('ENOENT')
      return inside.map((name) => name.slice(path.length + 1))
    },
  }
}

const texts = (profile: Profile, ...path: string[]) => profile.values(...path).map(({ text }) => text)
const syntax = (text: string, files?: ProfileFiles) => {
  const error = refusal(() => parseProfile(text, '/etc/krb5.conf', files))
  expect(error).toMatchObject({ code: 'CONFIG_SYNTAX', name: 'ConfigError', hint: expect.any(String) })
  return error.message
}

describe('MIT krb5.conf: the grammar', () => {
  const profile = parseProfile(
    [
      'All before the first section is a comment, a = b and } included.',
      '  [no] = section',
      '[libdefaults]',
      '\tdefault_realm =  EXAMPLE.COM \t ',
      '# comment',
      '  ; comment',
      'empty = ""',
      'value = a # b ; c',
      'quoted = "tab\\t, newline\\n, \\b, \\"quote\\", \\\\ and \\x" what follows does not matter',
      '  equals=a=b',
      '[realms]',
      'EXAMPLE.COM = {',
      '  kdc = one',
      '  kdc = two',
      '  nested =',
      '  {',
      '    deep = yes',
      '  } anything',
      '}',
      'EXAMPLE.COM = {',
      '  kdc = three',
      '}',
      'EXAMPLE.COM = text beside the subsection',
      '[libdefaults]  ',
      'later = 1',
    ].join('\n'),
    '/etc/krb5.conf',
  )

  test('every value knows its file and line', () => {
    expect(profile.value('libdefaults', 'default_realm')).toEqual({
      text: 'EXAMPLE.COM',
      file: '/etc/krb5.conf',
      line: 4,
    })
    expect(profile.values('realms', 'EXAMPLE.COM', 'kdc').map(({ line }) => line)).toEqual([13, 14, 21])
  })
  test('quotes, escapes, comment signs and equals signs inside values', () => {
    expect(texts(profile, 'libdefaults', 'empty')).toEqual([''])
    expect(texts(profile, 'libdefaults', 'value')).toEqual(['a # b ; c'])
    expect(texts(profile, 'libdefaults', 'quoted')).toEqual(['tab\t, newline\n, \b, "quote", \\ and x'])
    expect(texts(profile, 'libdefaults', 'equals')).toEqual(['a=b'])
  })
  test('repeated sections and subsections become one; a relation may have the name of a subsection', () => {
    expect(texts(profile, 'realms', 'EXAMPLE.COM', 'kdc')).toEqual(['one', 'two', 'three'])
    expect(texts(profile, 'realms', 'EXAMPLE.COM', 'nested', 'deep')).toEqual(['yes'])
    expect(texts(profile, 'realms', 'EXAMPLE.COM')).toEqual(['text beside the subsection'])
    expect(texts(profile, 'libdefaults', 'later')).toEqual(['1'])
  })
  test('names can be listed; what is not there is empty', () => {
    expect(profile.subsections()).toEqual(['libdefaults', 'realms'])
    expect(profile.subsections('realms')).toEqual(['EXAMPLE.COM'])
    expect(profile.relations('realms')).toEqual(['EXAMPLE.COM'])
    expect(profile.relations('realms', 'EXAMPLE.COM')).toEqual(['kdc'])
    for (const path of [[], ['x'], ['x', 'y', 'z'], ['libdefaults', 'value', 'z']]) {
      expect(profile.values(...path)).toEqual([])
      expect(profile.value(...path)).toBeUndefined()
    }
  })
  test('names of JavaScript are names like any other', () => {
    const odd = parseProfile('[__proto__]\nconstructor = 1\n__proto__ = {\ntoString = 2\n}')
    expect(texts(odd, '__proto__', 'constructor')).toEqual(['1'])
    expect(texts(odd, '__proto__', '__proto__', 'toString')).toEqual(['2'])
    expect(texts(odd, '__proto__', 'valueOf')).toEqual([])
    expect(odd.subsections('constructor')).toEqual([])
  })
})

describe('MIT krb5.conf: final', () => {
  const merged = (...files: string[]) => mergeProfiles(files.map((text, i) => parseProfile(text, `${i}`)))
  const plain = '[s]\nb = {\n k = 1\n}\nother = 1\n'

  test('several files: the values of the earlier come first', () => {
    expect(texts(merged(plain, '[s]\nb = {\n k = 2\n}\n[t]\nx = y'), 's', 'b', 'k')).toEqual(['1', '2'])
    expect(merged(plain, '[s]\nb = {\n k = 2\n}').values('s', 'b', 'k')[1]).toEqual({ text: '2', file: '1', line: 3 })
  })
  test.each([
    ['relation', '[s]\nb = {\n k* = F\n}', ['F'], ['1']],
    ['subsection, at its name', '[s]\nb* = {\n k = F\n}', ['F'], ['1']],
    ['subsection, at its end', '[s]\nb = {\n k = F\n}*', ['F'], ['1']],
    ['section', '[s]*\nb = {\n k = F\n}', ['F'], []],
    ['nothing', '[s]\nb = {\n k = F\n}', ['F', '1'], ['1']],
  ])('%s: hides what later files say about it', (_, text, values, other) => {
    expect(texts(merged(text, plain), 's', 'b', 'k')).toEqual(values)
    expect(texts(merged(text, plain), 's', 'other')).toEqual(other)
    expect(texts(merged(plain, text), 's', 'b', 'k')).toEqual(['1', ...values.slice(0, 1)])
  })
  test('within one file, too', () => {
    const profile = parseProfile(
      '[a]\nx = 1\nx* = 2\nx = 3\ny* = {\nz = 1\n}\ny = {\nz = 2\ndeep = {\n}\n}\n[b]*\nv = 1\n[b]\nv = 2',
    )
    expect(texts(profile, 'a', 'x')).toEqual(['1', '2'])
    expect(texts(profile, 'a', 'y', 'z')).toEqual(['1'])
    expect(profile.subsections('a', 'y')).toEqual([])
    expect(texts(profile, 'b', 'v')).toEqual(['1'])
  })
  test('a third file does not see through, and the merged are left alone', () => {
    const [one, two] = [parseProfile('[s]\nk* = 1'), parseProfile('[s]\nk = 2')]
    expect(texts(mergeProfiles([mergeProfiles([one, two]), two]), 's', 'k')).toEqual(['1'])
    expect(texts(mergeProfiles([two, two]), 's', 'k')).toEqual(['2', '2'])
    expect(texts(two, 's', 'k')).toEqual(['2'])
  })
})

describe('MIT krb5.conf: include', () => {
  test('a file starts outside any section, wherever the line stands', () => {
    const profile = parseProfile(
      '[a]\nv = {\nx = 1\ninclude /inc\ny = 3\n}',
      '/etc/krb5.conf',
      disk({ '/inc': '[b]\nz = 2\n' }),
    )
    expect(texts(profile, 'a', 'v', 'x')).toEqual(['1'])
    expect(texts(profile, 'a', 'v', 'y')).toEqual(['3'])
    expect(profile.value('b', 'z')).toEqual({ text: '2', file: '/inc', line: 2 })
  })
  test('a directory: names of letters, digits, dashes, underscores, or ending in .conf, in order of their bytes', () => {
    const names = [
      'b.conf',
      'a',
      'Z-_9',
      'a~',
      'b.conf.rpmsave',
      '.hidden.conf',
      '.conf',
      '.hidden',
      'x.y.conf',
      'a.bak',
      'ä',
    ]
    const files = disk(Object.fromEntries(names.map((name) => [`/d/${name}`, `[s]\nk = ${name}`])))
    for (const line of ['includedir /d', 'includedir\t/d/ \r']) {
      expect(texts(parseProfile(line, 'x', files), 's', 'k')).toEqual(['Z-_9', 'a', 'b.conf', 'x.y.conf'])
    }
  })
  test('final in an included file counts', () => {
    const profile = parseProfile('include /inc\n[s]\nk = 2', 'x', disk({ '/inc': '[s]\nk* = 1' }))
    expect(texts(profile, 's', 'k')).toEqual(['1'])
  })
  test('what cannot be read is told with the line that asked for it', () => {
    for (const line of ['include /none', 'includedir /none']) {
      const error = refusal(() => parseProfile(`\n${line}`, '/etc/krb5.conf', disk({})))
      expect(error).toMatchObject({ code: 'CONFIG_UNREADABLE', name: 'ConfigError', cause: expect.any(Error) })
      expect(error.message).toBe('/etc/krb5.conf:2: cannot include "/none": ENOENT')
    }
  })
  test('P80: relative paths, and any include without files to include, are refused', () => {
    for (const line of ['include inc', 'includedir ../d', 'include  '])
      expect(syntax(line, disk({}))).toContain('absolute')
    expect(syntax('include /inc')).toContain('/etc/krb5.conf:1: a text cannot include files')
  })
  test('P80: circles end', () => {
    expect(syntax('include /etc/krb5.conf', disk({}))).toContain('includes itself')
    const files = disk({ '/a': 'include /b', '/b': '\ninclude /a', '/d/a': 'includedir /d' })
    expect(syntax('include /a', files)).toBe('/b:2: "/a" includes itself')
    expect(syntax('includedir /d', files)).toContain('/d/a:1')
    const twice = parseProfile('include /c\ninclude /c', 'x', disk({ '/c': '[s]\nk = 1' }))
    expect(texts(twice, 's', 'k')).toEqual(['1', '1'])
  })
  test('P80: depth and number are bounded', () => {
    const chain = (length: number) =>
      disk(
        Object.fromEntries(
          Array.from({ length }, (_, i) => [`/${i}`, i + 1 < length ? `include /${i + 1}` : '[s]\nk = 1']),
        ),
      )
    expect(texts(parseProfile('include /0', 'x', chain(MAX_INCLUDE_DEPTH)), 's', 'k')).toEqual(['1'])
    expect(syntax('include /0', chain(MAX_INCLUDE_DEPTH + 1))).toContain('include depth 10')
    const one = disk({ '/c': '' })
    expect(parseProfile('include /c\n'.repeat(MAX_INCLUDED_FILES), 'x', one).subsections()).toEqual([])
    expect(syntax('include /c\n'.repeat(MAX_INCLUDED_FILES + 1), one)).toContain('includes')
  })
})

describe('P80: krb5.conf that no grammar allows', () => {
  test.each([
    ['[a]\nno equals sign', 2, 'expected name = value, found "no equals sign"'],
    ['[a]\n= value', 2, 'expected name = value'],
    ['[a]\ntwo words = value', 2, 'expected name = value'],
    ['[a]\n  include /x', 2, 'expected name = value'],
    ['[a', 1, 'a section is written [name]'],
    ['[a] # comment', 1, 'a section is written [name]'],
    ['[a]**', 1, 'a section is written [name]'],
    ['[a]\n}', 2, '} without {'],
    ['[a]\nb = {\n}\n}', 4, '} without {'],
    ['[a]\nb = {\n[c]', 3, 'the subsection of line 2 is not closed'],
    ['[a]\nb = {\n', 2, 'the subsection of line 2 is not closed'],
    ['[a]\nb =\n', 2, 'the subsection of line 2 is not closed'],
    ['[a]\nb =\nc = d', 3, 'must be followed by {'],
    ['[realms]\nREALM = { kdc = x }', 2, 'nothing may follow {'],
    ['[a]\nb = "open', 2, 'the closing quote is missing'],
    ['[a]\nb = "open\\', 2, 'the closing quote is missing'],
    ['[a]\nb = "open\\"', 2, 'the closing quote is missing'],
    ['comment\nmodule /lib/x.so:rest', 2, 'module loads native code'],
    ['[a]\nmodule /lib/x.so:rest', 2, 'expected name = value'],
  ])('%j', (text, line, message) => {
    const told = syntax(text)
    expect(told).toContain(`/etc/krb5.conf:${line}: `)
    expect(told).toContain(message)
  })
  test('text that is shown is escaped and cut', () => {
    expect(syntax(`[a]\n\u001b[2J${'x'.repeat(9999)}`)).toMatch(/found "\\u001b\[2Jx{200,256}…"$/)
  })
  test('CRLF, byte order mark, tabs, no newline at the end', () => {
    const profile = parseProfile('\ufeff[a]\r\n\tb\t=\tc d\t\r\n\tz =\r\n\t{\r\n k = 1\r\n}\r\nq="x"\r')
    expect(texts(profile, 'a', 'b')).toEqual(['c d'])
    expect(texts(profile, 'a', 'z', 'k')).toEqual(['1'])
    expect(texts(profile, 'a', 'q')).toEqual(['x'])
  })
  test('a no-break space belongs to a value', () => {
    expect(texts(parseProfile('[a]\nb = \u00a0x\u00a0 '), 'a', 'b')).toEqual(['\u00a0x\u00a0'])
  })
  test('a line of 1 MB', () => {
    expect(syntax(`[a]\nb = ${'x'.repeat(1e6)}`)).toContain(`${MAX_LINE_CHARACTERS} in a line`)
    const longest = `b=${'x'.repeat(MAX_LINE_CHARACTERS - 2)}`
    expect(texts(parseProfile(`[a]\n${longest}`), 'a', 'b')[0]).toHaveLength(MAX_LINE_CHARACTERS - 2)
    expect(syntax(`[a]\n${longest}x`)).toContain('in a line')
  })
  test('a file of more than 16 Mi characters', () => {
    expect(syntax('#\n'.repeat(MAX_PROFILE_CHARACTERS / 2 + 1))).toContain(`${MAX_PROFILE_CHARACTERS} characters`)
  })
  test('100,000 nested braces', () => {
    expect(syntax(`[a]\n${'b = {\n'.repeat(100_000)}`)).toContain(`depth ${MAX_PROFILE_DEPTH}`)
    const deepest = `[a]\n${'b = {\n'.repeat(MAX_PROFILE_DEPTH)}${'}\n'.repeat(MAX_PROFILE_DEPTH)}`
    expect(parseProfile(deepest).subsections('a')).toEqual(['b'])
    expect(mergeProfiles([parseProfile(deepest)]).subsections('a', 'b')).toEqual(['b'])
  })
  test('10^6 realms', () => {
    const realms = (count: number) => `[realms]\n${Array.from({ length: count }, (_, i) => `R${i} = {\n}\n`).join('')}`
    expect(syntax(realms(1_000_000))).toContain(`${MAX_PROFILE_NODES} entries`)
    expect(parseProfile(realms(50_000)).subsections('realms')).toHaveLength(50_000)
  })
  test('discarded entries count, too', () => {
    expect(syntax(`[a]\nb* = 1\n${'b = 2\n'.repeat(MAX_PROFILE_NODES)}`)).toContain('entries')
  })
  test('a line of blanks is read in one go', () => {
    const blanks = ' '.repeat(MAX_LINE_CHARACTERS - 10)
    expect(texts(parseProfile(`[a]\n${`b = x${blanks}y\n`.repeat(100)}`), 'a', 'b')).toHaveLength(100)
  })
})

describe('properties', () => {
  test('what is written quoted is read', () => {
    const escaped = (text: string) =>
      text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t').replaceAll('\b', '\\b')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (value) => {
        expect(texts(parseProfile(`[a]\nb = "${escaped(value)}"`), 'a', 'b')).toEqual([value])
      }),
    )
  })
  test('any text is read or refused', () => {
    const piece = fc.constantFrom(
      '[a]',
      '[a]*',
      'b = {',
      'b* = {',
      '}',
      '}*',
      'c = d',
      'c =',
      '{',
      'include /x',
      'includedir /',
      '"',
      '\\',
      '#',
      '=',
      '\r',
      ' ',
    )
    const files = disk({ '/x': '[a]\nb = {\n}\n', '/y': 'include /x' })
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 6 })), { maxLength: 20 }), (lines) => {
        survives(() => mergeProfiles([parseProfile(lines.join('\n'), 'x', files), parseProfile(lines.join(''), 'x')]))
      }),
      { numRuns: 1000 },
    )
  })
})

interface Strings {
  readonly sets: {
    readonly profile: { readonly files: Readonly<Record<string, string>>; readonly final_expected: string }
  }
}
const foreign = foreignFile<Strings>('strings_config')?.sets.profile

describe.skipIf(foreign === undefined)("MIT's own profiles", () => {
  const files = foreign?.files ?? {}
  const read = (name: string) => parseProfile(files[name] ?? '', name)

  test('test.ini', () => {
    const profile = read('test.ini')
    expect(texts(profile, 'test section 2', 'child_section2', 'child')).toEqual(['slick', 'harry', 'john\tb ', 'ron'])
    expect(texts(profile, 'test section 2', 'child_section2')).toEqual(['one', 'foo'])
    expect(texts(profile, 'test section 2', 'test_child')).toEqual(['foo\nbar'])
    expect(texts(profile, 'test section 1', 'foo')).toEqual(['bar ', 'bar2', 'bar3'])
    expect(texts(profile, 'realms', 'ATHENA.MIT.EDU', 'server')).toHaveLength(3)
  })
  test('krb5.conf', () => {
    const profile = read('krb5.conf')
    expect(texts(profile, 'libdefaults', 'default_realm')).toEqual(['ATHENA.MIT.EDU'])
    expect(texts(profile, 'realms', 'ATHENA.MIT.EDU', 'kdc')).toHaveLength(4)
    expect(profile.subsections('realms')).toHaveLength(7)
  })
  test('final1.ini to final6.ini print what MIT prints', () => {
    const key = ['section', 'subsection', 'key']
    const printed = [1, 2, 3, 4, 5].map((i) =>
      texts(mergeProfiles([read(`final${i}.ini`), read('final1.ini')]), ...key),
    )
    const six = ['a/ab', 'a/ac', 'b/ba', 'b/bb/bba', 'c/ca/caa', 'c/cb/cba', 'c/cc']
    for (const path of six) printed.push(texts(read('final6.ini'), ...path.split('/')))
    expect(printed.map((values) => `\n${values.join('\n')}\n`).join('')).toBe(foreign?.final_expected)
  })
  test('fuzz seeds are read or refused', () => {
    const seeds = foreignVectors<string>('fuzz_seeds').filter(({ target }) => target === 'profile')
    expect(seeds.length).toBeGreaterThan(0)
    for (const seed of seeds) survives(() => parseProfile(new TextDecoder().decode(fileOf(seed)), 'x', disk({})))
  })
})
