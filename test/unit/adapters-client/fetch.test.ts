import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type NegotiateFetchOptions, negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { MutualAuthenticationError } from '../../../src/entries/index.ts'
import { CHALLENGE, errorOf, eventually, type Script, Site, World } from '../http-client/site.ts'
import { certificate } from '../http-client/tls-site.ts'
import { globalDispatcher, installDispatcher } from './global-dispatcher.ts'

let world: World
let site: Site
/** What the site does after a login. */
let behind: (url: string) => { status?: number; headers?: Record<string, string>; body?: string } = () => ({})

beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  site = await Site.start(world.honest(({ url }, user) => ({ body: user, ...behind(url) })))
})
afterAll(async () => {
  vi.restoreAllMocks()
  await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const alice = (options: Partial<NegotiateFetchOptions> = {}) => negotiateFetch({ credentials: world.alice, ...options })

/** The two sends of one login. */
async function seenOf(call: (fetch: typeof globalThis.fetch) => Promise<Response>) {
  site.seen.length = 0
  behind = () => ({})
  const response = await call(alice())
  expect(response.status).toBe(200)
  await response.text()
  return site.seen
}

const half = (init: RequestInit) => ({ ...init, duplex: 'half' }) as RequestInit
const bytes = (text: string) => new TextEncoder().encode(text)
const form = () => {
  const made = new FormData()
  made.append('name', 'value')
  made.append('file', new Blob(['contents'], { type: 'text/x' }), 'f.txt')
  return made
}
async function* generated() {
  yield bytes('one ')
  yield bytes('two')
}

describe('A10: a body arrives whole, twice, as fetch would send it', () => {
  const KINDS: readonly (readonly [string, () => BodyInit, string, string | undefined])[] = [
    ['text', () => 'grüß', 'grüß', 'text/plain;charset=UTF-8'],
    ['bytes', () => bytes('one two'), 'one two', undefined],
    ['a view of a part', () => bytes('xone twox').subarray(1, 8), 'one two', undefined],
    ['ArrayBuffer', () => bytes('one two').buffer, 'one two', undefined],
    ['Blob', () => new Blob(['one two'], { type: 'text/x' }), 'one two', 'text/x'],
    [
      'URLSearchParams',
      () => new URLSearchParams({ a: '1', b: 'ä' }),
      'a=1&b=%C3%A4',
      'application/x-www-form-urlencoded;charset=UTF-8',
    ],
    ['ReadableStream', () => new Blob(['one two']).stream(), 'one two', undefined],
    ['async generator', () => generated() as unknown as BodyInit, 'one two', undefined],
    ['empty text', () => '', '', 'text/plain;charset=UTF-8'],
  ]

  test.each(KINDS)('%s', async (_, make, text, type) => {
    const expected = Buffer.from(text).toString('latin1')
    const seen = await seenOf((fetch) => fetch(site.url, half({ method: 'POST', body: make() })))
    expect(seen.map(({ body }) => body)).toEqual([expected, expected])
    expect(seen.map(({ headers }) => headers['content-type'])).toEqual([type, type])
    expect(seen.map(({ headers }) => headers['content-length'])).toEqual(Array(2).fill(String(expected.length)))
  })

  test.each(KINDS)('%s in a Request', async (_, make, text, type) => {
    const expected = Buffer.from(text).toString('latin1')
    const request = new Request(site.url, half({ method: 'PUT', body: make() }))
    const seen = await seenOf((fetch) => fetch(request))
    expect(seen.map(({ body, method }) => [method, body])).toEqual(Array(2).fill(['PUT', expected]))
    expect(seen.map(({ headers }) => headers['content-type'])).toEqual([type, type])
    expect(request.bodyUsed).toBe(true)
  })

  test('FormData, whose type has the boundary that is in the body', async () => {
    for (const input of [site.url, new Request(site.url)]) {
      const seen = await seenOf((fetch) => fetch(input, { method: 'POST', body: form() }))
      for (const { headers, body } of seen) {
        const type = headers['content-type'] ?? ''
        const parsed = await new Response(Buffer.from(body, 'latin1'), { headers: { 'content-type': type } }).formData()
        expect(parsed.get('name')).toBe('value')
        expect(await (parsed.get('file') as File).text()).toBe('contents')
      }
      expect(seen.length).toBe(2)
    }
  })

  test('FormData in a Request, and with an Authorization of the caller', async () => {
    site.seen.length = 0
    await (await alice()(new Request(site.url, { method: 'POST', body: form() }))).text()
    await alice()(site.url, { method: 'POST', body: form(), headers: { authorization: 'Bearer x' } })
    expect(site.seen.length).toBe(3)
    for (const { headers, body } of site.seen) {
      const boundary = /boundary=(.*)$/.exec(headers['content-type'] ?? '')?.[1] ?? 'none'
      expect(body.startsWith(`--${boundary}`)).toBe(true)
    }
  })

  test('a content type of the caller stays', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=mine' }
    const seen = await seenOf((fetch) => fetch(site.url, { method: 'POST', headers, body: 'x' }))
    expect(seen.map((one) => one.headers['content-type'])).toEqual(Array(2).fill(headers['content-type']))
  })

  test.each([
    ['bytes', () => bytes('before'), (body: Uint8Array) => body.fill(120)],
    ['URLSearchParams', () => new URLSearchParams('q=before'), (body: URLSearchParams) => body.set('q', 'after')],
    ['FormData', form, (body: FormData) => body.set('name', 'after')],
  ] as [string, () => BodyInit, (body: BodyInit) => void][])(
    '%s that the caller changes after the call',
    async (_, make, change) => {
      const body = make()
      const seen = await seenOf((fetch) => {
        const promise = fetch(site.url, { method: 'POST', body })
        change(body)
        return promise
      })
      expect(seen.length).toBe(2)
      for (const one of seen) expect(one.body).not.toMatch(/after|xxxxxx/)
    },
  )

  test('a stream of something else than bytes is an error, not other bytes', async () => {
    let cancelled = false
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue('text'),
      cancel: () => {
        cancelled = true
      },
    })
    await expect(alice()(site.url, half({ method: 'POST', body }))).rejects.toThrow(TypeError)
    expect(cancelled).toBe(true)
  })

  test('a stream that fails, fails the call with its own reason', async () => {
    const reason = new Error('disk full')
    const body = new ReadableStream({ pull: (controller) => controller.error(reason) })
    expect(await errorOf(alice()(site.url, half({ method: 'POST', body })))).toBe(reason)
  })

  test('a stream that stalls is ended by the signal, and cancelled', async () => {
    let cancelled: unknown
    const body = new ReadableStream({
      pull: () => new Promise(() => {}),
      cancel: (why) => {
        cancelled = why
      },
    })
    const reason = new Error('enough')
    const controller = new AbortController()
    const promise = errorOf(alice()(site.url, half({ method: 'POST', body, signal: controller.signal })))
    setTimeout(() => controller.abort(reason), 20)
    expect(await promise).toBe(reason)
    expect(cancelled).toBe(reason)
  })

  test('a used or locked body is refused as fetch does', async () => {
    const request = new Request(site.url, { method: 'POST', body: 'x' })
    await request.text()
    await expect(alice()(request)).rejects.toThrow(TypeError)
    const stream = new Blob(['x']).stream()
    stream.getReader()
    await expect(alice()(site.url, half({ method: 'POST', body: stream }))).rejects.toThrow(TypeError)
  })
})

describe('A10: a request is the caller’s', () => {
  test('method, headers, URL with query and without fragment', async () => {
    const seen = await seenOf((fetch) =>
      fetch(`${site.url}/path?q=a%20b#here`, {
        method: 'delete',
        headers: [
          ['X-One', '1'],
          ['x-one', '2'],
          ['accept', 'a/b'],
        ],
      }),
    )
    for (const { method, url, headers } of seen) {
      expect([method, url, headers['x-one'], headers['accept']]).toEqual(['DELETE', '/path?q=a%20b', '1, 2', 'a/b'])
    }
  })

  test('headers from an iterator, which can be read once', async () => {
    const headers = new Map([['x-one', '1']]).entries() as unknown as HeadersInit
    const seen = await seenOf((fetch) => fetch(site.url, { headers }))
    expect(seen.map((one) => one.headers['x-one'])).toEqual(['1', '1'])
  })

  test('init beats the Request: method, headers, body', async () => {
    const request = new Request(site.url, { method: 'PUT', headers: { 'x-old': '1' }, body: 'old' })
    const seen = await seenOf((fetch) => fetch(request, { method: 'POST', headers: { 'x-new': '1' }, body: 'new' }))
    expect(seen.map(({ method, body, headers }) => [method, body, headers['x-old'], headers['x-new']])).toEqual(
      Array(2).fill(['POST', 'new', undefined, '1']),
    )
  })

  test('what a Request says beside these is not lost', async () => {
    const seen = await seenOf((fetch) => fetch(new Request(site.url, { cache: 'no-store' })))
    expect(seen.map(({ headers }) => headers['cache-control'])).toEqual(['no-cache', 'no-cache'])
  })

  test('integrity is held, whether in a Request or in init', async () => {
    const digest = await crypto.subtle.digest('SHA-256', bytes('alice@EXAMPLE.TEST'))
    const right = `sha256-${Buffer.from(digest).toString('base64')}`
    const wrong = `sha256-${Buffer.alloc(32).toString('base64')}`
    expect(await (await alice()(site.url, { integrity: right })).text()).toBe('alice@EXAMPLE.TEST')
    await expect(alice()(site.url, { integrity: wrong })).rejects.toThrow(TypeError)
    await expect(alice()(new Request(site.url, { integrity: wrong }))).rejects.toThrow(TypeError)
  })

  test('the caller’s objects are left as they were', async () => {
    const init = Object.freeze({ method: 'POST', body: 'x', headers: Object.freeze({ a: 'b' }) })
    const request = new Request(site.url)
    await seenOf((fetch) => fetch(request, init))
    expect([...request.headers]).toEqual([])
    const headers = new Headers({ a: 'b' })
    await seenOf((fetch) => fetch(site.url, { headers }))
    expect([...headers]).toEqual([['a', 'b']])
  })

  test('an interim 103 is passed over', async () => {
    await using hinting = await Site.start(async (seen, nth, out) => {
      out.writeEarlyHints({ link: '</x>; rel=preload' })
      return world.honest()(seen, nth, out)
    })
    expect(await (await alice()(hinting.url)).text()).toBe('alice@EXAMPLE.TEST')
  })

  test.each(['ftp://localhost/', 'about:nothing', 'no url', ''])('%s fails as with fetch', async (url) => {
    const native = await errorOf(fetch(url))
    const ours = await errorOf(alice()(url))
    expect(native).toBeInstanceOf(TypeError)
    expect(ours).toBeInstanceOf(TypeError)
    expect((ours as Error).message).toBe((native as Error).message)
  })

  test('data: and blob: are fetched as ever', async () => {
    expect(await (await alice()('data:text/plain,hello')).text()).toBe('hello')
    const url = URL.createObjectURL(new Blob(['blob']))
    expect(await (await alice()(url)).text()).toBe('blob')
    URL.revokeObjectURL(url)
  })
})

describe('A10: redirects', () => {
  const leading = (status: number, location: string) => (url: string) =>
    url === '/start' ? { status, headers: { location } } : {}

  async function follow(status: number, init: RequestInit, location = '/end') {
    site.seen.length = 0
    behind = leading(status, location)
    const response = await alice()(`${site.url}/start`, init)
    return { response, last: site.seen.at(-1) }
  }

  test.each([
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'POST', 'GET', ''],
    [307, 'POST', 'POST', 'body'],
    [308, 'POST', 'POST', 'body'],
    [301, 'PUT', 'PUT', 'body'],
    [302, 'DELETE', 'DELETE', 'body'],
    [303, 'PUT', 'GET', ''],
  ])('%d makes %s a %s', async (status, method, then, body) => {
    const { response, last } = await follow(status, {
      method,
      body: 'body',
      headers: { 'content-language': 'en', 'x-kept': '1' },
    })
    expect(response).toMatchObject({ status: 200, redirected: true, url: `${site.url}/end` })
    expect([last?.method, last?.body, last?.headers['x-kept']]).toEqual([then, body, '1'])
    const described = ['content-type', 'content-language'].map((name) => last?.headers[name] !== undefined)
    expect(described).toEqual([body !== '', body !== ''])
    expect(negotiated(response)?.serverAuthenticated).toBe(true)
  })

  test('303 leaves HEAD as it is', async () => {
    expect((await follow(303, { method: 'HEAD' })).last?.method).toBe('HEAD')
  })

  test('a stream that was kept follows a 307, and a form too', async () => {
    const { last } = await follow(307, half({ method: 'POST', body: new Blob(['streamed']).stream() }))
    expect(last?.body).toBe('streamed')
    const second = await follow(307, { method: 'POST', body: form() })
    const boundary = /boundary=(.*)$/.exec(second.last?.headers['content-type'] ?? '')?.[1] ?? 'none'
    expect(second.last?.body.startsWith(`--${boundary}`)).toBe(true)
  })

  test('a stream that was not kept does not follow a 307', async () => {
    behind = leading(307, '/end')
    const body = new Blob(['streamed']).stream()
    const error = await errorOf(alice({ maxReplayBodyBytes: 2 })(`${site.url}/start`, half({ method: 'POST', body })))
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toBe('fetch failed')
  })

  test('the fragment goes along unless the location has one; url shows none', async () => {
    behind = leading(302, '/end')
    expect((await alice()(`${site.url}/start#there`)).url).toBe(`${site.url}/end`)
  })

  test('a location in raw UTF-8', async () => {
    const { last } = await follow(302, {}, Buffer.from('/größe').toString('latin1'))
    expect(last?.url).toBe('/gr%C3%B6%C3%9Fe')
  })

  test('manual delivers the redirect, verified; error is an error', async () => {
    const { response } = await follow(302, { redirect: 'manual' })
    expect(response).toMatchObject({ status: 302, redirected: false })
    expect(response.headers.get('location')).toBe('/end')
    expect(negotiated(response)?.serverAuthenticated).toBe(true)
    await expect(follow(302, { redirect: 'error' })).rejects.toThrow('fetch failed')
  })

  test.each([
    ['no URL', 'http://[bad'],
    ['another scheme', 'ftp://localhost/'],
    ['a data URL', 'data:text/plain,x'],
  ])('%s is fetch’s own error', async (_, location) => {
    const error = await errorOf(follow(302, {}, location))
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toBe('fetch failed')
  })

  test('20 are followed, and no more', async () => {
    site.seen.length = 0
    behind = (url) => ({ status: 302, headers: { location: `/${Number(url.slice(1)) + 1}` } })
    await expect(alice({ preemptive: true })(`${site.url}/0`)).rejects.toThrow('fetch failed')
    expect(site.seen.length).toBe(21)
    expect(new Set(site.tokens).size).toBe(21)
  })

  test('to another origin go no cookies, and no Host', async () => {
    await using other = await Site.start(async () => ({ body: 'other' }))
    const { response } = await follow(
      302,
      { headers: { cookie: 'a=b', 'proxy-authorization': 'x', 'x-kept': '1' } },
      other.url,
    )
    expect(await response.text()).toBe('other')
    const headers = other.seen[0]?.headers
    expect([headers?.['cookie'], headers?.['proxy-authorization'], headers?.['x-kept']]).toEqual([
      undefined,
      undefined,
      '1',
    ])
  })
})

describe('A10: dispatchers', () => {
  /** Node's own Agent, seen from outside: what counts is who was asked to dispatch. */
  function spying(change: (options: object) => object = (options) => options) {
    void new Headers()
    const inner = globalDispatcher() as {
      dispatch(options: object, handler: object): boolean
    }
    let count = 0
    class Mine {
      dispatch(options: object, handler: object): boolean {
        count++
        return inner.dispatch(change(options), handler)
      }
    }
    return { dispatcher: new Mine(), count: () => count }
  }

  test('that of the caller is used for every send, also with an Authorization of his own', async () => {
    behind = () => ({})
    const { dispatcher, count } = spying()
    expect((await alice()(site.url, { dispatcher } as RequestInit)).status).toBe(200)
    expect(count()).toBe(2)
    await alice()(site.url, { dispatcher, headers: { authorization: 'Bearer x' } } as RequestInit)
    expect(count()).toBe(3)
  })

  test('one that the program installs is used from then on, and until it is taken away', async () => {
    const { dispatcher, count } = spying()
    const fetch = alice()
    expect((await fetch(site.url)).status).toBe(200)
    const restore = installDispatcher(dispatcher)
    try {
      expect((await fetch(site.url)).status).toBe(200)
      expect(count()).toBe(2)
      expect((await alice()(site.url)).status).toBe(200)
      expect(count()).toBe(4)
    } finally {
      restore()
    }
    expect((await fetch(site.url)).status).toBe(200)
    expect(count()).toBe(4)
  })

  type Making = object | ((made: { compose(wrap: (inner: Dispatching) => Dispatching): object }) => object)
  type Dispatching = (options: object, handler: object) => boolean

  test.each<[string, (asked: () => void) => Making]>([
    [
      'connect',
      (asked) => ({
        connect: (_: object, connected: (error: Error) => void) => {
          asked()
          connected(new Error('blocked'))
        },
      }),
    ],
    [
      'a factory',
      (asked) => ({
        factory: () => {
          asked()
          throw new Error('blocked')
        },
      }),
    ],
    [
      'an interceptor',
      (asked) => (made) =>
        made.compose((inner) => (options, handler) => {
          asked()
          return inner(options, handler)
        }),
    ],
    [
      'a dispatch of its own',
      (asked) => (made) => {
        const { dispatch } = made as unknown as { dispatch: Dispatching }
        return Object.assign(made, {
          dispatch: (options: object, handler: object) => {
            asked()
            return dispatch.call(made, options, handler)
          },
        })
      },
    ],
  ])('C92 one that the program made of Node’s own class, with %s, is not passed by', async (_, make) => {
    const asked = vi.fn()
    const Built = globalDispatcher().constructor as new (options?: object) => never
    const making = make(asked)
    const restore = installDispatcher(typeof making === 'function' ? making(new Built()) : new Built(making))
    try {
      await alice()(site.url).catch(() => {})
    } finally {
      restore()
    }
    expect(asked).toHaveBeenCalled()
  })

  test('C92 one that it made with a bound or an authority is not Node’s own either', async () => {
    await using silentSite = await Site.start(
      async ({ token }) => (token === undefined ? CHALLENGE : { body: 'page' }),
      certificate('rsa-sha256'),
    )
    const Built = globalDispatcher().constructor as new (options?: object) => object
    const { cert: ca } = certificate('rsa-sha256')
    const restore = installDispatcher(new Built({ connect: { ca } }))
    try {
      // It is asked, since there is no certificate error; and what it verifies is not known.
      await expect(alice()(silentSite.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
    } finally {
      restore()
    }
  })

  test.each(['.1', '.2'])(
    'one that is installed under %s alone is used where the global fetch uses it',
    async (which) => {
      const globals = globalThis as Record<symbol, object | undefined>
      const symbol = Symbol.for(`undici.globalDispatcher${which}`)
      const { dispatcher, count } = spying()
      const before = globals[symbol]
      try {
        globals[symbol] = dispatcher
        await (await globalThis.fetch(site.url)).text()
        const isUsed = count() > 0
        await (await alice()(site.url)).text()
        expect(count()).toBe(isUsed ? 3 : 0)
      } finally {
        if (before === undefined) delete globals[symbol]
        else globals[symbol] = before
      }
    },
  )

  test.each(['given', 'installed'])(
    'one that is %s may verify nothing: then no certificate vouches for the server',
    async (how) => {
      await using silentSite = await Site.start(async ({ token }) =>
        token === undefined ? CHALLENGE : { body: 'page' },
      )
      const { dispatcher } = spying((options) => ({ ...options, origin: silentSite.url }))
      const restore = how === 'installed' ? installDispatcher(dispatcher) : () => {}
      try {
        const init = how === 'given' ? ({ dispatcher } as RequestInit) : {}
        await expect(alice()('https://localhost/', init)).rejects.toBeInstanceOf(MutualAuthenticationError)
      } finally {
        restore()
      }
    },
  )

  test('a fetch that takes the place of the global one does not call itself', async () => {
    const before = globalThis.fetch
    try {
      globalThis.fetch = alice()
      expect(await (await globalThis.fetch(site.url)).text()).toBe('alice@EXAMPLE.TEST')
    } finally {
      globalThis.fetch = before
    }
  })
})

describe('abort while a ticket is being fetched', () => {
  test.each(['return', 'throw'] as const)(
    'is the caller’s reason, not a 401 (onLoginError %s)',
    async (onLoginError) => {
      const silent = await import('../../../src/entries/testing.ts').then(({ TestRealm }) =>
        TestRealm.start({
          realm: 'SILENT.TEST',
          users: { alice: 'x' },
          services: ['HTTP/localhost'],
          faults: ['silent'],
        }),
      )
      try {
        const { Credentials } = await import('../../../src/entries/index.ts')
        const credentials = Credentials.fromPassword('alice@SILENT.TEST', 'x')
        const fetch = negotiateFetch({ credentials, config: silent.config, onLoginError, loginTimeoutMs: 300 })
        const controller = new AbortController()
        const script: Script = async () => {
          setTimeout(() => controller.abort(), 30)
          return CHALLENGE
        }
        await using asking = await Site.start(script)
        const error = await errorOf(fetch(asking.url, { signal: controller.signal }))
        expect(error).toMatchObject({ name: 'AbortError' })
        await eventually(() => asking.seen.length === 1)
        expect(asking.tokens).toEqual([])
      } finally {
        await silent.stop()
      }
    },
  )
})
