import { expect, test } from 'vitest'
import { element, encodeDer } from '../../../src/asn1/index.ts'
import { decodeKrbError, ERROR, encodeKdcReq, type KdcReqBody, MESSAGE, PA } from '../../../src/krb5/messages/index.ts'
import {
  ALICE,
  answer,
  asReq,
  bodyOf,
  type Granted,
  type Lab,
  lab,
  login,
  passwordKey,
  repeatable,
  tgsReq,
  timestamp,
  WEB,
} from './client.ts'

/** Whatever comes back is a reply or a KRB-ERROR, and none is the last resort for a bug. */
async function mustSurvive({ kdc }: Lab, request: Uint8Array): Promise<'reply' | 'error' | 'ignored'> {
  const reply = await kdc.handle(request)
  if (reply === undefined) return 'ignored'
  if (reply[0] === 0x6b || reply[0] === 0x6d) return 'reply'
  expect(decodeKrbError(reply).eText).not.toBe('internal error')
  return 'error'
}

/** Every way to leave out elements of one request: each element of each SEQUENCE, one at a time. */
function* lessOne(bytes: Uint8Array, depth = 0): Generator<Uint8Array> {
  const head = headLength(bytes)
  const tag = bytes[0] ?? 0
  if ((tag & 0x20) === 0 || depth > 12) return
  const children = split(bytes.subarray(head))
  for (const [i, child] of children.entries()) {
    yield encodeDer(element(tag, ...children.filter((_, j) => j !== i)))
    for (const smaller of lessOne(child, depth + 1)) {
      yield encodeDer(element(tag, ...children.map((one, j) => (j === i ? smaller : one))))
    }
  }
}

function headLength(bytes: Uint8Array): number {
  const first = bytes[1] ?? 0
  return first < 0x80 ? 2 : 2 + (first & 0x7f)
}

function split(content: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 0; at < content.length; ) {
    const rest = content.subarray(at)
    const head = headLength(rest)
    const length = head === 2 ? (rest[1] ?? 0) : rest.subarray(2, head).reduce((sum, octet) => sum * 256 + octet, 0)
    found.push(rest.subarray(0, head + length))
    at += head + length
  }
  return found
}

async function requests(made: Lab): Promise<{ requests: Uint8Array[]; tgt: Granted }> {
  const tgt = await login(made)
  const full: Partial<KdcReqBody> = {
    from: bodyOf().till,
    rtime: bodyOf().till,
    addresses: [{ addressType: 2, address: Uint8Array.of(127, 0, 0, 1) }],
    encAuthorizationData: { etype: 18, kvno: 1, cipher: new Uint8Array(40) },
    additionalTickets: [tgt.ticket],
  }
  const key = await passwordKey()
  const protection = { type: PA.REQ_ENC_PA_REP, value: new Uint8Array() }
  return {
    tgt,
    requests: [
      asReq(),
      asReq({}, [timestamp(key), protection]),
      asReq({ ...full, from: undefined }, [timestamp(key)]),
      tgsReq(tgt, { body: { cname: ALICE } }),
      tgsReq(tgt, { body: { ...full, cname: ALICE } }),
    ],
  }
}

test('K50, CVE-2021-36222, CVE-2021-37750: each element of a request absent, one at a time', async () => {
  const made = lab()
  const seen = { reply: 0, error: 0, ignored: 0 }
  for (const request of (await requests(made)).requests) {
    for (const smaller of lessOne(request)) seen[await mustSurvive(made, smaller)]++
  }
  expect(seen.error).toBeGreaterThan(100)
  expect(seen.ignored).toBe(0)
})

test('K50: each element of the AP-REQ and of the authenticator absent, and bits of both flipped', async () => {
  const made = lab()
  const tgt = await login(made)
  const subkey = { keytype: 18, keyvalue: new Uint8Array(32) }
  const full = { subkey, seqNumber: 1, authorizationData: [{ adType: 1, adData: new Uint8Array(4) }] }
  const random = repeatable(50)
  const flip = (bytes: Uint8Array): Uint8Array => {
    const [a = 0, b = 0, bit = 0] = random(3)
    const at = (a * 256 + b) % bytes.length
    return bytes.map((octet, i) => (i === at ? octet ^ (1 << (bit % 8)) : octet))
  }
  for (const part of ['plain', 'value'] as const) {
    const forms: ((bytes: Uint8Array) => Uint8Array)[] = Array(150).fill(flip)
    tgsReq(tgt, { authenticator: full, [part]: collect })
    function collect(bytes: Uint8Array): Uint8Array {
      for (const smaller of lessOne(bytes)) forms.push(() => smaller)
      return bytes
    }
    expect(forms.length).toBeGreaterThan(165)
    for (const form of forms) await mustSurvive(made, tgsReq(tgt, { authenticator: full, [part]: form }))
  }
})

test('K50: each OPTIONAL field of a request absent', async () => {
  const made = lab()
  const key = await passwordKey()
  const padata = [timestamp(key)]
  const codeOf = async (body: KdcReqBody, type: typeof MESSAGE.AS_REQ | typeof MESSAGE.TGS_REQ = MESSAGE.AS_REQ) =>
    decodeKrbError(await answer(made.kdc, encodeKdcReq({ type, padata, body }))).errorCode
  expect(await codeOf(bodyOf({ cname: undefined }))).toBe(ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN)
  expect(await codeOf(bodyOf({ sname: undefined }))).toBe(ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN)
  expect(await codeOf(bodyOf({ cname: undefined, sname: undefined }))).toBe(ERROR.KDC_ERR_C_PRINCIPAL_UNKNOWN)
  expect(await codeOf(bodyOf(), MESSAGE.TGS_REQ)).toBe(ERROR.KDC_ERR_PADATA_TYPE_NOSUPP)

  const tgt = await login(made)
  const noService = tgsReq(tgt, { body: { sname: undefined } })
  expect(decodeKrbError(await answer(made.kdc, noService)).errorCode).toBe(ERROR.KDC_ERR_S_PRINCIPAL_UNKNOWN)
})

test('K50: numbers at the ends of 32 bits', async () => {
  const made = lab()
  const tgt = await login(made)
  const key = await passwordKey()
  for (const number of [-0x80000000, -1, 0, 1, 0x7fffffff]) {
    const name = { nameType: number, components: ['alice'] }
    const host = { addressType: number, address: new Uint8Array(0) }
    const changes = { nonce: number >>> 0, etype: [number, 18], addresses: [host] }
    const service = { ...WEB, nameType: number }
    const odd = { type: number, value: new Uint8Array(3) }
    expect(await mustSurvive(made, asReq({ ...changes, cname: name }, [timestamp(key), odd]))).toBe('reply')
    expect(await mustSurvive(made, tgsReq(tgt, { body: { ...changes, sname: service } }))).toBe('reply')
    await mustSurvive(made, asReq({ kdcOptions: number >>> 0 }, [timestamp(key)]))
    await mustSurvive(made, tgsReq(tgt, { body: { kdcOptions: number >>> 0 } }))
  }
  for (const time of [Date.UTC(1) * 1000, Date.UTC(9999, 11, 31) * 1000]) {
    await mustSurvive(made, asReq({ till: time, rtime: time }, [timestamp(key)]))
    await mustSurvive(made, asReq({}, [timestamp(key, time)]))
    await mustSurvive(made, tgsReq(tgt, { body: { till: time, from: time }, authenticator: { ctime: time } }))
  }
})

test('2,000 requests with flipped bits, cut, and joined from pieces', async () => {
  const made = lab()
  const random = repeatable(2026)
  const number = (below: number): number => {
    const [a = 0, b = 0, c = 0] = random(3)
    return (a * 65536 + b * 256 + c) % below
  }
  const seeds = (await requests(made)).requests
  const seen = { reply: 0, error: 0, ignored: 0 }
  for (let i = 0; i < 2000; i++) {
    const seed = seeds[i % seeds.length] ?? new Uint8Array(0)
    let request = seed.slice()
    for (let flips = 1 + number(4); flips > 0; flips--) {
      const at = number(request.length)
      request[at] = (request[at] ?? 0) ^ (1 << number(8))
    }
    if (i % 5 === 0) request = request.slice(0, number(request.length))
    if (i % 7 === 0) request = Uint8Array.from([...request.slice(0, number(200)), ...seed.slice(number(200))])
    seen[await mustSurvive(made, request)]++
  }
  expect(seen.error).toBeGreaterThan(1000)
})

test('what is no request is ignored: garbage, and every message that a server sends', async () => {
  const made = lab()
  const tgt = await login(made)
  const error = await answer(made.kdc, asReq())
  const reply = await answer(made.kdc, tgsReq(tgt))
  for (const octets of [new Uint8Array(0), Uint8Array.of(0), error, reply, repeatable(5)(500), tgt.ticket.raw]) {
    expect(await made.kdc.handle(octets)).toBeUndefined()
  }
})

test('another protocol version is KRB_ERR_GENERIC', async () => {
  const request = asReq()
  const at = Buffer.from(request).indexOf(Buffer.from([0xa1, 3, 2, 1, 5]))
  request[at + 4] = 4
  const error = decodeKrbError(await answer(lab().kdc, request))
  expect(error).toMatchObject({ errorCode: ERROR.KRB_ERR_GENERIC, realm: 'EXAMPLE.TEST', cname: undefined })
})

test('what a KDC says never holds the key of anybody', async () => {
  const made = lab()
  const key = Buffer.from((await passwordKey()).toBytes())
  for (const request of (await requests(made)).requests) {
    const reply = Buffer.from(await answer(made.kdc, request))
    expect(reply.includes(key)).toBe(false)
    expect(reply.includes('secret')).toBe(false)
  }
})
