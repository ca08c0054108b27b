import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CredentialCache } from '../../src/entries/index.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, runBeside, withEnvironment } from './lab.ts'

let base: string
let kdc: Peer
let restore: () => void
let environment: Environment

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const cache = `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`
  environment = { KRB5_CONFIG: kdc.get('KRB5_CONFIG'), KRB5CCNAME: cache }
  restore = withEnvironment(environment)
  expect(kinit(environment, 'alice', 'alice-pw').status).toBe(0)
})

afterAll(() => {
  restore?.()
  kdc?.stop()
  removeFolder(base)
})

const ENTRY = new URL('../../dist/entries/index.js', import.meta.url).href

/** Fetches the same tickets again and again, each time with the other session key, and writes each into the cache. */
const OURS = `import { Credentials, KerberosClient } from ${JSON.stringify(ENTRY)}
let written = 0
for (let i = 0; i < 170; i++) {
  const client = new KerberosClient({ credentials: Credentials.fromCache(), enctypes: [17 + (i % 2)] })
  const hosts = ['www', 'deleg', 's4u', 'short']
  written += (await Promise.all(hosts.map((host) => client.getTicket('HTTP/' + host + '.mit.test')))).length
}
console.log(written)`

const THEIRS = `n=0
for i in $(seq 40); do
  for e in aes128-cts aes256-cts; do
    for h in www deleg s4u localhost; do
      case $h in localhost) s=HTTP/localhost;; *) s=HTTP/$h.mit.test;; esac
      kvno -q -e $e $s || exit 1
      n=$((n+1))
    done
  done
done
echo $n`

function start(command: string, args: readonly string[]): { done: Promise<{ status: number | null; output: string }> } {
  const child = spawn(command, args, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
    })
  }
  return { done: once(child, 'close').then(([status]) => ({ status: status as number | null, output: output.trim() })) }
}

describe('[MIT clients] write the cache that we write', () => {
  test('F13 kvno and we add tickets to one cache, a third reads it: it parses at every moment', async () => {
    const path = (environment['KRB5CCNAME'] ?? '').slice(5)
    let writing = true
    const ours = start(process.execPath, ['--input-type=module', '-e', OURS])
    const theirs = start('sh', ['-c', THEIRS])
    const ended = Promise.all([ours.done, theirs.done]).then((outcomes) => {
      writing = false
      return outcomes
    })
    let [reads, listed] = [0, 0]
    while (writing) {
      const { principal, tickets } = await CredentialCache.load()
      expect(`${principal}`).toBe('alice@MIT.TEST')
      expect(tickets.some(({ server }) => `${server}` === 'krbtgt/MIT.TEST@MIT.TEST')).toBe(true)
      if (++reads % 20 === 0) {
        const { status, stderr } = await runBeside('klist', [], environment)
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
        listed++
      }
    }
    expect(await ended).toEqual([
      { status: 0, output: '680' },
      { status: 0, output: '320' },
    ])
    expect(reads).toBeGreaterThan(100)
    expect(listed).toBeGreaterThan(5)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(dirname(path))).toEqual(['cache'])
    const { tickets } = await CredentialCache.load()
    for (const host of ['www', 'deleg', 's4u']) {
      expect(tickets.map(({ server }) => `${server}`)).toContain(`HTTP/${host}.mit.test@MIT.TEST`)
    }
  })
})
