import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { negotiated, negotiateFetch } from '../../../src/entries/fetch.ts'
import { Credentials, type KerberosError } from '../../../src/entries/index.ts'
import { createNegotiateServer } from '../../../src/entries/server.ts'
import { TestRealm } from '../../../src/entries/testing.ts'
import { CachedCredential } from '../../../src/krb5/formats/index.ts'
import { systemFiles } from '../../../src/system/index.ts'

/** onCredentialExpired (RK#44, #155: a hook to log in again), with a real realm and a real server. */

let realm: TestRealm
let server: Server
let url: string
let folder: string
let cache: string

beforeEach(async () => {
  realm = await TestRealm.start({ users: { alice: 'secret', bob: 'other' } })
  const guard = createNegotiateServer({ keytab: realm.keytab('HTTP/localhost') })
  server = createServer((req, res) => void guard.handle(req, res).then((who) => who && res.end(who.principal)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://localhost:${(server.address() as AddressInfo).port}/`
  folder = mkdtempSync(join(tmpdir(), 'spnego-expired-'))
  cache = `FILE:${join(folder, 'cc')}`
  await expiredLogin()
})

afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await realm.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A cache whose login ended a minute ago. */
async function expiredLogin(): Promise<void> {
  await (await realm.login('alice')).save(cache)
  const files = systemFiles()
  const file = await files.readCache(cache)
  const endTime = Math.floor(Date.now() / 1000) - 60
  const credentials = file.credentials.map(
    (one) =>
      new CachedCredential({ ...one, key: one.keyBytes(), ticket: one.ticket, startTime: endTime - 600, endTime }),
  )
  await files.writeCache(cache, { ...file, credentials })
}

type Hook = (error: KerberosError) => Promise<Credentials | undefined>

async function get(hook?: Hook, count = 1) {
  const credentials = Credentials.fromCache(cache)
  const fetch = negotiateFetch({ credentials, config: realm.config, onCredentialExpired: hook })
  const responses = await Promise.all(Array.from({ length: count }, () => fetch(url)))
  return Promise.all(
    responses.map(async (response) => ({
      status: response.status,
      text: await response.text(),
      code: negotiated(response)?.error?.code,
    })),
  )
}

const refused = { status: 401, text: 'Unauthorized', code: 'TICKET_EXPIRED' }

describe('onCredentialExpired', () => {
  test('without it the 401 comes back with TICKET_EXPIRED', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    expect(await get()).toEqual([refused])
  })

  test('a hook that logs in again is called once for ten requests, and each gets its page', async () => {
    const hook = vi.fn(async (error: KerberosError) => {
      expect(error.code).toBe('TICKET_EXPIRED')
      await (await realm.login('alice')).save(cache)
      return undefined
    })
    const answers = await get(hook, 10)
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['alice@EXAMPLE.TEST']))
    expect(hook).toHaveBeenCalledTimes(1)
  })

  test('other credentials that it returns are used from then on', async () => {
    const hook = vi.fn(async () => realm.login('bob'))
    const credentials = Credentials.fromCache(cache)
    const fetch = negotiateFetch({ credentials, config: realm.config, onCredentialExpired: hook })
    for (let i = 0; i < 3; i++) expect(await (await fetch(url)).text()).toBe('bob@EXAMPLE.TEST')
    expect(hook).toHaveBeenCalledTimes(1)
  })

  test('one that does nothing: the 401, and it is not asked twice for a request', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const hook = vi.fn(async () => undefined)
    expect(await get(hook)).toEqual([refused])
    expect(hook).toHaveBeenCalledTimes(1)
  })

  test('C88 what it throws is the cause of what the caller gets; a result of a wrong type is refused', async () => {
    const cause = new Error('no smart card')
    const throwing = () => {
      throw cause
    }
    for (const hook of [throwing, () => Promise.reject(cause)]) {
      await expect(get(hook)).rejects.toMatchObject({
        code: 'CALLBACK_FAILED',
        message: expect.stringContaining('no smart card'),
        cause,
      })
    }
    await expect(get(async () => 'kinit' as unknown as undefined)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    expect(() => negotiateFetch({ onCredentialExpired: 5 as never })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
  })

  test('C88 one that throws the error that it was given has no login to offer: the 401', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    expect(await get((error) => Promise.reject(error))).toEqual([refused])
  })

  test('C88 who gives up does not wait for it, and the others do', async () => {
    const credentials = Credentials.fromCache(cache)
    let goOn: (found: undefined) => void = () => {}
    const asked = vi.fn(
      () =>
        new Promise<undefined>((resolve) => {
          goOn = resolve
        }),
    )
    const fetch = negotiateFetch({ credentials, config: realm.config, onCredentialExpired: asked })
    const stop = new AbortController()
    const first = fetch(url, { signal: stop.signal })
    const second = fetch(url)
    await vi.waitFor(() => expect(asked).toHaveBeenCalled())
    stop.abort()
    await expect(first).rejects.toMatchObject({ name: 'AbortError' })
    await (await realm.login('alice')).save(cache)
    goOn(undefined)
    expect((await second).status).toBe(200)
    expect(asked).toHaveBeenCalledTimes(1)
  })

  test('it is not called for anything else', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    rmSync(folder, { recursive: true })
    const hook = vi.fn(async () => undefined)
    expect(await get(hook)).toMatchObject([{ status: 401, code: 'CACHE_NOT_FOUND' }])
    expect(hook).not.toHaveBeenCalled()
  })
})
