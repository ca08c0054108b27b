/** How somebody proves who he is: with a password, or with the keys of a keytab. */
import { EMPTY, utf8 } from '../bytes/bytes.ts'
import { listOf, quote } from '../bytes/text.ts'
import { enctypeName, Key, stringToKey } from '../crypto/index.ts'
import { ConfigError, UsageError } from '../errors.ts'
import { type Deadline, drive, kdcInquiry, type RealmSender, type World } from './client.ts'
import { asExchange, type Credential, type Exchange, type KeyRequest } from './exchange/index.ts'
import { Keytab, type Krb5Config } from './formats/index.ts'
import { Principal } from './messages/index.ts'

/** Default lifetime asked for, in seconds (MIT krb5.conf, ticket_lifetime). */
const DEFAULT_LIFETIME_SECONDS = 86_400

/** Somebody's long-term key. */
export type LongTermOrigin =
  | { readonly kind: 'keytab'; readonly principal: string; readonly keytab: string | Keytab | undefined }
  | { readonly kind: 'password'; readonly principal: string; readonly password: Uint8Array }

/** What one caller asks for, complete. */
export interface Call extends Deadline {
  readonly config: Krb5Config
  readonly enctypes: readonly number[]
  /** Microseconds. */
  readonly clockSkew: number
}

export interface LoginTarget {
  /** Default: the ticket-granting service. */
  readonly service?: ((realm: string) => Principal) | undefined
  /** Default: that of krb5.conf. */
  readonly lifetimeSeconds?: number | undefined
  /** Told what a password was made into a key by. */
  readonly onDerive?: ((request: KeyRequest) => void) | undefined
}

/** The AS exchange with whoever's key it is (RFC 4120 §3.1). */
export async function logIn(
  origin: LongTermOrigin,
  call: Call,
  world: Pick<World, 'source' | 'files'>,
  sender: RealmSender,
  target: LoginTarget = {},
): Promise<Credential> {
  const client = principalIn(origin.principal, call.config)
  // A copy: the caller's is overwritten when it is disposed or changed, and a login that is under way must
  // not go on with zeros.
  const password = origin.kind === 'password' ? new Uint8Array(origin.password) : EMPTY
  const { enctypes, derive } =
    origin.kind === 'password' ? byPassword(password, call) : await byKeytab(client, origin.keytab, call, world)
  const { config, clockSkew } = call
  const exchange = asExchange({
    client,
    server: target.service?.(client.realm),
    enctypes,
    lifetime: (target.lifetimeSeconds ?? config.ticketLifetimeSeconds ?? DEFAULT_LIFETIME_SECONDS) * 1e6,
    renewLifetime: target.service === undefined ? (config.renewLifetimeSeconds ?? 0) * 1e6 : 0,
    forwardable: config.forwardable && target.service === undefined,
    proxiable: config.proxiable && target.service === undefined,
    clockSkew,
    followClock: config.kdcTimesync,
    source: world.source,
  })
  try {
    return await driveToKdc(exchange, call, sender, (request) => {
      target.onDerive?.(request)
      return derive(request)
    })
  } finally {
    password.fill(0)
  }
}

/** Runs an exchange against the KDCs. The waiting callers have their own signals: one that leaves must not end the work of the others. */
export function driveToKdc(
  exchange: Exchange<Credential>,
  call: Call,
  sender: RealmSender,
  derive: (request: KeyRequest) => Promise<Key> = noKey,
): Promise<Credential> {
  const deadline = { at: call.at, signal: undefined }
  return drive(exchange, {
    send: (realm, message) => sender.send(call.config, kdcInquiry(realm, message), deadline),
    derive,
  })
}

interface Proof {
  readonly enctypes: readonly number[]
  derive(request: KeyRequest): Promise<Key>
}

function byPassword(password: Uint8Array, { enctypes }: Call): Proof {
  return {
    enctypes,
    derive: (request) => stringToKey(request.enctype, password, utf8(request.salt), request.iterations),
  }
}

async function byKeytab(
  principal: Principal,
  given: string | Keytab | undefined,
  call: Call,
  { files }: Pick<World, 'files'>,
): Promise<Proof> {
  const keytab = given instanceof Keytab ? given : await files.readKeytab(given, call.config)
  const there = new Set(keytab.entriesFor(principal).map((entry) => entry.enctype))
  const enctypes = call.enctypes.filter((enctype) => there.has(enctype))
  if (enctypes.length === 0) throw noEntry(principal, keytab, there)
  return {
    enctypes,
    async derive({ enctype, kvno }) {
      const entry = keytab.find(principal, enctype, kvno) ?? keytab.find(principal, enctype)
      if (entry === undefined) throw noEntry(principal, keytab, there)
      return new Key(entry.enctype, entry.keyBytes())
    },
  }
}

/** @throws {ConfigError} `REALM_UNKNOWN` */
function principalIn(text: string, config: Krb5Config): Principal {
  const principal = Principal.parse(text, config.defaultRealm)
  if (principal.realm === '') throw realmUnknown(text)
  return principal
}

async function noKey(): Promise<Key> {
  throw new UsageError('OPTION_INVALID', 'this exchange asks for no long-term key')
}

function realmUnknown(text: string): ConfigError {
  return new ConfigError('REALM_UNKNOWN', `no realm is known for ${quote(text)}`, {
    hint: 'Write name@REALM, or set default_realm in krb5.conf.',
  })
}

function noEntry(principal: Principal, keytab: Keytab, there: ReadonlySet<number>): ConfigError {
  const names = listOf(keytab.principals.map((one) => quote(one.toString())))
  const found =
    there.size === 0
      ? `no entry for ${quote(principal.toString())}; it has ${names}`
      : `only ${listOf([...there].map(enctypeName))} for ${quote(principal.toString())}`
  return new ConfigError('KEYTAB_NO_ENTRY', `the keytab has ${found}`, {
    hint: 'Name a principal that the keytab has, or export AES keys into it.',
  })
}
