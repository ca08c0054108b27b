/** What is remembered of a ticket saves work and changes no verdict. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { concat, uint16be } from '../../src/bytes/bytes.ts'
import { Key } from '../../src/crypto/index.ts'
import { openAcceptor } from '../../src/entries/wiring/acceptor.ts'
import { encodeFrame, MECHANISM, type Step } from '../../src/gss/context.ts'
import type { NegotiateAcceptor } from '../../src/gss/spnego/index.ts'
import {
  MAX_OPENED_BYTES,
  MAX_OPENED_TICKETS,
  OpenedTicket,
  OpenedTickets,
  ServiceKeys,
} from '../../src/krb5/exchange/index.ts'
import {
  decodeApReq,
  decodeEncTicketPart,
  encodeApReq,
  encodeTicket,
  KEY_USAGE,
  Principal,
} from '../../src/krb5/messages/index.ts'
import {
  AES,
  acceptor,
  codeOf,
  gssChecksum,
  HOUR,
  inSpnego,
  keytab,
  type Minted,
  mint,
  NOW,
  REALM,
  SECOND,
  SERVICE,
  SKEW,
  someKey,
} from './mint.ts'

const serviceKey = someKey(18)
const KEYTAB = keytab({ key: serviceKey })
/** Without mutual authentication the session key itself protects messages. */
const ONE_WAY = { apOptions: 0, authenticator: { cksum: { type: 0x8003, checksum: gssChecksum(undefined, 60) } } }

afterEach(() => {
  vi.restoreAllMocks()
})

let moment = 0
/** Another login with the same ticket. */
function again(around: Minted, now = NOW): Uint8Array {
  return mint(serviceKey, { around, now, authenticator: { ctime: now + ++moment } }).spnego
}

/** The same, without mutual authentication. */
function againOneWay(around: Minted): Uint8Array {
  const authenticator = { ...ONE_WAY.authenticator, ctime: NOW + ++moment }
  return mint(serviceKey, { ...ONE_WAY, around, authenticator }).spnego
}

/** An acceptor that has accepted this ticket, twice: so it is known. */
async function knowing(first: Minted, setup: Partial<Parameters<typeof acceptor>[0]> = {}) {
  const opened = new OpenedTickets()
  const all = acceptor({ keytab: KEYTAB, opened, ...setup })
  const verdict = (token: Uint8Array) => codeOf(all.context().step(token))
  expect(await verdict(first.spnego)).toBe('accepted')
  expect(opened.size).toBe(0)
  expect(await verdict(again(first))).toBe('accepted')
  expect(opened.size).toBe(1)
  return { ...all, opened, verdict }
}

/** As two logins with the ticket do. */
function remember(keys: ServiceKeys, ticket: OpenedTicket, now = NOW): void {
  for (let login = 1; login <= 2; login++) keys.remember(ticket, now)
}

/** The verdict of an acceptor that knows nothing. */
function unbiased(token: Uint8Array, setup: Partial<Parameters<typeof acceptor>[0]> = {}): Promise<string> {
  return codeOf(
    acceptor({ keytab: KEYTAB, ...setup })
      .context()
      .step(token),
  )
}

/** The same token, its ticket replaced by these octets. */
function withTicket({ apReq }: Minted, raw: Uint8Array): Uint8Array {
  const request = { ...decodeApReq(apReq), ticket: { raw } }
  return inSpnego(encodeFrame(MECHANISM.KRB5, concat(uint16be(0x0100), encodeApReq(request))))
}

describe('a ticket that is known', () => {
  test('is neither decrypted again, nor are keys derived from it, and the authenticator is', async () => {
    const first = mint(serviceKey)
    const { verdict } = await knowing(first)
    const decrypt = vi.spyOn(Key.prototype, 'decrypt')
    const derive = vi.spyOn(Key.prototype, 'derive')
    expect(await verdict(again(first))).toBe('accepted')
    expect(decrypt.mock.calls.map(([usage]) => usage)).toEqual([KEY_USAGE.AP_REQ_AUTHENTICATOR])
    expect(derive).not.toHaveBeenCalled()
  })

  test('S40 does not make a used authenticator fresh', async () => {
    const first = mint(serviceKey)
    const { verdict } = await knowing(first)
    expect(await verdict(first.spnego)).toBe('REPLAY')
    const second = again(first)
    expect(await verdict(second)).toBe('accepted')
    expect(await verdict(second)).toBe('REPLAY')
  })

  test('S29 is refused after its end, and before its beginning when the clock is set back', async () => {
    const first = mint(serviceKey)
    let now = NOW
    const { verdict } = await knowing(first, { now: () => now, startedAt: NOW - 2 * HOUR })
    now = NOW + HOUR + SKEW
    expect(await verdict(again(first, now))).toBe('accepted')
    now += SECOND
    expect(await verdict(again(first, now))).toBe('TICKET_EXPIRED')
    now = NOW - HOUR - SKEW - SECOND
    expect(await verdict(again(first, now))).toBe('TICKET_NOT_YET_VALID')
  })

  const other = { nameType: 1, components: ['bob'] }
  test.each([
    ['S20 of another realm', { authenticator: { crealm: 'EVIL.TEST' } }, 'CLIENT_MISMATCH'],
    ['S21 of another name', { authenticator: { cname: other } }, 'CLIENT_MISMATCH'],
    ['S29 of another time', { authenticator: { ctime: NOW + SKEW + SECOND } }, 'CLOCK_SKEW'],
    ['C23 under another key', { authenticatorKey: someKey(18) }, 'INTEGRITY_FAILED'],
    ['K07 for another usage', { usage: 7 }, 'INTEGRITY_FAILED'],
    ['S33 under another enctype', { authenticatorKey: someKey(17) }, 'ENCTYPE_REFUSED'],
    ['S37 without checksum', { authenticator: { cksum: undefined } }, 'CHECKSUM_MISSING'],
    [
      'S53b with a critical element',
      { authenticator: { authorizationData: [{ adType: 4711, adData: new Uint8Array(0) }] } },
      'AUTHORIZATION_DATA_REFUSED',
    ],
  ] as const)('with an authenticator %s is refused, and stays known', async (_, bent, code) => {
    const first = mint(serviceKey)
    const { verdict, opened } = await knowing(first)
    expect(await verdict(mint(serviceKey, { ...bent, around: first }).spnego)).toBe(code)
    expect(opened.size).toBe(1)
    expect(await verdict(again(first))).toBe('accepted')
  })

  test('S33 is refused under rules that have become stricter', async () => {
    const first = mint(serviceKey)
    const opened = new OpenedTickets()
    const keys = keytab({ key: serviceKey })
    const strict = (enctypes: readonly number[]) => acceptor({ keytab: keys, opened, enctypes }).context()
    expect(await codeOf(strict(AES).step(first.spnego))).toBe('accepted')
    expect(await codeOf(strict(AES).step(again(first)))).toBe('accepted')
    expect(opened.size).toBe(1)
    expect(await codeOf(strict([20]).step(again(first)))).toBe('ENCTYPE_REFUSED')
  })
})

describe('S97 another ticket is not taken for it', () => {
  test('any bit of it flipped: as if nothing were known', async () => {
    const first = mint(serviceKey)
    const { verdict } = await knowing(first)
    const { raw } = first.credential.ticket
    for (let bit = 0; bit < raw.length * 8; bit++) {
      const flipped = raw.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      const fresh = mint(serviceKey, { around: first, authenticator: { ctime: NOW + ++moment } })
      const token = withTicket(fresh, flipped)
      expect(await verdict(token), `bit ${bit}`).toBe(await unbiased(token))
    }
  })

  test('nor one that ends the same', async () => {
    const first = mint(serviceKey)
    const { verdict } = await knowing(first)
    const { raw } = first.credential.ticket
    const { realm, sname, encPart } = first.credential.ticket
    const cipher = concat(new Uint8Array(encPart.cipher.length - 20), encPart.cipher.subarray(-20))
    const forged = encodeTicket({ realm, sname, encPart: { ...encPart, cipher } })
    expect(forged.length).toBe(raw.length)
    expect(await verdict(withTicket(mint(serviceKey, { around: first }), forged))).toBe('KEY_NOT_FOUND')
  })

  test('nor the same cipher text under another version or name in the clear', async () => {
    const first = mint(serviceKey)
    const { verdict } = await knowing(first)
    const { realm, sname, encPart } = first.credential.ticket
    for (const kvno of [2, 257, undefined]) {
      const relabelled = encodeTicket({ realm, sname, encPart: { ...encPart, kvno } })
      const token = withTicket(
        mint(serviceKey, { around: first, authenticator: { ctime: NOW + ++moment } }),
        relabelled,
      )
      expect(await verdict(token), `${kvno}`).toBe(await unbiased(token))
    }
  })
})

describe('S98 it is known only to the key that opened it', () => {
  const otherName = new Principal(['HTTP', 'other.example.test'], REALM)

  test('another selection of the same keytab does not know it', async () => {
    const first = mint(serviceKey)
    const both = keytab({ key: serviceKey }, { principal: otherName, key: someKey(18) })
    const opened = new OpenedTickets()
    const at = (selection: 'any' | readonly Principal[]) => acceptor({ keytab: both, selection, opened }).context()
    for (const token of [first.spnego, again(first)]) expect(await codeOf(at('any').step(token))).toBe('accepted')
    expect(opened.size).toBe(1)
    expect(await codeOf(at([otherName]).step(again(first)))).toBe('WRONG_PRINCIPAL')
    expect(await codeOf(at([SERVICE]).step(again(first)))).toBe('accepted')
  })

  test('a name that an acceptor serves beside others does not know it', async () => {
    const first = mint(serviceKey)
    const both = keytab({ key: serviceKey }, { principal: otherName, key: someKey(18) })
    const server = openAcceptor({ keytab: both, now: () => NOW / 1000 })
    const all = { channelBindings: undefined, bindingsRequired: false }
    for (const token of [again(first), again(first)]) {
      expect(await codeOf(server.contextFor(all).step(token))).toBe('accepted')
    }
    expect(await codeOf(server.contextFor({ ...all, name: () => otherName }).step(again(first)))).toBe(
      'WRONG_PRINCIPAL',
    )
    expect(await codeOf(server.contextFor({ ...all, name: () => SERVICE }).step(again(first)))).toBe('accepted')
    await server.close()
  })

  test('a keytab from which the key has gone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'spnego-known-'))
    try {
      const file = join(folder, 'http.keytab')
      writeFileSync(file, KEYTAB.toBytes(), { mode: 0o600 })
      const first = mint(serviceKey)
      const server = openAcceptor({ keytab: file, now: () => NOW / 1000 })
      expect(await codeOf(server.createContext().step(again(first)))).toBe('accepted')
      expect(await codeOf(server.createContext().step(again(first)))).toBe('accepted')
      writeFileSync(file, keytab({ key: someKey(18) }, { key: someKey(18), kvno: 2 }).toBytes(), { mode: 0o600 })
      await expect.poll(() => codeOf(server.createContext().step(again(first)))).toBe('KEY_NOT_FOUND')
      await server.close()
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('an acceptor that was closed', async () => {
    const first = mint(serviceKey)
    const server = openAcceptor({ keytab: KEYTAB, now: () => NOW / 1000 })
    for (const token of [again(first), again(first)]) {
      expect(await codeOf(server.createContext().step(token))).toBe('accepted')
    }
    await server.close()
    expect(await codeOf(server.createContext().step(again(first)))).toBe('KEY_NOT_FOUND')
  })
})

/** A ticket as `verifyApReq` makes it. */
function openedOf({ credential }: Minted, keys: ServiceKeys): OpenedTicket {
  const { raw, encPart, sname, realm } = credential.ticket
  const [key] = keys.candidates(encPart.etype, encPart.kvno, sname, realm)
  if (key === undefined) throw new Error('no key')
  return new OpenedTicket(raw, decodeEncTicketPart(key.key.decrypt(KEY_USAGE.TICKET, encPart.cipher)), key)
}

describe('S99 what is remembered has bounds, an end and an owner', () => {
  const isDisposed = (key: Key) => expect(() => key.toBytes()).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
  const someTickets = (count: number, keys: ServiceKeys) =>
    Array.from({ length: count }, () => openedOf(mint(serviceKey), keys))

  test('in number: the one unused for longest goes', () => {
    const opened = new OpenedTickets(3)
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const [a, b, c, d] = someTickets(4, keys) as [OpenedTicket, OpenedTicket, OpenedTicket, OpenedTicket]
    for (const one of [a, b, c]) remember(keys, one)
    expect(keys.opened(a.raw)).toBe(a)
    remember(keys, d)
    expect([a, b, c, d].map((one) => keys.opened(one.raw) === one)).toEqual([true, false, true, true])
    expect(opened.size).toBe(3)
  })

  test('a ticket that was used goes too, when it was not used since it was passed over', () => {
    const opened = new OpenedTickets(2)
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const [used, ...others] = someTickets(5, keys) as [OpenedTicket, ...OpenedTicket[]]
    remember(keys, used)
    expect(keys.opened(used.raw)).toBe(used)
    for (const one of others.slice(0, 2)) remember(keys, one)
    expect(opened.size).toBe(2)
    for (const one of others.slice(2)) remember(keys, one)
    expect(keys.opened(used.raw)).toBeUndefined()
  })

  test('in octets, whatever the size of one', () => {
    const bytes = openedOf(mint(serviceKey), new ServiceKeys(KEYTAB, 'any', AES)).bytes
    const opened = new OpenedTickets(1000, 3 * bytes)
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    for (const one of someTickets(10, keys)) remember(keys, one)
    expect(opened.size).toBe(3)
    expect(opened.bytes).toBe(3 * bytes)
    const large = { authorizationData: [{ adType: 1, adData: new Uint8Array(3 * bytes) }] }
    remember(keys, openedOf(mint(serviceKey, { ticket: large }), keys))
    expect(opened.bytes).toBeLessThanOrEqual(3 * bytes)
  })

  test('by default 4 096 tickets in 32 MiB', () => {
    expect(MAX_OPENED_TICKETS).toBe(4096)
    expect(MAX_OPENED_BYTES).toBe(32 * 2 ** 20)
    const opened = new OpenedTickets()
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const one = openedOf(mint(serviceKey), keys)
    for (let i = 0; i < 5000; i++) {
      const raw = one.raw.slice()
      new DataView(raw.buffer).setUint32(raw.length - 4, i)
      remember(keys, new OpenedTicket(raw, one.part, one.serviceKey))
    }
    expect(opened.size).toBeLessThanOrEqual(MAX_OPENED_TICKETS)
    expect(opened.bytes).toBeLessThanOrEqual(MAX_OPENED_BYTES)
    expect(opened.size).toBeGreaterThan(2500)
  })

  test('a ticket at its end leaves, and one that has ended does not enter', () => {
    const opened = new OpenedTickets()
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const [ended, later] = [mint(serviceKey), mint(serviceKey, { ticket: { endtime: NOW + 3 * HOUR } })]
    for (const one of [ended, later]) remember(keys, openedOf(one, keys))
    expect(opened.size).toBe(2)
    remember(keys, openedOf(mint(serviceKey), keys), NOW + HOUR)
    expect(opened.size).toBe(1)
    expect(keys.opened(ended.credential.ticket.raw)).toBeUndefined()
    expect(keys.opened(later.credential.ticket.raw)).toBeDefined()
  })

  test('a ticket at its end leaves also when all that come are known, or come once', () => {
    const opened = new OpenedTickets()
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const [ended, later] = [mint(serviceKey), mint(serviceKey, { ticket: { endtime: NOW + 3 * HOUR } })]
    const known = openedOf(later, keys)
    remember(keys, openedOf(ended, keys))
    remember(keys, known)
    expect(opened.size).toBe(2)
    keys.remember(known, NOW + 2 * HOUR)
    expect(opened.size).toBe(1)
    remember(keys, openedOf(mint(serviceKey), keys))
    keys.remember(openedOf(mint(serviceKey), keys), NOW + 2 * HOUR)
    expect(opened.size).toBe(1)
  })

  test('one that would never fit puts nobody out', () => {
    const bytes = openedOf(mint(serviceKey), new ServiceKeys(KEYTAB, 'any', AES)).bytes
    const opened = new OpenedTickets(1000, 3 * bytes)
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    for (const one of someTickets(3, keys)) remember(keys, one)
    const large = { authorizationData: [{ adType: 1, adData: new Uint8Array(3 * bytes) }] }
    remember(keys, openedOf(mint(serviceKey, { ticket: large }), keys))
    expect(opened.size).toBe(3)
  })

  test('what was refused is not remembered', async () => {
    const opened = new OpenedTickets()
    const { context } = acceptor({ keytab: KEYTAB, opened })
    for (const bent of [
      { authenticatorKey: someKey(18) },
      { authenticator: { crealm: 'EVIL.TEST' } },
      { ticket: { endtime: NOW - SKEW - SECOND } },
      { ticket: { key: { keytype: 18, keyvalue: new Uint8Array(3) } } },
    ]) {
      expect(await codeOf(context().step(mint(serviceKey, bent).spnego))).not.toBe('accepted')
    }
    expect(opened.size).toBe(0)
  })

  test('its keys are overwritten when it leaves, when the keys that opened it go, and when nobody remembered it', () => {
    const opened = new OpenedTickets(1)
    const keys = new ServiceKeys(KEYTAB, 'any', AES, opened)
    const [first, second, third] = someTickets(3, keys) as [OpenedTicket, OpenedTicket, OpenedTicket]
    const isGone = (one: OpenedTicket, key: Key) => {
      isDisposed(key)
      expect(() => one.sessionKey).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
      expect(one.part.key.keyvalue.every((octet) => octet === 0)).toBe(true)
    }
    const [one, two, three] = [first.sessionKey, second.hold().sessionKey, third.sessionKey]
    for (const ticket of [first, second]) {
      expect(ticket.sessionKey.toBytes()).toEqual(ticket.part.key.keyvalue)
      remember(keys, ticket)
      ticket.release()
    }
    isGone(first, one)
    second.release()
    two.toBytes() // remembered
    keys.dispose()
    isGone(second, two)
    expect(opened.size).toBe(0)
    expect(opened.bytes).toBe(0)
    third.release()
    isGone(third, three)
  })

  test('of a ticket that one login was made with nothing stays but a mark', async () => {
    const opened = new OpenedTickets()
    const { context } = acceptor({ keytab: KEYTAB, opened })
    const dispose = vi.spyOn(Key.prototype, 'dispose')
    const tickets = Array.from({ length: 50 }, () => mint(serviceKey))
    for (const { spnego } of tickets) {
      const established = context()
      expect(await codeOf(established.step(spnego))).toBe('accepted')
      established.dispose()
    }
    expect(opened.size).toBe(0)
    expect(dispose.mock.contexts.length).toBe(tickets.length * 2) // of each the session key and our subkey
    for (const ticket of tickets) expect(await codeOf(context().step(again(ticket)))).toBe('accepted')
    expect(opened.size).toBe(tickets.length)
  })

  test('a ticket is copied when it is remembered: whose the octets were may do with them what he likes', async () => {
    const first = mint(serviceKey)
    const opened = new OpenedTickets()
    const { context } = acceptor({ keytab: KEYTAB, opened })
    for (const token of [again(first), again(first)]) {
      expect(await codeOf(context().step(token))).toBe('accepted')
      token.fill(0)
    }
    const decrypt = vi.spyOn(Key.prototype, 'decrypt')
    expect(await codeOf(context().step(again(first)))).toBe('accepted')
    expect(decrypt.mock.calls.map(([usage]) => usage)).toEqual([KEY_USAGE.AP_REQ_AUTHENTICATOR])
  })

  test('a context works on after its ticket was forgotten, and lets go of the session key at its own end', async () => {
    const opened = new OpenedTickets(1)
    const { context, rules } = acceptor({ keytab: KEYTAB, opened })
    const first = mint(serviceKey, ONE_WAY)
    const other = mint(serviceKey)
    await context().step(first.spnego)
    await context().step(other.spnego)
    const established = context()
    await established.step(againOneWay(first))
    const key = rules.keys.opened(first.credential.ticket.raw)?.sessionKey as Key
    await context().step(again(other))
    expect(rules.keys.opened(first.credential.ticket.raw)).toBeUndefined()
    expect(established.getMic(Uint8Array.of(1)).length).toBeGreaterThan(16)
    key.toBytes()
    established.dispose()
    isDisposed(key)
  })

  test('a context that is disposed while the replay store thinks holds nothing', async () => {
    let answer: ((verdict: 'fresh') => void) | undefined
    const opened = new OpenedTickets(1)
    const replayStore = { checkAndStore: () => new Promise<'fresh'>((resolve) => (answer = resolve)) }
    const { context, rules, keys } = acceptor({ keytab: KEYTAB, opened, replayStore })
    const first = mint(serviceKey, ONE_WAY)
    const before = context().step(first.spnego)
    answer?.('fresh')
    await before
    const one: NegotiateAcceptor = context()
    const step: Promise<Step> = one.step(againOneWay(first))
    const key = rules.keys.opened(first.credential.ticket.raw)?.sessionKey as Key
    one.dispose()
    keys.dispose()
    key.toBytes() // the step still needs it
    answer?.('fresh')
    expect(await codeOf(step)).toBe('CONTEXT_FAILED')
    isDisposed(key)
  })
})
