import {
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http'
import type { Duplex } from 'node:stream'
import { concat, utf8 } from '../../bytes/bytes.ts'
import { type Authenticator, errorOf, faultRefusal, type NegotiateRequest, type Refusal } from '../../http/index.ts'
import { decide, endWith } from './admitted.ts'
import { admit, onHead } from './on-head.ts'
import { refuse } from './refuse.ts'
import { upgradeOf } from './request-of.ts'

/**
 * Puts authentication before every listener of `upgrade`, and of a proxy's `connect`. A listener of our own could not do it: it can run first, but not keep the
 * others from running, and whoever is added later by `ws` or a framework would see the socket of a stranger. So the emitting itself waits for
 * the decision. Node emits `upgrade` and `connect` only when the application listens to them; else it answers or closes by itself.
 */
export function guardUpgrades(server: Server, authenticator: Authenticator<NegotiateRequest>): void {
  const { emit } = server
  server.emit = function (this: Server, event: string | symbol, ...values: unknown[]): boolean {
    if (event !== 'upgrade' && event !== 'connect') return Reflect.apply(emit, this, [event, ...values])
    const [req, socket] = values as [IncomingMessage, Duplex | ServerResponse]
    const goOn = () => Reflect.apply(emit, this, [event, ...values]) as boolean
    if (isResponse(socket)) {
      void tunnelOfHttp2(authenticator, req, socket, goOn)
      return true
    }
    void admitted(authenticator, req, socket).then((pass) => pass && goOn())
    return true
  }
}

/** node:http2 emits `connect` with a response instead of a socket (RFC 9113 §8.5). */
function isResponse(value: Duplex | ServerResponse): value is ServerResponse {
  return typeof (value as Partial<ServerResponse>).writeHead === 'function'
}

/** Answers as node:http2 does when the application listens to no `connect`: 405. */
async function tunnelOfHttp2(
  authenticator: Authenticator<NegotiateRequest>,
  req: IncomingMessage,
  res: ServerResponse,
  goOn: () => boolean,
): Promise<void> {
  try {
    const decision = await decide(authenticator, req, upgradeOf(req))
    if (decision.kind === 'refused') return await refuse(req, res, decision) // check: A03
    if (decision.kind === 'accepted') admit(req, res, decision)
    if (decision.kind === 'anonymous') onHead(res, decision.headers)
  } catch (error) {
    process.emitWarning(errorOf(error))
    return refuse(req, res, faultRefusal(error))
  }
  if (goOn()) return
  res.statusCode = 405
  res.end()
}

async function admitted(
  authenticator: Authenticator<NegotiateRequest>,
  req: IncomingMessage,
  socket: Duplex,
): Promise<boolean> {
  socket.on('error', ignore) // Node has taken its own listener away, and the application has not added one yet
  try {
    const decision = await decide(authenticator, req, upgradeOf(req))
    if (decision.kind === 'refused') return answerOn(socket, decision) // check: A03
    if (decision.kind === 'accepted') endWith(socket, decision.identity)
    socket.off('error', ignore)
    return !socket.destroyed && (decision.kind === 'accepted' || decision.kind === 'anonymous')
  } catch (error) {
    process.emitWarning(errorOf(error))
    socket.destroy()
    return false
  }
}

/** RFC 9112 §4: the refusal as it stands on the wire. Throws when a field of the program's page is none. */
export function answerOn(socket: Duplex, { status, headers, body }: Refusal): false {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`
  for (const [name, value] of headers) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    head += `${name}: ${value}\r\n`
  }
  socket.end(concat(utf8(`${head}Connection: close\r\n\r\n`), body), () => socket.destroy())
  return false
}

function ignore(): void {}
