import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { fetchWith } from '../../../src/adapters/client/fetch.ts'
import { negotiated } from '../../../src/adapters/client/negotiated.ts'
import { negotiateFetch } from '../../../src/entries/fetch.ts'
import { MutualAuthenticationError } from '../../../src/entries/index.ts'
import { initiatorContexts } from '../../../src/entries/wiring/initiator-contexts.ts'
import { decodeNegTokenInit, encodeNegTokenResp, NEG_STATE, type NegState } from '../../../src/gss/spnego/tokens.ts'
import { clientSettings, type MutualAuthentication } from '../../../src/http/client-options.ts'
import { mutualVerdict, type Proof, type Verdict } from '../../../src/http/mutual.ts'
import { CHALLENGE, errorOf, eventually, type Reply, type Script, Site, World } from './site.ts'

/** The table of the design once more, by hand: what the code is held to. Columns as `COLUMNS`. */
type Row = readonly [row: MutualAuthentication | 'auto over verified TLS', verdicts: readonly Verdict[]]
const ROWS: readonly Row[] = [
  ['required', ['deliver', 'error', 'error', 'error', 'sanitize', 'error', 'sanitize']],
  ['auto over verified TLS', ['deliver', 'error', 'error', 'deliver', 'deliver', 'deliver', 'deliver']],
  ['auto', ['deliver', 'error', 'error', 'error', 'sanitize', 'deliver', 'deliver']],
  ['optional', ['deliver', 'error', 'error', 'deliver', 'deliver', 'deliver', 'deliver']],
  ['disabled', ['deliver', 'deliver', 'deliver', 'deliver', 'deliver', 'deliver', 'deliver']],
]

interface Column {
  readonly name: string
  readonly proof: Proof
  readonly status: number
  readonly challenged: boolean
  /** What comes in the last answer. */
  readonly token: 'right' | 'wrong' | 'none'
}

const COLUMNS: readonly Column[] = [
  { name: 'a token that verifies', proof: 'verified', status: 200, challenged: true, token: 'right' },
  { name: 'a token that fails', proof: 'failed', status: 200, challenged: true, token: 'wrong' },
  { name: 'a token that fails on an error page', proof: 'failed', status: 500, challenged: true, token: 'wrong' },
  { name: 'a challenge, then no token', proof: 'none', status: 200, challenged: true, token: 'none' },
  { name: 'a challenge, then an error page', proof: 'none', status: 500, challenged: true, token: 'none' },
  { name: 'no challenge', proof: 'never-challenged', status: 200, challenged: false, token: 'none' },
  { name: 'no challenge, an error page', proof: 'never-challenged', status: 404, challenged: false, token: 'none' },
]

const PAGE = 'from somebody who may be anybody'
const RICH = { 'set-cookie': 'session=evil', 'x-other': 'x', server: 'Script/1', date: 'Mon, 01 Jan 2024 00:00:00 GMT' }

let world: World
beforeAll(async () => {
  world = await World.start()
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})
afterAll(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

/** A proof of another exchange: well-formed, and worth nothing here. */
async function wrongProof(): Promise<string> {
  let proof = ''
  await using other = await Site.start(async ({ token }) => {
    if (token === undefined) return CHALLENGE
    proof = (await world.accept(token)).answer
    return { headers: { 'www-authenticate': `Negotiate ${proof}` } }
  })
  await negotiateFetch({ credentials: world.alice })(other.url)
  return proof
}

function scriptOf({ status, challenged, token: kind }: Column, wrong: string): Script {
  return async ({ token }) => {
    if (token === undefined && challenged) return CHALLENGE
    const right = token !== undefined && kind === 'right' ? (await world.accept(token)).answer : undefined
    const proof = kind === 'wrong' ? wrong : right
    const headers = proof === undefined ? RICH : { ...RICH, 'www-authenticate': `Negotiate ${proof}` }
    return { status, reason: 'As Scripted', headers, body: PAGE }
  }
}

/** Over http the table holds for every client alike: see `clients-options.test.ts`. */
describe.each(ROWS)('mutualAuthentication %s', (row, verdicts) => {
  const certified = row === 'auto over verified TLS'
  test.each(COLUMNS.map((column, i) => ({ ...column, verdict: verdicts[i] as Verdict })))(
    'given $name ($status): $verdict',
    async ({ verdict, ...column }) => {
      expect(mutualVerdict(certified ? 'auto' : row, certified, column.proof, column.status)).toBe(verdict)
      if (!certified) return

      await using site = await Site.start(scriptOf(column, await wrongProof()))
      // A certificate needs a CA that this process trusts from its start: here the sender only says that it verified one.
      const settings = clientSettings('test', { origins: ['https://localhost'] })
      const fetch = fetchWith({
        settings,
        contexts: initiatorContexts({ credentials: world.alice }, settings),
        send: (_, init) => globalThis.fetch(site.url, init),
        proxies: undefined,
        certified: () => true,
        bindings: () => undefined,
        canPin: () => false,
        observe: () => {},
      })
      const promise = fetch('https://localhost/page')
      if (verdict === 'error') {
        const error = await errorOf(promise)
        expect(error).toBeInstanceOf(MutualAuthenticationError)
        expect(String((error as Error).message)).not.toContain(PAGE)
        return
      }
      const response = await promise
      expect([response.status, await response.text(), response.headers.get('x-other')]).toEqual([
        column.status,
        PAGE,
        'x',
      ])
      expect(negotiated(response)?.serverAuthenticated).toBe(
        column.challenged ? column.proof === 'verified' : undefined,
      )
    },
  )
})

describe('a page of a server that proved nothing', () => {
  const anonymous: Script = async ({ token }) =>
    token === undefined ? CHALLENGE : { status: 500, reason: 'As Scripted', headers: RICH, body: PAGE }

  test('keeps status, its text and the URL; of the headers length 0, date and server; no body', async () => {
    await using site = await Site.start(anonymous)
    const response = await negotiateFetch({ credentials: world.alice })(`${site.url}/page?x=1#there`)
    expect(response).toMatchObject({
      status: 500,
      statusText: 'As Scripted',
      ok: false,
      url: `${site.url}/page?x=1`,
      body: null,
    })
    expect(Object.fromEntries(response.headers)).toEqual({
      'content-length': '0',
      date: RICH.date,
      server: RICH.server,
    })
    expect(response.headers.getSetCookie()).toEqual([])
    expect(negotiated(response)).toMatchObject({ attempted: true, serverAuthenticated: false })
  })

  test('without date and server has neither', async () => {
    await using site = await Site.start(async ({ token }, _, response) => {
      response.sendDate = false
      return token === undefined ? CHALLENGE : { status: 404, headers: { etag: '"x"' }, body: PAGE }
    })
    const response = await negotiateFetch({ credentials: world.alice })(site.url)
    expect(Object.fromEntries(response.headers)).toEqual({ 'content-length': '0' })
  })

  test('leaves the connection usable', async () => {
    await using site = await Site.start(anonymous)
    const fetch = negotiateFetch({ credentials: world.alice })
    for (let i = 0; i < 4; i++) expect((await fetch(site.url)).status).toBe(500)
    expect(site.connections).toBe(2) // one that never carried a token, one that carries alice's
  })

  test('that never ends is cancelled and its connection closed', async () => {
    let closed = false
    await using site = await Site.start(async ({ token }, _, response) => {
      if (token === undefined) return CHALLENGE
      response.on('close', () => {
        closed = true
      })
      response.writeHead(500).write(PAGE)
      return undefined
    })
    expect((await negotiateFetch({ credentials: world.alice })(site.url)).status).toBe(500)
    await eventually(() => closed)
    expect(closed).toBe(true)
  })

  test('that breaks off does no harm to the process', async () => {
    await using site = await Site.start(async ({ token }, _, response) => {
      if (token === undefined) return CHALLENGE
      response.writeHead(500, { 'content-length': '1000' }).write(PAGE, () => response.socket?.destroy())
      return undefined
    })
    expect((await negotiateFetch({ credentials: world.alice })(site.url)).status).toBe(500)
    await new Promise((resolve) => setTimeout(resolve, 20)) // an unhandled rejection would come by now
  })

  test('may have a status over 599', async () => {
    await using site = await Site.start(async ({ token }) =>
      token === undefined ? CHALLENGE : { status: 999, body: PAGE },
    )
    const response = await negotiateFetch({ credentials: world.alice })(site.url)
    expect(response).toMatchObject({ status: 999, ok: false, body: null })
  })

  test('is delivered whole with sanitizeErrors: false', async () => {
    await using site = await Site.start(anonymous)
    const response = await negotiateFetch({ credentials: world.alice, sanitizeErrors: false })(site.url)
    expect(await response.text()).toBe(PAGE)
    expect(response.headers.get('set-cookie')).toBe('session=evil')
    expect(negotiated(response)?.serverAuthenticated).toBe(false)
  })

  test('is an error below 400 all the same with sanitizeErrors: false', async () => {
    await using site = await Site.start(async ({ token }) => (token === undefined ? CHALLENGE : { body: PAGE }))
    const fetch = negotiateFetch({ credentials: world.alice, sanitizeErrors: false })
    await expect(fetch(site.url)).rejects.toBeInstanceOf(MutualAuthenticationError)
  })

  test.each<MutualAuthentication>(['required', 'auto', 'optional', 'disabled'])(
    'is never withheld when it is the final 401 (%s)',
    async (mutualAuthentication) => {
      const refusal: Reply = { status: 401, headers: { ...RICH, 'www-authenticate': 'Negotiate' }, body: PAGE }
      await using site = await Site.start(async () => refusal)
      const response = await negotiateFetch({ credentials: world.alice, mutualAuthentication })(site.url)
      expect(response.status).toBe(401)
      expect(await response.text()).toBe(PAGE)
      expect(response.headers.get('x-other')).toBe('x')
      expect(negotiated(response)?.error?.code).toBe('REJECTED')
      expect(site.seen.length).toBeLessThanOrEqual(mutualAuthentication === 'required' ? 2 : 3)
    },
  )
})

describe('accept-completed without a token of the mechanism', () => {
  /** NegTokenResp { negState accept-completed } and nothing else (RFC 4178 §4.2.2). */
  const EMPTY_ACCEPT = 'oQcwBaADCgEA'
  const accepting: Script = async ({ token }) =>
    token === undefined ? CHALLENGE : { headers: { 'www-authenticate': `Negotiate ${EMPTY_ACCEPT}` }, body: PAGE }

  test.each<[MutualAuthentication, boolean]>([
    ['required', false],
    ['auto', false],
    ['optional', true],
    ['disabled', true],
  ])('counts as none under %s', async (mutualAuthentication, delivered) => {
    await using site = await Site.start(accepting)
    const promise = negotiateFetch({ credentials: world.alice, mutualAuthentication })(site.url)
    if (!delivered) await expect(promise).rejects.toBeInstanceOf(MutualAuthenticationError)
    else expect(negotiated(await promise)).toMatchObject({ attempted: true, serverAuthenticated: false })
  })
})

describe('C86 a right AP-REP on a page, and a state that is not the last one', () => {
  const { ACCEPT_COMPLETED, ACCEPT_INCOMPLETE, REQUEST_MIC } = NEG_STATE
  const inState =
    (negState: NegState | undefined, withMic: boolean): Script =>
    async ({ token }) => {
      if (token === undefined) return CHALLENGE
      const { rawMechTypes, mechToken } = decodeNegTokenInit(Buffer.from(token, 'base64'))
      const context = world.acceptor.createContext()
      const { token: responseToken } = await context.step(mechToken)
      const mechListMic = withMic ? context.getMic(rawMechTypes) : undefined
      const reply = Buffer.from(encodeNegTokenResp({ negState, responseToken, mechListMic }))
      return { headers: { 'www-authenticate': `Negotiate ${reply.toString('base64')}` }, body: PAGE }
    }

  test.each([
    [ACCEPT_COMPLETED, false, true],
    [ACCEPT_COMPLETED, true, true],
    [undefined, false, true],
    [ACCEPT_INCOMPLETE, false, false],
    [ACCEPT_INCOMPLETE, true, false],
    [REQUEST_MIC, false, false],
    [REQUEST_MIC, true, false],
  ])('state %s, MIC %s: verified %s', async (negState, withMic, verified) => {
    await using site = await Site.start(inState(negState, withMic))
    const fetch = negotiateFetch({ credentials: world.alice, mutualAuthentication: 'optional' })
    expect(negotiated(await fetch(site.url))).toMatchObject({ serverAuthenticated: verified })
    const call = negotiateFetch({ credentials: world.alice })(site.url)
    if (verified) expect((await call).status).toBe(200)
    else await expect(call).rejects.toMatchObject({ code: 'MUTUAL_AUTHENTICATION_FAILED' })
  })
})
