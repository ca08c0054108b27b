import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { concat, utf8 } from '../../../src/bytes/bytes.ts'
import { fromHex, toHex } from '../../../src/bytes/hex.ts'
import { bindingHash, tlsServerEndPoint } from '../../../src/gss/bindings.ts'
import { base64, vectors } from '../../vectors.ts'

interface Packed {
  readonly id: string
  readonly application_data_hex?: string
  readonly bnd_md5_hex?: string
  readonly bnd_hex?: string
  readonly empty_structure_md5_hex?: string
}

describe('RFC 4121 §4.1.1.2: Bnd', () => {
  for (const record of vectors<Packed>('channel_bindings')) {
    test(record.id, () => {
      if (record.application_data_hex !== undefined) {
        expect(toHex(bindingHash(fromHex(record.application_data_hex)))).toBe(record.bnd_md5_hex)
      } else {
        expect(toHex(bindingHash(undefined))).toBe(record.bnd_hex)
        expect(toHex(bindingHash(new Uint8Array(0)))).toBe(record.empty_structure_md5_hex)
      }
    })
  }
})

interface Certified {
  readonly id: string
  readonly certificate_b64: string
  readonly hash: string | null
  readonly digest_hex: string | null
}

describe('C30 RK-28 to RK-36 RFC 5929 §4.1: tls-server-end-point', () => {
  for (const { id, certificate_b64, hash, digest_hex } of vectors<Certified>('certificates')) {
    test(`${id}: ${hash ?? 'none'}`, () => {
      const found = tlsServerEndPoint(base64(certificate_b64))
      if (digest_hex === null) expect(found).toBeUndefined()
      else expect(found).toEqual(concat(utf8('tls-server-end-point:'), fromHex(digest_hex)))
    })
  }

  test('what is no certificate, and every truncation of one, has none', () => {
    const whole = base64(vectors<Certified>('certificates')[2]?.certificate_b64 ?? '')
    expect(tlsServerEndPoint(whole)).toBeDefined()
    for (const bytes of [new Uint8Array(0), utf8('-----BEGIN CERTIFICATE-----'), new Uint8Array(500)]) {
      expect(tlsServerEndPoint(bytes)).toBeUndefined()
    }
    for (let n = 0; n < whole.length - 300; n++) expect(tlsServerEndPoint(whole.subarray(0, n)), `${n}`).toBeUndefined()
  })
})

interface Foreign extends Packed {
  readonly certificate_b64?: string
}

const folder = process.env['SPNEGO_FOREIGN_VECTORS']

describe.skipIf(folder === undefined)('the certificates of requests-kerberos (RK: test_cbt_*)', () => {
  if (folder === undefined) return
  const text = readFileSync(join(folder, 'channel_bindings.json'), 'utf8')
  const { records } = JSON.parse(text) as { readonly records: readonly Foreign[] }
  for (const { id, certificate_b64, application_data_hex } of records) {
    if (certificate_b64 === undefined) continue
    test(id, () => {
      const found = tlsServerEndPoint(base64(certificate_b64))
      if (application_data_hex === undefined) expect(found).toBeUndefined()
      else expect(toHex(found ?? new Uint8Array(0))).toBe(application_data_hex)
    })
  }
})
