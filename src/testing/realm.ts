import { quote } from '../bytes/text.ts'
import { ConfigError, UsageError } from '../errors.ts'
import { Keytab, KeytabEntry, Krb5Config } from '../krb5/formats/index.ts'
import type { Principal } from '../krb5/messages/index.ts'
import { type Account, Database } from './database.ts'
import { EmbeddedKdc } from './kdc.ts'
import { type Listener, listen, listenForPasswords } from './listener.ts'
import { formatConfig, type RealmEnvironment, RealmFiles } from './realm-files.ts'
import {
  checkedPassword,
  nameIn,
  type TestRealmOptions,
  type TestRealmSettings,
  testRealmSettings,
} from './realm-settings.ts'

/** The parts of a realm that runs. */
export interface RunningRealm {
  readonly settings: TestRealmSettings
  readonly database: Database
  readonly listener: Listener
  readonly passwords: Listener
  readonly files: RealmFiles
  /** The services and their keys, as they are in the files. */
  readonly services: readonly Principal[]
  readonly entries: readonly KeytabEntry[]
}

/**
 * Starts the KDC and its listener on 127.0.0.1, and writes the files.
 *
 * @throws {UsageError} as `testRealmSettings`; `OPTION_INVALID` for an unknown fault or a name given twice; `PORT_IN_USE`
 */
export async function startRealm(options: TestRealmOptions = {}): Promise<RunningRealm> {
  const settings = testRealmSettings(options)
  const { realm, users, services, okAsDelegate, enctypes, faults } = settings
  const database = new Database(enctypes, randomBytes)
  const kdc = new EmbeddedKdc({ realm, database, faults, random: randomBytes, now: () => settings.now() * 1000 })
  for (const { principal, password, passwordExpired } of users) {
    database.addUser(principal, password, { passwordExpired })
  }
  const isTrusted = (service: Principal) => okAsDelegate.some((one) => one.equals(service))
  const accounts = services.map((service) => database.addService(service, { okAsDelegate: isTrusted(service) }))
  const entries = (await Promise.all(accounts.map((account) => keytabEntries(account, settings.now())))).flat()

  const listener = await listen(kdc, settings.port)
  let passwords: Listener | undefined
  let files: RealmFiles | undefined
  try {
    passwords = await listenForPasswords(kdc)
    files = await RealmFiles.create()
    const parts = { settings, database, listener, passwords, files, services, entries }
    files.write(configText(parts), Keytab.of(entries).toBytes())
    return parts
  } catch (error) {
    await Promise.all([listener.close(), passwords?.close(), files?.remove()])
    throw error
  }
}

/**
 * A Kerberos realm in this process, for tests: any Kerberos program on this machine can join it through `environment`. Nothing of it can
 * be reached from another machine. The entry adds `login`, for which it needs the client.
 */
export class TestRealmCore implements AsyncDisposable {
  readonly realm: string
  /** Variables for other programs: files in a private directory, which `stop` removes. */
  readonly environment: RealmEnvironment
  /** Of TCP and UDP, on 127.0.0.1. */
  readonly port: number
  #parts: RunningRealm
  #config: Krb5Config
  #stopped: Promise<void> | undefined

  constructor(parts: RunningRealm) {
    this.#parts = parts
    this.#config = Krb5Config.parse(configText(parts), parts.files.environment.KRB5_CONFIG)
    this.realm = parts.settings.realm
    this.environment = parts.files.environment
    this.port = parts.listener.port
  }

  /** @throws {UsageError} see `startRealm` */
  static async start(options: TestRealmOptions = {}): Promise<TestRealmCore> {
    return new TestRealmCore(await startRealm(options))
  }

  /** What `environment.KRB5_CONFIG` holds. */
  get config(): Krb5Config {
    return this.#config
  }

  /**
   * The keys of one service.
   *
   * @param service `HTTP/localhost`, with or without the realm
   * @throws {ConfigError} `KEYTAB_NO_ENTRY` for a service that the realm does not have
   */
  keytab(service: string): Keytab {
    const principal = nameIn(service, this.realm)
    const entries = this.#parts.entries.filter((entry) => entry.principal.equals(principal))
    if (entries.length === 0) throw noSuchService(principal, this.#parts.services)
    return Keytab.of(entries)
  }

  /** For `login`. @throws {UsageError} `OPTION_INVALID` for a user that the realm does not have */
  passwordOf(user: string): string {
    const principal = nameIn(user, this.realm)
    const { database } = this.#parts
    const password = database.passwordOf(principal)
    if (password !== undefined) return password
    throw new UsageError('OPTION_INVALID', `the realm has no user ${quote(principal.toString())}`, {
      hint: `Its users are ${database.users.join(', ') || 'none'}.`,
    })
  }

  /** @throws {UsageError} `OPTION_INVALID` when the name is taken or the password is none */
  addUser(user: string, password: string): void {
    const principal = nameIn(user, this.realm)
    this.#parts.database.addUser(principal, checkedPassword(user, password))
  }

  /** The next key version of a user. @throws {UsageError} `OPTION_INVALID` for a user that the realm does not have */
  setPassword(user: string, password: string): void {
    this.passwordOf(user)
    const principal = nameIn(user, this.realm)
    this.#parts.database.setPassword(principal, checkedPassword(user, password))
  }

  /**
   * One more service, with random keys; the files and `config` know it too.
   *
   * @throws {UsageError} `OPTION_INVALID` when the name is taken
   */
  async addService(service: string): Promise<Keytab> {
    const principal = nameIn(service, this.realm)
    const { database, settings } = this.#parts
    const added = await keytabEntries(database.addService(principal), settings.now())
    const { services, entries, files } = this.#parts
    this.#parts = { ...this.#parts, services: [...services, principal], entries: [...entries, ...added] }
    this.#config = Krb5Config.parse(configText(this.#parts), this.environment.KRB5_CONFIG)
    files.write(configText(this.#parts), Keytab.of(this.#parts.entries).toBytes())
    return Keytab.of(added)
  }

  /** Stops listening, ends open connections and removes the files. May be called again. */
  stop(): Promise<void> {
    const { listener, passwords, files } = this.#parts
    this.#stopped ??= Promise.all([listener.close(), passwords.close(), files.remove()]).then(() => undefined)
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

function configText({ settings, listener, passwords, services, files }: RunningRealm): string {
  const ports = { kdc: listener.port, kpasswd: passwords.port }
  return formatConfig(settings.realm, ports, services, files.environment, settings.faults.includes('skew'))
}

async function keytabEntries(account: Account, now: number): Promise<KeytabEntry[]> {
  const { principal, kvno, enctypes } = account
  const made: KeytabEntry[] = []
  for (const enctype of enctypes) {
    const key = await account.key(enctype)
    if (key === undefined) continue
    made.push(new KeytabEntry({ principal, kvno, enctype, key: key.toBytes(), timestamp: new Date(now) }))
  }
  return made
}

function randomBytes(length: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(length))
}

function noSuchService(service: Principal, services: readonly Principal[]): ConfigError {
  return new ConfigError('KEYTAB_NO_ENTRY', `the realm has no service ${quote(service.toString())}`, {
    hint: `Its services are ${services.map(String).join(', ') || 'none'}.`,
  })
}
