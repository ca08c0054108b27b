import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_HEAD_BYTES, ResponseHeadReader } from '../../../src/system/response-head.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

function read(text: string, pieces = 1) {
  const reader = new ResponseHeadReader()
  const all = bytes(text)
  for (let at = 0; at < all.length; at += pieces) {
    const found = reader.add(all.subarray(at, at + pieces))
    if (found !== undefined) return { ...found, used: Math.min(at + pieces, all.length) }
  }
  return undefined
}

describe('the head of an answer to CONNECT (RFC 9112 §4, §5)', () => {
  test('status, fields, and what came behind', () => {
    const text =
      'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate:  NTLM \r\n\r\nrest'
    const found = read(text, 1000)
    expect(found?.head).toMatchObject({ status: 407, isOld: false })
    expect(found?.head.fields('proxy-authenticate')).toEqual(['Negotiate', 'NTLM'])
    expect(found?.head.fields('none')).toEqual([])
    expect(Buffer.from(found?.rest ?? []).toString()).toBe('rest')
  })

  test.each(['HTTP/1.1 200 \r\n\r\n', 'HTTP/1.1 200\r\n\r\n', 'HTTP/1.0 200 OK\r\nA: \xe4\r\n\r\n'])('%j', (text) => {
    expect(read(text)?.head.status).toBe(200)
  })

  test.each([
    ['another protocol', 'SSH-2.0-x\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status of 600', 'HTTP/1.1 600 X\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n'],
    ['a control character', 'HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n'],
    ['no name', 'HTTP/1.1 200 OK\r\n: b\r\n\r\n'],
    ['no line before it', '\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ])('%s is none', (_, text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  test('no longer than its bound, and not read beyond it', () => {
    const long = `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(MAX_HEAD_BYTES)}`
    expect(() => read(long, 1000)).toThrow(expect.objectContaining({ code: 'MALFORMED' }))
  })

  test('the same in pieces of any size, and undefined for each truncation', () => {
    const text = 'HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 4\r\n\r\n'
    fc.assert(
      fc.property(fc.integer({ min: 1, max: text.length + 4 }), (pieces) => {
        const found = read(`${text}rest`, pieces)
        expect(found?.head.status).toBe(407)
        expect(Buffer.from(found?.rest ?? []).toString()).toBe('rest'.slice(0, (found?.used ?? 0) - text.length))
      }),
    )
    for (let length = 0; length < text.length; length++) expect(read(text.slice(0, length), 7)).toBeUndefined()
  })

  test('whatever comes, a head, nothing yet, or an error of ours', () => {
    const line = fc.string({
      unit: fc.constantFrom('\r', '\n', '\r\n', ' ', ':', 'A', 'HTTP/1.1 ', '200', '\x00', '\xff'),
    })
    fc.assert(
      fc.property(line, (text) => {
        try {
          read(text, 3)
        } catch (error) {
          expect(error).toMatchObject({ code: 'MALFORMED' })
        }
      }),
    )
  })
})
