import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { encodeDer } from '../../../../src/asn1/index.ts'
import { fromHex, toHex } from '../../../../src/bytes/hex.ts'
import { ByteReader } from '../../../../src/bytes/reader.ts'
import { KerberosError, MalformedError } from '../../../../src/errors.ts'
import { decodeFrame } from '../../../../src/gss/context.ts'
import {
  decodeChangePasswdData,
  decodeKpasswdMessage,
  decodeKpasswdResult,
  describePolicy,
  encodeChangePasswdData,
  encodeKpasswdMessage,
} from '../../../../src/krb5/extensions/index.ts'
import {
  decodeEtypeInfo2,
  decodePaEncTsEnc,
  encodeAuthorizationData,
  encodeEncryptedData,
  encodeEtypeInfo2,
  encodeMethodData,
  encodePaEncTsEnc,
  readAuthorizationData,
  readEncryptedData,
  readEncryptionKey,
  readMethodData,
  writeEncryptionKey,
} from '../../../../src/krb5/messages/index.ts'
import { base64 } from '../../../vectors.ts'
import { again } from './again.ts'

/** Encodings of other projects' test suites, read where they lie and never copied here. */
const folder = process.env['SPNEGO_FOREIGN_VECTORS']

function records<T>(family: string): readonly T[] {
  const text = readFileSync(join(folder ?? '', `${family}.json`), 'utf8')
  return (JSON.parse(text) as { readonly records: readonly T[] }).records
}

function reading<T>(read: (from: ByteReader, what: string) => T, encode: (value: T) => Uint8Array) {
  return (bytes: Uint8Array): Uint8Array => {
    const from = new ByteReader(bytes)
    const value = read(from, 'record')
    from.end('record')
    return encode(value)
  }
}

/** Records that are no message by themselves. */
const PARTS: readonly (readonly [RegExp, (bytes: Uint8Array) => Uint8Array])[] = [
  [/^keyblock$/, reading(readEncryptionKey, (value) => encodeDer(writeEncryptionKey(value)))],
  [/^authorization-data$/, reading(readAuthorizationData, encodeAuthorizationData)],
  [/^padata-sequence/, reading(readMethodData, encodeMethodData)],
  [/^enc-data/, reading(readEncryptedData, encodeEncryptedData)],
  [/^etype-info2/, (bytes) => encodeEtypeInfo2(decodeEtypeInfo2(bytes))],
  [/^pa-enc-ts$/, (bytes) => encodePaEncTsEnc(decodePaEncTsEnc(bytes))],
]

/** Records of what is not there, each kind with its reason. */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^(safe|typed-data)/, 'KRB-SAFE and TYPED-DATA: nothing here sends or reads them'],
  [/^etype-info(-|$)/, 'ETYPE-INFO (1) is ignored: RFC 4120 §5.2.7.5 forbids it beside AES'],
  [/^kdc-req-body/, 'KDC-REQ-BODY is read inside of its request'],
  [/^(sam|enc-sam)/, 'SAM-2: expired pre-authentication'],
  [/^(pa-for-user|pa-s4u)/, 'MS-SFU: a later issue'],
  [/^(ad-kdcissued|cammac)/, 'authorization data that nobody but a KDC makes'],
  [/^iakerb/, 'IAKERB: not there'],
  [/^(fast|pa-fx|secure-cookie)/, 'FAST: not there'],
  [/^(otp|pa-otp)/, 'OTP: not there'],
  [/^kkdcp/, 'MS-KKDCP: not there'],
  [/^(spake|pa-spake)/, 'SPAKE: not there'],
  [/^(pa-pk|auth-pack|kdc-dh|reply-key|sp80056a|pkinit)/, 'PKINIT: not there'],
  [/^ldap/, 'LDAP key data: a KDC’s own'],
]

/** What MIT writes and reads, and this package does otherwise. */
const OTHERWISE: Readonly<Record<string, string>> = {
  'enc-data-msb-set-kvno':
    'kvno as the negative number that MIT makes of 0xff000000: read, and written as the UInt32 that RFC 4120 §5.2.9 has',
  'enc-data-kvno-1': 'likewise of -1',
  'error-optionals-null': 'cusec without ctime: read, and not written again',
  'pa-enc-ts-no-usec': 'pausec is read when absent, and always written',
}

interface Encoded {
  readonly id: string
  readonly hex: string
}

describe.skipIf(folder === undefined)('RFC 4120 §5 as MIT encodes it (asn1)', () => {
  if (folder === undefined) return
  const seen = { tested: 0, elsewhere: 0 }
  for (const { id, hex } of records<Encoded>('asn1')) {
    const name = id.replace(/^asn1-/, '')
    const reason = ELSEWHERE.find(([pattern]) => pattern.test(name))
    if (reason !== undefined) {
      seen.elsewhere++
      continue
    }
    seen.tested++
    const bytes = fromHex(hex)
    const part = PARTS.find(([pattern]) => pattern.test(name))?.[1]
    const otherwise = OTHERWISE[name]
    test(`${id}${otherwise === undefined ? '' : `: ${otherwise}`}`, () => {
      const roundTrip =
        part ??
        (name === 'pa-enc-ts-no-usec' ? (octets: Uint8Array) => encodePaEncTsEnc(decodePaEncTsEnc(octets)) : again)
      if (otherwise === undefined) expect(toHex(roundTrip(bytes))).toBe(hex)
      else expect(toHex(roundTrip(roundTrip(bytes)))).toBe(toHex(roundTrip(bytes)))
      for (let n = 0; n < bytes.length; n++) {
        if (n === 0 && part === undefined) continue
        expect(() => roundTrip(bytes.subarray(0, n)), `${n} octets`).toThrow(MalformedError)
      }
    })
  }

  test('every record is tested or has its reason', () => {
    expect(seen.tested + seen.elsewhere).toBe(87)
    expect(seen.tested).toBeGreaterThan(40)
  })
})

interface Wire {
  readonly id: string
  readonly octets_b64: string
  readonly tcp_length_prefix: boolean
  readonly expected: { readonly message: string; readonly error_code?: number; readonly crealm?: string | null }
}

/** X.690 §10.1: exported .kirbi files have lengths in four octets; no wire needs them (P05). */
const NOT_DER = /^minikerberos-kirbi/
const TYPES: Readonly<Record<string, number>> = {
  'AS-REQ': 10,
  'AS-REP': 11,
  'TGS-REQ': 12,
  'TGS-REP': 13,
  'AP-REQ': 14,
  'AP-REP': 15,
  'KRB-CRED': 22,
  'KRB-ERROR': 30,
}

describe.skipIf(folder === undefined)('messages that AD, MIT, Windows and Kerby sent (wire_messages)', () => {
  if (folder === undefined) return
  for (const { id, octets_b64, tcp_length_prefix, expected } of records<Wire>('wire_messages')) {
    const octets = base64(octets_b64)
    // Two lie in a GSS frame, behind a TOK_ID (RFC 4121 §4.1).
    const inner = octets[0] === 0x60 ? decodeFrame(octets).inner.subarray(2) : octets
    const bytes = tcp_length_prefix ? octets.subarray(4) : inner
    test(`${id}: ${expected.message}`, () => {
      expect((bytes[0] as number) & 0x1f).toBe(TYPES[expected.message])
      if (NOT_DER.test(id)) expect(() => again(bytes)).toThrow(/not minimal/)
      else expect(toHex(again(bytes))).toBe(toHex(bytes))
      if (tcp_length_prefix) expect(new DataView(octets.buffer, octets.byteOffset).getUint32(0)).toBe(bytes.length)
      for (let n = 1; n < bytes.length; n += 7) expect(() => again(bytes.subarray(0, n))).toThrow(MalformedError)
    })
  }
})

interface Kpasswd {
  readonly id: string
  readonly octets_hex?: string
  readonly expected?: {
    readonly min_length?: number
    readonly history?: number
    readonly properties?: number
    readonly min_age?: number
    readonly newpasswd?: string
  }
}

describe.skipIf(folder === undefined)('RFC 3244 as others write it (kpasswd)', () => {
  if (folder === undefined) return
  for (const { id, octets_hex = '', expected } of records<Kpasswd>('kpasswd')) {
    const bytes = fromHex(octets_hex)
    test(id, () => {
      if (/^kpasswd-(request|reply)$/.test(id)) {
        const message = decodeKpasswdMessage(bytes)
        expect(encodeKpasswdMessage(message)).toEqual(bytes)
        for (const part of [message.ap, message.rest]) expect(toHex(again(part))).toBe(toHex(part))
      } else if (id === 'kpasswd-changepasswddata') {
        const data = decodeChangePasswdData(bytes)
        expect(new TextDecoder().decode(data.newPassword)).toBe(expected?.newpasswd)
        expect(encodeChangePasswdData(data)).toEqual(bytes)
      } else if (/^kpasswd-result-ad/.test(id)) {
        const { min_length = 0, history = 0, properties = 0, min_age = 0 } = expected ?? {}
        const rules = [
          min_length > 0 ? `at least ${min_length} characters` : '',
          history > 0 ? `none of the last ${history}` : '',
          (properties & 1) !== 0 ? 'letters of both cases, digits and signs' : '',
          min_age > 0 ? `not before ${min_age / 864e9} days` : '',
        ].filter((rule) => rule !== '')
        expect(describePolicy(bytes)).toBe(rules.join(', '))
      } else {
        expect(describePolicy(bytes)).toBeUndefined()
        expect(decodeKpasswdResult(Uint8Array.of(0, 4, ...bytes)).text).toEqual(bytes)
      }
    })
  }
})

interface Seed {
  readonly id: string
  readonly target: string
  readonly file_b64: string
}

describe.skipIf(folder === undefined)('seeds of MIT’s fuzzers (fuzz_seeds)', () => {
  if (folder === undefined) return
  test('no decoder of messages throws anything but a typed error', () => {
    const seeds = records<Seed>('fuzz_seeds').filter(({ target }) => target === 'asn' || target === 'krb5_ticket')
    expect(seeds.length).toBeGreaterThan(50)
    for (const { id, file_b64 } of seeds) {
      const bytes = base64(file_b64)
      for (const read of [again, ...PARTS.map(([, one]) => one)]) {
        try {
          read(bytes)
        } catch (error) {
          const isNone = error instanceof Error && error.message.startsWith('no message starts with')
          expect(isNone || error instanceof KerberosError, `${id}: ${String(error)}`).toBe(true)
        }
      }
    }
  })
})
