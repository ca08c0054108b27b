import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { concat, uint32be } from '../../src/bytes/bytes.ts'
import { type Key, stringToKey } from '../../src/crypto/index.ts'
import { KerberosError } from '../../src/errors.ts'
import { drive, kdcInquiry, PATIENCE_MS, RealmSender, type Transport, type World } from '../../src/krb5/client.ts'
import { asExchange, type Credential, tgsExchange } from '../../src/krb5/exchange/index.ts'
import { Krb5Config } from '../../src/krb5/formats/index.ts'
import {
  ERROR,
  type EtypeInfo2Entry,
  encodeEtypeInfo2,
  encodeKrbError,
  encodeMethodData,
  type KrbError,
  PA,
  type PaData,
  Principal,
} from '../../src/krb5/messages/index.ts'
import { MAX_KDC_MESSAGE_BYTES, systemSource, systemTransport } from '../../src/system/index.ts'
import { Database, EmbeddedKdc, type FaultName } from '../../src/testing/index.ts'

const REALM = 'EXAMPLE.TEST'
const ALICE = new Principal(['alice'], REALM)
const WEB = new Principal(['HTTP', 'web.example.test'], REALM)
const TGS = new Principal(['krbtgt', REALM], REALM)
const ENCTYPES = [18, 17]
const source = systemSource()

const database = new Database([18, 17, 20, 19], source.random)
database.addUser(ALICE, 'secret')
database.addService(WEB)
database.addService(TGS)

function kdc(...faults: readonly FaultName[]): EmbeddedKdc {
  return new EmbeddedKdc({ realm: REALM, database, faults, random: source.random, now: source.now })
}

type Answer = (message: Uint8Array, round: number) => Promise<Uint8Array> | Uint8Array

let sent = 0

async function logIn(answer: Answer, enctypes: readonly number[] = ENCTYPES): Promise<Credential> {
  sent = 0
  const exchange = asExchange({ client: ALICE, enctypes, lifetime: 3600e6, source })
  return drive(exchange, {
    send: async (_realm, message) => answer(message, sent++),
    derive: ({ enctype, salt, iterations }): Promise<Key> =>
      stringToKey(enctype, 'secret', new TextEncoder().encode(salt), iterations),
  })
}

function by(one: EmbeddedKdc): Answer {
  return async (message) => (await one.handle(message)) ?? new Uint8Array(0)
}

async function ticket(answer: Answer, enctypes: readonly number[] = ENCTYPES): Promise<Credential> {
  const tgt = await logIn(by(kdc()))
  return drive(tgsExchange({ tgt, server: WEB, enctypes, source }), {
    send: async (_realm, message) => answer(message, 0),
    derive: () => Promise.reject(new Error('a TGS exchange has no password')),
  })
}

async function errorOf(promise: Promise<unknown>): Promise<KerberosError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof KerberosError)) throw new Error(`no KerberosError but ${inspect(error)}`)
  return error
}

function refusal(bent: Partial<KrbError>): Uint8Array {
  return encodeKrbError({
    ctime: undefined,
    stime: source.now(),
    errorCode: ERROR.KRB_ERR_GENERIC,
    crealm: undefined,
    cname: undefined,
    realm: REALM,
    sname: TGS,
    eText: undefined,
    eData: undefined,
    ...bent,
  })
}

function demand(...padata: readonly PaData[]): Uint8Array {
  return refusal({ errorCode: ERROR.KDC_ERR_PREAUTH_REQUIRED, eData: encodeMethodData(padata) })
}

const timestamp: PaData = { type: PA.ENC_TIMESTAMP, value: new Uint8Array(0) }
const info2 = (...entries: readonly EtypeInfo2Entry[]): PaData => ({
  type: PA.ETYPE_INFO2,
  value: encodeEtypeInfo2(entries),
})

test('an honest KDC', async () => {
  const credential = await ticket(by(kdc()))
  expect(credential.server.equals(WEB)).toBe(true)
})

describe('replies that do not answer the request', () => {
  const rows: readonly [string, FaultName, string][] = [
    ['K02 another client', 'wrong-client', 'REPLY_MISMATCH'],
    ['K03 another server', 'wrong-server', 'REPLY_MISMATCH'],
    ['K04 another nonce', 'wrong-nonce', 'REPLY_MISMATCH'],
    ['K09 a later end than asked for', 'late-end', 'REPLY_MISMATCH'],
    ['K10 an enctype that was not asked for', 'wrong-enctype', 'ENCTYPE_REFUSED'],
  ]
  for (const [name, fault, code] of rows) {
    test(`${name}, of the AS and of the TGS`, async () => {
      expect((await errorOf(logIn(by(kdc(fault))))).code).toBe(code)
      expect((await errorOf(ticket(by(kdc(fault))))).code).toBe(code)
    })
  }

  test('K03 C63 a referral, and another name than the one asked for', async () => {
    expect((await errorOf(ticket(by(kdc('referral'))))).code).toBe('REPLY_MISMATCH')
  })

  test('K05 the reply to an older request', async () => {
    const replies: Uint8Array[] = []
    const honest = by(kdc())
    await logIn(async (message) => {
      const reply = await honest(message, 0)
      replies.push(reply)
      return reply
    })
    expect((await errorOf(logIn((_, round) => replies[round] ?? new Uint8Array(0)))).code).toBe('REPLY_MISMATCH')
  })

  test('K06 a reply of the other kind, and octets that are none', async () => {
    const tgt = await logIn(by(kdc()))
    let asRep = new Uint8Array(0) as Uint8Array
    await logIn(async (message) => (asRep = await by(kdc())(message, 0)))
    const wrong: readonly Uint8Array[] = [
      asRep,
      new Uint8Array(0),
      Uint8Array.of(0x6d, 0),
      asRep.subarray(0, 100),
      Uint8Array.of(...asRep, 0),
    ]
    for (const reply of wrong) {
      const exchange = tgsExchange({ tgt, server: WEB, enctypes: ENCTYPES, source })
      const answer = { send: async () => reply, derive: () => Promise.reject(new Error('none')) }
      expect((await errorOf(drive(exchange, answer))).code).toBe('MALFORMED')
    }
  })

  test('K07 a reply under another key, and one that was altered in any octet of its cipher', async () => {
    const strangers = new Database([18], source.random)
    strangers.addUser(ALICE, 'another')
    strangers.addService(TGS)
    const stranger = new EmbeddedKdc({ realm: REALM, database: strangers, random: source.random, now: source.now })
    expect((await errorOf(logIn(by(stranger)))).code).toBe('KDC_ERR_PREAUTH_FAILED')
    const honest = by(kdc())
    for (const back of [1, 12, 13, 40, 100]) {
      const answer: Answer = async (message, round) => {
        const reply = (await honest(message, round)).slice()
        if (round === 1) reply[reply.length - back] = (reply[reply.length - back] as number) ^ 1
        return reply
      }
      expect((await errorOf(logIn(answer))).code).toBe('INTEGRITY_FAILED')
    }
  })

  test('RFC 6806 §11: options that somebody altered on the way are noticed', async () => {
    const honest = by(kdc())
    const altered: Answer = (message, round) => {
      const bent = message.slice()
      // The padata type 149 asks for the checksum; the sixth octet of the second request's body is in kdc-options.
      const at =
        round === 0
          ? -1
          : bent.findIndex((_, i) => bent[i] === 0xa0 && bent[i + 1] === 7 && bent[i + 2] === 3 && bent[i + 3] === 5)
      if (at > 0) bent[at + 5] = 0x40
      return honest(bent, round)
    }
    expect((await errorOf(logIn(altered))).message).toMatch(/altered on its way/)
  })
})

describe('demands', () => {
  test('K11 too few and too many iterations, K12 rc4 alone', async () => {
    expect((await errorOf(logIn(by(kdc('weak-iterations'))))).code).toBe('ITERATIONS_REFUSED')
    expect((await errorOf(logIn(by(kdc('huge-iterations'))))).code).toBe('ITERATIONS_REFUSED')
    expect(sent).toBe(1)
    expect((await errorOf(logIn(by(kdc('rc4-only'))))).code).toBe('ENCTYPE_REFUSED')
    expect(sent).toBe(1) // no timestamp under anything
  })

  test('K12 K13 the first entry that was asked for is taken; the older ETYPE-INFO is none', async () => {
    const answers = [
      demand(
        timestamp,
        info2({ etype: 23, salt: undefined, s2kparams: undefined }, { etype: 17, salt: 'x', s2kparams: undefined }),
      ),
    ]
    const derived: number[] = []
    const exchange = asExchange({ client: ALICE, enctypes: ENCTYPES, lifetime: 3600e6, source })
    const failed = drive(exchange, {
      send: async () => answers.shift() ?? refusal({}),
      derive: async ({ enctype, salt }) => {
        derived.push(enctype)
        return stringToKey(enctype, 'secret', new TextEncoder().encode(salt), 4096)
      },
    })
    expect((await errorOf(failed)).code).toBe('KRB_ERR_GENERIC')
    expect(derived).toEqual([17])
    const old = { type: PA.ETYPE_INFO, value: new Uint8Array(0) }
    expect((await errorOf(logIn(() => demand(timestamp, old)))).code).toBe('KDC_ERR_PREAUTH_REQUIRED')
    expect(sent).toBe(1)
  })

  test('K12 a salt of a megabyte', async () => {
    const salt = 'x'.repeat(1_000_000)
    expect((await errorOf(logIn(() => demand(timestamp, info2({ etype: 18, salt, s2kparams: undefined }))))).code).toBe(
      'MALFORMED',
    )
  })

  test('K15 pre-authentication demanded for ever ends after two requests', async () => {
    expect((await errorOf(logIn(by(kdc('preauth-forever'))))).code).toBe('KDC_ERR_PREAUTH_REQUIRED')
    expect(sent).toBe(2)
  })

  test('K16 only kinds that we do not have: the error says so, and nothing is sent', async () => {
    const error = await errorOf(
      logIn(() =>
        demand(info2({ etype: 18, salt: undefined, s2kparams: undefined }), { type: 151, value: new Uint8Array(0) }),
      ),
    )
    expect(error.code).toBe('KDC_ERR_PREAUTH_REQUIRED')
    expect(error.hint).toMatch(/pre-authentication/)
    expect(sent).toBe(1)
    expect((await errorOf(logIn(() => refusal({ errorCode: ERROR.KDC_ERR_PREAUTH_REQUIRED })))).code).toBe(
      'KDC_ERR_PREAUTH_REQUIRED',
    )
    for (const eData of [Uint8Array.of(0x30), Uint8Array.of(0x30, 2, 0x30, 0), new Uint8Array(100_000)]) {
      expect((await errorOf(logIn(() => refusal({ errorCode: ERROR.KDC_ERR_PREAUTH_REQUIRED, eData })))).code).toBe(
        'MALFORMED',
      )
    }
  })

  test('K27 the text of an error is quoted, escaped and cut', async () => {
    const eText = `\u001b[2J\r\nSet-Cookie: x\u202e${'A'.repeat(1 << 20)}`
    const error = await errorOf(logIn(() => refusal({ eText, realm: '\u001b[31mREALM\n' })))
    expect(error.message.length).toBeLessThan(700)
    expect(`${error.message}${error.hint}`).not.toMatch(/[\u0000-\u001f\u202e]/)
    expect(error).toMatchObject({ errorCode: 60, name: 'KdcError' })
  })

  test('K28 a KDC whose clock is ten minutes ahead is told by how much', async () => {
    const error = await errorOf(logIn(by(kdc('skew'))))
    expect(error.code).toBe('KRB_AP_ERR_SKEW')
    expect(error.hint).toMatch(/(599|600|601) s behind/)
  })

  test.each([
    [-1, 'KRB_ERR_4294967295'],
    [-77, 'KRB_ERR_4294967219'],
    [-(2 ** 31), 'KRB_ERR_2147483648'],
    [2 ** 31 - 1, 'KRB_ERR_2147483647'],
    [4711, 'KRB_ERR_4711'],
  ])('an unknown number keeps its number, and has a code: %i', async (errorCode, code) => {
    const error = await errorOf(logIn(() => refusal({ errorCode })))
    expect(error).toMatchObject({ errorCode, code })
    expect(error.code).toMatch(/^[A-Z][A-Z0-9_]*$/)
  })
})

// ── sockets ──

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

/** A KDC on a loopback port that does with each connection what the test says. */
async function tcp(serve: (socket: Socket) => void): Promise<{ port: number; connections: () => number }> {
  let connections = 0
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

/** As `tcp`; each whole request is handed over with a way to answer. */
function answering(reply: (message: Uint8Array, socket: Socket) => void): (socket: Socket) => void {
  return (socket) => {
    let got = new Uint8Array(0) as Uint8Array
    socket.on('data', (chunk: Uint8Array) => {
      got = concat(got, chunk)
      if (got.length >= 4 && got.length === 4 + new DataView(got.buffer, got.byteOffset).getUint32(0))
        reply(got.subarray(4), socket)
    })
  }
}

async function udp(
  reply: (message: Uint8Array, send: (bytes: Uint8Array) => void) => void,
): Promise<{ port: number; datagrams: () => number }> {
  let datagrams = 0
  const socket = createSocket('udp4')
  socket.on('message', (message, from) => {
    datagrams++
    reply(message, (bytes) => socket.send(bytes, from.port, from.address))
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  open.push(() => socket.close())
  return { port: socket.address().port, datagrams: () => datagrams }
}

const honest = kdc()
async function honestAnswer(message: Uint8Array): Promise<Uint8Array> {
  return (await honest.handle(message)) ?? new Uint8Array(0)
}

function configOf(...ports: readonly (number | string)[]): Krb5Config {
  const lines = ports.map((port) => ` kdc = ${typeof port === 'number' ? `127.0.0.1:${port}` : port}`)
  return Krb5Config.parse(`[realms]\n ${REALM} = {\n${lines.join('\n')}\n }\n`, 'krb5.conf')
}

interface Tried {
  readonly protocol: string
  readonly port: number
}

/** The machine's own sockets; what is tried is counted. */
function counted(
  tried: Tried[],
  delegate: Transport = systemTransport,
): Pick<World, 'transport' | 'monotonic' | 'locator' | 'source'> {
  return {
    source,
    locator: { services: async () => [] },
    monotonic: () => performance.now(),
    transport: {
      exchange(to, protocol, message, options) {
        tried.push({ protocol, port: to.port })
        return delegate.exchange(to, protocol, message, options)
      },
    },
  }
}

async function firstRequest(): Promise<Uint8Array> {
  const step = asExchange({ client: ALICE, enctypes: ENCTYPES, lifetime: 3600e6, source }).next()
  if (step.done === true || step.value.kind !== 'send') throw new Error('no request')
  return step.value.message
}

async function ask(
  config: Krb5Config,
  timeoutMs = 3000,
  tried: Tried[] = [],
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const sender = new RealmSender(counted(tried))
  return sender.send(config, kdcInquiry(REALM, await firstRequest()), { at: performance.now() + timeoutMs, signal })
}

/** The first octet of a KRB-ERROR: an honest KDC demands pre-authentication. */
const KRB_ERROR_TAG = 0x7e

describe('TCP', () => {
  test('K22 a reply that comes one octet at a time', async () => {
    const slow = answering(async (message, socket) => {
      const reply = await honestAnswer(message)
      for (const byte of concat(uint32be(reply.length), reply)) {
        socket.write(Uint8Array.of(byte))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    const { port } = await tcp(slow)
    expect((await ask(configOf(port)))[0]).toBe(KRB_ERROR_TAG)
  })

  test.each([0, 0x80000000, 0xffffffff, MAX_KDC_MESSAGE_BYTES + 1])(
    'K21 an announced length of %i: refused, the next KDC is asked',
    async (length) => {
      const liar = await tcp(answering((_, socket) => socket.write(concat(uint32be(length), new Uint8Array(10)))))
      const alone = await errorOf(ask(configOf(`tcp/127.0.0.1:${liar.port}`)))
      expect(alone.code).toBe('KDC_REPLY_TOO_LONG')
      const good = await tcp(
        answering(async (message, socket) => {
          const reply = await honestAnswer(message)
          socket.write(concat(uint32be(reply.length), reply))
        }),
      )
      expect((await ask(configOf(liar.port, good.port)))[0]).toBe(KRB_ERROR_TAG)
      expect(liar.connections()).toBe(2)
    },
  )

  test.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n', /an answer in HTTP/],
    ['TLS', '\x15\x03\x03\x00\x02\x02\x46', /an answer in TLS/],
    ['SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n', /an SSH banner/],
    ['mail', '220 mail.example.test ESMTP\r\n', /the greeting of a mail or FTP server/],
  ])('K63 a server of %s in the place of a KDC is named with its address', async (_, text, what) => {
    const wrong = await tcp((socket) => socket.write(text, 'latin1'))
    const error = await errorOf(ask(configOf(`tcp/127.0.0.1:${wrong.port}`)))
    expect(error.code).toBe('KDC_REPLY_TOO_LONG')
    expect(error.message).toMatch(what)
    expect(error.message).toContain(`127.0.0.1:${wrong.port} (tcp)`)
  })

  test('K23 closed after each number of octets: never half a reply, always the next KDC', async () => {
    const reply = await honestAnswer(await firstRequest())
    const framed = concat(uint32be(reply.length), reply)
    let k = 0
    const quitter = await tcp(answering((_, socket) => socket.end(framed.subarray(0, k))))
    const good = await tcp(answering((_, socket) => socket.write(framed)))
    for (k = 0; k < framed.length; k += k < 8 ? 1 : 29) {
      const tried: Tried[] = []
      expect(await ask(configOf(quitter.port, good.port), 3000, tried)).toEqual(reply)
      expect(tried.map(({ port }) => port)).toEqual([quitter.port, good.port])
    }
    k = 7
    expect((await errorOf(ask(configOf(`tcp/127.0.0.1:${quitter.port}`)))).code).toBe('KDC_UNREACHABLE')
  })

  test('K24 a silent KDC costs its patience once, and is asked last from then on', async () => {
    const silent = await tcp(() => {})
    const good = await tcp(
      answering(async (message, socket) => {
        const reply = await honestAnswer(message)
        socket.write(concat(uint32be(reply.length), reply))
      }),
    )
    const tried: Tried[] = []
    const sender = new RealmSender(counted(tried))
    const config = configOf(silent.port, good.port)
    const started = performance.now()
    for (let i = 0; i < 3; i++)
      await sender.send(config, kdcInquiry(REALM, await firstRequest()), {
        at: performance.now() + 10_000,
        signal: undefined,
      })
    expect(tried.map(({ port }) => port)).toEqual([silent.port, good.port, good.port, good.port])
    expect(performance.now() - started).toBeLessThan(20 * PATIENCE_MS)
  })

  test('K25 none answers: one error that names each with its failure', async () => {
    const gone = await tcp(() => {})
    for (const close of open.splice(0)) close()
    const error = await errorOf(ask(configOf(gone.port)))
    expect(error.code).toBe('KDC_UNREACHABLE')
    expect(error.message).toMatch(
      new RegExp(`127\\.0\\.0\\.1:${gone.port} \\(tcp\\): ECONNREFUSED; 127\\.0\\.0\\.1:${gone.port} \\(udp\\)`),
    )
  })

  test('K24 K25 the deadline is for the whole call', async () => {
    const silent = await tcp(() => {})
    const tried: Tried[] = []
    const error = await errorOf(ask(configOf(silent.port, silent.port, silent.port), 60, tried))
    expect(error.code).toBe('KDC_TIMEOUT')
    expect(tried.length).toBeLessThanOrEqual(2) // three KDCs, two protocols: a timer may end a moment early
  })

  test('an abort ends the wait and closes the socket', async () => {
    let closed: () => void = () => {}
    const seen = new Promise<void>((resolve) => {
      closed = resolve
    })
    const silent = await tcp((socket) => socket.on('close', () => closed()).resume())
    const controller = new AbortController()
    const waiting = errorOf(ask(configOf(silent.port), 10_000, [], controller.signal))
    setTimeout(() => controller.abort(new Error('enough')), 20)
    expect((await waiting).code).toBe('ABORTED')
    await seen
    expect((await errorOf(ask(configOf(silent.port), 10_000, [], AbortSignal.abort()))).code).toBe('ABORTED')
  })
})

describe('UDP', () => {
  test('K18 garbage, another realm’s error and a reply of the other kind are passed over', async () => {
    const foreign = refusal({ realm: 'EVIL.TEST' })
    const { port } = await udp(async (message, send) => {
      send(new Uint8Array(0))
      send(Uint8Array.of(0x6b, 0x80))
      send(foreign)
      send(Uint8Array.of(0x6d, 0))
      send(await honestAnswer(message))
    })
    const reply = await ask(configOf(`udp/127.0.0.1:${port}`))
    expect(reply[0]).toBe(KRB_ERROR_TAG)
    expect(reply).not.toEqual(foreign)
  })

  test('K19 a datagram from another port is never seen', async () => {
    const stranger = createSocket('udp4')
    stranger.bind(0, '127.0.0.1')
    await once(stranger, 'listening')
    open.push(() => stranger.close())
    const forged = refusal({ eText: 'forged' })
    const socket = createSocket('udp4')
    socket.on('message', (message, from) => {
      stranger.send(forged, from.port, from.address, () => {
        setTimeout(async () => socket.send(await honestAnswer(message), from.port, from.address), 20)
      })
    })
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    open.push(() => socket.close())
    expect(await ask(configOf(`udp/127.0.0.1:${socket.address().port}`))).not.toEqual(forged)
  })

  test('K20 RESPONSE_TOO_BIG: once over TCP, and no further when that says the same', async () => {
    const big = refusal({ errorCode: ERROR.KRB_ERR_RESPONSE_TOO_BIG })
    const server = await tcp(answering((_, socket) => socket.write(concat(uint32be(big.length), big))))
    const tried: Tried[] = []
    const transport: Transport = {
      exchange: (to, protocol, message, options) => {
        if (protocol === 'udp') return Promise.resolve(big)
        return systemTransport.exchange(to, protocol, message, options)
      },
    }
    const sender = new RealmSender(counted(tried, transport))
    const config = Krb5Config.parse(
      `[libdefaults]\n udp_preference_limit = 1465\n[realms]\n ${REALM} = {\n kdc = 127.0.0.1:${server.port}\n }\n`,
      'krb5.conf',
    )
    const reply = await sender.send(config, kdcInquiry(REALM, await firstRequest()), {
      at: performance.now() + 3000,
      signal: undefined,
    })
    expect(reply).toEqual(big)
    expect(tried.map(({ protocol }) => protocol)).toEqual(['udp', 'tcp'])
    expect((await errorOf(logIn(() => reply))).code).toBe('KRB_ERR_RESPONSE_TOO_BIG')
    expect(sent).toBe(1)
  })

  test('a lost datagram is sent again', async () => {
    let first = true
    const lossy = await udp(async (message, send) => {
      if (!first) send(await honestAnswer(message))
      first = false
    })
    expect((await ask(configOf(`udp/127.0.0.1:${lossy.port}`), 5000))[0]).toBe(KRB_ERROR_TAG)
    expect(lossy.datagrams()).toBe(2)
  })
})

test('S80 no error of a KDC shows the password or a key', async () => {
  const faults: readonly FaultName[] = [
    'wrong-client',
    'wrong-nonce',
    'weak-iterations',
    'rc4-only',
    'preauth-forever',
    'wrong-enctype',
  ]
  for (const fault of faults) {
    const error = await errorOf(logIn(by(kdc(fault))))
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret')
  }
})
