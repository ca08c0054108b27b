import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { helpPage, MAX_HELP_PAGE_BYTES, wantsHtml } from '../../../src/http/help-page.ts'
import { fakeServer, negotiateField, request } from './fake-acceptor.ts'

const CHROMIUM = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const asked = (accept: string, host = 'intranet.example.org') =>
  request(undefined, { headers: { accept: [accept], host: [host] } })
const text = (reason: string, host?: string) =>
  Buffer.from(helpPage(reason, asked(CHROMIUM, host)).body).toString('utf8')

describe('whom the page is for', () => {
  test.each([
    [CHROMIUM, true],
    ['text/html', true],
    ['application/json, TEXT/HTML;q=0.5', true],
    ['text/html;q=0.1', true],
    ['text/html;q=0', false],
    ['text/html; q=0.000, text/plain', false],
    ['*/*', false],
    ['application/json', false],
    ['', false],
    ['application/x-text/html5', false],
  ])('%j: %s', (accept, wants) => {
    expect(wantsHtml(asked(accept))).toBe(wants)
  })

  test.each([
    [undefined, 'NO_CREDENTIALS', 'no ticket, or it was not told'],
    ['ntlm', 'NTLM_OFFERED', 'offered NTLM'],
    ['skew', 'CLOCK_SKEW', 'clock'],
    ['otherkey', 'REFUSED', 'not accepted'],
    ['replay', 'REFUSED', 'not accepted'],
  ])('a browser that comes with %s', async (token, shown, lead) => {
    const headers = { accept: [CHROMIUM] }
    const decision = await fakeServer().core.authenticate(request(token && negotiateField(token), { headers }))
    if (decision.kind !== 'refused') throw new Error(decision.kind)
    const fields = new Map(decision.headers)
    expect([decision.status, fields.get('Content-Type')]).toEqual([401, 'text/html; charset=utf-8'])
    const page = Buffer.from(decision.body).toString('utf8')
    expect(page).toContain(lead)
    expect(page).toContain(`<code>${shown}</code>`)
    expect(fields.get('Content-Length')).toBe(String(decision.body.length))
  })

  test('not where the program has a page of its own, nor for a 403', async () => {
    const headers = { accept: [CHROMIUM] }
    const own = await fakeServer({ unauthorized: 'mine' }).core.authenticate(request(undefined, { headers }))
    expect(own.kind === 'refused' && Buffer.from(own.body).toString()).toBe('mine')
    const forbidden = fakeServer({ authorize: () => false }).core
    const refused = await forbidden.authenticate(request(negotiateField('user'), { headers }))
    expect(refused.kind === 'refused' && Buffer.from(refused.body).toString()).toBe('Forbidden')
  })
})

describe('the page', () => {
  test('tells how to set each browser, for this host', () => {
    const page = text('NO_CREDENTIALS', 'intranet.example.org:8443')
    for (const word of ['AuthServerAllowlist', 'network.negotiate-auth.trusted-uris', 'Safari', 'Edge', 'kinit']) {
      expect(page).toContain(word)
    }
    expect(page.match(/intranet\.example\.org/g)?.length).toBe(4)
    expect(page).not.toContain('8443')
  })

  test('stands alone: nothing is loaded, nothing runs', () => {
    const page = text('NO_CREDENTIALS')
    expect(page).not.toMatch(/<script|<link|<img|<iframe|src=|href=|url\(|@import|\son\w+=/i)
  })

  test('at most 4 KiB, and nothing of what came is in it but a name that is one', () => {
    const host = fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.string({ unit: fc.constantFrom('a', '.', '-', '9'), minLength: 200, maxLength: 300 }),
      fc.constantFrom('<script>alert(1)</script>', '"onload=x', "a'b", 'a&b', 'a b', 'a:1:2'),
    )
    const reason = fc.constantFrom('NO_CREDENTIALS', 'NTLM_OFFERED', 'CLOCK_SKEW', 'KEY_NOT_FOUND')
    fc.assert(
      fc.property(host, reason, (name, why) => {
        const page = text(why, name)
        expect(Buffer.byteLength(page)).toBeLessThanOrEqual(MAX_HELP_PAGE_BYTES)
        if (!/^[a-z0-9.-]{1,253}(:\d{1,5})?$/i.test(name)) expect(page).toContain('this host')
        expect(page).not.toMatch(/<script|onload/)
      }),
    )
  })

  test('never a principal, a key version or a key’s name', async () => {
    const page = text('KEY_NOT_FOUND')
    expect(page).not.toMatch(/kvno|HTTP\/|@[A-Z]|keytab|KEY_NOT_FOUND/)
  })
})
