import { describe, expect, test } from 'vitest'
import { concat, uint32be } from '../../src/bytes/bytes.ts'
import { toHex } from '../../src/bytes/hex.ts'
import { ByteReader } from '../../src/bytes/reader.ts'
import { AesKey } from '../../src/crypto/aes.ts'
import { deriveDk } from '../../src/crypto/aes-sha1.ts'
import { kdfHmacSha2 } from '../../src/crypto/aes-sha2.ts'
import { HmacKey } from '../../src/crypto/hmac.ts'
import { enctype, Key } from '../../src/crypto/index.ts'
import { asExchange, type Credential, type Effect } from '../../src/krb5/exchange/index.ts'
import {
  decodeEncKdcRepPart,
  decodeKdcRep,
  decodeKdcReq,
  encodeChecksum,
  encodeEncKdcRepPart,
  encodeKdcRep,
  encodeKdcReq,
  KDC_OPTION,
  KEY_USAGE,
  MESSAGE,
  PA,
  type PaData,
  principalOf,
  readEncryptedData,
} from '../../src/krb5/messages/index.ts'
import { base64, vectors } from '../vectors.ts'
import { hexBytes, secondsOf } from './gss.ts'

/** Logins of MIT's kinit, made again by our client with the recording's clock, nonce and confounder (RFC 4120 §3.1). */

interface Recorded {
  readonly id: string
  readonly request_b64: string
  readonly reply_b64: string
  readonly decrypted: {
    readonly pa_enc_timestamp?: {
      readonly etype: number
      readonly key_hex: string
      readonly patimestamp: string
      readonly pausec: number
    }
    readonly enc_part?: {
      readonly plaintext_hex: string
      readonly authtime: string
      readonly decrypted_with: { readonly key_hex: string }
    }
  }
}

type Run = 'demand' | 'timestamp' | 'unproved' | 'refused'

/**
 * What is done with each AS-REQ. `demand`: our first request is the recorded one. `timestamp`: our second is, its encrypted timestamp included, and
 * the recorded ticket comes out. `unproved`: our only one is, and the ticket comes out. `refused`: our second is, and the KDC's error comes out.
 */
const RUNS: Readonly<Record<string, Run>> = {
  'live-as-encts-aes256-cts-1': 'demand',
  'live-as-encts-aes128-cts-1': 'demand',
  'live-as-encts-aes256-sha2-1': 'demand',
  'live-as-encts-aes128-sha2-1': 'demand',
  'live-as-encts-arcfour-hmac-1': 'demand',
  'live-as-encts-camellia256-cts-1': 'demand',
  'live-as-encts-camellia128-cts-1': 'demand',
  'live-as-encts-des3-cbc-sha1-1': 'demand',
  'live-as-main-1': 'demand',
  'live-kinit-spake-1': 'demand',
  'live-as-spake-p256-1': 'demand',
  'live-as-err-unknown-1': 'demand',
  'live-as-encts-aes128-cts-2': 'timestamp',
  'live-as-encts-aes128-sha2-2': 'timestamp',
  'live-cross-2': 'timestamp',
  'live-as-bob-nopreauth-1': 'unproved',
  'live-kpw-ok-1': 'unproved',
  'live-kpw-soft-1': 'unproved',
  'live-s4u2self-1': 'unproved',
  'live-as-err-badpw-2': 'refused',
}

const NOT_RUN: Readonly<Record<string, string>> = {
  'live-as-encts-camellia256-cts-2': 'camellia is not there',
  'live-as-encts-des3-cbc-sha1-2': 'des3 is not there',
  'live-kinit-spake-2': 'SPAKE is not there',
  'live-as-spake-p256-2': 'SPAKE is not there',
  'live-as-spake-p256-3': 'SPAKE is not there',
  'live-as-spake-ed-2': 'SPAKE is not there',
  'live-as-fast-spake-2': 'FAST is not there',
  'live-as-fast-encchallenge-1': 'FAST is not there',
  'live-as-fast-encchallenge-2': 'FAST is not there',
  'live-as-postdated-1': 'our client asks for no postdated ticket',
  'live-as-postdated-2': 'our client asks for no postdated ticket',
}

/** RFC 8070: MIT asks for a token of freshness, which only PKINIT needs. */
const PA_AS_FRESHNESS = 150
/** kdc-options of MIT's that ours does not send: renewable-ok by habit, canonicalize by `kinit -C`. */
const MITS_OPTIONS = KDC_OPTION.RENEWABLE_OK | KDC_OPTION.CANONICALIZE

const logins = vectors<Recorded>('live_mit').filter(({ request_b64 }) => base64(request_b64)[0] === 0x6a)

test('every recorded login is run, or has its reason', () => {
  expect(logins.map(({ id }) => id).sort()).toEqual([...Object.keys(RUNS), ...Object.keys(NOT_RUN)].sort())
})

/** The recorded request as ours would be: without what only MIT asks for. */
function expectedOf({ request_b64 }: Recorded): ReturnType<typeof decodeKdcReq> {
  const request = decodeKdcReq(base64(request_b64))
  const padata = request.padata.filter(({ type }) => type !== PA_AS_FRESHNESS)
  return { ...request, padata, body: { ...request.body, kdcOptions: request.body.kdcOptions & ~MITS_OPTIONS } }
}

/** The sixteen octets before an encrypted timestamp, which only the random source knew (RFC 3961 §5.3, RFC 8009 §5). */
function confounderOf(padata: readonly PaData[], key: Key): Uint8Array {
  const value = padata.find(({ type }) => type === PA.ENC_TIMESTAMP)?.value ?? new Uint8Array(0)
  const { etype, cipher } = readEncryptedData(new ByteReader(value), 'PA-ENC-TIMESTAMP')
  const { hash, macBytes, keyBytes } = enctype(etype)
  const constant = concat(uint32be(KEY_USAGE.PA_ENC_TIMESTAMP), Uint8Array.of(0xaa))
  const base = key.toBytes()
  const ke =
    hash === 'sha1'
      ? deriveDk(new AesKey(base), constant, keyBytes)
      : kdfHmacSha2(new HmacKey(hash, base, keyBytes), constant, keyBytes)
  return new AesKey(ke).decryptCts(cipher.subarray(0, cipher.length - macBytes)).subarray(0, 16)
}

/**
 * The recorded reply as the KDC would have answered our request: the checksum of the request (RFC 6806 §11) is over ours, which has one padata and
 * up to two options less. All else is as it came.
 */
function answer(record: Recorded, message: Uint8Array, key: Key): Uint8Array {
  const reply = decodeKdcRep(base64(record.reply_b64), MESSAGE.AS_REP)
  const part = decodeEncKdcRepPart(key.decrypt(KEY_USAGE.AS_REP, reply.encPart.cipher), MESSAGE.AS_REP)
  const own = encodeChecksum({ type: enctype(key.enctype).checksumType, checksum: key.checksum(56, message) })
  const encryptedPaData = part.encryptedPaData?.map((one) => {
    return one.type === PA.REQ_ENC_PA_REP ? { ...one, value: own } : one
  })
  const plain = encodeEncKdcRepPart({ ...part, encryptedPaData }, MESSAGE.AS_REP)
  const cipher = key.encrypt(KEY_USAGE.AS_REP, plain, new Uint8Array(16))
  return encodeKdcRep({ ...reply, encPart: { ...reply.encPart, cipher } })
}

/** The client's long-term key, as the recording has it. */
function replyKeyOf({ reply_b64, decrypted }: Recorded): Key {
  const { etype } = decodeKdcRep(base64(reply_b64), MESSAGE.AS_REP).encPart
  return new Key(etype, hexBytes(decrypted.enc_part?.decrypted_with.key_hex ?? ''))
}

interface Ended {
  readonly sent: readonly Uint8Array[]
  readonly credential: Credential | undefined
  readonly error: unknown
}

/** Runs our client against replies that may depend on what it sent. */
function login(record: Recorded, key: Key, replies: readonly ((message: Uint8Array) => Uint8Array)[]): Ended {
  const { body, padata } = expectedOf(record)
  const { pa_enc_timestamp: stamped, enc_part } = record.decrypted
  // `till` is a day after MIT's clock in every recording; a reply's authtime may be a second later.
  const seconds = stamped === undefined ? secondsOf(enc_part?.authtime ?? '') : secondsOf(stamped.patimestamp)
  const now = seconds + (stamped?.pausec ?? 0)
  const nonce = Uint8Array.of(body.nonce >>> 24, body.nonce >>> 16, body.nonce >>> 8, body.nonce)
  const confounder = stamped === undefined ? new Uint8Array(16) : confounderOf(padata, key)
  const { cname, sname } = body
  if (cname === undefined || sname === undefined) throw new Error(`${record.id} names nobody`)
  const exchange = asExchange({
    client: principalOf(cname, body.realm),
    server: principalOf(sname, body.realm),
    enctypes: body.etype,
    lifetime: body.till - seconds,
    renewLifetime: body.rtime === undefined ? undefined : body.rtime - seconds,
    forwardable: (body.kdcOptions & KDC_OPTION.FORWARDABLE) !== 0,
    source: { now: () => now, random: (length) => (length === 4 ? nonce : confounder) },
  })
  const sent: Uint8Array[] = []
  try {
    let step: IteratorResult<Effect, Credential> = exchange.next()
    while (step.done !== true) {
      if (step.value.kind === 'derive') step = exchange.next(key)
      else {
        const reply = replies[sent.push(step.value.message) - 1]
        if (reply === undefined) return { sent, credential: undefined, error: undefined }
        step = exchange.next(reply(step.value.message))
      }
    }
    return { sent, credential: step.value, error: undefined }
  } catch (error) {
    return { sent, credential: undefined, error }
  }
}

const octetsOf = (request: ReturnType<typeof decodeKdcReq>) => toHex(encodeKdcReq(request))
const NO_KEY = new Key(18, new Uint8Array(32))

function expectTicket(record: Recorded, { credential, error }: Ended, key: Key): void {
  expect(error).toBeUndefined()
  const { ticket, encPart } = decodeKdcRep(base64(record.reply_b64), MESSAGE.AS_REP)
  const part = decodeEncKdcRepPart(key.decrypt(KEY_USAGE.AS_REP, encPart.cipher), MESSAGE.AS_REP)
  expect(toHex(credential?.ticket.raw ?? new Uint8Array(0))).toBe(toHex(ticket.raw))
  expect(toHex(credential?.sessionKey.toBytes() ?? new Uint8Array(0))).toBe(toHex(part.key.keyvalue))
  expect(credential).toMatchObject({ flags: part.flags, endTime: part.endtime, renewTill: part.renewTill })
}

/** The demand for a timestamp that came before: of the same enctypes. */
function demandBefore({ id }: Recorded): Recorded {
  const own = logins.find((one) => one.id === id.replace(/-2$/, '-1'))
  // These two were captured from their second request on: any demand with the same salt and enctype will do.
  const found = own ?? logins.find((one) => one.id === 'live-as-encts-aes256-cts-1')
  if (found === undefined) throw new Error(`nothing came before ${id}`)
  return found
}

describe('RFC 4120 §3.1: our requests are MIT’s, octet for octet, but for what only MIT asks', () => {
  for (const record of logins) {
    const run = RUNS[record.id]
    if (run === undefined) continue
    test(`${record.id}: ${run}`, () => {
      const { pa_enc_timestamp: stamped } = record.decrypted
      const expected = octetsOf(expectedOf(record))
      if (run === 'demand') {
        // The clock of a demand is known to the second, from `till`.
        const till = expectedOf(record).body.till - 86_400e6
        const authtime = new Date(till / 1000).toISOString().replace(/[-:T]|\.\d+/g, '')
        const timed = { ...record, decrypted: { enc_part: { authtime, plaintext_hex: '', decrypted_with: NO_HEX } } }
        expect(login(timed, NO_KEY, []).sent.map(toHex)).toEqual([expected])
        return
      }
      if (run === 'unproved') {
        const key = replyKeyOf(record)
        const ended = login(record, key, [(message) => answer(record, message, key)])
        expect(ended.sent.map(toHex)).toEqual([expected])
        expectTicket(record, ended, key)
        return
      }
      const key = new Key(stamped?.etype ?? 0, hexBytes(stamped?.key_hex ?? ''))
      const demand = base64(demandBefore(record).reply_b64)
      const cookie = expectedOf(record).padata.find(({ type }) => type === PA.FX_COOKIE)?.value
      const withCookie = cookie === undefined ? demand : replaceCookie(demand, cookie)
      const last = (message: Uint8Array) =>
        run === 'refused' ? base64(record.reply_b64) : answer(record, message, key)
      const ended = login(record, key, [() => withCookie, last])
      expect(ended.sent).toHaveLength(2)
      expect(toHex(ended.sent[1] ?? new Uint8Array(0))).toBe(expected)
      if (run === 'refused') expect(ended.error).toMatchObject({ code: 'KDC_ERR_PREAUTH_FAILED', errorCode: 24 })
      else expectTicket(record, ended, key)
    })
  }
})

const NO_HEX = { key_hex: '' }

/** The demand, with the cookie that the recorded client gave back: as long as the one that was there. */
function replaceCookie(demand: Uint8Array, cookie: Uint8Array): Uint8Array {
  const at = Buffer.from(demand).indexOf('MIT1')
  if (at < 0 || demand.length - at !== cookie.length) throw new Error('the demand has another cookie')
  return concat(demand.subarray(0, at), cookie)
}

test('the checksum of the request holds what the recorded reply said of MIT’s request, and refuses it for ours', () => {
  for (const id of Object.keys(RUNS).filter((one) => RUNS[one] === 'timestamp' || RUNS[one] === 'unproved')) {
    const record = logins.find((one) => one.id === id)
    const opened = record?.decrypted.enc_part
    if (record === undefined || opened === undefined) throw new Error(`there is no reply of ${id}`)
    const key = replyKeyOf(record)
    const part = decodeEncKdcRepPart(hexBytes(opened.plaintext_hex), MESSAGE.AS_REP)
    const value = part.encryptedPaData?.find(({ type }) => type === PA.REQ_ENC_PA_REP)?.value ?? new Uint8Array(0)
    const { checksumType } = enctype(key.enctype)
    const over = (message: Uint8Array) => encodeChecksum({ type: checksumType, checksum: key.checksum(56, message) })
    expect(toHex(over(base64(record.request_b64))), id).toBe(toHex(value))
    const demand = RUNS[id] === 'timestamp' ? [() => base64(demandBefore(record).reply_b64)] : []
    expect(login(record, key, [...demand, () => base64(record.reply_b64)]).error).toMatchObject({
      code: 'REPLY_MISMATCH',
      message: 'the request was altered on its way to the KDC',
    })
  }
})
