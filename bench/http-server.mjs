// node:http with a trivial handler, open or behind a login. Prints its port.
import { createServer } from 'node:http'
import { createNegotiateServer, recommendedMaxHeaderSize } from '../dist/entries/server.js'

const [mode] = process.argv.slice(2)
const negotiate = mode === 'open' ? undefined : createNegotiateServer()
const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
  const identity = negotiate === undefined ? { principal: 'anyone' } : await negotiate.handle(req, res)
  if (identity !== undefined) res.end(`hello ${identity.principal}\n`)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
