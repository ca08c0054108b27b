import { expect, vi } from 'vitest'
import { systemWorld } from '../../src/entries/wiring/world.ts'
import { CredentialStore } from '../../src/krb5/credentials.ts'
import { systemFiles } from '../../src/system/index.ts'
import { type Environment, kinit, run } from './lab.ts'

/** Past half of six minutes; within the clock skew of a KDC, and with the two minutes left that Samba wants. */
const LATER_MS = 200_000

/**
 * K80: a login of kinit that is renewed here keeps flags and renewal end in its cache, so that `kinit -R` renews it again, and it can be
 * forwarded.
 */
export async function expectRenewalKeeps(
  environment: Environment,
  cache: string,
  user: string,
  password: string,
): Promise<void> {
  const own = { ...environment, KRB5CCNAME: cache }
  const options = ['-f', '-p', '-l', '6m', '-r', '1h']
  expect(kinit(own, user, password, ...options)).toMatchObject({ status: 0 })
  const loginIn = async () => (await systemFiles().readCache(cache)).credentials.find((one) => !one.isConfig)
  const before = await loginIn()
  const origin = { kind: 'cache', name: cache, principal: undefined } as const
  const store = new CredentialStore(
    origin,
    systemWorld(() => Date.now() + LATER_MS),
  )
  const tgt = await store.getTicketGrantingTicket()
  await vi.waitFor(async () => expect((await loginIn())?.ticket).not.toEqual(before?.ticket), 5000)
  const after = await loginIn()
  const kept = 0x54800000 // forwardable, proxiable, may-postdate, renewable (RFC 4120 §5.3)
  expect([(after?.flags ?? 0) & kept, after?.renewTill]).toEqual([(before?.flags ?? 0) & kept, before?.renewTill])
  expect((after?.flags ?? 0) & 0x40800000).toBe(0x40800000) // forwardable, renewable
  expect(run('kinit', ['-R'], own)).toMatchObject({ status: 0 })
  await expect(store.getForwardedTicket(tgt.server)).resolves.toBeDefined()
}
