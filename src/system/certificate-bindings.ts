/** Most origins that are remembered as warned of. */
const MAX_WARNED = 1024

/** The channel bindings of a certificate (DER), or undefined when it has none. */
export type EndPoint = (certificate: Uint8Array) => Uint8Array | undefined

/** The channel bindings of the certificates that origins show. That one has none is told once for each origin. */
export class CertificateBindings {
  readonly #endPoint: EndPoint
  readonly #warned = new Set<string>()

  /** @param endPoint of RFC 5929 §4.1 */
  constructor(endPoint: EndPoint) {
    this.#endPoint = endPoint
  }

  of(origin: string, certificate: Uint8Array): Uint8Array | undefined {
    const found = this.#endPoint(certificate)
    if (found === undefined && !this.#warned.has(origin) && this.#warned.size < MAX_WARNED) {
      this.#warned.add(origin)
      warnOfNone(origin)
    }
    return found
  }
}

function warnOfNone(origin: string): void {
  const text = `the certificate of ${origin} defines no channel bindings (RFC 5929 §4.1): logins there are not bound to TLS`
  process.emitWarning(text, { type: 'SpnegoWarning', code: 'BINDINGS_UNAVAILABLE' })
}
