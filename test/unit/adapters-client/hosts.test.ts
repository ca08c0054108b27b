import dns from 'node:dns'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import { connector } from '../../../src/system/index.ts'
import { type Reply, Site, World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'
import { CLIENTS } from './clients.ts'

/** URLs whose host is an address, or no host at all: given by the caller, and by servers that redirect. */

let world: World
const uncaught: unknown[] = []
const remember = (error: unknown) => void uncaught.push(error)
const tls = certificate('rsa-sha256')

beforeAll(async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0' // self-signed
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  process.on('uncaughtException', remember).on('unhandledRejection', remember)
  world = await World.start()
})
afterAll(async () => {
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  process.off('uncaughtException', remember).off('unhandledRejection', remember)
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (more: NegotiateClientOptions = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  ...more,
})

const to = (location: string): Reply => ({ status: 302, headers: { location }, body: 'elsewhere' })

/** What becomes of a call: an answer, or an error. Never anything that ends the process. */
async function outcomeOf(call: Promise<{ status: number; text: string }>): Promise<unknown> {
  const outcome = await call.then(
    ({ status, text }) => `${status} ${text}`,
    (error: unknown) => error,
  )
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(uncaught.splice(0)).toEqual([])
  return outcome
}

const open6 = (secure: boolean, script = world.honest()): Promise<Site> =>
  Site.start(script, secure ? tls : undefined, '::1')
const url6 = ({ port }: Site, secure: boolean): string => `http${secure ? 's' : ''}://[::1]:${port}`

describe.each(CLIENTS)('C85 $name', ({ open, follows }) => {
  test.each([
    ['http', false],
    ['https', true],
  ])('%s to an IPv6 address: a login with the name that the caller says', async (_, secure) => {
    await using site = await open6(secure)
    const origins = [url6(site, secure)]
    for (const targetName of ['HTTP@localhost', () => 'HTTP@localhost']) {
      const call = open(alice({ targetName, origins }))
      expect(await outcomeOf(call(origins[0] as string))).toBe('200 alice@EXAMPLE.TEST')
    }
  })

  test.each([
    ['http', false],
    ['https', true],
  ])('%s to an IPv6 address that asks for no login, and without a name', async (_, secure) => {
    await using site = await open6(secure, async () => ({ body: 'hello' }))
    const at = url6(site, secure)
    for (const more of [{}, { origins: [at] }]) {
      const outcome = await outcomeOf(open(alice(more))(at))
      if (typeof outcome !== 'string') expect(outcome).toMatchObject({ code: 'TARGET_IS_ADDRESS' })
      else expect(outcome).toBe('200 hello')
    }
  })

  test.each([
    ['http', false],
    ['https', true],
  ])('%s to an IPv6 address, through a proxy at one', async (_, secure) => {
    await using site = await open6(secure)
    const asked: unknown[] = []
    const proxy = createServer().on('connect', ({ url = '' }, stream) => {
      asked.push(url)
      const far = connect(site.port, '::1', () => {
        stream.write('HTTP/1.1 200 OK\r\n\r\n')
        far.pipe(stream).pipe(far)
      })
      far.on('error', () => stream.destroy())
      stream.on('error', () => far.destroy()).on('close', () => far.destroy())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '::1', resolve))
    const at = url6(site, secure)
    const url = `http://[::1]:${(proxy.address() as AddressInfo).port}`
    const call = open(alice({ targetName: 'HTTP@localhost', origins: [at], proxy: { url, tunnel: true } }))
    expect(await outcomeOf(call(at))).toBe('200 alice@EXAMPLE.TEST')
    expect(new Set(asked)).toEqual(new Set([`[::1]:${site.port}`]))
    proxy.close()
  })

  test('a redirect to an IPv6 address', async () => {
    if (!follows) return
    await using other = await open6(false)
    await using site = await Site.start(world.honest(() => to(`${url6(other, false)}/b`)))
    const origins = [site.url, url6(other, false)]
    const call = open(alice({ targetName: 'HTTP@localhost', origins }))
    expect(await outcomeOf(call(site.url))).toBe('200 alice@EXAMPLE.TEST')
    const asks = open(alice({ origins: [site.url] }))
    const outcome = await outcomeOf(asks(site.url))
    if (typeof outcome !== 'string') expect(outcome).toBeInstanceOf(Error)
    else expect(outcome).toBe('401 who are you?')
    expect(other.tokens).toHaveLength(1) // not for whom nobody named
  })

  test.each([
    'http://[::1',
    'http://[::1%25eth0]/',
    'http://[fe80::1%eth0]:1/',
    'http://256.256.256.256/',
    'http://a b/',
    'http://%00/',
    'http://[::1]:99999/',
    'http://user:word@[::1]:1/',
    'http://localhost:1:2/',
    'http://\\[::1]/',
    'http://[::ffff:127.0.0.1]:1/',
    'https://xn--/',
    '//[::1]:1/',
    'http:',
  ])('a redirect to %s', async (location) => {
    if (!follows) return
    await using site = await Site.start(world.honest(() => to(location)))
    for (const more of [{}, { origins: [site.url] }, { origins: [site.url], targetName: () => 'HTTP@localhost' }]) {
      const outcome = await outcomeOf(open(alice(more))(site.url))
      expect(typeof outcome === 'string' ? outcome : outcome instanceof Error).not.toBe(false)
    }
  })
})

describe('C85 spnego/undici: connector()', () => {
  test('hosts that undici, or whoever is in its place, gives', async () => {
    const connect = negotiateInterceptor(alice()).connector()
    await using site = await open6(false)
    const opened = (hostname: string, port: string = String(site.port)) =>
      new Promise<unknown>((resolve) => {
        connect({ protocol: 'http:', hostname, port }, (error, socket) => {
          socket?.destroy()
          resolve(error)
        })
      })
    expect([await opened('::1'), await opened('[::1]')]).toEqual([null, null])
    for (const host of ['[::1', 'fe80::1%nowhere', 'a b', '', '::1]:1', 'localhost/a', 'x@localhost'])
      expect([host, await opened(host)]).toMatchObject([host, { code: 'NAME_INVALID' }])
    expect(await opened('::1', '99999')).toMatchObject({ code: 'NAME_INVALID' })
  })
})

describe('C85 what looks at a certificate, and throws', () => {
  test('is told to who waits for the connection', async () => {
    await using site = await open6(true)
    const wrong = new Error('no certificate that can be read')
    const open = connector(() => {
      throw wrong
    })
    const error = await new Promise((resolve) => {
      open({ protocol: 'https:', hostname: '::1', port: String(site.port) }, resolve)
    })
    expect(error).toBe(wrong)
  })
})

describe.each(CLIENTS)('C93 $name: a name below localhost, over plain http', ({ open, name, owns }) => {
  test('is this machine, whatever the DNS says, or gets no token', async () => {
    await using site = await Site.start(world.honest())
    const asked: unknown[] = []
    const spy = vi.spyOn(dns, 'lookup').mockImplementation(((host: string, options: { all?: boolean }, done: never) => {
      asked.push(host)
      // As somebody who answers DNS: another machine. Here it is this one all the same, or the test would need one.
      const looked = done as (error: null, found: unknown, family?: number) => void
      if (options.all) looked(null, [{ address: '127.0.0.1', family: 4 }])
      else looked(null, '127.0.0.1', 4)
    }) as never)
    try {
      const at = `http://app.localhost:${site.port}`
      const options = alice({ targetName: 'HTTP@localhost', origins: [at] })
      const outcome = await outcomeOf(open(options)(at))
      expect([outcome, asked, site.tokens.length]).toEqual(
        owns ? ['200 alice@EXAMPLE.TEST', [], 1] : ['401 who are you?', ['app.localhost'], 0],
      )
      const listed = { ...options, insecureOrigins: [at] }
      expect(await outcomeOf(open(listed)(at)), name).toBe('200 alice@EXAMPLE.TEST')
    } finally {
      spy.mockRestore()
    }
  })
})
