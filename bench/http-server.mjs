// node:http with a trivial handler, open or behind a login. Prints its port. `/counts` tells what it was sent.
import { createServer } from 'node:http'
import { createNegotiateServer, recommendedMaxHeaderSize } from '../dist/entries/server.js'

const [mode] = process.argv.slice(2)
const negotiate = mode === 'open' ? undefined : createNegotiateServer()
const counts = { connections: 0, requests: 0, tokens: 0 }
const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
  if (req.url === '/counts') return void res.end(JSON.stringify(counts))
  counts.requests++
  if (req.headers.authorization !== undefined) counts.tokens++
  const identity = negotiate === undefined ? { principal: 'anyone' } : await negotiate.handle(req, res)
  if (identity !== undefined) res.end(`hello ${identity.principal}\n`)
})
server.keepAliveTimeout = 600_000 // clients wait for their turn in between
server.on('connection', () => counts.connections++)
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
