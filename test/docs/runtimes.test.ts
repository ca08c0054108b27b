import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type Client, clientsOn, type Runtime } from '../unit/adapters-client/clients.ts'

/**
 * Holds the rows by which the suites of the clients run (on each runtime, in `npm run test:matrix`) and the documentation together.
 * `UPDATE_DOCS=1 npx vitest run --project unit test/docs` writes the page anew.
 */

const PAGE = fileURLToPath(new URL('../../docs/runtimes.md', import.meta.url))
const RUNTIMES: readonly Runtime[] = ['Node', 'Bun', 'Deno']

type Capability = { [Name in keyof Client]: Client[Name] extends boolean ? Name : never }[keyof Client]

const CAPABILITIES: readonly [name: Capability, title: string][] = [
  ['answers', 'answers a challenge'],
  ['legs', 'several tokens'],
  ['streams', 'streams'],
  ['owns', 'channel bindings'],
  ['proxies', 'proxy'],
  ['follows', 'redirects'],
  ['reports', '`negotiated`'],
]

const NAMES: readonly string[] = clientsOn('Node').map(({ name }) => name)

function cell(name: string, capability: Capability): string {
  const where = RUNTIMES.filter((runtime) => clientsOn(runtime).find((client) => client.name === name)?.[capability])
  if (where.length === RUNTIMES.length) return 'yes'
  return where.length === 0 ? 'no' : where.join(', ')
}

function page(): string {
  const rows = NAMES.map((name) => `| \`${name}\` | ${CAPABILITIES.map(([key]) => cell(name, key)).join(' | ')} |`)
  return `# What each client can do on each runtime

Node 20, 22, 24 and 26, Bun 1 and Deno 2: "yes" is on all of them, a name there alone. The suites of the clients run by this table on each
(\`npm run test:matrix\`).

| client | ${CAPABILITIES.map(([, title]) => title).join(' | ')} |
| --- | ${CAPABILITIES.map(() => '---').join(' | ')} |
${rows.join('\n')}

- **Answers a challenge**: sends a request again with a token. An agent cannot: its token goes with the first one.
- **Several tokens**: stays on one connection where a server wants more than one (RFC 4559 §6). The fetch of Bun and Deno lets nobody choose it.
- **Streams**: takes a body that can be read once.
- **Channel bindings**: sees the certificate of the very connection that carries the token (RFC 5929 §4), and keeps each connection to one user. The
  dispatcher under \`spnego/undici\` is the program's, and so is the fetch of Bun and Deno.
- **Proxy**: goes through one that wants a login, over http and https, with the \`proxy\` option. \`spnego/undici\` has a connector for it.
- **Redirects**: follows them; else whoever sends does, and each is a request of its own.
- **\`negotiated\`**: finds what happened by the response. node-fetch hides the message under its own; there the logger and the diagnostics channel
  \`spnego:client\` tell.
`
}

test('docs/runtimes.md is the table of the clients', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, page())
  expect(readFileSync(PAGE, 'utf8')).toBe(page())
})
