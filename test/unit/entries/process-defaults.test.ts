import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { toBase64 } from '../../../src/bytes/base64.ts'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { createAcceptor, createInitiator, MemoryReplayStore } from '../../../src/entries/index.ts'
import {
  createNegotiateServer,
  type Identity,
  type NegotiateRequest,
  type NegotiateServerOptions,
} from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { openServer } from '../../../src/entries/wiring/negotiate-core.ts'

/** What the servers of one process share. */

let realm: TestRealm
beforeAll(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret' }, services: ['HTTP/web.test', 'HTTP/wiki.test'] })
})
afterAll(() => realm.stop())
beforeEach(() => {
  Reflect.deleteProperty(globalThis, Symbol.for('spnego.process-defaults.1'))
})

async function tokenFor(host = 'web.test'): Promise<Uint8Array> {
  const credentials = await realm.login('alice')
  const initiator = await createInitiator({ target: `HTTP@${host}`, credentials, config: realm.config })
  return (await initiator.step()).token as Uint8Array
}

function request(fields: Record<string, string>): NegotiateRequest {
  return { method: 'GET', url: '/', headers: { host: 'web.test', ...fields }, secure: true }
}

async function carrying(token: Uint8Array): Promise<NegotiateRequest> {
  return request({ authorization: `Negotiate ${toBase64(token)}` })
}

const guard = (options: NegotiateServerOptions = {}) =>
  createNegotiateServer({ keytab: realm.keytab('HTTP/web.test'), ...options })

async function reasonOf(decision: Promise<{ kind: string; reason?: string | undefined }>): Promise<string> {
  const { kind, reason } = await decision
  return reason ?? kind
}

function cookieOf(decision: object): string {
  const { headers } = decision as { headers: readonly (readonly [string, string])[] }
  return headers.find(([name]) => name === 'Set-Cookie')?.[1].split(';')[0] ?? ''
}

describe('S40 one replay cache', () => {
  test('a token that one guard accepted is a replay at every other', async () => {
    const asked = await carrying(await tokenFor())
    expect(await reasonOf(guard().authenticate(asked))).toBe('accepted')
    expect(await reasonOf(guard().authenticate(asked))).toBe('REPLAY')
    const acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/web.test') })
    const again = acceptor.createContext().step(await tokenOf(asked))
    await expect(again).rejects.toMatchObject({ code: 'REPLAY' })
  })

  test('nor does a second copy of the package accept it', async () => {
    const asked = await carrying(await tokenFor())
    expect(await reasonOf(guard().authenticate(asked))).toBe('accepted')
    vi.resetModules()
    const copy = await import('../../../src/entries/server.ts')
    const { Keytab } = await import('../../../src/entries/index.ts')
    expect(copy.createNegotiateServer).not.toBe(createNegotiateServer)
    const keytab = Keytab.parse(realm.keytab('HTTP/web.test').toBytes())
    expect(await reasonOf(copy.createNegotiateServer({ keytab }).authenticate(asked))).toBe('REPLAY')
  })

  test('a guard that begins later takes tokens from before its own start, and not from before the cache’s', async () => {
    guard()
    const asked = await carrying(await tokenFor())
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => performance.timeOrigin + performance.now() + 30_000)
    try {
      expect(await reasonOf(guard().authenticate(asked))).toBe('accepted')
      Reflect.deleteProperty(globalThis, Symbol.for('spnego.process-defaults.1'))
      expect(await reasonOf(guard().authenticate(asked))).toBe('BEFORE_START')
    } finally {
      clock.mockRestore()
    }
  })

  test('acceptors with clocks of their own are apart; a store that is given is used', async () => {
    const token = await tokenFor()
    const keytab = realm.keytab('HTTP/web.test')
    const [one, other] = [() => Date.now(), () => Date.now()]
    const step = async (options: object) => {
      const acceptor = await createAcceptor({ keytab, ...options })
      return acceptor
        .createContext()
        .step(token)
        .then(
          () => 'accepted',
          ({ code }) => code,
        )
    }
    expect(await step({ now: one })).toBe('accepted')
    expect(await step({ now: one })).toBe('REPLAY')
    expect(await step({ now: other })).toBe('accepted')
    expect(await step({ replayStore: new MemoryReplayStore() })).toBe('accepted')
  })
})

test('a worker thread is told once that it remembers its own tokens only, and starts', async () => {
  const entry = (name: string) => new URL(`../../../dist/entries/${name}.js`, import.meta.url).href
  const program = `
    import { parentPort } from 'node:worker_threads'
    const warnings = []
    process.emitWarning = (text, { code }) => warnings.push([code, text])
    const { createNegotiateServer, dangerouslyPerProcess } = await import(${JSON.stringify(entry('server'))})
    const keytab = ${JSON.stringify(realm.environment.KRB5_KTNAME)}
    createNegotiateServer({ keytab, replayStore: dangerouslyPerProcess() })
    const before = warnings.length
    for (let i = 0; i < 3; i++) createNegotiateServer({ keytab })
    parentPort.postMessage({ before, warnings })`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`))
  const [{ before, warnings }] = await once(worker, 'message')
  expect([before, warnings.length, warnings[0][0]]).toEqual([0, 1, 'SPNEGO_WORKER_THREAD_REPLAY_STORE'])
  expect(warnings[0][1]).toContain('redisReplayStore')
  expect(warnings[0][1]).toContain('dangerouslyPerProcess()')
  await worker.terminate()
})

describe('sessions', () => {
  test('S110 sessions: true at two guards: one key, and each takes the cookie of the other', async () => {
    const [a, b] = [guard({ sessions: true }), guard({ sessions: true })]
    const cookie = cookieOf(await a.authenticate(await carrying(await tokenFor())))
    expect(cookie).not.toBe('')
    expect(await reasonOf(b.authenticate(request({ cookie })))).toBe('accepted')
    expect(await reasonOf(a.authenticate(request({ cookie })))).toBe('accepted')
  })

  test('S91 a session that was ended at one guard is over at the other', async () => {
    const keys = Buffer.alloc(32, 7).toString('base64')
    const [a, b] = [guard({ sessions: { keys } }), guard({ sessions: { keys } })]
    const cookie = cookieOf(await a.authenticate(await carrying(await tokenFor())))
    expect(await reasonOf(b.authenticate(request({ cookie })))).toBe('accepted')
    await a.endSession(request({ cookie }))
    expect(await reasonOf(b.authenticate(request({ cookie })))).toBe('SESSION_REFUSED')
  })

  test('S102 a cookie of another service, which has the same key, logs in nobody here', async () => {
    const keys = Buffer.alloc(32, 7).toString('base64')
    const localNames = { rules: ['RULE:[1:root](.*)'] }
    const wiki = createNegotiateServer({ keytab: realm.keytab('HTTP/wiki.test'), sessions: { keys }, localNames })
    const begun = await wiki.authenticate(await carrying(await tokenFor('wiki.test')))
    expect((begun as { identity: Identity }).identity.localName).toBe('root')
    const cookie = cookieOf(begun)
    expect(await reasonOf(guard({ sessions: { keys } }).authenticate(request({ cookie })))).toBe('WRONG_PRINCIPAL')
    const both = { keytab: realm.environment.KRB5_KTNAME, sessions: { keys } }
    const found = await createNegotiateServer(both).authenticate(request({ cookie }))
    expect(found).toMatchObject({ kind: 'accepted', identity: { name: 'alice', localName: undefined } })
  })

  test('S102 an identity of which nothing is known passes no second guard', async () => {
    const begun = (await guard().authenticate(await carrying(await tokenFor()))) as { identity: Identity }
    const second = openServer({ keytab: realm.keytab('HTTP/web.test') })
    expect(await reasonOf(second.authorize(begun.identity, request({})))).toBe('accepted')
    expect(await reasonOf(second.authorize({ ...begun.identity }, request({})))).toBe('WRONG_PRINCIPAL')
    const other = openServer({ keytab: realm.keytab('HTTP/wiki.test') })
    expect(await reasonOf(other.authorize(begun.identity, request({})))).toBe('WRONG_PRINCIPAL')
    const byHost = openServer({ keytab: realm.environment.KRB5_KTNAME, principal: () => 'HTTP/wiki.test' })
    expect(await reasonOf(byHost.authorize(begun.identity, request({})))).toBe('WRONG_PRINCIPAL')
  })

  test('S102 a session that a password began is none where no passwords are taken', async () => {
    const withPasswords = guard({ sessions: true, basic: { config: realm.config } })
    const authorization = `Basic ${btoa('alice:secret')}`
    const cookie = cookieOf(await withPasswords.authenticate(request({ authorization })))
    expect(await reasonOf(withPasswords.authenticate(request({ cookie })))).toBe('accepted')
    expect(await reasonOf(guard({ sessions: true }).authenticate(request({ cookie })))).toBe('MECHANISM_REFUSED')
  })
})

describe('S87 attempts', () => {
  test('four guards together take five wrong passwords of a user', async () => {
    const guards = Array.from({ length: 4 }, () => guard({ basic: { config: realm.config } }))
    const reasons: string[] = []
    for (let i = 0; i < 8; i++) {
      const authorization = `Basic ${toBase64(utf8(`${['alice', 'álice', 'ＡＬＩＣＥ'][i % 3]}:wrong${i}`))}`
      reasons.push(await reasonOf((guards[i % 4] as (typeof guards)[0]).authenticate(request({ authorization }))))
    }
    expect(reasons.filter((one) => one === 'PASSWORD_WRONG').length).toBe(5)
    expect(reasons.slice(5)).toEqual(Array(3).fill('TOO_MANY_ATTEMPTS'))
  })

  test('what no KDC is asked about takes nothing from a user', async () => {
    const one = guard({ basic: { config: realm.config } })
    for (let i = 0; i < 10; i++) {
      await one.authenticate(request({ authorization: `Basic ${btoa('alice@OTHER.TEST:x')}` }))
      await one.authenticate(request({ authorization: `Basic ${btoa('alice:')}` }))
    }
    expect(await reasonOf(one.authenticate(request({ authorization: `Basic ${btoa('alice:secret')}` })))).toBe(
      'accepted',
    )
  })
})

async function tokenOf({ headers }: NegotiateRequest): Promise<Uint8Array> {
  const text = (headers as { authorization: string }).authorization.slice('Negotiate '.length)
  return new Uint8Array(Buffer.from(text, 'base64'))
}
