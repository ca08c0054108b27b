import { describe, expect, test, vi } from 'vitest'
import type { ReplayStore, SecurityContext } from '../../src/gss/context.ts'
import { Krb5Acceptor, Krb5Initiator } from '../../src/gss/krb5/index.ts'
import { SpnegoInitiator } from '../../src/gss/spnego/index.ts'
import { AES, ALICE, acceptor, codeOf, HOUR, keytab, mint, NOW, SERVICE, someKey, source } from './mint.ts'

/** The states of RFC 2743 §1.1.3, each context by itself: SPNEGO's own state would hide a hole in the mechanism's. */

const serviceKey = someKey(18)
const fresh: ReplayStore = { checkAndStore: () => 'fresh' }

function krb5Acceptor(replayStore: ReplayStore = fresh): Krb5Acceptor {
  const { rules } = acceptor({ keytab: keytab({ key: serviceKey }) })
  return new Krb5Acceptor({
    rules,
    replayStore,
    startedAt: NOW - HOUR,
    source: source(() => NOW),
    channelBindings: undefined,
  })
}

function krb5Initiator(): Krb5Initiator {
  const { credential } = mint(serviceKey)
  return new Krb5Initiator({
    credential,
    flags: ['mutual'],
    channelBindings: undefined,
    enctypes: AES,
    source: source(() => NOW),
  })
}

const initial: readonly [string, () => SecurityContext][] = [
  ['Krb5Acceptor', krb5Acceptor],
  ['Krb5Initiator', krb5Initiator],
  ['SpnegoInitiator', () => new SpnegoInitiator(krb5Initiator())],
]

describe('S05 accessors', () => {
  for (const [name, make] of initial) {
    test(`S05 ${name}: incomplete before the end, failed after dispose`, () => {
      const context = make()
      expect(() => context.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
      context.dispose()
      expect(() => context.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
    })
  }

  test('S05 a mechanism that is complete is no negotiation that is', async () => {
    const kerberos = krb5Acceptor()
    await kerberos.step(mint(serviceKey).raw)
    const negotiation = new SpnegoInitiator(kerberos)
    expect(() => negotiation.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' }))
    negotiation.dispose()
    expect(() => negotiation.peer).toThrow(expect.objectContaining({ code: 'CONTEXT_FAILED' }))
  })
})

describe('S04 steps', () => {
  test('S04 Krb5Acceptor: a failed context does no more work', async () => {
    const replayStore = { checkAndStore: vi.fn(() => 'fresh' as const) }
    const context = krb5Acceptor(replayStore)
    expect(await codeOf(context.step(Uint8Array.of(1)))).toBe('MALFORMED')
    expect(await codeOf(context.step(mint(serviceKey).raw))).toBe('CONTEXT_FAILED')
    expect(replayStore.checkAndStore).not.toHaveBeenCalled()
  })

  test('S04 Krb5Acceptor: a complete context takes no second token', async () => {
    const context = krb5Acceptor()
    await context.step(mint(serviceKey).raw)
    expect(await codeOf(context.step(mint(serviceKey).raw))).toBe('CONTEXT_FAILED')
    expect(context.peer.equals(ALICE)).toBe(true)
  })

  test('S04 Krb5Acceptor: disposed while the store thinks, it gives no answer', async () => {
    let answer: (verdict: 'fresh') => void = () => {}
    const context = krb5Acceptor({
      checkAndStore: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    const pending = codeOf(context.step(mint(serviceKey).raw))
    await new Promise((resolve) => setImmediate(resolve))
    context.dispose()
    answer('fresh')
    expect(await pending).toBe('CONTEXT_FAILED')
  })

  test('S04 SpnegoInitiator: disposed, it does not begin', async () => {
    const kerberos = krb5Initiator()
    const step = vi.spyOn(kerberos, 'step')
    const context = new SpnegoInitiator(kerberos)
    context.dispose()
    expect(await codeOf(context.step())).toBe('CONTEXT_FAILED')
    expect(step).not.toHaveBeenCalled()
  })

  test('S04 SpnegoInitiator: disposed while its mechanism thinks, it gives no token', async () => {
    const kerberos = krb5Initiator()
    const context = new SpnegoInitiator(kerberos)
    vi.spyOn(kerberos, 'step').mockImplementation(async () => {
      context.dispose()
      return { token: Uint8Array.of(1), complete: false }
    })
    expect(await codeOf(context.step())).toBe('CONTEXT_FAILED')
  })

  test('a context of the right service completes', async () => {
    const initiator = krb5Initiator()
    const { token } = await initiator.step()
    const answer = await krb5Acceptor().step(token)
    await initiator.step(answer.token)
    expect(initiator.complete && initiator.peer.equals(SERVICE)).toBe(true)
  })
})
