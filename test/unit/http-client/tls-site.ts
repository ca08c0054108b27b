import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Acceptor } from '../../../src/entries/index.ts'
import { tlsServerEndPoint } from '../../../src/gss/bindings.ts'
import { vectors } from '../../vectors.ts'

/** A real TLS server that demands the channel bindings of its certificate (`tls-server-end-point`, RFC 5929 §4). */

export interface Certified {
  readonly id: string
  readonly certificate_b64: string
  readonly key_pem?: string
}

export function certificate(id: string): { key: string; cert: string } {
  const found = vectors<Certified>('certificates').find((one) => one.id === id)
  if (found?.key_pem === undefined) throw new Error(`no key of ${id}`)
  return {
    key: found.key_pem,
    cert: `-----BEGIN CERTIFICATE-----\n${found.certificate_b64}\n-----END CERTIFICATE-----`,
  }
}

export interface TlsSite {
  readonly url: string
  readonly server: Server
  /** Tokens that were refused, and what each answered request came over. */
  readonly refused: string[]
  readonly served: { readonly bound: boolean; readonly port: number | undefined; readonly resumed: boolean }[]
}

export async function tlsSite(acceptor: Acceptor, id: string, port = 0): Promise<TlsSite> {
  const refused: string[] = []
  const served: { bound: boolean; port: number | undefined; resumed: boolean }[] = []
  const own = Buffer.from(certificate(id).cert.replace(/-----.*?-----/g, ''), 'base64')
  const endPoint = tlsServerEndPoint(own) ?? new Uint8Array(1)
  const server = createServer(certificate(id), (req: IncomingMessage, res: ServerResponse) => {
    void (async () => {
      const token = /^Negotiate (.+)$/.exec(req.headers.authorization ?? '')?.[1]
      if (token === undefined) return res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
      const context = acceptor.createContext({ channelBindings: endPoint })
      try {
        const step = await context.step(Buffer.from(token, 'base64'))
        served.push({
          bound: context.flags.has('channel-bound'),
          port: req.socket.remotePort,
          resumed: (req.socket as Partial<TLSSocket>).isSessionReused?.() === true,
        })
        const proof = Buffer.from(step.token ?? []).toString('base64')
        return res.writeHead(200, { 'www-authenticate': `Negotiate ${proof}` }).end(`${context.peer}`)
      } catch (error) {
        refused.push((error as { code: string }).code)
        return res.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
      }
    })()
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return { url: `https://localhost:${(server.address() as AddressInfo).port}/`, server, refused, served }
}
