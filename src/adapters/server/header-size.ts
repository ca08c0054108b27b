import { type IncomingMessage, maxHeaderSize } from 'node:http'

/** What a token of Active Directory needs (65 535 octets in base64), and some room: for `http.createServer({ maxHeaderSize })`. */
export const recommendedMaxHeaderSize = 98_304

/** Less than this, and Node answers 431 to a user of many groups before any handler runs. */
const LEAST_HEADER_SIZE = 65_536

/** Warns once for each server whose limit is too low. */
export class HeaderSizeCheck {
  readonly #seen = new WeakSet<object>()

  checkRequest(req: IncomingMessage): void {
    const { server } = req.socket as { readonly server?: object }
    if (server !== undefined && req.httpVersionMajor === 1) this.checkServer(server)
  }

  checkServer(server: { readonly maxHeaderSize?: number | undefined }): void {
    if (!('maxHeaderSize' in server) || this.#seen.has(server)) return // HTTP/2 has a limit of its own (SETTINGS_MAX_HEADER_LIST_SIZE)
    this.#seen.add(server)
    const limit = server.maxHeaderSize ?? maxHeaderSize
    if (limit >= LEAST_HEADER_SIZE) return // check: S82
    process.emitWarning(
      `This server takes headers of ${limit} bytes; Kerberos tokens of users in many groups are longer, and end in 431. ` +
        'Use http.createServer({ maxHeaderSize: recommendedMaxHeaderSize }).',
      { type: 'SpnegoWarning', code: 'SPNEGO_HEADER_SIZE' },
    )
  }
}
