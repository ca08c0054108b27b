/** How somebody proves who he is: with a password, or with the keys of a keytab. */
import { EMPTY, utf8 } from '../bytes/bytes.ts'
import { listOf, quote } from '../bytes/text.ts'
import { enctypeName, Key, stringToKey } from '../crypto/index.ts'
import { ConfigError, UsageError } from '../errors.ts'
import { type Deadline, drive, kdcInquiry, type RealmSender, type Route, type World } from './client.ts'
import { asExchange, type Credential, type Exchange, type KeyRequest } from './exchange/index.ts'
import { isSameButCase, Keytab, type Krb5Config } from './formats/index.ts'
import { Principal } from './messages/index.ts'
import { withPrimaryKdc } from './primary-kdc.ts'

/** Default lifetime asked for, in seconds (MIT krb5.conf, ticket_lifetime). */
const DEFAULT_LIFETIME_SECONDS = 86_400

/** Somebody's long-term key. */
export type LongTermOrigin =
  | { readonly kind: 'keytab'; readonly principal: string; readonly keytab: string | Keytab | undefined }
  | { readonly kind: 'password'; readonly principal: string; readonly password: Uint8Array }

/** What one caller asks for, complete. */
export interface Call extends Deadline {
  readonly config: Krb5Config
  /** Of session keys of services, and of a login. */
  readonly enctypes: readonly number[]
  readonly loginEnctypes: readonly number[]
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
  /** Whether the primary KDC is asked once more after a refusal. Default: true. */
  readonly asksPrimary?: boolean | undefined
}

/** The AS exchange with whoever's key it is (RFC 4120 §3.1). */
export async function logIn(
  origin: LongTermOrigin,
  call: Call,
  world: Pick<World, 'source' | 'files'>,
  sender: RealmSender,
  target: LoginTarget = {},
): Promise<Credential> {
  const asked = principalIn(origin.principal, call.config)
  // A copy: the caller's is overwritten when it is disposed or changed, and a login that is under way must
  // not go on with zeros.
  const password = origin.kind === 'password' ? new Uint8Array(origin.password) : EMPTY
  const { client, enctypes, derive } =
    origin.kind === 'password' ? byPassword(asked, password, call) : await byKeytab(asked, origin.keytab, call, world)
  const { config, clockSkew } = call
  const exchange = () =>
    asExchange({
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
    const answer = (request: KeyRequest) => {
      target.onDerive?.(request)
      return derive(request)
    }
    const run = (route?: Route) => driveToKdc(exchange(), call, sender, answer, route)
    return await (target.asksPrimary === false ? run() : withPrimaryKdc(config, client.realm, run))
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
  route: Route = {},
): Promise<Credential> {
  const deadline = { at: call.at, signal: undefined }
  return drive(exchange, {
    send: (realm, message) => sender.send(call.config, kdcInquiry(realm, message), deadline, route),
    derive,
  })
}

interface Proof {
  readonly client: Principal
  readonly enctypes: readonly number[]
  derive(request: KeyRequest): Promise<Key>
}

function byPassword(client: Principal, password: Uint8Array, { loginEnctypes }: Call): Proof {
  return {
    client,
    enctypes: loginEnctypes,
    derive: (request) => stringToKey(request.enctype, password, utf8(request.salt), request.iterations),
  }
}

/** The user is the one that the keytab names: MIT and Heimdal compare names byte by byte, and AD does not mind. */
async function byKeytab(
  asked: Principal,
  given: string | Keytab | undefined,
  call: Call,
  { files }: Pick<World, 'files'>,
): Promise<Proof> {
  const keytab = given instanceof Keytab ? given : await files.readKeytab(given, call.config)
  const client = keytab.nameOf(asked)
  if (client === undefined) throw noName(asked, keytab) // check: K83
  const there = new Set(keytab.entriesFor(client).map((entry) => entry.enctype))
  const enctypes = call.loginEnctypes.filter((enctype) => there.has(enctype))
  if (enctypes.length === 0) throw noEnctype(client, there, call.loginEnctypes)
  return {
    client,
    enctypes,
    async derive({ enctype, kvno }) {
      // A version orders and does not exclude: generators write 0, and number by themselves.
      const entry = keytab.find(client, enctype, kvno) ?? keytab.find(client, enctype)
      if (entry === undefined) throw noEnctype(client, there, [enctype])
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

function noName(principal: Principal, keytab: Keytab): ConfigError {
  const names = listOf(keytab.principals.map((one) => quote(one.toString())))
  const near = keytab.principals.find(({ components }) => isSameButCase(components, principal))
  const message = `the keytab has no entry for ${quote(principal.toString())}; it has ${names}`
  const hint =
    near === undefined
      ? 'Name a principal that the keytab has.'
      : `Write ${quote(near.toString())}: realms are compared letter by letter.`
  return new ConfigError('KEYTAB_NO_ENTRY', message, { hint })
}

function noEnctype(principal: Principal, there: ReadonlySet<number>, wanted: readonly number[]): ConfigError {
  const found = `only ${listOf([...there].map(enctypeName))} for ${quote(principal.toString())}`
  const message = `the keytab has ${found}; this login takes ${listOf(wanted.map(enctypeName))}`
  return new ConfigError('KEYTAB_NO_ENTRY', message, {
    hint: 'Export AES keys of that name into the keytab, and check permitted_enctypes in krb5.conf.',
  })
}
