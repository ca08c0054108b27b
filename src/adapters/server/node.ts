import { channel } from 'node:diagnostics_channel'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import {
  type Authenticator,
  errorOf,
  faultRefusal,
  type Identity,
  type NegotiateRequest,
  type ServerEffects,
} from '../../http/index.ts'
import { decide } from './admitted.ts'
import { HeaderSizeCheck } from './header-size.ts'
import { admit, onHead } from './on-head.ts'
import { refuse } from './refuse.ts'
import { requestOf } from './request-of.ts'
import { guardUpgrades } from './upgrade.ts'

export { identityOf } from './admitted.ts'
export { recommendedMaxHeaderSize } from './header-size.ts'
export { endSessionOn as endSession } from './on-head.ts'

/** node:http, and what is built like it: node:https, and node:http2's compatible API. */
export class NodeAdapter {
  readonly #server: Authenticator<NegotiateRequest>
  readonly #headerSize = new HeaderSizeCheck()

  constructor(server: Authenticator<NegotiateRequest>) {
    this.#server = server
  }

  /**
   * Authenticates a request, and answers it when it is refused.
   *
   * @returns who it is; undefined when it is answered, or anonymous because `required` said no (`res.writableEnded` tells which)
   *   Never rejects: what a function of the program threw is a 500, and a warning.
   */
  async handle(req: IncomingMessage, res: ServerResponse): Promise<Identity | undefined> {
    try {
      return await this.#handle(req, res)
    } catch (error) {
      process.emitWarning(errorOf(error))
      if (res.headersSent) res.destroy()
      else await refuse(req, res, faultRefusal(error)) // check: A04
      return undefined
    }
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<Identity | undefined> {
    this.#headerSize.checkRequest(req)
    const decision = await decide(this.#server, req, requestOf(req))
    switch (decision.kind) {
      case 'accepted':
        admit(req, res, decision)
        return decision.identity
      case 'anonymous':
        onHead(res, decision.headers)
        return undefined
      case 'refused':
        await refuse(req, res, decision)
        // HTTP/2 ends no response that its client has left: it must not look like one that is still to be given.
        if (!res.writableEnded) Object.defineProperty(res, 'writableEnded', { value: true }) // check: A04
        return undefined
    }
  }

  /** Authenticates upgrades, and a proxy's tunnels, before the application's own listeners see them, and warns when tokens will not fit into headers. */
  attach(server: Server): void {
    this.#headerSize.checkServer(server as { readonly maxHeaderSize?: number })
    guardUpgrades(server, this.#server)
  }
}

/** Timers that keep no process alive, and the channel `spnego:server`. */
export function nodeEffects(): ServerEffects {
  return {
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs).unref()
      return () => clearTimeout(timer)
    },
    now: () => Date.now(),
    monotonic: () => performance.now(),
    channel: channel('spnego:server'),
    warn: (message, code) => process.emitWarning(message, { type: 'SpnegoWarning', code }),
  }
}
