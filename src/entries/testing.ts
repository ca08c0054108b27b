/** `spnego/testing`: a realm in this process, and a clock that obeys the test. */
import { startRealm, TestRealmCore, type TestRealmOptions } from '../testing/index.ts'
import { Credentials } from './wiring/credentials.ts'

export { testClock } from '../testing/index.ts'
export { Credentials, type TestRealmOptions }

/**
 * A Kerberos realm for tests and trials: a KDC on a loopback port (TCP and UDP), its users and services, and the files with which `kinit`, `kvno`,
 * `curl` and browsers join it. Not for production: it listens on 127.0.0.1 only and keeps passwords in memory.
 */
export class TestRealm extends TestRealmCore {
  readonly #now: (() => number) | undefined

  private constructor(parts: ConstructorParameters<typeof TestRealmCore>[0], now: (() => number) | undefined) {
    super(parts)
    this.#now = now
  }

  /**
   * Starts a realm; stop it with `stop()` or `await using`.
   *
   * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`, `PORT_IN_USE`
   */
  static override async start(options: TestRealmOptions = {}): Promise<TestRealm> {
    const parts = await startRealm(options)
    const { clock } = options
    return new TestRealm(parts, clock && (() => clock.now()))
  }

  /**
   * Logs a user of this realm in, by its own clock.
   *
   * @throws {UsageError} `OPTION_INVALID` for a user that the realm does not have
   * @throws {KdcError} under a fault, the refusal it causes
   */
  async login(user: string): Promise<Credentials> {
    const password = this.passwordOf(user)
    const principal = user.includes('@') ? user : `${user}@${this.realm}`
    const credentials = Credentials.forRealm(principal, password, this.config, this.#now)
    await credentials.login()
    return credentials
  }
}
