import { Agent as Agent7 } from 'undici7'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { negotiateInterceptor } from '../../../src/entries/undici.ts'
import type { NegotiateClientOptions } from '../../../src/entries/wiring/client.ts'
import type { Logger } from '../../../src/http/logger.ts'
import { errorOf, eventually, Site, World } from '../http-client/site.ts'
import { CLIENTS, causes } from './clients.ts'

/** Functions of the program that throw, reject, or give what they must not: through every client. */

let world: World
let site: Site
const uncaught: unknown[] = []
const warnings: unknown[] = []
const remember = (error: unknown) => void uncaught.push(error)

beforeAll(async () => {
  process.on('uncaughtException', remember).on('unhandledRejection', remember)
  world = await World.start()
  site = await Site.start(world.honest())
})
beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(((...values: unknown[]) => void warnings.push(values)) as never)
})
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 10))
  vi.restoreAllMocks()
  warnings.length = 0
  expect(uncaught.splice(0)).toEqual([])
})
afterAll(async () => {
  process.off('uncaughtException', remember).off('unhandledRejection', remember)
  await site[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const alice = (more: object = {}): NegotiateClientOptions => ({
  credentials: world.alice,
  config: world.realm.config,
  origins: [site.url],
  ...more,
})

class Odd extends Error {
  override get message(): string {
    throw new Error('no message either')
  }
}

const thrower = () => {
  throw new Error('out of order')
}

const throwing: readonly (readonly [string, () => unknown])[] = [
  [
    'throws an error',
    () => {
      throw new Error('out of order')
    },
  ],
  [
    'throws nothing at all',
    () => {
      throw undefined
    },
  ],
  [
    'throws a text',
    () => {
      throw 'route'
    },
  ],
  [
    'throws an error without a message',
    () => {
      throw new Odd()
    },
  ],
  [
    'throws an object without a prototype',
    () => {
      throw Object.create(null)
    },
  ],
  ['rejects', () => Promise.reject(new Error('out of order'))],
  ['gives what only looks like a promise, and fails', () => Object.fromEntries([['then', thrower]])],
  [
    'gives a revoked proxy',
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      return proxy
    },
  ],
]

describe.each(CLIENTS)('C88 $name', ({ open, name }) => {
  test.each(throwing)('targetName %s: the call fails, and says which function', async (_, targetName) => {
    const from = site.tokens.length
    const error = await errorOf(open(alice({ targetName }))(site.url))
    expect(causes(error)).toContain('CALLBACK_FAILED')
    if (!name.includes(',')) expect(error).toMatchObject({ code: 'CALLBACK_FAILED' })
    expect(site.tokens.length).toBe(from)
  })

  test.each([
    ['nothing', undefined, 'OPTION_INVALID'],
    ['null', null, 'OPTION_INVALID'],
    ['a number', 42, 'OPTION_INVALID'],
    ['a symbol', Symbol('name'), 'OPTION_INVALID'],
    ['an object', { components: ['HTTP', 'localhost'], realm: '' }, 'OPTION_INVALID'],
    ['a function', () => 'HTTP@localhost', 'OPTION_INVALID'],
    ['an empty text', '', 'NAME_INVALID'],
  ])('targetName gives %s', async (_, found, code) => {
    for (const targetName of [() => found, async () => found]) {
      const error = await errorOf(open(alice({ targetName }))(site.url))
      expect(causes(error)).toContain(code)
    }
  })

  test('targetName may take its time, and what it does to its URL is nobody else’s affair', async () => {
    const targetName = async (url: URL) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      url.hostname = 'elsewhere.example'
      url.pathname = '/elsewhere'
      return 'HTTP@localhost'
    }
    const answer = await open(alice({ targetName }))(`${site.url}/here`)
    expect(answer).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    expect(site.seen.at(-1)?.url).toBe('/here')
  })

  test('who gives up does not wait for a targetName that never answers', async () => {
    const stop = new AbortController()
    const asked = vi.fn(() => new Promise<string>(() => {}))
    const call = errorOf(open(alice({ targetName: asked }))(site.url, { signal: stop.signal }))
    await eventually(() => asked.mock.calls.length > 0)
    stop.abort()
    expect(await call).toBeInstanceOf(Error)
  })

  test.each(throwing)('a logger that %s changes nothing, and is reported once', async (_, log) => {
    const logger = { debug: log, info: log, warn: log, error: log } as unknown as Logger
    const call = open(alice({ logger }))
    for (let i = 0; i < 2; i++) expect(await call(site.url)).toMatchObject({ status: 200, text: 'alice@EXAMPLE.TEST' })
    const failed = [expect.stringContaining('logger threw'), { type: 'SpnegoWarning', code: 'CALLBACK_FAILED' }]
    await eventually(() => warnings.length > 0, 100)
    expect(warnings).toEqual([failed])
  })
})

describe('C88 spnego/undici', () => {
  test('a handler that throws when it is told of an error', async () => {
    const login = negotiateInterceptor(
      alice({
        targetName: () => {
          throw new Error('out of order')
        },
        preemptive: true,
      }),
    )
    const dispatcher = new Agent7().compose(login as never)
    const told: unknown[] = []
    const onResponseError = (_: unknown, error: unknown) => {
      told.push(error)
      throw new Error('nobody wants to hear it')
    }
    dispatcher.dispatch({ origin: site.url, path: '/', method: 'GET' }, {
      onRequestStart() {},
      onResponseError,
    } as never)
    await eventually(() => warnings.length > 0)
    expect(told).toMatchObject([{ code: 'CALLBACK_FAILED' }])
    expect(warnings).toEqual([
      [expect.stringContaining('nobody wants to hear it'), { type: 'SpnegoWarning', code: 'CALLBACK_FAILED' }],
    ])
    await dispatcher.close()
  })
})
