import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { Credentials, createAcceptor, createInitiator, KerberosClient, Krb5Config } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { FAULTS, type FaultName } from '../../../src/testing/index.ts'

/** What a program sees of each fault, through the public names: the table of docs/testing.md. */

const TABLE: Readonly<Record<FaultName, string>> = {
  'wrong-nonce': 'REPLY_MISMATCH',
  'wrong-server': 'REPLY_MISMATCH',
  'wrong-client': 'REPLY_MISMATCH',
  'weak-iterations': 'ITERATIONS_REFUSED',
  'huge-iterations': 'ITERATIONS_REFUSED',
  'preauth-forever': 'KDC_ERR_PREAUTH_REQUIRED',
  skew: 'KRB_AP_ERR_SKEW',
  silent: 'KDC_TIMEOUT',
  'too-big': 'accepted',
  trickle: 'accepted',
  'rc4-only': 'ENCTYPE_REFUSED',
  'wrong-enctype': 'ENCTYPE_REFUSED',
  'late-end': 'REPLY_MISMATCH',
  'kvno-mismatch': 'KEY_NOT_FOUND',
  'account-locked': 'KDC_ERR_CLIENT_REVOKED',
  'password-refused': 'accepted',
  garbage: 'MALFORMED',
  'hang-up': 'accepted',
  referral: 'REPLY_MISMATCH',
}

/** A login and one accepted token, or the code of what went wrong. */
async function outcome(fault: FaultName): Promise<string> {
  await using realm = await TestRealm.start({ users: { alice: 'secret' }, faults: [fault] })
  try {
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', realm.config)
    const timeoutMs = fault === 'silent' || fault === 'garbage' ? 400 : 5000
    await new KerberosClient({ credentials, config: realm.config, timeoutMs }).getTicket('HTTP/localhost')
    const initiator = await createInitiator({ target: 'HTTP/localhost', credentials, config: realm.config })
    const acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost') })
    const { complete } = await acceptor.createContext().step((await initiator.step()).token)
    return complete ? 'accepted' : 'incomplete'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a program under test sees', () => {
  for (const [fault, expected] of Object.entries(TABLE)) {
    test(`${fault}: ${expected}`, async () => {
      expect(await outcome(fault as FaultName)).toBe(expected)
    })
  }

  test('skew, where krb5.conf allows to follow it: the login works, and the server refuses a ticket of the future', async () => {
    await using realm = await TestRealm.start({ users: { alice: 'secret' }, faults: ['skew'] })
    const text = readFileSync(realm.environment.KRB5_CONFIG, 'utf8').replace('kdc_timesync = 0', 'kdc_timesync = 1')
    const config = Krb5Config.parse(text)
    const credentials = Credentials.forRealm('alice@EXAMPLE.TEST', 'secret', config)
    const initiator = await createInitiator({ target: 'HTTP/localhost', credentials, config })
    const { token } = await initiator.step()
    const keytab = realm.keytab('HTTP/localhost')
    const here = (await createAcceptor({ keytab })).createContext()
    await expect(here.step(token)).rejects.toMatchObject({ code: 'TICKET_NOT_YET_VALID' })
    const there = (await createAcceptor({ keytab, now: () => Date.now() + 600_000 })).createContext()
    expect((await there.step(token)).complete).toBe(true)
  })
})

test('docs/testing.md has the table', () => {
  const page = readFileSync(new URL('../../../docs/testing.md', import.meta.url), 'utf8')
  for (const [fault, line] of Object.entries(FAULTS)) {
    expect(page).toContain(`| \`${fault}\` | ${line} | \`${TABLE[fault as FaultName]}\` |`)
  }
})
