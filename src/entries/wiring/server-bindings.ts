import { fromBase64 } from '../../bytes/base64.ts'
import { UsageError } from '../../errors.ts'
import { tlsServerEndPoint } from '../../gss/bindings.ts'
import type { NegotiateRequest, NegotiateServerOptions } from '../../http/index.ts'
import { invalid } from '../../options.ts'

/** The channel bindings that a request's token may have been made for; undefined: they are not looked at. */
export type ServerBindings = (request: NegotiateRequest) => readonly Uint8Array[] | undefined

/**
 * @throws {UsageError} `OPTION_INVALID` for a certificate that is none, `BINDINGS_UNAVAILABLE` for one that defines none (RFC 5929 §4.1)
 */
export function serverBindings({ channelBindings, certificate }: Mode): ServerBindings {
  if (channelBindings === 'off') return () => undefined
  if (certificate !== undefined) {
    const all = [certificate].flat().map(bindingsOf)
    return () => all
  }
  const known = new WeakMap<Uint8Array, readonly Uint8Array[] | undefined>()
  return ({ certificate: own }) => {
    if (own === undefined) return noneOf(channelBindings)
    const found = known.get(own) ?? listOf(tlsServerEndPoint(own))
    known.set(own, found)
    return found ?? noneOf(channelBindings)
  }
}

type Mode = Pick<NegotiateServerOptions, 'channelBindings' | 'certificate'>

/** Where they are required, no login is better than one that is tied to nothing. */
function noneOf(mode: Mode['channelBindings']): undefined {
  if (mode === 'required') throw unavailable('this connection shows no certificate with bindings') // check: S37
  return undefined
}

function listOf(bindings: Uint8Array | undefined): readonly Uint8Array[] | undefined {
  return bindings && [bindings]
}

function bindingsOf(certificate: string | Uint8Array): Uint8Array {
  const found = tlsServerEndPoint(typeof certificate === 'string' ? derOf(certificate) : certificate)
  if (found === undefined) throw unavailable('the certificate is none, or defines no bindings (RFC 5929 §4.1)')
  return found
}

/** RFC 7468 §5.1; of a chain the first one, which is the server's (RFC 8446 §4.4.2). */
function derOf(pem: string): Uint8Array {
  const [, text] = /-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/.exec(pem) ?? []
  if (text === undefined) throw invalid('certificate', 'a certificate, PEM or DER', pem)
  return fromBase64(text.replace(/\s/g, ''), 'certificate')
}

function unavailable(why: string): UsageError {
  return new UsageError('BINDINGS_UNAVAILABLE', `channelBindings: ${why}`, {
    hint: 'Serve over https with a certificate signed with RSA or ECDSA, or give the certificate that clients see.',
  })
}
