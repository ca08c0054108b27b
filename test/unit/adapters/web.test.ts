import { expect, test } from 'vitest'
import * as web from '../../../src/adapters/server/web.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'

test('a response that cannot be copied, as that of an upgrade, is given as it is', async () => {
  const response = Response.error()
  const handler = web.negotiateWith(fakeServer().core)(() => response)
  const headers = { authorization: negotiateField('alice') }
  expect(await handler(new Request('http://localhost/', { headers }))).toBe(response)
})
