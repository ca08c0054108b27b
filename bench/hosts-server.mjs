// A realm with COUNT services and one server that is all of them. Prints { port, config }; `/open` says how many connections are.
import { createServer } from 'node:http'
import { createNegotiateServer, recommendedMaxHeaderSize } from '../dist/entries/server.js'
import { TestRealm } from '../dist/entries/testing.js'

const hosts = Array.from({ length: Number(process.argv[2]) }, (_, i) => `HTTP/h${i}.localhost`)
const realm = await TestRealm.start({ users: { alice: 'secret' }, services: hosts })
const guard = createNegotiateServer({ keytab: realm.environment.KRB5_KTNAME })
const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
  if (req.url === '/open') return void server.getConnections((_, open) => res.end(String(open)))
  if (req.url === '/nobody') return void res.end('hello')
  const identity = await guard.handle(req, res)
  if (identity !== undefined) res.end('hello')
})
server.keepAliveTimeout = 1000
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: server.address().port, config: realm.environment.KRB5_CONFIG }))
})
process.once('SIGTERM', async () => {
  await realm.stop()
  process.exit()
})
