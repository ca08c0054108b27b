import { describe, expect, test } from 'vitest'
import { BoundConnections, CertificateBindings, ConnectionPools } from '../../../src/system/index.ts'

const pools = (): ConnectionPools =>
  new ConnectionPools(new BoundConnections(new CertificateBindings(() => Uint8Array.of(1))))

describe('connections of our own', () => {
  test('C50 C51 C52: one pool for each origin, owner and channel bindings, and the same one again', () => {
    const all = pools()
    const asked: readonly Parameters<ConnectionPools['dispatcherOf']>[] = [
      ['http://a', undefined, undefined],
      ['http://b', undefined, undefined],
      ['http://a', 'alice HTTP/a', undefined],
      ['http://a', 'bob HTTP/a', undefined],
      ['http://a', 'alice HTTP/a', Uint8Array.of(1)],
      ['http://a', 'alice HTTP/a', Uint8Array.of(2)],
    ]
    const found = asked.map((one) => all.dispatcherOf(...one))
    expect(new Set(found).size).toBe(asked.length)
    expect(asked.map((one) => all.dispatcherOf(...one))).toEqual(found)
  })

  test('a thousand hosts leave no more than a bounded number of pools: the one not used for longest goes', () => {
    const all = pools()
    const first = all.dispatcherOf('http://first', undefined)
    const used = all.dispatcherOf('http://used', undefined)
    for (let i = 0; i < 1000; i++) {
      all.dispatcherOf(`http://host${i}`, undefined)
      expect(all.dispatcherOf('http://used', undefined)).toBe(used)
    }
    expect(all.dispatcherOf('http://first', undefined)).not.toBe(first)
  })
})
