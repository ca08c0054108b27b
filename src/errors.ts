/**
 * Every error class and every error code.
 *
 * The class says who must act: the caller, the administrator, the user, the KDC, the network or the peer. The code is
 * the contract; the text is not. Codes of a KDC's own refusal keep the RFC's name (RFC 4120 §7.5.9) and are listed in
 * `krb5/messages/error-codes.ts`. No message, hint or cause ever holds a key, a password, a token or ticket bytes.
 */

/** Our own codes, each with what happened and what to do. `docs/errors.md` is held to this list by a test. */
export const ERROR_CODES = {
  // UsageError: the caller must act.
  OPTION_UNKNOWN: 'An option of that name does not exist (yet). Correct the spelling or remove it.',
  OPTION_INVALID: 'An option has a wrong type or lies outside its range. The message names both.',
  OPTION_UNSUPPORTED: 'That value of the option is not supported here, or not yet. The message says what is.',
  OPTION_CONFLICT: 'Two options exclude each other. The message names both, the hint says why.',
  ORIGINS_MISSING:
    'An explicit targetName or delegate needs origins here, where each redirect looks like a request of its own. List them.',
  NAME_INVALID: 'A principal or target name cannot be read. Write it as HTTP/host, HTTP@host or name@REALM.',
  TARGET_IS_ADDRESS: 'Kerberos names services by host name, not by IP address. Use the host name, or set targetName.',
  CONTEXT_INCOMPLETE: 'A security context was asked before its establishment had completed. Call step until complete.',
  CONTEXT_FAILED: 'A security context that failed or was disposed cannot be used again. Create a new one.',
  TICKET_USED: 'A KerberosTicket verifies one answer, once. Create another with KerberosTicket.for.',
  DELEGATION_INSECURE: 'delegateTo names a plain-http origin: whoever listens could take the login. Use https.',
  BINDINGS_UNAVAILABLE:
    'channelBindings is required, and the connection shows no certificate with bindings: plain http, a dispatcher of the program, or Ed25519.',
  BODY_NOT_REPLAYABLE: 'The server asked for authentication after a one-shot body had been sent. Set preemptive.',
  NOT_AUTHENTICATED:
    'identityOf was called for a request that carries no identity. Put negotiate() before the handler.',
  CALLBACK_FAILED:
    'A function that was given as an option threw. A client’s call fails with this; a server answers with 500, and a warning names the option.',
  ENCTYPE_UNSUPPORTED: 'The enctype is not one of 17, 18, 19, 20. Change the key to an AES enctype.',
  KEY_INVALID: 'A key has the wrong length for its enctype. The file or message it came from is damaged.',
  ABORTED: 'The call was given up: by its AbortSignal, or at the prompt. The cause is the reason.',
  PORT_IN_USE: 'The port is taken by another process. Choose another, or none for any free one.',

  // ConfigError: the administrator must act.
  CONFIG_SYNTAX: 'krb5.conf has a syntax error. The message gives file and line.',
  CONFIG_UNREADABLE: 'A configuration file cannot be read. Check its path and permissions.',
  CONFIG_INVALID: 'A value in krb5.conf has a wrong form. The message gives file, line and what is expected.',
  REALM_UNKNOWN:
    'No realm is known for the name. Set default_realm or [domain_realm] in krb5.conf, or write name@REALM.',
  KDC_UNKNOWN: 'krb5.conf names no KDC for the realm. Add kdc = host under [realms].',
  KEYTAB_NOT_FOUND: 'The keytab does not exist. Check the path, or KRB5_KTNAME.',
  KEYTAB_UNREADABLE: 'The keytab cannot be read by this user, or is not a regular file. Check owner and mode.',
  KEYTAB_EMPTY: 'The keytab holds no entry. Export the key into it: kadmin ktadd, ktpass or ktutil.',
  REPLAY_STORE_NEEDED:
    'Several processes accept tickets for one key, and this one would remember its own only. Give all one replayStore.',
  SESSION_KEYS_NEEDED:
    'Several processes serve the same users, and a session key of this one would be unknown to the others. Set sessions.keys.',
  KEYTAB_NO_ENTRY: 'The keytab has no entry for the name asked for. The message lists the names that are there.',

  // CredentialError: the user must act.
  NO_CREDENTIALS:
    'No ticket was found. Run kinit or spnego login, or pass credentials. On a server: the request carries no token.',
  CACHE_NOT_FOUND: 'The credential cache does not exist. Run kinit or spnego login, or check KRB5CCNAME.',
  CACHE_UNREADABLE: 'The credential cache cannot be read by this user, or is not a regular file.',
  CACHE_TYPE_UNSUPPORTED:
    'That kind of credential cache cannot be read without native code. Use FILE:, a keytab or a password.',
  CACHE_WRITE_FAILED: 'The credential cache could not be written. The old one, if any, is untouched.',
  PASSWORD_NEEDED: 'Changing a password needs the old one. Use Credentials.fromPassword.',
  PASSWORD_WRONG: 'The user name or the password is wrong. Which one is not said.',
  PASSWORD_INSECURE: 'A password came over plain http from another machine. Serve over https, or set trustProxy.',
  TOO_MANY_ATTEMPTS: 'Too many wrong passwords for this user or from this address. Wait, and try again.',
  SESSION_EXPIRED: 'The session is over: its ticket has ended, or its own maximum. A browser logs in again by itself.',
  SESSION_REFUSED: 'The session cookie was altered, ended by a logout, or sealed with a key that is no longer there.',
  PASSWORD_REFUSED: 'The realm does not take the new password: too short, too simple or used before. Choose another.',
  PASSWORD_CHANGE_FAILED: 'The password service did not change the password. The message gives its reason.',
  TICKET_NOT_FORWARDABLE:
    'The login may not be forwarded. Log in with forwardable = true in krb5.conf (kinit -f), if the account may.',
  REALM_NOT_REACHABLE:
    'The service lies in another realm than the ticket. Log in to that realm, or correct [domain_realm] in krb5.conf.',
  TICKET_EXPIRED: 'The ticket has expired. Run kinit or spnego login again.',
  TICKET_NOT_YET_VALID: 'The ticket is postdated or invalid. Wait for its start, or log in again.',

  // NetworkError: the network must act.
  KDC_UNREACHABLE: 'No KDC of the realm answered. The message lists each with its failure.',
  KDC_TIMEOUT:
    'No KDC answered within the deadline. Check the address and the firewall. After a password change either password may count.',
  KDC_REPLY_TOO_LONG: 'A KDC announced a reply over the bound of 1 MiB. That is not a KDC.',
  PROXY_UNREACHABLE: 'The proxy cannot be reached, or did not answer. Check its address, or NO_PROXY.',
  PROXY_REFUSED: 'The proxy opened no tunnel to the server. The message has its status; its log has the reason.',

  // MalformedError: the peer sent what no grammar allows.
  MALFORMED: 'Bytes from a file or a peer do not follow their format. The message names the field.',
  TOKEN_MALFORMED: 'A Negotiate token, header or GSS framing cannot be read.',
  KEYTAB_MALFORMED: 'The keytab file is damaged or is not a keytab.',
  CACHE_MALFORMED: 'The credential cache file is damaged or is not a credential cache.',

  // VerificationError: the peer failed a check.
  INTEGRITY_FAILED: 'A message does not decrypt under its key, or its checksum is wrong: wrong key or tampering.',
  REPLY_MISMATCH: 'A KDC reply does not answer the request that was sent. Somebody may be forging replies.',
  ENCTYPE_REFUSED: 'A peer used an enctype that was not offered or is not permitted.',
  ITERATIONS_REFUSED: 'The KDC asked for too few or too many password hashing iterations. It may be hostile.',
  PASSWORD_UNPROVEN:
    'The KDC took the password, but gave no ticket that this server’s keytab opens: a KDC that is none, or an old keytab.',
  KEY_NOT_FOUND: 'The keytab has no key for the ticket: wrong service, key version or enctype. Export the key again.',
  WRONG_PRINCIPAL: 'The ticket is for another service of this keytab than the one that this acceptor serves.',
  ANONYMOUS_TICKET: 'The ticket is anonymous (RFC 8062): it proves nobody. Log in with an account.',
  CLIENT_MISMATCH: 'The authenticator names another client than the ticket does.',
  CLOCK_SKEW: 'The clocks of client and server differ too much. Synchronise them (NTP).',
  REPLAY: 'The token has been used before. A client must make a new one for each request.',
  CLOCK_SET_BACK:
    'The server’s clock was set back to a time at which tokens were accepted that are forgotten. Synchronise it (NTP).',
  BEFORE_START:
    'The token was made before this server, or what remembers tokens for it, started; its replay cannot be excluded. Try again shortly.',
  REPLAY_STORE_UNAVAILABLE: 'The replay store is full or unreachable; nothing is accepted until it recovers.',
  TRANSITED_REFUSED: 'The ticket crossed realms that are not trusted. Set trustedRealms.',
  REALM_NOT_TRUSTED: 'The client comes from a realm that is not trusted. Set trustedRealms.',
  ADDRESS_MISMATCH: 'The ticket is bound to network addresses. Ask for address-less tickets.',
  AUTHORIZATION_DATA_REFUSED: 'The ticket carries critical authorization data that is not understood.',
  DELEGATION_REFUSED: 'What the client forwarded lacks names, times or tickets. Its library is at fault.',
  CHECKSUM_MISSING: 'The authenticator carries no GSS checksum (0x8003).',
  BINDINGS_MISMATCH: 'The channel bindings differ: the token was made for another TLS connection.',
  BINDINGS_CHANGED: 'The server showed another certificate than the token was made for, again and again.',
  MECHANISM_REFUSED: 'The peer offered or chose a mechanism other than Kerberos.',
  NTLM_OFFERED: 'The client sent NTLM: it found no Kerberos ticket for this host.',
  USER_TO_USER_REFUSED: 'The client asks for user-to-user authentication, which a keytab cannot answer.',
  REJECTED: 'The peer rejected the negotiation.',
  TARGET_INVALID:
    'The target of the request has no form that a request may have, or one that servers read differently.',
  CROSS_SITE: 'A browser marked the request as coming from another site.',
  FORBIDDEN: 'The server’s authorize said no to an identity that is proven. It is not a fault of the login.',
  CONTINUE_NEEDED:
    'The negotiation needs another token; nothing is decided yet. A client sends it by itself; an agent cannot: use spnego/fetch.',
  PROXY_LOGIN_FAILED: 'The proxy asks for a login, and none came about. The cause and the hint say why.',
  PROXY_SUPPORT_MISSING:
    'A server behind a plain-http proxy asked for a token, and the proxy may give its connection to others. Use https or a tunnel.',
  TOO_MANY_LEGS: 'The negotiation did not end within its bound.',
  SEQUENCE_ERROR: 'A per-message token is replayed, more than 64 behind the newest, or from the wrong direction.',

  // MutualAuthenticationError and what a client reports beside a 401.
  MUTUAL_AUTHENTICATION_FAILED: 'The server did not prove its identity, or proved it wrongly.',
  INSECURE_ORIGIN: 'A plain-http origin asked for a token and is not listed. Add it to insecureOrigins, or use https.',
  ORIGIN_NOT_ALLOWED: 'A redirect led to an origin that may not see a token. Add it to origins.',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** The names that RFC 4120 §7.5.9 gives to a KDC's or server's refusals. */
export type KdcErrorName = `KDC_ERR_${string}` | `KRB_AP_ERR_${string}` | `KRB_ERR_${string}`

export interface KerberosErrorOptions extends ErrorOptions {
  /** One sentence: what to do. */
  readonly hint?: string | undefined
}

/** The base of every error this package throws on purpose. */
export class KerberosError extends Error {
  override readonly name: string = 'KerberosError'
  /** Stable, upper case: the contract. Ours are in `ERROR_CODES`; a KDC's refusal has the RFC's name. */
  readonly code: string
  /** One sentence: what to do. */
  readonly hint: string | undefined

  constructor(code: ErrorCode | KdcErrorName, message: string, options: KerberosErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.hint = options.hint
  }
}

/** The program that calls us must change. */
export class UsageError extends KerberosError {
  override readonly name = 'UsageError'
}

/** A file or setting of the administrator must change. */
export class ConfigError extends KerberosError {
  override readonly name = 'ConfigError'
}

/** The user must log in (again). */
export class CredentialError extends KerberosError {
  override readonly name = 'CredentialError'
}

/** The KDC said no. `code` is the RFC's name of the number (RFC 4120 §7.5.9). */
export class KdcError extends KerberosError {
  override readonly name = 'KdcError'
  /** The number on the wire, known to us or not. */
  readonly errorCode: number

  constructor(errorCode: number, code: KdcErrorName, message: string, options?: KerberosErrorOptions) {
    super(code, message, options)
    this.errorCode = errorCode
  }
}

/** No answer, or none in time. */
export class NetworkError extends KerberosError {
  override readonly name = 'NetworkError'
}

/** Bytes or text that no grammar allows. */
export class MalformedError extends KerberosError {
  override readonly name = 'MalformedError'
}

/** Well-formed, but it failed a check. */
export class VerificationError extends KerberosError {
  override readonly name: string = 'VerificationError'
}

/** The server did not prove who it is although the mode demands it. */
export class MutualAuthenticationError extends VerificationError {
  override readonly name = 'MutualAuthenticationError'
  constructor(message: string, options?: KerberosErrorOptions) {
    super('MUTUAL_AUTHENTICATION_FAILED', message, options)
  }
}

/** The error of every decoder. */
export function malformed(message: string, cause?: unknown): MalformedError {
  return new MalformedError('MALFORMED', message, cause === undefined ? undefined : { cause })
}
