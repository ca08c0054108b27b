import { describe, expect, test } from 'vitest'
import { fromBase64 } from '../../../src/bytes/base64.ts'
import { concat, utf8 } from '../../../src/bytes/bytes.ts'
import { isSupportedEnctype, Key, stringToKey } from '../../../src/crypto/index.ts'
import {
  type Context,
  ciphertextsFor,
  countPlaintexts,
  type Exchange,
  type KeyRecord,
  type Opened,
  openedOfContext,
  openedOfExchange,
} from './live.ts'
import { hex, OWN, readVectors } from './vectors.ts'

const exchanges = readVectors<Exchange>(OWN, 'live_mit').records
const contexts = readVectors<Context>(OWN, 'live_gss').records

/** Whether some octet string in the messages, or in what was inside them, opens to the recorded plaintext. */
function opens(part: Opened, messages: readonly Uint8Array[]): boolean {
  const key = new Key(part.etype, part.key)
  return messages
    .flatMap((message) => [...ciphertextsFor(part, message)])
    .some((ciphertext) => {
      try {
        return Buffer.compare(key.decrypt(part.usage, ciphertext), part.plaintext) === 0
      } catch {
        return false // another octet string of the same length
      }
    })
}

function check(parts: readonly Opened[], recorded: number, messages: readonly Uint8Array[]): void {
  expect(parts.length).toBe(recorded)
  const inside = parts.map((part) => part.plaintext)
  for (const part of parts) {
    if (isSupportedEnctype(part.etype)) expect(opens(part, [...messages, ...inside]), part.what).toBe(true)
  }
}

describe('MIT krb5 1.20.1: every encrypted part opens to what was recorded', () => {
  for (const record of exchanges) {
    const parts = openedOfExchange(record)
    if (parts.length === 0) continue
    test(record.id, () => {
      check(parts, countPlaintexts(record.decrypted), [fromBase64(record.request_b64), fromBase64(record.reply_b64)])
    })
  }
  for (const record of contexts) {
    const parts = openedOfContext(record)
    if (parts.length === 0) continue
    test(record.id, () => {
      const messages = record.tokens.map((token) => fromBase64(token.token_b64))
      check(parts, countPlaintexts(record.tokens), messages)
    })
  }

  test('of all four enctypes', () => {
    const parts = [...exchanges.flatMap(openedOfExchange), ...contexts.flatMap(openedOfContext)]
    const opened = new Set(parts.map((part) => part.etype).filter(isSupportedEnctype))
    expect([...opened].sort()).toEqual([17, 18, 19, 20])
  })
})

describe('MIT krb5 1.20.1: string-to-key with the default iterations', () => {
  for (const { id, decrypted, expected } of exchanges) {
    const etype = expected.reply.enc_part?.etype ?? 0
    if (!id.startsWith('live-as-encts-') || !decrypted.enc_part || !isSupportedEnctype(etype)) continue
    test(`${id}: alice`, async () => {
      const key = await stringToKey(etype, 'alice-pw', utf8('ANCHOR.TESTalice'))
      expect(key.toBytes()).toEqual(hex(decrypted.enc_part?.decrypted_with.key_hex ?? ''))
    })
  }
})

/** The checksum of a MIC token is over the message and the token's 16-octet header; usage 25 or 23 (RFC 4121 §2, §4.2.4). */
const MIC_HEADER_BYTES = 16
const MIC_USAGE = { initiator: 25, acceptor: 23 } as const

describe('MIT krb5 1.20.1: checksums of MIC tokens', () => {
  for (const { id, context_key, messages } of contexts) {
    const mics = messages.filter(({ kind }) => kind === 'mic')
    if (!context_key || !isSupportedEnctype(context_key.etype) || mics.length === 0) continue
    test(id, () => {
      const key = keyOf(context_key)
      for (const { from, message_hex, token_hex } of mics) {
        const token = hex(token_hex)
        const data = concat(hex(message_hex), token.subarray(0, MIC_HEADER_BYTES))
        expect(key.checksum(MIC_USAGE[from], data)).toEqual(token.subarray(MIC_HEADER_BYTES))
        key.verifyChecksum(MIC_USAGE[from], data, token.subarray(MIC_HEADER_BYTES))
      }
    })
  }
})

describe('MIT krb5 1.20.1: the PRF, seen through the armor keys of FAST', () => {
  for (const { id, decrypted } of exchanges) {
    const ap = decrypted.fast_request?.armor?.ap_req ?? decrypted.pa_tgs_req
    const subkey = decrypted.fast_request?.armor?.ap_req.authenticator?.subkey
    const armor = decrypted.fast_request?.armor_key
    if (!ap || !subkey || !armor || !isSupportedEnctype(subkey.etype)) continue
    test(id, () => {
      const combined = cf2(keyOf(subkey), 'subkeyarmor', keyOf(ap.ticket.session_key), 'ticketarmor')
      expect(combined).toEqual(hex(armor.key_hex))
    })
  }
})

/** KRB-FX-CF2 for keys whose random-to-key is the identity (RFC 6113 §5.1). */
function cf2(one: Key, pepperOne: string, two: Key, pepperTwo: string): Uint8Array {
  const other = prfPlus(two, pepperTwo)
  return prfPlus(one, pepperOne)
    .map((byte, i) => byte ^ (other[i] ?? 0))
    .subarray(0, one.toBytes().length)
}

function prfPlus(key: Key, pepper: string): Uint8Array {
  return concat(...[1, 2].map((n) => key.prf(concat(Uint8Array.of(n), utf8(pepper)))))
}

function keyOf({ etype, key_hex }: KeyRecord): Key {
  return new Key(etype, hex(key_hex))
}
