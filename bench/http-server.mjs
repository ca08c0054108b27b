// One server of node:http with a trivial answer, open or behind a login: `http-server.mjs MODE`, where MODE is `open`, `negotiate`, `sessions`, `npm` (npm `kerberos`),
// `express`, `express-open`, `fastify` or `fastify-open`. Prints its port. `/counts` tells what it was sent, and how late its event loop was.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createNegotiateServer, recommendedMaxHeaderSize } from '../dist/entries/server.js'

const [mode] = process.argv.slice(2)
const counts = { connections: 0, requests: 0, tokens: 0 }
const delay = monitorEventLoopDelay({ resolution: 5 })
const hello = (principal) => `hello ${principal}\n`

/** As the examples of npm `kerberos` have it, its native code behind a callback. */
function npmKerberos() {
  const { initializeServer } = createRequire(`${process.env.BENCH_PEERS}/`)('kerberos')
  return async (req, res) => {
    const token = /^Negotiate (.+)$/.exec(req.headers.authorization ?? '')?.[1]
    if (token === undefined) return void res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
    try {
      const server = await initializeServer('HTTP@localhost')
      await server.step(token)
      if (!server.contextComplete) throw new Error('incomplete')
      res.setHeader('www-authenticate', `Negotiate ${server.response}`)
      res.end(hello(server.username))
    } catch {
      res.writeHead(401).end()
    }
  }
}

async function listenerOf() {
  switch (mode) {
    case 'open':
      return (_req, res) => void res.end(hello('anyone'))
    case 'negotiate':
    case 'sessions': {
      const negotiate = createNegotiateServer({ sessions: mode === 'sessions' })
      return async (req, res) => {
        const identity = await negotiate.handle(req, res)
        if (identity !== undefined) res.end(hello(identity.principal))
      }
    }
    case 'npm':
      return npmKerberos()
    case 'express':
    case 'express-open': {
      const { default: express } = await import('express')
      const { negotiate } = await import('../dist/entries/express.js')
      const app = express()
      if (mode === 'express') app.use(negotiate())
      app.get('/', (req, res) => void res.send(hello(req.kerberos?.principal ?? 'anyone')))
      return app
    }
    default: {
      const { default: Fastify } = await import('fastify')
      const { negotiate } = await import('../dist/entries/fastify.js')
      let listener
      const serverFactory = (handler) => {
        listener = handler
        return createServer({ maxHeaderSize: recommendedMaxHeaderSize }, handler)
      }
      const app = Fastify({ serverFactory })
      if (mode === 'fastify') await app.register(negotiate)
      app.get('/', async (request) => hello(request.kerberos?.principal ?? 'anyone'))
      await app.ready()
      return listener
    }
  }
}

const listener = await listenerOf()
const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, (req, res) => {
  if (req.url === '/counts') {
    const delayMs = { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6 }
    delay.reset()
    return void res.end(JSON.stringify({ ...counts, delayMs }))
  }
  counts.requests++
  if (req.headers.authorization !== undefined) counts.tokens++
  listener(req, res)
})
server.keepAliveTimeout = 600_000 // clients wait for their turn in between
server.on('connection', () => counts.connections++)
server.listen(0, '127.0.0.1', () => {
  delay.enable()
  console.log(server.address().port)
})
