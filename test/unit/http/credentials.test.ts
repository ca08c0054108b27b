import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toBase64 } from '../../../src/bytes/base64.ts'
import { parseBasic, parseCredentials } from '../../../src/http/index.ts'

const MALFORMED = expect.objectContaining({ name: 'MalformedError', code: 'TOKEN_MALFORMED' })

function thrownBy(run: () => unknown): unknown {
  try {
    return `no error: ${JSON.stringify(run())}`
  } catch (error) {
    return error
  }
}

describe('RFC 9110 §11.6.2: Authorization', () => {
  test('none, and other schemes', () => {
    expect(parseCredentials(undefined)).toEqual({ kind: 'none' })
    expect(parseCredentials([])).toEqual({ kind: 'none' })
    expect(parseCredentials(['foo'])).toEqual({ kind: 'other', scheme: 'foo' })
    expect(parseCredentials(['Basic YTpi'])).toEqual({ kind: 'other', scheme: 'Basic' })
    expect(parseCredentials(['Digest username="a", realm="b"'])).toEqual({ kind: 'other', scheme: 'Digest' })
    expect(parseCredentials(['Negotiated QUJD'])).toEqual({ kind: 'other', scheme: 'Negotiated' })
  })

  test('any token, in any spelling of the scheme', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1 }),
        fc.constantFrom('Negotiate ', 'negotiate ', 'NEGOTIATE   '),
        (token, scheme) => {
          const credential = parseCredentials([`${scheme}${toBase64(token)}`])
          expect(credential.kind === 'negotiate' && toBase64(credential.token)).toBe(toBase64(token))
        },
      ),
    )
  })

  test.each(['Negotiate', 'Negotiate ', 'Negotiate    '])('S01: %j has no token', (value) => {
    expect(thrownBy(() => parseCredentials([value]))).toEqual(MALFORMED)
  })

  test.each([
    ['two fields', ['Negotiate QUJD', 'Negotiate QUJD']],
    ['two fields, one of another scheme', ['Negotiate QUJD', 'Basic YTpi']],
    ['a field and an empty one', ['Basic YTpi', '']],
    ['two in one field', ['Negotiate QUJD, Negotiate QUJD']],
    ['another scheme first', ['Basic YTpi, Negotiate QUJD']],
    ['a bare one first', ['Negotiate, Negotiate QUJD']],
    ['a bare other first', ['Basic,Negotiate QUJD']],
  ])('S10: %s', (_what, values) => {
    expect(thrownBy(() => parseCredentials(values))).toEqual(MALFORMED)
  })

  test.each([
    ['white space', 'QU JD'],
    ['a blank behind', 'QUJD '],
    ['a tab', 'QUJD\t'],
    ['a line break', 'QUJD\nQUJD'],
    ['the URL alphabet', 'QU-_'],
    ['no padding', 'QUI'],
    ['too much padding', 'QUJD='],
    ['trailing bits', 'QUJDRB=='],
    ['NUL', 'QUJD\0'],
    ['not ASCII', 'QUJDé'],
    ['data behind the padding', 'QUI=QUJD'],
    ['one character', 'x'],
    ['a quoted string', '"QUJD"'],
    ['a parameter', 'token=QUJD'],
  ])('P30: %s is not canonical base64', (_what, text) => {
    expect(thrownBy(() => parseCredentials([`Negotiate ${text}`]))).toEqual(MALFORMED)
  })

  test('P40, P41: a long list, long blanks', () => {
    expect(thrownBy(() => parseCredentials(['Negotiate,'.repeat(9_000)]))).toEqual(MALFORMED)
    expect(thrownBy(() => parseCredentials([`Negotiate${' '.repeat(65_536)}`]))).toEqual(MALFORMED)
  })

  test('S82: 65 535 octets are read, one more is not even decoded', () => {
    const most = `Negotiate ${toBase64(new Uint8Array(65_535))}`
    expect(parseCredentials([most])).toMatchObject({ kind: 'negotiate' })
    expect(() => parseCredentials([`Negotiate ${'!'.repeat(87_384)}`])).toThrow(/over 87380/)
    expect(thrownBy(() => parseCredentials([`Negotiate ${toBase64(new Uint8Array(65_536))}`]))).toEqual(MALFORMED)
    expect(thrownBy(() => parseCredentials([`Negotiate ${toBase64(new Uint8Array(5))}`], 4))).toEqual(MALFORMED)
  })

  test('S82: a header of more than 98 304 characters is not read', () => {
    expect(thrownBy(() => parseCredentials([`Bearer ${'a'.repeat(98_304)}`]))).toEqual(MALFORMED)
  })

  test('S80: no error shows the token', () => {
    const secret = 'c2VjcmV0c2VjcmV0c2VjcmV0'
    for (const value of [`Negotiate ${secret}!`, `Negotiate  ${secret}, x`, `Basic ${secret}, Negotiate ${secret}`]) {
      expect(String(thrownBy(() => parseCredentials([value])))).not.toContain(secret.slice(0, 16))
    }
  })
})

describe('RFC 7617 §2: Basic', () => {
  const printable = fc
    .string({ unit: 'grapheme', maxLength: 100 })
    .filter((text) => !/\p{Cc}|\p{Surrogate}/u.test(text))

  test('name and password come back as they were', () => {
    fc.assert(
      fc.property(
        printable.filter((user) => !user.includes(':') && !user.startsWith('\ufeff')),
        printable,
        (user, password) => {
          const value = `bAsIc ${Buffer.from(`${user}:${password}`).toString('base64')}`
          expect(parseCredentials([value])).toMatchObject({ kind: 'other' })
          expect(parseBasic(value)).toEqual({ user, password })
        },
      ),
    )
  })

  test('anything else is malformed, and no error shows it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 8 }), (text) => {
        const error = thrownBy(() => parseBasic(`Basic ${text}`))
        if (error instanceof Error) expect(error.message).not.toContain(text)
      }),
    )
  })
})
