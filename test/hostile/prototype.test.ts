import { afterEach, describe, expect, test } from 'vitest'
import { requiredAttributes } from '../../src/entries/server.ts'
import type { Identity } from '../../src/http/index.ts'
import { sessionSealer } from '../../src/sessions/index.ts'
import { fakeServer, negotiateField, request } from '../unit/http/fake-acceptor.ts'

/** Properties that a flaw of another package has put on `Object.prototype`. */

const ADMIN = { principal: 'admin@EXAMPLE.ORG', name: 'admin', realm: 'EXAMPLE.ORG', channelBound: true }
const POLLUTION: Record<string, unknown> = {
  identity: ADMIN,
  kind: 'proven',
  session: { ...ADMIN, expiresAt: 9e15 },
  authorization: [negotiateField('admin')],
  cookie: ['spnego=x'],
  token: new Uint8Array(1),
  continuation: undefined,
  admitted: ADMIN,
  'x-forwarded-proto': ['https'],
}

afterEach(() => {
  for (const name of Object.keys(POLLUTION)) Reflect.deleteProperty(Object.prototype, name)
})

function pollute(...names: readonly string[]): void {
  for (const name of names) {
    Object.defineProperty(Object.prototype, name, { value: POLLUTION[name], configurable: true, writable: true })
  }
}

describe('S105 a polluted Object.prototype', () => {
  test.each(Object.keys(POLLUTION).map((name) => [name]))(
    '%s makes nobody of a request without credentials',
    async (name) => {
      const key = new Uint8Array(32).fill(7)
      const sealer = await sessionSealer([key], (length) => new Uint8Array(length))
      const { core } = fakeServer({ sessions: true, trustProxy: true }, { loadSealer: async () => sealer })
      pollute(name)
      const plain = await core.authenticate({ method: 'GET', url: '/', headers: { host: 'x' } })
      const refused = await core.authenticate(request(negotiateField('replay')))
      const alice = await core.authenticate(request(negotiateField('alice')))
      expect([plain.kind, refused.kind, (alice as { identity: Identity }).identity.name]).toEqual([
        'refused',
        'refused',
        'alice',
      ])
    },
  )

  test('all of them together', async () => {
    const { core } = fakeServer()
    pollute(...Object.keys(POLLUTION))
    expect((await core.authenticate({ method: 'GET', url: '/', headers: {} })).kind).toBe('refused')
  })
})

test('S107 an attribute of the program’s own replaces none that is proven, also where the proven one is absent', () => {
  const identity = { ...ADMIN, name: 'alice', localName: undefined, mechanism: 'negotiate' } as unknown as Identity
  const more = () => ({ name: 'root', realm: 'OTHER', 'local-name': 'root', team: 'ops' })
  const holds = (rule: string) => requiredAttributes(rule, more)(identity)
  expect(['name=root', 'realm=OTHER', 'local-name=root'].map(holds)).toEqual([false, false, false])
  expect(['name=alice', 'team=ops', 'name=alice and team=ops'].map(holds)).toEqual([true, true, true])
})
