import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createInitiator, KerberosClient, Principal } from '../../../src/entries/index.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { KerberosTicket } from '../../../src/entries/wiring/kerberos-ticket.ts'
import { serviceOfUrl, serviceTarget } from '../../../src/entries/wiring/service-name.ts'

const REALM = 'EXAMPLE.TEST'

let realm: TestRealm
let client: KerberosClient

beforeAll(async () => {
  const services = [
    'HTTP/web.example.test',
    'HTTP/web.example.test:8080',
    'HTTP/10.1.2.3',
    'HTTP/10.1.2.3:8080',
    'HTTP/[2001:db8::1]',
    'HTTP/Mixed.Example.test',
  ]
  realm = await TestRealm.start({ realm: REALM, users: { alice: 'secret' }, services })
  client = new KerberosClient({ credentials: await realm.login('alice') })
})

afterAll(() => realm.stop())

describe('K81 names that are given as text', () => {
  test.each([
    ['HTTP/web.example.test:8080', 'HTTP/web.example.test:8080'],
    ['HTTP@web.example.test:8080', 'HTTP/web.example.test:8080'],
    ['HTTP/10.1.2.3', 'HTTP/10.1.2.3'],
    ['10.1.2.3', 'HTTP/10.1.2.3'],
    ['HTTP/10.1.2.3:8080', 'HTTP/10.1.2.3:8080'],
    ['HTTP/[2001:db8::1]', 'HTTP/[2001:db8::1]'],
    [`krbtgt/${REALM}`, `krbtgt/${REALM}`],
    ['HTTP/WEB.Example.test.', 'HTTP/web.example.test'],
  ])('%s: a ticket for %s', async (text, name) => {
    expect(`${(await client.getTicket(text)).server}`).toBe(`${name}@${REALM}`)
  })

  test('a port, an address and krbtgt keep their letters; a host alone is lower-cased', () => {
    expect(serviceTarget('HTTP/Web.Corp:80').service.name).toBe('HTTP/Web.Corp:80')
    expect(serviceTarget('HTTP/FE80::1').service.name).toBe('HTTP/FE80::1')
    expect(serviceTarget('krbtgt/OTHER.TEST@MIT.TEST').service.toString()).toBe('krbtgt/OTHER.TEST@MIT.TEST')
    expect(serviceTarget('HTTP/Web.Corp').service.name).toBe('HTTP/web.corp')
    expect(serviceTarget(new Principal(['HTTP', 'Web.Corp'], '')).service.name).toBe('HTTP/Web.Corp')
  })

  test('by every function that takes a name', async () => {
    const credentials = await realm.login('alice')
    for (const target of ['HTTP/web.example.test:8080', 'HTTP/10.1.2.3']) {
      await expect(createInitiator({ target, credentials })).resolves.toBeDefined()
      await expect(KerberosTicket.for(target, { credentials })).resolves.toBeDefined()
    }
  })

  test('an address that the KDC does not know: the hint says that services have host names', async () => {
    for (const text of ['HTTP/10.9.9.9', 'HTTP/10.9.9.9:80', 'HTTP/[::1]']) {
      await expect(client.getTicket(text)).rejects.toMatchObject({
        code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN',
        hint: expect.stringContaining('named by host name'),
      })
    }
    await expect(client.getTicket('HTTP/web.example.test:99')).rejects.toMatchObject({
      hint: expect.stringContaining('targetName'),
    })
  })

  test('C61: an address in a URL is no name all the same', () => {
    for (const host of ['10.0.0.1', '10.0.0.1.', '[::1]', 'a:80']) {
      expect(() => serviceOfUrl(`HTTP@${host}`)).toThrow(expect.objectContaining({ code: 'TARGET_IS_ADDRESS' }))
    }
    expect(serviceOfUrl('HTTP@Web.Corp.').name).toBe('HTTP/web.corp')
  })
})

describe('K82 a KDC that does not know the lower-cased name', () => {
  test('is asked for the name as it was written', async () => {
    expect(`${(await client.getTicket('HTTP/Mixed.Example.test')).server}`).toBe(`HTTP/Mixed.Example.test@${REALM}`)
  })

  test('when it knows neither, its refusal of the first counts', async () => {
    await expect(client.getTicket('HTTP/Nowhere.test')).rejects.toMatchObject({
      code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN',
      hint: expect.stringContaining('HTTP/nowhere.test'),
    })
  })
})
