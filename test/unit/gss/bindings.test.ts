import { expect, test } from 'vitest'
import { fromHex, toHex } from '../../../src/bytes/hex.ts'
import { bindingHash } from '../../../src/gss/bindings.ts'

test('RFC 4121 §4.1.1.2: Bnd of tls-server-end-point bindings, as MIT sent it (live_gss, live-spnego-cbt-both)', () => {
  const applicationData = fromHex(
    '746c732d7365727665722d656e642d706f696e743aee6ad2e89aa0f526933e403886af189b1331026f0e50a4858af3a13388bc51c1',
  )
  expect(toHex(bindingHash(applicationData))).toBe('6ab7fbbebb8544f03da21e65d55f83de')
})

test('RFC 4121 §4.1.1.2: without bindings 16 zero octets, not the hash of an empty structure', () => {
  expect(toHex(bindingHash(undefined))).toBe('0'.repeat(32))
  expect(toHex(bindingHash(new Uint8Array(0)))).toBe('441018525208457705bf09a8ee3c1093')
})
