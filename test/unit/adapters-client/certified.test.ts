import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as secureRequest } from 'node:https'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import axios from 'axios'
import got from 'got'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { NegotiateHttpsAgent } from '../../../src/entries/agent.ts'
import { negotiateAxios } from '../../../src/entries/axios.ts'
import { negotiateFetch } from '../../../src/entries/fetch.ts'
import { negotiateGot } from '../../../src/entries/got.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { tlsServerEndPoint } from '../../../src/gss/bindings.ts'
import { BoundConnections, CertificateBindings } from '../../../src/system/index.ts'
import { CHALLENGE, errorOf, eventually, type Reply, type Seen, Site, World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'
import { causes } from './clients.ts'

/** When a certificate vouches for a server that proves nothing by Kerberos: `auto`. The one of these tests is for `localhost`. */

let world: World
const own = certificate('rsa-sha256')
const script = async ({ token }: Seen): Promise<Reply> => (token === undefined ? CHALLENGE : { body: 'trust me' })

beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  world = await World.start()
})
afterEach(() => void vi.unstubAllEnvs())
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (url: string): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  targetName: 'HTTP@localhost',
  origins: [url],
})

type Fields = Readonly<Record<string, string>>
/** Those that answer a challenge (a server of `spnego/agent` is never seen to ask); each verifies with this certificate for an authority. */
const CLIENTS: Readonly<
  Record<string, (url: string, headers: Fields, more?: tls.ConnectionOptions) => Promise<unknown>>
> = {
  axios: async (url, headers, more) => {
    const httpsAgent = new HttpsAgent({ ca: own.cert, ...more })
    return (await negotiateAxios(axios.create({ httpsAgent, proxy: false }), alice(url)).get(url, { headers })).data
  },
  got: async (url, headers, more) => {
    const https = {
      certificateAuthority: own.cert,
      ...(more?.checkServerIdentity && { checkServerIdentity: more.checkServerIdentity }),
    }
    const agent =
      more?.servername === undefined ? {} : { agent: { https: new HttpsAgent({ servername: more.servername }) } }
    return negotiateGot(got, alice(url))(url, { headers, https, ...agent, retry: { limit: 0 } }).text()
  },
}

describe.each(Object.entries(CLIENTS))('C90 %s', (_, get) => {
  test('the certificate of the URL’s host vouches for the server', async () => {
    await using site = await Site.start(script, own)
    expect(await get(site.url, {})).toBe('trust me')
    expect(await get(site.url, { host: `localhost:${site.port}` })).toBe('trust me')
    expect(await get(site.url.replace('localhost', 'LOCALHOST'), {})).toBe('trust me')
  })

  test('one of another host, which the field Host or the option servername names, does not', async () => {
    await using site = await Site.start(script, own)
    const url = `https://127.0.0.1:${site.port}`
    for (const call of [get(url, { host: 'localhost' }), get(url, {}, { servername: 'localhost' })])
      expect(causes(await errorOf(call))).toContain('MUTUAL_AUTHENTICATION_FAILED')
  })

  test('Node’s own check of the name is Node’s check; another one is not', async () => {
    await using site = await Site.start(script, own)
    expect(await get(site.url, {}, { checkServerIdentity: tls.checkServerIdentity })).toBe('trust me')
    const error = await errorOf(get(site.url, {}, { checkServerIdentity: () => undefined }))
    expect(causes(error)).toContain('MUTUAL_AUTHENTICATION_FAILED')
  })
})

describe('C91 fetch: a connection that was opened while nothing was verified', () => {
  test.each(['off', 'auto'] as const)('vouches for nothing afterwards (bindings %s)', async (channelBindings) => {
    await using site = await Site.start(script, own)
    const fetch = negotiateFetch({ ...alice(site.url), channelBindings })
    const lax = negotiateFetch({ ...alice(site.url), channelBindings, mutualAuthentication: 'optional' })
    for (const client of [fetch, lax]) {
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
      const first = client(site.url)
      if (client === fetch) expect(await errorOf(first)).toMatchObject({ code: 'MUTUAL_AUTHENTICATION_FAILED' })
      else await (await first).text()
      vi.unstubAllEnvs()
      expect(causes(await errorOf(client(site.url)))).toContain('DEPTH_ZERO_SELF_SIGNED_CERT')
    }
  })
})

describe('C91 a connection that was opened to look at a certificate, while nothing was verified', () => {
  test('carries nothing afterwards', async () => {
    await using site = await Site.start(script, own)
    const bound = new BoundConnections(new CertificateBindings(tlsServerEndPoint))
    const url = new URL(site.url)
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    const bindings = await bound.bindingsOf(url)
    vi.unstubAllEnvs()
    const error = await new Promise((resolve) => bound.connectWith(bindings)(url, resolve))
    expect(causes(error)).toContain('DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  test('carries what it was opened for, as long as that is so', async () => {
    await using site = await Site.start(script, own)
    const bound = new BoundConnections(new CertificateBindings(tlsServerEndPoint))
    const url = new URL(site.url)
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    const bindings = await bound.bindingsOf(url)
    const socket = await new Promise<Socket | null>((resolve) =>
      bound.connectWith(bindings)(url, (_, one) => resolve(one)),
    )
    await eventually(() => site.connections > 0)
    const seen = [socket?.destroyed, site.connections]
    socket?.destroy()
    expect(seen).toEqual([false, 1])
  })
})

describe('C94 a connection that a rule of the caller’s has let through', () => {
  const any = () => undefined
  const send = async (agent: NegotiateHttpsAgent, url: string, more: object): Promise<string> => {
    const [response] = (await once(secureRequest(url, { agent, ...more }).end(), 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    return text
  }

  test('serves nobody who has Node’s rule, nor another', async () => {
    await using site = await Site.start(script, own)
    const url = `https://127.0.0.1:${site.port}`
    const agent = new NegotiateHttpsAgent(alice(url), { ca: own.cert })
    for (let i = 0; i < 2; i++) expect(await send(agent, url, { checkServerIdentity: any })).toBe('trust me')
    if (process.version.startsWith('v20.')) expect(site.connections).toBe(1) // later ones of Node keep none
    expect(await errorOf(send(agent, url, {}))).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    const strict = () => new Error('not this one')
    expect(await errorOf(send(agent, url, { checkServerIdentity: strict }))).toMatchObject({ message: 'not this one' })
    agent.destroy()
  })
})
