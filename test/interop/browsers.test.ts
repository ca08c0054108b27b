import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import {
  createNegotiateServer,
  type NegotiateServerOptions,
  recommendedMaxHeaderSize,
} from '../../src/entries/server.ts'
import { identityOf, negotiate } from '../../src/entries/ws.ts'
import { SERVER_ENTRIES } from '../unit/entries/server-entries.ts'
import { kinit, LAB_SCRIPTS, labFolder, Peer, removeFolder, runBeside } from './lab.ts'

/** Real browsers at servers of this package, with tickets of MIT's KDC: who is greeted, who is told what to do, and what another site may not do. */

let base: string
let kdc: Peer
let keytab: string
let environment: Record<string, string>
const servers: Server[] = []

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
})
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
afterAll(() => {
  kdc?.stop()
  removeFolder(base)
})

async function listen(server: Server, host = 'localhost'): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return `http://${host}:${(server.address() as AddressInfo).port}/`
}

type Browser = 'chromium' | 'firefox'

/** What a browser makes of a page; `KEEP_SCREENSHOTS` names a folder for what it looks like. */
async function visit(
  browser: Browser,
  url: string,
  name: string,
  ccache = environment['KRB5CCNAME'] ?? '',
): Promise<string> {
  const png = join(base, `${browser}-${name}.png`)
  const script = [join(LAB_SCRIPTS, `${browser}.sh`), 'visit', join(base, `${browser}-${name}`), url]
  const options = ['--krb5-conf', environment['KRB5_CONFIG'] ?? '', '--ccache', ccache, '--png', png]
  const { stdout, stderr, status } = await runBeside('bash', [...script, ...options], environment)
  expect(status, stderr).toBe(0)
  expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG')
  const keep = process.env['KEEP_SCREENSHOTS']
  if (keep !== undefined) copyFileSync(png, join(keep, `${browser}-${name}.png`))
  return stdout
}

for (const [peer, browser] of [
  ['Chromium', 'chromium'],
  ['Firefox', 'firefox'],
] as const) {
  describe(`[${peer}] a server of ours`, () => {
    test.each(SERVER_ENTRIES.filter(({ name }) => ['Express', 'Fastify', 'Hono'].includes(name)))(
      '$name greets the user by name',
      async ({ name, make }) => {
        const url = await listen(await make({ keytab }))
        expect(await visit(browser, url, name)).toContain('Hello alice@MIT.TEST')
      },
    )

    test('where the clocks differ there is a page, and the reason is told', async () => {
      const [entry] = SERVER_ENTRIES
      const reasons: string[] = []
      const url = await listen(
        (await entry?.make({ keytab, onFailure: ({ reason }) => void reasons.push(reason) })) as Server,
      )
      const { now } = Date
      const hourAhead = vi.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000)
      try {
        expect(await visit(browser, url, 'skewed')).toContain('You are not logged in to localhost')
      } finally {
        hourAhead.mockRestore()
      }
      expect(reasons).toContain('CLOCK_SKEW')
    })

    test('without a ticket there is a page that says what to do', async () => {
      const [entry] = SERVER_ENTRIES
      const reasons: string[] = []
      const url = await listen(
        (await entry?.make({ keytab, onFailure: ({ reason }) => void reasons.push(reason) })) as Server,
      )
      const page = await visit(browser, url, 'no-ticket', 'FILE:/nonexistent')
      expect(page).toContain('You are not logged in to localhost')
      for (const word of ['kinit', 'AuthServerAllowlist', 'network.negotiate-auth.trusted-uris'])
        expect(page).toContain(word)
      expect(page).not.toMatch(/kvno|HTTP\/localhost|@MIT/)
      expect(new Set(reasons)).toEqual(new Set(['NO_CREDENTIALS']))
    })
  })
}

describe('[Chromium] a page of another site', () => {
  interface Intranet {
    readonly url: string
    readonly posted: string[]
    readonly opened: string[]
    readonly reasons: string[]
  }

  /** A site that changes something when it is posted to, and opens sockets. */
  async function intranet(more: NegotiateServerOptions = {}): Promise<Intranet> {
    const posted: string[] = []
    const opened: string[] = []
    const reasons: string[] = []
    const options = { keytab, onFailure: ({ reason }: { reason: string }) => void reasons.push(reason), ...more }
    const guard = createNegotiateServer(options)
    const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
      if (req.url === '/slow') return
      const identity = await guard.handle(req, res)
      if (identity === undefined) return
      if (req.method === 'POST') posted.push(identity.principal)
      const own = `http://${req.headers.host}/`
      const pages: Record<string, string> = { '/form': form(own), '/socket': socket(own) }
      res.writeHead(200, { 'content-type': 'text/html' }).end(pages[req.url ?? ''] ?? `Hello ${identity.principal}`)
    })
    server.on('request', slow)
    const sockets = negotiate(new WebSocketServer({ server }), options)
    sockets.on('connection', (_socket, req) => void opened.push(identityOf(req).principal))
    return { url: await listen(server, 'www.mit.test'), posted, opened, reasons }
  }

  /** A picture that keeps the browser for a while: it ends when its page has been loaded. */
  function slow({ url }: IncomingMessage, res: ServerResponse): void {
    if (url === '/slow') setTimeout(() => res.end(), 3000)
  }

  /** Posts a form; the answer takes the place of this page. */
  const form = (target: string) => `<!DOCTYPE html><body>
    <form method="post" action="${target}"><input name="amount" value="1000"></form>
    <script>document.forms[0].submit()</script>`

  const socket = (target: string) => `<!DOCTYPE html><body><img src="/slow">
    <script>new WebSocket('${target.replace('http:', 'ws:')}')</script>`

  async function evil(page: string): Promise<string> {
    const server = createServer((req, res) => {
      if (req.url === '/slow') slow(req, res)
      else res.writeHead(200, { 'content-type': 'text/html' }).end(page)
    })
    return listen(server, 'evil.test')
  }

  test('S84 posts no form', async () => {
    const { url, posted, reasons } = await intranet()
    expect(await visit('chromium', await evil(form(url)), 'cross-site-form')).toContain('Forbidden')
    expect(posted).toEqual([])
    expect(reasons).toContain('CROSS_SITE')
  })

  test('S84 opens no socket', async () => {
    const { url, opened, reasons } = await intranet()
    await visit('chromium', await evil(socket(url)), 'cross-site-socket')
    expect(opened).toEqual([])
    expect(reasons).toContain('CROSS_SITE')
  })

  test('which the site’s own pages do', async () => {
    const { url, posted, opened } = await intranet()
    expect(await visit('chromium', `${url}form`, 'own-form')).toContain('Hello alice@MIT.TEST')
    await visit('chromium', `${url}socket`, 'own-socket')
    expect(new Set([...posted, ...opened])).toEqual(new Set(['alice@MIT.TEST']))
    expect(posted.length * opened.length).toBeGreaterThan(0)
  })

  // Chromium gives no ticket to a socket that another site opens, so the form alone shows it.
  test('and a form of another site does too where that is allowed: the attack is real', async () => {
    const { url, posted } = await intranet({ crossSite: 'allow' })
    expect(await visit('chromium', await evil(form(url)), 'cross-site-allowed')).toContain('Hello alice@MIT.TEST')
    expect(posted.length).toBeGreaterThan(0)
  })
})
