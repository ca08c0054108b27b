import { afterEach, expect, test, vi } from 'vitest'
import { openAcceptor } from '../../src/entries/wiring/acceptor.ts'
import { codeOf, keytab, mint, NOW, someKey } from './mint.ts'

const serviceKey = someKey(18)
afterEach(() => {
  vi.restoreAllMocks()
})

test('a key of another version is told of once, by name and both versions', async () => {
  const told = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const server = openAcceptor({ keytab: keytab({ key: serviceKey, kvno: 4 }), now: () => NOW / 1000 })
  const bindings = { channelBindings: undefined, bindingsRequired: false }
  for (let i = 0; i < 3; i++) {
    expect(await codeOf(server.contextFor(bindings).step(mint(serviceKey, { kvno: 6 }).spnego))).toBe('accepted')
  }
  expect(told.mock.calls.map(([text]) => text)).toEqual([
    expect.stringMatching(/version 6 .*web\.example\.test.* version 4/),
  ])
  await server.close()
})

test.each<[string, number | undefined, number]>([
  ['the same version', 4, 4],
  ['no version', undefined, 4],
  ['version 0', 0, 4],
  ['a keytab without versions', 4, 0],
  ['the low eight bits', 260, 4],
])('%s is no other version', async (_what, asked, there) => {
  const told = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const server = openAcceptor({ keytab: keytab({ key: serviceKey, kvno: there }), now: () => NOW / 1000 })
  const context = server.contextFor({ channelBindings: undefined, bindingsRequired: false })
  expect(await codeOf(context.step(mint(serviceKey, { kvno: asked }).spnego))).toBe('accepted')
  expect(told).not.toHaveBeenCalled()
  await server.close()
})
