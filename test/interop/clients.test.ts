import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Credentials, Krb5Config } from '../../src/entries/index.ts'
import type { NegotiateClientOptions } from '../../src/entries/wiring/client.ts'
import { tlsServerEndPoint } from '../../src/gss/bindings.ts'
import { type Answer, CLIENTS, causes } from '../unit/adapters-client/clients.ts'
import { errorOf } from '../unit/http-client/site.ts'
import { type Environment, labFolder, Peer, removeFolder, run, trust, withEnvironment } from './lab.ts'

/** Every client of this package at real servers: Apache over http and TLS, lighttpd, and MIT's acceptor where bindings are demanded. */

let base: string
let kdc: Peer
let apache: Peer
let lighttpd: Peer
let python: Peer
let environment: Environment
let config: Krb5Config
let restore: () => void
let distrust: () => void

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const file = kdc.get('KRB5_CONFIG')
  apache = Peer.start('apache', base, '--keytab', keytab, '--krb5-conf', file)
  lighttpd = Peer.start('lighttpd', base, '--keytab', keytab, '--krb5-conf', file)
  const certificates = join(apache.get('APACHE_CA'), '..')
  python = Peer.start('py-server', base, '--keytab', keytab, '--krb5-conf', file, '--tls-dir', certificates)
  environment = { KRB5_CONFIG: file }
  restore = withEnvironment(environment)
  distrust = trust(readFileSync(apache.get('APACHE_CA'), 'utf8'))
  config = Krb5Config.parse(readFileSync(file, 'utf8').replace('[libdefaults]', '[libdefaults]\n forwardable = true\n'))
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})

afterAll(() => {
  vi.restoreAllMocks()
  distrust?.()
  restore?.()
  for (const peer of [python, lighttpd, apache, kdc]) peer?.stop()
  removeFolder(base)
})

const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: Credentials.forRealm('alice@MIT.TEST', 'alice-pw', config),
  config,
  ...more,
})

const PROVED = { attempted: true, serverAuthenticated: true, principal: 'alice@MIT.TEST', error: undefined }

function proved({ report }: Answer, reports: boolean, more: object = {}): void {
  if (reports) expect(report).toMatchObject({ ...PROVED, ...more })
}

describe.each(CLIENTS)('[Apache mod_auth_gssapi] $name', ({ open, reports, owns }) => {
  test.each(['APACHE_URL', 'APACHE_TLS_URL', 'APACHE_TLS512_URL'])(
    '%s: a login, and the server proves itself',
    async (where) => {
      const channelBound = owns && where !== 'APACHE_URL'
      const answer = await open(alice())(`${apache.get(where)}/spnego/`)
      expect(answer.status).toBe(200)
      expect(answer.text).toContain('user=alice@MIT.TEST')
      proved(answer, reports, { target: 'HTTP/localhost@MIT.TEST', mechanism: 'spnego', channelBound })
    },
  )

  test('raw Kerberos where nothing else is taken', async () => {
    const answer = await open(alice({ mechanism: 'krb5' }))(`${apache.get('APACHE_URL')}/krb5only/`)
    expect(answer.status).toBe(200)
    proved(answer, reports, { mechanism: 'krb5' })
  })

  test('a session of the server’s: its cookie opens the page again', async () => {
    const url = `${apache.get('APACHE_URL')}/session/`
    const call = open(alice({ mutualAuthentication: 'optional' }))
    const first = await call(url)
    expect(first.status).toBe(200)
    const cookie = /gssapi_session=[^;]+/.exec(first.headers['set-cookie'] ?? '')?.[0] ?? ''
    expect(cookie).not.toBe('')
    const second = await call(url, { headers: { cookie } })
    expect(second.status).toBe(200)
    expect(second.text).toContain('user=alice@MIT.TEST')
  })

  test('a forwarded login, which Apache keeps and can use', async () => {
    const origin = apache.get('APACHE_TLS_URL')
    const options = { delegate: true, delegateTo: [origin], origins: [origin] } as const
    const answer = await open(alice(options))(`${origin}/deleg/`)
    expect(answer.status).toBe(200)
    proved(answer, reports, { delegated: true })
    const [, cache = ''] = /ccache=(?:FILE:)?([^\s<]+)/.exec(answer.text) ?? []
    expect(run('klist', ['-f', cache], environment).stdout).toContain('Default principal: alice@MIT.TEST')
    expect(run('kvno', ['HTTP/www.mit.test'], { ...environment, KRB5CCNAME: cache }).status).toBe(0)
    const without = await open(alice())(`${origin}/deleg/`)
    expect(/ccache=([^\s<]+)/.exec(without.text)?.[1]).toBe('(none)')
  })

  test('a wrong password and a name without a key: the 401, with the reason', async () => {
    const url = `${apache.get('APACHE_URL')}/spnego/`
    const wrong = Credentials.forRealm('alice@MIT.TEST', 'no', config)
    const refused = await open(alice({ credentials: wrong }))(url)
    expect(refused.status).toBe(401)
    if (reports) expect(refused.report).toMatchObject({ attempted: false, error: { code: 'KDC_ERR_PREAUTH_FAILED' } })
    const origins = [apache.get('APACHE_URL')]
    const named = await open(alice({ targetName: 'HTTP@nokeytab.mit.test', origins }))(url)
    expect(named.status).toBe(401)
    if (reports) expect(named.report).toMatchObject({ attempted: true, serverAuthenticated: false })
    if (reports) expect(named.report?.error).toBeDefined()
  })

  test('a certificate that nobody vouches for is an error of the client itself', async () => {
    distrust()
    try {
      const error = await errorOf(open(alice())(`${apache.get('APACHE_TLS_URL')}/spnego/`))
      expect(String(causes(error))).toMatch(/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET_ISSUER/)
    } finally {
      distrust = trust(readFileSync(apache.get('APACHE_CA'), 'utf8'))
    }
  })
})

describe.each(CLIENTS)('[lighttpd mod_authn_gssapi] $name', ({ open, reports }) => {
  test('no token comes back: an error over plain http, unless the caller does not mind', async () => {
    const url = `${lighttpd.get('LIGHTTPD_URL')}/spnego/who.sh`
    const answered = await open(alice({ mutualAuthentication: 'optional' }))(url)
    expect(answered).toMatchObject({ status: 200 })
    expect(answered.text).toContain('user=alice@MIT.TEST')
    if (reports) expect(answered.report).toMatchObject({ attempted: true, serverAuthenticated: false })
    // Where a token goes unasked nobody has asked for a proof either: `required` asks.
    const error = await errorOf(open(alice({ mutualAuthentication: 'required' }))(url))
    expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
  })
})

describe.each(CLIENTS)('[Python acceptor] $name', ({ open, reports, owns }) => {
  test.each([
    ['PY_TLS_URL', 'server-sha256.pem'],
    ['PY_TLS512_URL', 'server-sha512.pem'],
  ])('%s demands bindings: match, mismatch, none', async (where, file) => {
    const origin = python.get(where)
    const own = tlsServerEndPoint(new X509Certificate(readFileSync(join(apache.get('APACHE_CA'), '..', file))).raw)
    // A dispatcher of the caller's shows no certificate: there the caller says which it is.
    const bound = await open(alice(owns ? { channelBindings: 'required' } : { channelBindings: own }))(
      `${origin}/cbt-required`,
    )
    expect([bound.status, JSON.parse(bound.text)]).toMatchObject([200, { channel_bound: true }])
    proved(bound, reports, { channelBound: true })
    const wrong = new TextEncoder().encode(`tls-server-end-point:${'x'.repeat(32)}`)
    expect((await open(alice({ channelBindings: wrong }))(`${origin}/cbt`)).status).toBe(401)
    expect((await open(alice({ channelBindings: 'off' }))(`${origin}/cbt-required`)).status).toBe(401)
    const unbound = await open(alice({ channelBindings: 'off' }))(`${origin}/cbt`)
    expect([unbound.status, JSON.parse(unbound.text)]).toMatchObject([200, { channel_bound: false }])
  })
})
