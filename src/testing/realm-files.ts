import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Principal } from '../krb5/messages/index.ts'
import { LOOPBACK } from './listener.ts'

/** What another program needs to take part in the realm. */
export type RealmEnvironment = {
  /** The path of a krb5.conf. */
  readonly KRB5_CONFIG: string
  /** The name of a credential cache, which does not exist before a program writes it. */
  readonly KRB5CCNAME: string
  /** The path of a keytab with the keys of all services. */
  readonly KRB5_KTNAME: string
}

/** A private directory with the realm's files. */
export class RealmFiles {
  readonly environment: RealmEnvironment
  readonly #directory: string
  #written: Promise<void> = Promise.resolve()

  private constructor(directory: string) {
    this.#directory = directory
    this.environment = Object.freeze({
      KRB5_CONFIG: join(directory, 'krb5.conf'),
      KRB5CCNAME: `FILE:${join(directory, 'ccache')}`,
      KRB5_KTNAME: join(directory, 'keytab'),
    })
  }

  static async create(): Promise<RealmFiles> {
    const directory = await mkdtemp(join(tmpdir(), 'spnego-realm-')) // mode 0700
    return new RealmFiles(directory)
  }

  /** One after the other: two writers would share the name of the new file. */
  write(config: string, keytab: Uint8Array): Promise<void> {
    this.#written = this.#written.then(async () => {
      await replace(this.environment.KRB5_CONFIG, config)
      await replace(this.environment.KRB5_KTNAME, keytab)
    })
    return this.#written
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** A reader sees the old file or the new one. */
async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const fresh = `${path}.new`
  await writeFile(fresh, content, { mode: 0o600, flag: 'wx' })
  await chmod(fresh, 0o600) // whatever the umask says
  await rename(fresh, path)
}

/** krb5.conf of a realm on this machine: nothing is asked of the DNS, no name is changed by it. */
export function formatConfig(
  realm: string,
  ports: { readonly kdc: number; readonly kpasswd: number },
  services: readonly Principal[],
  environment: RealmEnvironment,
  forbidsTimesync: boolean,
): string {
  const hosts = new Set(['localhost', ...services.flatMap(({ components: [, host] }) => (isHost(host) ? [host] : []))])
  return `# A realm for tests. This file is gone when the realm stops.
[libdefaults]
  default_realm = ${realm}
  forwardable = true
  default_ccache_name = ${environment.KRB5CCNAME}
  default_keytab_name = FILE:${environment.KRB5_KTNAME}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_uri_lookup = false
  dns_canonicalize_hostname = false
  rdns = false${forbidsTimesync ? '\n  kdc_timesync = 0' : ''}

[realms]
  ${realm} = {
    kdc = ${LOOPBACK}:${ports.kdc}
    kpasswd_server = ${LOOPBACK}:${ports.kpasswd}
  }

[domain_realm]
${[...hosts].map((host) => `  ${host.toLowerCase()} = ${realm}`).join('\n')}
`
}

/** A name that krb5.conf can hold as it is. */
function isHost(text: string | undefined): text is string {
  return text !== undefined && /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text)
}
