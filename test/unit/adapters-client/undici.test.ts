import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { MutualAuthenticationError, UsageError } from '../../../src/entries/index.ts'
import { type NegotiateInterceptorOptions, negotiateInterceptor } from '../../../src/entries/undici.ts'
import { CHALLENGE, errorOf, eventually, type Script, Site, World } from '../http-client/site.ts'
import { LANES, reasonOf } from './undici-lanes.ts'

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const alice = (options: Partial<NegotiateInterceptorOptions> = {}) =>
  negotiateInterceptor({ credentials: world.alice, ...options })

/** Asks, accepts, and proves nothing. */
const silent: Script = async ({ token }) => {
  if (token === undefined) return CHALLENGE
  await world.accept(token)
  return { headers: { 'set-cookie': 'a=b', 'x-page': '1', server: 'silent' }, body: 'secret page' }
}

/** The connection of the last request; undici 6 may open another at once, for nothing. */
async function closed(site: Site): Promise<void> {
  const isOpen = () => site.open.has(site.seen.at(-1)?.connection ?? 0)
  await eventually(() => !isOpen())
  expect(isOpen()).toBe(false)
}

describe.each(LANES)('$name', ({ client, isFetch }) => {
  test('C19: GET, POST and GET: each has its own token, on one connection', async () => {
    await using site = await Site.start(world.honest(({ body }, user) => ({ body: `${user} ${body}` })))
    await using ours = client(alice())
    for (const body of [undefined, 'text', undefined]) {
      const answer = await ours.send(site.url, body === undefined ? {} : { method: 'POST', body })
      expect([answer.status, await answer.text()]).toEqual([200, `alice@EXAMPLE.TEST ${body ?? ''}`])
      const report = { attempted: true, serverAuthenticated: true, principal: 'alice@EXAMPLE.TEST' }
      if (isFetch) expect(answer.report).toBeUndefined()
      else expect(answer.report).toMatchObject(report)
      await setImmediate() // undici itself opens a second connection without
    }
    expect(site.seen.map(({ method }) => method)).toEqual(['GET', 'GET', 'POST', 'POST', 'GET', 'GET'])
    expect(new Set(site.tokens).size).toBe(3)
    expect(site.connections).toBe(1)
  })

  test('C19: twenty at once: twenty tokens, all different', async () => {
    await using site = await Site.start(world.honest(({ url }) => ({ body: url })))
    await using ours = client(alice())
    const paths = Array.from({ length: 20 }, (_, i) => `/${i}?q=a%20b`)
    const texts = await Promise.all(paths.map(async (path) => (await ours.send(site.url + path)).text()))
    expect(texts).toEqual(paths)
    expect(site.seen.length).toBe(40)
    expect(new Set(site.tokens).size).toBe(20)
  })

  test('preemptive: one request, with a token; without a ticket it goes without', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ preemptive: true }))
    expect(await (await ours.send(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    expect([site.seen.length, site.tokens.length]).toEqual([1, 1])
    await using nobody = client(alice({ preemptive: true, service: 'unknown' }))
    const answer = await nobody.send(site.url)
    expect([answer.status, await answer.text()]).toEqual([401, 'who are you?'])
    expect([site.seen.length, site.tokens.length]).toEqual([2, 1])
    if (!isFetch) expect(answer.report?.error?.code).toBe('KDC_ERR_S_PRINCIPAL_UNKNOWN')
  })

  test('raw Kerberos tokens', async () => {
    await using site = await Site.start(world.honest())
    await using ours = client(alice({ mechanism: 'krb5', mutualAuthentication: 'required' }))
    expect(await (await ours.send(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    expect(Buffer.from(site.tokens[0] ?? '', 'base64').toString('latin1', 0, 17)).toContain(
      '\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02',
    )
  })

  test('C12: a server that asks for ever gets three tokens; one that refuses, two at most', async () => {
    await using asking = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      return { status: 401, headers: { 'www-authenticate': `Negotiate ${token}` }, body: 'again' }
    })
    await using ours = client(alice())
    expect((await ours.send(asking.url)).status).toBe(401)
    expect(asking.tokens.length).toBeLessThanOrEqual(3)
    await using refusing = await Site.start(async () => CHALLENGE)
    const answer = await ours.send(refusing.url)
    expect([answer.status, await answer.text()]).toEqual([401, 'who are you?'])
    expect(refusing.tokens.length).toBeLessThanOrEqual(2)
    if (!isFetch) expect(answer.report).toMatchObject({ attempted: true, error: { code: 'REJECTED' } })
  })

  test('C13: a 401 whose page never ends is left, and the login goes on', async () => {
    const forever: Script = async (seen, nth, out) => {
      if (seen.token !== undefined) return world.honest()(seen, nth, out)
      out.writeHead(401, { 'www-authenticate': 'Negotiate' })
      out.write(seen.url === '/long' ? Buffer.alloc(1_000_000) : 'wait')
      return undefined
    }
    await using site = await Site.start(forever)
    await using ours = client(alice())
    const start = performance.now()
    expect(await (await ours.send(`${site.url}/long`)).text()).toBe('alice@EXAMPLE.TEST')
    expect(performance.now() - start).toBeLessThan(900)
    if (isFetch) return
    expect(await (await ours.send(`${site.url}/slow`)).text()).toBe('alice@EXAMPLE.TEST')
  })

  test('C16: an Authorization of the caller goes out as it is, and no challenge is answered', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    await using ours = client(alice({ preemptive: true }))
    const answer = await ours.send(site.url, { headers: { AuthoriZation: 'Bearer mine' } })
    expect([answer.status, answer.report]).toEqual([401, undefined])
    expect(site.seen.map(({ headers }) => headers['authorization'])).toEqual(['Bearer mine'])
  })

  test('C20: 200 without a token, required: an error, and nothing of the page', async () => {
    await using site = await Site.start(silent)
    for (const mutualAuthentication of ['required', 'auto'] as const) {
      await using ours = client(alice({ mutualAuthentication }))
      expect(reasonOf(await errorOf(ours.send(site.url)))).toBeInstanceOf(MutualAuthenticationError)
    }
    await using ours = client(alice({ mutualAuthentication: 'optional' }))
    expect(await (await ours.send(site.url)).text()).toBe('secret page')
  })

  test('C20: an error page of a server that proves nothing is withheld', async () => {
    await using site = await Site.start(async (seen, nth, out) => {
      const reply = await silent(seen, nth, out)
      return seen.token === undefined ? reply : { ...reply, status: 500 }
    })
    await using ours = client(alice({ preemptive: true }))
    const answer = await ours.send(site.url)
    expect([answer.status, await answer.text()]).toEqual([500, 'secret page']) // never challenged: as without a login
    await using withheld = client(alice({ mutualAuthentication: 'required' }))
    const page = await withheld.send(site.url)
    expect([page.status, await page.text()]).toEqual([500, ''])
    const fields = ['content-length', 'server', 'x-page', 'set-cookie'].map((name) => page.header(name))
    expect(fields).toEqual(['0', 'silent', undefined, undefined])
    expect(page.header('date')).toBeDefined()
    await using plain = client(alice({ mutualAuthentication: 'required', sanitizeErrors: false }))
    expect(await (await plain.send(site.url)).text()).toBe('secret page')
  })

  test('C22: the proof of an earlier exchange is an error', async () => {
    let first: string | undefined
    await using site = await Site.start(async ({ token }) => {
      if (token === undefined) return CHALLENGE
      first ??= (await world.accept(token)).answer
      return { headers: { 'www-authenticate': `Negotiate ${first}` }, body: 'secret page' }
    })
    await using ours = client(alice({ mutualAuthentication: 'optional' }))
    expect((await ours.send(site.url)).status).toBe(200)
    expect(reasonOf(await errorOf(ours.send(site.url)))).toBeInstanceOf(MutualAuthenticationError)
  })

  test('C25: a proof on an error page is verified, and then the page is delivered', async () => {
    await using site = await Site.start(world.honest(() => ({ status: 404, body: 'not here' })))
    await using ours = client(alice({ mutualAuthentication: 'required' }))
    const answer = await ours.send(site.url)
    expect([answer.status, await answer.text()]).toEqual([404, 'not here'])
  })

  test('C06: plain http that is not listed takes no token; C61: an address has no name', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    await using ours = client(alice({ onLoginError: 'throw' }))
    expect(reasonOf(await errorOf(ours.send(`http://127.0.0.1:${site.port}/`)))).toMatchObject({
      code: 'TARGET_IS_ADDRESS',
    })
    await using named = client(alice({ origins: ['https://web1.corp.example'] }))
    const answer = await named.send(site.url)
    expect(answer.status).toBe(401)
    if (!isFetch) expect(answer.report?.error?.code).toBe('ORIGIN_NOT_ALLOWED')
    expect(site.tokens).toEqual([])
  })

  test('HEAD, 204 and 304 have no page, with and without a proof', async () => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      await using site = await Site.start(world.honest(() => ({ status })))
      await using ours = client(alice({ mutualAuthentication: 'required', preemptive: false }))
      const answer = await ours.send(site.url, { method })
      expect([answer.status, await answer.text()]).toEqual([status, ''])
      expect(site.seen.map((seen) => seen.method)).toEqual([method, method])
      await using quiet = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : { status }))
      expect(reasonOf(await errorOf(ours.send(quiet.url, { method })))).toBeInstanceOf(MutualAuthenticationError)
    }
  })

  test('a server that closes the connection at once, without a page, while the login decides', async () => {
    const closing: Script = async ({ token, url }, _, out) => {
      const proof = token === undefined ? '' : ` ${(await world.accept(token)).answer}`
      const length = url === '/counted' ? 'Content-Length: 0\r\n' : ''
      const status = token === undefined ? '401 Who' : '200 Fine'
      out.socket?.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${length}WWW-Authenticate: Negotiate${proof}\r\n\r\n`)
      return undefined
    }
    await using site = await Site.start(closing)
    for (const path of ['/', '/counted']) {
      await using ours = client(alice({ service: 'HTTP' }))
      const answer = await ours.send(site.url + path)
      expect([answer.status, await answer.text()]).toEqual([200, ''])
    }
  })

  test('interim answers are passed over', async () => {
    await using site = await Site.start(async (seen, nth, out) => {
      out.writeProcessing()
      out.writeEarlyHints({ link: '</x>; rel=preload' })
      return world.honest()(seen, nth, out)
    })
    await using ours = client(alice({ mutualAuthentication: 'required', preemptive: false }))
    const answer = await ours.send(site.url)
    expect([answer.status, await answer.text()]).toEqual([200, 'alice@EXAMPLE.TEST'])
    expect(answer.header('link')).toBeUndefined()
  })

  test('a large page comes at the pace of its reader', async () => {
    const SIZE = 48 * 1024 * 1024
    let written = 0
    const server = createServer(async (request, response) => {
      const token = /^Negotiate (.*)$/.exec(request.headers.authorization ?? '')?.[1]
      if (token === undefined) return response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
      const { answer } = await world.accept(token)
      response.writeHead(200, { 'www-authenticate': `Negotiate ${answer}` })
      while (written < SIZE && !response.destroyed) {
        written += 65_536
        if (!response.write(Buffer.alloc(65_536))) await new Promise((resolve) => response.once('drain', resolve))
      }
      return response.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await using ours = client(alice())
      const answer = await ours.send(`http://localhost:${(server.address() as AddressInfo).port}/`)
      const { stream } = answer
      await setTimeout(300)
      expect(written).toBeLessThan(SIZE / 2)
      let length = 0
      for await (const chunk of stream) length += (chunk as Uint8Array).length
      expect(length).toBe(SIZE)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test('C13: while a ticket is fetched, little of an endless 401 is taken', async () => {
    const { TestRealm } = await import('../../../src/entries/testing.ts')
    const { Credentials } = await import('../../../src/entries/undici.ts')
    const quiet = { realm: 'SILENT.TEST', users: { alice: 'x' }, services: ['HTTP/localhost'] }
    const realm = await TestRealm.start({ ...quiet, faults: ['silent'] })
    let written = 0
    await using site = await Site.start(async (_, __, out) => {
      out.writeHead(401, { 'www-authenticate': 'Negotiate' })
      while (!out.destroyed && written < 100_000_000) {
        written += 65_536
        if (!out.write(Buffer.alloc(65_536))) await Promise.race([once(out, 'drain'), once(out, 'close')])
      }
      return undefined
    })
    try {
      const credentials = Credentials.fromPassword('alice@SILENT.TEST', 'x')
      await using ours = client(alice({ credentials, config: realm.config, loginTimeoutMs: 300 }))
      const answer = await ours.send(site.url)
      expect(answer.status).toBe(401)
      expect(written).toBeLessThan(20_000_000)
      expect(String(reasonOf(await errorOf(answer.text())))).toMatch(/too long to be kept|terminated/)
    } finally {
      await realm.stop()
    }
  })

  describe('C13: the caller gives up', () => {
    const reason = new Error('enough')

    test('before anything is sent', async () => {
      await using site = await Site.start(world.honest())
      await using ours = client(alice())
      expect(await errorOf(ours.send(site.url, { signal: AbortSignal.abort(reason) }))).toBe(reason)
      expect(site.seen).toEqual([])
    })

    test('while the server keeps the first answer back, and while it keeps the second', async () => {
      for (const held of [1, 2]) {
        const controller = new AbortController()
        await using site = await Site.start(async (seen, nth, out) => {
          if (nth < held) return world.honest()(seen, nth, out)
          controller.abort(reason)
          return undefined
        })
        await using ours = client(alice())
        expect(await errorOf(ours.send(site.url, { signal: controller.signal }))).toBe(reason)
        await closed(site)
        expect(site.seen.length).toBe(held)
      }
    })

    test('while a ticket is fetched: no token is sent, and the connection is closed', async () => {
      const { TestRealm } = await import('../../../src/entries/testing.ts')
      const { Credentials } = await import('../../../src/entries/undici.ts')
      const quiet = { realm: 'SILENT.TEST', users: { alice: 'x' }, services: ['HTTP/localhost'] }
      const realm = await TestRealm.start({ ...quiet, faults: ['silent'] })
      try {
        const controller = new AbortController()
        await using site = await Site.start(async () => {
          void setTimeout(30).then(() => controller.abort(reason))
          return CHALLENGE
        })
        const credentials = Credentials.fromPassword('alice@SILENT.TEST', 'x')
        for (const preemptive of [false, true]) {
          await using ours = client(alice({ credentials, config: realm.config, preemptive }))
          const start = Date.now()
          if (preemptive) void setTimeout(30).then(() => controller.abort(reason))
          expect(await errorOf(ours.send(site.url, { signal: controller.signal }))).toBe(reason)
          expect(Date.now() - start).toBeLessThan(1000)
        }
        expect([site.seen.length, site.tokens.length]).toEqual([1, 0])
        await closed(site)
      } finally {
        await realm.stop()
      }
    })

    test('just before a token: none is sent, and a body that was begun is let go', async () => {
      await using site = await Site.start(world.honest())
      for (const preemptive of [false, true]) {
        const controller = new AbortController()
        let isLetGo = false
        const body = async function* () {
          try {
            for (;;) yield Buffer.from('more')
          } finally {
            isLetGo = true
          }
        }
        const targetName = ({ hostname }: URL) => {
          controller.abort(reason)
          return hostname
        }
        await using ours = client(alice({ targetName, origins: [site.url], maxReplayBodyBytes: 9 }))
        const asked = preemptive ? { method: 'POST', body: body() } : {}
        expect(await errorOf(ours.send(site.url, { ...asked, signal: controller.signal }))).toBe(reason)
        await setTimeout(50)
        expect([site.tokens, isLetGo]).toEqual([[], preemptive])
      }
    })

    test('during the page', async () => {
      const controller = new AbortController()
      await using site = await Site.start(async ({ token }, _, out) => {
        if (token === undefined) return CHALLENGE
        const { answer } = await world.accept(token)
        out.writeHead(200, { 'www-authenticate': `Negotiate ${answer}` }).write('begun')
        return undefined
      })
      await using ours = client(alice())
      const answer = await ours.send(site.url, { signal: controller.signal })
      const text = errorOf(answer.text())
      controller.abort(reason)
      expect(await text).toBe(reason)
      await closed(site)
    })
  })

  test('a page that is cut off is the error it would be, and a connection refused too', async () => {
    const site = await Site.start(async ({ token }, _, out) => {
      if (token === undefined) return CHALLENGE
      const { answer } = await world.accept(token)
      out.writeHead(200, { 'www-authenticate': `Negotiate ${answer}`, 'content-length': '100' }).write('begun')
      await setTimeout(20)
      out.destroy()
      return undefined
    })
    await using ours = client(alice())
    const { url } = site
    const answer = await ours.send(url)
    expect(reasonOf(await errorOf(answer.text()))).toMatchObject({ code: 'UND_ERR_SOCKET' })
    await site[Symbol.asyncDispose]()
    expect(reasonOf(await errorOf(ours.send(url)))).toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('onLoginError: throw', async () => {
    await using site = await Site.start(async () => CHALLENGE)
    await using ours = client(alice({ service: 'unknown', onLoginError: 'throw' }))
    const error = reasonOf(await errorOf(ours.send(site.url)))
    expect(error).toMatchObject({ code: 'KDC_ERR_S_PRINCIPAL_UNKNOWN' })
    expect(error).not.toBeInstanceOf(UsageError)
  })
})
