import { DEFAULT_ENCTYPES } from '../../crypto/index.ts'
import type { Flag } from '../../gss/context.ts'
import { Krb5Initiator } from '../../gss/krb5/index.ts'
import { SpnegoInitiator } from '../../gss/spnego/index.ts'
import type { InitiatorContexts } from '../../http/client.ts'
import type { ClientSettings } from '../../http/client-options.ts'
import type { Krb5Config } from '../../krb5/formats/index.ts'
import { integerIn, invalid, optional, stringOf } from '../../options.ts'
import { systemSource } from '../../system/index.ts'
import { Credentials, configOf } from './credentials.ts'
import { mechanismOf } from './initiator.ts'
import { serviceName } from './service-name.ts'

/** Who logs in, and how: the options of a client that concern Kerberos. */
export interface ClientLoginOptions {
  /** Default: the user's credential cache, else the client keytab. */
  readonly credentials?: Credentials | undefined
  /** The cache must be this principal's. */
  readonly principal?: string | undefined
  readonly config?: Krb5Config | undefined
  /** `'krb5'` sends raw Kerberos tokens. Default `'spnego'`. */
  readonly mechanism?: 'spnego' | 'krb5' | undefined
  /** Largest difference to the KDC's clock, 0 to 3600 seconds. Default: `clockskew` of krb5.conf, else 300. */
  readonly clockSkewSeconds?: number | undefined
}

/** @throws {UsageError} `OPTION_INVALID` */
export function initiatorContexts(options: ClientLoginOptions, settings: ClientSettings): InitiatorContexts {
  const mechanism = mechanismOf(options.mechanism)
  const principal = optional(options.principal, (value) => stringOf('principal', value))
  const config = optional(options.config, configOf)
  const clockSkewSeconds = optional(options.clockSkewSeconds, (value) => integerIn('clockSkewSeconds', value, 0, 3600))
  const credentials = options.credentials ?? Credentials.ofUser(principal)
  if (!(credentials instanceof Credentials)) throw invalid('credentials', 'Credentials', credentials)
  const store = Credentials.storeOf(credentials)
  const source = systemSource()
  return {
    async open(target, { mutual, signal }) {
      const service = serviceName(target, settings.service)
      const timeoutMs = settings.loginTimeoutMs
      const credential = await store.getTicket(service, { config, clockSkewSeconds, timeoutMs, signal })
      const flags: Flag[] = mutual ? ['mutual', 'replay', 'sequence', 'confidential', 'integrity'] : ['integrity']
      const kerberos = new Krb5Initiator({
        credential,
        flags,
        channelBindings: undefined,
        enctypes: DEFAULT_ENCTYPES,
        source,
      })
      return {
        context: mechanism === 'krb5' ? kerberos : new SpnegoInitiator(kerberos),
        principal: credential.client.toString(),
        target: credential.server.toString(),
        mechanism,
      }
    },
  }
}
