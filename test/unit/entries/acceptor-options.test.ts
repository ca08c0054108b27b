import cluster from 'node:cluster'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  createAcceptor,
  createInitiator,
  Keytab,
  Krb5Config,
  MemoryReplayStore,
  parseChallenges,
} from '../../../src/entries/index.ts'
import { createNegotiateServer, dangerouslyPerProcess, identityOf } from '../../../src/entries/server.ts'
import { Credentials, TestRealm } from '../../../src/entries/testing.ts'
import { openAcceptor } from '../../../src/entries/wiring/acceptor.ts'

let realm: TestRealm
beforeAll(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret' } })
})
afterAll(() => realm.stop())

const code = (value: string) => expect.objectContaining({ code: value })

describe('S49 a worker of node:cluster', () => {
  const { isWorker } = cluster
  afterEach(() => {
    Object.defineProperty(cluster, 'isWorker', { value: isWorker, configurable: true, writable: true })
  })

  test('S49 does not start with a replay store of its own, and says what to do', async () => {
    const keytab = realm.keytab('HTTP/localhost')
    Object.defineProperty(cluster, 'isWorker', { value: true, configurable: true, writable: true })
    expect(() => createNegotiateServer({ keytab })).toThrow(/worker of node:cluster/)
    await expect(createAcceptor({ keytab })).rejects.toMatchObject({
      code: 'REPLAY_STORE_NEEDED',
      hint: expect.stringContaining('useClusterReplayStore()'),
    })
    const own = { keytab, replayStore: new MemoryReplayStore() }
    expect(() => createNegotiateServer(own)).toThrow(code('REPLAY_STORE_NEEDED'))
    await expect(createAcceptor(own)).rejects.toThrow(code('REPLAY_STORE_NEEDED'))
    expect(() => createNegotiateServer({ keytab, replayStore: dangerouslyPerProcess() })).not.toThrow()
    expect(() => createNegotiateServer({ keytab, replayStore: { checkAndStore: () => 'fresh' } })).not.toThrow()
  })

  test('nor with a session key of its own', () => {
    Object.defineProperty(cluster, 'isWorker', { value: true, configurable: true, writable: true })
    const options = { keytab: realm.keytab('HTTP/localhost'), replayStore: dangerouslyPerProcess() }
    expect(() => createNegotiateServer({ ...options, sessions: true })).toThrow(code('SESSION_KEYS_NEEDED'))
    const sessions = { keys: new Uint8Array(32) }
    expect(() => createNegotiateServer({ ...options, sessions })).not.toThrow()
  })
})

test('S37: where bindings are required, a token that has none is refused by the acceptor itself', async () => {
  const acceptor = openAcceptor({ keytab: realm.keytab('HTTP/localhost') })
  const credentials = await realm.login('alice')
  const token = async () => {
    const { token } = await (
      await createInitiator({ target: 'HTTP/localhost', credentials, config: realm.config })
    ).step()
    return token
  }
  const settings = { channelBindings: [new Uint8Array(32)] }
  const open = acceptor.contextFor({ ...settings, bindingsRequired: false })
  expect(await open.step(await token())).toMatchObject({ complete: true })
  const strict = acceptor.contextFor({ ...settings, bindingsRequired: true })
  await expect(strict.step(await token())).rejects.toThrow(code('BINDINGS_MISMATCH'))
})

describe('names', () => {
  for (const principal of ['HTTP/localhost', 'HTTP@localhost', 'HTTP/localhost@EXAMPLE.TEST']) {
    test(`both separators are understood: ${principal}`, async () => {
      const acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost'), principal })
      await acceptor.close()
    })
  }
})

describe('what is not of the right type is refused at the door, with a code', () => {
  const cases: readonly [string, () => unknown][] = [
    ['Keytab.load', () => Keytab.load(5 as never)],
    ['Krb5Config.load', () => Krb5Config.load(5 as never)],
    ['parseChallenges', () => parseChallenges(undefined as never)],
    ['TestRealm.start', () => TestRealm.start(null as never)],
    ['createNegotiateServer with a list', () => createNegotiateServer([] as never)],
    ['unauthorized', () => createNegotiateServer({ unauthorized: 5 as never })],
    ['a password with a lone surrogate', () => Credentials.fromPassword('alice@R', 'a\ud800')],
  ]
  for (const [what, action] of cases) {
    test(what, async () => {
      await expect((async () => action())()).rejects.toThrow(code('OPTION_INVALID'))
    })
  }

  test('identityOf of nothing', () => {
    expect(() => identityOf(undefined as never)).toThrow(code('NOT_AUTHENTICATED'))
  })

  test('a wrong word is shown', () => {
    const action = () => createNegotiateServer({ keytab: realm.keytab('HTTP/localhost'), crossSite: 'alow' as never })
    expect(action).toThrow(/found "alow"/)
  })
})
