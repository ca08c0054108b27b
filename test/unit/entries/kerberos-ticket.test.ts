import { createHook } from 'node:async_hooks'
import { lookup } from 'node:dns/promises'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KerberosTicket, MutualAuthenticationError, UsageError } from '../../../src/entries/index.ts'
import { errorOf, World } from '../http-client/site.ts'

let world: World
beforeAll(async () => {
  world = await World.start()
})
afterAll(() => world[Symbol.asyncDispose]())

const ticket = () => KerberosTicket.for('HTTP@localhost', { credentials: world.alice })
const tokenOf = ({ authorization }: KerberosTicket) => authorization.slice('Negotiate '.length)
const proofOf = async (one: KerberosTicket) => (await world.accept(tokenOf(one))).answer

describe('KerberosTicket', () => {
  test('names itself, and verifies the answer once', async () => {
    const one = await ticket()
    expect(one.authorization).toMatch(/^Negotiate [A-Za-z0-9+/]+=*$/)
    const { answer, user } = await world.accept(tokenOf(one))
    expect(user).toBe('alice@EXAMPLE.TEST')
    await expect(one.verify(`Negotiate ${answer}`)).resolves.toBeUndefined()
    const again = await errorOf(one.verify(`Negotiate ${answer}`))
    expect(again).toBeInstanceOf(UsageError)
    expect(again).toMatchObject({ code: 'TICKET_USED' })
  })

  test('C60: no name is looked up for the name of the service, so DNS has no say in it', async () => {
    let asked = 0
    const hook = createHook({ init: (_id, type) => void (/^(GETADDRINFO|GETNAMEINFO|QUERY)/.test(type) && asked++) })
    hook.enable()
    await lookup('localhost')
    expect(asked).toBe(1) // the hook sees what is asked
    const target = 'HTTP@web1.corp.example'
    const one = await KerberosTicket.for(target, { credentials: world.alice, config: world.realm.config })
    hook.disable()
    expect(asked).toBe(1)
    expect(await world.accept(tokenOf(one))).toMatchObject({ user: 'alice@EXAMPLE.TEST' })
  })

  test('two verifications at once: one', async () => {
    const one = await ticket()
    const answer = `Negotiate ${await proofOf(one)}`
    const [first, second] = await Promise.all([errorOf(one.verify(answer)), errorOf(one.verify(answer))])
    expect(first).toBeUndefined()
    expect(second).toMatchObject({ code: 'TICKET_USED' })
  })

  test('finds its token among other challenges, in any case', async () => {
    const one = await ticket()
    await one.verify(`Basic realm="Negotiate, x", NEGOTIATE  ${await proofOf(one)}`)
  })

  test.each([
    ['nothing', () => ''],
    ['a bare challenge', () => 'Negotiate'],
    ['another scheme', (proof: string) => `Basic ${proof}`],
    ['no base64', () => 'Negotiate @@@'],
    ['no token', () => 'Negotiate aGVsbG8='],
    ['accept-completed and no proof', () => 'Negotiate oQcwBaADCgEA'],
    ['two tokens', (proof: string) => `Negotiate ${proof}, Negotiate ${proof}`],
    ['more than the bound', () => `Negotiate ${'A'.repeat(87_384)}`],
    ['what no grammar allows', (proof: string) => `Negotiate ${proof} "`],
  ])('%s is no proof, and uses the ticket up', async (_, header) => {
    const one = await ticket()
    const proof = await proofOf(one)
    const error = await errorOf(one.verify(header(proof)))
    expect(error).toBeInstanceOf(MutualAuthenticationError)
    expect(inspect(error, { depth: 9 })).not.toContain(proof.slice(20, 60))
    expect(await errorOf(one.verify(`Negotiate ${proof}`))).toMatchObject({ code: 'TICKET_USED' })
  })

  test('the proof of another ticket is none', async () => {
    const [one, other] = [await ticket(), await ticket()]
    expect(one.authorization).not.toBe(other.authorization)
    await proofOf(one)
    await expect(one.verify(`Negotiate ${await proofOf(other)}`)).rejects.toBeInstanceOf(MutualAuthenticationError)
  })

  test('options are checked, and target is not one of them', async () => {
    const wrong = (options: object) => errorOf(KerberosTicket.for('HTTP@localhost', options))
    expect(await wrong({ delegate: true })).toMatchObject({ code: 'OPTION_UNKNOWN' })
    expect(await wrong({ credentials: null })).toMatchObject({ code: 'OPTION_INVALID' })
    expect(await wrong({ mechanism: 'ntlm' })).toMatchObject({ code: 'OPTION_INVALID' })
    expect(await wrong({ target: 'HTTP@evil' })).toMatchObject({ code: 'OPTION_UNKNOWN' })
  })

  test.each(['HTTP@127.0.0.1', 'HTTP/[::1]'])('K81: %s is asked for as it is written', async (target) => {
    const error = await errorOf(KerberosTicket.for(target, { credentials: world.alice }))
    expect(error).toMatchObject({ code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' })
  })

  test('shows nothing of its keys, and its token only when asked for it', async () => {
    const shown = inspect(await ticket(), { depth: 9, showHidden: true })
    expect(shown).toBe('KerberosTicket { [authorization]: [Getter] }')
  })
})
