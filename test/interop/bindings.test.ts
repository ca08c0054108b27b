import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { labFolder, Peer, removeFolder, run } from './lab.ts'

/** Channel bindings at MIT's acceptor (python3-gssapi) behind TLS. Node reads NODE_EXTRA_CA_CERTS at its start: each client is a process of its own. */

let base: string
let kdc: Peer
let apache: Peer
let python: Peer

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const config = kdc.get('KRB5_CONFIG')
  apache = Peer.start('apache', base, '--keytab', keytab, '--krb5-conf', config) // makes the certificates
  const tls = join(apache.get('APACHE_CA'), '..')
  python = Peer.start('py-server', base, '--keytab', keytab, '--krb5-conf', config, '--tls-dir', tls)
})

afterAll(() => {
  python?.stop()
  apache?.stop()
  kdc?.stop()
  removeFolder(base)
})

const SCRIPT = `
  import { Credentials, negotiated, negotiateFetch } from 'spnego/fetch'
  const [url, options, count = '1'] = process.argv.slice(1)
  const given = JSON.parse(options)
  if (Array.isArray(given.channelBindings)) given.channelBindings = Uint8Array.from(given.channelBindings)
  const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
  const fetch = negotiateFetch({ credentials, ...given })
  const all = await Promise.all(Array.from({ length: Number(count) }, () => fetch(url)))
  const facts = await Promise.all(all.map(async (response) => {
    const { channelBound, serverAuthenticated, error } = negotiated(response) ?? {}
    const text = await response.text()
    const seen = text.startsWith('{') ? JSON.parse(text) : {}
    return { status: response.status, channelBound, serverAuthenticated, there: seen.channel_bound, error: error?.code }
  }))
  console.log(JSON.stringify(facts))
`

function get(peer: string, path: string, options: object, count = 1): unknown[] {
  const environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), NODE_EXTRA_CA_CERTS: apache.get('APACHE_CA') }
  const url = `${peer.startsWith('PY') ? python.get(peer) : apache.get(peer)}${path}`
  const args = ['--input-type=module', '-e', SCRIPT, url, JSON.stringify(options), String(count)]
  const { stdout, stderr } = run(process.execPath, args, environment)
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as unknown[]
}

const bound = { status: 200, channelBound: true, serverAuthenticated: true, there: true }

describe('[Python acceptor] channel bindings (RFC 5929)', () => {
  for (const [peer, what] of [
    ['PY_TLS_URL', 'a certificate signed with SHA-256'],
    ['PY_TLS512_URL', 'a certificate signed with SHA-512'],
  ] as const) {
    test(`${what}: match, challenged and preemptive, SPNEGO and raw`, () => {
      expect(get(peer, '/cbt-required', {})).toEqual([bound])
      expect(get(peer, '/cbt-required', { preemptive: true, channelBindings: 'required' })).toEqual([bound])
      expect(get(peer, '/cbt-required', { mechanism: 'krb5' })).toEqual([bound])
    })

    test(`${what}: mismatch and none are refused where bindings are required`, () => {
      const wrong = [...Buffer.from(`tls-server-end-point:${'x'.repeat(32)}`)]
      expect(get(peer, '/cbt', { channelBindings: wrong })).toMatchObject([{ status: 401 }])
      expect(get(peer, '/cbt-required', { channelBindings: 'off' })).toMatchObject([{ status: 401 }])
      expect(get(peer, '/cbt', { channelBindings: 'off' })).toMatchObject([
        { status: 200, channelBound: false, there: false },
      ])
    })
  }

  test('forty requests at once, all bound', () => {
    expect(get('PY_TLS_URL', '/cbt-required', { preemptive: true }, 40)).toEqual(Array(40).fill(bound))
  })
})

describe('[Apache mod_auth_gssapi] takes tokens with bindings, which it ignores', () => {
  test('over TLS', () => {
    const [answer] = get('APACHE_TLS_URL', '/spnego/', {})
    expect(answer).toMatchObject({ status: 200, channelBound: true, serverAuthenticated: true })
  })
})
