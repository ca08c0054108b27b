// Accept and initiate: ours, MIT's C library, npm kerberos and python3-gssapi on the same tokens, in interleaved rounds of one run, each in a
// process of its own.
// `gss.mjs quick`: ours and MIT alone, one size. BENCH_PEERS: where npm kerberos is; without it that peer is left out.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ByteReader } from '../build/bytes/reader.js'
import { decodeFrame } from '../build/gss/context.js'
import { decodeNegTokenInit } from '../build/gss/spnego/tokens.js'
import { Keytab } from '../build/krb5/formats/index.js'
import { decodeApReq } from '../build/krb5/messages/index.js'
import { median, microseconds, ratioOf, report, spread, work } from './lib.mjs'
import { mintTicket, mintToken } from './mint.mjs'

const quick = process.argv[2] === 'quick'
const rounds = Number(process.env.ROUNDS ?? (quick ? 3 : 5))
const count = Number(process.env.TOKENS ?? (quick ? 1500 : 4000))
/** JavaScript is compiled while it runs. */
const WARM = Math.max(4000, count)
const SIZES = quick ? [1024] : [356, 1024, 4096, 17_000]
const SERVICES = [
  ['AES-SHA1', 'HTTP/localhost'],
  ['AES-SHA2', 'HTTP/sha2.localhost'],
]
const gssbench = join(work, 'gssbench')
const entries = Keytab.parse(readFileSync(process.env.KRB5_KTNAME.replace(/^FILE:/, ''))).entries
const base64 = (token) => Buffer.from(token).toString('base64')

/** Each with the names of its columns; a peer's own process does nothing else. */
const acceptInC = (tokens) => {
  const input = `${tokens.map(base64).join('\n')}\n`
  const out = execFileSync(gssbench, ['accept'], { input, maxBuffer: 2 ** 28 }).toString()
  const [, ok, us] = /ok (\d+) bad \d+ us_per_accept ([\d.]+)/.exec(out) ?? []
  if (Number(ok) !== tokens.length) throw new Error(`gssbench accept: ${out}`)
  return Number(us)
}
const initiateInC = (service) => {
  const { stderr } = spawnSync(gssbench, ['gen', '-n', String(count), '-M', '-t', service], { maxBuffer: 2 ** 28 })
  return Number(/us_per_init ([\d.]+)/.exec(stderr.toString())?.[1])
}
const python = (args, input = '') => {
  const script = new URL('gss-peer.py', import.meta.url).pathname
  return Number(execFileSync('/usr/bin/python3', [script, ...args], { input, maxBuffer: 2 ** 28 }))
}

/** Ours, or npm kerberos. */
function inItsOwnProcess(which) {
  const script = new URL('gss-peer.mjs', import.meta.url).pathname
  const runArguments = process.versions.deno === undefined ? [] : ['run', '-A']
  const child = spawn(process.execPath, [...runArguments, script, which], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ask = async (...words) => {
    child.stdin.write(`${words.join(' ')}\n`)
    const { value, done } = await lines.next()
    if (done) throw new Error(`${which}: ended`)
    return Number(value)
  }
  return {
    start: () => ask('start'),
    accept: (tokens, service) => ask('accept', service, ...tokens.map(base64)),
    initiate: (service) => ask('initiate', service, count),
    end: () => child.stdin.end(),
  }
}

function row(what, ours, peers) {
  const cells = { '': what }
  for (const [peer, theirs] of Object.entries(peers)) {
    cells[`ratio to ${peer}`] = theirs === undefined ? '' : ratioOf(ours, theirs).toFixed(2)
  }
  cells['ours, µs'] = `${median(ours).toFixed(0)} (${spread(ours)})`
  for (const [peer, theirs] of Object.entries(peers)) {
    cells[`${peer}, µs`] = theirs === undefined ? '' : `${median(theirs).toFixed(0)} (${spread(theirs)})`
  }
  return cells
}

async function accepts(here, npm) {
  const rows = []
  for (const [family, service] of SERVICES) {
    const entry = entries.find(({ principal }) => principal.name === service)
    for (const size of SIZES) {
      for (const kind of ['new', 'known']) {
        await here.start() // before the tokens: older ones are refused
        const known = mintTicket(entry, size)
        const tokens = (n) =>
          Array.from({ length: n }, () => mintToken(kind === 'known' ? known : mintTicket(entry, size)))
        await here.accept(tokens(WARM), service)
        const others = !quick && size === 1024
        const ours = []
        const peers = {
          MIT: [],
          'npm kerberos': others && npm ? [] : undefined,
          'python3-gssapi': others ? [] : undefined,
        }
        for (let round = 0; round < rounds; round++) {
          const some = tokens(count)
          peers.MIT.push(acceptInC(some))
          ours.push(await here.accept(some, service))
          peers['npm kerberos']?.push(await npm.accept(some, service))
          peers['python3-gssapi']?.push(python(['accept', service], `${some.map(base64).join('\n')}\n`))
        }
        rows.push(row(`accept, ${family}, ${size} B, ${kind}`, ours, quick ? { MIT: peers.MIT } : peers))
      }
    }
  }
  return rows
}

async function initiates(here, npm) {
  const rows = []
  for (const [family, service] of SERVICES) {
    for (let i = 0; i < WARM; i += count) await here.initiate(service)
    const ours = []
    const peers = { MIT: [], 'npm kerberos': !quick && npm ? [] : undefined, 'python3-gssapi': quick ? undefined : [] }
    for (let round = 0; round < rounds; round++) {
      peers.MIT.push(initiateInC(service))
      ours.push(await here.initiate(service))
      peers['npm kerberos']?.push(await npm.initiate(service))
      peers['python3-gssapi']?.push(python(['initiate', service, String(count)]))
    }
    rows.push(row(`initiate, ${family}, cached ticket`, ours, quick ? { MIT: peers.MIT } : peers))
  }
  return rows
}

/** Everything of a token that is not encrypted. */
async function parses() {
  const entry = entries[0]
  const rows = []
  for (const size of SIZES) {
    const token = mintToken(mintTicket(entry, size))
    const parse = () => {
      const { mechToken } = decodeNegTokenInit(token)
      const from = new ByteReader(decodeFrame(mechToken).inner)
      from.uint16('TOK_ID')
      return decodeApReq(from.rest())
    }
    const run = () =>
      microseconds(20_000, async () => {
        for (let i = 0; i < 20_000; i++) parse()
      })
    await run()
    const us = []
    for (let round = 0; round < rounds; round++) us.push(await run())
    rows.push({ '': `parse of a token, ticket of ${size} B`, µs: `${median(us).toFixed(1)} (${spread(us, 1)})` })
  }
  return rows
}

const here = inItsOwnProcess('ours')
const npm = process.env.BENCH_PEERS === undefined || quick ? undefined : inItsOwnProcess('npm')
const note = `${rounds} rounds of ${count} calls after ${WARM}; SPNEGO with mutual authentication, every check on; each in a process of its own. MIT and python3-gssapi: credential kept, KRB5RCACHENAME=${process.env.KRB5RCACHENAME}; npm kerberos: initializeServer or initializeClient and one step for each call, one after the other`
report('accept', note, await accepts(here, npm))
report('initiate', note, await initiates(here, npm))
here.end()
npm?.end()
if (!quick) report('parse', '', await parses())
