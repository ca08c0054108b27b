import fc from 'fast-check'
import { CompactEncrypt } from 'jose'
import { expect, test } from 'vitest'
import type { Session } from '../../../src/http/sessions.ts'
import { sessionSealer } from '../../../src/sessions/index.ts'

const random = (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length))
const [KEY, OLD, OTHER] = [random(32), random(32), random(32)]
const SESSION: Session = {
  id: 'abc',
  principal: 'alice@EXAMPLE.TEST',
  name: 'alice',
  realm: 'EXAMPLE.TEST',
  channelBound: true,
  proof: { mechanism: 'negotiate', service: 'HTTP/web.test@EXAMPLE.TEST', isDirect: true, isPathChecked: false },
  startedAt: 1_900_000_000_123,
  expiresAt: 1_900_000_900_456,
}

test('what is sealed is opened, whole', async () => {
  const sealer = await sessionSealer([KEY], random)
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'grapheme' }),
      fc.option(fc.string(), { nil: undefined }),
      fc.boolean(),
      async (principal, service, channelBound) => {
        const session = { ...SESSION, principal, channelBound, proof: { ...SESSION.proof, service } }
        const text = await sealer.seal(session, 'spnego')
        expect(text).toMatch(/^[\w.-]+$/) // fits into a cookie as it is (RFC 6265 §4.1.1)
        expect(await sealer.open(text, 'spnego')).toEqual({ session, isOld: false })
      },
    ),
    { numRuns: 50 },
  )
})

test('RFC 7518 §4.5, §5.3: dir and A256GCM, and nothing of the session in the clear', async () => {
  const text = await (await sessionSealer([KEY], random)).seal(SESSION, 'spnego')
  const [header = '', encryptedKey, ...rest] = text.split('.')
  const clear = Buffer.from(header, 'base64url').toString()
  expect(JSON.parse(clear)).toMatchObject({ alg: 'dir', enc: 'A256GCM', typ: 'spnego-session' })
  expect([encryptedKey, rest.length]).toEqual(['', 3])
  expect(text + clear + Buffer.from(text, 'base64url').toString('latin1')).not.toContain('alice')
})

test('S89: every character that is changed makes it nobody’s', async () => {
  const sealer = await sessionSealer([KEY], random)
  const text = await sealer.seal(SESSION, 'spnego')
  for (let i = 0; i < text.length; i++) {
    const other = text[i] === 'A' ? 'B' : 'A'
    const opened = await sealer.open(text.slice(0, i) + other + text.slice(i + 1), 'spnego')
    if (opened !== undefined) expect(opened.session).toEqual(SESSION) // the last characters of base64url carry idle bits
  }
  for (let n = 0; n < text.length; n++) expect(await sealer.open(text.slice(0, n), 'spnego')).toBeUndefined()
})

test('S89: another key, and another cookie', async () => {
  const text = await (await sessionSealer([KEY], random)).seal(SESSION, 'spnego')
  expect(await (await sessionSealer([OTHER], random)).open(text, 'spnego')).toBeUndefined()
  expect(await (await sessionSealer([KEY], random)).open(text, '__Host-spnego')).toBeUndefined()
})

test('rotation: the first key seals, each opens, and says which are old', async () => {
  const before = await (await sessionSealer([OLD], random)).seal(SESSION, 'spnego')
  const rotated = await sessionSealer([KEY, OLD], random)
  expect(await rotated.open(before, 'spnego')).toEqual({ session: SESSION, isOld: true })
  const after = await rotated.seal(SESSION, 'spnego')
  expect(await (await sessionSealer([KEY], random)).open(after, 'spnego')).toEqual({ session: SESSION, isOld: false })
  expect(await (await sessionSealer([KEY], random)).open(before, 'spnego')).toBeUndefined()
})

test('S89: our key used for something else, other algorithms, claims that are not whole', async () => {
  const sealer = await sessionSealer([KEY], random)
  const [head = ''] = (await sealer.seal(SESSION, 'spnego')).split('.')
  const { kid } = JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid: string }
  const made = (header: object, claims: unknown) =>
    new CompactEncrypt(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid, typ: 'spnego-session', ...header } as never)
      .encrypt(KEY)
  const claims = {
    aud: 'spnego',
    sub: 'a@B',
    jti: 'x',
    name: 'a',
    realm: 'B',
    by: 'basic',
    direct: true,
    checked: false,
    bound: false,
    from: 1,
    until: 2,
  }
  expect(await sealer.open(await made({}, claims), 'spnego')).toBeDefined()
  expect(await sealer.open(await made({ typ: 'JWT' }, claims), 'spnego')).toBeUndefined()
  expect(await sealer.open(await made({ enc: 'A128CBC-HS256' }, claims), 'spnego')).toBeUndefined()
  for (const wrong of [
    { sub: 5 },
    { jti: undefined },
    { bound: 'yes' },
    { until: null },
    { by: 'nobody' },
    { for: 5 },
    { direct: undefined },
    { checked: 1 },
    { from: 'x' },
  ]) {
    expect(await sealer.open(await made({}, { ...claims, ...wrong }), 'spnego'), JSON.stringify(wrong)).toBeUndefined()
  }
  expect(await sealer.open(await made({}, null), 'spnego')).toBeUndefined()
})

test.each(['', '.', '....', 'a.b.c.d.e', '🍪', 'eyJhbGciOiJub25lIn0.', 'x'.repeat(5000)])('S89: %s', async (text) => {
  expect(await (await sessionSealer([KEY], random)).open(text, 'spnego')).toBeUndefined()
})

test('RFC 6265 §4.1: the cookie as a browser is told of it', async () => {
  const { writeCookie, readCookie } = await sessionSealer([KEY], random)
  expect(writeCookie('__Host-spnego', 'x.y', { secure: true, sameSite: 'lax' })).toBe(
    '__Host-spnego=x.y; Path=/; HttpOnly; Secure; SameSite=Lax',
  )
  expect(writeCookie('spnego', 'x', { secure: false, sameSite: 'strict' })).toBe(
    'spnego=x; Path=/; HttpOnly; SameSite=Strict',
  )
  expect(writeCookie('spnego', 'x', { secure: false, sameSite: 'none' })).toContain('; Secure; SameSite=None')
  expect(writeCookie('spnego', '', { secure: false, sameSite: 'lax', remove: true })).toContain('Max-Age=0')
  expect(readCookie(['a=1; spnego=x', 'spnego=y'], 'spnego')).toBe('x')
  expect(readCookie(['a=1; xspnego=x'], 'spnego')).toBeUndefined()
  expect(readCookie(['spnego=%41'], 'spnego')).toBe('%41')
})
