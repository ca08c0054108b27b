// A primary of node:cluster and its workers, for cluster.test.ts: one file serves as both.
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'

const { BUILT, KEYTAB, PRIMARY, STORE, WORKERS, SERIALIZATION } = process.env
const entry = (name) => import(pathToFileURL(`${BUILT}/entries/${name}.js`).href)
const { createNegotiateServer, dangerouslyPerProcess, recommendedMaxHeaderSize, useClusterReplayStore } =
  await entry('server')

const say = (what) => console.log(JSON.stringify(what))

if (cluster.isPrimary) {
  if (SERIALIZATION !== undefined) cluster.setupPrimary({ serialization: SERIALIZATION })
  if (PRIMARY === 'answers') useClusterReplayStore()
  if (PRIMARY === 'answers for two') useClusterReplayStore({ maxEntries: 2 })
  if (PRIMARY === 'only says so') process.env.SPNEGO_CLUSTER_REPLAY_STORE = '1'
  cluster.on('message', (_, message) => message.told && say(message.told))
  cluster.on('exit', (worker) => say({ ended: worker.process.pid }))
  for (let i = 0; i < Number(WORKERS); i++) cluster.fork()
  process.stdin.on('data', (text) => {
    const [command, pid] = String(text).trim().split(' ')
    const worker = Object.values(cluster.workers).find((one) => one.process.pid === Number(pid))
    if (command === 'fork') cluster.fork()
    if (command === 'disconnect') worker.disconnect()
    if (command === 'rubbish') for (const one of Object.values(cluster.workers)) one.send({ spnegoReplay: 'x', id: 0 })
  })
} else {
  useClusterReplayStore() // harmless here
  process.on('disconnect', () => setTimeout(() => process.exit(0), 2000)) // the port of its own would keep it
  const { MemoryReplayStore } = await entry('index')
  const stores = { memory: () => new MemoryReplayStore(), danger: () => dangerouslyPerProcess() }
  try {
    const guard = createNegotiateServer({ keytab: KEYTAB, replayStore: stores[STORE]?.() })
    const listener = async (req, res) => {
      res.setHeader('x-worker', process.pid)
      const identity = await guard.handle(req, res)
      if (identity) res.end(identity.principal)
    }
    const shared = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, listener)
    const own = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, listener)
    process.send({ spnegoReplay: 'nobody', id: -1, keys: 'no list', ends: [] }) // the primary has to survive it
    shared.listen({ port: 0, host: '127.0.0.1' }, () =>
      own.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
        const [port, ownPort] = [shared.address().port, own.address().port]
        process.send({ told: { pid: process.pid, port, ownPort } })
      }),
    )
  } catch ({ name, code, hint, message }) {
    process.send({ told: { error: { name, code, hint, message } } }, () => process.exit(1))
  }
}
