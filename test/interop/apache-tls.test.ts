import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { labFolder, Peer, removeFolder, run } from './lab.ts'

/** Node reads NODE_EXTRA_CA_CERTS once, at its start: so the client is a process of its own, from the built package. */
let base: string
let kdc: Peer
let apache: Peer

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  apache = Peer.start('apache', base, '--keytab', keytab, '--krb5-conf', kdc.get('KRB5_CONFIG'))
})

afterAll(() => {
  apache?.stop()
  kdc?.stop()
  removeFolder(base)
})

const SCRIPT = `
  import { Credentials, negotiated, negotiateFetch } from 'spnego/fetch'
  const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
  const fetch = negotiateFetch({ credentials })
  const response = await fetch(process.argv[1])
  const { serverAuthenticated, target } = negotiated(response) ?? {}
  console.log(JSON.stringify({ status: response.status, serverAuthenticated, target, text: await response.text() }))
`

describe('[Apache mod_auth_gssapi] negotiateFetch over TLS', () => {
  test('200 and the server verified by its AP-REP', () => {
    const url = `${apache.get('APACHE_TLS_URL')}/spnego/`
    const environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), NODE_EXTRA_CA_CERTS: apache.get('APACHE_CA') }
    const { stdout, stderr } = run(process.execPath, ['--input-type=module', '-e', SCRIPT, url], environment)
    expect(stderr).toBe('')
    const { text, ...facts } = JSON.parse(stdout) as { text: string }
    expect(facts).toEqual({ status: 200, serverAuthenticated: true, target: 'HTTP/localhost@MIT.TEST' })
    expect(text).toContain('user=alice@MIT.TEST')
  })

  test('a certificate that nobody vouches for is an error of fetch itself', () => {
    const url = `${apache.get('APACHE_TLS_URL')}/spnego/`
    const environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), NODE_EXTRA_CA_CERTS: '' }
    const { status, stderr } = run(process.execPath, ['--input-type=module', '-e', SCRIPT, url], environment)
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/fetch failed/)
  })
})
