import { Readable, Stream } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type NegotiateInterceptorOptions, negotiateInterceptor } from '../../../src/entries/undici.ts'
import { NEG_STATE } from '../../../src/gss/spnego/tokens.ts'
import { opened, proofFor, response } from '../../hostile/forge.ts'
import { CHALLENGE, errorOf, eventually, type Script, Site, World } from '../http-client/site.ts'
import { LANES, reasonOf } from './undici-lanes.ts'

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (options: Partial<NegotiateInterceptorOptions> = {}) =>
  negotiateInterceptor({ credentials: world.alice, ...options })
const bytes = (text: string) => new TextEncoder().encode(text)
const PARTS = ['first ', 'second ', 'third']
const WHOLE = PARTS.join('')

async function* generated() {
  for (const part of PARTS) yield bytes(part)
}
function filled<T extends { append(name: string, value: string | Blob, file?: string): void }>(form: T): T {
  form.append('name', 'value')
  form.append('file', new Blob(['contents'], { type: 'text/x' }), 'f.txt')
  return form
}

/** Bodies of every undici, each of which is whole twice. */
const KINDS: readonly (readonly [kind: string, make: () => unknown])[] = [
  ['text', () => WHOLE],
  ['bytes', () => bytes(WHOLE)],
  ['a view of a part', () => bytes(`x${WHOLE}x`).subarray(1, WHOLE.length + 1)],
  ['ArrayBuffer', () => bytes(WHOLE).buffer],
  ['Blob', () => new Blob([WHOLE])],
  ['async generator', generated],
  ['ReadableStream', () => new Blob([WHOLE]).stream()],
]
/** Those that fetch does not take, or means something else by. */
const MORE: typeof KINDS = [
  ['Readable', () => Readable.from(PARTS.map(bytes))],
  ['Readable of text', () => Readable.from(PARTS)],
  ['iterable', () => new Set(PARTS)],
  ['list', () => PARTS.map(bytes)],
  ['stream of the old kind', oldStream],
]

/** As npm's form-data is one: no iterator. */
function oldStream(): Stream {
  const stream = Object.assign(new Stream(), { readable: true, pause() {}, resume() {} })
  void setTimeout(1).then(() => {
    for (const part of PARTS) stream.emit('data', Buffer.from(part))
    stream.emit('end')
  })
  return stream
}

/** A body that notices its end. */
function watched(size: number, delayMs = 0) {
  const seen: { given: number; error: unknown } = { given: 0, error: undefined }
  const stream = new Readable({
    async read() {
      if (delayMs > 0) await setTimeout(delayMs)
      if (seen.given >= size) return void this.push(null)
      seen.given += 1000
      this.push(Buffer.alloc(1000, 97))
    },
    destroy(error, done) {
      seen.error = error
      done(error)
    },
  })
  return { stream, seen }
}

/** Wants another token after the first. */
const insatiable: Script = async ({ token }) => {
  if (token === undefined) return CHALLENGE
  const responseToken = proofFor(opened(token, world.realm.keytab('HTTP/localhost')))
  const more = response({ negState: NEG_STATE.REQUEST_MIC, responseToken })
  return { status: 401, headers: { 'www-authenticate': `Negotiate ${more}` } }
}

describe.each(LANES)('$name', ({ client, isFetch, Form }) => {
  test.each(isFetch ? KINDS : [...KINDS, ...MORE])('C11: %s arrives whole, twice', async (_, make) => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice())
    expect((await ours.send(site.url, { method: 'POST', body: make() })).status).toBe(200)
    expect(site.seen.map(({ body }) => body)).toEqual([WHOLE, WHOLE])
    expect(site.seen.map(({ headers }) => headers['content-length'])).toEqual(Array(2).fill(String(WHOLE.length)))
  })

  test('C11: a form arrives whole, twice, with the type that has its boundary', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice())
    expect((await ours.send(site.url, { method: 'POST', body: filled(new Form()) })).status).toBe(200)
    expect(site.seen.length).toBe(2)
    for (const { headers, body } of site.seen) {
      const type = headers['content-type'] ?? ''
      const parsed = await new Response(Buffer.from(body, 'latin1'), { headers: { 'content-type': type } }).formData()
      expect(parsed.get('name')).toBe('value')
      expect(await (parsed.get('file') as File).text()).toBe('contents')
    }
  })

  test('C11: bytes that the caller changes after the call', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ preemptive: true }))
    const body = bytes(WHOLE)
    const answer = ours.send(site.url, { method: 'POST', body })
    body.fill(120)
    await answer
    expect(site.seen.map((seen) => seen.body)).toEqual([WHOLE])
  })

  test('C11: over the bound it goes once, with a token', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ maxReplayBodyBytes: 8 }))
    expect((await ours.send(site.url, { method: 'POST', body: generated() })).status).toBe(200)
    expect(site.seen.map(({ body }) => body)).toEqual([WHOLE])
    expect(site.tokens.length).toBe(1)
  })

  test('C11: over the bound, and the server still asks: an error, and nothing is sent a second time', async () => {
    await using site = await Site.start(insatiable)
    await using ours = client(alice({ maxReplayBodyBytes: 8 }))
    const error = reasonOf(await errorOf(ours.send(site.url, { method: 'POST', body: generated() })))
    expect(error).toMatchObject({ name: 'UsageError', code: 'BODY_NOT_REPLAYABLE' })
    expect(site.seen.map(({ body }) => body)).toEqual([WHOLE])
  })

  test('C11: over the bound, without a ticket: it goes once, and the 401 is delivered', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    await using ours = client(alice({ maxReplayBodyBytes: 8, service: 'unknown' }))
    const answer = await ours.send(site.url, { method: 'POST', body: generated() })
    expect([answer.status, await answer.text()]).toEqual([401, 'who are you?'])
    expect(site.seen.map(({ body, token }) => [body, token])).toEqual([[WHOLE, undefined]])
  })

  test('C11: a long body of a Readable arrives whole, once', async () => {
    await using site = await Site.start(world.honest(({ body }) => ({ body: String(body.length) })))
    await using ours = client(alice())
    const { stream, seen } = watched(4_000_000)
    const answer = await ours.send(site.url, { method: 'POST', body: stream })
    expect(await answer.text()).toBe('4000000')
    expect([seen.given, seen.error, site.seen.length]).toEqual([4_000_000, null, 1])
  })

  test('C11: a body that fails is the error, and nothing of it is sent', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice())
    const reason = new Error('disk full')
    const failing = async function* () {
      yield bytes('first ')
      throw reason
    }
    expect(reasonOf(await errorOf(ours.send(site.url, { method: 'POST', body: failing() })))).toBe(reason)
    expect(site.seen).toEqual([])
  })

  test('C11: a long body that fails on its way is the error', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ maxReplayBodyBytes: 4 }))
    const reason = new Error('disk full')
    const failing = async function* () {
      yield bytes(WHOLE)
      await setTimeout(20)
      throw reason
    }
    expect(reasonOf(await errorOf(ours.send(site.url, { method: 'POST', body: failing() })))).toBe(reason)
    expect(site.seen).toEqual([])
  })

  test('a body of something else than bytes is an error', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice())
    const wrong = async function* () {
      yield 7
    }
    expect(reasonOf(await errorOf(ours.send(site.url, { method: 'POST', body: wrong() })))).toBeInstanceOf(TypeError)
    expect(site.seen).toEqual([])
  })

  test('a content-length of the caller must agree', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice())
    const send = (length: number) =>
      ours.send(site.url, { method: 'POST', body: generated(), headers: { 'content-length': String(length) } })
    expect((await send(WHOLE.length)).status).toBe(200)
    expect(site.seen.map(({ body }) => body)).toEqual([WHOLE, WHOLE])
    if (isFetch) return
    expect(await errorOf(send(3))).toMatchObject({ code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' })
    expect(site.seen.length).toBe(2)
  })
})

// fetch itself reads on, for nobody, and cannot be stopped from here.
describe.each(LANES.filter(({ isFetch }) => !isFetch))('$name', ({ client }) => {
  test('C13: a body that stalls is ended by the caller, and let go', async () => {
    await using site = await Site.start(world.honest())
    for (const most of [1_000_000, 4]) {
      await using ours = client(alice({ maxReplayBodyBytes: most }))
      const reason = new Error('enough')
      const controller = new AbortController()
      const { stream, seen } = watched(Number.POSITIVE_INFINITY, 20)
      const sent = errorOf(ours.send(site.url, { method: 'POST', body: stream, signal: controller.signal }))
      await setTimeout(70)
      controller.abort(reason)
      expect(await sent).toBe(reason)
      await eventually(() => stream.destroyed)
      expect(stream.destroyed).toBe(true)
      const { given } = seen
      await setTimeout(60)
      expect(seen.given).toBeLessThanOrEqual(given + 1000)
    }
    expect(site.seen).toEqual([])
  })

  test('C13: a server that goes away lets go of a long body', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ maxReplayBodyBytes: 4 }))
    const { stream } = watched(Number.POSITIVE_INFINITY, 5)
    const sent = errorOf(ours.send(site.url, { method: 'POST', body: stream }))
    await eventually(() => site.connections > 0)
    await site[Symbol.asyncDispose]()
    expect(reasonOf(await sent)).toMatchObject({ code: expect.stringMatching(/UND_ERR_SOCKET|ECONNRESET|EPIPE/) })
    await eventually(() => stream.destroyed)
    expect(stream.destroyed).toBe(true)
  })
})
