import { describe, expect, test } from 'vitest'
import { readRaw } from '../../../../src/asn1/index.ts'
import { toHex } from '../../../../src/bytes/hex.ts'
import { ByteReader } from '../../../../src/bytes/reader.ts'
import { KerberosError, MalformedError } from '../../../../src/errors.ts'
import { decodeKdcRep, MESSAGE } from '../../../../src/krb5/messages/index.ts'
import { base64, vectors } from '../../../vectors.ts'
import { again } from './again.ts'

interface Exchange {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly decrypted?: Record<string, { readonly plaintext_hex?: string } | string>
}

/** The first element alone: des3, which some recordings use, pads its plaintext with zeros (RFC 3961 §6.3). */
function withoutPadding(bytes: Uint8Array): Uint8Array {
  return readRaw(new ByteReader(bytes), 'plaintext')
}

const exchanges = vectors<Exchange>('live_mit')

/** Every octet string that a recording holds under `plaintext_hex`, however deep. */
function plaintexts(value: unknown, found: string[] = []): string[] {
  if (Array.isArray(value)) for (const one of value) plaintexts(one, found)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, one] of Object.entries(value)) {
      if (key === 'plaintext_hex' && typeof one === 'string') found.push(one)
      else plaintexts(one, found)
    }
  }
  return found
}

describe('RFC 4120 §5: messages of an MIT KDC decode and encode to the same octets', () => {
  for (const { id, request_b64, reply_b64 } of exchanges) {
    test(id, () => {
      for (const bytes of [base64(request_b64), base64(reply_b64)]) expect(toHex(again(bytes))).toBe(toHex(bytes))
    })
  }

  test('and so do their decrypted parts', () => {
    const known = [0x62, 0x63, 0x79, 0x7a, 0x7b, 0x7c, 0x7d]
    const parts = [exchanges, vectors('live_gss'), vectors('kpasswd')]
      .flatMap((records) => plaintexts(records))
      .map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))
      .filter((bytes) => known.includes(bytes[0] as number))
      .map(withoutPadding)
    expect(parts.length).toBeGreaterThan(100)
    expect(new Set(parts.map((bytes) => bytes[0]))).toEqual(new Set([0x62, 0x63, 0x7a, 0x7b, 0x7c, 0x7d]))
    for (const bytes of parts) expect(toHex(again(bytes))).toBe(toHex(bytes))
  })
})

/** The KRB-PRIV of a recorded password change: behind the length, the version and the AP-REQ (RFC 3244 §2). */
function privOf(framed: Uint8Array): Uint8Array {
  return framed.subarray(6 + new DataView(framed.buffer, framed.byteOffset).getUint16(4))
}

describe('RFC 4120 §5.7.1 and §5.8.1: KRB-PRIV and KRB-CRED of MIT', () => {
  test('both sides of each password change', () => {
    for (const { request_b64, reply_b64 } of vectors<Exchange>('kpasswd')) {
      for (const framed of [base64(request_b64), base64(reply_b64)]) {
        const message = privOf(framed)
        expect(toHex(again(message))).toBe(toHex(message))
      }
    }
  })
})

describe('damaged messages', () => {
  const kinds = new Map<number, Uint8Array>()
  for (const { request_b64, reply_b64 } of exchanges) {
    for (const bytes of [base64(request_b64), base64(reply_b64)]) kinds.set(bytes[0] as number, bytes)
  }
  for (const { request_b64 } of vectors<Exchange>('kpasswd')) {
    kinds.set(0x60 | MESSAGE.KRB_PRIV, privOf(base64(request_b64)))
  }
  for (const hex of plaintexts([vectors('kpasswd'), vectors('live_gss')])) {
    const bytes = new Uint8Array(Buffer.from(hex, 'hex'))
    if (bytes[0] === 0x7c || bytes[0] === 0x7d) kinds.set(bytes[0], bytes)
  }

  test('every truncation is malformed', () => {
    for (const whole of kinds.values()) {
      for (let n = 1; n < whole.length; n++) expect(() => again(whole.subarray(0, n))).toThrow(MalformedError)
    }
  })

  test('P08: an octet behind the message is malformed', () => {
    for (const whole of kinds.values()) expect(() => again(Uint8Array.of(...whole, 0))).toThrow(MalformedError)
  })

  test('a flipped bit never throws anything but a typed error', () => {
    for (const whole of kinds.values()) {
      for (let i = 0; i < whole.length; i++) {
        const flipped = whole.slice()
        flipped[i] = (flipped[i] as number) ^ (1 << (i % 8))
        if (!kinds.has(flipped[0] as number)) continue
        try {
          again(flipped)
        } catch (error) {
          expect(error).toBeInstanceOf(KerberosError)
        }
      }
    }
  })

  test('K06: an AS-REP is not read as a TGS-REP', () => {
    const reply = kinds.get(0x60 | MESSAGE.AS_REP) as Uint8Array
    expect(() => decodeKdcRep(reply, MESSAGE.TGS_REP)).toThrow(MalformedError)
    const disguised = reply.slice()
    disguised[0] = 0x60 | MESSAGE.TGS_REP
    expect(() => decodeKdcRep(disguised, MESSAGE.TGS_REP)).toThrow(/message type 11, expected 13/)
  })
})
