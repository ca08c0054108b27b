import type { World } from '../../krb5/client.ts'
import { Krb5Config as BaseConfig } from '../../krb5/formats/index.ts'
import { loadProfile, monotonic, systemFiles, systemSource, systemTransport } from '../../system/index.ts'

/** This machine, as the rooms below see it. A new one for each client: nothing is shared between two of them. */
export function systemWorld(): World {
  return {
    source: systemSource(),
    monotonic,
    transport: systemTransport,
    files: systemFiles(),
    loadConfig: async () => new BaseConfig(loadProfile()),
  }
}
