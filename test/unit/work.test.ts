/**
 * How much work a login is, in counts: objects of Node made, derivations, decryptions, messages to the KDC. A time would depend on the machine; when
 * a count rises, something that was kept is being made again.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test, vi } from 'vitest'
import { Key } from '../../src/crypto/index.ts'
import { createAcceptor, createInitiator, KerberosClient } from '../../src/entries/index.ts'
import { TestRealm } from '../../src/entries/testing.ts'

const made = vi.hoisted(() => ({ ciphers: 0, hashes: 0, hmacs: 0, oneShots: 0 }))

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>()
  const counting =
    <A extends unknown[], R>(what: keyof typeof made, make: (...args: A) => R) =>
    (...args: A): R => {
      made[what]++
      return make(...args)
    }
  return {
    ...real,
    createCipheriv: counting('ciphers', real.createCipheriv),
    createDecipheriv: counting('ciphers', real.createDecipheriv),
    createHash: counting('hashes', real.createHash),
    createHmac: counting('hmacs', real.createHmac),
    hash: counting('oneShots', real.hash),
  }
})

/** Arrays that V8 keeps outside of its heap, at a microsecond or more each: those of more than 64 octets that are no view. Node's own do not count. */
async function arraysOf(run: () => Promise<unknown>): Promise<number> {
  const Real = globalThis.Uint8Array
  let large = 0
  const counted = new Proxy(Real, {
    construct(target, given, newTarget) {
      const array = Reflect.construct(target, given, newTarget === counted ? target : newTarget) as Uint8Array
      if (!(given[0] instanceof ArrayBuffer) && array.length > 64) large++
      return array
    },
  })
  globalThis.Uint8Array = counted
  try {
    await run()
  } finally {
    globalThis.Uint8Array = Real
  }
  return large
}

const families = [
  { name: 'AES-SHA1', enctypes: [18] },
  { name: 'AES-SHA2', enctypes: [20] },
]

/** What is made while this runs, and how many tickets are decrypted (key usage 2, RFC 4120 §7.5.1) and usages derived meanwhile. */
async function workOf(run: () => Promise<unknown>) {
  const before = { ...made }
  const decrypt = vi.spyOn(Key.prototype, 'decrypt')
  const derive = vi.spyOn(Key.prototype, 'derive')
  await run()
  const tickets = decrypt.mock.calls.filter(([usage]) => usage === 2).length
  const derivations = derive.mock.calls.flat().length
  vi.restoreAllMocks()
  const { ciphers, hashes, hmacs, oneShots } = made
  return {
    ciphers: ciphers - before.ciphers,
    hashObjects: hashes - before.hashes + hmacs - before.hmacs,
    digests: oneShots - before.oneShots,
    tickets,
    derivations,
  }
}

describe.each(families)('$name', ({ name, enctypes }) => {
  const target = 'HTTP/localhost'

  /** A realm, an acceptor and a client's tokens; a new client has a new ticket. */
  async function lab() {
    const realm = await TestRealm.start({ users: { alice: 'secret' }, services: [target], enctypes })
    const acceptor = await createAcceptor({ keytab: realm.keytab(target) })
    const initiators = async () => {
      const credentials = await realm.login('alice')
      return () => createInitiator({ target, credentials, config: realm.config })
    }
    const accept = async (token: Uint8Array | undefined) => {
      const context = acceptor.createContext()
      const step = await context.step(token)
      expect(step.complete).toBe(true)
      context.dispose()
      return step.token
    }
    const end = async () => {
      await acceptor.close()
      await realm.stop()
    }
    return { initiators, accept, [Symbol.asyncDispose]: end }
  }

  test('accept: with a ticket that is new, and with one that is known', async () => {
    await using here = await lab()
    const { initiators, accept } = here
    await accept((await (await (await initiators())()).step()).token) // the service's own key is derived

    const initiator = await initiators()
    const token = async () => (await (await initiator()).step()).token
    const [first, second, third] = [await token(), await token(), await token()]
    // New: the authenticator's decryption and the answer's encryption; AES-SHA1 derives by encryption, AES-SHA2 by HMAC.
    const isSha1 = name === 'AES-SHA1'
    expect(await workOf(() => accept(first))).toEqual({
      ciphers: isSha1 ? 3 : 2,
      hashObjects: 0,
      digests: isSha1 ? 7 : 15, // three MACs of two digests, and the replay key; four keys derived by MACs
      tickets: 1,
      derivations: 2,
    })
    // A ticket that comes a second time is kept, with what was derived; from the third time on it is known.
    expect(await workOf(() => accept(second))).toMatchObject({ tickets: 1, derivations: 2 })
    expect(await workOf(() => accept(third))).toEqual({
      ciphers: 0,
      hashObjects: 0,
      digests: 5,
      tickets: 0,
      derivations: 0,
    })
  })

  test('accept and initiate make one large array: the token', async () => {
    await using here = await lab()
    const { initiators, accept } = here
    await accept((await (await (await initiators())()).step()).token)
    const initiator = await initiators()
    const tokens = [await initiator(), await initiator(), await initiator()].map((one) => one.step())
    // The token, which is the caller's own; the second time the ticket, to be known from then on.
    const expected = [1, 2, 1]
    for (const [login, { token }] of (await Promise.all(tokens)).entries()) {
      const made = await arraysOf(() => accept(token))
      expect([0, 1], 'a store of random octets may end at any time').toContain(made - (expected[login] as number))
    }
    const accepted = []
    const initiated = []
    for (let i = 0; i < 10; i++) {
      const { token } = await (await initiator()).step()
      accepted.push(await arraysOf(() => accept(token)))
      initiated.push(await arraysOf(async () => (await initiator()).step()))
    }
    expect([Math.min(...accepted), Math.min(...initiated)]).toEqual([1, 1])
  })

  test('initiate with a ticket that is there, and check the answer', async () => {
    await using here = await lab()
    const { initiators, accept } = here
    const initiator = await initiators()
    const dialogue = async () => {
      const context = await initiator()
      const { token } = await context.step()
      return { context, answer: await accept(token) }
    }
    const first = await dialogue()
    await first.context.step(first.answer)
    const { context, answer } = await dialogue()
    const none = { ciphers: 0, hashObjects: 0, tickets: 0, derivations: 0 }
    expect(await workOf(() => context.step(answer))).toEqual({ ...none, digests: 2 })
    const again = await initiator()
    expect(await workOf(() => again.step())).toEqual({ ...none, digests: 2 })
  })
})

test('one exchange for one ticket, however many wait for it', async () => {
  await using realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/localhost'] })
  const credentials = await realm.login('alice')
  const client = new KerberosClient({ credentials, config: realm.config })
  let messages = 0
  const count = () => void messages++
  subscribe('spnego:kdc', count)
  await Promise.all(Array.from({ length: 200 }, () => client.getTicket('HTTP/localhost')))
  for (let i = 0; i < 50; i++)
    await (await createInitiator({ target: 'HTTP/localhost', credentials, config: realm.config })).step()
  unsubscribe('spnego:kdc', count)
  expect(messages).toBe(1)
})
