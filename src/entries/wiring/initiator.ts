import { DEFAULT_ENCTYPES } from '../../crypto/index.ts'
import { CredentialError, KerberosError } from '../../errors.ts'
import type { Flag, SecurityContext } from '../../gss/context.ts'
import { type InitiatorOptions as KerberosParts, Krb5Initiator } from '../../gss/krb5/index.ts'
import { SpnegoInitiator } from '../../gss/spnego/index.ts'
import type { CredentialStore, TicketOptions } from '../../krb5/credentials.ts'
import type { Credential } from '../../krb5/exchange/index.ts'
import type { Krb5Config } from '../../krb5/formats/index.ts'
import { type Principal, TICKET_FLAG } from '../../krb5/messages/index.ts'
import { invalid, oneOf, optional, ownOptions, rejectUnknown } from '../../options.ts'
import { Credentials, configOf } from './credentials.ts'
import { withOwnTokens } from './own-tokens.ts'
import { serviceTarget } from './service-name.ts'

/** All but `'delegate'`. */
export const FLAGS: readonly Flag[] = ['mutual', 'replay', 'sequence', 'confidential', 'integrity']

export interface InitiatorOptions {
  /** `HTTP@host`, `HTTP/host`, `HTTP/host@REALM` or a `Principal`. */
  readonly target: string | Principal
  /** Default: the user's cache, else the client keytab. */
  readonly credentials?: Credentials | undefined
  /** Default `'spnego'`; `'krb5'` makes raw Kerberos tokens (RFC 4121). */
  readonly mechanism?: 'spnego' | 'krb5' | undefined
  /**
   * Default: all but `'delegate'`, with which the user's login is forwarded (RFC 4121 §4.1.1): the service then *is* the user everywhere. It needs
   * a forwardable login.
   */
  readonly flags?: readonly Flag[] | undefined
  /** Application data of the channel bindings, for instance `tls-server-end-point:` and the hash (RFC 5929 §4). */
  readonly channelBindings?: Uint8Array | undefined
  /**
   * With the flag `'delegate'`: `'always'` (default), or `'policy'` for only where the KDC marks the service ok-as-delegate (RFC 5896 §2); the
   * context's flags tell whether it happened.
   */
  readonly delegation?: 'always' | 'policy' | undefined
  readonly config?: Krb5Config | undefined
}

/**
 * A context for one service, its ticket already fetched. `step()` gives the first token; `step(token)` takes the answer.
 *
 * @throws {UsageError} `NAME_INVALID`, `OPTION_…`
 * @throws {KerberosError} whatever fetching a ticket throws: see `Credentials.login`
 */
export async function createInitiator(options: InitiatorOptions): Promise<SecurityContext> {
  const {
    target,
    credentials = Credentials.ofUser(),
    mechanism,
    flags,
    channelBindings,
    delegation,
    config: given,
    ...unknown
  } = ownOptions('createInitiator', options)
  rejectUnknown('createInitiator', unknown)
  const config = optional(given, configOf)
  if (channelBindings !== undefined && !(channelBindings instanceof Uint8Array)) {
    throw invalid('channelBindings', 'bytes', channelBindings)
  }
  if (!(credentials instanceof Credentials)) throw invalid('credentials', 'Credentials', credentials)
  const wanted = flagList(flags)
  const chosen = mechanismOf(mechanism)
  const policy =
    optional(delegation, (value) => oneOf<'always' | 'policy'>('delegation', value, ['always', 'policy'])) ?? 'always'
  const store = Credentials.storeOf(credentials)
  const { service, written } = serviceTarget(target)
  const how = wanted.includes('delegate') ? policy : ('never' as const)
  const get = async () => ({ store, credential: await store.getTicket(service, { config, written }) })
  const { credential, forwarded } = await ticketsOf(get, how, { config })
  const context = newInitiator(chosen, {
    credential,
    forwarded,
    flags: forwarded === undefined ? wanted.filter((flag) => flag !== 'delegate') : wanted,
    channelBindings,
    enctypes: config?.usableEnctypes ?? DEFAULT_ENCTYPES,
    source: store.source,
  })
  return withOwnTokens(context)
}

/** A ticket, and where others of the same user come from. */
export interface Found {
  readonly credential: Credential
  readonly store: CredentialStore
}

/** How often a cache may become another user's during one call. */
const MAX_OWNERS = 3

/** A ticket for a service, and the login to send along with it: both of one user, whoever the cache belongs to by then. */
export async function ticketsOf(
  get: () => Promise<Found>,
  delegation: Delegation,
  options: TicketOptions,
): Promise<Found & { readonly forwarded: Credential | undefined }> {
  for (let owners = 1; ; owners++) {
    const found = await get()
    const forwarded = await forwardedTicket(found, delegation, options)
    const isHis = forwarded === undefined || forwarded.client.equals(found.credential.client)
    if (isHis) return { ...found, forwarded } // check: C52
    if (owners === MAX_OWNERS) throw restless()
  }
}

function restless(): CredentialError {
  return new CredentialError('NO_CREDENTIALS', 'the credential cache becomes another user’s again and again', {
    hint: 'Give each user a cache of his own: KRB5CCNAME.',
  })
}

type Delegation = 'never' | 'policy' | 'always'

/**
 * The login to send along to the service of a ticket, or undefined. Where it is left to the KDC's policy, a login that may not be forwarded is no
 * fault either.
 */
async function forwardedTicket(
  { store, credential: { client, server, flags } }: Found,
  delegation: Delegation,
  options: TicketOptions,
): Promise<Credential | undefined> {
  if (delegation === 'never') return undefined // check: C40
  const isMarked = (flags & TICKET_FLAG['ok-as-delegate']) !== 0
  const isFree = delegation === 'always' && (isMarked || !(await store.enforcesOkAsDelegate(options)))
  if (isFree) return store.getForwardedTicket(server, options)
  if (!isMarked) return undefined // check: C41 K88
  try {
    return await store.getForwardedTicket(server, options)
  } catch (error) {
    if (!(error instanceof KerberosError) || error.code !== 'TICKET_NOT_FORWARDABLE') throw error
    const login = await store.getTicketGrantingTicket(options)
    return login.client.equals(client) ? undefined : login // of another user by now: his is not the one that may not be forwarded
  }
}

/** A raw Kerberos context, or SPNEGO over it. */
export function newInitiator(mechanism: 'spnego' | 'krb5', options: KerberosParts): SecurityContext {
  const kerberos = new Krb5Initiator(options)
  return mechanism === 'krb5' ? kerberos : new SpnegoInitiator(kerberos)
}

export function mechanismOf(value: unknown): 'spnego' | 'krb5' {
  return optional(value, (given) => oneOf('mechanism', given, ['spnego', 'krb5'])) ?? 'spnego'
}

function flagList(value: readonly Flag[] | undefined): readonly Flag[] {
  if (value === undefined) return FLAGS
  if (!Array.isArray(value)) throw invalid('flags', 'a list', value)
  return value.map((flag) => oneOf('flags', flag, [...FLAGS, 'delegate']))
}
