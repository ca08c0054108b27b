import { quote } from '../../bytes/text.ts'
import { DEFAULT_ENCTYPES } from '../../crypto/index.ts'
import { CredentialError } from '../../errors.ts'
import type { InitiatorContexts } from '../../http/client.ts'
import type { ClientSettings } from '../../http/client-options.ts'
import type { Credential } from '../../krb5/exchange/index.ts'
import type { Krb5Config } from '../../krb5/formats/index.ts'
import { Principal } from '../../krb5/messages/index.ts'
import { integerIn, invalid, optional, stringOf } from '../../options.ts'
import { Credentials, configOf } from './credentials.ts'
import { FLAGS, mechanismOf, newInitiator, ticketsOf } from './initiator.ts'
import { expiryHook, type OnCredentialExpired, RevivingTickets } from './reviving-tickets.ts'
import { type ServiceTarget, serviceOfUrl, serviceTarget } from './service-name.ts'

/** Who logs in, and how: the options of a client that concern Kerberos. */
export interface ClientLoginOptions {
  /** Default: the user's credential cache, else the client keytab. */
  readonly credentials?: Credentials | undefined
  /** Whose credentials they must be. */
  readonly principal?: string | undefined
  readonly config?: Krb5Config | undefined
  /** `'krb5'` sends raw Kerberos tokens. Default `'spnego'`. */
  readonly mechanism?: 'spnego' | 'krb5' | undefined
  /** Largest difference to the KDC's clock, 0 to 3600 seconds. Default: `clockskew` of krb5.conf, else 300. */
  readonly clockSkewSeconds?: number | undefined
  /**
   * Called when the login has expired and nothing here can renew it: the moment to run kinit. Returns other credentials to go on with, or nothing
   * when the same ones are good again; the request is then tried once more. Many requests wait for one call.
   */
  readonly onCredentialExpired?: OnCredentialExpired | undefined
}

/** @throws {UsageError} `OPTION_INVALID` */
export function initiatorContexts(options: ClientLoginOptions, settings: ClientSettings): InitiatorContexts {
  const mechanism = mechanismOf(options.mechanism)
  const principal = optional(options.principal, (value) => stringOf('principal', value))
  const config = optional(options.config, configOf)
  const clockSkewSeconds = optional(options.clockSkewSeconds, (value) => integerIn('clockSkewSeconds', value, 0, 3600))
  const { credentials = Credentials.ofUser(principal) } = options
  if (!(credentials instanceof Credentials)) throw invalid('credentials', 'Credentials', credentials)
  const { targetName } = settings
  if (typeof targetName === 'object' && !(targetName instanceof Principal)) {
    throw invalid('targetName', 'a name, a Principal or a function', targetName)
  }
  const tickets = new RevivingTickets(credentials, optional(options.onCredentialExpired, expiryHook))
  return {
    async open(target, { mutual, delegation, signal }) {
      const { service, written } = targetOf(target, settings)
      const asked = { config, clockSkewSeconds, timeoutMs: settings.loginTimeoutMs, signal, written }
      const get = async () => {
        const found = await tickets.get(service, asked)
        refuseOther(principal, found.credential.client) // before anything of his is forwarded
        return found
      }
      const { credential, forwarded, store } = await ticketsOf(get, delegation, asked)
      const base = mutual ? FLAGS : (['integrity'] as const)
      const loginWith = (ticket: Credential) => ({
        principal: ticket.client.toString(),
        target: ticket.server.toString(),
        mechanism,
        delegated: forwarded !== undefined,
        begin: (channelBindings: Uint8Array | undefined) =>
          newInitiator(mechanism, {
            credential: ticket,
            flags: forwarded === undefined ? base : [...base, 'delegate'],
            forwarded,
            channelBindings,
            enctypes: config?.usableEnctypes ?? DEFAULT_ENCTYPES,
            source: store.source,
          }),
      })
      const renewed = async (later: AbortSignal | undefined) => {
        const newer = await store.getNewerTicket(service, credential, { ...asked, signal: later })
        return newer && { ...loginWith(newer.credential), settle: newer.settle }
      }
      return { ...loginWith(credential), renewed: store.wasIssuedFor(asked) ? undefined : renewed }
    },
  }
}

/** Without the option `targetName` the name is made of the URL, where an address is one by accident. */
function targetOf(target: string | Principal, { service, targetName }: ClientSettings): ServiceTarget {
  if (targetName !== undefined || typeof target !== 'string') return serviceTarget(target, service)
  return { service: serviceOfUrl(target), written: undefined }
}

/** Whatever the credentials are, the caller said whose they must be. */
function refuseOther(wanted: string | undefined, client: Principal): void {
  if (wanted === undefined || Principal.parse(wanted, client.realm).equals(client)) return
  throw new CredentialError('NO_CREDENTIALS', `the credentials are those of ${client}, not of ${quote(wanted)}`, {
    hint: `Run kinit ${wanted}, or drop the principal option.`,
  })
}
