import type { IncomingMessage } from 'node:http'
import type { WebSocketServer } from 'ws'
import { type Authenticator, errorOf, type HeaderList, type NegotiateRequest } from '../../http/index.ts'
import { decide, endWith } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { upgradeOf } from './request-of.ts'
import { answerOn } from './upgrade.ts'

export { identityOf } from './admitted.ts'

type Answer = (pass: boolean, status?: number, message?: string, headers?: Record<string, string>) => void
type Verify = (info: { origin: string; secure: boolean; req: IncomingMessage }, answer: Answer) => void
type OwnVerify = Verify | ((info: Parameters<Verify>[0]) => boolean) | undefined

/** Lets a WebSocket be opened by whoever has proved who he is. The program's own `verifyClient` is asked after that. */
export function guardSockets(sockets: WebSocketServer, server: Authenticator<NegotiateRequest>): void {
  const headerSize = new HeaderSizeCheck()
  const proofs = new WeakMap<IncomingMessage, HeaderList>()
  const { options } = sockets as unknown as { options: { verifyClient?: OwnVerify } }
  const own = options.verifyClient
  const verifyClient: Verify = (info, answer) => {
    headerSize.checkRequest(info.req)
    let isAnswered = false
    const answerOnce: Answer = (...values) => {
      isAnswered = true
      answer(...values)
    }
    verify(info, answerOnce).catch((error: unknown) => {
      if (isAnswered) throw error // what a listener of `connection` threw is the program's own
      process.emitWarning(errorOf(error))
      answer(false, 500)
    })
  }
  async function verify(info: Parameters<Verify>[0], answer: Answer): Promise<void> {
    const { req } = info
    const decision = await decide(server, req, upgradeOf(req))
    if (decision.kind === 'refused') return void answerOn(req.socket, decision) // check: A03 (ws' own way has one line of each field)
    if (decision.kind === 'accepted') {
      proofs.set(req, decision.headers)
      endWith(req.socket, decision.identity)
    }
    askOwn(own, info, answer)
  }
  options.verifyClient = verifyClient
  sockets.on('headers', (lines, req) => {
    for (const [name, value] of proofs.get(req) ?? []) lines.push(`${name}: ${value}`)
  })
}

function askOwn(own: OwnVerify, info: Parameters<Verify>[0], answer: Answer): void {
  if (own === undefined || own === null) answer(true)
  else if (own.length === 2) (own as Verify)(info, answer)
  else answer((own as (info: Parameters<Verify>[0]) => boolean)(info), 401)
}
