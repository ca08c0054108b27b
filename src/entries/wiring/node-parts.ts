import type { NodeParts } from '../../adapters/client/journey.ts'
import { tlsServerEndPoint } from '../../gss/bindings.ts'
import { CertificateBindings } from '../../system/index.ts'
import { type ClientEntry, clientOf, type NegotiateClientOptions } from './client.ts'
import { loginReporter } from './login-reporter.ts'
import { streamsOf } from './proxy.ts'

/** What the clients on node:http are made of. @throws {UsageError} as `clientOf` */
export function nodeParts(entry: ClientEntry, where: string, options: NegotiateClientOptions | undefined): NodeParts {
  const parts = clientOf(entry, where, options)
  const observe = loginReporter(parts.settings.logger)
  const certificates = new CertificateBindings(tlsServerEndPoint)
  return {
    ...parts,
    streamsOf: (way) => streamsOf(way, observe),
    bindingsOf: (origin, certificate) => certificates.of(origin, certificate),
    observe,
  }
}
