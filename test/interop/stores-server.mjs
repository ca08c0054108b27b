// A server on one of several processes, whose replay store is in Redis: for stores.test.ts. Its port is the first line that it prints.
import { createServer } from 'node:http'
import { redisReplayStore } from '../../dist/entries/redis.js'
import { createNegotiateServer, recommendedMaxHeaderSize } from '../../dist/entries/server.js'

const { CLIENT, KEYTAB, REDIS_PORT } = process.env
const port = Number(REDIS_PORT)

/** As their documentation shows them; what befalls the connection is the client's to mend. */
const CLIENTS = {
  async ioredis() {
    const { Redis } = await import('ioredis')
    const client = new Redis({ host: '127.0.0.1', port })
    client.on('error', () => {})
    return client
  },
  async redis() {
    const { createClient } = await import('redis')
    const client = createClient({ url: `redis://127.0.0.1:${port}` })
    client.on('error', () => {})
    return client.connect()
  },
}

const guard = createNegotiateServer({
  keytab: KEYTAB,
  replayStore: redisReplayStore(await CLIENTS[CLIENT]()),
})
const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (req, res) => {
  res.setHeader('x-process', process.pid)
  const identity = await guard.handle(req, res)
  if (identity) res.end(`Hello ${identity.principal}`)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
