// The login for what another server serves: it is asked before each request, and says who sent it. For nginx see nginx.conf beside this file.
//
//   node examples/forward-auth/forward-auth.mjs --keytab /etc/http.keytab --port 9180
//
// SESSION_KEY (openssl rand -base64 32) makes sessions outlive this process; without it a key is made at each start.
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { createNegotiateServer, recommendedMaxHeaderSize } from 'spnego/server'

const { values } = parseArgs({ options: { keytab: { type: 'string' }, port: { type: 'string', default: '9180' } } })
const negotiate = createNegotiateServer({
  keytab: values.keytab,
  trustProxy: 'forward-auth', // nginx says what the request is, and whose
  sessions: { keys: process.env.SESSION_KEY },
  onFailure: ({ reason, message, method, path }) => console.error(`${method} ${path}: ${reason}: ${message}`),
})

const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
  const identity = await negotiate.handle(req, res)
  if (identity === undefined) return // refused, and answered
  res.writeHead(204, { 'Remote-User': encodeURI(identity.principal) }).end()
})
// Whoever reaches it can say that a request is anybody's: loopback alone.
server.listen(Number(values.port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
