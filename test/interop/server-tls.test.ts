import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer as createPlain, type RequestListener, type Server } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createNegotiateServer, type Identity, type NegotiateServerOptions } from '../../src/entries/server.ts'
import { certificate } from '../unit/http-client/tls-site.ts'
import { kinit, LAB_SCRIPTS, labFolder, Peer, removeFolder, run, runBeside } from './lab.ts'

/** Clients of others at servers of ours: bound to TLS or not, over HTTP/2, and with a login that they forward. */

let base: string
let kdc: Peer
let keytab: string
let environment: Record<string, string>
let ca: string
const servers: Server[] = []
const OWN = certificate('rsa-sha256')

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  ca = join(base, 'ca.pem')
  writeFileSync(ca, OWN.cert)
  expect(kinit(environment, 'alice', 'alice-pw', '-f').status).toBe(0)
})
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})
afterAll(() => {
  kdc?.stop()
  removeFolder(base)
})

interface Served {
  readonly url: string
  readonly reasons: readonly string[]
}

type Kind = 'http' | 'https' | 'http2'

async function serve(
  kind: Kind,
  options: NegotiateServerOptions = {},
  say = async (identity: Identity) => `${identity.principal} ${identity.channelBound}`,
): Promise<Served> {
  const reasons: string[] = []
  const guard = createNegotiateServer({ keytab, onFailure: ({ reason }) => void reasons.push(reason), ...options })
  const listener: RequestListener = async (req, res) => {
    const identity = await guard.handle(req, res)
    if (identity !== undefined) res.end(`${req.httpVersion} ${await say(identity)}`)
  }
  const server =
    kind === 'http'
      ? createPlain(listener)
      : kind === 'https'
        ? createServer(OWN, listener)
        : (createSecureServer({ ...OWN, allowHTTP1: true }, listener as never) as unknown as Server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  const { port } = server.address() as AddressInfo
  return { url: `${kind === 'http' ? 'http' : 'https'}://localhost:${port}/`, reasons }
}

async function python(
  client: 'gssapi' | 'requests-kerberos',
  url: string,
  ...options: string[]
): Promise<{ status: number; body: string }> {
  const { stdout, stderr } = await runBeside(
    join(LAB_SCRIPTS, 'py-client.py'),
    [client, url, '--ca', ca, ...options],
    environment,
  )
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as { status: number; body: string }
}

describe('[python3-gssapi] bindings', () => {
  const bound = { status: 200, body: '1.1 alice@MIT.TEST true' }
  const unbound = { status: 200, body: '1.1 alice@MIT.TEST false' }
  const refused = { status: 401 }
  test.each([
    ['accept', bound, refused, unbound],
    ['required', bound, refused, refused],
    ['off', unbound, unbound, unbound],
  ] as const)('%s: match, mismatch, none', async (channelBindings, match, mismatch, none) => {
    const { url, reasons } = await serve('https', { channelBindings })
    for (const mechanism of ['spnego', 'krb5']) {
      expect(await python('gssapi', url, '--cbt', 'good', '--mech', mechanism)).toMatchObject(match)
      expect(await python('gssapi', url, '--cbt', 'bad', '--mech', mechanism)).toMatchObject(mismatch)
      expect(await python('gssapi', url, '--mech', mechanism)).toMatchObject(none)
    }
    expect(new Set(reasons)).toEqual(new Set(channelBindings === 'off' ? [] : ['BINDINGS_MISMATCH']))
  })
})

describe('[python3-gssapi] local names', () => {
  test.each(['spnego', 'krb5'])('MAG-08 %s: the realm is stripped', async (mechanism) => {
    const localNames = { stripRealm: ['MIT.TEST'] }
    const { url } = await serve('http', { localNames }, async ({ localName }) => String(localName))
    expect(await python('gssapi', url, '--mech', mechanism)).toMatchObject({ status: 200, body: '1.1 alice' })
  })
})

describe('[requests-kerberos] bindings', () => {
  test('of which Debian’s 0.12 sends none: it is let in, unless they are required', async () => {
    const accepting = await serve('https')
    expect(await python('requests-kerberos', accepting.url, '--mutual')).toMatchObject({
      status: 200,
      body: '1.1 alice@MIT.TEST false',
    })
    const requiring = await serve('https', { channelBindings: 'required' })
    expect(await python('requests-kerberos', requiring.url, '--mutual')).toMatchObject({ status: 401 })
    expect(requiring.reasons).toContain('BINDINGS_MISMATCH')
  })
})

describe('[curl] HTTP/2', () => {
  const options = ['-sS', '--max-time', '20', '--negotiate', '-u', ':', '-w', ' %{http_code} %{http_version}']

  test('a login in one request', async () => {
    const { url } = await serve('http2')
    const { stdout } = await runBeside('curl', [...options, '--http2', '--cacert', ca, url], environment)
    expect(stdout).toBe('2.0 alice@MIT.TEST false 200 2')
  })

  test('two requests over one connection, and one without a login', async () => {
    const { url, reasons } = await serve('http2')
    const { stdout } = await runBeside('curl', [...options, '--http2', '--cacert', ca, url, url], environment)
    expect(stdout.match(/2\.0 alice@MIT\.TEST false 200 2/g)?.length).toBe(2)
    const { stdout: without } = await runBeside(
      'curl',
      ['-sS', '--http2', '--cacert', ca, '-w', ' %{http_code}', url],
      environment,
    )
    expect(without).toBe('Unauthorized 401')
    expect(reasons.at(-1)).toBe('NO_CREDENTIALS')
  })
})

describe('[curl] a login that it forwards', () => {
  test('is used by MIT’s programs, from the cache that was saved', async () => {
    const cache = join(base, 'delegated')
    const { url } = await serve('http', { delegation: true }, async ({ delegated }) => {
      await delegated?.save(cache)
      return delegated === undefined ? 'none' : 'saved'
    })
    const options = ['-sS', '--negotiate', '-u', ':', '--delegation', 'always', url]
    expect((await runBeside('curl', options, environment)).stdout).toBe('1.1 saved')
    const delegated = { ...environment, KRB5CCNAME: `FILE:${cache}` }
    expect(run('klist', [], delegated).stdout).toContain('Default principal: alice@MIT.TEST')
    expect(run('kvno', ['HTTP/www.mit.test'], delegated).status).toBe(0)
  })
})
