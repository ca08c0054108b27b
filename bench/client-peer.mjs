// One client, as a process of its own: `client-peer.mjs NAME URL`. For each line N on stdin N requests in a row, each with a login of its own;
// answers { ms, cpuMs } of them. Every answer is read whole and must be the user's.
import { Agent, request } from 'node:http'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import axios from 'axios'
import { NegotiateAgent } from '../dist/entries/agent.js'
import { negotiateAxios } from '../dist/entries/axios.js'
import { negotiated, negotiateFetch } from '../dist/entries/fetch.js'

const [name, url] = process.argv.slice(2)
const USER = process.env.BENCH_USER ?? 'alice@PERF.TEST'

function ours(preemptive) {
  const fetch = negotiateFetch({ preemptive })
  return async () => {
    const response = await fetch(url)
    const text = await response.text()
    if (text !== `hello ${USER}\n` || !negotiated(response)?.serverAuthenticated) throw new Error(`got ${text}`)
  }
}

/** Over node:http, as the rows of npm `kerberos` with node:http. */
function oursOverHttp() {
  const login = new NegotiateAgent({}, { maxSockets: 1 })
  return async () => {
    const { response, text } = await getOverHttp({}, login)
    if (text !== `hello ${USER}\n` || !negotiated(response)?.serverAuthenticated) throw new Error(`got ${text}`)
  }
}

function oursUnderAxios() {
  const api = negotiateAxios(axios.create())
  return async () => {
    const response = await api.get(url)
    if (response.data !== `hello ${USER}\n` || !negotiated(response)?.serverAuthenticated)
      throw new Error('got another')
  }
}

/** What a program does that uses npm `kerberos` with node:http or fetch: nothing beside it does it for him. */
function npmKerberos(preemptive, get) {
  const kerberos = createRequire(`${process.env.BENCH_PEERS}/x.js`)('kerberos')
  const flags = kerberos.GSS_C_MUTUAL_FLAG | kerberos.GSS_C_SEQUENCE_FLAG
  const options = { mechOID: kerberos.GSS_MECH_OID_SPNEGO, flags }
  return async () => {
    if (!preemptive) {
      const { status, challenge } = await get({})
      if (status !== 401 || challenge !== 'Negotiate') throw new Error(`got ${status} ${challenge}`)
    }
    const client = await kerberos.initializeClient(`HTTP@${new URL(url).hostname}`, options)
    const token = await client.step('')
    const { challenge, text } = await get({ authorization: `Negotiate ${token}` })
    await client.step(challenge.split(' ')[1])
    if (text !== `hello ${USER}\n` || !client.contextComplete) throw new Error(`got ${text}`)
  }
}

function withoutLogin(get) {
  return async () => {
    const { text } = await get({})
    if (text !== 'hello anyone\n') throw new Error(`got ${text}`)
  }
}

const oneSocket = new Agent({ keepAlive: true, maxSockets: 1 })

function getOverHttp(headers, agent = oneSocket) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () => {
        resolve({ response, status: response.statusCode, challenge: response.headers['www-authenticate'], text })
      })
    })
    sent.once('error', reject).end()
  })
}

async function getOverFetch(headers) {
  const response = await fetch(url, { headers })
  const text = await response.text()
  return { status: response.status, challenge: response.headers.get('www-authenticate'), text }
}

const CLIENTS = {
  'fetch-preemptive': () => ours(true),
  'fetch-challenged': () => ours(false),
  'agent-preemptive': () => oursOverHttp(),
  'axios-challenged': () => oursUnderAxios(),
  'npm-preemptive': () => npmKerberos(true, getOverHttp),
  'npm-challenged': () => npmKerberos(false, getOverHttp),
  'npm-fetch-preemptive': () => npmKerberos(true, getOverFetch),
  'npm-fetch-challenged': () => npmKerberos(false, getOverFetch),
  'open-fetch': () => withoutLogin(getOverFetch),
  'open-http': () => withoutLogin(getOverHttp),
}
const once = CLIENTS[name]()
for await (const line of createInterface(process.stdin)) {
  const count = Number(line)
  const cpu = process.cpuUsage()
  const started = process.hrtime.bigint()
  for (let i = 0; i < count; i++) await once()
  const ms = Number(process.hrtime.bigint() - started) / 1e6
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({ ms, cpuMs: (user + system) / 1000 }))
}
process.exit()
