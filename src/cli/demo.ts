import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import { negotiated, negotiateFetch } from '../entries/fetch.ts'
import { KerberosClient, UsageError } from '../entries/index.ts'
import {
  createNegotiateServer,
  type Identity,
  type NegotiateServer,
  recommendedMaxHeaderSize,
} from '../entries/server.ts'
import { TestRealm } from '../entries/testing.ts'
import { enctypeLabel } from './enctype-label.ts'
import { exportLines, portOf, shortTime, untilInterrupted } from './output.ts'

export interface DemoFlags {
  readonly serve?: boolean
  readonly port?: string
}

const SERVICE = 'HTTP/localhost'

/** A realm, a protected server and a client, each with only what it would have in earnest. */
export async function demo(flags: DemoFlags): Promise<void> {
  const port = portOf(flags.port)
  await using realm = await TestRealm.start({ realm: 'EXAMPLE.TEST', users: { alice: 'secret' }, services: [SERVICE] })
  const refusals: string[] = []
  const negotiate = createNegotiateServer({
    keytab: realm.keytab(SERVICE),
    onFailure: ({ reason }: { reason: string }) => void refusals.push(reason),
  })
  const legs: Leg[] = []
  const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, (req, res) => {
    void greet(negotiate, req, res, legs)
  })
  negotiate.attach(server)
  await listen(server, port ?? 0)
  try {
    const url = `http://localhost:${(server.address() as AddressInfo).port}/`
    if (flags.serve === true) await serve(realm, url)
    else await tell(realm, url, legs, refusals)
  } finally {
    server.closeAllConnections()
    server.close()
    await negotiate.close()
  }
}

/** One request as the server saw it. */
interface Leg {
  readonly authorization: string | undefined
  readonly ms: number
  readonly identity: Identity | undefined
}

async function greet(
  negotiate: NegotiateServer,
  req: IncomingMessage,
  res: ServerResponse,
  legs: Leg[],
): Promise<void> {
  const start = performance.now()
  const identity = await negotiate.handle(req, res)
  legs.push({ authorization: req.headers.authorization, ms: performance.now() - start, identity })
  if (identity === undefined) return
  res.setHeader('content-type', 'text/html; charset=utf-8')
  res.end(page(identity))
}

function page({ principal, expiresAt }: Identity): string {
  const name = principal.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hello ${name}</title>
<style>body{font:18px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem}b{color:#0a6}</style>
<h1>Hello <b>${name}</b></h1>
<p>You did not type a password: your browser showed a Kerberos ticket for this server, and it was valid.</p>
<p>It lasts until ${expiresAt.toISOString().slice(0, 16).replace('T', ' ')} UTC.</p>
</html>
`
}

async function tell(realm: TestRealm, url: string, legs: Leg[], refusals: readonly string[]): Promise<void> {
  const start = performance.now()
  line('', 'Kerberos single sign-on, from password to page, inside this process\n')
  line('realm', `${realm.realm}: a KDC on 127.0.0.1:${realm.port}, TCP and UDP`)
  line('server', `${url} has the key of ${SERVICE}, nothing else`)

  const credentials = await realm.login('alice')
  const tgt = await new KerberosClient({ credentials }).login()
  line('login', `${tgt.client} until ${shortTime(tgt.expiresAt)}, ${enctypeLabel(tgt.enctype)}`, start)

  const asking = performance.now()
  const ticket = await new KerberosClient({ credentials }).getTicket(SERVICE)
  line('ticket', `for ${ticket.server}, ${enctypeLabel(ticket.enctype)}`, asking)

  const fetching = performance.now()
  const response = await negotiateFetch({ credentials, mutualAuthentication: 'required', preemptive: false })(url)
  const text = await response.text()
  const done = performance.now()
  const [first, second] = legs
  line('request', 'GET / without a token')
  line('answer', `401 WWW-Authenticate: Negotiate, decided in ${first?.ms.toFixed(1)} ms`)
  line('request', `GET / with a token of ${tokenBytes(second?.authorization)} bytes (SPNEGO, AP-REQ)`)
  line('answer', `${response.status} ${/<title>([^<]*)/.exec(text)?.[1]}, checked in ${second?.ms.toFixed(1)} ms`)
  const report = negotiated(response)
  const proof = tokenBytes(response.headers.get('www-authenticate'))
  const verdict = report?.serverAuthenticated === true ? 'verified' : 'NOT VERIFIED'
  line('proof', `${report?.target} ${verdict} by ${proof} bytes (AP-REP)`, fetching, done)

  const again = await fetch(url, { headers: { authorization: second?.authorization ?? '' } })
  await again.arrayBuffer()
  line('thief', `the same token once more: ${again.status}, ${refusals.at(-1)}`)
  line('', `\nAll of it took ${Math.round(performance.now() - start)} ms. Try it yourself: spnego demo --serve`)
  if (report?.serverAuthenticated !== true || again.status !== 401) process.exitCode = 1
}

async function serve(realm: TestRealm, url: string): Promise<void> {
  const interrupted = untilInterrupted()
  console.log(`${url} is up and lets in whom the realm ${realm.realm} knows: alice, password "secret".`)
  console.log('In another terminal:\n')
  console.log(exportLines(realm.environment))
  console.log('\n  kinit alice                        # or: npx spnego login alice')
  console.log(`  curl --negotiate -u : ${url}`)
  console.log(`  chromium --auth-server-allowlist=localhost ${url}`)
  console.log('\nCtrl-C ends it.')
  await interrupted
}

function line(who: string, what: string, since?: number, until: number = performance.now()): void {
  const time = since === undefined ? '' : `  ${(until - since).toFixed(0)} ms`
  console.log(who === '' ? what : `  ${who.padEnd(9)}${what}${time}`)
}

/** Of the token in a header. */
function tokenBytes(header: string | null | undefined): number {
  return Buffer.from(header?.replace(/^Negotiate +/i, '') ?? '', 'base64').length
}

function portTaken(port: number, cause: Error): UsageError {
  return new UsageError('PORT_IN_USE', `port ${port} cannot be listened on: ${(cause as { code?: string }).code}`, {
    cause,
    hint: 'Choose another --port, or none for any free one.',
  })
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(portTaken(port, cause)))
    server.listen(port, 'localhost', resolve)
  })
}
