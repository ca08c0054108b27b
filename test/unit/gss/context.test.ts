import { describe, expect, test } from 'vitest'
import type { ReplayStore, SecurityContext, Step } from '../../../src/gss/context.ts'
import { Krb5Acceptor, Krb5Initiator } from '../../../src/gss/krb5/index.ts'
import { SpnegoInitiator } from '../../../src/gss/spnego/index.ts'
import { encodeNegTokenResp } from '../../../src/gss/spnego/tokens.ts'
import { MemoryReplayStore } from '../../../src/krb5/exchange/index.ts'
import { AES, ALICE, acceptor, codeOf, keytab, mint, NOW, someKey, source } from '../../hostile/mint.ts'

const serviceKey = someKey(18)
const { rules } = acceptor({ keytab: keytab({ key: serviceKey }) })
const failed = expect.objectContaining({ code: 'CONTEXT_FAILED' })
const incomplete = expect.objectContaining({ code: 'CONTEXT_INCOMPLETE' })

function krb5(
  replayStore: ReplayStore = new MemoryReplayStore({ monotonic: () => 0, now: () => NOW / 1000 }),
): Krb5Acceptor {
  return new Krb5Acceptor(
    () => ({
      rules,
      replayStore,
      delegation: false,
      startedAt: NOW,
      source: source(() => NOW),
    }),
    { channelBindings: undefined, bindingsRequired: false },
  )
}

describe('a Kerberos context by itself', () => {
  test('S04 takes no token after it completed, and stays complete', async () => {
    const one = krb5()
    await one.step(mint(serviceKey).raw)
    expect(await codeOf(one.step(mint(serviceKey).raw))).toBe('CONTEXT_FAILED')
    expect(one.peer.equals(ALICE)).toBe(true)
  })

  test('S04 takes no token after it failed or was disposed', async () => {
    const one = krb5()
    expect(await codeOf(one.step(new Uint8Array(3)))).toBe('MALFORMED')
    expect(await codeOf(one.step(mint(serviceKey).raw))).toBe('CONTEXT_FAILED')
    const store = new MemoryReplayStore({ monotonic: () => 0, now: () => NOW / 1000 })
    const two = krb5(store)
    two.dispose()
    expect(await codeOf(two.step(mint(serviceKey).raw))).toBe('CONTEXT_FAILED')
    expect(store.size).toBe(0) // the token was not even looked at
    two.dispose()
    expect(two.complete).toBe(false)
  })

  test('S04 never completes when it is disposed on the way', async () => {
    let answer: (verdict: 'fresh') => void = () => {}
    const one = krb5({
      checkAndStore: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    const pending = codeOf(one.step(mint(serviceKey).raw))
    await new Promise((resolve) => setImmediate(resolve))
    one.dispose()
    answer('fresh')
    expect(await pending).toBe('CONTEXT_FAILED')
    expect(() => one.peer).toThrow(failed)
  })

  test('S05 tells nothing before the end, nor after a failure', async () => {
    const one = krb5()
    for (const read of [() => one.peer, () => one.flags, () => one.expiresAt, () => one.getMic(new Uint8Array(0))]) {
      expect(read).toThrow(incomplete)
    }
    one.dispose()
    for (const read of [() => one.peer, () => one.flags, () => one.expiresAt, () => one.getMic(new Uint8Array(0))]) {
      expect(read).toThrow(failed)
    }
  })

  test('S04 an initiator that was disposed sends nothing', async () => {
    const { credential } = mint(serviceKey)
    const options = { credential, flags: [], channelBindings: undefined, enctypes: AES, source: source(() => NOW) }
    const one = new Krb5Initiator(options)
    one.dispose()
    expect(await codeOf(one.step())).toBe('CONTEXT_FAILED')
    // Without mutual authentication one token is all there is.
    const two = new Krb5Initiator(options)
    expect((await two.step()).complete).toBe(true)
    expect(await codeOf(two.step())).toBe('CONTEXT_FAILED')
  })
})

describe('SPNEGO over a mechanism that never says no', () => {
  /** Complete from the start, whatever happens to it. */
  function careless(step: () => Promise<Step>): SecurityContext {
    return { step, complete: true, peer: ALICE, dispose: () => {} } as unknown as SecurityContext
  }
  const yes = encodeNegTokenResp({ negState: 0 })

  test('S04 is not complete when it was disposed on the way', async () => {
    let answer: (step: Step) => void = () => {}
    const mechanism = careless(
      () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    )
    const one = new SpnegoInitiator(mechanism)
    const pending = codeOf(one.step())
    one.dispose()
    answer({ token: undefined, complete: true })
    expect(await pending).toBe('CONTEXT_FAILED')
    expect(one.complete).toBe(false)
  })

  test('S04 S05 tells nothing before the end, nor after a failure', async () => {
    const mechanism = careless(async () => ({ token: undefined, complete: true }))
    const one = new SpnegoInitiator(mechanism)
    expect(() => one.peer).toThrow(incomplete)
    await one.step()
    expect(() => one.peer).toThrow(incomplete)
    await one.step(yes)
    expect(one.peer.equals(ALICE)).toBe(true)
    one.dispose()
    expect(() => one.peer).toThrow(failed)
    expect(await codeOf(one.step(yes))).toBe('CONTEXT_FAILED')
  })
})
