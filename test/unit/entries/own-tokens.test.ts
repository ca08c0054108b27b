/** Tokens are the caller's own: their memory is nobody else's, whatever he does with it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAcceptor, createInitiator } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'

let realm: TestRealm
beforeAll(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret' } })
})
afterAll(() => realm.stop())

test.each(['spnego', 'krb5'] as const)('%s: each token fills its buffer, and can be handed over', async (mechanism) => {
  const target = 'HTTP/localhost'
  const acceptor = await createAcceptor({ keytab: realm.keytab(target) })
  const credentials = await realm.login('alice')
  const initiator = await createInitiator({ target, credentials, config: realm.config, mechanism })
  const channelBindings = new Uint8Array(40)
  for (const context of [acceptor.createContext(), acceptor.createContext({ channelBindings })]) {
    const { token } = await (await createInitiator({ target, credentials, config: realm.config, mechanism })).step()
    const { token: answer } = await context.step(token)
    for (const one of [token, answer]) {
      expect(one?.buffer.byteLength).toBe(one?.length)
      structuredClone(one, { transfer: [one?.buffer as ArrayBuffer] })
      expect(one?.length).toBe(0)
    }
  }
  const first = await initiator.step()
  expect(first.token?.buffer.byteLength).toBe(first.token?.length)
  await acceptor.close()
})
