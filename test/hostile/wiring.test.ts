import { describe, expect, test, vi } from 'vitest'
import { toBase64 } from '../../src/bytes/base64.ts'
import { utf8 } from '../../src/bytes/bytes.ts'
import { openAcceptor } from '../../src/entries/wiring/acceptor.ts'
import { Credentials } from '../../src/entries/wiring/credentials.ts'
import { createInitiator } from '../../src/entries/wiring/initiator.ts'
import { KerberosClient } from '../../src/entries/wiring/kerberos-client.ts'
import { KerberosTicket } from '../../src/entries/wiring/kerberos-ticket.ts'
import { serviceOfUrl, serviceTarget } from '../../src/entries/wiring/service-name.ts'
import { encodeNegTokenResp } from '../../src/gss/spnego/tokens.ts'
import { Keytab, type Krb5Config } from '../../src/krb5/formats/index.ts'
import { Principal } from '../../src/krb5/messages/index.ts'
import { codeOf, keytab, mint, NOW, someKey } from './mint.ts'

const serviceKey = someKey(18)
const KEYTAB = keytab({ key: serviceKey })

/** Credentials whose ticket is at hand: no KDC is asked. */
function credentials(): Credentials {
  const made = Credentials.fromPassword('alice@EXAMPLE.TEST', 'secret')
  vi.spyOn(Credentials.storeOf(made), 'getTicket').mockResolvedValue(
    mint(serviceKey, { now: Date.now() * 1000 }).credential,
  )
  return made
}

function answer(value: Parameters<typeof encodeNegTokenResp>[0]): string {
  return `Negotiate ${toBase64(encodeNegTokenResp(value))}`
}

describe('KerberosTicket.verify', () => {
  const target = 'HTTP@web.example.test'

  test('C20 C21 accept-completed without an AP-REP is no proof, whatever flags were asked for', async () => {
    const ticket = await KerberosTicket.for(target, { credentials: credentials() })
    expect(await codeOf(ticket.verify(answer({ negState: 0 })))).toBe('MUTUAL_AUTHENTICATION_FAILED')
    expect(await codeOf(ticket.verify(answer({ negState: 0 })))).toBe('TICKET_USED')
    const flags = ['integrity'] as const
    expect(await codeOf(KerberosTicket.for(target, { credentials: credentials(), flags }))).toBe('OPTION_INVALID')
  })

  test('the answer of our acceptor is a proof; C24 two tokens are none', async () => {
    for (const extra of ['', ', Negotiate YQ==']) {
      const ticket = await KerberosTicket.for(target, { credentials: credentials() })
      const context = openAcceptor({ keytab: KEYTAB, now: () => Date.now() + 500 }).createContext()
      const { token } = await context.step(new Uint8Array(Buffer.from(ticket.authorization.slice(10), 'base64')))
      const code = await codeOf(ticket.verify(`Negotiate ${toBase64(token ?? new Uint8Array(0))}${extra}`))
      expect(code).toBe(extra === '' ? 'accepted' : 'MUTUAL_AUTHENTICATION_FAILED')
    }
  })
})

describe('options of a wrong type are refused at the door', () => {
  const invalid = expect.objectContaining({ code: 'OPTION_INVALID' })

  test('channel bindings that are no octets', () => {
    const acceptor = openAcceptor({ keytab: KEYTAB, now: () => NOW / 1000 })
    for (const channelBindings of ['tls-server-end-point:x', 5, null, [1]]) {
      expect(() => acceptor.createContext({ channelBindings } as never)).toThrow(invalid)
    }
    acceptor.createContext({ channelBindings: utf8('x') })
  })

  test('a keytab that is neither a name nor a Keytab', () => {
    for (const value of [5, null, undefined, {}, '']) {
      expect(() => Credentials.fromKeytab('alice', value as never)).toThrow(invalid)
    }
    Credentials.fromKeytab('alice', new Keytab([]))
  })

  test('a config that is no Krb5Config', async () => {
    const config = {} as Krb5Config
    expect(await codeOf(createInitiator({ target: 'HTTP@web', credentials: credentials(), config }))).toBe(
      'OPTION_INVALID',
    )
    expect(() => new KerberosClient({ credentials: credentials(), config })).toThrow(invalid)
    expect(await codeOf(credentials().login({ config }))).toBe('OPTION_INVALID')
  })
})

describe('C61 the name of a service', () => {
  test.each(['HTTP@[::1]', 'HTTP@10.0.0.1', 'HTTP@10.0.0.1.'])('%s, made of a URL, is an address', (target) => {
    expect(() => serviceOfUrl(target)).toThrow(expect.objectContaining({ code: 'TARGET_IS_ADDRESS' }))
  })

  test.each(['', '.', 'a..b', '.a', 'HTTP/', 'HTTP/a..b', 'a\\/b', '\\/'])('%j is no name', (target) => {
    expect(() => serviceTarget(target)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  })

  test('C62 the whole host is kept, lower-cased; one trailing dot goes', () => {
    const long = 'srv1UWhRCAAAAAAAAAAAAAAAAAAAAAAAAAAAAwbEAYBAAAA'
    expect(serviceTarget(long).service.name).toBe(`HTTP/${long.toLowerCase()}`)
    expect(serviceTarget('WEB.Example.test.').service.name).toBe('HTTP/web.example.test')
    expect(serviceTarget('ldap@dc.test').service.name).toBe('ldap/dc.test')
    expect(serviceTarget('HTTP/web@OTHER.TEST').service.equals(new Principal(['HTTP', 'web'], 'OTHER.TEST'))).toBe(true)
  })
})
