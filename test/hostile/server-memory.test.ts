import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { toBase64 } from '../../src/bytes/base64.ts'
import { createNegotiateServer, type NegotiateRequest } from '../../src/entries/server.ts'
import { Principal } from '../../src/krb5/messages/index.ts'
import { keytab, mint, REALM, someKey } from './mint.ts'

/** What requests without a valid ticket leave behind. */

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const HOSTS = 400
const REQUESTS = 20_000
const key = someKey(18)
const hostOf = (i: number) => `h${i % HOSTS}.example.test`
const KEYTAB = keytab(
  ...Array.from({ length: HOSTS }, (_, i) => ({ principal: new Principal(['HTTP', hostOf(i)], REALM), key })),
)
/** A ticket that no key opens. */
const FOREIGN = toBase64(mint(someKey(18)).spnego)

function heapAfterGarbageCollection(): number {
  for (let i = 0; i < 3; i++) collectGarbage()
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
}

describe('S104 strangers fill no memory where the name is chosen by host', () => {
  test.each([
    ['no token', 'Negotiate AAAA', 0],
    ['an AP-REQ that no key opens', `Negotiate ${FOREIGN}`, REQUESTS],
    ['a password', `Basic ${toBase64(Buffer.from('x@OTHER.TEST:y'))}`, undefined],
  ])('%s, 20 000 times with different hosts', async (_what, authorization, asked) => {
    let calls = 0
    const principal = ({ headers }: NegotiateRequest) => {
      calls++
      return `HTTP/${(headers as { host: string }).host}`
    }
    const server = createNegotiateServer({ keytab: KEYTAB, principal, basic: true })
    const ask = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const headers = { authorization, host: i % 2 === 0 ? hostOf(i) : `made-up-${i}.example.test` }
        const decision = await server.authenticate({ method: 'GET', url: '/', headers, secure: true })
        if (decision.kind !== 'refused') throw new Error(decision.kind)
      }
      return heapAfterGarbageCollection()
    }
    const before = await ask(0, 2000)
    calls = 0
    const after = await ask(2000, 2000 + REQUESTS)
    expect(after - before).toBeLessThan(REQUESTS * 50) // 50 bytes a request; one view that is kept has 10 000
    if (asked !== undefined) expect(calls).toBe(asked)
    await server.close()
  })
})
