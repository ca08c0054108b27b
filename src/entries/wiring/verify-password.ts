import { readUtf8 } from '../../bytes/text.ts'
import { MalformedError } from '../../errors.ts'
import type { ReplayStore } from '../../gss/context.ts'
import type { Keytab, Krb5Config } from '../../krb5/formats/index.ts'
import { integerIn, invalid, optional, ownOptions, rejectUnknown, stringOf } from '../../options.ts'
import { type AcceptedPrincipal, openAcceptor } from './acceptor.ts'
import { configOf, passwordBytes } from './credentials.ts'
import { Passwords } from './passwords.ts'

export interface VerifyPasswordOptions {
  /** A path, `FILE:path`, or a `Keytab`. Default `KRB5_KTNAME`, else `/etc/krb5.keytab`. */
  readonly keytab?: string | Keytab | undefined
  /** Whose key the KDC must know: the first such entry of the keytab. Default `{ service: 'HTTP' }`. */
  readonly principal?: AcceptedPrincipal | undefined
  readonly config?: Krb5Config | undefined
  /** 1 to 60 000. Default 10 000. */
  readonly timeoutMs?: number | undefined
}

/** Never asked: the ticket that is checked was made here. */
const NO_REPLAYS: ReplayStore = { checkAndStore: () => 'replay' }

/**
 * Whether a password is somebody's: the KDC is asked (RFC 4120 §3.1), and believed only when it has a ticket for this server's own key too, which one
 * that is none cannot make. Three messages, and a hash of some milliseconds on the thread pool. Whoever asks bounds how often strangers may try.
 *
 * @param user a name in the realm of the keytab's entry: `alice`, or `alice@EXAMPLE.COM`
 * @param password text as UTF-8, not normalized, or its bytes
 * @returns who it is, and the end of his ticket
 * @throws {CredentialError} `PASSWORD_WRONG`, for an unknown user alike: with the same messages, and as much work
 * @throws {VerificationError} `PASSWORD_UNPROVEN`
 * @throws {KdcError} a locked account, an expired password: by the RFC's name
 * @throws {NetworkError} `KDC_UNREACHABLE`, `KDC_TIMEOUT`
 * @throws {ConfigError} `KEYTAB_…`, `KDC_UNKNOWN`, `CONFIG_…`
 */
export async function verifyPassword(
  user: string,
  password: string | Uint8Array,
  options?: VerifyPasswordOptions,
): Promise<{ readonly principal: string; readonly expiresAt: Date }> {
  const { keytab, principal, config, timeoutMs = 10_000, ...unknown } = ownOptions('verifyPassword', options)
  rejectUnknown('verifyPassword', unknown)
  const text = textOf(password)
  const acceptor = openAcceptor({ keytab, principal, replayStore: NO_REPLAYS })
  try {
    const passwords = new Passwords({
      rulesFor: () => acceptor.rulesFor(),
      timeoutMs: integerIn('timeoutMs', timeoutMs, 1, 60_000),
      rememberMs: 0,
      config: optional(config, configOf),
    })
    const { peer, expiresAt } = await passwords.verify({ user: stringOf('user', user), password: text }, ANY_REQUEST)
    return { principal: peer.toString(), expiresAt }
  } finally {
    await acceptor.close()
  }
}

/** What is no UTF-8 was never typed as a password. */
function textOf(password: string | Uint8Array): string {
  try {
    return readUtf8(passwordBytes('password', password), 'password')
  } catch (error) {
    throw error instanceof MalformedError ? invalid('password', 'a text, or its UTF-8', password) : error
  }
}

const ANY_REQUEST = { method: 'GET', url: '/', headers: {} } as const
