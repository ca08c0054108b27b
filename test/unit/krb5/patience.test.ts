import { describe, expect, test } from 'vitest'
import { KerberosError, malformed, NetworkError } from '../../../src/errors.ts'
import { type Inquiry, RealmSender, type Transport, type TransportOptions } from '../../../src/krb5/client.ts'
import { Krb5Config } from '../../../src/krb5/formats/index.ts'
import { DEAD_FOR_MS, PATIENCE_MS } from '../../../src/krb5/patience.ts'

/** Every step is made by the test: no clock runs, no socket is opened. */

const REALM = 'EXAMPLE.TEST'
const ANSWER = Uint8Array.of(42)

interface Pending {
  readonly name: string
  readonly options: TransportOptions
  /** As a transport does when there is a connection. */
  write(): void
  answer(bytes?: Uint8Array): void
  fail(error: unknown): void
}

function bench(...kdcs: readonly string[]) {
  const pending = new Map<string, Pending>()
  const begun: string[] = []
  const clock = { now: 0 }
  const transport: Transport = {
    exchange(to, protocol, message, options) {
      const name = `${protocol}/${to.host}`
      begun.push(name)
      return new Promise((resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(options.signal?.reason))
        pending.set(name, {
          name,
          options,
          write: () => void (typeof message === 'function' && message(Uint8Array.of(127, 0, 0, 1))),
          answer: (bytes = ANSWER) => resolve(bytes),
          fail: reject,
        })
      })
    },
  }
  const sender = new RealmSender({
    transport,
    monotonic: () => clock.now,
    locator: { services: async () => [] },
    source: { now: () => 0, random: (length) => new Uint8Array(length) },
  })
  const lines = (key: string) => kdcs.map((kdc) => ` ${key} = ${kdc}`).join('\n')
  const config = Krb5Config.parse(`[realms]\n ${REALM} = {\n${lines('kdc')}\n${lines('kpasswd_server')}\n }\n`)
  let made = 0
  const inquiry = (service: Inquiry['service']): Inquiry => ({
    service,
    realm: REALM,
    message: service === 'kdc' ? Uint8Array.of(1) : () => Uint8Array.of(++made),
    length: 10_000,
    isReply: () => true,
    isAnswer: (bytes) => bytes[0] === ANSWER[0],
  })
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
  return {
    begun,
    clock,
    messages: () => made,
    /** The attempt that began over a transport at a host. */
    at(name: string): Pending {
      const found = pending.get(name)
      if (found === undefined) throw new Error(`${name} has not begun: ${begun}`)
      return found
    },
    async send(service: Inquiry['service'] = 'kdc', signal?: AbortSignal) {
      const result = sender.send(config, inquiry(service), { at: clock.now + 10_000, signal })
      result.catch(() => {})
      await settled()
      return { result }
    },
    async step(act: () => void) {
      act()
      await settled()
    },
  }
}

describe('K60 a server that is silent', () => {
  test('after its patience the next address begins; the late answer of the first still counts', async () => {
    const { send, step, at, begun } = bench('one', 'two')
    const { result } = await send()
    expect(begun).toEqual(['tcp/one'])
    expect(at('tcp/one').options).toMatchObject({ silentAfterMs: PATIENCE_MS, timeoutMs: 10_000 })
    await step(() => at('tcp/one').options.onSilent?.())
    expect(begun).toEqual(['tcp/one', 'tcp/two'])
    expect(at('tcp/one').options.signal?.aborted).toBe(false)
    at('tcp/one').answer()
    expect(await result).toEqual(ANSWER)
    expect(at('tcp/two').options.signal?.aborted).toBe(true)
  })

  test('at the only address UDP joins while TCP goes on, and both have the whole deadline', async () => {
    const { send, step, at, begun, clock } = bench('one')
    const { result } = await send()
    clock.now = PATIENCE_MS
    await step(() => at('tcp/one').options.onSilent?.())
    expect(begun).toEqual(['tcp/one', 'udp/one'])
    expect(at('udp/one').options.timeoutMs).toBe(10_000 - PATIENCE_MS)
    await step(() => at('udp/one').options.onSilent?.())
    expect([at('tcp/one'), at('udp/one')].map(({ options }) => options.signal?.aborted)).toEqual([false, false])
    clock.now = 9_999
    at('tcp/one').answer()
    expect(await result).toEqual(ANSWER)
  })

  test('an address with one transport has the whole deadline', async () => {
    const { send, step, at, begun } = bench('tcp/one')
    const { result } = await send()
    await step(() => at('tcp/one').options.onSilent?.())
    expect(begun).toEqual(['tcp/one'])
    at('tcp/one').answer()
    expect(await result).toEqual(ANSWER)
  })

  test('each has its turn once, and the error names all', async () => {
    const { send, step, at, begun } = bench('one', 'two')
    const { result } = await send()
    for (const name of ['tcp/one', 'tcp/two', 'udp/two', 'udp/one']) {
      await step(() => at(name).options.onSilent?.())
      await step(() => at(name).options.onSilent?.()) // told twice: nothing more begins
    }
    expect(begun).toEqual(['tcp/one', 'tcp/two', 'udp/two', 'udp/one'])
    for (const name of begun) await step(() => at(name).fail(new NetworkError('KDC_TIMEOUT', `none of ${name}`)))
    await expect(result).rejects.toThrow(/one:88 \(tcp\): none of tcp\/one; .*two:88 \(udp\).*one:88 \(udp\)/)
  })

  test('is remembered for a minute, by host and transport', async () => {
    const { send, step, at, begun, clock } = bench('one')
    const first = await send()
    await step(() => at('tcp/one').options.onSilent?.())
    at('udp/one').answer()
    await first.result
    begun.length = 0
    const second = await send()
    expect(begun).toEqual(['udp/one'])
    at('udp/one').answer()
    await second.result
    clock.now += DEAD_FOR_MS + 1
    begun.length = 0
    await send()
    expect(begun).toEqual(['tcp/one'])
  })

  test('one that fails is not waited for', async () => {
    const { send, step, at, begun } = bench('one', 'two')
    const { result } = await send()
    await step(() => at('tcp/one').fail(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })))
    expect(begun).toEqual(['tcp/one', 'tcp/two'])
    at('tcp/two').answer()
    await result
  })

  test('an abort ends all attempts', async () => {
    const { send, step, at } = bench('one', 'two')
    const controller = new AbortController()
    const { result } = await send('kdc', controller.signal)
    await step(() => at('tcp/one').options.onSilent?.())
    controller.abort(new Error('enough'))
    await expect(result).rejects.toMatchObject({ code: 'ABORTED' })
    expect([at('tcp/one'), at('tcp/two')].every(({ options }) => options.signal?.aborted)).toBe(true)
  })
})

describe('K63 an answer that is no Kerberos', () => {
  test('the other transport of the same host, for its patience alone; then the next host', async () => {
    const { send, step, at, begun } = bench('one', 'two')
    const { result } = await send()
    await step(() => at('tcp/one').answer(Uint8Array.of(1)))
    expect(begun).toEqual(['tcp/one', 'udp/one'])
    expect(at('udp/one').options.timeoutMs).toBe(PATIENCE_MS)
    await step(() => at('udp/one').options.onSilent?.())
    expect(begun).toEqual(['tcp/one', 'udp/one', 'tcp/two'])
    at('tcp/two').answer()
    expect(await result).toEqual(ANSWER)
  })

  test('the error names address and answer, and has a hint for it', async () => {
    const { send, step, at } = bench('one')
    const { result } = await send()
    await step(() => at('tcp/one').fail(new NetworkError('KDC_REPLY_TOO_LONG', 'sent an answer in HTTP')))
    await step(() => at('udp/one').fail(new NetworkError('KDC_TIMEOUT', 'no answer in time')))
    const error = await result.catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(KerberosError)
    expect(error).toMatchObject({
      code: 'KDC_REPLY_TOO_LONG',
      message: expect.stringMatching(/one:88 \(tcp\): sent an answer in HTTP; one:88 \(udp\): no answer/),
      hint: expect.stringContaining('one:88 (tcp)'),
    })
  })
})

describe('K61 a message that changes something', () => {
  test('goes to no other server or transport once it was written, however long the answer takes', async () => {
    const { send, step, at, begun, messages } = bench('one', 'two')
    const { result } = await send('kpasswd')
    await step(() => at('tcp/one').write())
    await step(() => at('tcp/one').options.onSilent?.())
    expect(at('tcp/one').options.signal?.aborted).toBe(false)
    at('tcp/one').answer()
    expect(await result).toEqual(ANSWER)
    expect([begun, messages()]).toEqual([['tcp/one'], 1])
  })

  for (const [what, error] of [
    ['no answer', new NetworkError('KDC_TIMEOUT', 'no answer in time')],
    ['a connection that is closed', new NetworkError('KDC_UNREACHABLE', 'closed the connection')],
    ['an answer that is none', malformed('neither')],
  ] as const) {
    test(`${what}: KDC_TIMEOUT, and either password may count`, async () => {
      const { send, step, at, begun } = bench('one', 'two')
      const { result } = await send('kpasswd')
      await step(() => at('tcp/one').write())
      await step(() => at('tcp/one').fail(error))
      await expect(result).rejects.toMatchObject({ code: 'KDC_TIMEOUT', hint: expect.stringContaining('Either') })
      expect(begun).toEqual(['tcp/one'])
    })
  }

  test('refused connections: the next, as nothing was written', async () => {
    const { send, step, at, begun } = bench('one', 'two')
    const { result } = await send('kpasswd')
    await step(() => at('tcp/one').fail(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })))
    expect(begun).toEqual(['tcp/one', 'tcp/two'])
    await step(() => at('tcp/two').write())
    at('tcp/two').answer()
    expect(await result).toEqual(ANSWER)
  })
})

describe('K62 a message that changes something, and no connection', () => {
  test('the attempt ends before the next one begins; the last one has the whole deadline', async () => {
    const { send, step, at, begun } = bench('one')
    const { result } = await send('kpasswd')
    await step(() => at('tcp/one').options.onSilent?.())
    expect(at('tcp/one').options.signal?.aborted).toBe(true)
    expect(begun).toEqual(['tcp/one', 'udp/one'])
    await step(() => at('udp/one').options.onSilent?.())
    expect(at('udp/one').options.signal?.aborted).toBe(false)
    await step(() => at('udp/one').write())
    at('udp/one').answer()
    expect(await result).toEqual(ANSWER)
  })
})
