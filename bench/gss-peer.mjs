// One side of gss.mjs in a process of its own, which does nothing else: what another one in the same process leaves behind would be cleared away on its
// time. `gss-peer.mjs ours` or `gss-peer.mjs npm`; each line is a call, answered with the microseconds that one of them took.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { microseconds } from './lib.mjs'

async function ours() {
  const { Credentials, createAcceptor, createInitiator } = await import('../dist/entries/index.js')
  const credentials = Credentials.fromCache()
  let acceptor
  return {
    /** As a server does that has just started. */
    async start() {
      await acceptor?.close()
      acceptor = await createAcceptor()
    },
    accept: (tokens) =>
      microseconds(tokens.length, async () => {
        for (const token of tokens) {
          const context = acceptor.createContext()
          const { complete } = await context.step(token)
          if (!complete) throw new Error('not complete')
          context.dispose()
        }
      }),
    initiate: (target, count) =>
      microseconds(count, async () => {
        for (let i = 0; i < count; i++) {
          const context = await createInitiator({ target, credentials })
          await context.step()
          context.dispose()
        }
      }),
  }
}

async function npm() {
  const { initializeClient, initializeServer } = createRequire(`${process.env.BENCH_PEERS}/`)('kerberos')
  const named = (service) => service.replace('/', '@')
  return {
    accept: (tokens, service) =>
      microseconds(tokens.length, async () => {
        for (const token of tokens) {
          const server = await initializeServer(named(service))
          await server.step(Buffer.from(token).toString('base64'))
          if (!server.contextComplete) throw new Error('npm kerberos: not complete')
        }
      }),
    initiate: (service, count) =>
      microseconds(count, async () => {
        for (let i = 0; i < count; i++) await (await initializeClient(named(service), { mechOID: 6 })).step('')
      }),
  }
}

const side = await (process.argv[2] === 'ours' ? ours() : npm())
for await (const line of createInterface({ input: process.stdin })) {
  const [call, service, ...rest] = line.split(' ')
  if (call === 'start') console.log((await side.start()) ?? 0)
  if (call === 'accept')
    console.log(
      await side.accept(
        rest.map((text) => new Uint8Array(Buffer.from(text, 'base64'))),
        service,
      ),
    )
  if (call === 'initiate') console.log(await side.initiate(service, Number(rest[0])))
}
