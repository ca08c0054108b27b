import type { NodeParts } from '../../adapters/client/journey.ts'
import { tlsServerEndPoint } from '../../gss/bindings.ts'
import { CertificateBindings } from '../../system/index.ts'
import { type ClientEntry, clientOf, type NegotiateClientOptions } from './client.ts'
import { loginReporter } from './login-reporter.ts'

/** What the clients on node:http are made of. @throws {UsageError} as `clientOf` */
export function nodeParts(entry: ClientEntry, where: string, options: NegotiateClientOptions | undefined): NodeParts {
  const { settings, contexts } = clientOf(entry, where, options)
  const certificates = new CertificateBindings(tlsServerEndPoint)
  return {
    settings,
    contexts,
    bindingsOf: (origin, certificate) => certificates.of(origin, certificate),
    observe: loginReporter(settings.logger),
  }
}
