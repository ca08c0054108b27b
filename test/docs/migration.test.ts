import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAcceptor } from '../../src/entries/index.ts'
import { TestRealm } from '../../src/entries/testing.ts'
import { CHALLENGE, Site } from '../unit/http-client/site.ts'

/** Runs the examples of docs/migration.md, each as a program of its own from the built package. What it prints stands behind its last `//`. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PAGE = readFileSync(new URL('../../docs/migration.md', import.meta.url), 'utf8')
const EXAMPLES = [...PAGE.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = '']) => code)

let realm: TestRealm
let site: Site
beforeAll(async () => {
  realm = await TestRealm.start({ realm: 'EXAMPLE.COM', users: { alice: 'secret' } })
  await (await realm.login('alice')).save(realm.environment.KRB5CCNAME)
  const acceptor = await createAcceptor({ keytab: realm.keytab('HTTP/localhost') })
  site = await Site.start(async ({ token }) => {
    if (token === undefined) return CHALLENGE
    const context = acceptor.createContext()
    const { token: proof = new Uint8Array() } = await context.step(Buffer.from(token, 'base64'))
    const answer = Buffer.from(proof).toString('base64')
    return { headers: { 'www-authenticate': `Negotiate ${answer}` }, body: `${context.peer}` }
  })
})
afterAll(async () => {
  await site[Symbol.asyncDispose]()
  await realm.stop()
})

/** The server of this test in place of the one in the text. */
function here(text: string): string {
  return text
    .replaceAll('https://intranet.example.com', site.url)
    .replaceAll('@intranet.example.com', '@localhost')
    .replaceAll('/intranet.example.com', '/localhost')
    .replaceAll('web1.corp', 'localhost')
    .replaceAll("'undici'", "'undici7'") // as it is called among the tools of this project
    .replaceAll('node:https', 'node:http')
    .replaceAll('NegotiateHttpsAgent', 'NegotiateAgent')
}

describe('docs/migration.md', () => {
  test('has examples, of at most ten lines', () => {
    expect(EXAMPLES.length).toBeGreaterThan(8)
    for (const code of EXAMPLES) expect(code.trim().split('\n').length, code).toBeLessThanOrEqual(10)
  })

  test.each(EXAMPLES.map((code, i) => [i + 1, code] as const))('example %d prints what it says', async (_, code) => {
    const expected = /console\.log\(.*\) \/\/ (.*)$/m.exec(code)?.[1]
    expect(expected).toBeDefined()
    const env = { ...process.env, ...realm.environment, PASSWORD: 'secret', NODE_OPTIONS: '' }
    const args = ['--input-type=module', '-e', here(code)]
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env })
    expect(stderr).toBe('')
    expect(stdout.trim()).toBe(here(expected ?? ''))
  })
})
