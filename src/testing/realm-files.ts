import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { utf8 } from '../bytes/bytes.ts'
import { UsageError } from '../errors.ts'
import type { Principal } from '../krb5/messages/index.ts'
import { openPlace, type Place, reasonOf } from '../system/folder.ts'
import { replaceFile } from '../system/replace-file.ts'
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

/** How the name of the directory begins. */
const PREFIX = 'spnego-realm-'

/** A private directory with the realm's files. */
export class RealmFiles {
  readonly environment: RealmEnvironment
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
    this.environment = Object.freeze({
      KRB5_CONFIG: join(directory, 'krb5.conf'),
      KRB5CCNAME: `FILE:${join(directory, 'ccache')}`,
      KRB5_KTNAME: join(directory, 'keytab'),
    })
  }

  static async create(): Promise<RealmFiles> {
    const { folder } = temporaryPlace()
    try {
      const made = await mkdtemp(folder.at(PREFIX)) // mode 0700
      return new RealmFiles(join(folder.path, basename(made)))
    } finally {
      folder.close()
    }
  }

  write(config: string, keytab: Uint8Array): void {
    replace(this.environment.KRB5_CONFIG, utf8(config))
    replace(this.environment.KRB5_KTNAME, keytab)
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function temporaryPlace(): Place {
  try {
    return openPlace(join(tmpdir(), PREFIX))
  } catch (cause) {
    throw new UsageError('OPTION_INVALID', `no temporary folder for the realm: ${reasonOf(cause)}`, {
      cause,
      hint: 'Set TMPDIR to a folder that this user may write to.',
    })
  }
}

/** A reader sees the old file or the new one. */
function replace(path: string, content: Uint8Array): void {
  const place = openPlace(path)
  try {
    replaceFile(place, content)
  } finally {
    place.folder.close()
  }
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
